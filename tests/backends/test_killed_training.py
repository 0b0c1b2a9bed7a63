"""The demo, killed in its training: the sink behind a real Collector has its end, and all that returned before."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crucible_trace_otel.semconv import attributes as attr
from tests.backends.collector import SHIPPED, Collector
from tests.backends.demo import JOURNAL, journalled, nobody_sends, start, steps_of
from tests.backends.query_api import until
from tests.backends.recording import PROTOCOLS, differences

if TYPE_CHECKING:
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.backends.sink import Sink

PROGRAM = Path(__file__).with_name("reporting_demo.py")
WITHIN_S = 5.0  # two seconds are promised, the rest is for a busy machine
LONG = 300
"""Steps that take three seconds: whatever is open by then has been kept, also what is kept only once it is old."""


@dataclass(frozen=True)
class Killed:
    """What a program had said until it was killed, and when that was."""

    losses: list[float]
    spans: set[str]
    at: float


def killed_in_training(folder: Path, endpoint: str, protocol: str, *, after_steps: int) -> Killed:
    """Start the demo and end it by SIGKILL once so many steps have returned."""
    said: list[str] = []
    with start([str(PROGRAM)], folder, endpoint, protocol) as program:
        assert program.stdout is not None
        for line in program.stdout:
            said.append(line)
            if sum(each.startswith("step ") for each in said) >= after_steps:
                break
        at = time.monotonic()
        program.kill()
        said += program.stdout.readlines()
    assert program.returncode == -9, said
    told = [line.split() for line in said]
    unknown = [line for line in told if line[0] not in ("step", "span")]
    assert unknown == []
    losses = [float(what) for kind, what in told if kind == "step"]
    return Killed(losses, {what for kind, what in told if kind == "span"}, at)


def missing(sink: Sink, killed: Killed) -> list[str]:
    """What of a killed training the sink has not, in words."""
    spans = {span.span_id.hex(): span for span in sink.spans()}
    lacks = [f"span {each}" for each in killed.spans - spans.keys()]
    rows = steps_of(sink.received())
    if [row["loss"] for row in rows[: len(killed.losses)]] != killed.losses:
        lacks.append(f"steps: {len(rows)} of {len(killed.losses)}")
    runs = [span for span in spans.values() if span.name == "training_run"]
    if [said(run)[attr.CRUCIBLE_RUN_STATE] for run in runs] != ["interrupted"]:
        lacks.append("the end of the run")
    if not [span for span in spans.values() if span.name == "training_run_interrupted"]:
        lacks.append("the marker")
    return lacks


def said(span: Span) -> dict[str, Any]:
    """The plain attributes of a span."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in span.attributes}


def named(sink: Sink, name: str) -> Span:
    """The one span of that name, however often it came."""
    found = {span.span_id: span for span in sink.spans() if span.name == name}
    assert len(found) == 1, f"{len(found)} of {name}"
    return next(iter(found.values()))


def assert_told(sink: Sink, killed: Killed, folder: Path) -> None:
    """The sink has what the journal has; the run says how far it came, and what was open around it that it ended."""
    expected = journalled(folder)
    assert sink.wait_for_spans(len(expected))
    assert differences(expected, sink.received()) == []
    rows = steps_of(sink.received())
    # One call may have returned without a chance to say so.
    assert 0 <= len(rows) - len(killed.losses) <= 1
    assert [row["step"] for row in rows] == list(range(len(rows)))
    run, marker = named(sink, "training_run"), named(sink, "training_run_interrupted")
    assert marker.parent_span_id == run.span_id
    for span in (run, marker):
        told = said(span)
        assert told[attr.CRUCIBLE_RUN_STATE] == "interrupted"
        assert told[attr.CRUCIBLE_TRAINING_STEP_INDEX] == rows[-1]["step"]
        assert told[attr.CRUCIBLE_TRAINING_LOSS_VALUE] == rows[-1]["loss"]
    stage = ["stage train"] if len(rows) >= LONG else []
    for name in ("pipeline digits", "training_run", *stage):
        span = named(sink, name)
        assert span.status.code == span.status.STATUS_CODE_ERROR
        assert span.status.message.startswith("interrupted")
    assert named(sink, "stage load").status.code != run.status.STATUS_CODE_ERROR


@pytest.mark.parametrize("after_steps", [3, LONG])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_p10_two_seconds_after_the_kill_the_end_and_all_that_returned_is_there(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str, after_steps: int
) -> None:
    shipped = SHIPPED / "collector.yaml"
    with Collector(collector, shipped, tmp_path, {"otlp_grpc/jaeger": sink.grpc_endpoint}) as running:
        killed = killed_in_training(tmp_path, running.endpoint(protocol), protocol, after_steps=after_steps)
        sink.wait(lambda it: not missing(it, killed), seconds=20)
        took = time.monotonic() - killed.at
        assert missing(sink, killed) == [], running.log
        assert took < WITHIN_S
        assert_told(sink, killed, tmp_path)
        assert nobody_sends(tmp_path)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_p10_with_the_collector_down_it_is_there_once_that_comes_up(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str
) -> None:
    away = Collector(collector, SHIPPED / "collector.yaml", tmp_path, {"otlp_grpc/jaeger": sink.grpc_endpoint})
    killed = killed_in_training(tmp_path, away.endpoint(protocol), protocol, after_steps=100)
    recovered = until(lambda: list(tmp_path.glob(f"{JOURNAL}/*-recovered.segment")), bool, seconds=20)
    assert time.monotonic() - killed.at < WITHIN_S
    assert recovered
    with away as running:
        sink.wait(lambda it: not missing(it, killed), seconds=60)
        assert missing(sink, killed) == [], running.log
        assert_told(sink, killed, tmp_path)
        assert nobody_sends(tmp_path)
