"""What a training run and an epoch have in common: steps, gradients, validations."""

import time
from collections.abc import Callable, Mapping
from numbers import Integral
from typing import TYPE_CHECKING, Any, TypeVar

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._late import place_of_late
from crucible_trace_otel.record._operation import Operation, emit_event, record_moment
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._rows import CLOSED, OpenRows
from crucible_trace_otel.record._values import printable, with_template
from crucible_trace_otel.record._windows import StepWindows
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans

if TYPE_CHECKING:
    from crucible_trace_otel.record.training import TrainingRun

__all__ = ["Training", "as_step", "doubles", "short"]

F = TypeVar("F", bound=Callable[..., Any])
_clock = time.perf_counter_ns
_FAR = 2**62  # steps beyond are looked at


def _said_as(name: str) -> Callable[[F], F]:
    """Have a warning name the method that was called."""

    def rename(function: F) -> F:
        function.__qualname__ = f"Training.{name}"
        return function

    return rename


class Training(Operation):
    """A training run or one of its epochs."""

    _run: "TrainingRun"
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
        window, offset, raised = CLOSED, -1, None
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
        except Exception as error:  # noqa: BLE001 - a value that does not fit, or whose methods raise: it is looked at below
            raised = error
        self._look_at_step(window, offset, misplaced, step, numbers)
        if raised is not None:
            let_through(raised)

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
            step, offset, before, raised = None, -1, window, None
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
            except Exception as error:  # noqa: BLE001 - as above
                raised = error
            self._look_at_values(before, offset, step, names, values)
            latest = self._windows.current
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
        self._add_step(step, numbers)

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

    def _add_step(self, step: int | None, numbers: Mapping[str, Any]) -> None:
        if self._takes_rows():
            self._add_row(events.STEPS_RECORDED, self._run._step_index(step), numbers)

    def _takes_rows(self) -> bool:
        """Whether a row of now is kept, here or, after the end, elsewhere."""
        return (self._run.ended or self._run._records()) and (self.ended or self._records())

    def _add_row(self, event_name: str, step: int, numbers: Mapping[str, Any]) -> None:
        """Keep a row: after the end of its epoch with the run, after the end of that with what is around it."""
        if not self.ended:
            self._windows.add(event_name, step, numbers)
        elif self._run.ended:
            values = with_template(attr.CRUCIBLE_WINDOW_LAST_TEMPLATE, doubles(numbers))
            emit_event(self._run, event_name, {attr.CRUCIBLE_TRAINING_STEP_INDEX: step, **values})
        else:
            place_of_late(self)
            index = self._given.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX)
            known = {"epoch": index} if type(index) is int else {}
            self._run._windows.add(event_name, step, {**known, **numbers})

    @guarded(nothing)
    def record_gradient(self, norm: float, *, step: int | None = None, **numbers: Any) -> None:
        """Record the norm of a gradient, and other numbers about it, beside the steps.

        Args:
            norm: The norm over all parameters.
            step: The step it belongs to; the last recorded one when not given.
            **numbers: Further norms or shares, by name.
        """
        if self._takes_rows():
            of_step = max(self._run._next_step - 1, 0) if step is None else as_step(step)
            self._add_row(events.GRADIENT_COMPUTED, of_step, {"norm": norm, **numbers})

    @guarded(not_recorded(spans.VALIDATION_RUN))
    def record_validation(self, **metrics: Any) -> Recorded:
        """Record the result of a validation; later decisions can depend on what this returns.

        Args:
            **metrics: Its metrics, by name: `accuracy=0.93`.
        """
        attributes = with_template(attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE, doubles(metrics))
        said = ", ".join(f"{name} {short(value)}" for name, value in metrics.items())
        return record_moment(self, spans.VALIDATION_RUN, said or "validation", attributes)


@guarded(lambda metrics: metrics)
def doubles(metrics: Any) -> Any:
    """Metrics are doubles on the wire, whole ones too: a query with a decimal point finds them."""
    if not isinstance(metrics, Mapping):
        return metrics
    return {name: float(value) if _is_whole(value) else value for name, value in metrics.items()}


def _is_whole(value: Any) -> bool:
    """Whether `value` is an integer, numpy's too, that a double holds exactly."""
    return isinstance(value, Integral) and not isinstance(value, bool) and -(2**53) <= int(value) <= 2**53


def as_step(given: Any) -> int:
    step = int(given)
    if (
        not -(2**63) <= step < 2**63 - 1
    ):  # one that does not fit would make its whole window, and all later ones, unreadable
        raise OverflowError(f"step={printable(given)} does not fit into 64 bits")
    return step


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(value)
