"""What a training run and an epoch have in common: steps, and validations that are over."""

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._abnormal import HIGHEST, LOWEST
from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._operation import Operation, record_moment
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._rows import CLOSED, OpenRows
from crucible_trace_otel.record._together import Together
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.semconv import events, spans

__all__ = ["Training", "short"]

F = TypeVar("F", bound=Callable[..., Any])
_clock = time.perf_counter_ns
_FAR = 2**62  # steps beyond are looked at
_NO_VALIDATION = not_recorded(spans.VALIDATION_RUN)()


def _said_as(name: str) -> Callable[[F], F]:
    """Have a warning name the method that was called."""

    def rename(function: F) -> F:
        function.__qualname__ = f"Training.{name}"
        return function

    return rename


class Training(Together):
    """A training run or one of its epochs."""

    _is_dropped = False
    """Whether it is not recorded: nothing is set up, or it is sampled out."""

    def _start_span(self, inside: Operation | None) -> None:
        super()._start_span(inside)
        self._is_dropped = not (self.ended or self.span.is_recording())

    def record_step(self, /, *misplaced: Any, step: int | None = None, **numbers: Any) -> None:
        """Record one training step; every row can be read back.

        Under `configure()` the row is kept before this returns: a process killed right after it loses nothing.
        `step_recorder` makes a cheaper form of it.

        Args:
            *misplaced: Nothing: numbers are given by name.
            step: Its index in the run; one more than the highest when not given. One that goes back or repeats is kept,
                and counted in its window.
            **numbers: What was measured, by name: `loss=0.3, learning_rate=0.01`. numpy and torch scalars are numbers.
        """
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
    def step_recorder(self, *names: str) -> Callable[..., None]:
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
    @_said_as("record_step")
    def _look_at_step(
        self, window: OpenRows, offset: int, misplaced: tuple[Any, ...], step: int | None, numbers: dict[str, Any]
    ) -> None:
        """Record a step that is the first of its window, or the last, or unlike those before it."""
        if offset >= 0:
            self._windows.void(window, offset)
        if misplaced:
            raise TypeError(f"numbers are given by name, as in record_step(loss=0.3), not as {printable(misplaced)}")
        self._add_step(step, numbers, may_repeat=offset < 0)

    @guarded(nothing)
    @_said_as("step_recorder")
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
            self._add_row(events.STEPS_RECORDED, index, numbers, is_repeated=may_repeat and index < highest)

    @guarded(not_recorded(spans.VALIDATION_RUN))
    def record_validation(self, **metrics: Any) -> Recorded:
        """Record the result of a validation; later decisions can depend on what this returns.

        Args:
            **metrics: Its metrics, by name: `accuracy=0.93`.
        """
        if self._is_dropped:
            return _NO_VALIDATION
        said = ", ".join(f"{name} {short(value)}" for name, value in metrics.items())
        attributes = {**self._epoch_and_step(), **metric_attributes(metrics)}
        return record_moment(self, spans.VALIDATION_RUN, said or "validation", attributes)


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


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(value)
