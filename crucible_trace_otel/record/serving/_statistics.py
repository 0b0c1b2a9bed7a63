"""Two samples compared: their effect, its interval, and how likely it is by chance alone.

Of a sample only its sums are kept, so that any number of observations takes no memory. What needs Student's
distribution or Fisher's exact test is computed by SciPy, where that is installed, and left unknown where it is not.
"""

import math
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, TypedDict

from crucible_trace_otel._interruption import let_through

__all__ = ["TRUTHS", "Judgement", "Sample", "compared", "summary_of", "trials_of"]

TRUTHS = ("bool", "bool_")  # of Python, and of numpy
_NUMERIC = "iuf"  # kinds of numpy's arrays
_MOST_AT_ONCE = 10_000_000  # some iterables have no end
_MOST_EXACT = 10_000_000  # trials: with a hundred times as many SciPy takes a minute
_FEW = 5  # expected in a cell of the table: below it the normal distribution is no good approximation


@dataclass(slots=True)
class Sample:
    """What is known of the observations of one arm."""

    count: int = 0
    mean: float = math.nan
    squares: float = math.nan
    """Sum of the squared deviations from the mean; NaN where only the mean is known."""
    successes: int | None = 0
    """Where all observations are trials that succeed or do not: how many did."""
    refused: int = 0
    """Observations that were no finite numbers; they are in nothing else."""
    unread: int = 0
    """Calls that brought more observations than are looked at."""

    @property
    def variance(self) -> float:
        """Of the population, as estimated from the sample; NaN where it is not known."""
        return self.squares / (self.count - 1) if self.count > 1 else math.nan

    def add(self, values: Any) -> None:
        """Take in one observation, or any number of them, which are not kept."""
        numpy = sys.modules.get("numpy")
        if numpy is not None and isinstance(values, numpy.ndarray):
            if isinstance(values, numpy.ma.MaskedArray):
                values = values.compressed()  # what is masked was not observed
            if values.dtype.kind == "b":
                self.add_trials(int(values.sum()), int(values.size))
                return
            if values.dtype.kind in _NUMERIC:
                self._add_finite(values.size, values[numpy.isfinite(values)].astype(float))
                return
            if values.dtype.kind == "c":
                self.refused += int(values.size)
                return
            values = values.ravel()
        each = _each(values)
        for value in islice(each, _MOST_AT_ONCE):
            number = _finite(value)
            if number is None:
                self.refused += 1
            elif type(value).__name__ in TRUTHS:
                self.add_trials(int(number), 1)
            else:
                self.add_summary(1, number, 0.0)
        self.unread += any(True for _ in each)

    def _add_finite(self, size: int, finite: Any) -> None:
        """Take in a numpy array, that which is finite of `size` observations."""
        self.refused += int(size - finite.size)
        if finite.size:
            self.add_summary(int(finite.size), float(finite.mean()), float(finite.var() * finite.size))

    def add_trials(self, successes: int, count: int) -> None:
        """Take in so many trials."""
        if count:
            share = successes / count
            self._merge(count, share, count * share * (1 - share))
            self.successes = None if self.successes is None else self.successes + successes

    def add_summary(self, count: int, mean: float, squares: float) -> None:
        """Take in so many observations, of which the mean and the sum of squared deviations are known."""
        if count:
            self._merge(count, mean, squares)
            self.successes = None

    def merge(self, other: "Sample") -> None:
        """Take in what another sample knows."""
        both = None if self.successes is None or other.successes is None else self.successes + other.successes
        self._merge(other.count, other.mean, other.squares)
        self.successes = both
        self.refused += other.refused
        self.unread += other.unread

    def _merge(self, count: int, mean: float, squares: float) -> None:
        """Chan's update: as exact as two passes over all observations."""
        if not count:
            return
        if not self.count:
            self.count, self.mean, self.squares = count, mean, squares
            return
        total = self.count + count
        delta = mean - self.mean
        self.squares += squares + delta * delta * self.count * count / total
        self.mean += delta * count / total
        self.count = total


class Judgement(TypedDict, total=False):
    """What comparing two samples gave; without a test where none could be made."""

    test: str
    interval: tuple[float, float]
    p_value: float


def trials_of(successes: Any, trials: Any) -> Sample | None:
    """A sample of so many trials; None where there are no such."""
    won, count = _finite(successes), _finite(trials)
    if won is None or count is None or won % 1 or count % 1 or not 0 <= won <= count:
        return None
    sample = Sample()
    sample.add_trials(int(won), int(count))
    return sample


