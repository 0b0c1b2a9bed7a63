"""The demo, and other programs that record, as real processes; and what their journal says must arrive."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from crucible_trace_otel.journal.reader import read_directory
from tests.backends.sink import ReceivedSpan

DEMO = Path(__file__).parents[2] / "examples" / "digits.py"


def start(code: list[str], folder: Path, endpoint: str, protocol: str) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://{endpoint}" if protocol == "grpc" else endpoint,
        "OTEL_EXPORTER_OTLP_PROTOCOL": protocol,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "CRUCIBLE_CONSOLE": "0",
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
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 0, printed
    return printed


def journalled(folder: Path) -> list[ReceivedSpan]:
    """What the journal of a process in `folder` holds, in the form in which the sink has it."""
    content = read_directory(folder / ".crucible")
    assert (content.damaged, content.torn, content.unreadable) == (0, 0, ())
    found = []
    for stored in content.spans:
        resource, scope = ResourceSpans.FromString(stored.resource), ScopeSpans.FromString(stored.scope)
        span = Span.FromString(stored.span)
        found.append(ReceivedSpan(resource.resource, scope.scope, span, resource.schema_url, scope.schema_url))
    return found
