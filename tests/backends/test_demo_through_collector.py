"""Real programs, the process that sends for them, a real Collector with the shipped pipeline, and a sink behind it.

What arrives is what their journals have, whoever was down or killed in between.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.backends.collector import SHIPPED, Collector
from tests.backends.demo import DEMO, JOURNAL, finish, journalled, nobody_sends, start, steps_of
from tests.backends.recording import PROTOCOLS, differences
from tests.backends.sink import Sink

if TYPE_CHECKING:
    from pathlib import Path

JAEGER_FILE = SHIPPED / "collector.yaml"
STARTED = {"pipeline_started", "training_run_started", "deployment_started"}
EVERYTHING = """
import crucible_trace_otel as crucible
from opentelemetry import trace
from tests.backends.recording import everything

with crucible.configure(service_name="backend-tests", resource_attributes={"crucible.run.id": "r-1"}):
    everything(trace.get_tracer("tests.backends", "0.1", None, "https://example.org/schemas/1.0.0", {"scope": "kept"}))
"""
MANY_STEPS = """
import crucible_trace_otel as crucible

crucible.configure(service_name="many-steps")
with crucible.training_run("many steps") as run:
    for epoch in run.epochs(1):
        for step in range(10_000):
            epoch.record_step(loss=1 / (step + 1), learning_rate=0.1, tokens=step)
assert crucible.flush(30)
"""
SIX_SECONDS = """
import time
import crucible_trace_otel as crucible

crucible.configure(service_name="six-seconds")
with crucible.training_run("a hundred epochs") as run:
    for epoch in run.epochs(100):
        for step in range(100):
            epoch.record_step(loss=1 / (step + 1))
        time.sleep(0.06)
"""


def behind(sink: Sink, folder: Path, binary: Path) -> Collector:
    return Collector(binary, JAEGER_FILE, folder, {"otlp_grpc/jaeger": sink.grpc_endpoint})


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_demo_arrives_as_its_journal_has_it(collector: Path, sink: Sink, tmp_path: Path, protocol: str) -> None:
    with behind(sink, tmp_path, collector) as running:
        printed = finish(start([str(DEMO)], tmp_path, running.endpoint(protocol), protocol))
        expected = journalled(tmp_path)
        assert sink.wait_for_spans(len(expected)), running.log
        assert nobody_sends(tmp_path)
    assert f"{len(expected)} of {len(expected)} are acknowledged" in printed
    assert differences(expected, sink.received()) == []
    assert {span.name for span in sink.spans()} >= STARTED
    assert len(sink.received()) == len(expected)
    assert sum(len(span.links) for span in sink.spans()) >= 10


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_all_that_a_span_can_hold_arrives_as_the_journal_has_it(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRUCIBLE_TEXT_LIMIT", "off")
    with behind(sink, tmp_path, collector) as running:
        finish(start(["-c", EVERYTHING], tmp_path, running.endpoint(protocol), protocol))
        expected = journalled(tmp_path)
        assert sink.wait_for_spans(len(expected)), running.log
        assert nobody_sends(tmp_path)
    assert len(expected) == 5
    assert differences(expected, sink.received()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_collector_killed_in_the_middle_of_the_demo_costs_nothing(
    collector: Path, tmp_path: Path, protocol: str
) -> None:
    backend = Sink()
    backend.close()  # down until the end: the Collector's disk queue must hold everything
    with behind(backend, tmp_path, collector) as running:
        demo = start([str(DEMO)], tmp_path, running.endpoint(protocol), protocol)
        wait_for_journal(tmp_path)
        running.kill()
        running.start()
        printed = finish(demo)
        expected = journalled(tmp_path)
        with Sink(grpc_port=backend.grpc_port) as back:
            assert back.wait_for_spans(len(expected), seconds=60), running.log
            assert nobody_sends(tmp_path)
    assert f"{len(expected)} of {len(expected)} spans are in" in printed
    assert differences(expected, back.received()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_collector_killed_again_and_again_while_spans_are_sent_costs_nothing(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str
) -> None:
    with behind(sink, tmp_path, collector) as running:
        program = start(["-c", SIX_SECONDS], tmp_path, running.endpoint(protocol), protocol)
        for arrived in (10, 30, 60):
            assert sink.wait_for_spans(arrived), running.log
            running.kill()
            running.start()
        assert program.poll() is None
        finish(program)
        expected = journalled(tmp_path)
        assert sink.wait_for_spans(len(expected), seconds=60), running.log
        assert nobody_sends(tmp_path)
    assert differences(expected, sink.received()) == []
    assert len(steps_of(sink.received())) == 10_000


def test_a_collector_that_comes_up_only_after_the_demo_gets_everything(
    collector: Path, sink: Sink, tmp_path: Path
) -> None:
    away = behind(sink, tmp_path, collector)
    printed = finish(start([str(DEMO)], tmp_path, away.endpoint("http/protobuf"), "http/protobuf"))
    expected = journalled(tmp_path)
    assert f"0 of {len(expected)} are acknowledged" in printed
    with away as running:
        assert sink.wait_for_spans(len(expected), seconds=60), running.log
        assert nobody_sends(tmp_path)
    assert differences(expected, sink.received()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_ten_thousand_steps_are_read_back_from_what_a_collector_forwarded(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str
) -> None:
    with behind(sink, tmp_path, collector) as running:
        finish(start(["-c", MANY_STEPS], tmp_path, running.endpoint(protocol), protocol))
        assert sink.wait_for_spans(len(journalled(tmp_path))), running.log
        assert nobody_sends(tmp_path)
    forwarded = steps_of(sink.received())
    values = {row["step"]: (row["loss"], row["learning_rate"], row["tokens"]) for row in forwarded}
    assert len(forwarded) == 10_000
    assert values == {step: (1 / (step + 1), 0.1, step) for step in range(10_000)}


def wait_for_journal(folder: Path) -> None:
    """Wait until the process in `folder` has stored its first spans."""
    until = time.monotonic() + 30
    while not any(path.stat().st_size > 20_000 for path in folder.glob(f"{JOURNAL}/*")):
        assert time.monotonic() < until
        time.sleep(0.01)
