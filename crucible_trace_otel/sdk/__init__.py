"""Set up: where what is recorded goes.

    crucible.configure(service_name="trainer")      # a journal in ./.crucible; sends too, if an endpoint is set

Nothing here runs at import: no thread, no file, no socket before `configure()`.
"""

# isort: off
from crucible_trace_otel.sdk import _importable  # noqa: F401 - before anything else imports the SDK
# isort: on

import atexit
import os
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.util import Finalize, register_after_fork
from types import TracebackType
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api

from crucible_trace_otel.errors import logger, warn_once
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.record._digests import drain, give_up
from crucible_trace_otel.sdk._providers import connect, foreign_provider, own_provider
from crucible_trace_otel.sdk._recorder import Recorder
from crucible_trace_otel.sdk._sender import Sender
from crucible_trace_otel.sdk._settings import Settings, read_settings

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Handle", "Report", "configure", "flush", "shutdown"]

_EXIT_S = 2.0
_FLUSH_S = 5.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of the spans recorded so far. True only if a collector acknowledged all of them."""

    recorded: int = 0
    """Spans that ended."""
    stored: int = 0
    """Spans in the journal."""
    lost: int = 0
    """Spans the journal could not take."""
    acknowledged: int = 0
    """Spans the collector took."""
    endpoint: str | None = None
    """Where they were sent; None where nothing is sent."""
    complete: bool = False
    """Whether the collector acknowledged everything recorded before the call."""

    def __bool__(self) -> bool:
        return self.complete


class Handle:
    """What `configure()` set up; leaving its `with` block shuts it down."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder
        self._closed = False

    def flush(self, timeout: float = _FLUSH_S) -> Report:
        """Wait up to `timeout` seconds until everything recorded before this call is stored and acknowledged.

        Never raises, and never waits longer.
        """
        timeout = _seconds(timeout, _FLUSH_S)
        until = time.monotonic() + timeout
        drain(timeout)
        recorded = self._recorder.recorded
        sender = self._recorder.sender
        if sender is not None and not self._closed:
            sender.force_flush(int(max(0.0, until - time.monotonic()) * 1_000))
        return self._report(recorded)

    def shutdown(self, timeout: float = _EXIT_S) -> Report:
        """Wait as `flush()` does, then stop sending. What is recorded later is still stored. Never raises.

        Says in one line what did not reach the collector, and where it is kept.
        """
        if self._closed:
            return self._report(self._recorder.recorded)
        timeout = _seconds(timeout, _EXIT_S)
        until = time.monotonic() + timeout
        drain(timeout / 2 if self._recorder.sender else timeout)  # the other half is for sending
        give_up()
        recorded = self._recorder.recorded
        if self._recorder.sender is not None:
            self._recorder.sender.shutdown(max(0.0, until - time.monotonic()))
        self._closed = True
        report = self._report(recorded)
        if self._recorder.journal is not None:
            self._recorder.journal.shutdown()
        _say(report, self._recorder.journal)
        return report

    def _report(self, recorded: int) -> Report:
        journal, sender = self._recorder.journal, self._recorder.sender
        acknowledged = sender.acknowledged if sender else 0
        return Report(
            recorded=recorded,
            stored=journal.stored if journal else 0,
            lost=journal.lost if journal else 0,
            acknowledged=acknowledged,
            endpoint=sender.endpoint if sender else None,
            complete=sender is not None and acknowledged >= recorded and not sender.has_missed,
        )

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.shutdown()


class _Handles(list[Handle]):
    """A list that can be referred to weakly, as multiprocessing wants it."""


_lock = threading.RLock()
_current = _Handles()
"""The handle in use, if any."""


