"""An attempt at a run as one process records it: which run it is, and where its span lies among those of others.

Where several processes share a run, the span of rank 0 is the `training_run`; the others are `worker` spans below it,
though none of them has heard of it: its ids follow from run id and attempt.
"""

import os
from collections import Counter
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags

from crucible_trace_otel.record._context import Placed, remote_parent
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._ids import RunIds
from crucible_trace_otel.record._tracer import current_tracer
from crucible_trace_otel.record.processes._process import is_contradicted
from crucible_trace_otel.record.runs._conclusion import Concluded
from crucible_trace_otel.record.runs._resuming import beginning_of, claim, count_begun, tell_of_resuming
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType, RepairReason

if TYPE_CHECKING:
    from crucible_trace_otel.record._operation import Operation
    from crucible_trace_otel.record.processes._launchers import ProcessRank

__all__ = ["Attempt"]


class Attempt(Concluded):
    """A training run, as far as its identity goes."""

    _named: str | None
    _resume_from: str | os.PathLike[str] | None

    def _prepare(self) -> None:
        super()._prepare()
        self._beginning = beginning_of(self._named, self._resume_from)
        self.run_id = self._beginning.run_id
        """Names the run in every process and every attempt."""
        self.attempt = self._beginning.attempt
        """Number of this attempt of the run, 0 for the first."""
        self._run_span: SpanContext | None = None
        """The span of rank 0, where this one is a worker and lies elsewhere."""
        self._collectives: Counter[str] = Counter()
        """How many collectives of a name have begun in it."""
        self._span_name = self.operation_name = spans.WORKER if self._beginning.is_worker else spans.TRAINING_RUN
        self._inherits = {attr.CRUCIBLE_RUN_ID: self.run_id}
        if self.rank is not None:
            self._inherits[attr.CRUCIBLE_DISTRIBUTED_RANK] = self.rank.rank

    @property
    def rank(self) -> "ProcessRank | None":
        """Which process of the run this one is; None where nothing says that there are others."""
        return self._beginning.rank

    @property
    def budget_share(self) -> float:
        """Which part of what a trace may hold is for this process."""
        return 1.0 if self.rank is None else 1.0 / (self.rank.world_size or 1)

    def _wanted_ids(self) -> RunIds:
        """Fixed by run id and attempt: the trace, and the span that others lie below, which is recorded once."""
        ids = self._beginning.ids
        is_root = self._beginning.is_shared and not self._beginning.is_worker and claim(self._beginning)
        return ids if is_root else RunIds(ids.trace_id)

    def _place(self, base: Context) -> Placed:
        """Below the span of rank 0, unless something else encloses it; that wins, and a link joins them."""
        placed = super()._place(base)
        if not self._beginning.is_worker:
            return placed
        around = trace_api.get_current_span(placed.context).get_span_context()
        trace_id, span_id = self._beginning.ids
        if not around.is_valid:
            root = NonRecordingSpan(_remote(trace_id, span_id, is_sampled=_would_sample(trace_id)))
            return placed._replace(context=trace_api.set_span_in_context(root, placed.context))
        if around.trace_id in self._shared_traces():
            self._run_span = _remote(around.trace_id, span_id)
        return placed

    def _shared_traces(self) -> set[int]:
        """The traces that other processes record into too: one that was handed down, that of a run around this one."""
        handed = trace_api.get_current_span(remote_parent(Context())).get_span_context()
        found, outer = {handed.trace_id}, self._outer
        while outer is not None:
            if isinstance(outer, Attempt) and outer._beginning.is_shared:
                found.add(outer.span_context.trace_id)
            outer = outer.outer
        return found

    def _on_start(self) -> dict[str, Any]:
        """Which attempt it is, of which it goes on, and which process: known from its start, for it may be killed."""
        if self._beginning.earlier is not None:
            self._causes.add(self.event_id, LinkType.RESUMED_FROM, self._beginning.earlier)
        if self._run_span is not None:
            self._causes.add(self.event_id, LinkType.RANK_OF, self._run_span)
        if self.rank is not None and is_contradicted():
            self._repairs[attr.CRUCIBLE_DISTRIBUTED_RANK] = RepairReason.CONTRADICTION
        which = {} if self.rank is None else self.rank.attributes()
        return {**super()._on_start(), **self._beginning.attributes(), **which}

    @guarded(nothing)
    def _begin(self, inside: "Operation | None") -> None:
        has_begun = bool(self._started_at)
        super()._begin(inside)
        if not has_begun:
            count_begun(self._beginning)
            tell_of_resuming(self, self._beginning)


def _remote(trace_id: int | None, span_id: int | None, *, is_sampled: bool = True) -> SpanContext:
    flags = TraceFlags(TraceFlags.SAMPLED if is_sampled else TraceFlags.DEFAULT)
    return SpanContext(trace_id or 0, span_id or 0, is_remote=True, trace_flags=flags)


def _would_sample(trace_id: int | None) -> bool:
    """Whether the sampler of this process takes the span of rank 0, as it does there where it decides by the id."""
    sampler = getattr(current_tracer(), "sampler", None)
    if sampler is None:
        return True
    named = {attr.CRUCIBLE_OPERATION_NAME: spans.TRAINING_RUN}
    return bool(
        sampler.should_sample(Context(), trace_id or 0, spans.TRAINING_RUN, attributes=named).decision.is_sampled()
    )
