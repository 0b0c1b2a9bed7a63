"""A/B tests: versions compared in service.

with deployment.a_b_test("v1 or v2", metric="accuracy", higher_is_better=True) as test:
    test.record_arm("v1", [row == label for row, label in control])
    test.record_arm("v2", [row == label for row, label in candidate])
test.result.winner
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from math import isfinite
from typing import TYPE_CHECKING, Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._late import warn_late
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._unexpected import number_in, share_in, unexpected
from crucible_trace_otel.record._values import Repairs, printable
from crucible_trace_otel.record.serving._statistics import TRUTHS, Judgement, Sample, compared, summary_of, trials_of
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans

if TYPE_CHECKING:
    from crucible_trace_otel.record.deployment import Deployment

__all__ = ["ABResult", "ABTest", "a_b_test"]

_MOST_ARMS = 100
_PAIR = 2
_LEVEL = 0.95
_NOT_FINITE = "observations that are no finite numbers"
_UNREAD = "the observations beyond ten million of one call"
_TOO_MANY = "what was observed of arms beyond a hundred"


@dataclass(frozen=True, slots=True)
class ABResult:
    """What an A/B test found, so far as it is known."""

    arms: tuple[str, ...] = ()
    """Names, the control first."""
    counts: tuple[int, ...] = ()
    """Observations of each arm."""
    means: tuple[float, ...] = ()
    """Mean of each arm, NaN where it has no observation."""
    effect: float | None = None
    """Mean of the candidate minus mean of the control; None where there are not two arms."""
    interval: tuple[float, float] | None = None
    """Of the effect, at the confidence level."""
    p_value: float | None = None
    """Probability of an effect at least this large, in either direction, if there were none."""
    test: str | None = None
    """The statistical test that was used."""
    improvement: float | None = None
    """The effect, positive where the candidate is better; None where nobody said which direction is better."""
    winner: str | None = None
    """The better arm, where the p-value is below one minus the confidence level; None while undecided."""


class ABTest(Operation):
    """A comparison of arms, the control and its candidate, by what was observed of each."""

    operation_name = spans.A_B_TEST

    def __init__(
        self,
        name: object,
        *,
        of: "Deployment | None" = None,
        metric: str | None = None,
        higher_is_better: bool | None = None,
        control: str | None = None,
        confidence_level: float = _LEVEL,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        repairs: Repairs = {}
        self._level = _level(repairs, confidence_level)
        self._higher_is_better = _direction(repairs, higher_is_better)
        self._control = None if control is None else printable(control)
        attributes = {
            attr.CRUCIBLE_AB_METRIC: metric,
            attr.CRUCIBLE_AB_HIGHER_IS_BETTER: self._higher_is_better,
            attr.DEPLOYMENT_NAME: None if of is None else of.about,
        }
        super().__init__(name, of=of, attributes=attributes, repairs=repairs, depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        self._lock = threading.RLock()  # one that a signal handler may enter again
        self._arms: dict[str, Sample] = {}
        self._left_out = 0
        self._told: dict[str, Any] = {}

    @guarded(nothing)
    def record_arm(
        self,
        arm: str,
        observations: Any = None,
        *,
        successes: int | None = None,
        trials: int | None = None,
        size: int | None = None,
        mean: float | None = None,
        deviation: float | None = None,
    ) -> None:
        """Record what was observed of an arm. The first arm is the control, unless `control=` names it.

        Args:
            arm: Its name.
            observations: One number, or any number of them (an array, a generator), in any number of calls: only their
                count, mean and variance are kept. `True` and `False` are trials that succeed or do not.
            successes: Of trials that were counted: how many succeeded.
            trials: How many there were.
            size: Of observations that were summed up: how many there were.
            mean: Their mean.
            deviation: Their standard deviation, of the sample (divided by n - 1); without it there is no test.
        """
        if self.ended or (self._process and not self._is_here()):
            warn_late(self)
            if not self.ended:
                return  # to a forked child, whose copy of the lock may be held for ever
        name, observed = printable(arm), Sample()
        if observations is not None:
            observed.add(observations)
        self._sum_up(observed, name, (successes, trials), trials_of, attr.CRUCIBLE_AB_SAMPLE_COUNTS)
        self._sum_up(observed, name, (size, mean, deviation), summary_of, attr.CRUCIBLE_AB_MEANS)
        with self._lock:
            if name in self._arms or len(self._arms) < _MOST_ARMS:
                self._arms.setdefault(name, Sample()).merge(observed)
                return
            self._left_out += 1
        warn_once("arms", f"{self.about!r} has more than {_MOST_ARMS} arms: further ones are left out.")

    def _sum_up(
        self, into: Sample, name: str, given: tuple[Any, ...], to_sample: Callable[..., Sample | None], key: str
    ) -> None:
        """Take what an arm was summed up to; what cannot be is left out, marked and warned about."""
        if all(value is None for value in given):
            return
        sample = to_sample(*given)
        if sample is not None:
            into.merge(sample)
            return
        said = f"{name}: {', '.join(map(printable, given))}"
        unexpected(self._repairs, key, said, "cannot be of any sample", is_kept=False)

    @guarded(nothing)
    def record_result(
        self,
        *,
        effect: float | None = None,
        interval: Sequence[float] | None = None,
        p_value: float | None = None,
        test: str | None = None,
        winner: str | None = None,
    ) -> None:
        """Record what was computed elsewhere; it takes the place of what would be computed here.

        Args:
            effect: Mean of the candidate minus mean of the control, whatever direction is better.
            interval: Lower and upper bound of its confidence interval.
            p_value: Probability of an effect at least this large if there were none.
            test: The statistical test.
            winner: The arm that won.
        """
        bounds = None if interval is None else _bounds(interval)
        if interval is not None and bounds is None:
            said = "is a lower and an upper bound"
            unexpected(self._repairs, attr.CRUCIBLE_AB_INTERVAL, interval, said, is_kept=False)
        given = {
            "effect": number_in(self._repairs, attr.CRUCIBLE_AB_EFFECT, effect),
            "interval": bounds,
            "p_value": share_in(self._repairs, attr.CRUCIBLE_AB_P_VALUE, p_value),
            "test": None if test is None else printable(test),
            "winner": None if winner is None else printable(winner),
        }
        if self.ended or (self._process and not self._is_here()):
            warn_late(self)
        self._told |= {name: value for name, value in given.items() if value is not None}

    @property
    def result(self) -> ABResult:
        """What is known by now, recorded or not: a decision may rest on it."""
        return self._found()

    @guarded(lambda _: ABResult())
    def _found(self) -> ABResult:
        arms, control = dict(self._arms), self._control
        if control in arms:
            arms = {control: arms.pop(control), **arms}
        samples = tuple(arms.values())
        found = ABResult(tuple(arms), tuple(each.count for each in samples), tuple(each.mean for each in samples))
        if len(samples) == _PAIR and all(found.counts) and (control is None or control in arms):
            judged = _judged(samples[0], samples[1], self._level)
            effect = found.means[1] - found.means[0]
            found = replace(found, effect=effect, **judged)
        found = replace(found, **self._told)
        better = 0.0 if self._higher_is_better is None else 1.0 if self._higher_is_better else -1.0
        if found.effect is None or not better:
            return found
        improvement = found.effect * better
        winner = found.winner
        is_decided = found.p_value is not None and 0.0 <= found.p_value < 1 - self._level
        if winner is None and len(found.arms) == _PAIR and is_decided and improvement and isfinite(improvement):
            winner = found.arms[improvement > 0]
        return replace(found, improvement=improvement, winner=winner)

    def _before_end(self) -> None:
        """Say what it found; with more or fewer than two arms, only how large they are and their means."""
        found = self._found()
        if self._control is not None and found.arms and self._control not in found.arms:
            unexpected(self._repairs, attr.CRUCIBLE_AB_ARMS, self._control, "has no control", is_kept=False)
        self.set(
            {
                attr.CRUCIBLE_AB_ARMS: found.arms or None,
                attr.CRUCIBLE_AB_SAMPLE_COUNTS: found.counts or None,
                attr.CRUCIBLE_AB_MEANS: found.means or None,
                attr.CRUCIBLE_AB_EFFECT: found.effect,
                attr.CRUCIBLE_AB_IMPROVEMENT: found.improvement,
                attr.CRUCIBLE_AB_INTERVAL: found.interval,
                attr.CRUCIBLE_AB_CONFIDENCE_LEVEL: None if found.interval is None else self._level,
                attr.CRUCIBLE_AB_P_VALUE: found.p_value,
                attr.CRUCIBLE_AB_TEST: found.test,
                attr.CRUCIBLE_AB_WINNER: found.winner,
                **self._dropped(),
            }
        )

    def _dropped(self) -> Mapping[str, Any]:
        """What is in none of the numbers."""
        samples = self._arms.values()
        counts = {
            _NOT_FINITE: sum(sample.refused for sample in samples),
            _UNREAD: sum(sample.unread for sample in samples),
            _TOO_MANY: self._left_out,
        }
        told = {reason: count for reason, count in counts.items() if count}
        if not told:
            return {}
        reasons = " and ".join(told)
        warn_once(f"refused {self.about}", f"{self.about!r}: {reasons} are left out ({sum(told.values())}).")
        return {attr.CRUCIBLE_DROPPED_COUNT: sum(told.values()), attr.CRUCIBLE_DROPPED_REASON: reasons}


def _untold(*_: Any) -> Judgement:
    """The fallback where two samples could not be compared."""
    return {}


_judged = guarded(_untold)(compared)


def _bounds(given: Any) -> tuple[float, float] | None:
    """An interval; None where it is none."""
    try:
        low, high = (float(bound) for bound in islice(given, 3))
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        return None
    return (low, high) if low <= high else None


def _neither(*_: Any) -> bool | None:
    """The fallback where it cannot be found out."""
    return None


@guarded(_neither)
def _direction(marked: Repairs, given: Any) -> bool | None:
    """Whether higher is better; None where nobody said, or what was said is neither True nor False."""
    if given is None or isinstance(given, int) or type(given).__name__ in TRUTHS:
        return None if given is None else bool(given)
    unexpected(marked, attr.CRUCIBLE_AB_HIGHER_IS_BETTER, given, "is True or False", is_kept=False)
    return None


@guarded(lambda *_: _LEVEL)
def _level(repairs: Repairs, given: Any) -> float:
    """A confidence level between 0 and 1; in the place of what is none, the usual one."""
    level = number_in(repairs, attr.CRUCIBLE_AB_CONFIDENCE_LEVEL, given)
    if level is not None and level > 0.0 and (1.0 + level) / 2 < 1.0:  # an interval needs that quantile
        return level
    unexpected(repairs, attr.CRUCIBLE_AB_CONFIDENCE_LEVEL, given, "lies between 0 and 1", is_kept=False)
    return _LEVEL


@forgiving
def a_b_test(
    name: str,
    *,
    metric: str | None = None,
    higher_is_better: bool | None = None,
    control: str | None = None,
    confidence_level: float = _LEVEL,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> ABTest:
    """A comparison of versions in service, to be used in `with`, or by `start()` and `stop()`.

    Args:
        name: What is compared.
        metric: What is measured: `accuracy`, `latency`.
        higher_is_better: Whether a higher mean is the better one; without it no winner is told.
        control: The arm that the other is compared with; the first that is recorded when not given.
        confidence_level: Of the interval of the effect; a winner is told where the p-value is below one minus it.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return ABTest(
        name,
        metric=metric,
        higher_is_better=higher_is_better,
        control=control,
        confidence_level=confidence_level,
        depends_on=depends_on,
        links=links,
    )
