"""What takes steps: a training run, an epoch, an episode. How a row is recorded, which is done millions of times."""

import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._late import warn_late
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.steps._abnormal import HIGHEST, LOWEST
from crucible_trace_otel.record.steps._rows import CLOSED, OpenRows
from crucible_trace_otel.record.steps._windows import StepWindows
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events

__all__ = ["Stepping", "as_step", "said_as"]

F = TypeVar("F", bound=Callable[..., Any])
_clock = time.perf_counter_ns
_FAR = 2**62  # steps beyond are looked at


def said_as(name: str) -> Callable[[F], F]:
    """Have a warning, and its documentation, name a method as it is called."""

    def rename(function: F) -> F:
        function.__name__, function.__qualname__ = name, f"Stepping.{name}"
        return function

    return rename


class Stepping(Operation):
    """What takes steps, by its own verb for them."""

    step_event: ClassVar[str] = events.STEPS_RECORDED
    """The event that its windows of steps are."""
    _run: "Stepping"
    """Whose steps count on: of an epoch its run."""
    _windows: StepWindows
    _next_step = 0
    _is_dropped = False
    """Whether it is not recorded: nothing is set up, or it is sampled out."""

    def _start_span(self, inside: Operation | None) -> None:
        super()._start_span(inside)
        self._is_dropped = not (self.ended or self.span.is_recording())

    @said_as("record_step")
    def _record_step(self, /, *misplaced: Any, step: int | None = None, **numbers: Any) -> None:
        """Record one training step; every row can be read back.

        Under `configure()` the row is kept before this returns: a process killed right after it loses nothing.
        `step_recorder` makes a cheaper form of it.

        Args:
            *misplaced: Nothing: numbers are given by name.
            step: Its index in the run; one more than the highest when not given. One that goes back or repeats is kept,
                and counted in its window.
            **numbers: What was measured, by name: `loss=0.3, learning_rate=0.01`. numpy and torch scalars are numbers.
        """
        if not self._is_dropped:
            self._take_step(misplaced, step, numbers)

    def _take_step(self, misplaced: tuple[Any, ...], step: int | None, numbers: dict[str, Any]) -> None:
        """Record a row of what was given: at once where it is like those before it."""
        window, offset, raised = CLOSED, -1, None
        try:
            windows = self._windows
            window = windows.current
            if window is CLOSED and self._is_dropped:
                return
            values = window.values_of(numbers)
            now = _clock() + window.clock
            total = sum(values, 0.0)
            kind = type(total)
            if (
                (step is None or (type(step) is int and 0 <= step < _FAR))
                and (kind is float or kind in window.sums)
                and LOWEST <= total <= HIGHEST  # no value is NaN or infinite
                and len(numbers) == window.width
                and now < windows.until
                and values[window.loss_at] <= window.ceiling
                and not misplaced
                and window.offset < window.last
            ):
                offset = window.offset  # since it was compared there was no call: no other thread, no signal handler
                window.offset = offset + window.size
                windows.until = now + windows.patience
                run = self._run
                if step is None:
                    step = run._next_step
                    run._next_step = step + 1
                elif step >= run._next_step:
                    run._next_step = step + 1
                else:
                    window.repeated += 1
                window.pack(window.memory, offset, step, now, *values, window.tag + offset)
                if window.is_open or not windows.is_late(window, offset):
                    return
        except Exception as error:  # noqa: BLE001 - a value that does not fit, or whose methods raise: it is looked at below
            raised = error
        self._look_at_step(window, offset, misplaced, step, numbers)
        if raised is not None:
            let_through(raised)

    @guarded(lambda *_, **__: nothing)
    @said_as("step_recorder")
    def _step_recorder(self, *names: str) -> Callable[..., None]:
        """A function that records one step each time it is called with the values of `names`, in their order.

            record = epoch.step_recorder("loss", "learning_rate")
            for batch in loader:
                record(train_on(batch), rate)

        It does what `record_step(loss=..., learning_rate=...)` does, and costs less. The steps count on by themselves.

        Args:
            *names: Of the numbers. One that is no text, or that was given before, is changed, with one warning.
        """
        window, windows, run = CLOSED, self._windows, self._run
        names = _names_of(names)

        def record(*values: Any) -> None:
            nonlocal window
            step, offset, before, raised = None, -1, window, None
            if before is CLOSED and self._is_dropped:
                return
            try:
                now = _clock() + before.clock
                total = sum(values, 0.0)
                kind = type(total)
                if (
                    (kind is float or kind in before.sums)
                    and LOWEST <= total <= HIGHEST
                    and now < windows.until
                    and values[before.loss_at] <= before.ceiling
                    and before.offset < before.last
                ):
                    offset = before.offset  # no call since it was compared, as above
                    before.offset = offset + before.size
                    windows.until = now + windows.patience
                    step = run._next_step
                    run._next_step = step + 1
                    before.pack(before.memory, offset, step, now, *values, before.tag + offset)
                    if before.is_open or not windows.is_late(before, offset):
                        return
            except Exception as error:  # noqa: BLE001 - as above
                raised = error
            self._look_at_values(before, offset, step, names, values)
            latest = windows.current
            window = latest if latest.names == names else CLOSED
            if raised is not None:
                let_through(raised)

        return record

    @guarded(nothing)
    @said_as("record_step")
    def _look_at_step(
        self, window: OpenRows, offset: int, misplaced: tuple[Any, ...], step: int | None, numbers: dict[str, Any]
    ) -> None:
        """Record a step that is the first of its window, or the last, or unlike those before it."""
        if offset >= 0:
            self._windows.void(window, offset)
        if misplaced:
            raise TypeError(f"numbers are given by name, as in loss=0.3, not as {printable(misplaced)}")
        self._add_step(step, numbers, may_repeat=offset < 0)

    @guarded(nothing)
    @said_as("step_recorder")
    def _look_at_values(
        self, window: OpenRows, offset: int, step: int | None, names: tuple[str, ...], values: tuple[Any, ...]
    ) -> None:
        """Record such a step of `step_recorder`."""
        if offset >= 0:
            self._windows.void(window, offset)
        if len(values) != len(names):
            raise TypeError(f"it takes {len(names)} values, {', '.join(map(printable, names))}, not {len(values)}")
        self._add_step(step, dict(zip(names, values, strict=True)))

    def _add_step(self, step: int | None, numbers: Mapping[str, Any], *, may_repeat: bool = False) -> None:
        if self._takes_rows():
            highest = self._run._next_step
            index = self._run._step_index(step)
            self._add_row(self.step_event, index, numbers, is_repeated=may_repeat and index < highest)

    def _step_index(self, step: int | None) -> int:
        """The index of the step that is recorded now; no other thread gets the same."""
        if step is None:
            index = self._next_step  # without a call up to the next line, no other thread comes between
            self._next_step = index + 1
            return index
        index = as_step(step)
        if index >= self._next_step:
            self._next_step = index + 1
        return index

    def _takes_rows(self) -> bool:
        """Whether a row of now is kept, here or, after the end, elsewhere."""
        return (self._run.ended or self._run._records()) and (self.ended or self._records())

    def _add_row(self, event_name: str, step: int, numbers: Mapping[str, Any], *, is_repeated: bool = False) -> None:
        """Keep a row: after the end of its epoch with the run, after the end of that with what is around it."""
        if not self.ended and self._windows.add(event_name, step, numbers, is_repeated=is_repeated):
            return
        if self is not self._run and not self._run.ended:
            warn_late(self)
            index = self._given.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX)
            known = {"epoch": index} if type(index) is int else {}
            if self._run._windows.add(event_name, step, {**known, **numbers}, is_repeated=is_repeated):
                return
        values = metric_attributes(numbers, attr.CRUCIBLE_WINDOW_LAST_TEMPLATE)
        self._tell_late(event_name, {attr.CRUCIBLE_TRAINING_STEP_INDEX: step, **values})

    def _tell_late(self, name: str, attributes: Mapping[str, Any]) -> None:
        """An event of a run that has ended, or whose windows are closed because it ends now, on another thread."""
        if not self._run.ended:
            known = {attr.CRUCIBLE_LATE_EVENT_ID: self._run.event_id, attr.CRUCIBLE_LATE_NAME: name}
            name, attributes = events.RECORDED_LATE, {**attributes, **known}
        emit_event(self._run, name, attributes)


def as_step(given: Any) -> int:
    """An index of a step.

    Raises:
        OverflowError: It has more than 64 bits, which would make its whole window unreadable.
    """
    step = int(given)
    if not -(2**63) <= step < 2**63 - 1:
        raise OverflowError(f"step={printable(given)} does not fit into 64 bits")
    return step


def _names_of(given: tuple[Any, ...]) -> tuple[str, ...]:
    """The names of columns, each once and as text."""
    names: dict[str, None] = {}
    for name in given:
        own = name if isinstance(name, str) else printable(name)
        while own in names:
            own += "_"
        names[own] = None
    if tuple(names) != given:
        said = f"{', '.join(map(printable, given))} become the columns {', '.join(map(printable, names))}"
        warn_once(f"names {said}", f"step_recorder() takes names, each once: {said}.")
    return tuple(names)
