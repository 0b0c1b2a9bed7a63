"""Which rank of a distributed run is slow: step by step, over time, by node, and what that cost the others.

report = stragglers(trace)
if report.straggler is not None:
print(report.straggler.rank, report.straggler.lost_s)
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from heapq import merge
from itertools import groupby, islice
from math import isnan
from operator import itemgetter
from statistics import fmean, median
from typing import Final

from crucible_trace_otel.trace.clocks import ClockOffset, clock_offsets
from crucible_trace_otel.trace.ranks import Meeting, RankRecorded, RunOfRanks, runs_of_ranks
from crucible_trace_otel.trace.spans import Trace

__all__ = ["NodeTotals", "RankTotals", "SlowestInStep", "StragglerReport", "Stretch", "stragglers"]

STANDS_OUT: Final = 1.1
"""Who is named as the straggler makes the steps take at least so many times as long as they would without it."""

_MOST_STRETCHES: Final = 10
_MOST_NAMED: Final = 16


@dataclass(frozen=True, slots=True)
class SlowestInStep:
    """Who was slowest in one step, of the ranks that did it."""

    step: int
    rank: int
    took_s: float
    """Its own time: without what it waited for others, where all ranks recorded that."""
    behind_s: float
    """How much longer that is than the median of the others'."""
    ranks: int
    """How many were compared."""


@dataclass(frozen=True, slots=True)
class RankTotals:
    """One rank over the whole run; None is not known."""

    rank: int
    node: str
    """Empty where it is not known."""
    steps: int
    """How many it has recorded."""
    last_step: int | None
    is_interrupted: bool
    """Whether its process died before it could end."""
    mean_step_s: float | None
    """Its own time in the steps that were compared."""
    slowest_steps: int
    """In how many of those it was the slowest."""
    behind_s: float | None
    """How much longer it then took than the median of the others: the median."""
    slowdown: float | None
    """All compared steps as long as their slowest rank took, over the same without this one: 1 without any effect."""
    waited_s: float
    """How long it waited at barriers and in collectives."""
    last_arrivals: int
    """At how many of those it was the last to come."""
    lost_s: float
    """How long the others, together, waited for it: as recorded at barriers and in collectives, or, where there are
    none, as they would have if each step had ended for all at once."""


@dataclass(frozen=True, slots=True)
class NodeTotals:
    """The ranks of one node."""

    node: str
    ranks: tuple[int, ...]
    mean_step_s: float | None
    slowest_steps: int
    """In how many steps one of them was the slowest."""
    slowdown: float | None
    """As of a rank, without all of the node's."""
    lost_s: float


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some steps that follow each other, and who was slowest most often in them."""

    first_step: int
    last_step: int
    steps: int
    rank: int
    slowest_steps: int
    behind_s: float
    """By how much, when it was: the median."""


@dataclass(frozen=True)
class StragglerReport:
    """What the ranks of one attempt at a run have recorded of each other's slowness."""

    run_id: str
    attempt: int
    world_size: int | None
    ranks: tuple[RankTotals, ...]
    """By rank."""
    nodes: tuple[NodeTotals, ...]
    """By the first of their ranks; empty where no rank's node is known."""
    steps: tuple[SlowestInStep, ...]
    """Every step that several ranks have recorded."""
    stretches: tuple[Stretch, ...]
    """The same in up to ten equal parts."""
    meetings: int
    """Barriers and collectives that several ranks are known to have been at."""
    clocks: tuple[ClockOffset, ...]
    """By rank."""
    unknown: tuple[str, ...]
    """A sentence for each thing that would matter and cannot be known from what was recorded."""

    @property
    def is_comparison(self) -> bool:
        """Whether there was anything to compare: steps or meetings that several ranks have recorded."""
        return bool(self.steps) or self.meetings > 0

    @property
    def straggler(self) -> RankTotals | None:
        """The rank that slows the run down most, if without it the steps would be a tenth shorter."""
        return max(self.ranks, key=_slowdown, default=None) if any(map(_stands_out, self.ranks)) else None

    @property
    def slow_node(self) -> NodeTotals | None:
        """The same of nodes; None also where all ranks are on one."""
        return max(self.nodes, key=_slowdown, default=None) if any(map(_stands_out, self.nodes)) else None


def _slowdown(one: RankTotals | NodeTotals) -> float:
    return one.slowdown or 0.0


def _stands_out(one: RankTotals | NodeTotals) -> bool:
    return _slowdown(one) >= STANDS_OUT


