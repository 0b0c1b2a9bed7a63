"""What each rank of a run has recorded: its steps and how long they took, and where it waited for the others.

Everything here is told by the rank's own clock. Differences of its times need no other clock: those between ranks do,
see `trace.clocks`.
"""

from array import array
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf, isfinite, isnan, nan
from typing import Any, Final

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.trace.attempts import Attempt
from crucible_trace_otel.trace.columns import ABSENT
from crucible_trace_otel.trace.spans import Trace, TraceSpan, enclosing
from crucible_trace_otel.trace.steps import StepRows, step_rows

__all__ = ["Meeting", "RankRecorded", "RunOfRanks", "Visit", "runs_of_ranks"]

_PROCESSES: Final = frozenset({operations.TRAINING_RUN, operations.WORKER})
_MEETINGS: Final = frozenset({operations.BARRIER, operations.COLLECTIVE})
_OF_INTEREST: Final = _PROCESSES | _MEETINGS | {operations.EPOCH}
_WAIT: Final = "wait"
"""The column of `gradients_aggregated` with the seconds that were waited."""
_ONE_WAY: Final = frozenset({"broadcast", "reduce", "scatter", "gather", "send", "recv"})
"""Collectives that a rank may leave before others have come: who waits least in one is not always the last."""


@dataclass(frozen=True, slots=True)
class Visit:
    """One rank at a barrier or in a collective operation, by its own clock."""

    arrived_ns: int
    left_ns: int
    waited_s: float | None
    """What it recorded as its wait for the others; None where it recorded none."""


@dataclass(frozen=True, slots=True)
class Meeting:
    """A barrier or a collective operation that nobody leaves before all have come."""

    is_barrier: bool
    name: str
    sequence: int
    """Which one of that name in the run."""
    visits: Mapping[int, Visit]
    """By rank; those that are known."""

    def waits(self) -> dict[int, float]:
        """Seconds each rank waited: what they recorded, or, unless all did, how long they were in it."""
        recorded = {rank: visit.waited_s for rank, visit in self.visits.items() if visit.waited_s is not None}
        if len(recorded) == len(self.visits):
            return recorded
        return {rank: (visit.left_ns - visit.arrived_ns) / 1e9 for rank, visit in self.visits.items()}


@dataclass(frozen=True, slots=True)
class RankRecorded:
    """What one rank has recorded."""

    rank: int
    node: str
    """Its host's name, or else `node <rank of the node>`; empty where neither is known."""
    is_interrupted: bool
    """Whether its process died before it could end."""
    clock_offset_s: float | None
    """By how much its clock is ahead of rank 0's, as somebody told who knows; None where nobody did."""
    steps: Sequence[int]
    """Those it has recorded, ascending."""
    took_s: Sequence[float]
    """How long each of them took, waiting included; NaN where that is not known."""
    waited_s: Sequence[float]
    """How long it waited for others in each of them; NaN where it recorded no waiting there."""
    processes: int = 1
    """How many took themselves for it."""


@dataclass(frozen=True, slots=True)
class RunOfRanks:
    """One attempt at a run, as its ranks recorded it."""

    run_id: str
    attempt: int
    world_size: int | None
    """How many ranks there were; None where nobody said."""
    ranks: tuple[RankRecorded, ...]
    """By rank."""
    meetings: tuple[Meeting, ...]
    """Those that several ranks are known to have been at, in order of their time."""
    missing_windows: int
    """Windows of steps, of the whole trace, that cannot be read."""


@dataclass(slots=True)
class _Process:
    """What one rank recorded in one attempt."""

    spans: list[TraceSpan] = field(default_factory=list)
    rows: list[Attempt] = field(default_factory=list)
    aggregations: list[Visit] = field(default_factory=list)
    """Where it put gradients together with others, one after the other, and how long it waited for them."""

    def said(self, key: str) -> Any:
        """What the first of its spans that has it says, those of the process itself first."""
        ordered = sorted(self.spans, key=lambda span: span.operation not in _PROCESSES)
        return next((span.attributes[key] for span in ordered if key in span.attributes), None)


