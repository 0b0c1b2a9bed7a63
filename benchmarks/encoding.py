"""What it costs to turn a span into OTLP bytes: our encoder, one span at a time, against the official one.

The official encoder gets batches, as an exporter hands them over: so it pays for resource and scope once a batch.
"""

from collections.abc import Callable

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import Span as SpanMessage
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.trace import Link, Tracer
from recording import EIGHT, EVENTS_EACH, SIX
from timing import Comparison, compare, timed

from crucible_trace_otel.journal.encoder import encode_resource, encode_scope, encode_span

__all__ = ["encoding"]

SPANS = 500
AGAINST = "the official encoder, in batches"


def encoding() -> list[Comparison]:
    """A plain span, one with eight mixed attributes, one with arrays and links, and one full of events.

    Raises:
        ValueError: The two encoders made different messages.
    """
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark", "1.0")
    return [
        _compared("encode a span without attributes", [_ended(tracer) for _ in range(SPANS)]),
        _compared("encode a span with 8 mixed attributes", [_ended(tracer, EIGHT) for _ in range(SPANS)]),
        _compared("encode a span with arrays and links", [_linked(tracer) for _ in range(SPANS)]),
        _compared("encode an event with 6 attributes", [_with_events(tracer) for _ in range(5)], EVENTS_EACH),
    ]


def _compared(name: str, spans: list[ReadableSpan], in_each: int = 1) -> Comparison:
    _check(spans[0])

    def ours() -> None:
        for span in spans:
            encode_resource(span.resource)
            encode_scope(span.instrumentation_scope)
            encode_span(span)

    def official() -> None:
        encode_spans(spans).SerializeToString()

    return compare(name, len(spans) * in_each, _timed(ours), _timed(official), AGAINST)


def _timed(work: Callable[[], None]) -> Callable[[], int]:
    return lambda: timed(work)


def _check(span: ReadableSpan) -> None:
    official = encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
    if SpanMessage.FromString(encode_span(span)) != official:
        raise ValueError(f"the encoders differ about the span {span.name!r}")


def _ended(tracer: Tracer, attributes: dict[str, object] | None = None) -> ReadableSpan:
    span = tracer.start_span("stage load", attributes=attributes)
    span.end()
    return span._readable_span()  # noqa: SLF001 - what the SDK hands to processors


def _linked(tracer: Tracer) -> ReadableSpan:
    there = tracer.start_span("there").get_span_context()
    arrays = {
        "names": ("depends_on: hypothesis_formed: an LRU dict", "parent: stage: load"),
        "losses": (0.5, 0.25, 0.125),
    }
    span = tracer.start_span("stage load", attributes=arrays, links=[Link(there, {"type": "depends_on"})] * 2)
    span.end()
    return span._readable_span()  # noqa: SLF001


def _with_events(tracer: Tracer) -> ReadableSpan:
    span = tracer.start_span("stage load")
    for _ in range(EVENTS_EACH):
        span.add_event("checked", SIX)
    span.end()
    return span._readable_span()  # noqa: SLF001
