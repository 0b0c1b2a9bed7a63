"""Columns of steps: what was recorded under one name, in the rows that have it."""

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from operator import itemgetter
from typing import Any, Final, Literal, TypeAlias, overload

__all__ = ["ABSENT", "EXACT", "Column", "Growing", "Row", "Rows"]

Row = dict[str, Any]
Kind = Literal["q", "d", "O"]
Values: TypeAlias = "array[Any] | list[Any]"

ABSENT: Final = object()
"""Stands where a row has no value of a column."""

EXACT: Final = 2**53
"""Up to here every integer is a double too."""


@dataclass(frozen=True, slots=True)
class Column:
    """The values of one name, row after row."""

    values: Values
    """Of the rows that have one: 64-bit integers (`array("q")`), doubles (`array("d")`), or a list of anything else."""
    rows: "array[int] | None" = None
    """Which rows those are, ascending; None where all have one."""

    @property
    def kind(self) -> Kind:
        """`q` for 64-bit integers, `d` for doubles, `O` for anything else."""
        if not isinstance(self.values, array):
            return "O"
        return "q" if self.values.typecode == "q" else "d"

    def cells(self, count: int) -> Iterator[Any]:
        """The value of each of `count` rows, `ABSENT` where there is none."""
        return iter(self.values) if self.rows is None else self._spread(count, self.rows)

    def _spread(self, count: int, rows: "array[int]") -> Iterator[Any]:
        at = 0
        for row, value in zip(rows, self.values, strict=True):
            yield from repeat(ABSENT, row - at)
            yield value
            at = row + 1
        yield from repeat(ABSENT, count - at)

    def cell(self, row: int) -> Any:
        """The value of one row, or `ABSENT`."""
        if self.rows is None:
            return self.values[row]
        at = bisect_left(self.rows, row)
        return self.values[at] if at < len(self.rows) and self.rows[at] == row else ABSENT

    def numbers(self) -> Sequence[float]:
        """Its numbers in their order, without texts, truth values and rows that lack one."""
        if isinstance(self.values, array):
            return self.values
        return [value for value in self.values if isinstance(value, (int, float)) and not isinstance(value, bool)]

    def picked(self, order: Sequence[int], count: int) -> "Column":
        """What it has in some of `count` rows, where row `order[0]` comes first, `order[1]` second, and so on."""
        if self.rows is None:
            return Column(_like(self.values, map(self.values.__getitem__, order)))
        place = array("q", (-1,)) * count
        for new, old in enumerate(order):
            place[old] = new
        places = map(place.__getitem__, self.rows)
        moved = sorted(
            ((at, value) for at, value in zip(places, self.values, strict=True) if at >= 0), key=itemgetter(0)
        )
        values = _like(self.values, map(itemgetter(1), moved))
        return Column(values, None if len(moved) == len(order) else array("q", map(itemgetter(0), moved)))


class Growing:
    """A column while windows are put behind each other."""

    def __init__(self) -> None:
        self._values: Values = array("q")
        self._parts: list[range] = []

    def append(self, values: Sequence[Any], first_row: int) -> None:
        """Put the `values` of the rows from `first_row` on behind the others: a view of numbers, or a list."""
        kind = values.format if isinstance(values, memoryview) else "O"
        if not self._parts:
            self._values = array(kind) if kind != "O" else []
        if kind != "O" and isinstance(self._values, array):
            self._values = _fitting(self._values, kind, values)
        elif isinstance(self._values, array):
            self._values = list(self._values)
        if isinstance(self._values, array) and self._values.typecode == kind:
            self._values.frombytes(values.cast("B"))  # type: ignore[attr-defined]
        else:
            self._values.extend(values)
        self._parts.append(range(first_row, first_row + len(values)))

    def column(self, count: int) -> Column:
        """What has been put together, of `count` rows in all."""
        if len(self._values) == count:
            return Column(self._values)
        return Column(self._values, array("q", chain.from_iterable(self._parts)))


def _fitting(known: "array[Any]", kind: str, values: Sequence[Any]) -> Values:
    """`known` as what takes numbers of `kind` too: doubles, or a list where an integer would not be exact as one."""
    if known.typecode == kind:
        return known
    integers = known if kind == "d" else values
    if any(not -EXACT <= value <= EXACT for value in integers):
        return list(known)
    return array("d", known) if kind == "d" else known


def _like(values: Values, items: Iterable[Any]) -> Values:
    return array(values.typecode, items) if isinstance(values, array) else list(items)


class Rows(Sequence[Row]):
    """The rows of `columns`, each made when it is asked for: a dictionary without what that row lacks."""

    def __init__(self, columns: Mapping[str, Column], count: int) -> None:
        self._columns = columns
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[Row]:
        names = tuple(self._columns)
        every = zip(*(column.cells(self._count) for column in self._columns.values()), strict=True)
        if all(column.rows is None for column in self._columns.values()):
            return (dict(zip(names, row, strict=True)) for row in every)
        return ({name: value for name, value in zip(names, row, strict=True) if value is not ABSENT} for row in every)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Row, ...]: ...

    def __getitem__(self, index: int | slice) -> Row | tuple[Row, ...]:
        if isinstance(index, slice):
            return tuple(map(self._row, range(self._count)[index]))
        return self._row(range(self._count)[index])

    def _row(self, index: int) -> Row:
        cells = ((name, column.cell(index)) for name, column in self._columns.items())
        return {name: value for name, value in cells if value is not ABSENT}

    def __eq__(self, other: object) -> bool:
        """Whether `other` is a sequence of the same rows."""
        if not isinstance(other, (Rows, tuple, list)):
            return NotImplemented
        return len(self) == len(other) and all(mine == its for mine, its in zip(self, other, strict=True))

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Rows({self._count} of {', '.join(self._columns)})"
