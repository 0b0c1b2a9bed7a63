"""The demo, and other programs that record, as real processes; and what their journal says must arrive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.ship.lease import is_held
from crucible_trace_otel.trace.otlp import decode_span
from crucible_trace_otel.trace.steps import step_rows
from tests.backends.query_api import until
from tests.backends.sink import ReceivedSpan

if TYPE_CHECKING:
    from collections.abc import Iterable

    from crucible_trace_otel.trace.spans import TraceSpan

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "examples" / "digits.py"
JOURNAL = ".crucible"


def start(code: list[str], folder: Path, endpoint: str, protocol: str, **variables: str) -> subprocess.Popen[str]:
    """A program that works in `folder` and sends; the process it has send ends a minute after it at the latest."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{endpoint}" if protocol == "grpc" else endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "CRUCIBLE_SHIP_LINGER": "60",
        "CRUCIBLE_CONSOLE": "0",
        **variables,
    }
    return subprocess.Popen(
        [sys.executable, *code],
        cwd=folder,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(process: subprocess.Popen[str]) -> str:
    """Wait until the program ends well; what it printed."""
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    return printed


def nobody_sends(folder: Path) -> bool:
    """Whether the process that sends has ended, which it does once all is sent and no writer is left."""
    return not until(lambda: is_held(folder / JOURNAL), lambda held: not held, seconds=20)


def journalled(folder: Path) -> list[ReceivedSpan]:
    """What the journal of a process in `folder` holds, in the form in which the sink has it."""
    content = read_directory(folder / JOURNAL)
    assert (content.damaged, content.torn, content.unreadable) == (0, 0, ())
    found = []
    for stored in content.spans:
        resource, scope = ResourceSpans.FromString(stored.resource), ScopeSpans.FromString(stored.scope)
        span = Span.FromString(stored.span)
        found.append(ReceivedSpan(resource.resource, scope.scope, span, resource.schema_url, scope.schema_url))
    return found


def steps_of(received: Iterable[ReceivedSpan]) -> list[dict[str, Any]]:
    """Every training step that those spans hold, in the order of the steps; a span that came twice counts once."""
    once = {each.span.span_id: each for each in received}
    rows = [row for each in once.values() for row in step_rows(read_back(each)).rows]
    return sorted(rows, key=lambda row: row["step"])


def read_back(received: ReceivedSpan) -> TraceSpan:
    """A span as the readers have it."""
    return decode_span(
        ResourceSpans(resource=received.resource).SerializeToString(),
        ScopeSpans(scope=received.scope).SerializeToString(),
        received.span.SerializeToString(),
    )
