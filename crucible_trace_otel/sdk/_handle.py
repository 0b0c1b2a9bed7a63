"""What `configure()` returns: what became of what was recorded, and the end of recording."""

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.errors import logger, warn_once
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.records import HANDED_OVER
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record.files._digests import drain, give_up
from crucible_trace_otel.sdk._recorder import Recorder

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AT_EXIT", "EXIT_S", "FLUSH_S", "Handle", "Report"]

EXIT_S = 2.0
"""What the end of the process may take, seconds, where this process sends."""
FLUSH_S = 5.0
AT_EXIT = "exit"
"""How a journal is closed at the end of the process."""
_MOST_LISTED = 5


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the spans recorded so far. True only if a collector acknowledged all that are to be sent."""

    recorded: int = 0
    """Spans that ended, and those that were recorded about open ones."""
    stored: int = 0
    """Spans in the journal."""
    lost: int = 0
    """Spans that could not be kept."""
    acknowledged: int = 0
    """Spans the collector took."""
    refused: int = 0
    """Spans the collector turned down for good; the journal keeps them."""
    withheld: int = 0
    """Spans that only the journal keeps, as `CRUCIBLE_EXPORT_RANKS` says."""
    log_records: int = 0
    """Log records of events that this package sends itself."""
    log_records_acknowledged: int = 0
    """Log records the collector took."""
    endpoint: str | None = None
    """Where they were sent; None where nothing is sent."""
    complete: bool = False
    """Whether the collector acknowledged everything recorded before the call, but for what is withheld."""

    def __bool__(self) -> bool:
        return self.complete


class Handle:
    """What `configure()` set up; leaving its `with` block shuts it down."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._closed = False

    @guarded(lambda *_, **__: Report())
    def flush(self, timeout: float = FLUSH_S) -> Report:
        """Wait up to `timeout` seconds until everything recorded before this call is stored and acknowledged.

        Never raises, and never waits longer.
        """
        timeout = _seconds(timeout, FLUSH_S)
        until = time.monotonic() + timeout
        drain(timeout)
        recorded = self._recorder.recorded
        left = max(0.0, until - time.monotonic())
        is_settled = False
        if self._recorder.shipping is not None:
            is_settled = self._recorder.shipping.wait(left)
        elif self._recorder.sender is not None and not self._closed:
            self._recorder.sender.force_flush(int(left * 1_000))
        if self._recorder.signals is not None and not self._closed:
            self._recorder.signals.flush(max(0.0, until - time.monotonic()))
        return self._report(recorded, is_settled=is_settled)

    @guarded(lambda *_, **__: Report())
    def shutdown(self, timeout: float = EXIT_S, *, how: str = "shutdown") -> Report:
        """Say that nothing more is to come. What is recorded later is still stored. Never raises.

        Where another process sends what the journal holds, that goes on without this one, which waits for a moment
        only. Where this process sends, it waits as `flush()` does. Says in one line what is not sent, and where it is.
        """
        if self._closed:
            return self._report(self._recorder.recorded)
        timeout = _seconds(timeout, EXIT_S)
        until = time.monotonic() + timeout
        recorder = self._recorder
        drain(timeout / 2 if recorder.sender or recorder.shipping else timeout)  # the other half is for sending
        give_up()
        recorded, is_settled = recorder.recorded, False
        if recorder.signals is not None:
            recorder.signals.begin_end()
        if recorder.journal is not None:
            self._tell_of_open(recorder.journal)
            if recorder.steps is not None:
                recorder.steps.close()
            recorder.journal.close(how, _last_error() if how == AT_EXIT else "")
        left = max(0.0, until - time.monotonic())
        if recorder.shipping is not None:
            is_settled = recorder.shipping.end(left)
        elif recorder.sender is not None:
            recorder.sender.shutdown(left)
        if recorder.signals is not None:
            recorder.signals.end(max(0.0, until - time.monotonic()))
        self._closed = True
        report = self._report(recorded, is_settled=is_settled)
        _say(report, recorder)
        return report

    @guarded(nothing)
    def hand_over(self, following: Recorder) -> None:
        """End because `configure()` was called again: what is open is ended by `following`. Never raises."""
        if following.journal is not None and self._recorder.journal is not None:
            following.journal.take_over(self._recorder.journal)
        self.shutdown(how=HANDED_OVER)

    def _report(self, recorded: int, *, is_settled: bool = False) -> Report:
        journal, sender, shipping = self._recorder.journal, self._recorder.sender, self._recorder.shipping
        acknowledged = sender.acknowledged if sender else shipping.sent if shipping else 0
        refused = shipping.refused if shipping else 0
        lost = journal.lost + (journal.waiting if self._closed else 0) if journal else 0
        complete = sender is not None and acknowledged >= recorded and not sender.has_missed
        if shipping is not None:
            complete = is_settled and not refused and not lost
        logs = self._recorder.signals.logs if self._recorder.signals else None
        return Report(
            recorded=recorded,
            stored=journal.stored if journal else 0,
            lost=lost,
            acknowledged=acknowledged,
            refused=refused,
            withheld=shipping.withheld if shipping else 0,
            endpoint=sender.endpoint if sender else shipping.endpoint if shipping else None,
            complete=complete and (logs is None or logs.acknowledged >= logs.emitted),
            log_records=logs.emitted if logs else 0,
            log_records_acknowledged=logs.acknowledged if logs else 0,
        )

    def _tell_of_open(self, journal: JournalSpanProcessor) -> None:
        names = journal.open.unended()
        if names:
            listed = ", ".join(names[:_MOST_LISTED]) + (", ..." if len(names) > _MOST_LISTED else "")
            _warn("%d operations have not ended: %s. They are shown as interrupted.", len(names), listed)

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.shutdown()


