"""How much each trace of this process holds: backends drop, without a word, what passes their limit for one trace."""

from typing import Final, NamedTuple

__all__ = ["DEFAULT_BUDGET", "TRACES", "Budget", "TraceSizes"]

_MOST_OTHERS = 1_024


class Budget(NamedTuple):
    """What one trace may hold; infinity for no limit."""

    size: float
    """Bytes."""
    spans: float


DEFAULT_BUDGET: Final = Budget(4_000_000, 2_000)
"""A fifth below the 5,000,000 bytes of Grafana Tempo, for what is open when the budget is spent."""


class _Counted:
    """What is known of one trace."""

    __slots__ = ("held", "held_size", "share", "size", "spans", "watchers")

    def __init__(self) -> None:
        self.size = self.spans = self.held_size = self.watchers = 0
        self.share = 1.0
        """Which part of the budget is for this process, of those that record into the trace."""
        self.held: dict[int, int] = {}
        """Bytes that lie on spans which have not ended, by span id."""


class TraceSizes:
    """Bytes and spans of each trace: of those that are watched, and of a thousand others.

    A span counts with its resource and scope: it may be sent alone. Counting is a look-up or two a span.
    """

    def __init__(self, budget: Budget = DEFAULT_BUDGET) -> None:
        self.budget = budget
        self.is_told = False
        """Whether anything tells of the spans that end; without that no trace is ever full."""
        self._watched: dict[int, _Counted] = {}
        self._others: dict[int, _Counted] = {}

    def add(self, trace_id: int, span_id: int, size: int) -> None:
        """Count a span of `size` bytes that ended."""
        counted = self._watched.get(trace_id) or self._others.get(trace_id) or self._another(trace_id)
        counted.size += size
        counted.spans += 1
        if counted.held:
            counted.held_size -= counted.held.pop(span_id, 0)

    def hold(self, trace_id: int, span_id: int, size: int) -> None:
        """Count `size` bytes that were put on a span which has not ended, of a trace that is watched."""
        counted = self._watched.get(trace_id)
        if counted is not None and self.is_told:
            counted.held[span_id] = counted.held.get(span_id, 0) + size
            counted.held_size += size

    def is_full(self, trace_id: int) -> bool:
        """Whether a trace has spent its budget."""
        counted = self._watched.get(trace_id) or self._others.get(trace_id)
        if counted is None:
            return False
        spans, size = self.budget.spans * counted.share, self.budget.size * counted.share
        return counted.spans >= spans or counted.size + counted.held_size >= size

    def watch(self, trace_id: int, share: float = 1.0) -> None:
        """Count this trace without fail, until `unwatch` is called as often.

        Args:
            trace_id: The trace.
            share: Which part of the budget this process may spend in it; the least counts of several.
        """
        if trace_id not in self._watched:
            self._watched[trace_id] = self._others.pop(trace_id, _Counted())
        self._watched[trace_id].watchers += 1
        self._watched[trace_id].share = min(share, self._watched[trace_id].share)

    def unwatch(self, trace_id: int) -> None:
        """Count this trace like any other again."""
        counted = self._watched.get(trace_id)
        if counted is not None:
            counted.watchers -= 1
            if not counted.watchers:
                self._others[trace_id] = self._watched.pop(trace_id)

    def _another(self, trace_id: int) -> _Counted:
        while len(self._others) >= _MOST_OTHERS:
            self._others.pop(next(iter(self._others)), _Counted())
        return self._others.setdefault(trace_id, _Counted())


TRACES: Final = TraceSizes()
"""Of this process: told by what stores or sends spans, asked by what starts them."""
