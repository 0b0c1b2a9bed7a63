"""Windows: many fast steps as one span event each, with their statistics and every row, packed.

A span event a step would be dropped from the 129th on, silently, by the SDK's default limits.
"""

import math
import os
import threading
import weakref
from collections.abc import Mapping
from typing import Any

from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._series import pack_column
from crucible_trace_otel.record._values import Repairs, clean, one_line, printable, with_template
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import SeriesFormat, WindowReason

__all__ = ["StepSegment", "StepTotals", "StepWindows"]

_ROWS = 100
_SECOND_NS = 1_000_000_000
_LONGEST_WINDOW_NS = 10 * _SECOND_NS
_MOST_LAYOUTS = 8
_MOST_EVENTS = 100  # of the 128 an SDK span keeps by default: the rest is for what else happens on it
_OWNER_HOLDS_NS = 60 * _SECOND_NS
_SEGMENT_NS = (30 * _SECOND_NS, 600 * _SECOND_NS)
_PLAIN = frozenset({int, float})
_INDEX = ("step", "time_ns")
_windows: "weakref.WeakSet[StepWindows]" = weakref.WeakSet()
_MOST_DESCRIBED = 20  # numbers with statistics of their own: six each must stay under the SDK's 128 attributes


class StepSegment(Operation):
    """A child span that holds windows once their run or epoch holds enough of them; its end is a sign of life."""

    operation_name = spans.STEP_SEGMENT


class StepTotals:
    """Mean and last value of every number over all windows of a span, for queries that see span attributes only."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[int, float]] = {}
        self.last: dict[str, float] = {}
        self._last_at: dict[str, tuple[int, int]] = {}

    def add(self, name: str, values: list[float], at: tuple[int, int]) -> None:
        """Take in one column of a window whose last row has the step and time `at`: windows close in any order."""
        finite = [value for value in values if math.isfinite(value)]
        number, total = self.sums.get(name, (0, 0.0))
        self.sums[name] = (number + len(finite), total + _sum(finite))
        if at >= self._last_at.get(name, at):
            self.last[name], self._last_at[name] = values[-1], at

    def means(self) -> dict[str, float]:
        """The mean of the finite values of each number; NaN where there were none."""
        return {name: total / number if number else math.nan for name, (number, total) in self.sums.items()}

    def attributes(self) -> dict[str, Any]:
        """Mean and last value of each number, of the first twenty names."""
        means = dict(list(self.means().items())[:_MOST_DESCRIBED])
        last = {name: self.last[name] for name in means}
        means = with_template(attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE, means)
        return {**means, **with_template(attr.CRUCIBLE_WINDOW_LAST_TEMPLATE, last)}


class _Window:
    """The rows of one event name and one set of names that are not yet packed."""

    def __init__(self, opened_ns: int) -> None:
        self.opened_ns = opened_ns
        self.rows: list[tuple[Any, ...]] = []
        self.repairs: Repairs = {}


class StepWindows:
    """Collects the steps of one run or epoch, and closes windows on a count, on time, or when their owner ends."""

    def __init__(self, owner: Operation, *totals: StepTotals) -> None:
        self._owner = owner
        self._totals = totals
        self._open: dict[tuple[str, tuple[str, ...]], _Window] = {}
        self._lock = threading.RLock()  # one that the garbage collector may enter again
        self._events_on_owner = self._segments = self._events_on_segment = 0
        self._segment: StepSegment | None = None
        self._segment_until = 0
        _windows.add(self)

    def add(self, event_name: str, step: int, numbers: dict[str, Any]) -> None:
        """Keep one row."""
        repairs: Repairs = {}
        for value in numbers.values():
            if type(value) not in _PLAIN:
                numbers = _as_numbers(numbers, repairs)
                break
        key = (event_name, tuple(numbers))
        now = self._owner._now_ns()
        with self._lock:
            window = self._open.get(key) or self._opened(key, now)
            window.rows.append((step, now, *numbers.values()))
            window.repairs |= repairs
            if len(window.rows) >= _ROWS:
                self._close(key, WindowReason.COUNT)
            elif now - window.opened_ns >= _LONGEST_WINDOW_NS:
                self._close(key, WindowReason.TIME)

    def close(self) -> None:
        """Close every window, and the segment that holds the last of them: the owner ends."""
        with self._lock:
            for key in list(self._open):
                self._close(key, WindowReason.END)  # guarded: one that fails does not take the others with it
            if self._segment is not None:
                self._segment.stop()
                self._segment = None

    def forget(self) -> None:
        """In a forked child: rows recorded before the fork are the parent's to write, and its lock may be held."""
        self._lock = threading.RLock()
        self._open.clear()
        self._segment = None

    def _opened(self, key: tuple[str, tuple[str, ...]], now: int) -> _Window:
        """A new window; steps whose names alternate have one open each, up to eight."""
        if len(self._open) >= _MOST_LAYOUTS:
            self._close(next(iter(self._open)), WindowReason.LAYOUT)
        window = self._open[key] = _Window(now)
        return window

    @guarded(nothing)
    def _close(self, key: tuple[str, tuple[str, ...]], reason: str) -> None:
        event_name, names = key
        window = self._open.pop(key)
        rows = window.rows
        columns: dict[str, tuple[Any, ...]] = {}
        for name, values in zip((*_INDEX, *names), zip(*rows, strict=True), strict=True):
            own = printable(name)
            while own in columns:
                own += "_"
            columns[own] = values
        attributes = self._describe(columns, reason)
        if window.repairs:
            attributes[attr.CRUCIBLE_REPAIRED_KEYS] = list(window.repairs)
            attributes[attr.CRUCIBLE_REPAIRED_REASONS] = list(window.repairs.values())
        emit_event(self._holder(rows[-1][1]), event_name, attributes, rows[-1][1])

    def _describe(self, columns: Mapping[str, tuple[Any, ...]], reason: str) -> dict[str, Any]:
        """The attributes of a window's event."""
        steps = columns["step"]
        packed = {name: pack_column(values) for name, values in columns.items()}
        attributes: dict[str, Any] = {
            attr.CRUCIBLE_WINDOW_FIRST_STEP: min(steps),
            attr.CRUCIBLE_WINDOW_LAST_STEP: max(steps),
            attr.CRUCIBLE_WINDOW_COUNT: len(steps),
            attr.CRUCIBLE_WINDOW_REASON: reason,
        }
        summary = f"steps {min(steps)} to {max(steps)}"
        statistics: dict[str, dict[str, Any]] = {}
        for name, values in columns.items():
            if name in _INDEX or packed[name][0] == SeriesFormat.JSON:
                continue
            numbers = [float(value) for value in values]
            for totals in self._totals:
                totals.add(name, numbers, (steps[-1], columns["time_ns"][-1]))
            for key, value in _statistics(numbers).items():
                described = statistics.setdefault(key, {})
                if len(described) < _MOST_DESCRIBED:
                    described[name] = value
            if name == "loss":
                summary += f": loss {numbers[0]:.4g} to {numbers[-1]:.4g}"
        for key, named in statistics.items():
            attributes |= with_template(key, named)
        return {
            attr.CRUCIBLE_ABOUT: one_line(summary),
            **attributes,
            attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: list(columns),
            attr.CRUCIBLE_WINDOW_SERIES_FORMATS: [form for form, _ in packed.values()],
            attr.CRUCIBLE_WINDOW_SERIES_VALUES: b"".join(values for _, values in packed.values()),
        }

    def _holder(self, now: int) -> Operation:
        """The span for the next window's event: the owner at first, then segments, so that no span nears its limit."""
        young = now - self._owner._started_at < _OWNER_HOLDS_NS
        if self._segment is None and young and self._owner._is_here() and self._events_on_owner < _MOST_EVENTS:
            self._events_on_owner += 1
            return self._owner
        if self._segment is not None and (self._events_on_segment >= _MOST_EVENTS or now >= self._segment_until):
            self._segment.stop()
            self._segment = None
        if self._segment is None:
            first, longest = _SEGMENT_NS
            self._segment_until = now + min(first * 2**self._segments, longest)
            self._segment = StepSegment(f"{self._owner.about}, part {self._segments + 1}")._start_inside(self._owner)
            self._segments += 1
            self._events_on_segment = 0
        self._events_on_segment += 1
        return self._segment


