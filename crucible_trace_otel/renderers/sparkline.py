"""A series of numbers as two rows of blocks: the highest and the lowest of each column, so that no spike hides."""

import math
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Final

__all__ = ["sparkline"]

_BLOCKS: Final = "▁▂▃▄▅▆▇█"
_ASCII_BLOCKS: Final = "_.-=+*%#"
_NOT_FINITE: Final = "!"


def sparkline(values: Sequence[float], width: int, *, ascii_only: bool = False) -> tuple[str, str]:
    """The rows of maxima and of minima of `values` in at most `width` columns.

    A column that holds a value that is not finite shows `!` in both rows. Both rows share one scale.
    """
    if not len(values):
        return "", ""
    columns = max(1, min(width, len(values)))
    edges = [len(values) * column // columns for column in range(columns + 1)]
    parts = [values[start:end] for start, end in pairwise(edges)]
    lowest = min(filter(math.isfinite, values), default=0.0)
    highest = max(filter(math.isfinite, values), default=0.0)
    blocks = _ASCII_BLOCKS if ascii_only else _BLOCKS

    def block(value: float) -> str:
        # Halves, because the difference of two large doubles may be infinite.
        share = (value / 2 - lowest / 2) / (highest / 2 - lowest / 2) if highest > lowest else 0.0
        return blocks[min(int(share * len(blocks)), len(blocks) - 1)]

    def row(extremes: Iterable[float]) -> str:
        return "".join(
            block(value) if all(map(math.isfinite, part)) else _NOT_FINITE
            for value, part in zip(extremes, parts, strict=True)
        )

    return row(max(part) for part in parts), row(min(part) for part in parts)
