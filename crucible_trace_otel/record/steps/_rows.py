"""The rows of one open window: where the next one goes, and which values it takes without a second look."""

import math
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Real
from operator import itemgetter
from typing import Any

from crucible_trace_otel.journal.slots import Slot, columns_in, next_number, row_form
from crucible_trace_otel.record._values import Repairs, printable
from crucible_trace_otel.record.steps._held import without_held
from crucible_trace_otel.record.steps._keeping import current_step_keeper

__all__ = ["CLOSED", "OpenRows", "kinds_of"]

_INT64 = range(-(2**63), 2**63)
_HAS_GIL: bool = getattr(sys, "_is_gil_enabled", lambda: True)()  # without it, each row is looked at, under a lock
_OTHER = "o"  # neither an integer of 64 bits nor a double


class OpenRows:
    """The rows of one event name and one set of names that are not yet packed.

    Whoever records a row claims its place by moving `offset` on, without a lock: between reading and storing it there
    is no call, so no other thread and no signal handler comes between. The row is stored after that, and then `is_open`
    is looked at: whoever closed the window in between has noted the place as one that is missing.
    """

    __slots__ = (
        *("event_name", "names", "columns", "number", "kinds", "values_of", "width", "sums", "keeper", "slot"),
        *("memory", "pack", "size", "tag", "offset", "last", "clock", "loss", "loss_at", "ceiling"),
        *("is_open", "is_told", "opened_ns", "kept_ns", "missing", "rows", "repairs", "repeated"),
    )

    def __init__(self, event_name: str, names: tuple[str, ...], kinds: str) -> None:
        self.event_name = event_name
        self.names = names
        self.columns = _columns(names)
        self.number = next_number()
        self.kinds = kinds
        self.width = len(names)
        self.values_of = _getter(names)
        self.sums: frozenset[type] = frozenset({float})
        """Types of `sum(values, 0.0)` that tell that all values are numbers, which need no repair."""
        self.loss = _loss(names)
        """Which of the names is the loss."""
        self.loss_at = 0 if self.loss is None else names.index(self.loss)
        self.ceiling = math.inf
        """A row whose loss is above it is looked at."""
        self.keeper = current_step_keeper()
        self.slot: Slot | None = None
        self.memory: Any = None
        self.pack: Callable[..., None] = row_form("").pack_into
        self.size = 1
        self.tag = self.offset = self.last = self.clock = self.opened_ns = self.kept_ns = 0
        self.is_open, self.is_told = True, False
        self.missing: set[int] = set()
        """Where a row was claimed and not yet stored when the window was closed."""
        self.rows: list[tuple[Any, ...]] = []
        """All of them, where there is no slot."""
        self.repairs: Repairs = {}
        self.repeated = 0
        """Rows with a step that is not above every earlier one of the run."""

    def place(self, slot: Slot | None) -> None:
        """Have the rows in `slot`; without one, in a list."""
        self.slot = slot
        if slot is not None:
            form = row_form(self.kinds)
            self.memory, self.pack, self.size = slot.memory, form.pack_into, form.size
            self.tag, self.offset = slot.tag, slot.first

    def takes(self, kinds: str) -> bool:
        """Whether values of these kinds go into its columns: doubles take integers, a list takes anything."""
        if self.slot is None:
            return True
        return all(there == "d" != here or there == here for there, here in zip(self.kinds, kinds, strict=True)) and (
            _OTHER not in kinds
        )

    def add(self, step: int, now: int, values: tuple[Any, ...]) -> None:
        """Store a row. The caller has seen that it fits."""
        if self.slot is None:
            self.rows.append((step, now, *values))
            return
        offset = self.offset
        self.offset = offset + self.size
        try:
            self.pack(self.memory, offset, step, now, *values, self.tag + offset)
        except Exception:
            self.slot.void(offset, self.size)
            raise

    def learn(self, given: Mapping[str, Any]) -> None:
        """Let further rows like this one, which was looked at and needed no repair, pass at once."""
        with suppress(Exception):  # a None, a text: rows with it are looked at
            found = sum(given.values(), 0.0)
            if isinstance(found, Real):  # a number of numpy's is one, a tensor, which may lie on a device, is not
                self.sums |= {type(found)}

    def arm(self, most: int, soon: int) -> None:
        """Have the next `soon` rows pass at once, but not the one after which the window must be closed."""
        if self.slot is not None and _HAS_GIL:
            last = min(self.slot.first + most * self.size, self.slot.end) - self.size
            self.last = min(last, self.offset + soon * self.size)

    def is_full(self, most: int) -> bool:
        """Whether it has `most` rows, or as many as fit."""
        if self.slot is None:
            return len(self.rows) >= most
        return self.offset >= min(self.slot.first + most * self.size, self.slot.end)

    def latest(self, most: int) -> tuple[dict[str, Any], ...]:
        """The last rows, as far as they are known now."""
        rows: Iterable[tuple[Any, ...]] = map(without_held, self.rows[-most:])
        if self.slot is not None:
            first = max(self.slot.first, self.offset - most * self.size)
            columns, _ = columns_in(self.slot._replace(first=first), self.kinds, self.offset)
            rows = zip(*columns, strict=True)
        return tuple([dict(zip(self.columns, row, strict=True)) for row in rows])

    def shut(self) -> None:
        """Take no more rows."""
        self.last, self.is_open = 0, False

    def taken(self) -> dict[str, Sequence[Any]]:
        """The columns by name, once it is shut; none where there is no row."""
        found: list[Sequence[Any]] = list(zip(*self.rows, strict=True))
        if self.slot is not None:
            found, self.missing = columns_in(self.slot, self.kinds, self.offset)
        return dict(zip(self.columns, found, strict=True)) if found else {}


def kinds_of(numbers: Mapping[str, Any]) -> str:
    """The kind of each value: `q` an integer of 64 bits, `d` a double, `o` another."""
    return "".join(map(_kind, numbers.values()))


def _kind(value: Any) -> str:
    if type(value) is float:
        return "d"
    return "q" if type(value) is int and value in _INT64 else _OTHER


def _columns(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names of all columns, each once, as text that can be encoded."""
    columns = dict.fromkeys(("step", "time_ns"))
    for name in names:
        own = printable(name)
        while own in columns:
            own += "_"
        columns[own] = None
    return tuple(columns)


def _loss(names: tuple[str, ...]) -> str | None:
    """The name `loss`, or else the first that ends so or is a kind of it."""
    told = (name for name in names if printable(name).endswith("loss") or printable(name).startswith("loss."))
    return "loss" if "loss" in names else next(told, None)


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    """The values of these names as a tuple; KeyError where one is absent."""
    if len(names) > 1:
        return itemgetter(*names)
    return lambda numbers: tuple([numbers[name] for name in names])


CLOSED = OpenRows("", (), "")
"""A window that takes no row."""
CLOSED.shut()
