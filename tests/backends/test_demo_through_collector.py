"""The real job in its own process -> a real Collector with the shipped pipeline -> a sink, against its journal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans

from crucible_trace_otel.trace.otlp import decode_span
from crucible_trace_otel.trace.steps import step_rows
from tests.backends.collector import SHIPPED, Collector
from tests.backends.demo import DEMO, finish, journalled, start
from tests.backends.recording import PROTOCOLS, differences
from tests.backends.sink import Sink

if TYPE_CHECKING:
    from pathlib import Path

MANY_STEPS = """
import crucible_trace_otel as crucible

crucible.configure(service_name="many-steps")
with crucible.training_run("many steps") as run:
    for epoch in run.epochs(1):
        for step in range(10_000):
            epoch.record_step(loss=1 / (step + 1), learning_rate=0.1, tokens=step)
assert crucible.flush(30)
"""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_demo_arrives_as_its_journal_has_it(collector: Path, sink: Sink, tmp_path: Path, protocol: str) -> None:
    with Collector(
        collector, SHIPPED / "collector.yaml", tmp_path, {"otlp_grpc/jaeger": sink.grpc_endpoint}
    ) as running:
        printed = finish(start([str(DEMO)], tmp_path, running.endpoint(protocol), protocol))
        expected = journalled(tmp_path)
        assert sink.wait_for_spans(len(expected)), running.log
    assert f"{len(expected)} of {len(expected)} are acknowledged" in printed
    assert differences(expected, sink.received()) == []
    links = [link for received in sink.received() for link in received.span.links]
    assert len(links) >= 10


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_collector_killed_in_the_middle_of_the_demo_costs_nothing(
    collector: Path, tmp_path: Path, protocol: str
) -> None:
    backend = Sink()
    backend.close()  # down until the end: the Collector's disk queue must hold everything
    with Collector(
        collector, SHIPPED / "collector.yaml", tmp_path, {"otlp_grpc/jaeger": backend.grpc_endpoint}
    ) as running:
        demo = start([str(DEMO)], tmp_path, running.endpoint(protocol), protocol)
        wait_for_journal(tmp_path)
        running.kill()
        running.start()
        printed = finish(demo)
        expected = journalled(tmp_path)
        with Sink(grpc_port=backend.grpc_port) as back:
            assert back.wait_for_spans(len(expected), seconds=60), running.log
    assert f"{len(expected)} of {len(expected)} spans are in" in printed
    assert differences(expected, back.received()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ten_thousand_steps_are_read_back_from_what_a_collector_forwarded(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str
) -> None:
    with Collector(
        collector, SHIPPED / "collector.yaml", tmp_path, {"otlp_grpc/jaeger": sink.grpc_endpoint}
    ) as running:
        finish(start(["-c", MANY_STEPS], tmp_path, running.endpoint(protocol), protocol))
        assert sink.wait_for_spans(len(journalled(tmp_path))), running.log
    forwarded = [
        row
        for received in sink.received()
        for row in step_rows(
            decode_span(
                ResourceSpans(resource=received.resource).SerializeToString(),
                ScopeSpans(scope=received.scope).SerializeToString(),
                received.span.SerializeToString(),
            )
        ).rows
    ]
    values = {row["step"]: (row["loss"], row["learning_rate"], row["tokens"]) for row in forwarded}
    assert len(forwarded) == 10_000
    assert values == {step: (1 / (step + 1), 0.1, step) for step in range(10_000)}


def wait_for_journal(folder: Path) -> None:
    """Wait until the process in `folder` has stored its first spans."""
    until = time.monotonic() + 30
    while not any(path.stat().st_size > 20_000 for path in folder.glob(".crucible/*")):
        assert time.monotonic() < until
        time.sleep(0.01)
