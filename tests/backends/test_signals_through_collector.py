"""Log records and metrics of a real program through a real Collector: what arrives is what the registry says."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from crucible_trace_otel.semconv import metrics
from crucible_trace_otel.semconv.catalogue import METRICS
from tests.backends.collector import REPOSITORY, SHIPPED, Collector
from tests.backends.demo import finish, journalled, start, steps_of
from tests.backends.recording import PROTOCOLS

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.common.v1.common_pb2 import KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from tests.backends.sink import Sink

STAY_ON_THE_SPAN = {"steps_recorded", "gradient_computed", "exception"}
PROGRAM = """
import os
import crucible_trace_otel as crucible

os.environ["OTEL_METRICS_EXPORTER"] = "otlp"
crucible.configure(service_name="signals", event_signal={signal!r})
try:
    with crucible.pipeline("p") as pipeline, pipeline.stage("train"), crucible.training_run("r") as run:
        for epoch in run.epochs(2):
            for step in range(500):
                epoch.record_step(loss=1 / (step + 1), learning_rate=0.1, samples=32, tokens=100, accuracy=0.5)
            epoch.record_gradient(2.0)
            epoch.record_validation(accuracy=0.75)
        run.save_checkpoint("c", write=lambda path: open(path, "w").write("12345"))
        run.stop_early("enough")
        raise ValueError("boom")
except ValueError:
    pass
with crucible.deployment("d"), crucible.inference("i"):
    pass
