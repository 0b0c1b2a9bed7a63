"""Events as log records: name, attributes, time and severity as the span event's, and correlated with the span."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry._logs import Logger, LoggerProvider, NoOpLoggerProvider, SeverityNumber
from opentelemetry.sdk._logs import LoggerProvider as SdkLoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor

import crucible_trace_otel as crucible
from crucible_trace_otel.record._event_log import use_event_log
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.semconv.catalogue import EVENTS

if TYPE_CHECKING:
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk.trace import ReadableSpan

    from tests.record.reading import Recording

STAYS = {"steps_recorded", "gradient_computed", "exception"}
ALL = {*STAYS, "early_stopped"}


class Logged:
    """A logger provider of its own, and what was emitted through it."""

    def __init__(self) -> None:
        self._exporter = InMemoryLogRecordExporter()
        self.provider = SdkLoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._exporter))

    @property
    def records(self) -> list[LogRecord]:
        return [each.log_record for each in self._exporter.get_finished_logs()]


@pytest.fixture
def logged() -> Logged:
    return Logged()


def train() -> None:
    with pytest.raises(ValueError, match="boom"), crucible.training_run("r") as run:
        for _ in run.epochs(1):
            for _ in range(300):
                run.record_step(loss=0.5)
            run.record_gradient(1)
            run.stop_early("enough")
            raise ValueError("boom")


def events_of(spans: list[ReadableSpan]) -> list[tuple[Any, ...]]:
    return sorted(
        (event.name, event.timestamp, span.context.trace_id, span.context.span_id, dict(event.attributes or {}).items())
        for span in spans
        for event in span.events
    )


def as_events(records: list[LogRecord]) -> list[tuple[Any, ...]]:
    return sorted((r.event_name, r.timestamp, r.trace_id, r.span_id, dict(r.attributes or {}).items()) for r in records)


def names(spans: list[ReadableSpan]) -> set[str]:
    return {event.name for span in spans for event in span.events}


def test_both_are_the_same_but_for_the_signal(recorded: Recording, logged: Logged) -> None:
    use_event_log(logged.provider)
    train()
    assert names(recorded.spans) == ALL
    assert as_events(logged.records) == events_of(recorded.spans)
    assert {record.severity_number for record in logged.records} == {SeverityNumber.INFO, SeverityNumber.ERROR}
    assert all(record.body is None for record in logged.records)


def test_in_place_of_span_events_windows_and_exceptions_stay_on_the_span(recorded: Recording, logged: Logged) -> None:
    use_event_log(logged.provider, replaces=True)
    train()
    assert {record.event_name for record in logged.records} == ALL
    assert names(recorded.spans) == STAYS
    assert len(recorded.rows()) == 300
    assert recorded.one("training_run").attributes["crucible.training.stop_reason"] == "enough"


@pytest.mark.parametrize("name", [*EVENTS, "exception"])
def test_the_severity_is_that_of_the_registry(recorded: Recording, logged: Logged, name: str) -> None:
    use_event_log(logged.provider)
    with crucible.stage("s") as stage:
        emit_event(stage, name, {})
    (record,) = logged.records
    expected = "error" if name == "exception" else EVENTS[name].severity
    assert record.severity_text == SeverityNumber(record.severity_number).name == expected.upper()


def test_what_no_logger_takes_stays_on_the_span(recorded: Recording) -> None:
    use_event_log(NoOpLoggerProvider(), replaces=True)
    train()
    assert names(recorded.spans) == ALL


def test_an_operation_that_is_not_recorded_logs_nothing(logged: Logged) -> None:
    use_event_log(logged.provider)
    train()
    assert logged.records == []


class Broken(LoggerProvider):
    def get_logger(self, name: str, *_: Any, **__: Any) -> Logger:
        logger = NoOpLoggerProvider().get_logger(name)
        logger.enabled = lambda **_: True  # type: ignore[method-assign]
        logger.emit = self._raise  # type: ignore[method-assign]
        return logger

    def _raise(self, *_: Any, **__: Any) -> None:
        raise OSError("no log")


@pytest.mark.parametrize("replaces", [True, False])
def test_a_broken_logger_costs_log_records_only(recorded: Recording, warned: list[str], replaces: bool) -> None:
    use_event_log(Broken(), replaces=replaces)
    train()
    assert names(recorded.spans) == ALL
    assert len(warned) == 1