def runs_of_ranks(trace: Trace) -> tuple[RunOfRanks, ...]:
    """Each attempt at each run in `trace`, in the order in which they began; a run without ranks has one, rank 0."""
    found: dict[tuple[str, int], dict[int, _Process]] = {}
    placed = [(span, *_place(span, trace)) for span in trace.spans if span.operation in _OF_INTEREST]
    # What a process has recorded whose own span is not stored says no attempt: it is of the last one.
    last: dict[str, int] = {}
    for _, run_id, attempt, _ in placed:
        last[run_id] = max(attempt or 0, last.get(run_id, 0))

    def process(run_id: str, attempt: int | None, rank: int | None) -> _Process:
        key = (run_id, last.get(run_id, 0) if attempt is None else attempt)
        return found.setdefault(key, {}).setdefault(rank or 0, _Process())

    for span, run_id, attempt, rank in placed:
        process(run_id, attempt, rank).spans.append(span)
    steps, aggregated = step_rows(trace), step_rows(trace, events.GRADIENTS_AGGREGATED)
    for rows in steps.attempts:
        process(rows.run_id, rows.number, rows.rank).rows.append(rows)
    for rows in aggregated.attempts:
        process(rows.run_id, rows.number, rows.rank).aggregations.extend(_aggregations(rows, aggregated))
    return tuple(
        _run(run_id, attempt, dict(sorted(ranks.items())), steps) for (run_id, attempt), ranks in found.items()
    )


def _place(span: TraceSpan, trace: Trace) -> tuple[str, int | None, int | None]:
    """The run id, the number of the attempt and the rank that `span` belongs to, as far as they are known."""
    around = tuple(enclosing(span, trace.by_id.get))

    def nearest(key: str) -> Any:
        return next((one.attributes[key] for one in around if key in one.attributes), None)

    attempt, rank = nearest(attr.CRUCIBLE_RUN_ATTEMPT), nearest(attr.CRUCIBLE_DISTRIBUTED_RANK)
    run_id = nearest(attr.CRUCIBLE_RUN_ID)
    return "" if run_id is None else str(run_id), _whole(attempt), _whole(rank)


def _aggregations(own: Attempt, steps: StepRows) -> Iterator[Visit]:
    waits = steps.series.get(_WAIT)
    if waits is None or waits.kind == "O":
        return
    for row in own.rows:
        waited = waits.cell(row)
        time_ns = steps.series["time_ns"].values[row]
        if waited is not ABSENT and 0 <= waited < inf:
            yield Visit(time_ns - round(waited * 1e9), time_ns, float(waited))


def _run(run_id: str, attempt: int, processes: Mapping[int, _Process], steps: StepRows) -> RunOfRanks:
    sizes = (_whole(process.said(attr.CRUCIBLE_DISTRIBUTED_WORLD_SIZE)) for process in processes.values())
    return RunOfRanks(
        run_id,
        attempt,
        world_size=max((size for size in sizes if size is not None), default=None),
        ranks=tuple(_recorded(rank, process, steps) for rank, process in processes.items()),
        meetings=_meetings(processes),
        missing_windows=steps.missing,
    )


def _meetings(processes: Mapping[int, _Process]) -> tuple[Meeting, ...]:
    found: dict[tuple[bool, str, int], dict[int, Visit]] = {}
    for rank, process in processes.items():
        for span in process.spans:
            name = str(span.attributes.get(attr.CRUCIBLE_COLLECTIVE_NAME, ""))
            sequence = span.attributes.get(attr.CRUCIBLE_COLLECTIVE_SEQUENCE)
            has_ended = not span.is_running and span.status != "error"
            if span.operation in _MEETINGS and type(sequence) is int and name not in _ONE_WAY and has_ended:
                key = (span.operation == operations.BARRIER, name, sequence)
                found.setdefault(key, {}).setdefault(rank, _visit(span))
    if all(is_barrier for is_barrier, *_ in found):  # else the same waiting is there as collectives
        for rank, process in processes.items():
            for sequence, visit in enumerate(process.aggregations):
                found.setdefault((False, events.GRADIENTS_AGGREGATED, sequence), {})[rank] = visit
    several = [Meeting(*key, visits) for key, visits in found.items() if len(visits) > 1]
    return tuple(sorted(several, key=lambda one: min(visit.left_ns for visit in one.visits.values())))


