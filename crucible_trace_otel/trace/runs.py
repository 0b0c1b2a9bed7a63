"""Several traces that are one run: the parts of a run that outgrew its trace, and its attempts.

    for trace in join_runs(traces):
        print(trace.name, len(trace.trace_ids), "traces")

A part names its run's id and the first trace. Attempts share a run id and differ in their number, or are linked
`resumed_from`. Nothing else joins traces: a name does not.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.spans import Trace, TraceSpan, in_order

__all__ = ["join_runs"]

_HOLDERS = frozenset({operations.TRAINING_RUN, operations.WORKER, operations.RUN_PART})
_Rank = tuple[int, bool, int, str]


@dataclass(frozen=True, slots=True)
class _Piece:
    """What a trace holds of a run."""

    trace: Trace
    span: TraceSpan
    run_id: str
    attempt: int

    @property
    def is_part(self) -> bool:
        return self.span.operation == operations.RUN_PART


def join_runs(traces: Iterable[Trace]) -> tuple[Trace, ...]:
    """`traces`, those of one run as one, by the time at which their last attempt began.

    The spans of a run stand in one order. What was moved to a part, because the trace of what encloses it was full,
    has that as its parent again (`TraceSpan.moved_from` is the part); a part lies below its training run. The trace id
    is that of the first attempt's first part, as far as it is here. A trace that shares a span id with another one of
    its run, or lacks a parent that would be found there, is left alone. The order of `traces` does not matter.
    """
    every = {trace.trace_id: trace for trace in traces}
    pieces = [piece for trace in every.values() for piece in _pieces(trace)]
    groups = _Groups(every)
    by_run: dict[str, list[_Piece]] = {}
    for piece in pieces:
        by_run.setdefault(piece.run_id, []).append(piece)
    for its in by_run.values():
        _join_parts(its, groups)
        _join_attempts(its, groups)
    ranks = _ranks(pieces)
    joined = [_joined([every[trace_id] for trace_id in group], ranks) for group in groups.found()]
    return tuple(trace for _, trace in sorted((each for some in joined for each in some), key=lambda pair: pair[0]))


def _pieces(trace: Trace) -> list[_Piece]:
    found = []
    for span in trace.spans:
        run_id = span.attributes.get(attr.CRUCIBLE_RUN_ID)
        if run_id is not None and span.operation in _HOLDERS:
            attempt = span.attributes.get(attr.CRUCIBLE_RUN_ATTEMPT)
            found.append(_Piece(trace, span, str(run_id), attempt if type(attempt) is int else 0))
    return found


class _Groups:
    """Sets of trace ids that grow together."""

    def __init__(self, trace_ids: Iterable[str]) -> None:
        self._above = {trace_id: trace_id for trace_id in trace_ids}

    def join(self, one: str, other: str) -> None:
        """Put the sets of two traces together."""
        self._above[self._top(one)] = self._top(other)

    def found(self) -> list[list[str]]:
        """The sets."""
        sets: dict[str, list[str]] = {}
        for trace_id in self._above:
            sets.setdefault(self._top(trace_id), []).append(trace_id)
        return list(sets.values())

    def _top(self, trace_id: str) -> str:
        while self._above[trace_id] != trace_id:
            self._above[trace_id] = self._above[self._above[trace_id]]
            trace_id = self._above[trace_id]
        return trace_id


def _join_parts(pieces: Sequence[_Piece], groups: _Groups) -> None:
    """Of one run: each part with the trace it names as the first, and with the other parts that name that."""
    first_with: dict[str, str] = {piece.trace.trace_id: piece.trace.trace_id for piece in pieces if not piece.is_part}
    for piece in pieces:
        if piece.is_part:
            named = str(piece.span.attributes.get(attr.CRUCIBLE_RUN_FIRST_TRACE_ID, ""))
            groups.join(piece.trace.trace_id, first_with.setdefault(named, piece.trace.trace_id))


def _join_attempts(pieces: Sequence[_Piece], groups: _Groups) -> None:
    """Of one run: attempts of different numbers; of equal ones those that a link joins."""
    holders = {piece.trace.trace_id for piece in pieces}
    attempts = [piece for piece in pieces if not piece.is_part]
    places = {(piece.attempt, piece.trace.trace_id) for piece in attempts}
    if len(places) == len({attempt for attempt, _ in places}):
        for piece in attempts:
            groups.join(piece.trace.trace_id, attempts[0].trace.trace_id)
    for piece in attempts:
        for link in piece.span.links:
            if link.type == LinkType.RESUMED_FROM and link.trace_id in holders:
                groups.join(piece.trace.trace_id, link.trace_id)


def _ranks(pieces: Iterable[_Piece]) -> dict[str, _Rank]:
    """Which trace of a run is the first, the least: by attempt, then those that are no part, then by time."""
    ranks: dict[str, _Rank] = {}
    for piece in pieces:
        rank = (piece.attempt, piece.is_part, piece.span.start_ns, piece.trace.trace_id)
        ranks[piece.trace.trace_id] = min(rank, ranks.get(piece.trace.trace_id, rank))
    return ranks


def _joined(traces: list[Trace], ranks: dict[str, _Rank]) -> list[tuple[tuple[int, str], Trace]]:
    """One group as a trace, with what to sort it by; and what could not be joined."""
    if len(traces) == 1:
        return [((traces[0].start_ns, traces[0].trace_id), traces[0])]
    alone: list[Trace] = []
    together: list[Trace] = []
    by_id: dict[str, TraceSpan] = {}
    missing: set[str] = set()
    for trace in sorted(traces, key=lambda trace: (trace.start_ns, trace.trace_id)):  # what encloses begins earlier
        wanted = {root.parent_id for root in trace.roots if root.parent_id is not None}
        is_apart = by_id.keys().isdisjoint(wanted | trace.by_id.keys()) and missing.isdisjoint(trace.by_id)
        (together if is_apart else alone).append(trace)
        if is_apart:
            missing |= wanted
            by_id |= {span.span_id: _put_back(span, by_id) for span in trace.spans}
    mine = [ranks[trace.trace_id] for trace in together]
    joined = Trace(min(mine)[-1], in_order(by_id.values()))
    began = [trace.start_ns for trace, (_, is_part, *_) in zip(together, mine, strict=True) if not is_part]
    dated = [((max(began, default=joined.start_ns), joined.trace_id), joined)]
    return dated + [((trace.start_ns, trace.trace_id), trace) for trace in alone]


def _put_back(span: TraceSpan, earlier: dict[str, TraceSpan]) -> TraceSpan:
    """`span` below what encloses it, where that lies in a trace that began earlier: so no circle comes about."""
    enclosing = span.attributes.get(attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID)
    if not isinstance(enclosing, str) or enclosing not in earlier:
        return span
    return replace(span, parent_id=enclosing, moved_from=span.parent_id or "")
