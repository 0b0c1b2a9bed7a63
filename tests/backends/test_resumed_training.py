"""A training that is killed and goes on: behind a real Collector both attempts are there, linked, as one run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from crucible_trace_otel.record._ids import trace_id_of_run
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.trace.runs import join_runs
from crucible_trace_otel.trace.spans import group_into_traces
from crucible_trace_otel.trace.steps import step_rows
from tests.backends.collector import SHIPPED, Collector
from tests.backends.demo import ROOT, finish, journalled, nobody_sends, read_back, start
from tests.backends.recording import PROTOCOLS, differences

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.backends.sink import Sink

EXAMPLE = str(ROOT / "examples" / "training_resume.py")
KILL_AT, CHECKPOINT, STEPS = 200, 171, 285


def said(of: Any) -> dict[str, Any]:
    """The plain attributes of a span, a link or an event."""
    return {each.key: getattr(each.value, each.value.WhichOneof("value") or "string_value") for each in of.attributes}


def attempts_in(sink: Sink) -> list[Span]:
    """The `training_run` spans, by their attempt; one that came twice counts once."""
    runs = {span.span_id: span for span in sink.spans() if span.name == "training_run"}
    return sorted(runs.values(), key=lambda run: int(said(run)[attr.CRUCIBLE_RUN_ATTEMPT]))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_attempts_arrive_as_one_run(collector: Path, sink: Sink, tmp_path: Path, protocol: str) -> None:
    shipped = SHIPPED / "collector.yaml"
    with Collector(collector, shipped, tmp_path, {"otlp_grpc/jaeger": sink.grpc_endpoint}) as running:
        endpoint = running.endpoint(protocol)
        with start([EXAMPLE, "--kill-at", str(KILL_AT)], tmp_path, endpoint, protocol) as killed:
            killed.communicate(timeout=60)
        assert killed.returncode == -9
        assert "2 attempts" in finish(start([EXAMPLE], tmp_path, endpoint, protocol))
        sink.wait(lambda it: len(attempts_in(it)) == 2, seconds=20)
        assert nobody_sends(tmp_path)
        assert differences(journalled(tmp_path), sink.received()) == [], running.log
    first, second = attempts_in(sink)
    run_id = said(first)[attr.CRUCIBLE_RUN_ID]
    assert {said(span)[attr.CRUCIBLE_RUN_ID] for span in sink.spans()} == {run_id}
    traces = [int.from_bytes(attempt.trace_id, "big") for attempt in (first, second)]
    assert traces == [trace_id_of_run(run_id, number) for number in (0, 1)]
    assert [said(attempt)[attr.CRUCIBLE_RUN_STATE] for attempt in (first, second)] == ["interrupted", "completed"]
    (link,) = second.links
    assert (link.trace_id, link.span_id) == (first.trace_id, first.span_id)
    assert said(link)[attr.CRUCIBLE_LINK_TYPE] == "resumed_from"
    (resumed,) = (event for event in second.events if event.name == "training_resumed")
    assert int(said(resumed)[attr.CRUCIBLE_CHECKPOINT_STEP]) == CHECKPOINT - 1
    (run,) = join_runs(group_into_traces(read_back(each) for each in sink.received()))
    steps = step_rows(run)
    assert [row["step"] for row in steps.latest().rows] == list(range(STEPS))
    assert steps.repeated == (0, KILL_AT - CHECKPOINT)
