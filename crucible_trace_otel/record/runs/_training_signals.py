"""What is recorded beside the steps of a training run: batches, losses, gradients, metrics, skipped steps."""

from collections.abc import Mapping
from typing import Any

from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._late import warn_late
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.steps._stepping import as_step
from crucible_trace_otel.record.timing._timed import Timed
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv.enums import AbnormalKind

__all__ = ["TrainingSignals"]


class TrainingSignals(Timed):
    """A training run or one of its epochs, as far as windows of their own names go.

    Each verb takes numbers of any kind and text; a row is packed with those of the same names, as steps are. Without
    `step=` it belongs to the last recorded step, or to step 0 before the first: only steps count on.
    """

    @guarded(nothing)
    def process_batch(
        self,
        index: int | None = None,
        size: int | None = None,
        loss: float | None = None,
        *,
        step: int | None = None,
        **numbers: Any,
    ) -> None:
        """Record a batch that was processed; several may make one step, where gradients are accumulated.

        Args:
            index: Of the batch in its epoch.
            size: How many samples it has.
            loss: Its loss.
            step: The step it belongs to; the last recorded one when not given.
            **numbers: What else was measured, by name.
        """
        given = {"batch.index": index, "batch.size": size, "loss": loss, **numbers}
        self._record(events.BATCH_PROCESSED, step, {name: value for name, value in given.items() if value is not None})

    @guarded(nothing)
    def compute_loss(self, value: float, kind: str | None = None, *, step: int | None = None) -> None:
        """Record a loss, beside the steps.

        Args:
            value: The loss.
            kind: Which loss it is, where there are several: its column is called `loss.<kind>`.
            step: The step it belongs to; the last recorded one when not given.
        """
        self._record(events.LOSS_COMPUTED, step, {"loss" if kind is None else f"loss.{printable(kind)}": value})

    @guarded(nothing)
    def record_gradient(
        self,
        norm: float,
        layers: Mapping[str, float] | None = None,
        *,
        step: int | None = None,
        **numbers: Any,
    ) -> None:
        """Record the norm of a gradient, and other numbers about it, beside the steps.

        Args:
            norm: The norm over all parameters.
            layers: The norms of layers or groups of parameters, by name; their columns are called `norm.<name>`.
            step: The step it belongs to; the last recorded one when not given.
            **numbers: Further norms or shares, by name.
        """
        of_layers = {f"norm.{printable(name)}": value for name, value in (layers or {}).items()}
        self._record(events.GRADIENT_COMPUTED, step, {"norm": norm, **of_layers, **numbers})

    compute_gradient = record_gradient
    """The same, called as its event is."""

    @guarded(nothing)
    def record_metric(self, *, step: int | None = None, **metrics: Any) -> None:
        """Record metrics of your own, beside the steps: `record_metric(perplexity=12.5)`.

        Args:
            step: The step they belong to; the last recorded one when not given.
            **metrics: By name.
        """
        self._record(events.METRIC_RECORDED, step, metrics)

    @guarded(nothing)
    def skip_step(self, reason: str | None = None, *, step: int | None = None, **numbers: Any) -> None:
        """Record that the optimizer left a step out, such as where scaled gradients overflowed. It counts as a step.

        Args:
            reason: Why.
            step: Its index in the run; one more than the last when not given.
            **numbers: What was measured; it becomes a row as `record_step` makes one.
        """
        if self._takes_rows():
            index = self._run._step_index(step)
            if numbers:
                self._add_row(self.step_event, index, numbers)
            self._note_skipped(index, None if reason is None else printable(reason))

    def _note_skipped(self, index: int, reason: str | None) -> None:
        """Say so, as `_add_row` keeps a row."""
        if not self.ended and self._windows.note_skipped(index, reason):
            return
        if self is not self._run and not self._run.ended:
            warn_late(self)
            if self._run._windows.note_skipped(index, reason):
                return
        said = {attr.CRUCIBLE_ABNORMAL_KIND: AbnormalKind.SKIPPED, attr.CRUCIBLE_ABNORMAL_REASON: reason}
        self._tell_late(events.STEP_ABNORMAL, {attr.CRUCIBLE_TRAINING_STEP_INDEX: index, **said})

    def _record(self, event_name: str, step: int | None, numbers: Mapping[str, Any]) -> None:
        if self._takes_rows():
            of_step = (self._run._last_step or 0) if step is None else as_step(step)
            self._add_row(event_name, of_step, numbers)
