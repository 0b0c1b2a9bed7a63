"""Our process -> a real Collector with the shipped pipeline -> a sink: what arrives is what was recorded."""

from __future__ import annotations

import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.backends.collector import SHIPPED, SHIPPED_FILES, Collector
from tests.backends.recording import PROTOCOLS, differences, huge, many, record
from tests.backends.sink import MESSAGE_LIMIT, Sink

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.trace import Tracer

    from tests.backends.sink import ReceivedSpan

JAEGER_FILE = SHIPPED / "collector.yaml"
GRAFANA_FILE = SHIPPED / "collector-grafana.yaml"


def to_jaeger(sink: Sink) -> dict[str, str]:
    return {"otlp_grpc/jaeger": sink.grpc_endpoint}


@pytest.mark.parametrize("shipped", SHIPPED_FILES, ids=lambda path: path.stem)
def test_the_collector_accepts_every_shipped_file_as_it_is(collector: Path, shipped: Path) -> None:
    result = subprocess.run([collector, "validate", f"--config={shipped}"], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "deprecated" not in result.stderr.lower()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_everything_recorded_arrives_unchanged(collector: Path, sink: Sink, tmp_path: Path, protocol: str) -> None:
    with Collector(collector, JAEGER_FILE, tmp_path, to_jaeger(sink)) as running:
        expected = record(running.endpoint(protocol), protocol)
        assert sink.wait_for_spans(len(expected)), running.log
    assert differences(expected, sink.received()) == []
    assert len(sink.received()) == len(expected)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_disk_queue_gives_everything_back_after_a_kill(collector: Path, tmp_path: Path, protocol: str) -> None:
    sink = Sink()
    sink.close()  # the backend is down, its ports are known
    with Collector(collector, JAEGER_FILE, tmp_path, to_jaeger(sink)) as running:
        expected = record(running.endpoint(protocol), protocol) + record(
            running.endpoint(protocol), protocol, many(500)
        )
        running.kill()
        running.start()
        expected += record(running.endpoint(protocol), protocol, many(500))
        with Sink(grpc_port=sink.grpc_port) as back:
            assert back.wait_for_spans(len(expected), seconds=90), running.log
    assert sink.received() == []
    assert differences(expected, back.received()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_kill_while_spans_are_being_sent_loses_none(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str
) -> None:
    expected: list[ReceivedSpan] = []

    def slowly(tracer: Tracer) -> None:
        for index in range(600):
            tracer.start_span("epoch", attributes={"index": index, "text": "x" * 1000}).end()
            time.sleep(0.002)

    with Collector(collector, JAEGER_FILE, tmp_path, to_jaeger(sink)) as running:
        endpoint = running.endpoint(protocol)
        senders = [
            threading.Thread(target=lambda: expected.extend(record(endpoint, protocol, slowly))) for _ in range(2)
        ]
        for sender in senders:
            sender.start()
        assert sink.wait_for_spans(1), running.log
        running.kill()
        already = len(sink.spans())
        time.sleep(0.5)
        running.start()
        for sender in senders:
            sender.join()
        assert already < len(expected) == 1200
        assert sink.wait_for_spans(len(expected), seconds=60), running.log
    assert differences(expected, sink.received()) == []


def test_messages_stay_under_what_a_backend_accepts(collector: Path, tmp_path: Path) -> None:
    """A message over the receiver's limit is refused for good: what an outage heaped up must not leave as one."""
    sink = Sink()
    sink.close()
    with Collector(collector, JAEGER_FILE, tmp_path, to_jaeger(sink)) as running:
        expected = record(running.endpoint("http/protobuf"), "http/protobuf", many(300, "x" * 100_000), batch=50)
        assert sum(span.span.ByteSize() for span in expected) > MESSAGE_LIMIT
        running.kill()
        with Sink(grpc_port=sink.grpc_port) as back:
            running.start()
            assert back.wait_for_spans(len(expected)), running.log
    assert differences(expected, back.received()) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_huge_span_arrives_and_takes_no_other_with_it(
    collector: Path, sink: Sink, tmp_path: Path, protocol: str
) -> None:
    with Collector(collector, JAEGER_FILE, tmp_path, to_jaeger(sink)) as running:
        expected = record(running.endpoint(protocol), protocol, huge(15), batch=1)
        assert sink.wait_for_spans(len(expected)), running.log
    assert differences(expected, sink.received()) == []


def test_the_grafana_file_feeds_both_stores_and_the_metrics(collector: Path, sink: Sink, tmp_path: Path) -> None:
    with Sink() as tempo:
        endpoints = {
            "otlp_grpc/jaeger": sink.grpc_endpoint,
            "otlp_grpc/tempo": tempo.grpc_endpoint,
            "otlp_http/prometheus": f"{sink.http_endpoint}/api/v1/otlp",
        }
        with Collector(collector, GRAFANA_FILE, tmp_path, endpoints) as running:
            expected = record(running.endpoint("grpc"), "grpc")
            assert sink.wait_for_spans(len(expected)), running.log
            assert tempo.wait_for_spans(len(expected)), running.log
            assert sink.wait(lambda it: len({metric.name for metric in it.metrics()}) >= 2), running.log
        assert differences(expected, sink.received()) == []
        assert differences(expected, tempo.received()) == []
    assert_span_metrics(sink)


def assert_span_metrics(sink: Sink) -> None:
    metrics = {metric.name: metric for metric in sink.metrics()}
    assert set(metrics) == {"traces.span.metrics.calls", "traces.span.metrics.duration"}  # named in the data source
    durations = metrics["traces.span.metrics.duration"]
    assert durations.unit == "ms"
    assert max(durations.histogram.data_points[0].explicit_bounds) == 2 * 60 * 60 * 1000
    assert any(point.exemplars for point in durations.histogram.data_points)
    dimensions = {
        (attribute.key, attribute.value.string_value)
        for point in durations.histogram.data_points
        for attribute in point.attributes
    }
    assert ("crucible.operation.name", "pipeline") in dimensions
    assert ("crucible.operation.result", "success") in dimensions
    assert ("service.name", "backend-tests") in dimensions
