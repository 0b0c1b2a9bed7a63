"""Where the log records that events become go: to a provider of somebody's, or by OTLP from memory."""

from typing import TYPE_CHECKING, Any, cast

from opentelemetry import _logs as logs_api
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor, ReadWriteLogRecord
from opentelemetry.sdk._logs.export import BatchLogRecordProcessor, LogRecordExporter
from opentelemetry.sdk.resources import Resource

from crucible_trace_otel.sdk._outbox import Closing, Counting, within
from crucible_trace_otel.sdk._settings import Settings, Target
from crucible_trace_otel.sdk._variables import positive, variable

if TYPE_CHECKING:
    from opentelemetry._logs import LoggerProvider as AnyLoggerProvider

__all__ = ["LogSender", "global_logger_provider"]

_QUEUE = 2_048
_BATCH = 64  # a window of steps takes some ten kilobytes, and a stock collector four megabytes at once by gRPC
_DELAY_MS = 1_000


def global_logger_provider() -> "AnyLoggerProvider | None":
    """OpenTelemetry's global provider, where somebody has set one."""
    from opentelemetry._logs._internal import ProxyLoggerProvider  # noqa: PLC0415 - there is no public way to tell

    provider = logs_api.get_logger_provider()
    return None if isinstance(provider, ProxyLoggerProvider) else provider


class LogSender(LogRecordProcessor):
    """A batch processor over an OTLP exporter: it never blocks, drops the oldest when it is full, and counts."""

    def __init__(self, settings: Settings, target: Target, resource: Resource) -> None:
        self._exporter = Counting("LOGS", target, settings)
        self.endpoint = self._exporter.endpoint
        queue_size = variable("OTEL_BLRP_MAX_QUEUE_SIZE", positive, _QUEUE)
        self._batches: Any = BatchLogRecordProcessor(
            cast("LogRecordExporter", self._exporter),
            max_queue_size=queue_size,
            max_export_batch_size=min(queue_size, variable("OTEL_BLRP_MAX_EXPORT_BATCH_SIZE", positive, _BATCH)),
            schedule_delay_millis=variable("OTEL_BLRP_SCHEDULE_DELAY", positive, _DELAY_MS),
        )
        self.emitted = 0
        """Log records so far, in this process."""
        self.closing = Closing(self._batches.shutdown, self._exporter.give_up)
        self.provider = LoggerProvider(resource, shutdown_on_exit=False)
        self.provider.add_log_record_processor(self)

    @property
    def acknowledged(self) -> int:
        """Log records the other side took."""
        return self._exporter.acknowledged

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Queue `log_record`."""
        self.emitted += 1
        self._batches.on_emit(log_record)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is queued; whether that was tried to the end within the time."""
        return within(timeout_millis / 1_000, self._batches.force_flush)

    def shutdown(self, timeout: float = 2.0) -> None:
        """Send what is queued for up to `timeout` seconds, then give up what is left."""
        self.closing.end(timeout)

    def forget(self) -> None:
        """In a forked child: what was emitted so far and the connection are the parent's; threads are gone."""
        self.emitted = 0
        self._exporter.forget()
        self.closing = self.closing.again()
