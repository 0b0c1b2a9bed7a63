"""A receiver with the limits of Grafana Tempo: what passes them is dropped or cut, and the sender hears of success."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans

from crucible_trace_otel.trace.otlp import decode_span
from crucible_trace_otel.trace.runs import join_runs
from crucible_trace_otel.trace.spans import group_into_traces, without_markers
from tests.backends.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.proto.trace.v1.trace_pb2 import Span

    from crucible_trace_otel.trace.spans import Trace

__all__ = ["TempoSink", "run_recorded_in"]

TRACE_BYTES = 5_000_000
TEXT_BYTES = 2_048
MESSAGE_BYTES = 4 << 20


class TempoSink(Sink):
    """Drops the spans of a trace that passes `trace_bytes`, each with its resource and scope; cuts long texts."""

    def __init__(self, *, trace_bytes: int = TRACE_BYTES, **more: Any) -> None:
        self.trace_bytes = trace_bytes
        self.sizes: Counter[bytes] = Counter()
        """Bytes of each trace, those dropped too."""
        self.dropped = self.cut = self.too_large = 0
        super().__init__(**more)

    def keep_traces(self, request: ExportTraceServiceRequest) -> None:
        """Store what the limits let through."""
        if request.ByteSize() > MESSAGE_BYTES:
            self.too_large += 1
            return
        let_through = ExportTraceServiceRequest()
        for part in _by_trace(request):
            (scoped,) = part.scope_spans
            for span in scoped.spans:
                self._cut(span)
            trace_id = scoped.spans[0].trace_id
            self.sizes[trace_id] += part.ByteSize()
            if self.sizes[trace_id] > self.trace_bytes:
                self.dropped += len(scoped.spans)
                continue
            let_through.resource_spans.append(part)
        super().keep_traces(let_through)

    def _cut(self, span: Span) -> None:
        for holder in (span, *span.events, *span.links):
            for attribute in holder.attributes:
                text = attribute.value.string_value.encode()
                if len(text) > TEXT_BYTES:
                    self.cut += 1
                    attribute.value.string_value = text[:TEXT_BYTES].decode("utf-8", "ignore")

    def traces(self) -> tuple[Trace, ...]:
        """What was let through, as a reader shows it."""
        spans = [
            decode_span(
                ResourceSpans(resource=one.resource).SerializeToString(),
                _around(one.scope, one.scope_schema_url),
                one.span.SerializeToString(),
            )
            for one in self.received()
        ]
        return join_runs(group_into_traces(without_markers(spans)))


def _around(scope: Any, schema_url: str) -> bytes:
    (around,) = ResourceSpans(scope_spans=[{"scope": scope, "schema_url": schema_url}]).scope_spans
    return around.SerializeToString()


def _by_trace(request: ExportTraceServiceRequest) -> Iterator[ResourceSpans]:
    """The spans of each trace that came together, with their resource and scope."""
    for group in request.resource_spans:
        for scoped in group.scope_spans:
            parts: dict[bytes, ResourceSpans] = {}
            for span in scoped.spans:
                part = parts.get(span.trace_id)
                if part is None:
                    part = parts[span.trace_id] = ResourceSpans(resource=group.resource, schema_url=group.schema_url)
                    part.scope_spans.add(scope=scoped.scope, schema_url=scoped.schema_url)
                part.scope_spans[0].spans.append(span)
            yield from parts.values()


def run_recorded_in(traces: tuple[Trace, ...], run_id: str) -> Trace:
    """The only trace of that run."""
    (found,) = [trace for trace in traces if run_id in trace.run_ids]
    return found
