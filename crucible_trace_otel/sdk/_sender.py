"""Sending ended spans by OTLP with the official exporters, and counting what the other side acknowledged."""

import os
import threading
import time
from collections.abc import Callable, Sequence

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from crucible_trace_otel.sdk._settings import Settings

__all__ = ["Sender"]

_QUEUE = 16_384  # the SDK's 2,048 overflow at 400 spans a second, and what overflows is gone
_LAST_WORD_S = 0.2


class Sender(SpanProcessor):
    """A batch processor over an OTLP exporter, with waiting that ends when it was told to."""

    def __init__(self, settings: Settings, batch_size: int | None = None) -> None:
        self.endpoint = settings.endpoint
        self._exporter = _Counting(_exporter(settings))
        self._batches = BatchSpanProcessor(
            self._exporter, max_queue_size=_queue_size(), max_export_batch_size=batch_size
        )

    @property
    def acknowledged(self) -> int:
        """Spans the other side took."""
        return self._exporter.acknowledged

    def on_end(self, span: ReadableSpan) -> None:
        """Queue `span`."""
        self._batches.on_end(span)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what is queued; whether that was tried to the end within the time."""
        return _within(timeout_millis / 1_000, self._batches.force_flush)

    def shutdown(self, timeout: float = 2.0) -> None:
        """Send what is queued for up to `timeout` seconds, then give up what is left."""
        if not _within(timeout, self._batches.shutdown):
            self._exporter.give_up()


class _Counting(SpanExporter):
    """An exporter that knows how many spans were acknowledged, and can be made to stop trying."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter
        self._closed = False
        self.acknowledged = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        if self._closed:
            return SpanExportResult.FAILURE
        result = self._exporter.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.acknowledged += len(spans)
        return result

    def give_up(self) -> None:
        """Interrupt the exporter's retries; what it holds is not sent."""
        self._closed = True
        _within(_LAST_WORD_S, self._exporter.shutdown)

    def shutdown(self) -> None:
        if not self._closed:
            self._closed = True
            self._exporter.shutdown()


def _exporter(settings: Settings) -> SpanExporter:
    """The official exporter for the protocol; what is None here it reads from the standard variables."""
    if settings.protocol == "grpc":
        import grpc  # noqa: PLC0415 - 60 ms that only who sends by gRPC should pay
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter  # noqa: PLC0415

        compression = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}.get(
            settings.compression or ""
        )
        return GrpcExporter(
            endpoint=settings.endpoint,
            headers=settings.headers,
            timeout=settings.timeout_s,
            compression=compression or grpc.Compression.NoCompression,
        )
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=settings.headers,
        timeout=settings.timeout_s,
        compression=Compression(settings.compression or "none"),
    )


def _queue_size() -> int | None:
    """None, for the SDK to read it, where the standard variable is set."""
    return None if os.environ.get("OTEL_BSP_MAX_QUEUE_SIZE") else _QUEUE


def _within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether `work`, done by a thread that may be left behind, was done within `seconds`."""
    thread = threading.Thread(target=work, name="crucible-wait", daemon=True)
    until = time.monotonic() + seconds
    thread.start()
    thread.join(max(0.0, until - time.monotonic()))
    return not thread.is_alive()