report = crucible.shutdown(20)
assert report.log_records == report.log_records_acknowledged > 0, report
"""


def with_logs(folder: Path) -> Path:
    """The file of the profile `grafana` with what docs/backends.md adds for log records."""
    page = (REPOSITORY / "docs/backends.md").read_text(encoding="utf-8")
    (added,) = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    config = yaml.safe_load((SHIPPED / "collector-grafana.yaml").read_text(encoding="utf-8"))
    config["exporters"] |= added["exporters"]
    config["service"]["pipelines"] |= added["service"]["pipelines"]
    path = folder / "with-logs.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def behind(sink: Sink, folder: Path, binary: Path) -> Collector:
    endpoints = {
        "otlp_grpc/jaeger": sink.grpc_endpoint,
        "otlp_grpc/tempo": sink.grpc_endpoint,
        "otlp_http/prometheus": f"{sink.http_endpoint}/api/v1/otlp",
        "otlp_http/logs": f"{sink.http_endpoint}/otlp",
    }
    return Collector(binary, with_logs(folder), folder, endpoints)


def plain(attributes: Any) -> dict[str, Any]:
    """Attributes by name, but for what the Collector adds itself."""
    return {each.key: value_of(each) for each in attributes if not each.key.startswith("redaction.")}


def value_of(attribute: KeyValue) -> Any:
    return attribute.value.SerializeToString(deterministic=True)


def events_of(spans: list[Span]) -> list[tuple[Any, ...]]:
    once = {span.span_id: span for span in spans}
    return sorted(
        (event.name, event.time_unix_nano, span.trace_id, span.span_id, sorted(plain(event.attributes).items()))
        for span in once.values()
        for event in span.events
    )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_log_records_arrive_as_the_events_are(collector: Path, sink: Sink, tmp_path: Path, protocol: str) -> None:
    with behind(sink, tmp_path, collector) as running:
        finish(start(["-c", PROGRAM.format(signal="both")], tmp_path, running.endpoint(protocol), protocol))
        stored = [received.span for received in journalled(tmp_path)]
        expected = events_of(stored)
        assert sink.wait(lambda it: len(it.logs()) >= len(expected)), running.log
    arrived = [
        (r.event_name, r.time_unix_nano, r.trace_id, r.span_id, sorted(plain(r.attributes).items()))
        for r in sink.logs()
    ]
    assert {name for name, *_ in arrived} == {*STAY_ON_THE_SPAN, "early_stopped", "step_abnormal"}
    assert sorted(arrived) == expected
    severities = {record.event_name: record.severity_text for record in sink.logs()}
    assert (severities["exception"], severities["steps_recorded"]) == ("ERROR", "INFO")


def test_in_place_of_span_events_the_rows_arrive_all_the_same(collector: Path, sink: Sink, tmp_path: Path) -> None:
    with behind(sink, tmp_path, collector) as running:
        finish(start(["-c", PROGRAM.format(signal="logs")], tmp_path, running.endpoint("grpc"), "grpc"))
        expected = journalled(tmp_path)
        assert sink.wait_for_spans(len(expected)), running.log
        assert sink.wait(lambda it: "early_stopped" in {record.event_name for record in it.logs()}), running.log
    assert {name for name, *_ in events_of(sink.spans())} == STAY_ON_THE_SPAN
    assert len(steps_of(sink.received())) == len(steps_of(expected)) == 1_000


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_arrive_as_the_registry_has_them(collector: Path, sink: Sink, tmp_path: Path, protocol: str) -> None:
    with behind(sink, tmp_path, collector) as running:
        finish(start(["-c", PROGRAM.format(signal="both")], tmp_path, running.endpoint(protocol), protocol))
        assert sink.wait(lambda it: metrics.CRUCIBLE_INFERENCE_DURATION in {m.name for m in it.metrics()}), running.log
        spans = {received.span.span_id for received in journalled(tmp_path)}
    found = {metric.name: metric for metric in sink.metrics() if metric.name.startswith("crucible.")}
    assert found.keys() == {
        *(metrics.CRUCIBLE_TRAINING_LOSS, metrics.CRUCIBLE_TRAINING_LEARNING_RATE, metrics.CRUCIBLE_TRAINING_METRIC),
        *(metrics.CRUCIBLE_TRAINING_GRADIENT_NORM, metrics.CRUCIBLE_TRAINING_STEP_DURATION),
        metrics.CRUCIBLE_TRAINING_ABNORMAL_STEPS,
        *(metrics.CRUCIBLE_TRAINING_STEPS, metrics.CRUCIBLE_TRAINING_SAMPLES, metrics.CRUCIBLE_TRAINING_TOKENS),
        *(metrics.CRUCIBLE_TRAINING_EPOCH_DURATION, metrics.CRUCIBLE_TRAINING_RUN_DURATION),
        *(metrics.CRUCIBLE_STAGE_DURATION, metrics.CRUCIBLE_INFERENCE_DURATION),
        *(metrics.CRUCIBLE_CHECKPOINT_DURATION, metrics.CRUCIBLE_CHECKPOINT_IO),
        *(metrics.CRUCIBLE_RECORDER_RECORDS, metrics.CRUCIBLE_SHIP_BACKLOG),
    }
    assert {name: metric.unit for name, metric in found.items()} == {name: METRICS[name].unit for name in found}
    points = {name: list(getattr(metric, metric.WhichOneof("data")).data_points) for name, metric in found.items()}
    assert [point.as_double for point in points[metrics.CRUCIBLE_TRAINING_LOSS]] == [1 / 500]
    assert [point.as_int for point in points[metrics.CRUCIBLE_TRAINING_STEPS]] == [1_000]
    (abnormal,) = points[metrics.CRUCIBLE_TRAINING_ABNORMAL_STEPS]  # the loss of the second epoch begins where it began
    assert (abnormal.as_int, [each.value.string_value for each in abnormal.attributes]) == (1, ["spike"])
    assert [point.as_int for point in points[metrics.CRUCIBLE_TRAINING_TOKENS]] == [100_000]
    assert [point.as_int for point in points[metrics.CRUCIBLE_CHECKPOINT_IO]] == [5]
    assert [point.count for point in points[metrics.CRUCIBLE_TRAINING_EPOCH_DURATION]] == [2]
    (run,) = points[metrics.CRUCIBLE_TRAINING_RUN_DURATION]
    assert plain(run.attributes).keys() == {"crucible.operation.result", "error.type"}
    exemplars = [e for of_one in points.values() for p in of_one for e in getattr(p, "exemplars", ())]
    assert exemplars
    assert {exemplar.span_id for exemplar in exemplars} <= spans