def _as_numbers(numbers: Mapping[str, Any], repairs: Repairs) -> dict[str, Any]:
    """Each value as a Python number where it is one, numpy's and torch's too; anything else as it reads."""
    cleaned = clean({name: value for name, value in numbers.items() if value is not None}, repairs)
    return {name: float(value) if type(value) is bool else value for name, value in cleaned.items() if name in numbers}


def _sum(finite: list[float]) -> float:
    """An exact sum; infinity where it is beyond a double."""
    try:
        return math.fsum(finite)
    except OverflowError:
        return sum(finite)


def _statistics(numbers: list[float]) -> dict[str, float | int]:
    """First, last, and over the finite values minimum, maximum and mean; how many are not finite, where any is."""
    finite = [number for number in numbers if math.isfinite(number)]
    found: dict[str, float | int] = {
        attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE: numbers[0],
        attr.CRUCIBLE_WINDOW_LAST_TEMPLATE: numbers[-1],
        attr.CRUCIBLE_WINDOW_MIN_TEMPLATE: min(finite, default=math.nan),
        attr.CRUCIBLE_WINDOW_MAX_TEMPLATE: max(finite, default=math.nan),
        attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE: _sum(finite) / len(finite) if finite else math.nan,
    }
    if len(finite) < len(numbers):
        found[attr.CRUCIBLE_WINDOW_NONFINITE_TEMPLATE] = len(numbers) - len(finite)
    return found


def _forget_all() -> None:
    for windows in list(_windows):
        windows.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
