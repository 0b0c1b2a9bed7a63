"""Loops over a loader: how long they wait for data, how long they use it, how many batches and samples there were."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from operator import index
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from crucible_trace_otel.record._context import current_operation
from crucible_trace_otel.record._failure import exception_event, hand_over
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.record.timing._progress import Bar, progress_bar

if TYPE_CHECKING:
    from crucible_trace_otel.record.timing._timed import Timed

__all__ = ["Tracked"]

T = TypeVar("T")
_clock = time.perf_counter_ns


class Tracked(Generic[T]):
    """A loader whose loops are measured. It can be looped over as often as the loader itself."""

    def __init__(
        self,
        of: "Timed",
        loader: Iterable[T],
        *,
        total: int | None,
        progress: object,
        batch_size: int | Callable[[Any], int] | None,
    ) -> None:
        self._of = of
        self._loader = loader
        self._total = total
        self._progress = progress
        self._size = batch_size

    def __iter__(self) -> Iterator[T]:
        owner = self._of._innermost()
        return _Pass(self._loader, owner, self._size, self._bar(owner))

    def __len__(self) -> int:
        """How many batches the loader says it has; a TypeError where it does not."""
        return len(self._loader)  # type: ignore[arg-type]

    def __bool__(self) -> bool:
        """As the loader is: one without a length is true."""
        return bool(self._loader)

    def _bar(self, owner: "Timed") -> Bar | None:
        if self._progress is None or self._progress is False:
            return None
        total = self._total
        if total is None:
            with suppress(Exception):  # it has no length, or does not know it: nor do we
                total = len(self._loader)  # type: ignore[arg-type]
        outer = self._of.about
        return progress_bar(self._progress, total, outer if owner is self._of else f"{outer}, {owner.about}")


class _Pass(Iterator[T]):
    """One loop over a loader. A generator would end with the garbage collector, and count until then."""

    _done = False

    def __init__(
        self,
        loader: Iterable[T],
        owner: "Timed",
        size: int | Callable[[Any], int] | None,
        bar: Bar | None,
    ) -> None:
        self._owner = owner
        self._size = size
        self._bar = bar
        self._wait_ns = self._body_ns = self._handed_over = 0
        self._batches = self._samples = self._uncounted = 0
        asked = _clock()
        try:
            self._iterator = iter(loader)
        except BaseException as error:
            self._fail(error)
            raise
        self._wait_ns = _clock() - asked
        owner._passes.add(self)

    def __next__(self) -> T:
        asked = _clock()
        if self._handed_over:
            self._body_ns += asked - self._handed_over
            self._handed_over = 0
        try:
            batch = next(self._iterator)
        except BaseException as error:
            self._wait_ns += _clock() - asked
            self._fail(error)
            raise
        self._wait_ns += _clock() - asked
        self._batches += 1
        if self._size is None:
            self._uncounted += 1
        else:
            self._count(batch)
        if self._bar is not None:
            self._advance(self._bar)
        self._handed_over = 0 if self._done else _clock()
        return batch

    def __del__(self) -> None:
        self._leave()

    @guarded(nothing)
    def _count(self, batch: T) -> None:
        self._uncounted += 1  # until it is counted
        self._samples += index(self._size(batch) if callable(self._size) else self._size)  # type: ignore[arg-type]
        self._uncounted -= 1

    @guarded(nothing)
    def _advance(self, bar: Bar) -> None:
        self._bar = None  # for good, where it fails
        bar.advance()
        self._bar = bar

    @guarded(nothing)
    def _fail(self, error: BaseException) -> None:
        """The loader has no more, or failed: recorded here, for it may be caught before it leaves an operation."""
        self._leave()
        if isinstance(error, Exception) and not isinstance(error, StopIteration):
            innermost = current_operation() or self._owner
            emit_event(innermost, *exception_event(error))
            hand_over(error, innermost.event_id)

    @guarded(nothing)
    def _leave(self) -> None:
        """The loop is over; what was measured is the owner's."""
        if self._done:
            return
        self._done = True
        if self._handed_over:
            self._body_ns += _clock() - self._handed_over
        measures = self._owner._measures
        measures.wait_ns += self._wait_ns
        measures.body_ns += self._body_ns
        measures.batches += self._batches
        measures.samples += self._samples
        measures.uncounted += self._uncounted
        if measures.batch_size is None and not callable(self._size):
            measures.batch_size = self._size
        if self._bar is not None:
            self._bar.close()
