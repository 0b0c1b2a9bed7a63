"""What a training run and its epochs record of the work of several processes."""

from operator import index
from typing import Any

from crucible_trace_otel.record._doubles import doubles
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.distributed import Barrier, Collective
from crucible_trace_otel.record.runs._training_signals import TrainingSignals
from crucible_trace_otel.record.steps._stepping import as_step
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events

__all__ = ["Together"]


class Together(TrainingSignals):
    """A training run or one of its epochs, as far as it works together with other processes."""

    @forgiving
    def collective(
        self, name: str, *, size: int | None = None, participants: int | None = None, backend: str | None = None
    ) -> Collective:
        """A collective operation, a span: see `crucible.collective`. `aggregate_gradients` costs less at each step."""
        return Collective(name, size=size, participants=participants, backend=backend, of=self)

    @forgiving
    def barrier(self, name: str = "barrier", *, participants: int | None = None, backend: str | None = None) -> Barrier:
        """A place where every process waits for the others: see `crucible.barrier`."""
        return Barrier(name, participants=participants, backend=backend, of=self)

    @guarded(nothing)
    def aggregate_gradients(
        self,
        norm: float | None = None,
        *,
        size: int | None = None,
        wait: float | None = None,
        participants: int | None = None,
        step: int | None = None,
        **numbers: Any,
    ) -> None:
        """Record that the gradients of all processes were put together: a row of a window, as cheap as a step.

        Args:
            norm: The norm of the result.
            size: How many bytes this process contributed.
            wait: Seconds it waited for the others.
            participants: How many processes took part.
            step: The step it belongs to; the last recorded one when not given.
            **numbers: What else was measured, by name.
        """
        given = {"norm": norm, "size": size, "wait": wait, "participants": participants, **numbers}
        known = {name: value for name, value in given.items() if value is not None}
        self._record(events.GRADIENTS_AGGREGATED, step, known)

    @guarded(nothing)
    def detect_straggler(
        self,
        rank: int,
        *,
        wait: float | None = None,
        node_rank: int | None = None,
        step: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Record that a process is much slower than the others.

        Args:
            rank: Of the slow one.
            wait: Seconds that others waited for it.
            node_rank: Of its machine.
            step: When it was noticed; the last recorded step when not given.
            reason: How it was noticed, in words.
        """
        slow = index(rank)
        attributes = {
            attr.CRUCIBLE_ABOUT: f"rank {slow} is behind" if reason is None else printable(reason),
            attr.CRUCIBLE_DISTRIBUTED_RANK: slow,
            attr.CRUCIBLE_DISTRIBUTED_NODE_RANK: None if node_rank is None else index(node_rank),
            attr.CRUCIBLE_TRAINING_STEP_INDEX: self._run._last_step if step is None else as_step(step),
            **doubles({attr.CRUCIBLE_COLLECTIVE_WAIT: wait}),
        }
        emit_event(self, events.STRAGGLER_DETECTED, attributes)
