"""The place of the rows of one open window, in memory or in a mapped file: how a row is written, and how it is read.

    row: step i64 | time_ns i64 | one i64 or double each number | sequence i64

In the byte order of the machine. The sequence is written last and says which row of which window this is, so that a row
that was cut short carries the number of an older one, or none.
"""

import struct
from collections.abc import Mapping, Sequence
from functools import lru_cache
from itertools import compress, count
from typing import Any, NamedTuple

__all__ = ["MOST_ROWS", "KeptWindow", "Slot", "WindowHead", "columns_in", "next_number", "row_form"]

MOST_ROWS = 200
"""Of a window; closing one costs about as much for a hundred rows as for two hundred."""

_NUMBER_BITS = 24  # what of a sequence is the offset of its row
_SEQUENCE = struct.Struct("=q")
_numbers = count(1)


class WindowHead(NamedTuple):
    """What is known of a window when it is opened."""

    number: int
    """Of all windows of its process."""
    trace_id: bytes
    span_id: bytes
    """The span that records the steps; the one that holds the window may be another."""
    event_name: str
    columns: tuple[str, ...]
    """Names of the numbers; `step` and `time_ns` come before them."""
    kinds: str
    """The type of each: `q` an integer, `d` a double."""


class KeptWindow(NamedTuple):
    """A window with its rows, before the span that holds it has ended."""

    number: int
    trace_id: bytes
    span_id: bytes
    """The span that holds it."""
    event_name: str
    time_ns: int
    attributes: Mapping[str, Any]


class Slot(NamedTuple):
    """Room for the rows of a window."""

    number: int
    memory: Any
    """A writable buffer."""
    first: int
    """Where the first row begins."""
    end: int
    """Where the last one ends."""

    @property
    def tag(self) -> int:
        """Plus the offset of a row, its sequence."""
        return self.number << _NUMBER_BITS

    def void(self, offset: int, size: int) -> None:
        """Mark a row that was begun and will not be written."""
        _SEQUENCE.pack_into(self.memory, offset + size - _SEQUENCE.size, -self.tag - offset)


def next_number() -> int:
    """A number for a window that no other one of this process has."""
    return next(_numbers)


@lru_cache(maxsize=256)
def row_form(kinds: str) -> struct.Struct:
    """How a row with numbers of these types is packed."""
    return struct.Struct(f"=qq{kinds}q")


def columns_in(slot: Slot, kinds: str, end: int) -> tuple[list[Sequence[Any]], set[int]]:
    """The columns of the rows up to offset `end`, `step` and `time_ns` first, and where a row is not yet stored.

    There are no columns where there is no row. A column of whole rows is a view of one copy of their bytes: nobody
    makes a number of each until it is asked for.
    """
    form, tag = row_form(kinds), slot.tag
    data = memoryview(bytes(memoryview(slot.memory)[slot.first : end]))
    if not data:
        return [], set()
    views: dict[str, memoryview[Any]] = {"q": data.cast("q"), "d": data.cast("d")}
    width = form.size // _SEQUENCE.size
    numbers: list[Sequence[Any]] = [views[kind][column::width] for column, kind in enumerate(f"qq{kinds}")]
    found: list[int] = views["q"][width - 1 :: width].tolist()
    if found == list(range(tag + slot.first, tag + end, form.size)):
        return numbers, set()
    pairs = list(zip(range(slot.first, end, form.size), found, strict=True))
    missing = {offset for offset, sequence in pairs if sequence not in (tag + offset, -tag - offset)}
    whole = [sequence == tag + offset for offset, sequence in pairs]
    return [tuple(compress(column, whole)) for column in numbers] if any(whole) else [], missing
