"""Which steps are abnormal: not a number, infinite, far above the level, far slower than the others, or skipped.

What is expected is learned when a window is closed, so that recording a step compares with a ceiling and no more.
"""

import math
import threading
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from operator import mul
from typing import TYPE_CHECKING, Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.series import INDEX, as_list
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.steps._policy import AbnormalStep, WindowPolicy
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv.enums import AbnormalKind

if TYPE_CHECKING:
    from crucible_trace_otel.record.steps._rows import OpenRows

__all__ = ["HIGHEST", "LOWEST", "Level", "StepWatch", "told"]

HIGHEST = 1.7976931348623157e308
"""No double that is finite is above it."""
LOWEST = -HIGHEST

_SECOND_NS = 1_000_000_000
_NEVER = 2**63
_NUMBERS = frozenset({int, float})
_SAMPLE = 25  # rows of a window that are learned from
_MEMORY = 250  # such rows that count in full; older ones fade, so that the level follows a loss that falls
_FEWEST = 25  # such rows before anything is expected
_LEAST_SHARE = 0.01  # of the mean: less is no deviation, so that a constant loss has no spike of one bit
_WINDOWS = 25  # of which the median of step times is taken
_MOST_TOLD = 100  # abnormal steps of a run with an event of their own


class Level:
    """Mean and deviation of a number that is expected to stay below a ceiling (Welford, a window at a time)."""

    __slots__ = ("ceiling", "count", "mean", "squares")

    def __init__(self) -> None:
        self.count = 0
        self.mean = self.squares = 0.0
        self.ceiling = math.inf

    def learn(self, values: Sequence[float], sigmas: float) -> None:
        """Take in a window: values above the ceiling as if they were as high as it, of the others the finite ones."""
        number, total, squares = len(values), sum(values, 0.0), sum(map(mul, values, values), 0.0)
        if not squares <= HIGHEST or max(values, default=0.0) > self.ceiling:
            values = [min(value, self.ceiling) for value in values if LOWEST <= value <= HIGHEST]
            number, total, squares = len(values), sum(values, 0.0), sum(map(mul, values, values), 0.0)
        if not number or not squares <= HIGHEST:
            return
        squares = max(squares - total * total / number, 0.0)
        before = min(self.count, _MEMORY)
        if self.count:
            self.squares *= before / self.count
        self.count = before + number
        ahead = total / number - self.mean
        self.mean += ahead * number / self.count
        self.squares += squares + ahead * ahead * before * number / self.count
        if self.count >= _FEWEST:
            sigma = max(math.sqrt(self.squares / self.count), abs(self.mean) * _LEAST_SHARE)
            self.ceiling = self.mean + sigmas * sigma


