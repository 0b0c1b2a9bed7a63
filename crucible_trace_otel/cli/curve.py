"""The numbers of all steps: one of them as a curve, the others as a table."""

import math
import shutil
from collections.abc import Sequence
from typing import Final

from rich.text import Text

from crucible_trace_otel.cli.aligned import aligned
from crucible_trace_otel.errors import NotFoundError
from crucible_trace_otel.renderers.sparkline import sparkline
from crucible_trace_otel.renderers.words import leading, number, plain, plural
from crucible_trace_otel.trace.steps import StepRows

__all__ = ["curve"]

_WIDEST_CURVE: Final = 100
_MOST_COLUMNS: Final = 12


def curve(steps: StepRows, metric: str | None, *, is_ascii: bool) -> list[Text]:
    """The section about `steps`: the curve of `metric`, and the last, lowest and highest value of the other numbers.

    Of a run of several processes it is about one of them, the first: each has steps of its own.

    Args:
        steps: All steps of a trace.
        metric: The column to draw; by default the loss, or else what comes nearest to one.
        is_ascii: Whether only ASCII may be used.

    Raises:
        NotFoundError: `metric` is no number that was recorded with the steps.
    """
    several = steps.ranks[:1] if len(steps.ranks) > 1 else ()
    for first in several:
        steps = steps.of_rank(first)
    numbers = {name: values for name in steps.columns if len(values := _values(steps, name))}
    if metric is not None and metric not in numbers:
        there_is = f"there are {', '.join(map(plain, numbers))}" if numbers else "none was recorded"
        raise NotFoundError(f"No step has a number {metric!r}; {there_is}.")
    drawn = leading(numbers) if metric is None else metric
    whose = "".join(f" of rank {first}" for first in several)
    lines = [] if drawn is None else _curve(drawn, numbers.pop(drawn), whose, is_ascii=is_ascii)
    missing = [Text(f"windows without their packed steps: {steps.missing}", style="bold red")] if steps.missing else []
    return lines + _table(numbers) + missing


def _values(steps: StepRows, name: str) -> Sequence[float]:
    """What `name` was at each step that has it; empty where it is no number, or counts the steps themselves."""
    if name in ("step", "time_ns", "epoch"):
        return []
    column = steps.series[name]
    return column.numbers() if column.kind != "O" else [*map(_as_float, column.numbers())]


def _as_float(cell: float) -> float:
    try:
        return float(cell)
    except OverflowError:  # an integer past the largest double
        return math.inf if cell > 0 else -math.inf


def _curve(name: str, values: Sequence[float], whose: str, *, is_ascii: bool) -> list[Text]:
    lowest, highest = _extremes(values)
    odd = len(values) - sum(map(math.isfinite, values))
    width = max(min(shutil.get_terminal_size().columns - 20, _WIDEST_CURVE), 10)
    high, low = sparkline(values, width, ascii_only=is_ascii)
    title = "Loss" if name == "loss" else plain(name, 40)
    counted = f"{len(values):,} {plural(len(values), 'step')}{whose}"
    title += f" over {counted}, from {number(values[0])} to {number(values[-1])}"
    title += f", {odd:,} of them not finite (!)" if odd else ""
    rows = [("max", high, highest), ("min", low, lowest)]
    drawn = [Text.assemble(f"  {row} ", (blocks, "green"), f" {number(value)}") for row, blocks, value in rows]
    return [Text(title, style="bold"), *drawn]


def _table(numbers: dict[str, Sequence[float]]) -> list[Text]:
    """A line for each of `numbers`: name, last value, lowest and highest finite one."""
    if not numbers:
        return []
    rows: list[tuple[str, ...]] = [("", "last", "min", "max")]
    for name, values in list(numbers.items())[:_MOST_COLUMNS]:
        rows.append((plain(name, 40), *map(number, (values[-1], *_extremes(values)))))
    more = [f"… {len(numbers) - _MOST_COLUMNS} more numbers"] if len(numbers) > _MOST_COLUMNS else []
    return [Text(f"  {line}") for line in aligned(rows) + more]


def _extremes(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest finite one; not a number, where none is."""
    lowest = min(filter(math.isfinite, values), default=math.nan)
    return lowest, max(filter(math.isfinite, values), default=math.nan)