def configure(
    *,
    service_name: str | None = None,
    journal: str | os.PathLike[str] | bool | None = None,
    endpoint: str | None = None,
    protocol: str | None = None,
    headers: Mapping[str, str] | None = None,
    console: bool | None = None,
    tracer_provider: trace_api.TracerProvider | None = None,
    resource_attributes: Mapping[str, Any] | None = None,
) -> Handle:
    """Say where what is recorded goes. Called again, the second call replaces the first.

    An argument beats its environment variable. A provider that was set up before is respected: it keeps its resource,
    sampler and exporters, and gets one more span processor; to send from it a second time, give `endpoint` itself.

    Args:
        service_name: The role of this process (`OTEL_SERVICE_NAME`); the script's name when nobody says.
        journal: Directory of the journal (`CRUCIBLE_JOURNAL`), `.crucible` when nobody says; False for none.
        endpoint: Base address of an OTLP collector (`OTEL_EXPORTER_OTLP_ENDPOINT`); nothing is sent without one.
        protocol: `http/protobuf` or `grpc` (`OTEL_EXPORTER_OTLP_PROTOCOL`); by the port when nobody says.
        headers: Sent with each request (`OTEL_EXPORTER_OTLP_HEADERS`).
        console: Whether operations are printed as they start and end (`CRUCIBLE_CONSOLE`).
        tracer_provider: A provider of your own to record through; OpenTelemetry's global one is left alone then.
        resource_attributes: More about this process, added to `OTEL_RESOURCE_ATTRIBUTES`.

    Returns:
        A handle with `flush()` and `shutdown()`, which also is a context manager. At the end of the process it is
        shut down by itself, within two seconds.

    Raises:
        ConfigurationError: An argument cannot be used: one sentence names it, its value and the way out.
    """
    settings = read_settings(
        service_name=service_name,
        resource_attributes=resource_attributes,
        journal=journal,
        endpoint=endpoint,
        protocol=protocol,
        headers=headers,
        console=console,
    )
    with _lock:
        provider = foreign_provider(tracer_provider)
        if provider is not None and (service_name is not None or resource_attributes is not None):
            warn_once(
                "resource kept", "The tracer provider that was set up before keeps its service name and resource."
            )
        recorder = _recorder(settings, sends=provider is None or endpoint is not None)
        for previous in _current:  # only now that nothing can fail any more
            previous.shutdown()
        connect(provider or own_provider(settings), recorder)
        if not _current:
            atexit.register(_at_exit)
            _end_with_workers()
            register_after_fork(_current, lambda _: _end_with_workers())
        _current[:] = [Handle(recorder)]
        return _current[0]


def flush(timeout: float = _FLUSH_S) -> Report:
    """Wait up to `timeout` seconds until everything recorded before this call is stored and acknowledged.

    The report is true only if the collector acknowledged all of it. Never raises; false where nothing is configured.
    """
    return _current[0].flush(timeout) if _current else Report()


def shutdown(timeout: float = _EXIT_S) -> Report:
    """Wait as `flush()` does, then stop sending; done by itself at the end of the process. Never raises."""
    return _current[0].shutdown(timeout) if _current else Report()


def _seconds(given: Any, default: float) -> float:
    """A time to wait: `given`, or the default where that is no number."""
    if not isinstance(given, (int, float)) or given != given:  # noqa: PLR0124 - NaN alone differs from itself
        warn_once(f"timeout {given!r}", f"timeout={given!r} is no number of seconds; {default:g} is used instead.")
        return default
    return max(0.0, min(float(given), threading.TIMEOUT_MAX))


def _recorder(settings: Settings, *, sends: bool) -> Recorder:
    console = None
    if settings.console:
        from crucible_trace_otel.renderers.console import ConsoleSpanProcessor  # noqa: PLC0415 - it loads rich

        console = ConsoleSpanProcessor()
    return Recorder(
        JournalSpanProcessor(settings.journal) if settings.journal is not None else None,
        console,
        Sender(settings) if sends and settings.endpoint is not None else None,
    )


def _say(report: Report, journal: JournalSpanProcessor | None) -> None:
    """One line about what did not arrive, and where it is."""
    if report.endpoint is not None and not report:
        missing = report.recorded - report.acknowledged
        kept = (
            f"they are kept in {journal.directory}"
            if journal and not report.lost
            else "they are not kept anywhere else"
        )
        _warn("%d of %d spans were not acknowledged by %s; %s.", missing, report.recorded, report.endpoint, kept)
    if report.lost and journal is not None:
        _warn("%d of %d spans could not be stored in %s.", report.lost, report.recorded, journal.directory)


def _warn(message: str, *arguments: object) -> None:
    with suppress(Exception):  # a broken log handler of the host must not keep the process from ending
        logger.warning(message, *arguments)


def _end_with_workers() -> None:
    """Shut down in multiprocessing's workers too: they leave without running `atexit`."""
    Finalize(None, _at_exit, exitpriority=0)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may hold it
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def _at_exit() -> None:
    for handle in _current:
        handle.shutdown()