class StepWatch:
    """What is expected of the steps of a run or an episode, and how many were otherwise.

    Threads may share it: nothing is exact.
    """

    def __init__(self, policy: WindowPolicy, about: str, step_event: str = events.STEPS_RECORDED) -> None:
        self.policy = policy
        self.step_event = step_event
        """The event that windows of steps are."""
        self.counts: dict[str, int] = {}
        """How many of each kind."""
        self.slow_ns = _NEVER
        """The longest time between two steps that is not slow."""
        self.median_ns = 0
        """The median time between two steps."""
        self._about = about
        self._levels: dict[tuple[str, str], Level] = {}
        self._medians: deque[int] = deque(maxlen=_WINDOWS)
        self._times = 0
        self._told = 0
        self._calling: set[int] = set()

    def look(self, window: "OpenRows", step: int, numbers: Mapping[str, Any], gap_ns: int) -> AbnormalStep | None:
        """What is abnormal about a row that is to be added to `window`, if anything is.

        Args:
            window: Of its names.
            step: Its step.
            numbers: By name.
            gap_ns: The time since the step before; 0 where there was none, or the row is no step.
        """
        for name, value in numbers.items():
            if type(value) is float and not LOWEST <= value <= HIGHEST:
                kind = AbnormalKind.INFINITY if value == value else AbnormalKind.NAN  # noqa: PLR0124
                return AbnormalStep(step, kind, printable(name), value)
        value = None if window.loss is None else numbers.get(window.loss)
        if value is not None and type(value) in _NUMBERS and value > window.ceiling:
            expected = self._level(window).mean
            return AbnormalStep(step, AbnormalKind.SPIKE, printable(window.loss), float(value), expected)
        if gap_ns > self.slow_ns:
            seconds = gap_ns / _SECOND_NS
            return AbnormalStep(step, AbnormalKind.SLOW, value=seconds, expected=self.median_ns / _SECOND_NS)
        return None

    def expect(self, window: "OpenRows") -> None:
        """Tell a window that was opened what its loss is expected to stay below."""
        if window.loss is not None:
            window.ceiling = self._level(window).ceiling

    def learn(self, window: "OpenRows", columns: Mapping[str, Sequence[Any]]) -> None:
        """Take in the rows of a window that is closed."""
        if window.loss is not None and self.policy.spike_sigma is not None:
            values = _some([*columns.values()][len(INDEX) + window.loss_at])
            if not _NUMBERS.issuperset(map(type, values)):
                values = [value for value in values if type(value) in _NUMBERS]
            self._level(window).learn(values, self.policy.spike_sigma)
        if window.event_name == self.step_event and self.policy.slow_factor is not None:
            times = columns["time_ns"]
            pairs = zip(_some(times[:-1]), _some(times[1:]), strict=True)
            self._learn_times([after - before for before, after in pairs], self.policy.slow_factor)

    def _level(self, window: "OpenRows") -> Level:
        return self._levels.setdefault((window.event_name, window.loss or ""), Level())

    def _learn_times(self, between: list[int], factor: float) -> None:
        if between:
            self._times += len(between)
            self._medians.append(_median(between))
            self.median_ns = _median(self._medians)
        if self._times >= _FEWEST - 1:
            self.slow_ns = int(max(factor * self.median_ns, self.policy.slow_seconds * _SECOND_NS))

    def count(self, kind: str) -> bool:
        """Count a step of that kind; whether it gets an event of its own, as the first hundred of a run do."""
        self.counts[kind] = self.counts.get(kind, 0) + 1
        self._told += 1
        if self._told == _MOST_TOLD + 1:
            warn_once(
                f"abnormal {self._about}",
                f"{self._about} has more than {_MOST_TOLD} abnormal steps: "
                "further ones are counted and get no event of their own.",
            )
        return self._told <= _MOST_TOLD

    def call(self, found: AbnormalStep) -> None:
        """Give an abnormal step to `on_abnormal`, unless that is what recorded it."""
        hook, thread = self.policy.on_abnormal, threading.get_ident()
        if hook is None or thread in self._calling:
            return
        self._calling.add(thread)
        try:
            hook(found)
        except Exception as error:  # noqa: BLE001 - it is the user's code, in the middle of a training loop
            let_through(error)
            reason = f"{type(error).__name__}: {printable(error)}"
            warn_once(f"on_abnormal {reason}", f"on_abnormal raised {reason}. The program goes on.", exc_info=True)
        finally:
            self._calling.discard(thread)


def _some(values: Sequence[Any]) -> Sequence[Any]:
    """Some twenty-five of them or a few more, evenly spread; all where they are fewer."""
    return as_list(values[:: max(1, len(values) // _SAMPLE)])


def _median(values: Iterable[int]) -> int:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]


def told(found: AbnormalStep) -> dict[str, Any]:
    """The attributes of its event."""
    return {
        attr.CRUCIBLE_ABOUT: f"step {found.step}: {_in_words(found)}",
        attr.CRUCIBLE_TRAINING_STEP_INDEX: found.step,
        attr.CRUCIBLE_ABNORMAL_KIND: found.kind,
        attr.CRUCIBLE_ABNORMAL_COLUMN: found.column,
        attr.CRUCIBLE_ABNORMAL_VALUE: found.value,
        attr.CRUCIBLE_ABNORMAL_EXPECTED: found.expected,
        attr.CRUCIBLE_ABNORMAL_REASON: found.reason,
    }


def _in_words(found: AbnormalStep) -> str:
    if found.kind == AbnormalKind.SKIPPED:
        return "skipped" if found.reason is None else f"skipped, {found.reason}"
    if found.kind == AbnormalKind.SLOW:
        return f"took {found.value:.4g} s, the others {found.expected:.4g} s"
    if found.kind == AbnormalKind.SPIKE:
        return f"{found.column} is {found.value:.4g}, expected about {found.expected:.4g}"
    return f"{found.column} is {found.value}"
