"""A run in several traces, as the recorder makes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType
from tests.trace.builders import TraceBuilder, window

if TYPE_CHECKING:
    from crucible_trace_otel.trace.spans import Trace, TraceSpan


def run_of(build: TraceBuilder, run_id: str = "r", attempt: int = 0, at: float = 0.0, **more: Any) -> TraceSpan:
    said = {attr.CRUCIBLE_RUN_ID: run_id, attr.CRUCIBLE_RUN_ATTEMPT: attempt}
    return build.add(spans.TRAINING_RUN, "digits", None, at, 10, attributes=said, **more)


def part_of(
    build: TraceBuilder, ordinal: int, run: TraceSpan, previous: TraceSpan, at: float, **said: Any
) -> TraceSpan:
    attributes = {
        attr.CRUCIBLE_RUN_ID: run.attributes[attr.CRUCIBLE_RUN_ID],
        attr.CRUCIBLE_RUN_ATTEMPT: run.attributes[attr.CRUCIBLE_RUN_ATTEMPT],
        attr.CRUCIBLE_RUN_PART: f"0/{ordinal}",
        attr.CRUCIBLE_RUN_FIRST_TRACE_ID: run.trace_id,
        attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID: previous.trace_id,
        attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID: run.span_id,
        **said,
    }
    causes = ((LinkType.CONTINUES, previous),)
    return build.add(spans.RUN_PART, f"part 0/{ordinal}", None, at, 4, attributes=attributes, causes=causes)


def within(span: TraceSpan, **said: Any) -> dict[str, Any]:
    return {attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID: span.span_id, **said}


def in_parts(number: int = 1, run_id: str = "r") -> list[Trace]:
    """A run in three traces; the epoch that filled the first goes on in the second."""
    first, second, third = (TraceBuilder(number + more) for more in range(3))
    run = run_of(first, run_id)
    index = {attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 0}
    steps = {"events": (window(0, 0.2, {"loss": [0.5, 0.4]}),)}
    epoch = first.add(spans.EPOCH, "epoch 0", run, 0.1, 3, attributes=index, **steps)
    one = part_of(second, 1, run, run, 1)
    steps = {"events": (window(2, 1.2, {"loss": [0.3, 0.2]}),)}
    second.add(spans.STEP_SEGMENT, "epoch 0, part 2", one, 1.1, 1, attributes=within(epoch, **index), **steps)
    second.add(spans.EPOCH, "epoch 1", one, 3.1, 1, attributes=within(run, **{attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 1}))
    two = part_of(third, 2, run, one, 5)
    third.add(spans.EPOCH, "epoch 2", two, 5.1, 1, attributes=within(run, **{attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 2}))
    return [build.trace() for build in (first, second, third)]
