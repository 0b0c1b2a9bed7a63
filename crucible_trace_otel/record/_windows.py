"""Windows: many fast steps as one span event each, with their statistics and every row, packed.

A span event a step would be dropped from the 129th on, silently, by the SDK's default limits.
"""

import math
import os
import threading
import weakref
from collections import deque
from collections.abc import Mapping
from typing import Any

from crucible_trace_otel._interruption import is_from_handler
from crucible_trace_otel.journal.series import ColumnSummary, described
from crucible_trace_otel.journal.slots import MOST_ROWS, KeptWindow, WindowHead
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._rows import CLOSED, OpenRows, kinds_of
from crucible_trace_otel.record._values import Repairs, clean, with_template
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import WindowReason

__all__ = ["StepSegment", "StepTotals", "StepWindows", "keep_what_waits"]

_ROWS = MOST_ROWS
_SECOND_NS = 1_000_000_000
_LONGEST_WINDOW_NS = 10 * _SECOND_NS
_MOST_LAYOUTS = 8
_MOST_EVENTS = 50  # of the 128 an SDK span keeps by default; so many windows are a request's worth of bytes
_OWNER_HOLDS_NS = 60 * _SECOND_NS
_SEGMENT_NS = (30 * _SECOND_NS, 600 * _SECOND_NS)
_PLAIN = frozenset({int, float})
_MOST_DESCRIBED = 20  # means of numbers on a span: their attributes must stay under the SDK's 128
_windows: "weakref.WeakSet[StepWindows]" = weakref.WeakSet()


class StepSegment(Operation):
    """A child span that holds windows once their run or epoch holds enough of them; its end is a sign of life."""

    operation_name = spans.STEP_SEGMENT


