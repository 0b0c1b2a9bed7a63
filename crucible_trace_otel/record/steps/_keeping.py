"""Where the rows of open windows lie: in memory, or where `configure()` has them survive the process."""

from typing import Protocol

from crucible_trace_otel.journal.slots import MOST_ROWS, KeptWindow, Slot, WindowHead, row_form

__all__ = ["StepKeeper", "current_step_keeper", "use_step_keeper"]


class StepKeeper(Protocol):
    """Gives room to open windows, and keeps those that were closed."""

    def slot(self, head: WindowHead) -> Slot | None:
        """Room for the rows of a window, or None: then `keep` is called for it each second."""

    def keep(self, window: KeptWindow) -> None:
        """Store a window as it is now, before the span that holds it has ended."""

    def free(self, slot: Slot) -> None:
        """Take back the room of a window."""


class _Memory:
    """For spans that nobody stores before they have ended."""

    def slot(self, head: WindowHead) -> Slot | None:
        """Memory."""
        size = MOST_ROWS * row_form(head.kinds).size
        return Slot(head.number, bytearray(size), 0, size)

    def keep(self, window: KeptWindow) -> None:
        """Nothing: its span has it."""

    def free(self, slot: Slot) -> None:
        """Nothing: it goes by itself."""


_MEMORY: StepKeeper = _Memory()
_chosen: list[StepKeeper] = []


def use_step_keeper(keeper: StepKeeper | None) -> None:
    """Keep the windows that are opened from now on with `keeper`; in memory when None."""
    _chosen[:] = [] if keeper is None else [keeper]


def current_step_keeper() -> StepKeeper:
    """The keeper in use."""
    return _chosen[0] if _chosen else _MEMORY
