"""P1 for log records and metrics: whatever breaks in them, the program goes on and the journal has its spans."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel import record, sdk
from crucible_trace_otel.sdk import _exporters, _logs, _meters, _outbox, _providers, _signals
from tests.backends.sink import Sink
from tests.faults.test_inside import Internal, break_it, each, functions

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODULES = tuple(module.__name__.rpartition(".")[2] for module in (_exporters, _logs, _meters, _outbox, _signals))
CAUGHT = {
    *("_use_logs", "_use_metrics", "flush", "begin_end", "end", "forget"),  # of Signals: they catch what is below them
    *("emit", "measure", "measure_span", "measure_event", "_records", "_backlog"),  # likewise
    *("__init__", "is_logged", "acknowledged", "_run"),  # nothing in them can fail but what they call
    *("check_providers", "use_event_log", "use_meter_provider"),  # called from outside
}
MAY_FAIL = {f"{of}.__init__" for of in ("_event_log._EventLog", "_metrics._Meters", "_logs.LogSender")}
MAY_FAIL |= {f"{of}.__init__" for of in ("_meters.MetricSender", "_outbox.Counting", "_outbox.Closing")}
MAY_FAIL |= {"_logs.LogSender.forget", "_outbox.Counting.forget", "_metrics._Meters.measure"}
INTERNALS = [
    internal
    for package, modules in ((sdk, MODULES), (record, ("_metrics", "_event_log")))
    for internal in functions(package)
    if internal.label.partition(".")[0] in modules and (internal.name not in CAUGHT or internal.label in MAY_FAIL)
]


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink() as receiver:
        yield receiver
    sdk.shutdown(0)
    sdk._current.clear()
    _providers._switches.clear()
    _providers._own.clear()


@each(INTERNALS)
def test_p01_whatever_is_broken_the_journal_has_every_span_and_step(
    sink: Sink, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str], internal: Internal
) -> None:
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "otlp")
    with monkeypatch.context() as patch:
        break_it(patch, internal)
        handle = crucible.configure(
            service_name="s", journal=tmp_path / "j", endpoint=sink.http_endpoint, ship="off", event_signal="logs"
        )
        with crucible.training_run("r") as run:
            for _ in range(300):
                run.record_step(loss=0.5)
            run.stop_early("enough")
        handle.flush(0)
        report = handle.shutdown(0.2)
    assert len(crucible.step_rows(crucible.open_store(tmp_path / "j").latest()).rows) == 300
    assert (report.stored, report.lost) == (2, 0)
    assert len(warned) <= 12, warned