class StepTotals:
    """Mean and last value of every number over all windows of a span, for queries that see span attributes only."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[int, float]] = {}
        self.last: dict[str, float] = {}
        self._last_at: dict[str, tuple[int, int]] = {}

    def add(self, name: str, column: ColumnSummary, at: tuple[int, int]) -> None:
        """Take in one column of a window whose last row has the step and time `at`: windows close in any order."""
        number, total = self.sums.get(name, (0, 0.0))
        self.sums[name] = (number + column.finite, total + column.total)
        if at >= self._last_at.get(name, at):
            self.last[name], self._last_at[name] = column.last, at

    def means(self) -> dict[str, float]:
        """The mean of the finite values of each number; NaN where there were none."""
        return {name: total / number if number else math.nan for name, (number, total) in self.sums.items()}

    def attributes(self) -> dict[str, Any]:
        """Mean and last value of each number, of the first twenty names."""
        means = dict(list(self.means().items())[:_MOST_DESCRIBED])
        last = {name: self.last[name] for name in means}
        means = with_template(attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE, means)
        return {**means, **with_template(attr.CRUCIBLE_WINDOW_LAST_TEMPLATE, last)}


class StepWindows:
    """Collects the steps of one run or epoch, and closes windows on a count, on time, or when their owner ends."""

    def __init__(self, owner: Operation, *totals: StepTotals) -> None:
        self._owner = owner
        self._totals = totals
        self._open: dict[tuple[str, tuple[str, ...]], OpenRows] = {}
        self.current = CLOSED
        """Of the steps, the window that took the last row that had to be looked at."""
        self._lock = threading.RLock()  # one that the garbage collector may enter again
        self._waiting: deque[tuple[str, int, Mapping[str, Any]]] = deque()
        self._is_adding = False
        self._events_on_owner = self._segments = self._events_on_segment = 0
        self._segment: StepSegment | None = None
        self._segment_until = 0
        _windows.add(self)

    def add(self, event_name: str, step: int, numbers: Mapping[str, Any]) -> None:
        """Keep one row, whatever is in it.

        Called from within itself, by a signal handler or a finalizer, it leaves the row to the interrupted call.
        """
        with self._lock:
            self._waiting.append((event_name, step, numbers))
            if self._is_adding:
                return
            self._is_adding = True
            try:
                while self._waiting:
                    self._add(*self._waiting.popleft())
            finally:
                self._is_adding = False

    def _add(self, event_name: str, step: int, numbers: Mapping[str, Any]) -> None:
        repairs: Repairs = {}
        given = numbers
        for value in numbers.values():
            if type(value) not in _PLAIN:
                numbers = _as_numbers(numbers, repairs)
                break
        kinds = kinds_of(numbers)
        key = (event_name, tuple(numbers))
        now = self._owner._now_ns()
        window = self._open.get(key)
        if window is not None and not (window.takes(kinds) and not window.is_full(_ROWS)):
            self._close(key, WindowReason.COUNT if window.is_full(_ROWS) else WindowReason.LAYOUT)
            window = None
        if window is None:
            window = self._opened(key, kinds, now)
        window.add(step, now, tuple(numbers.values()))
        window.repairs |= repairs
        if window.is_full(_ROWS):
            self._close(key, WindowReason.COUNT)
        elif now - window.opened_ns >= _LONGEST_WINDOW_NS:
            self._close(key, WindowReason.TIME)
        else:
            window.arm(_ROWS)
            if event_name == events.STEPS_RECORDED:
                self.current = window
            if window.slot is None:
                self._keep_unfinished(window, now)
            elif numbers is not given and not repairs:
                window.learn(given)

    def void(self, window: OpenRows, offset: int) -> None:
        """Say of a row that was claimed in `window` that it will not be stored there."""
        with self._lock:
            if window.slot is not None:
                window.slot.void(offset, window.size)
            self._is_missing(window, offset)

    def is_late(self, window: OpenRows, offset: int) -> bool:
        """Whether a row was stored after `window` was closed, and so is not in it."""
        with self._lock:
            return self._is_missing(window, offset)

    def _is_missing(self, window: OpenRows, offset: int) -> bool:
        found = offset in window.missing
        window.missing.discard(offset)
        if found and not window.missing and window.slot is not None:
            window.keeper.free(window.slot)
        return found

    def retire(self) -> None:
        """Have the next row looked at: something may have ended, or was left behind."""
        for window in list(self._open.values()):
            window.last = 0

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
        self._waiting.clear()
        self._is_adding = False
        for window in self._open.values():
            window.shut()
        self._open.clear()
        self._segment = None

    def keep_unfinished(self) -> None:
        """Have windows that only memory holds kept as they are now, where that is a second ago."""
        if any(window.slot is None for window in list(self._open.values())):
            now = self._owner._now_ns()
            with self._lock:
                for window in self._open.values():
                    self._keep_unfinished(window, now)

    def _opened(self, key: tuple[str, tuple[str, ...]], kinds: str, now: int) -> OpenRows:
        """A new window; steps whose names alternate have one open each, up to eight."""
        if len(self._open) >= _MOST_LAYOUTS:
            self._close(next(iter(self._open)), WindowReason.LAYOUT)
        event_name, names = key
        window = OpenRows(event_name, names, kinds)
        window.clock, window.opened_ns, window.kept_ns = self._owner._clock_offset, now, now
        window.until = now + _LONGEST_WINDOW_NS
        if not set(kinds) - {"q", "d"}:
            trace_id, span_id = _ids(self._owner)
            head = WindowHead(window.number, trace_id, span_id, event_name, window.columns[2:], kinds)
            window.place(window.keeper.slot(head))
        self._open[key] = window
        return window

    @guarded(nothing)
    def _close(self, key: tuple[str, tuple[str, ...]], reason: str) -> None:
        window = self._open[key]
        window.shut()
        try:
            self._store(window, reason)
        except Exception as error:
            if is_from_handler(error):  # once more: its rows are those of calls that have returned
                self._store(window, reason)
            raise
        finally:
            self._open.pop(key, None)

    def _store(self, window: OpenRows, reason: str) -> None:
        """Emit a window that takes no more rows, unless that is done, and give its room back."""
        columns = window.taken()
        if columns and not window.is_told:
            attributes, numbers = described(columns, reason)
            at = columns["step"][-1], columns["time_ns"][-1]
            holder = self._holder(at[1])
            self._emit(window, _marked(attributes, window.repairs), holder, at[1])
            window.is_told = True
            for totals in self._totals:
                for name, column in numbers.items():
                    totals.add(name, column, at)
        if window.slot is not None and not window.missing:
            window.keeper.free(window.slot)

    def _emit(self, window: OpenRows, attributes: dict[str, Any], holder: Operation, time_ns: int) -> None:
        emit_event(holder, window.event_name, attributes, time_ns)
        if holder.span.is_recording():
            kept = KeptWindow(window.number, *_ids(holder), window.event_name, time_ns, attributes)
            window.keeper.keep(kept)

    def _keep_unfinished(self, window: OpenRows, now: int) -> None:
        if window.slot is None and window.rows and now - window.kept_ns >= _SECOND_NS:
            window.kept_ns = now
            self._keep_as_it_is(window)

    @guarded(nothing)
    def _keep_as_it_is(self, window: OpenRows) -> None:
        columns = window.taken()
        attributes = _marked(described(columns, WindowReason.TIME).attributes, window.repairs)
        names = window.number, *_ids(self._owner), window.event_name
        window.keeper.keep(KeptWindow(*names, columns["time_ns"][-1], attributes))

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


def _ids(operation: Operation) -> tuple[bytes, bytes]:
    context = operation.span_context
    return context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")


def _marked(attributes: dict[str, Any], repairs: Repairs) -> dict[str, Any]:
    if repairs:
        attributes[attr.CRUCIBLE_REPAIRED_KEYS] = list(repairs)
        attributes[attr.CRUCIBLE_REPAIRED_REASONS] = list(repairs.values())
    return attributes


def keep_what_waits() -> None:
    """To be called each second where steps are kept: has those kept that only memory holds. Never raises."""
    for windows in list(_windows):
        windows.keep_unfinished()


def _forget_all() -> None:
    for windows in list(_windows):
        windows.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
