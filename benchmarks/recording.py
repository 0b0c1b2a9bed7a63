"""What recording costs the thread that records: ours with a journal on disk, the plain SDK with nothing behind it."""

from collections.abc import Callable, Sequence
from pathlib import Path

from opentelemetry import trace as trace_api
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter, SpanExportResult
from timing import Comparison, compare, timed

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.record._operation import emit_event

__all__ = ["recording"]

SPANS = 1_000
EVENTS_EACH = 100  # below the SDK's limit of 128 a span
EIGHT = {
    "model": "softmax",
    "dataset": "uci-digits",
    "path": "/data/digits.npz",
    "seed": 7,
    "rows": 1797,
    "rate": 0.1,
    "decay": 0.99,
    "shuffle": True,
}
SIX = {"loss": 0.31, "accuracy": 0.92, "rate": 0.1, "norm": 1.7, "tokens": 128, "seconds": 0.02}
SDK = "plain SDK, batch processor, exporter that drops"


class Dropping(SpanExporter):
    """Counts what reaches it, and drops it."""

    def __init__(self) -> None:
        self.events = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Count the events that the spans kept."""
        self.events += sum(len(span.events) for span in spans)
        return SpanExportResult.SUCCESS


class Encoding(SpanExporter):
    """Encodes as the official exporter does, and drops the bytes."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Encode on the thread that ends the span."""
        encode_spans(spans).SerializeToString()
        return SpanExportResult.SUCCESS


def repeat(times: int, work: Callable[[], object]) -> Callable[[], int]:
    """A round that does `work` so often."""

    def again() -> None:
        for _ in range(times):
            work()

    return lambda: timed(again)


def recording(directory: Path) -> tuple[list[Comparison], dict[str, int]]:
    """Every comparison with a journal in `directory`, and the counts; what is missing in it raises ValueError."""
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Dropping()))
    plain = provider.get_tracer("benchmark")
    handle = crucible.configure(service_name="benchmark", journal=directory)
    results = [
        _span_of_the_sdk(plain),
        _span_encoded(),
        _operation(plain),
        _nested(plain),
        _decision(plain),
        _event(plain),
    ]
    report = handle.shutdown(30)
    provider.shutdown()
    content = read_directory(directory)
    if report.lost or len(content.spans) != report.recorded or content.damaged or content.torn:
        raise ValueError(f"{report.recorded} spans recorded, {len(content.spans)} read back")
    return results, {"spans_recorded": report.recorded, "spans_read_back": len(content.spans)}


def _spans(tracer: trace_api.Tracer) -> Callable[[], int]:
    return repeat(SPANS, lambda: tracer.start_span("stage load", attributes=EIGHT).end())


def _span_of_the_sdk(plain: trace_api.Tracer) -> Comparison:
    stored = trace_api.get_tracer("benchmark")
    return compare("a span of the SDK, 8 attributes, stored in the journal", SPANS, _spans(stored), _spans(plain), SDK)


def _span_encoded() -> Comparison:
    encoding = TracerProvider(shutdown_on_exit=False)
    encoding.add_span_processor(SimpleSpanProcessor(Encoding()))
    stored, encoded = trace_api.get_tracer("benchmark"), encoding.get_tracer("benchmark")
    against = "plain SDK, encoded by the official encoder on the same thread"
    return compare("the same", SPANS, _spans(stored), _spans(encoded), against)


def _operation(plain: trace_api.Tracer) -> Comparison:
    def ours() -> None:
        with crucible.stage("load", config=EIGHT):
            pass

    def theirs() -> None:
        with plain.start_as_current_span("stage load", attributes=EIGHT):
            pass

    return compare(
        "operation: `stage` with a config of 8 values", SPANS, repeat(SPANS, ours), repeat(SPANS, theirs), SDK
    )


def _nested(plain: trace_api.Tracer) -> Comparison:
    def ours() -> None:
        with crucible.stage("outer"), crucible.stage("inner"):
            pass

    def theirs() -> None:
        with plain.start_as_current_span("stage outer"), plain.start_as_current_span("stage inner"):
            pass

    half = SPANS // 2
    return compare("nested `with`, each span", SPANS, repeat(half, ours), repeat(half, theirs), SDK)


def _decision(plain: trace_api.Tracer) -> Comparison:
    said = {"reasoning": "200 keys", "confidence": 0.6}
    attributes = {**said, "operation": "hypothesis_formed", "about": "an LRU dict", "id": "0" * 32, "or": ("Redis",)}

    def ours() -> int:
        with crucible.reasoning_chain("choose a cache") as chain:
            return repeat(SPANS, lambda: chain.form_hypothesis("an LRU dict", alternatives=["Redis"], **said))()

    def theirs() -> int:
        with plain.start_as_current_span("reasoning_chain"):
            return repeat(SPANS, lambda: plain.start_span("hypothesis_formed", attributes=attributes).end())()

    return compare("decision: `form_hypothesis`", SPANS, ours, theirs, SDK)


def _event(plain: trace_api.Tracer) -> Comparison:
    spans = SPANS // EVENTS_EACH

    def ours() -> int:
        taken = 0
        for _ in range(spans):
            with crucible.stage("events") as stage:
                taken += repeat(EVENTS_EACH, lambda: emit_event(stage, "checked", SIX))()
        return taken

    def theirs() -> int:
        taken = 0
        for _ in range(spans):
            with plain.start_as_current_span("events") as span:
                taken += repeat(EVENTS_EACH, lambda: span.add_event("checked", SIX))()
        return taken

    return compare("event, 6 attributes", SPANS, ours, theirs, "`add_event` of the plain SDK")
