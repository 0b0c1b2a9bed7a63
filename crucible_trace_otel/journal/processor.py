"""The seam between the OpenTelemetry SDK and the journal."""

import os

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.segment import SegmentWriter

__all__ = ["JournalSpanProcessor"]


class JournalSpanProcessor(SpanProcessor):
    """Stores each ended, sampled span in `directory` before its `end()` returns.

    For a tracer provider that somebody else set up: `provider.add_span_processor(JournalSpanProcessor(".crucible"))`.
    `configure()` adds one by itself. Nothing it does raises into the code that ends a span: a span that cannot be
    stored is counted in `lost` and reported once as a warning.

    Args:
        directory: Where this process's segment file goes; made at the first span, readable by its owner only.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = os.fspath(directory)
        self.stored = 0
        """Spans appended so far in this process."""
        self.lost = 0
        """Spans that could not be appended."""
        self._writer = SegmentWriter(directory)

    def on_end(self, span: ReadableSpan) -> None:
        """Append `span` to the journal. Never raises."""
        if span.context is None or not span.context.trace_flags.sampled:
            return
        try:
            self._writer.append_span(*_encode(span))
        except Exception as error:  # noqa: BLE001 - whatever fails here must not reach the code that ends a span
            self.lost += 1
            warn_once(
                f"journal {self.directory} {type(error).__name__}",
                f"The span {span.name!r} could not be stored in {self.directory}: {error}. Recording goes on; "
                "how many spans were lost is told when recording is shut down.",
            )
        else:
            self.stored += 1

    def shutdown(self) -> None:
        """Close the segment file. A span that ends later opens another."""
        self._writer.close()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 - the SDK's signature
        """Nothing waits here: each span is with the operating system when its `end()` returns."""
        return True


def _encode(span: ReadableSpan) -> tuple[bytes, bytes, bytes]:
    """`span` as serialized OTLP: ResourceSpans without scopes, ScopeSpans without spans, and the Span itself."""
    resource_spans = encode_spans([span]).resource_spans[0]
    scope_spans = resource_spans.scope_spans[0]
    span_bytes = scope_spans.spans[0].SerializeToString()
    del scope_spans.spans[:]
    scope_bytes = scope_spans.SerializeToString()
    del resource_spans.scope_spans[:]
    return resource_spans.SerializeToString(), scope_bytes, span_bytes