def summary_of(size: Any, mean: Any, deviation: Any) -> Sample | None:
    """A sample of that size, mean and standard deviation (NaN where it is None); None where there is no such."""
    count, centre = _finite(size), _finite(mean)
    spread = math.nan if deviation is None else _finite(deviation)
    if count is None or centre is None or spread is None or count % 1 or count < 0 or spread < 0:
        return None
    sample = Sample()
    sample.add_summary(int(count), centre, spread * spread * (count - 1))
    return sample


def compared(control: Sample, candidate: Sample, level: float) -> Judgement:
    """The difference of their means (candidate minus control), judged.

    Args:
        control: What the candidate is compared with.
        candidate: The other one.
        level: Confidence level of the interval, between 0 and 1.
    """
    if control.successes is not None and candidate.successes is not None:
        return _proportions(control, candidate, level)
    return _means(control, candidate, level)


def _means(control: Sample, candidate: Sample, level: float) -> Judgement:
    """Welch's t-test: two-sided, and the variances may differ."""
    errors = [sample.variance / sample.count for sample in (control, candidate) if sample.count > 1]
    squared = sum(errors)
    stats = _scipy_stats()
    if stats is None or len(errors) < len((control, candidate)) or not squared > 0 or not math.isfinite(squared):
        return {}
    shares = [error / squared for error in errors]
    freedom = 1 / (shares[0] ** 2 / (control.count - 1) + shares[1] ** 2 / (candidate.count - 1))
    error = math.sqrt(squared)
    effect = candidate.mean - control.mean
    margin = float(stats.t.ppf((1 + level) / 2, freedom)) * error
    p_value = 2 * float(stats.t.sf(abs(effect) / error, freedom))
    return {"test": "Welch's t", "interval": (effect - margin, effect + margin), "p_value": p_value}


def _proportions(control: Sample, candidate: Sample, level: float) -> Judgement:
    """The two-proportion z-test, two-sided; Fisher's exact one where something is expected too rarely for that."""
    won = [sample.successes or 0 for sample in (control, candidate)]
    counts = [control.count, candidate.count]
    if not all(counts):
        return {}
    pooled = sum(won) / sum(counts)
    interval = _newcombe(won, counts, level)
    if min(counts) * min(pooled, 1 - pooled) < _FEW:
        stats = _scipy_stats() if sum(counts) <= _MOST_EXACT else None
        if stats is None:
            return {"interval": interval}
        table = [won, [count - successes for count, successes in zip(counts, won, strict=True)]]
        p_value = float(stats.fisher_exact(table)[1])
        return {"test": "Fisher's exact", "interval": interval, "p_value": p_value}
    error = math.sqrt(pooled * (1 - pooled) * (1 / counts[0] + 1 / counts[1]))
    z = (won[1] / counts[1] - won[0] / counts[0]) / error
    p_value = math.erfc(abs(z) / math.sqrt(2))
    return {"test": "two-proportion z", "interval": interval, "p_value": p_value}


def _newcombe(won: list[int], counts: list[int], level: float) -> tuple[float, float]:
    """The interval of a difference of two proportions from Wilson's intervals of each, right near 0 and 1 too."""
    from statistics import NormalDist  # noqa: PLC0415 - it is rarely needed, and loads much

    z = NormalDist().inv_cdf((1 + level) / 2)
    first, second = (successes / count for successes, count in zip(won, counts, strict=True))
    (low_1, high_1), (low_2, high_2) = (_wilson(*each, z) for each in zip(won, counts, strict=True))
    effect = second - first
    return (
        effect - math.hypot(second - low_2, high_1 - first),
        effect + math.hypot(high_2 - second, first - low_1),
    )


def _wilson(successes: int, count: int, z: float) -> tuple[float, float]:
    share = successes / count
    scale = 1 + z * z / count
    centre = (share + z * z / (2 * count)) / scale
    margin = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / scale
    return centre - margin, centre + margin


def _each(values: Any) -> Iterator[Any]:
    """The observations in `values`; a text or a mapping is one, which is no number."""
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes, bytearray, Mapping)):
        try:
            return iter(values)
        except TypeError:  # a scalar that looks like an array
            pass
    return iter((values,))


def _finite(value: Any) -> float | None:
    try:
        number = float(value)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its __float__ may do anything
        let_through(error)
        return None
    return number if math.isfinite(number) else None


@lru_cache(maxsize=1)
def _scipy_stats() -> Any:
    """SciPy's statistics, if it works here: imported when a comparison ends, for it takes a second."""
    try:
        from scipy import stats  # noqa: PLC0415
    except Exception as error:  # noqa: BLE001 - where it was built for another numpy it raises what it likes
        let_through(error)
        return None
    return stats
