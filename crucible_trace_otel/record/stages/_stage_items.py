"""The items that a stage works on: all are counted, and some have a span: the first, the failed, the slow."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextvars import copy_context
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._failure import hand_over, is_recorded
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.stages._stage_data import StageData
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations

if TYPE_CHECKING:
    from concurrent.futures import Executor, Future

__all__ = ["StageItems"]

T = TypeVar("T")
R = TypeVar("R")

_SPANS = 100
_MOST_SPANS = 10_000
_SLOW_FACTOR = 3
_SLOW_NS = 10_000_000
_USUAL_AFTER = 10  # items, before which nobody knows how long one takes
_AHEAD = 32


class StageItem(Operation):
    """One item of a stage, perhaps told when it is over."""

    operation_name = operations.STAGE_ITEM

    def __init__(self, stage: "StageItems", index: int, began_at: int | None = None) -> None:
        super().__init__(f"item {index}", of=stage, attributes={attr.CRUCIBLE_STAGE_ITEM_INDEX: index})
        self._began_at = began_at

    def _start_clock(self) -> int:
        """When it began, where that is past."""
        now = super()._start_clock()
        return now if self._began_at is None else min(self._began_at, now)


class _Items:
    """The count of a stage's items, and which of them have a span."""

    def __init__(self) -> None:
        self._lock = Lock()
        self.count = 0
        self._spans = self._done = self._total_ns = 0

    def begin(self, most: int, *, are_all: bool) -> tuple[int, bool]:
        """The index of one that begins, and whether it has a span from its beginning on.

        Args:
            most: How many spans there may be.
            are_all: Whether there are no more items than that; else half of the spans are kept for later ones.
        """
        with self._lock:
            self.count += 1
            has_span = self._spans < (most if are_all else (most + 1) // 2)
            self._spans += has_span
            return self.count - 1, has_span

    def end(self, most: int, duration_ns: int, *, has_span: bool, has_failed: bool) -> bool:
        """Count one that ends; whether it gets a span now, because it failed or took far longer than the others."""
        with self._lock:
            usual = self._total_ns / self._done if self._done >= _USUAL_AFTER else duration_ns
            self._done += 1
            self._total_ns += duration_ns
            is_slow = duration_ns >= _SLOW_NS and duration_ns > _SLOW_FACTOR * usual
            gets_one = not has_span and (has_failed or is_slow) and self._spans < most
            self._spans += gets_one
            return gets_one


def _not_begun(*_: Any, **__: Any) -> tuple[int, bool, int] | None:
    return None


class StageItems(StageData):
    """A stage that works on many items."""

    _when_started = (*StageData._when_started, "_items")
    _items: _Items | None = None
    """None before the first loop."""

    def _prepare(self) -> None:
        super()._prepare()
        self._beyond: list[tuple[int, int, int, int]] = []
        """The item without a span at which a loop was left: index, beginning, end, and how many spans there may be."""

    @forgiving
    def each(self, items: Iterable[T], *, spans: int = _SPANS) -> Iterator[T]:
        """The items, for a loop over them, counted in `crucible.stage.item.count`.

        At most so many have a span, below which lies what is recorded in the loop's body: where there are more items,
        the first half of the spans are for the first ones, the others for those that fail or take long, three times the
        mean. What is recorded in the body of any other lies below the stage.

        Args:
            items: A list, a generator, anything that can be looped over.
            spans: How many spans there are at most in this stage.

        Raises:
            TypeError: `items` cannot be looped over.
        """
        most = self._bound_of(spans)
        return _Loop(self, iter(items), most, are_all=_length(items) <= most)

    @forgiving
    def map(
        self,
        function: Callable[[T], R],
        items: Iterable[T],
        *,
        executor: "Executor | None" = None,
        spans: int = _SPANS,
    ) -> Iterator[R]:
        """`function` of each item, in order, as they are asked for; counted and told as by `each`.

        What the function raises goes on unchanged, to who asks for that result.

        Args:
            function: Called with one item.
            items: A list, a generator, anything that can be looped over.
            executor: Calls it there, some items ahead: a `ThreadPoolExecutor`, whose threads record below the stage.
                In other processes items are counted alone.
            spans: How many spans there are at most in this stage.

        Raises:
            TypeError: `items` cannot be looped over.
        """
        most = self._bound_of(spans)
        are_all = _length(items) <= most

        def apply(item: T) -> R:
            return self._apply(function, item, most, are_all=are_all)

        if executor is None:
            return map(apply, items)
        if "Process" in type(executor).__name__:
            counted = _Loop(self, iter(items), 0, are_all=False)
            return _ahead(executor, lambda item: executor.submit(function, item), counted)
        return _ahead(executor, lambda item: executor.submit(copy_context().run, apply, item), iter(items))

    @guarded(lambda *_: _SPANS)
    def _bound_of(self, spans: Any) -> int:
        """How many spans a loop that begins may use; from now on there are items to count."""
        if self._items is None:
            self._items = _Items()
        return _bound(spans)

    def _apply(self, function: Callable[[T], R], item: T, most: int, *, are_all: bool) -> R:
        begun = self._begin_item(most, are_all=are_all)
        if begun is None:
            return function(item)
        index, has_span, began_at = begun
        try:
            if not has_span:
                result = function(item)
            else:
                with StageItem(self, index):
                    result = function(item)
        except BaseException as error:
            self._end_item(index, began_at, self._now_ns(), most=most, has_span=has_span, error=error)
            raise
        self._end_item(index, began_at, self._now_ns(), most=most, has_span=has_span)
        return result

    @guarded(_not_begun)
    def _begin_item(self, most: int, *, are_all: bool) -> tuple[int, bool, int] | None:
        """The index of an item that begins, whether it has a span, and when that is; None where it is not recorded."""
        if self._items is None or not self.is_recording:
            return None
        self._is_settled = False
        return (*self._items.begin(most, are_all=are_all), self._now_ns())

    @guarded(nothing)
    def _end_item(
        self, index: int, began_at: int, ended_at: int, *, most: int, has_span: bool, error: BaseException | None = None
    ) -> None:
        """Count an item that has ended, and tell it where it deserves a span and has none."""
        failed = error is not None
        if self._items is None or not self._items.end(most, ended_at - began_at, has_span=has_span, has_failed=failed):
            return
        told = StageItem(self, index, began_at)._start_inside(self)
        if error is not None and is_recorded(error, self.event_id):
            hand_over(error, told.event_id)
        told._finish(error, ended_at)

    def _settle(self) -> None:
        """End what a loop left behind when it was broken off: it is known now that no exception did it."""
        super()._settle()
        if self._beyond:
            self._beyond.clear()

    @guarded(nothing)
    def _settle_data(self, error: BaseException | str | None) -> None:
        """Tell how many items there were, and of the one that failed."""
        super()._settle_data(error)
        left, self._beyond = self._beyond, []
        if left and isinstance(error, BaseException):
            abandoned, self._abandoned = self._abandoned, []
            for operation, at in abandoned:
                operation._finish(error, at)
            for index, began_at, ended_at, most in left:
                self._end_item(index, began_at, ended_at, most=most, has_span=False, error=error)
        if self._items is not None:
            self.set({attr.CRUCIBLE_STAGE_ITEM_COUNT: self._items.count})


class _Loop(Iterator[T]):
    """The loop over items. A generator would be told of an exception in the loop's body only as its closing."""

    _span: StageItem | None = None
    _index = -1  # of the item that is worked on; -1 where none is
    _began_at = 0

    def __init__(self, stage: StageItems, items: Iterator[T], most: int, *, are_all: bool) -> None:
        self._stage = stage
        self._items = items
        self._most = most
        self._are_all = are_all

    def __next__(self) -> T:
        self._end()
        item = next(self._items)
        self._begin()
        return item

    def __del__(self) -> None:
        self._leave()

    @guarded(nothing)
    def _begin(self) -> None:
        self._stage._settle()
        begun = self._stage._begin_item(self._most, are_all=self._are_all)
        if begun is None:
            return
        self._index, has_span, self._began_at = begun
        if has_span:
            self._span = StageItem(self._stage, self._index).start()

    @guarded(nothing)
    def _end(self) -> None:
        """The loop goes on: the item has ended well."""
        if self._index < 0:
            return
        index, self._index = self._index, -1
        span, self._span = self._span, None
        if span is not None:
            span.stop()
        now = self._stage._now_ns()
        self._stage._end_item(index, self._began_at, now, most=self._most, has_span=span is not None)

    @guarded(nothing)
    def _leave(self) -> None:
        """The loop is over: its item ends with what encloses it."""
        if self._index < 0:
            return
        if self._span is not None:
            self._span._abandon()
            self._span = None
        elif not self._stage.ended:
            self._stage._beyond.append((self._index, self._began_at, self._stage._now_ns(), self._most))
        self._index = -1


def _ahead(executor: "Executor", submit: Callable[[T], "Future[R]"], items: Iterator[T]) -> Iterator[R]:
    """The results of `items` in order, while some of the next are worked on; nothing begins before it is asked for."""
    most = 2 * (getattr(executor, "_max_workers", None) or _AHEAD)
    waiting: deque[Future[R]] = deque()
    try:
        for item in items:
            waiting.append(submit(item))
            if len(waiting) >= most:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        for future in waiting:
            future.cancel()


def _bound(spans: Any) -> int:
    """How many spans, as it was given; the usual number, with one warning, for what is no such number."""
    if isinstance(spans, int) and 0 <= spans <= _MOST_SPANS:
        return int(spans)
    warn_once(f"spans {printable(spans)}", f"spans={printable(spans)} is no number of spans: there are up to {_SPANS}.")
    return _SPANS


@guarded(lambda _: _MOST_SPANS + 1)
def _length(items: Any) -> int:
    """How many there are; more than any bound where they do not say."""
    return len(items) if hasattr(items, "__len__") else _MOST_SPANS + 1
