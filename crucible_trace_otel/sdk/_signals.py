"""Log records and metrics beside the spans: which providers take them, and the end of those that are ours."""

import time
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.errors import ConfigurationError, warn_once
from crucible_trace_otel.record._event_log import use_event_log
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._metrics import use_meter_provider
from crucible_trace_otel.sdk._meters import MetricSender, global_meter_provider, observe
from crucible_trace_otel.sdk._providers import resource_of
from crucible_trace_otel.sdk._settings import Settings

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider
    from opentelemetry.metrics import MeterProvider

    from crucible_trace_otel.sdk._logs import LogSender
    from crucible_trace_otel.sdk._recorder import Recorder

__all__ = ["Signals", "check_providers"]


def check_providers(meter_provider: Any, logger_provider: Any) -> None:
    """See that what was given can be used.

    Raises:
        ConfigurationError: One of them is no provider.
    """
    for name, given, verb, example in (
        ("meter_provider", meter_provider, "get_meter", "opentelemetry.sdk.metrics.MeterProvider"),
        ("logger_provider", logger_provider, "get_logger", "opentelemetry.sdk._logs.LoggerProvider"),
    ):
        if given is not None and not callable(getattr(given, verb, None)):
            raise ConfigurationError(f"{name}={given!r} has no {verb}(); give an {example}.")


class Signals:
    """What `configure()` was told about log records and metrics, in use from now on. Never raises.

    Args:
        settings: What events become, and where log records and metrics of ours are sent.
        tracer_provider: The one somebody set up, whose resource is taken; None where that is ours.
        recorder: Whose numbers are observed.
        meter_provider: The one given.
        logger_provider: The one given.
    """

    def __init__(
        self,
        settings: Settings,
        tracer_provider: object,
        recorder: "Recorder",
        meter_provider: "MeterProvider | None",
        logger_provider: "LoggerProvider | None",
    ) -> None:
        self._settings = settings
        self._resource = resource_of(tracer_provider, settings)
        self._recorder = recorder
        self.logs: LogSender | None = None
        self._metrics: MetricSender | None = None
        self._use_logs(logger_provider)
        self._use_metrics(meter_provider)

    @guarded(nothing)
    def flush(self, timeout: float) -> None:
        """Wait up to `timeout` seconds until what our providers hold is sent, or was tried."""
        until = time.monotonic() + timeout
        if self.logs is not None:
            self.logs.force_flush(int(timeout * 1_000))
        if self._metrics is not None:
            self._metrics.force_flush(max(0.0, until - time.monotonic()))

    @guarded(nothing)
    def begin_end(self) -> None:
        """Events become span events again, which the journal keeps; what our providers hold is sent meanwhile."""
        use_event_log(None)
        use_meter_provider(None)
        for sender in (self.logs, self._metrics):
            if sender is not None:
                sender.closing.begin()

    @guarded(nothing)
    def end(self, timeout: float) -> None:
        """Wait up to `timeout` seconds for that, then give up what is left."""
        until = time.monotonic() + timeout
        for sender in (self.logs, self._metrics):
            if sender is not None:
                sender.shutdown(max(0.0, until - time.monotonic()))

    @guarded(nothing)
    def forget(self) -> None:
        """In a forked child: nothing that was emitted or measured so far is its own, nor is a connection."""
        if self.logs is not None:
            self.logs.forget()
        if self._metrics is not None:
            self._metrics.abandon()
            self._metrics = None
            self._use_metrics(None)

    @guarded(nothing)
    def _use_logs(self, given: "LoggerProvider | None") -> None:
        signal = self._settings.event_signal
        if signal == "spans":
            use_event_log(None)
            return
        from crucible_trace_otel.sdk._logs import LogSender, global_logger_provider  # noqa: PLC0415 - the logs SDK

        provider = given or global_logger_provider()
        if provider is None and self._settings.logs is not None:
            self.logs = LogSender(self._settings, self._settings.logs, self._resource)
            provider = self.logs.provider
        if provider is None:
            warn_once(
                "event signal",
                f"Events become no log records, though event_signal={signal!r}: there is no logger provider and no "
                "endpoint for log records. They stay events of their spans.",
            )
        use_event_log(provider, replaces=signal == "logs")

    @guarded(nothing)
    def _use_metrics(self, given: "MeterProvider | None") -> None:
        provider = given or global_meter_provider()
        if provider is None and self._settings.metrics is not None:
            self._metrics = MetricSender(self._settings, self._settings.metrics, self._resource)
            given = provider = self._metrics.provider
        use_meter_provider(given)
        if provider is not None:
            observe(provider, self._recorder)
