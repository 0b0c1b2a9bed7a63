"""Rows of cells as lines in which the cells of a column stand below each other."""

from collections.abc import Sequence

from rich.cells import cell_len, set_cell_size

__all__ = ["aligned"]

_NARROWEST = 12


def aligned(rows: Sequence[Sequence[str]], room: int | None = None) -> list[str]:
    """A line for each of `rows`, which all have as many cells; a column without any text is left out.

    Args:
        rows: The cells.
        room: How many columns a terminal has: there the first cells are cut, and lines are longer only when that is
            not enough.
    """
    columns = [column for column in zip(*rows, strict=True) if any(column)]
    widths = [max(map(cell_len, column)) for column in columns]
    if room is not None:
        too_much = sum(widths) + 2 * (len(widths) - 1) - room
        widths[0] = max(min(widths[0], _NARROWEST), widths[0] - max(too_much, 0))
    lines = ("  ".join(map(set_cell_size, row, widths)) for row in zip(*columns, strict=True))
    return [line.rstrip() for line in lines]
