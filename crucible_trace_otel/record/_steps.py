"""What a training run and an epoch have in common: steps, gradients, validations."""

import time
from collections.abc import Callable
from typing import Any, TypeVar

from crucible_trace_otel.record._doubles import doubles
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._measured import Measured
from crucible_trace_otel.record._operation import record_moment
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._rows import CLOSED, OpenRows
from crucible_trace_otel.record._values import printable, with_template
from crucible_trace_otel.record._windows import StepWindows
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans

__all__ = ["Training", "as_step", "short"]

F = TypeVar("F", bound=Callable[..., Any])
_clock = time.perf_counter_ns
_FAR = 2**62  # steps beyond are looked at


def _said_as(name: str) -> Callable[[F], F]:
    """Have a warning name the method that was called."""

    def rename(function: F) -> F:
        function.__qualname__ = f"Training.{name}"
        return function

    return rename


class Training(Measured):
    """A training run or one of its epochs."""

    _windows: StepWindows

    def record_step(self, /, *misplaced: Any, step: int | None = None, **numbers: Any) -> None:
        """Record one training step; every row can be read back.

        Under `configure()` the row is kept before this returns: a process killed right after it loses nothing.
        `step_recorder` makes a cheaper form of it.

        Args:
            *misplaced: Nothing: numbers are given by name.
            step: Its index in the run; one more than the last when not given.
            **numbers: What was measured, by name: `loss=0.3, learning_rate=0.01`. numpy and torch scalars are numbers.
        """
        window, offset = CLOSED, -1
        try:
            window = self._windows.current
            values = window.values_of(numbers)
            now = _clock() + window.clock
            if (
                (step is None or (type(step) is int and 0 <= step < _FAR))
                and type(sum(values, 0.0)) in window.sums
                and len(numbers) == window.width
                and now < window.until
                and not misplaced
                and window.offset < window.last
            ):
                offset = window.offset  # since it was compared there was no call: no other thread, no signal handler
                window.offset = offset + window.size
                run = self._run
                if step is None:
                    step = run._next_step
                    run._next_step = step + 1
                elif step >= run._next_step:
                    run._next_step = step + 1
                window.pack(window.memory, offset, step, now, *values, window.tag + offset)
                if window.is_open or not self._windows.is_late(window, offset):
                    return
        except Exception:  # noqa: BLE001, S110 - a value that does not fit, or whose methods raise: it is looked at below
            pass
        self._look_at_step(window, offset, misplaced, step, numbers)

    def step_recorder(self, *names: str) -> Callable[..., None]:
        """A function that records one step each time it is called with the values of `names`, in their order.

            record = epoch.step_recorder("loss", "learning_rate")
            for batch in loader:
                record(train_on(batch), rate)

        It does what `record_step(loss=..., learning_rate=...)` does, and costs less. The steps count on by themselves.

        Args:
            *names: Of the numbers.
        """
        window = CLOSED

        def record(*values: Any) -> None:
            nonlocal window
            step, offset, before = None, -1, window
            try:
                now = _clock() + before.clock
                if type(sum(values, 0.0)) in before.sums and now < before.until and before.offset < before.last:
                    offset = before.offset  # no call since it was compared, as above
                    before.offset = offset + before.size
                    run = self._run
                    step = run._next_step
                    run._next_step = step + 1
                    before.pack(before.memory, offset, step, now, *values, before.tag + offset)
                    if before.is_open or not self._windows.is_late(before, offset):
                        return
            except Exception:  # noqa: BLE001, S110 - as above
                pass
            self._look_at_values(before, offset, step, names, values)
            latest = self._windows.current
            window = latest if latest.names == names else CLOSED

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
        if self._run._records() and self._records():
            self._windows.add(events.STEPS_RECORDED, self._run._step_index(step), numbers)

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
        if self._run._records() and self._records():
            numbers = dict(zip(names, values, strict=True))
            self._windows.add(events.STEPS_RECORDED, self._run._step_index(step), numbers)

    @guarded(nothing)
    def record_gradient(self, norm: float, *, step: int | None = None, **numbers: Any) -> None:
        """Record the norm of a gradient, and other numbers about it, beside the steps.

        Args:
            norm: The norm over all parameters.
            step: The step it belongs to; the last recorded one when not given.
            **numbers: Further norms or shares, by name.
        """
        if self._run._records() and self._records():
            of_step = max(self._run._next_step - 1, 0) if step is None else as_step(step)
            self._windows.add(events.GRADIENT_COMPUTED, of_step, {"norm": norm, **numbers})

    @guarded(not_recorded(spans.VALIDATION_RUN))
    def record_validation(self, **metrics: Any) -> Recorded:
        """Record the result of a validation; later decisions can depend on what this returns.

        Args:
            **metrics: Its metrics, by name: `accuracy=0.93`.
        """
        named = with_template(attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE, doubles(metrics))
        said = ", ".join(f"{name} {short(value)}" for name, value in metrics.items())
        return record_moment(self, spans.VALIDATION_RUN, said or "validation", {**self._place(), **named})


def as_step(given: Any) -> int:
    step = int(given)
    if (
        not -(2**63) <= step < 2**63 - 1
    ):  # one that does not fit would make its whole window, and all later ones, unreadable
        raise OverflowError(f"step={printable(given)} does not fit into 64 bits")
    return step


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(value)
