"""Set up: where what is recorded goes.

    crucible.configure(service_name="trainer")      # a journal in ./.crucible; sends too, if an endpoint is set

Nothing here runs at import: no thread, no file, no socket before `configure()`. Where to look:

    what was said   _settings -> _variables
    spans           _providers, _ids, _recorder (the one processor) -> a journal, the console, or _sender
    the journal     _shipping (who sends it), _upkeep (where nobody does)
    other signals   _signals -> _logs, _meters
    from memory     _outbox (counting, ending) -> _exporters, _answers, _quiet; used by _sender, _logs, _meters
    the end         _handle: flush(), shutdown(), and what they report
    the SDK         _importable: before anything else imports it
"""

# isort: off
from crucible_trace_otel.sdk import _importable  # noqa: F401 - before anything else imports the SDK
# isort: on

import atexit
import os
import threading
from collections.abc import Mapping
from multiprocessing.util import Finalize, register_after_fork
from typing import TYPE_CHECKING, Any, Literal

from opentelemetry import trace as trace_api

from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.sizes import TRACES
from crucible_trace_otel.journal.writer import Sync
from crucible_trace_otel.record._model_calls import use_prices
from crucible_trace_otel.record.processes._launchers import ProcessRank
from crucible_trace_otel.record.processes._process import use_process_rank
from crucible_trace_otel.record.steps._windows import keep_what_waits
from crucible_trace_otel.sdk._handle import AT_EXIT, EXIT_S, FLUSH_S, Handle, Report
from crucible_trace_otel.sdk._providers import connect, foreign_provider, own_provider
from crucible_trace_otel.sdk._recorder import Recorder
from crucible_trace_otel.sdk._sender import Sender
from crucible_trace_otel.sdk._settings import Settings, read_settings
from crucible_trace_otel.sdk._shipping import Shipping
from crucible_trace_otel.sdk._signals import Signals, check_providers
from crucible_trace_otel.sdk._upkeep import Upkeep

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider

    from crucible_trace_otel.prices import PriceTable

__all__ = ["Handle", "Report", "configure", "flush", "shutdown"]


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
    ship: str | None = None,
    tracer_provider: trace_api.TracerProvider | None = None,
    meter_provider: "MeterProvider | None" = None,
    logger_provider: "LoggerProvider | None" = None,
    event_signal: str | None = None,
    resource_attributes: Mapping[str, Any] | None = None,
    prices: "PriceTable | str | os.PathLike[str] | None" = None,
    rank: ProcessRank | Literal[False] | None = None,
) -> Handle:
    """Say where what is recorded goes. Called again, the second call replaces the first.

    An argument beats its environment variable. A provider that was set up before is respected: it keeps its resource,
    sampler and exporters, and gets one more span processor; to send from it a second time, give `endpoint` itself.
    The handle it returns has `flush()` and `shutdown()`, and is a context manager; at exit it ends within two seconds.

    Args:
        service_name: The role of this process (`OTEL_SERVICE_NAME`); the script's name when nobody says.
        journal: Directory of the journal (`CRUCIBLE_JOURNAL`), `.crucible` when nobody says; False for none.
        endpoint: Base address of an OTLP collector (`OTEL_EXPORTER_OTLP_ENDPOINT`); nothing is sent without one.
        protocol: `http/protobuf` or `grpc` (`OTEL_EXPORTER_OTLP_PROTOCOL`); by the port when nobody says.
        headers: Sent with each request (`OTEL_EXPORTER_OTLP_HEADERS`).
        console: Whether operations are printed as they start and end (`CRUCIBLE_CONSOLE`).
        ship: Who sends (`CRUCIBLE_SHIP`): a `process` that outlives this one and reports its crash, `thread`, `off`.
        tracer_provider: A provider of your own to record through; OpenTelemetry's global one is left alone then.
        meter_provider: What numbers are measured through; the global one, if somebody set it, when nobody says.
        logger_provider: What takes log records; the global one, or one to the endpoint, when nobody says.
        event_signal: What events become (`CRUCIBLE_EVENT_SIGNAL`): `spans`, events of these; `logs`, records; `both`.
        resource_attributes: More about this process, added to `OTEL_RESOURCE_ATTRIBUTES`.
        prices: What calls of language models are priced by (`CRUCIBLE_PRICES`): a `PriceTable`, or its JSON file.
        rank: Which process of a distributed run this is, where no launcher says so; False for none, whatever they say.

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
        ship=ship,
        event_signal=event_signal,
        prices=prices,
        rank=rank,
    )
    check_providers(meter_provider, logger_provider)
    with _lock:
        return _begin(settings, tracer_provider, meter_provider, logger_provider)


def _begin(
    settings: Settings,
    tracer_provider: trace_api.TracerProvider | None,
    meter_provider: "MeterProvider | None",
    logger_provider: "LoggerProvider | None",
) -> Handle:
    """Record as `settings` say, in place of what was set up before.

    Raises:
        ConfigurationError: The provider takes no span processors.
    """
    foreign = foreign_provider(tracer_provider, says_who=settings.says_who)
    recorder = _recorder(settings, sends=foreign is None or settings.says_where)
    use_process_rank(settings.rank)
    provider = foreign or own_provider(settings)
    for previous in _current:  # only now that nothing can fail any more
        previous.hand_over(recorder)
    connect(provider, recorder)
    if not _current:
        atexit.register(_at_exit)
        _end_with_workers()
        register_after_fork(_current, lambda _: _end_with_workers())
    _current[:] = [Handle(recorder)]
    recorder.signals = Signals(settings, foreign, recorder, meter_provider, logger_provider)
    return _current[0]


def flush(timeout: float = FLUSH_S) -> Report:
    """Wait up to `timeout` seconds until everything recorded before this call is stored and acknowledged.

    The report is true only if the collector acknowledged all of it. Never raises; false where nothing is configured.
    """
    return _current[0].flush(timeout) if _current else Report()


def shutdown(timeout: float = EXIT_S) -> Report:
    """Wait as `flush()` does, then stop sending; done by itself at the end of the process. Never raises."""
    return _current[0].shutdown(timeout) if _current else Report()


def _recorder(settings: Settings, *, sends: bool) -> Recorder:
    TRACES.budget = settings.trace_budget
    use_prices(settings.prices)
    console = None
    if settings.console:
        from crucible_trace_otel.renderers.console import ConsoleSpanProcessor  # noqa: PLC0415 - it loads rich

        console = ConsoleSpanProcessor()
    sends = sends and settings.endpoint is not None
    if settings.journal is None:
        return Recorder(None, console, Sender(settings) if sends else None)
    journal = JournalSpanProcessor(
        settings.journal,
        sync=_sync(settings, sends=sends),
        progress_s=settings.progress_s,
    )
    journal.ticker.add(keep_what_waits)
    if not sends or settings.ship == "off":
        journal.ticker.add(Upkeep(journal.writer.segments.directory, settings.limit_bytes).look)
    return Recorder(journal, console, shipping=Shipping(journal, settings) if sends else None)


def _sync(settings: Settings, *, sends: bool) -> Sync:
    """Once a second the process that sends has the disk keep what was stored; more often is for this one to do."""
    is_done_there = sends and settings.ship == "process" and settings.sync == 1.0
    return "off" if is_done_there else settings.sync


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
        handle.shutdown(how=AT_EXIT)