def stragglers(trace: Trace) -> StragglerReport:
    """Find out which rank of a run was slow. It never raises over what a trace lacks; see `StragglerReport.unknown`.

    A step takes a rank as long as from its record of the step before, or from the beginning of the epoch, to its
    record of this one. Where all ranks recorded how long they waited for each other meanwhile (barriers, collectives),
    that is taken off: else, where they wait in each step, all take as long as the slowest. These are differences of
    times by one clock, so it does not matter how clocks differ.

    At a barrier or in a collective, whoever waits least came last, and the others waited for it by as much more.

    What a rank does to the run is asked as what-if: how long the steps would have taken without it, as in Lin et al.,
    "Understanding Stragglers in Large Model Training Using What-if Analysis", arXiv:2505.05713, 2025. A step takes
    as long as its slowest rank; `slowdown` is their sum over the sum of the slowest others.

    Args:
        trace: That of a run with several ranks. Of several attempts or runs in it, the last that can be compared.
    """
    runs = runs_of_ranks(trace)
    reports = [_report(run) for run in runs if len(run.ranks) > 1] or [_report(run) for run in runs]
    comparing = [report for report in reports if report.is_comparison]
    return (comparing or reports or [_report(RunOfRanks("", 0, None, (), (), 0))])[-1]


def _report(run: RunOfRanks) -> StragglerReport:
    compared = _Compared({rank.rank: rank.node for rank in run.ranks})
    for step, own in _steps_of_several(run.ranks):
        compared.take(step, own)
    lost = _lost(run.meetings)
    ranks = tuple(_rank_totals(rank, compared, lost, run.meetings) for rank in run.ranks)
    clocks = clock_offsets(run.ranks, run.meetings)
    return StragglerReport(
        run.run_id,
        run.attempt,
        run.world_size,
        ranks,
        nodes=_node_totals(ranks, compared),
        steps=tuple(compared.steps),
        stretches=tuple(_stretches(compared.steps)),
        meetings=len(run.meetings),
        clocks=clocks,
        unknown=tuple(_unknown(run, ranks, clocks)),
    )


def _steps_of_several(ranks: Sequence[RankRecorded]) -> Iterator[tuple[int, dict[int, float]]]:
    """Each step that several ranks have recorded, and each one's own time in it."""
    every = merge(*(_own_steps(rank) for rank in ranks), key=itemgetter(0))
    for step, of_step in groupby(every, key=itemgetter(0)):
        took: dict[int, float] = {}
        waited: dict[int, float] = {}
        for _, rank, its_took, its_wait in of_step:  # one that was recorded twice took the time of both
            took[rank] = took.get(rank, 0.0) + its_took
            waited[rank] = waited.get(rank, 0.0) + its_wait
        took = {rank: seconds for rank, seconds in took.items() if not isnan(seconds)}
        if len(took) > 1:
            all_told = all(waited[rank] == waited[rank] for rank in took)
            yield step, {r: max(seconds - waited[r], 0.0) if all_told else seconds for r, seconds in took.items()}


def _own_steps(rank: RankRecorded) -> Iterator[tuple[int, int, float, float]]:
    rows = zip(rank.steps, rank.took_s, rank.waited_s, strict=True)
    return ((step, rank.rank, took, waited) for step, took, waited in sorted(rows, key=itemgetter(0)))


@dataclass(slots=True)
class _Compared:
    """What comes of comparing ranks step by step."""

    nodes: dict[int, str]
    """Of each rank."""
    steps: list[SlowestInStep] = field(default_factory=list)
    total_s: float = 0.0
    """Of all steps, as long as the slowest took."""
    saved_s: defaultdict[int | str, float] = field(default_factory=lambda: defaultdict(float))
    """By how much less that is without a rank or a node."""
    own_s: dict[int, list[float]] = field(default_factory=dict)
    """Seconds of each rank in each step."""
    lost_s: defaultdict[int, float] = field(default_factory=lambda: defaultdict(float))
    """How long the others would have waited for a rank."""

    def take(self, step: int, own: dict[int, float]) -> None:
        """Compare the ranks in one step."""
        slowest = max(own, key=own.__getitem__)
        longest = own[slowest]
        others = [seconds for rank, seconds in own.items() if rank != slowest]
        elsewhere = [seconds for rank, seconds in own.items() if self.nodes[rank] != self.nodes[slowest]]
        self.steps.append(SlowestInStep(step, slowest, longest, longest - median(others), len(own)))
        self.total_s += longest
        self.saved_s[slowest] += longest - max(others)
        self.saved_s[self.nodes[slowest]] += longest - max(elsewhere, default=longest)
        self.lost_s[slowest] += sum(longest - seconds for seconds in others)
        for rank, seconds in own.items():
            self.own_s.setdefault(rank, []).append(seconds)

    def slowdown(self, one: int | str) -> float | None:
        """Of a rank or a node; None where nothing was compared."""
        without = self.total_s - self.saved_s[one]
        return self.total_s / without if without > 0 else None


def _lost(meetings: Iterable[Meeting]) -> dict[int, list[float]]:
    """By rank, for each meeting it was last at, how long the others waited for it."""
    lost: dict[int, list[float]] = {}
    for meeting in meetings:
        waits = meeting.waits()
        last, other = sorted(waits, key=waits.__getitem__)[:2]
        if waits[last] < waits[other]:
            lost.setdefault(last, []).append(sum(waited - waits[last] for waited in waits.values()))
    return lost


