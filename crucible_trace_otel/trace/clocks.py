"""By how much the clocks of ranks differ, from barriers: all ranks leave a barrier at the same time."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import sqrt
from statistics import median
from typing import Final

from crucible_trace_otel.trace.ranks import Meeting, RankRecorded

__all__ = ["ClockOffset", "clock_offsets"]

_FEWEST_FOR_DRIFT: Final = 7  # of fewer not even all that go one way say so surely, see `_go_one_way`
_MOST_FOR_DRIFT: Final = 100  # of which every pair is looked at
_FASTEST: Final = 0.1  # no clock runs so wrong; one that was set does
_TO_DEVIATION: Final = 1.4826  # from the median absolute deviation to the standard deviation of a normal distribution
_SIGNIFICANT: Final = 4.0
_ONE_WAY: Final = 3.0  # standard deviations


@dataclass(frozen=True, slots=True)
class ClockOffset:
    """By how much a rank's clock is ahead of another's; None wherever it is not known."""

    rank: int
    reference: int
    """The rank whose clock it is compared with."""
    offset_s: float | None
    """Seconds, at `at_ns`."""
    drift: float
    """By how many seconds the offset grows each second; 0 where the barriers show none."""
    at_ns: int
    """When, by the clock of the reference: nanoseconds since 1970, 0 where there is no drift to matter."""
    spread_s: float | None
    """Half of the barriers say an offset within so many seconds of this one."""
    bound_s: float | None
    """At the barrier that tells most, the offset is wrong by no more than this; None where no such bound holds."""
    barriers: int
    """From how many it is estimated; 0 where it was told (`crucible.clock.offset`), or is not known."""

    def common_ns(self, time_ns: int) -> int | None:
        """A time by the rank's clock as the reference's clock had it."""
        if self.offset_s is None:
            return None
        since_ns = (time_ns - self.at_ns - self.offset_s * 1e9) / (1 + self.drift)
        return time_ns - round(self.offset_s * 1e9 + self.drift * since_ns)


@dataclass(frozen=True, slots=True)
class _Sample:
    """What one barrier says about an offset, nanoseconds."""

    at: int
    """When the reference left it."""
    offset: int
    least: int
    most: int
    """What the offset cannot be below and above."""


def clock_offsets(ranks: Sequence[RankRecorded], meetings: Iterable[Meeting]) -> tuple[ClockOffset, ...]:
    """The offset of each rank's clock to that of the lowest rank, as told, or else estimated.

    A rank that left a barrier when its clock said `l` while the reference's said `l0` is ahead by `l - l0`, up to the
    time that the news of the last arrival took to each. The estimate is the median over all barriers; from seven on,
    where the change stands out from the scatter, a straight line through them: the median of the slopes of all pairs
    (Sen, "Estimates of the regression coefficient based on Kendall's tau", J. Am. Stat. Assoc. 63, 1968), as offsets
    are commonly interpolated in traces (Becker et al., "Scalable timestamp synchronization for event traces of
    message-passing applications", Parallel Computing 35, 2009).

    Nobody leaves before all have arrived, so that `arrived - l0 <= offset <= l - arrived0` holds at every barrier,
    whatever the network did, as in a message there and back (Cristian, "Probabilistic clock synchronization",
    Distributed Computing 3, 1989): that is the bound. Where the estimate lies further outside of this than it is wide,
    a clock was set meanwhile, and no bound is given.

    Without barriers it is estimated from the collectives that nobody leaves early, and says less.
    """
    if not ranks:
        return ()
    reference = ranks[0]
    several = list(meetings)
    barriers = [meeting for meeting in several if meeting.is_barrier]
    found = [ClockOffset(reference.rank, reference.rank, 0.0, 0.0, 0, 0.0, 0.0, 0)]
    for rank in ranks[1:]:
        told = _told(reference, rank)
        if told is not None:
            found.append(ClockOffset(rank.rank, reference.rank, told, 0.0, 0, None, None, 0))
            continue
        samples = _samples(barriers, reference.rank, rank.rank) or _samples(several, reference.rank, rank.rank)
        found.append(_estimated(rank.rank, reference.rank, samples))
    return tuple(found)


def _told(reference: RankRecorded, rank: RankRecorded) -> float | None:
    base = 0.0 if reference.rank == 0 else reference.clock_offset_s
    return None if base is None or rank.clock_offset_s is None else rank.clock_offset_s - base


def _samples(meetings: Iterable[Meeting], reference: int, rank: int) -> list[_Sample]:
    found = []
    for meeting in meetings:
        visits: Mapping[int, object] = meeting.visits
        if reference in visits and rank in visits:
            base, own = meeting.visits[reference], meeting.visits[rank]
            least, most = own.arrived_ns - base.left_ns, own.left_ns - base.arrived_ns
            found.append(_Sample(base.left_ns, own.left_ns - base.left_ns, least, most))
    return found


def _estimated(rank: int, reference: int, samples: Sequence[_Sample]) -> ClockOffset:
    if not samples:
        return ClockOffset(rank, reference, None, 0.0, 0, None, None, 0)
    at = round(median(sample.at for sample in samples))
    drift = _drift(samples)

    def beside(value: int, sample: _Sample) -> float:
        """`value` without what drift has added to it until then."""
        return value - drift * (sample.at - at)

    offset = median(beside(sample.offset, sample) for sample in samples)
    spread = median(abs(beside(sample.offset, sample) - offset) for sample in samples)
    above = [beside(sample.most, sample) - offset for sample in samples]
    below = [offset - beside(sample.least, sample) for sample in samples]
    is_steady = min(*above, *below) >= -median(sample.most - sample.least for sample in samples)
    bound = min(map(max, above, below)) / 1e9 if is_steady else None
    return ClockOffset(rank, reference, offset / 1e9, drift, at, spread / 1e9, bound, len(samples))


def _drift(samples: Sequence[_Sample]) -> float:
    """The slope of the offsets, or 0 where what it makes of the whole time could as well be their scatter."""
    if len(samples) < _FEWEST_FOR_DRIFT:
        return 0.0
    thinned = samples[:: -(-len(samples) // _MOST_FOR_DRIFT)]
    slopes = [(two.offset - one.offset) / (two.at - one.at) for one, two in combinations(thinned, 2) if one.at < two.at]
    if not slopes:
        return 0.0
    slope = median(slopes)
    if abs(slope) > _FASTEST or not _go_one_way(slopes, len(thinned)):
        return 0.0
    rests = [sample.offset - slope * (sample.at - samples[0].at) for sample in samples]
    middle = median(rests)
    deviation = _TO_DEVIATION * median(abs(rest - middle) for rest in rests)
    # What a line through n points rises over their range has a standard error of about sqrt(12 / n) deviations.
    change = abs(slope) * (samples[-1].at - samples[0].at)
    return slope if change > _SIGNIFICANT * deviation * (12 / len(samples)) ** 0.5 else 0.0


def _go_one_way(slopes: Sequence[float], count: int) -> bool:
    """Whether the offsets of `count` barriers rise, or fall, more than by chance, however large the scatter.

    The test of Mann ("Nonparametric tests against trend", Econometrica 13, 1945) on the slopes of all pairs.
    """
    rising = sum((slope > 0) - (slope < 0) for slope in slopes)
    return abs(rising) > _ONE_WAY * sqrt(count * (count - 1) * (2 * count + 5) / 18)
