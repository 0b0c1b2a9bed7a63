"""What happens at once and may be depended on later: a short span of its own inside an operation."""

from collections.abc import Mapping
from typing import Any

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api

from crucible_trace_otel.record._context import placed_in
from crucible_trace_otel.record._ids import new_event_id
from crucible_trace_otel.record._late import place_of
from crucible_trace_otel.record._links import Links, LinkTarget, LinkTargets, causes_of, remember
from crucible_trace_otel.record._metrics import measure_span
from crucible_trace_otel.record._operation import GAP_NS, Operation
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._tracer import current_tracer
from crucible_trace_otel.record._values import clean, one_line
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["record_moment"]


def record_moment(
    operation: Operation,
    name: str,
    subject: object,
    attributes: Mapping[str, Any],
    *,
    parent: LinkTarget | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Recorded:
    """Record something that happened at once inside `operation`, as a span of its own that others can link to."""
    about = one_line(subject)
    tracer = current_tracer()
    place = None if tracer is None else place_of(operation)
    if tracer is None or place is None:
        return Recorded(new_event_id(), trace_api.INVALID_SPAN_CONTEXT, name, about)
    event_id = new_event_id()
    causes = causes_of(event_id, parent, depends_on, links)
    common = {attr.CRUCIBLE_OPERATION_NAME: name, attr.CRUCIBLE_ABOUT: about, attr.CRUCIBLE_EVENT_ID: event_id}
    if place is not operation:
        common[attr.CRUCIBLE_LATE_EVENT_ID] = operation.event_id
    context, _, placed = placed_in(place, trace_api.set_span_in_context(place.span, context_api.get_current()))
    cleaned = clean({**common, **operation._inherited, **attributes, **placed, **causes.attributes()})
    linked = [link for link in causes.links if link.context.span_id != place.span_context.span_id]
    start = max(place._now_ns(), place._last_child_end + GAP_NS)
    span = tracer.start_span(name, context, attributes=cleaned, links=linked, start_time=start)
    place._last_child_end = max(place._now_ns(), start)
    span.end(place._last_child_end)
    measure_span(name, span, 0)
    recorded = Recorded(event_id, span.get_span_context(), name, about)
    remember(recorded, causes)
    return recorded
