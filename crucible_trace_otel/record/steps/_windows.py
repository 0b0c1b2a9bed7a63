"""Windows: many fast steps as one span event each, with their statistics and every row, packed.

A span event a step would be dropped from the 129th on, silently, by the SDK's default limits.
"""

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from crucible_trace_otel._interruption import is_from_handler
from crucible_trace_otel.journal.series import described
from crucible_trace_otel.journal.sizes import TRACES
from crucible_trace_otel.journal.slots import KeptWindow, WindowHead
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._living import Living
from crucible_trace_otel.record._metrics import WindowMeter
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._parts import has_outgrown
from crucible_trace_otel.record._values import Repairs, clean, marks
from crucible_trace_otel.record.steps._abnormal import StepWatch, told
from crucible_trace_otel.record.steps._held import Held, held, read_held, without_held
from crucible_trace_otel.record.steps._policy import AbnormalStep
from crucible_trace_otel.record.steps._rows import CLOSED, OpenRows, kinds_of
from crucible_trace_otel.record.steps._totals import StepTotals
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import AbnormalKind, WindowReason

__all__ = ["MOST_EVENTS", "StepSegment", "StepWindows", "keep_what_waits"]

_SECOND_NS = 1_000_000_000
_MOST_LAYOUTS = 8
MOST_EVENTS = 50  # of the 128 an SDK span keeps by default; so many windows are a request's worth of bytes
_OWNER_HOLDS_NS = 60 * _SECOND_NS
_SEGMENT_NS = (30 * _SECOND_NS, 600 * _SECOND_NS)
_ATTRIBUTE_SIZE = 64  # bytes of one of a window's statistics, about
_ROWS_SHOWN = 10  # with an abnormal step
_PLAIN = frozenset({int, float})
_windows: "Living[StepWindows]" = Living()


class StepSegment(Operation):
    """A child span that holds windows once their owner holds enough of them; its end is a sign of life."""

    operation_name = spans.STEP_SEGMENT

    def __init__(self, owner: Operation, number: int) -> None:
        index = owner._given.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX)
        super().__init__(f"{owner.about}, part {number}", attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: index})


