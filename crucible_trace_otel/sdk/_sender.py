"""Sending ended spans by OTLP with the official exporters, and counting what the other side acknowledged."""

import os
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult

from crucible_trace_otel.sdk._quiet import speaking_for
from crucible_trace_otel.sdk._settings import Settings

if TYPE_CHECKING:
    from crucible_trace_otel.sdk._answers import ReadingSession

__all__ = ["Sender"]

_CREDENTIALS = "OTEL_PYTHON_EXPORTER_OTLP_HTTP_TRACES_CREDENTIAL_PROVIDER"  # brings a session of its own


class Sender(SpanProcessor):
    """A batch processor over an OTLP exporter, with waiting that ends when it was told to."""

    def __init__(self, settings: Settings) -> None:
        self.endpoint = _without_password(settings.endpoint or "")
        self._settings = settings
        self._exporter = _Counting(*_exporter(settings), self.endpoint)
        self._batches = BatchSpanProcessor(
            self._exporter,
            max_queue_size=settings.queue_size,
            max_export_batch_size=settings.batch_size,
            schedule_delay_millis=settings.schedule_delay_ms,
        )
        self._queued = 0
        self._overflowed = False
        self._wait_to_close()

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
        return _within(timeout_millis / 1_000, self._batches.force_flush)

    def shutdown(self, timeout: float = 2.0) -> None:
        """Send what is queued for up to `timeout` seconds, then give up what is left."""
        self._closing.set()
        if not self._closed.wait(timeout):
            self._exporter.give_up()

    def forget(self) -> None:
        """In a forked child: what was acknowledged so far and the connection are the parent's; threads are gone."""
        self._queued, self._overflowed = 0, False
        if self._settings.protocol == "grpc":
            self._exporter.forget()
        else:
            self._exporter.forget(*_exporter(self._settings))
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

    def __init__(self, exporter: SpanExporter, session: "ReadingSession | None", endpoint: str) -> None:
        self._exporter = exporter
        self._session = session
        self.endpoint = endpoint
        self.closed = False
        self.acknowledged = 0
        self.refused = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = SpanExportResult.FAILURE
        if not self.closed:
            with speaking_for(self):
                result = self._exporter.export(spans)
        taken = 0
        if result is SpanExportResult.SUCCESS:
            taken = max(0, len(spans) - (self._session.rejected if self._session else 0))
        self.acknowledged += taken
        self.refused += len(spans) - taken
        return result

    def forget(self, exporter: SpanExporter | None = None, session: "ReadingSession | None" = None) -> None:
        """In a forked child: count anew, and send by `exporter` where the one before has a connection of the parent."""
        self.acknowledged = self.refused = 0
        self._exporter = exporter or self._exporter
        self._session = session

    def give_up(self) -> None:
        """Interrupt the exporter's retries; what it holds is not sent."""
        self.closed = True
        with suppress(Exception):
            self._exporter.shutdown()

    def shutdown(self) -> None:
        if not self.closed:
            self.closed = True
            self._exporter.shutdown()


def _exporter(settings: Settings) -> tuple[SpanExporter, "ReadingSession | None"]:
    """The official exporter for the protocol, and by HTTP what reads the answers.

    What is None here it reads from the standard variables.
    """
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
        ), None
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    from crucible_trace_otel.sdk._answers import ReadingSession  # noqa: PLC0415

    session = None if os.environ.get(_CREDENTIALS) else ReadingSession()
    exporter = OTLPSpanExporter(
        endpoint=settings.endpoint,
        headers=settings.headers,
        timeout=settings.timeout_s,
        compression=Compression(settings.compression or "none"),
        session=session,
    )
    return exporter, session


def _without_password(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"


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
