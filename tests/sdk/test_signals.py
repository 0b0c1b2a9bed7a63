"""Log records and metrics under `configure()`: whose provider takes them, where they go; nothing waits for them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import metrics
from crucible_trace_otel.semconv.catalogue import METRICS
from tests.backends.process import free_ports
from tests.journal.process import run
from tests.sdk.answering import answering

if TYPE_CHECKING:
    from tests.backends.sink import Sink

PROTOCOLS = ["http/protobuf", "grpc"]
EXIT_S = 5.0  # two seconds are promised, the rest is for a machine that is busy with something else
OF_THE_RECORDER = {metrics.CRUCIBLE_RECORDER_RECORDS, metrics.CRUCIBLE_SHIP_BACKLOG}


def address(sink: Sink, protocol: str) -> str:
    return f"http://127.0.0.1:{sink.grpc_port if protocol == 'grpc' else sink.http_port}"


def train(steps: int = 300) -> None:
    with crucible.training_run("r") as run_, run_.epoch(0) as epoch:
        for step in range(steps):
            epoch.record_step(loss=1 / (step + 1))
        run_.stop_early("enough")


def memory() -> tuple[LoggerProvider, InMemoryLogRecordExporter]:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    return provider, exporter


def logged(exporter: InMemoryLogRecordExporter) -> set[str | None]:
    return {each.log_record.event_name for each in exporter.get_finished_logs()}


def stored_events() -> set[str]:
    trace = crucible.open_store("j").latest()
    return {event.name for span in trace.spans for event in span.events}


def measured(reader: InMemoryMetricReader) -> dict[str, Any]:
    data = reader.get_metrics_data()
    groups = data.resource_metrics if data else []
    return {each.name: each for group in groups for scoped in group.scope_metrics for each in scoped.metrics}


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("signal", ["logs", "both"])
def test_events_are_sent_as_log_records_and_every_step_stays_in_the_journal(
    sink: Sink, protocol: str, signal: str
) -> None:
    handle = crucible.configure(
        service_name="s", journal="j", endpoint=address(sink, protocol), protocol=protocol, event_signal=signal
    )
    train()
    report = handle.flush(30)
    assert report
    assert report.log_records == report.log_records_acknowledged == 3
    assert sorted(record.event_name for record in sink.logs()) == ["early_stopped", "steps_recorded", "steps_recorded"]
    (stopped,) = [record for record in sink.logs() if record.event_name == "early_stopped"]
    (run_,) = [span for span in sink.spans() if span.name == "training_run"]
    assert (stopped.trace_id, stopped.span_id) == (run_.trace_id, run_.span_id)
    assert ("early_stopped" in stored_events()) == (signal == "both")
    assert len(crucible.step_rows(crucible.open_store("j").latest()).rows) == 300


def test_span_events_are_the_default_and_nothing_else_is_loaded_or_sent(sink: Sink, tmp_path: Path) -> None:
    code = """
    import sys
    import crucible_trace_otel as crucible
    crucible.configure(service_name="s", ship="thread")
    with crucible.training_run("r") as run:
        run.record_step(loss=1.0)
        run.stop_early("enough")
    assert crucible.flush(30)
    print([name for name in sys.modules if "sdk._logs" in name or "sdk.metrics" in name])
    """
    out, _ = run(code, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.http_endpoint)
    assert out == "[]\n"
    assert (sink.logs(), sink.metrics()) == ([], [])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_metrics_are_sent_where_the_standard_variable_says_so(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, protocol: str
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", protocol)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", address(sink, protocol))
    handle = crucible.configure(service_name="s", journal="j")
    train()
    assert handle.flush(30)
    found = {metric.name: metric for metric in sink.metrics()}
    assert found.keys() >= {metrics.CRUCIBLE_TRAINING_LOSS, metrics.CRUCIBLE_TRAINING_STEPS, *OF_THE_RECORDER}
    assert found[metrics.CRUCIBLE_TRAINING_STEPS].sum.data_points[0].as_int == 300
    assert all(metric.unit == METRICS[name].unit for name, metric in found.items())


def test_what_is_measured_last_is_sent_at_the_end(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    handle = crucible.configure(service_name="s", journal=False, endpoint=sink.http_endpoint, event_signal="logs")
    train()
    handle.shutdown()
    assert metrics.CRUCIBLE_TRAINING_RUN_DURATION in {metric.name for metric in sink.metrics()}
    assert len(sink.logs()) == 3


def test_a_provider_given_takes_them_and_the_endpoint_gets_none(sink: Sink) -> None:
    provider, exporter = memory()
    reader = InMemoryMetricReader()
    handle = crucible.configure(
        service_name="s",
        journal="j",
        endpoint=sink.http_endpoint,
        event_signal="both",
        logger_provider=provider,
        meter_provider=MeterProvider([reader], shutdown_on_exit=False),
    )
    train()
    handle.shutdown()
    assert logged(exporter) == {"steps_recorded", "early_stopped"}
    assert {metrics.CRUCIBLE_TRAINING_LOSS, *OF_THE_RECORDER} <= measured(reader).keys()
    assert (sink.logs(), sink.metrics()) == ([], [])


def test_the_global_providers_are_respected(monkeypatch: pytest.MonkeyPatch, sink: Sink) -> None:
    provider, exporter = memory()
    reader = InMemoryMetricReader()
    monkeypatch.setattr("opentelemetry._logs._internal._LOGGER_PROVIDER", provider)
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", MeterProvider([reader]))
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv("CRUCIBLE_EVENT_SIGNAL", "Logs")
    crucible.configure(service_name="s", journal="j", endpoint=sink.http_endpoint)
    train()
    assert logged(exporter) == {"steps_recorded", "early_stopped"}
    assert {metrics.CRUCIBLE_TRAINING_LOSS, *OF_THE_RECORDER} <= measured(reader).keys()
    assert (sink.logs(), sink.metrics()) == ([], [])


def test_the_recorder_tells_what_became_of_its_records() -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    (port,) = free_ports(1)
    endpoint = f"http://127.0.0.1:{port}"  # nobody is there
    crucible.configure(service_name="s", journal="before", meter_provider=provider)
    handle = crucible.configure(
        service_name="s", journal="j", endpoint=endpoint, ship="thread", meter_provider=provider
    )
    train()
    recorded = handle.flush(0).recorded
    found = measured(reader)
    points = found[metrics.CRUCIBLE_RECORDER_RECORDS].data.data_points
    states = {point.attributes["crucible.recorder.state"]: point.value for point in points}
    assert states == {"recorded": recorded, "stored": recorded, "lost": 0, "sent": 0, "refused": 0}
    (backlog,) = found[metrics.CRUCIBLE_SHIP_BACKLOG].data.data_points
    assert 0 < backlog.value <= sum(path.stat().st_size for path in Path("j").glob("*.segment"))


def test_nothing_waits_once_all_is_sent(sink: Sink) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    handle = crucible.configure(service_name="s", journal="j", endpoint=sink.http_endpoint, meter_provider=provider)
    train()
    assert handle.flush(30)
    (backlog,) = measured(reader)[metrics.CRUCIBLE_SHIP_BACKLOG].data.data_points
    assert backlog.value == 0


def test_nowhere_to_log_to_is_said_and_events_stay_on_their_spans(warned: list[str]) -> None:
    crucible.configure(service_name="s", journal="j", event_signal="logs")
    train()
    assert "early_stopped" in stored_events()
    (said,) = warned
    assert said == (
        "Events become no log records, though event_signal='logs': there is no logger provider and no endpoint for log "
        "records. They stay events of their spans."
    )


def test_after_shutdown_events_are_still_stored(sink: Sink) -> None:
    handle = crucible.configure(service_name="s", journal="j", endpoint=sink.http_endpoint, event_signal="logs")
    with crucible.training_run("r") as run_:
        handle.shutdown()
        run_.stop_early("enough")
    assert "early_stopped" in stored_events()
    assert sink.logs() == []


def test_log_records_that_are_not_taken_are_counted_and_said(warned: list[str]) -> None:
    with answering(500) as (endpoint, asked):
        handle = crucible.configure(service_name="s", journal="j", endpoint=endpoint, ship="off", event_signal="both")
        train()
        began = time.monotonic()
        report = handle.shutdown(0.5)
        assert time.monotonic() - began < EXIT_S
    assert (report.log_records, report.log_records_acknowledged) == (3, 0)
    assert any(path.endswith("/v1/logs") for path in asked)
    (said,) = [line for line in warned if "log records of events" in line]
    assert said == f"3 of 3 log records of events were not acknowledged by {endpoint}/v1/logs; they are not sent again."
    assert "early_stopped" in stored_events()


def test_a_queue_that_overflows_is_counted(sink: Sink, warned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_BLRP_MAX_QUEUE_SIZE", "10")
    monkeypatch.setenv("OTEL_BLRP_SCHEDULE_DELAY", "60000")
    with answering(503) as (endpoint, _):
        handle = crucible.configure(service_name="s", journal="j", endpoint=endpoint, ship="off", event_signal="both")
        with crucible.training_run("r") as run_:
            for _ in range(100):
                run_.stop_early("enough")
        report = handle.shutdown(0.5)
    assert (report.log_records, report.log_records_acknowledged) == (100, 0)
    assert any(line.startswith("100 of 100 log records") for line in warned)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ({"event_signal": "metrics"}, "event_signal='metrics' is nothing that events become"),
        ({"event_signal": 3}, "event_signal=3 is nothing"),
        ({"event_signal": ["logs"]}, r"event_signal=\['logs'\] is nothing"),
        ({"meter_provider": object()}, r"meter_provider=.* has no get_meter\(\)"),
        ({"logger_provider": "logs"}, r"logger_provider='logs' has no get_logger\(\)"),
        ({"meter_provider": MeterProvider, "logger_provider": 1}, "logger_provider=1"),
    ],
)
def test_what_cannot_be_used_is_one_clear_sentence(arguments: dict[str, Any], complaint: str) -> None:
    with pytest.raises(crucible.ConfigurationError, match=complaint):
        crucible.configure(service_name="s", journal=False, **arguments)


def test_a_variable_that_cannot_be_used_is_a_warning(warned: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_EVENT_SIGNAL", "metrics")
    crucible.configure(service_name="s", journal="j")
    assert warned == [
        "CRUCIBLE_EVENT_SIGNAL='metrics' cannot be used (it must be one of spans, logs, both); spans is used instead."
    ]


class Broken:
    """A provider of anything, all of which raises."""

    def get_meter(self, *_: Any, **__: Any) -> Any:
        raise OSError("no meter")

    def get_logger(self, *_: Any, **__: Any) -> Any:
        raise OSError("no logger")


def test_broken_providers_do_not_reach_the_program(warned: list[str]) -> None:
    broken: Any = Broken()
    handle = crucible.configure(
        service_name="s", journal="j", event_signal="logs", meter_provider=broken, logger_provider=broken
    )
    train()
    report = handle.shutdown()
    assert (report.recorded, report.lost) == (report.stored, 0)
    assert stored_events() == {"steps_recorded", "early_stopped"}
    assert warned
    assert all("The program goes on" in line for line in warned)


def test_settings_of_the_exporters_that_cannot_be_used_leave_the_rest_at_work(
    sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    monkeypatch.setenv("OTEL_METRIC_EXPORT_INTERVAL", "-1")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_LOGS_TIMEOUT", "soon")
    handle = crucible.configure(service_name="s", journal="j", endpoint=sink.http_endpoint, event_signal="both")
    train()
    assert handle.flush(30)
    assert len(sink.logs()) == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_forked_child_sends_its_own(sink: Sink, tmp_path: Path, protocol: str) -> None:
    code = """
    import os
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # of forking beside threads
    import crucible_trace_otel as crucible

    def train(steps):
        with crucible.training_run("r") as run:
            for _ in range(steps):
                run.record_step(loss=1.0)
            run.stop_early(str(steps))

    crucible.configure(service_name="s")
    train(3)
    assert crucible.flush(30)
    child = os.fork()
    if child == 0:
        train(5)
        report = crucible.shutdown(20)
        os._exit(report.log_records != 2 or report.log_records_acknowledged != 2)
    assert os.waitpid(child, 0)[1] == 0
    train(7)
    report = crucible.shutdown(20)
    assert (report.log_records, report.log_records_acknowledged) == (4, 4), report
    """
    run(
        code,
        tmp_path,
        OTEL_EXPORTER_OTLP_ENDPOINT=address(sink, protocol),
        OTEL_EXPORTER_OTLP_PROTOCOL=protocol,
        OTEL_METRICS_EXPORTER="otlp",
        CRUCIBLE_EVENT_SIGNAL="both",
        CRUCIBLE_SHIP="thread",
    )
    said = [r.attributes[0].value.string_value for r in sink.logs() if r.event_name == "early_stopped"]
    assert sorted(said) == ["3", "5", "7"]
    steps = [
        point.as_int
        for metric in sink.metrics()
        if metric.name == metrics.CRUCIBLE_TRAINING_STEPS
        for point in metric.sum.data_points
    ]
    assert sorted(set(steps)) == [3, 5, 10]  # the child counts from nothing, the parent goes on


def test_a_second_configure_takes_the_log_records_over(sink: Sink) -> None:
    first, second = memory(), memory()
    crucible.configure(service_name="s", journal="j", event_signal="both", logger_provider=first[0])
    train()
    crucible.configure(service_name="s", journal="j", event_signal="both", logger_provider=second[0])
    train()
    crucible.configure(service_name="s", journal="j")
    train()
    assert [len(exporter.get_finished_logs()) for _, exporter in (first, second)] == [3, 3]