def _seconds(given: Any, default: float) -> float:
    """A time to wait: `given`, or the default where that is no number."""
    if not isinstance(given, (int, float)) or given != given:  # noqa: PLR0124 - NaN alone differs from itself
        warn_once(f"timeout {given!r}", f"timeout={given!r} is no number of seconds; {default:g} is used instead.")
        return default
    return max(0.0, min(float(given), threading.TIMEOUT_MAX))


def _say(report: Report, recorder: Recorder) -> None:
    """One line about what did not arrive, and where it is."""
    journal, shipping = recorder.journal, recorder.shipping
    missing = report.recorded - report.acknowledged - report.withheld
    logs = recorder.signals.logs if recorder.signals else None
    if logs is not None and report.log_records_acknowledged < report.log_records:
        said = "%d of %d log records of events were not acknowledged by %s; they are not sent again."
        _warn(said, report.log_records - report.log_records_acknowledged, report.log_records, logs.endpoint)
    if report.lost and journal is not None:
        _warn("%d of %d spans could not be stored in %s.", report.lost, report.recorded, journal.directory)
    if shipping is not None and journal is not None:
        if report.refused:
            said = "%d of %d spans were refused by %s; they are kept in %s: `crucible-trace status` says why."
            _warn(said, report.refused, report.recorded, report.endpoint, journal.directory)
        trouble = shipping.trouble
        if missing > report.refused and trouble is not None:
            said = "%d of %d spans wait in %s to be sent to %s: %s.%s"
            waiting = missing - report.refused
            why = f" {trouble}" if trouble else ""
            _warn(said, waiting, report.recorded, journal.directory, report.endpoint, shipping.prospect, why)
    elif report.endpoint is not None and not report:
        said = "%d of %d spans were not acknowledged by %s; they are not kept anywhere else."
        _warn(said, missing, report.recorded, report.endpoint)


def _last_error() -> str:
    """The exception that ends the program, where one does."""
    error = getattr(sys, "last_value", None)
    return "" if error is None else type(error).__name__


def _warn(message: str, *arguments: object) -> None:
    with suppress(Exception):  # a broken log handler of the host must not keep the process from ending
        logger.warning(message, *arguments)