class StepWindows:
    """Collects the steps of a run, an epoch or an episode; closes windows as their policy says, and when that ends.

    Args:
        owner: The run, epoch or episode.
        watch: What is expected of its steps, and its policy.
        *totals: Take in each window.
    """

    def __init__(self, owner: Operation, watch: StepWatch, *totals: StepTotals) -> None:
        self._owner = owner
        self._watch = watch
        self._policy = watch.policy
        self._totals = totals
        self._meter = WindowMeter()
        self._open: dict[tuple[str, tuple[str, ...]], OpenRows] = {}
        self.current = CLOSED
        """Of the steps, the window that took the last row that had to be looked at."""
        self._longest_ns = int(self._policy.seconds * _SECOND_NS)
        self.patience = max(1, min(self._longest_ns // self._policy.rows, int(self._policy.slow_seconds * _SECOND_NS)))
        """A step that comes so long after the one before is looked at: it may be slow, and its window too old."""
        self.until = 0
        """When that is; `patience` after the last step."""
        self.abnormal = 0
        """How many steps were abnormal."""
        self._abnormal_step: int | None = None
        self._found: deque[AbnormalStep] = deque()
        self._lock = threading.RLock()  # one that the garbage collector may enter again
        self._waiting: deque[tuple[str, int, Mapping[str, Any], bool]] = deque()
        self._is_adding = self._is_over = False
        self._events_on_owner = self._segments = self._events_on_segment = 0
        self._segment: StepSegment | None = None
        self._segment_until = 0
        _windows.add(self)

    def add(self, event_name: str, step: int, numbers: Mapping[str, Any], *, is_repeated: bool = False) -> bool:
        """Keep one row, whatever is in it, unless the owner has ended meanwhile on another thread: that is False.

        Called from within itself, by a signal handler or a finalizer, it leaves the row to the interrupted call.
        """
        with self._lock:
            if self._is_over and not self._is_adding:
                return False
            self._waiting.append((event_name, step, numbers, is_repeated))
            if self._is_adding:
                return True
            self._is_adding = True
            try:
                while self._waiting:
                    self._add(*self._waiting.popleft())
            finally:
                self._is_adding = False
        self._call_back()
        return True

    def _add(self, event_name: str, step: int, numbers: Mapping[str, Any], is_repeated: bool) -> None:  # noqa: FBT001
        repairs: Repairs = {}
        values = numbers
        if not _PLAIN.issuperset(map(type, numbers.values())):
            values = _as_numbers(numbers, repairs, keep=self._policy.keep_device_scalars)
        key = (event_name, tuple(values))
        now = self._owner._now_ns()
        window = self._window_for(key, kinds_of(values), now)
        is_step = event_name == self._watch.step_event
        since = now - self.until + self.patience if is_step and self.until else 0
        found = self._watch.look(window, step, values, since)
        window.add(step, now, tuple(values.values()))
        window.repairs |= repairs
        window.repeated += is_repeated
        if is_step:
            self.until = now + self.patience
        reason = self._reason_to_close(window, found, now)
        if reason is not None:
            self._close(key, reason)
            return
        window.arm(self._policy.rows, (window.opened_ns + self._longest_ns - now) // self.patience)
        if is_step:
            self.current = window
        if window.slot is None:
            self._keep_unfinished(window, now)
        elif values is not numbers and not repairs:
            window.learn(numbers)

    def _window_for(self, key: tuple[str, tuple[str, ...]], kinds: str, now: int) -> OpenRows:
        """The open window that takes a row of these names and kinds."""
        window = self._open.get(key)
        if window is not None:
            is_full = window.is_full(self._policy.rows)
            if window.takes(kinds) and not is_full:
                return window
            self._close(key, WindowReason.COUNT if is_full else WindowReason.LAYOUT)
        return self._opened(key, kinds, now)

    def _reason_to_close(self, window: OpenRows, found: AbnormalStep | None, now: int) -> str | None:
        """Why a window is closed after the row it took now, if it is."""
        is_news = found is not None and self._note(replace(found, rows=window.latest(_ROWS_SHOWN)), now)
        if window.is_full(self._policy.rows):
            return WindowReason.COUNT
        if now - window.opened_ns >= self._longest_ns:
            return WindowReason.TIME
        return WindowReason.ABNORMAL if is_news else None

    def note_skipped(self, step: int, reason: str | None) -> bool:
        """Record that the optimizer skipped a step, unless the owner has ended meanwhile: that is False."""
        with self._lock:
            if self._is_over:
                return False
            rows = self.current.latest(_ROWS_SHOWN)
            self._note(AbnormalStep(step, AbnormalKind.SKIPPED, reason=reason, rows=rows), self._owner._now_ns())
        self._call_back()
        return True

    def _note(self, found: AbnormalStep, now: int) -> bool:
        """Record an abnormal step; whether its window is to be closed: not for each of many that follow each other."""
        self.abnormal += 1
        is_told = self._watch.count(found.kind)
        if is_told:
            epoch = {attr.CRUCIBLE_TRAINING_EPOCH_INDEX: self._owner._given.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX)}
            emit_event(self._holder(now), events.STEP_ABNORMAL, {**told(found), **epoch}, now)
        if self._policy.on_abnormal is not None:
            self._found.append(found)
        before, self._abnormal_step = self._abnormal_step, found.step
        return is_told and (before is None or found.step - before not in (0, 1))

    def _call_back(self) -> None:
        """Give what was abnormal to the user's `on_abnormal`, while no lock is held."""
        with suppress(IndexError):  # another thread took it
            while self._found:
                self._watch.call(self._found.popleft())

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
        """Close every window, and the segment that holds the last of them: the owner ends, and no row comes after."""
        with self._lock:
            self._is_over = True
            for key in list(self._open):
                self._close(key, WindowReason.END)  # guarded: one that fails does not take the others with it
            if self._segment is not None:
                self._segment.stop()
                self._segment = None
        self._call_back()

    def forget(self) -> None:
        """In a forked child: rows recorded before the fork are the parent's to write, and its lock may be held."""
        self._lock = threading.RLock()
        self._waiting.clear()
        self._found.clear()
        self._is_adding, self.until = False, 0
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
        self._watch.expect(window)
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
        taken = window.taken()
        if taken and not window.is_told:
            columns = self._read_held(window, taken)
            form = {"compact": self._policy.compact, "plain_arrays": self._policy.plain_arrays}
            attributes, numbers = described(columns, reason, **form)
            if window.repeated:
                attributes[attr.CRUCIBLE_WINDOW_REPEATED] = window.repeated
            at = columns["step"][-1], columns["time_ns"][-1]
            holder = self._holder(at[1])
            self._emit(window, attributes | marks(window.repairs), holder, at[1])
            window.is_told = True
            self._meter.measure(window.event_name, columns, numbers, holder.span)
            for totals in self._totals:
                totals.steps += len(columns["step"]) if window.event_name == self._watch.step_event else 0
                for name, column in numbers.items():
                    totals.add(name, column, at)
            self._watch.learn(window, columns)
        if window.slot is not None and not window.missing:
            window.keeper.free(window.slot)

    def _read_held(self, window: OpenRows, columns: Mapping[str, Sequence[Any]]) -> Mapping[str, Sequence[Any]]:
        """The columns with what was left on an accelerator, for which the host waits now; it may be abnormal too."""
        if window.slot is not None or not any(type(value) is Held for row in window.rows for value in row):
            return columns
        read = {name: read_held(values, name, window.repairs) for name, values in columns.items()}
        names = dict(zip(window.columns, ("", "", *window.names), strict=True))
        late = {name: values for name, values in read.items() if values is not columns[name]}
        for row, step in enumerate(columns["step"]):
            found = self._watch.look(window, step, {names[name]: values[row] for name, values in late.items()}, 0)
            if found is not None:
                shown = slice(max(0, row + 1 - _ROWS_SHOWN), row + 1)
                rows = zip(*[values[shown] for values in read.values()], strict=True)
                found = replace(found, rows=tuple([dict(zip(read, cells, strict=True)) for cells in rows]))
                self._note(found, columns["time_ns"][-1])
        return read

    def _emit(self, window: OpenRows, attributes: dict[str, Any], holder: Operation, time_ns: int) -> None:
        emit_event(holder, window.event_name, attributes, time_ns)
        if holder.span.is_recording():
            kept = KeptWindow(window.number, *_ids(holder), window.event_name, time_ns, attributes)
            TRACES.hold(holder.span_context.trace_id, holder.span_context.span_id, _size(attributes))
            window.keeper.keep(kept)

    def _keep_unfinished(self, window: OpenRows, now: int) -> None:
        if window.slot is None and window.rows and now - window.kept_ns >= _SECOND_NS:
            window.kept_ns = now
            self._keep_as_it_is(window)

    @guarded(nothing)
    def _keep_as_it_is(self, window: OpenRows) -> None:
        columns = {name: without_held(tuple(values)) for name, values in window.taken().items()}
        attributes = described(columns, WindowReason.TIME).attributes | marks(window.repairs)
        names = window.number, *_ids(self._owner), window.event_name
        window.keeper.keep(KeptWindow(*names, columns["time_ns"][-1], attributes))

    def _holder(self, now: int) -> Operation:
        """The span for the next window's event: the owner at first, then segments, so that no span nears its limit."""
        young = now - self._owner._started_at < _OWNER_HOLDS_NS
        has_room = young and self._owner._is_here() and self._events_on_owner < MOST_EVENTS
        if self._segment is None and has_room and not has_outgrown(self._owner):
            self._events_on_owner += 1
            return self._owner
        if self._segment is not None:
            is_over = self._events_on_segment >= MOST_EVENTS or now >= self._segment_until
            if is_over or has_outgrown(self._segment):
                self._segment.stop()
                self._segment = None
        if self._segment is None:
            first, longest = _SEGMENT_NS
            self._segment_until = now + min(first * 2**self._segments, longest)
            self._segment = StepSegment(self._owner, self._segments + 1)._start_inside(self._owner)
            self._segments += 1
            self._events_on_segment = 0
        self._events_on_segment += 1
        return self._segment


def _as_numbers(numbers: Mapping[str, Any], repairs: Repairs, *, keep: bool) -> dict[str, Any]:
    """Each value as a Python number where it is one, numpy's and torch's too; anything else as it reads."""
    given = {name: held(name, value, repairs, keep=keep) for name, value in numbers.items() if value is not None}
    later = {name: value for name, value in given.items() if type(value) is Held}
    plain = clean({name: value for name, value in given.items() if name not in later}, repairs)
    values: dict[str, Any] = {**plain, **later}
    return {name: float(values[name]) if type(values[name]) is bool else values[name] for name in given}


def _ids(operation: Operation) -> tuple[bytes, bytes]:
    context = operation.span_context
    return context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big")


def _size(attributes: Mapping[str, Any]) -> int:
    """About the bytes that an event with `attributes` takes."""
    values = attributes.get(attr.CRUCIBLE_WINDOW_SERIES_VALUES)
    return _ATTRIBUTE_SIZE * len(attributes) + (len(values) if isinstance(values, bytes) else 0)


def keep_what_waits() -> None:
    """To be called each second where steps are kept: has those kept that only memory holds. Never raises."""
    for windows in _windows:
        windows.keep_unfinished()


def _forget_all() -> None:
    for windows in _windows:
        windows.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
