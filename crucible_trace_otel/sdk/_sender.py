"""Sending ended spans from memory, where no journal is wanted, and counting what the other side acknowledged."""

from typing import Any, cast

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter

from crucible_trace_otel.sdk._outbox import Closing, Counting, within
from crucible_trace_otel.sdk._settings import Settings, Target

__all__ = ["Sender"]


class Sender(SpanProcessor):
    """A batch processor over an OTLP exporter, with waiting that ends when it was told to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._exporter = Counting("TRACES", Target(settings.endpoint or "", settings.protocol), settings)
        self.endpoint = self._exporter.endpoint
        self._batches: Any = BatchSpanProcessor(
            cast("SpanExporter", self._exporter),
            max_queue_size=settings.queue_size,
            max_export_batch_size=settings.batch_size,
            schedule_delay_millis=settings.schedule_delay_ms,
        )
        self._queued = 0
        self._overflowed = False
        self._closing = Closing(self._batches.shutdown, self._exporter.give_up)

    @property
    def acknowledged(self) -> int:
        """Spans the other side took."""
        return self._exporter.acknowledged

    @property
    def has_missed(self) -> bool:
        """Whether some spans were not taken, or may have been pushed out of a full queue."""
        return self._exporter.refused > 0 or self._overflowed

    def on_end(self, span: ReadableSpan) -> None:
        """Queue `span`."""
        self._queued += 1
        waiting = self._queued - self._exporter.acknowledged - self._exporter.refused
        self._overflowed = self._overflowed or waiting > self._settings.queue_size
        self._batches.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is queued; whether that was tried to the end within the time."""
        return within(timeout_millis / 1_000, self._batches.force_flush)

    def shutdown(self, timeout: float = 2.0) -> None:
        """Send what is queued for up to `timeout` seconds, then give up what is left."""
        self._closing.end(timeout)

    def forget(self) -> None:
        """In a forked child: what was acknowledged so far and the connection are the parent's; threads are gone."""
        self._queued, self._overflowed = 0, False
        self._exporter.forget()
        self._closing = self._closing.again()
