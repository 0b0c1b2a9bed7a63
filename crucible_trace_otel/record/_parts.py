"""The traces of a training run that outgrows one: it goes on in a linked trace, whose root is a `run_part` span.

Backends drop what passes their limit for one trace, and say so to nobody. What starts in a trace that is full goes to
the current part instead, and names the operation that encloses it; readers put it back there.
"""

import threading
from typing import TYPE_CHECKING

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import SpanContext, format_span_id, format_trace_id

from crucible_trace_otel.journal.sizes import TRACES
from crucible_trace_otel.record._context import Placed
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._ids import RunIds, trace_id_of_run
from crucible_trace_otel.record._moments import record_moment
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType

if TYPE_CHECKING:
    from crucible_trace_otel.record.training import TrainingRun

__all__ = ["RunPart", "RunParts", "has_outgrown"]

_FIRST = "0"
_MOST_LINKS = 100  # of the 128 a span of the SDK keeps by default


class RunPart(Operation):
    """A trace in which a run goes on; it ends when the next one has begun and nothing is open in it."""

    operation_name = spans.RUN_PART

    def __init__(self, run: "TrainingRun", name: str, previous: Operation) -> None:
        self.name = name
        attributes = {
            attr.CRUCIBLE_RUN_NAME: run._given.get(attr.CRUCIBLE_RUN_NAME),
            attr.CRUCIBLE_RUN_ATTEMPT: run.attempt,
            attr.CRUCIBLE_RUN_PART: self.name,
            attr.CRUCIBLE_RUN_FIRST_TRACE_ID: format_trace_id(run.span_context.trace_id),
            attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID: format_trace_id(previous.span_context.trace_id),
            attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID: format_span_id(run.span_context.span_id),
        }
        super().__init__(f"{run.about}, part {self.name}", attributes=attributes, links={LinkType.CONTINUES: previous})
        self._trace_id = _trace_id_of(run, name)
        self._inside = 0
        self._is_last = True

    def _wanted_ids(self) -> RunIds:
        return RunIds(self._trace_id)

    def _place(self, base: Context) -> Placed:
        """A root: neither below the run, whose trace is full, nor below what another process handed down."""
        return Placed(trace_api.set_span_in_context(trace_api.INVALID_SPAN, base))

    def enter(self) -> None:
        """Something begins in it."""
        self._inside += 1

    def leave(self) -> None:
        """What began in it has ended."""
        self._inside -= 1
        self._stop_if_over()

    def is_followed(self) -> None:
        """The next part has begun."""
        self._is_last = False
        self._stop_if_over()

    def _stop_if_over(self) -> None:
        if not self._is_last and self._inside <= 0:
            self.stop()


class RunParts:
    """Where what starts inside a run goes.

    Args:
        run: The training run.
    """

    def __init__(self, run: "TrainingRun") -> None:
        self._run = run
        self._parts: list[RunPart] = []
        self._ordinal = 0
        self._traces: set[int] = set()
        self._lock = threading.RLock()
        self._is_opening = False
        self._is_closed = False
        """No part is begun any more: the run ends, or a sampler did not take one."""

    @guarded(lambda _, base, __: Placed(base))
    def place(self, base: Context, here: SpanContext) -> Placed:
        """Where what would start in `base`, below `here`, is to start: there, or in the current part."""
        part = self._current() if self.is_left(here.trace_id) else None
        if part is None:
            return Placed(base)
        said = {attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID: format_span_id(here.span_id)}
        return Placed(trace_api.set_span_in_context(part.span, base), part, said)

    def is_left(self, trace_id: int) -> bool:
        """Whether that trace of the run is full, so that what starts goes elsewhere."""
        if self._is_closed or not self._run._is_here():
            return False
        if not self._traces:
            self._watch(self._run, share=self._run.budget_share)
        return trace_id in self._traces and TRACES.is_full(trace_id)

    def close(self) -> None:
        """End the parts that are open, and name all of them in the run's first trace: the run ends."""
        self._is_closed = True
        if not self._run._is_here():
            return
        for part in self._parts:
            part.stop()
        for first in range(0, len(self._parts), _MOST_LINKS):
            attributes = {
                attr.CRUCIBLE_RUN_ATTEMPT: self._run.attempt,
                attr.CRUCIBLE_RUN_PART: _FIRST,
                attr.CRUCIBLE_RUN_FIRST_TRACE_ID: format_trace_id(self._run.span_context.trace_id),
            }
            named = self._parts[first : first + _MOST_LINKS]
            said = f"goes on in {named[0].name} to {named[-1].name}"
            record_moment(self._run, spans.RUN_INDEX, said, attributes, links={LinkType.INDEXES: named})
        for trace_id in self._traces:
            TRACES.unwatch(trace_id)
        self._traces.clear()

    def _current(self) -> RunPart | None:
        """The newest part, or another where that is full too."""
        with self._lock:
            newest = self._parts[-1] if self._parts else None
            if self._is_opening or (newest is not None and not TRACES.is_full(newest.span_context.trace_id)):
                return newest
            self._is_opening = True  # a signal handler may record in here
            try:
                return self._open(newest)
            finally:
                self._is_opening = False

    def _open(self, newest: RunPart | None) -> RunPart | None:
        name = self._next_name()
        while TRACES.is_full(_trace_id_of(self._run, name)):  # another run of this process had the same run id
            name = self._next_name()
        part = RunPart(self._run, name, newest or self._run)._start_inside(self._run)
        if not part.is_recording:  # better in a trace that is too large than nowhere
            self._is_closed = True
            return newest
        self._parts.append(part)
        self._watch(part)
        if newest is not None:
            newest.is_followed()
        return part

    def _next_name(self) -> str:
        self._ordinal += 1
        return f"{self._run.rank.rank if self._run.rank else 0}/{self._ordinal}"

    def _watch(self, operation: Operation, *, share: float = 1.0) -> None:
        """Have the trace of `operation` counted; a part is recorded into by this process alone."""
        trace_id = operation.span_context.trace_id
        self._traces.add(trace_id)
        TRACES.watch(trace_id, share)


def _trace_id_of(run: "TrainingRun", part: str) -> int:
    return trace_id_of_run(run.run_id, run.attempt, part)


@guarded(lambda _: False)
def has_outgrown(operation: Operation) -> bool:
    """Whether the trace of `operation` is full, and what starts in it goes to another."""
    return operation._parts is not None and operation._parts.is_left(operation.span_context.trace_id)
