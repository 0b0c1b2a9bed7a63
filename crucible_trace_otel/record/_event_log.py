"""Events as log records, beside the span events or in their place: through OpenTelemetry's logs API alone.

`sdk` says which provider takes them. Until then nothing of the logs API is imported, and events are span events.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.trace import Span

from crucible_trace_otel._version import __version__
from crucible_trace_otel.record._failure import EXCEPTION
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._tracer import SCOPE
from crucible_trace_otel.semconv import SCHEMA_URL
from crucible_trace_otel.semconv import attributes as attr

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider

__all__ = ["is_logged", "use_event_log"]

_current: "list[_EventLog]" = []


def use_event_log(provider: "LoggerProvider | None", *, replaces: bool = False) -> None:
    """Emit each event through `provider` from now on; no more when None.

    Args:
        provider: Of loggers.
        replaces: Whether a log record stands in place of the span event, where the journal can do without that.
    """
    _current[:] = [] if provider is None else [_EventLog(provider, replaces=replaces)]


def is_logged(span: Span, name: str, attributes: Mapping[str, Any], time_ns: int) -> bool:
    """Emit an event of `span` as a log record, where that is wanted; whether it needs no span event any more."""
    for log in _current:  # none or one, which another thread may take away meanwhile
        return log.emit(span, name, attributes, time_ns)
    return False


class _EventLog:
    def __init__(self, provider: "LoggerProvider", *, replaces: bool) -> None:
        from opentelemetry._logs import SeverityNumber  # noqa: PLC0415 - only for who wants log records

        from crucible_trace_otel.semconv.catalogue import EVENTS  # noqa: PLC0415 - all definitions

        self._logger = provider.get_logger(SCOPE, __version__, schema_url=SCHEMA_URL)
        self._replaces = replaces
        levels = {"info": SeverityNumber.INFO, "warn": SeverityNumber.WARN, "error": SeverityNumber.ERROR}
        self._usual = SeverityNumber.INFO
        self._severities = {name: levels[event.severity] for name, event in EVENTS.items()}
        self._severities[EXCEPTION] = SeverityNumber.ERROR

    @guarded(lambda *_: False)
    def emit(self, span: Span, name: str, attributes: Mapping[str, Any], time_ns: int) -> bool:
        """Emit an event; whether it needs no span event: none whose log record nobody takes, and see `_stays`."""
        context = trace_api.set_span_in_context(span)
        severity = self._severities.get(name, self._usual)
        if not self._logger.enabled(context=context, severity_number=severity, event_name=name):
            return False
        self._logger.emit(
            timestamp=time_ns,
            context=context,
            severity_number=severity,
            severity_text=severity.name,
            attributes=attributes,
            event_name=name,
        )
        return self._replaces and not _stays(name, attributes)


def _stays(name: str, attributes: Mapping[str, Any]) -> bool:
    """Whether an event stays on its span whatever is wanted: the journal has rows and tracebacks from nowhere else."""
    return name == EXCEPTION or attr.CRUCIBLE_WINDOW_SERIES_VALUES in attributes
