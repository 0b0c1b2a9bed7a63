"""Sending ended spans by OTLP with the official exporters, and counting what the other side acknowledged."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from crucible_trace_otel.sdk._settings import Settings

__all__ = ["Sender"]

_QUEUE = 16_384  # the SDK's 2,048 overflow at 400 spans a second, and what overflows is gone


class Sender(SpanProcessor):
    """A batch processor over an OTLP exporter, with waiting that ends when it was told to."""

    def __init__(self, settings: Settings, batch_size: int | None = None) -> None:
        self.endpoint = settings.endpoint
        self._settings = settings
        self._exporter = _Counting(_exporter(settings))
        self._batches = BatchSpanProcessor(
            self._exporter, max_queue_size=_queue_size(), max_export_batch_size=batch_size
        )
        self._wait_to_close()

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
        self._closing.set()
        if not self._closed.wait(timeout):
            self._exporter.give_up()

    def forget(self) -> None:
        """In a forked child: what was acknowledged so far and the connection are the parent's; threads are gone."""
        self._exporter.forget(None if self._settings.protocol == "grpc" else _exporter(self._settings))
        if not self._closing.is_set():
            self._wait_to_close()

    def _wait_to_close(self) -> None:
        """Have a thread ready for the end: Python 3.12 starts none once the interpreter is shutting down."""
        self._closing, self._closed = threading.Event(), threading.Event()
        threading.Thread(target=self._close, name="crucible-close", daemon=True).start()

    def _close(self) -> None:
        self._closing.wait()
        self._batches.shutdown()  # type: ignore[no-untyped-call]
        self._closed.set()


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

    def forget(self, exporter: SpanExporter | None) -> None:
        """In a forked child: count anew, and send by `exporter` where the one before has a connection of the parent."""
        self.acknowledged = 0
        self._exporter = exporter or self._exporter

    def give_up(self) -> None:
        """Interrupt the exporter's retries; what it holds is not sent."""
        self._closed = True
        with suppress(Exception):
            self._exporter.shutdown()

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
    """Whether `work`, done by a thread that may be left behind, was done within `seconds`.

    Python 3.12 starts no thread once the interpreter is shutting down.
    """
    thread = threading.Thread(target=work, name="crucible-wait", daemon=True)
    until = time.monotonic() + seconds
    try:
        thread.start()
    except RuntimeError:
        return False
    thread.join(max(0.0, until - time.monotonic()))
    return not thread.is_alive()