def _rank_totals(
    rank: RankRecorded, compared: _Compared, lost: dict[int, list[float]], meetings: Sequence[Meeting]
) -> RankTotals:
    behind = [one.behind_s for one in compared.steps if one.rank == rank.rank]
    own = compared.own_s.get(rank.rank, ())
    return RankTotals(
        rank.rank,
        rank.node,
        steps=len(set(rank.steps)),
        last_step=max(rank.steps, default=None),
        is_interrupted=rank.is_interrupted,
        mean_step_s=fmean(own) if own else None,
        slowest_steps=len(behind),
        behind_s=median(behind) if behind else None,
        slowdown=compared.slowdown(rank.rank) if own else None,
        waited_s=sum(meeting.waits()[rank.rank] for meeting in meetings if rank.rank in meeting.visits),
        last_arrivals=len(lost.get(rank.rank, ())),
        lost_s=sum(lost.get(rank.rank, ())) if meetings else compared.lost_s[rank.rank],
    )


def _node_totals(ranks: Sequence[RankTotals], compared: _Compared) -> tuple[NodeTotals, ...]:
    by_node: dict[str, list[RankTotals]] = {}
    for rank in ranks:
        by_node.setdefault(rank.node, []).append(rank)
    if not any(by_node):
        return ()
    totals = []
    for node, its in by_node.items():
        own = [seconds for rank in its for seconds in compared.own_s.get(rank.rank, ())]
        totals.append(
            NodeTotals(
                node,
                tuple(rank.rank for rank in its),
                mean_step_s=fmean(own) if own else None,
                slowest_steps=sum(rank.slowest_steps for rank in its),
                slowdown=compared.slowdown(node) if own and len(by_node) > 1 else None,
                lost_s=sum(rank.lost_s for rank in its),
            )
        )
    return tuple(totals)


def _stretches(steps: Sequence[SlowestInStep]) -> Iterator[Stretch]:
    size = max(-(-len(steps) // _MOST_STRETCHES), 1)
    left = iter(steps)
    while part := list(islice(left, size)):
        rank, count = Counter(one.rank for one in part).most_common(1)[0]
        behind = median(one.behind_s for one in part if one.rank == rank)
        yield Stretch(part[0].step, part[-1].step, len(part), rank, count, behind)


def _unknown(run: RunOfRanks, ranks: Sequence[RankTotals], clocks: Sequence[ClockOffset]) -> Iterator[str]:
    """What would matter and cannot be known, a sentence each."""
    here = {rank.rank for rank in ranks}
    missing = list(islice((rank for rank in range(run.world_size or 0) if rank not in here), _MOST_NAMED))
    if missing:
        named = _named(missing) + (" and others" if len(missing) == _MOST_NAMED else "")
        yield f"The run has {run.world_size} ranks; nothing that {named} recorded is here."
    if len(ranks) > 1:
        if run.world_size is None:
            yield "How many ranks the run has is not recorded."
        for rank in run.ranks:
            if rank.processes > 1:
                yield f"{rank.processes} processes took themselves for rank {rank.rank}: their steps are added up."
        yield from _unknown_of_steps(run, ranks)
        yield from _unknown_of_clocks(clocks)


def _unknown_of_steps(run: RunOfRanks, ranks: Sequence[RankTotals]) -> Iterator[str]:
    furthest = max((rank.last_step for rank in ranks if rank.last_step is not None), default=-1)
    for rank in ranks:
        how = ": its process died" if rank.is_interrupted else ""
        if rank.last_step is None:
            yield f"Rank {rank.rank} recorded no step{how}."
        elif rank.last_step < furthest:
            yield f"Rank {rank.rank} recorded steps until {rank.last_step}, others until {furthest}{how}."
    if run.missing_windows:
        yield f"Windows of steps that could not be read: {run.missing_windows}."
    if all(isnan(waited) for rank in run.ranks for waited in rank.waited_s):
        yield (
            "No waiting inside steps is recorded: if ranks wait for each other there, each step took all of them as "
            "long as the slowest, and who that was cannot be told."
        )


def _unknown_of_clocks(clocks: Sequence[ClockOffset]) -> Iterator[str]:
    unknown = [clock.rank for clock in clocks if clock.offset_s is None]
    if unknown:
        yield (
            f"How the {'clock' if len(unknown) == 1 else 'clocks'} of {_named(unknown)} and of rank "
            f"{clocks[0].reference} differ: no barrier or collective that they share is recorded."
        )
    for clock in clocks:
        if clock.barriers and clock.bound_s is None:
            yield f"Rank {clock.rank}'s barriers contradict each other: a clock was set meanwhile, or ran unevenly."


def _named(ranks: Sequence[int]) -> str:
    *some, last = map(str, ranks)
    return f"ranks {', '.join(some)} and {last}" if some else f"rank {last}"
