"""What processes do together: collective operations, and barriers at which they wait for each other.

with run.collective("all_reduce", size=gradients.nbytes):
    dist.all_reduce(gradients)

with run.barrier("epoch end"):
    dist.barrier()
"""

import math
import sys
from collections import Counter
from typing import Any

from crucible_trace_otel.record._context import innermost
from crucible_trace_otel.record._doubles import doubles
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.processes._process import process_rank
from crucible_trace_otel.record.timing._timed import Timed
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["Barrier", "Collective", "barrier", "collective"]

_outside: Counter[str] = Counter()
"""How many collectives of a name this process has begun in no run."""


class Collective(Operation):
    """A collective operation, as this process takes part in it."""

    operation_name = spans.COLLECTIVE

    def __init__(
        self,
        name: object,
        *,
        size: int | None = None,
        participants: int | None = None,
        backend: str | None = None,
        of: Timed | None = None,
    ) -> None:
        self._counted_as = printable(name)
        attributes = {
            attr.CRUCIBLE_COLLECTIVE_NAME: self._counted_as,
            attr.CRUCIBLE_COLLECTIVE_SIZE: size,
            attr.CRUCIBLE_COLLECTIVE_PARTICIPANT_COUNT: participants,
            attr.CRUCIBLE_DISTRIBUTED_BACKEND: backend,
        }
        super().__init__(name, of=of, attributes=attributes)

    def _prepare(self) -> None:
        super()._prepare()
        self._waited: float | None = None

    @guarded(nothing)
    def record_wait(self, seconds: float) -> None:
        """Record how long this process waited for the others, where it is known.

        Args:
            seconds: The time.
        """
        waited = float(seconds)
        if waited >= 0 and math.isfinite(waited):
            self._waited = waited
            self.set(doubles({attr.CRUCIBLE_COLLECTIVE_WAIT: waited}))
        else:
            self._repairs[attr.CRUCIBLE_COLLECTIVE_WAIT] = RepairReason.TIME
            self.set({})

    def _on_start(self) -> dict[str, Any]:
        """Which of its name it is, as each process counts for itself, and where in the run."""
        training = innermost(Timed, self._outer)
        counts = _outside if training is None else training._run._collectives
        sequence = counts[self._counted_as]
        counts[self._counted_as] = sequence + 1
        known = {} if training is None else training._epoch_and_step()
        if self._given[attr.CRUCIBLE_DISTRIBUTED_BACKEND] is None:
            known[attr.CRUCIBLE_DISTRIBUTED_BACKEND] = _backend_in_use() or None
        return {attr.CRUCIBLE_COLLECTIVE_SEQUENCE: sequence, **known}


class Barrier(Collective):
    """A place where each process waits until all have come there: all the time, where nothing else is recorded."""

    operation_name = spans.BARRIER

    @guarded(nothing)
    def _finish(self, error: BaseException | str | None, at_ns: int | None = None) -> None:
        if self._waited is None and self.is_recording:
            self.record_wait((self._now_ns() - self._started_at) / 1e9)
        super()._finish(error, at_ns)


@forgiving
def collective(
    name: str, *, size: int | None = None, participants: int | None = None, backend: str | None = None
) -> Collective:
    """A collective operation, to be used in `with`; it may lie in no run.

    Args:
        name: Which: `all_reduce`, `broadcast`, ...
        size: How many bytes this process contributes.
        participants: How many processes take part.
        backend: What carries it, such as `nccl`; that of `torch.distributed` where it is in use and none is given.
    """
    return Collective(name, size=size, participants=participants, backend=backend)


@forgiving
def barrier(name: str = "barrier", *, participants: int | None = None, backend: str | None = None) -> Barrier:
    """A barrier, to be used in `with`; it may lie in no run. Its duration is the wait.

    Args:
        name: Tells it from others.
        participants: How many processes take part.
        backend: What carries it; see `collective`.
    """
    return Barrier(name, participants=participants, backend=backend)


@guarded(lambda: "")
def _backend_in_use() -> str:
    """What carries the communication of this process; empty where that is not known. Nothing is imported for it."""
    rank = process_rank()
    if rank is not None and rank.backend is not None:
        return rank.backend
    torch = sys.modules.get("torch.distributed")
    is_in_use = torch is not None and torch.is_available() and torch.is_initialized()
    return str(torch.get_backend()) if torch is not None and is_in_use else ""