def _visit(span: TraceSpan) -> Visit:
    waited = span.attributes.get(attr.CRUCIBLE_COLLECTIVE_WAIT)
    is_known = isinstance(waited, float) and 0 <= waited < inf
    return Visit(span.start_ns, span.end_ns, waited if is_known else None)


def _recorded(rank: int, process: _Process, steps: StepRows) -> RankRecorded:
    offset = process.said(attr.CRUCIBLE_CLOCK_OFFSET)
    hosts = (span.resource.get(attr.HOST_NAME) for span in process.spans)
    host = next((str(name) for name in hosts if name), "")
    node_rank = process.said(attr.CRUCIBLE_DISTRIBUTED_NODE_RANK)
    return RankRecorded(
        rank,
        node=host or ("" if node_rank is None else f"node {node_rank}"),
        is_interrupted=process.said(attr.CRUCIBLE_RUN_STATE) == RunState.INTERRUPTED,
        clock_offset_s=offset if isinstance(offset, float) and isfinite(offset) else None,
        **_steps(process, steps),
        processes=sum(span.operation in _PROCESSES for span in process.spans),
    )


def _steps(process: _Process, steps: StepRows) -> dict[str, Any]:
    """Its steps, what each took and how much of that was waiting."""
    begun: dict[int | None, list[int]] = {}
    for span in process.spans:
        if span.operation == operations.EPOCH:
            begun.setdefault(_whole(span.attributes.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX)), []).append(span.start_ns)
    numbers: array[int] = array("q")
    starts: array[int] = array("q")
    ends: array[int] = array("q")
    epochs = steps.series.get("epoch")
    for rows in process.rows:
        before: tuple[int, int | None] | None = None
        for row in rows.rows:
            time_ns: int = steps.series["time_ns"].values[row]
            epoch = _whole(epochs.cell(row)) if epochs is not None else None
            numbers.append(steps.series["step"].values[row])
            starts.append(_start(before, epoch, begun, time_ns))
            ends.append(time_ns)
            before = time_ns, epoch
    took = array("d", ((end - start) / 1e9 if start else nan for start, end in zip(starts, ends, strict=True)))
    return {"steps": numbers, "took_s": took, "waited_s": _waited(process, starts, ends)}


def _start(
    before: tuple[int, int | None] | None, epoch: int | None, begun: Mapping[int | None, Sequence[int]], time_ns: int
) -> int:
    """When a step that was recorded at `time_ns` began: when the one before was, or its epoch did; 0 if unknown.

    A clock that was set back between the two leaves it unknown.
    """
    if before is not None and before[1] == epoch:
        start = before[0]
    else:
        start = max((one for one in begun.get(epoch, ()) if one <= time_ns), default=before[0] if before else 0)
    return start if start <= time_ns else 0


def _whole(value: Any) -> int | None:
    """`value` if it is an integer, as what was recorded may be anything."""
    return value if type(value) is int else None


def _waited(process: _Process, starts: Sequence[int], ends: Sequence[int]) -> "array[float]":
    """The waiting in each step: in what began between the step's start and its end."""
    spent = array("d", (nan,)) * len(ends)
    barriers = [_visit(span) for span in process.spans if span.operation == operations.BARRIER]
    collectives = [_visit(span) for span in process.spans if span.operation == operations.COLLECTIVE]
    for visit in (*barriers, *(collectives or process.aggregations)):
        at = bisect_right(ends, visit.arrived_ns)
        if at < len(ends) and 0 < starts[at] <= visit.arrived_ns:
            waited = (visit.left_ns - visit.arrived_ns) / 1e9 if visit.waited_s is None else visit.waited_s
            spent[at] = waited if isnan(spent[at]) else spent[at] + waited
    return spent
