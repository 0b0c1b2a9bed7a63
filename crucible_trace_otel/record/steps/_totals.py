"""What the windows of a run or an epoch come to."""

import math
from typing import Any

from crucible_trace_otel.journal.series import ColumnSummary
from crucible_trace_otel.record._values import with_template
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["StepTotals"]

_MOST_DESCRIBED = 20  # means of numbers on a span: their attributes must stay under the SDK's 128


class StepTotals:
    """Mean and last value of every number over all windows of a span, for queries that see span attributes only."""

    def __init__(self) -> None:
        self.sums: dict[str, tuple[int, float]] = {}
        self.last: dict[str, float] = {}
        self.steps = 0
        """How many there were."""
        self._last_at: dict[str, tuple[int, int]] = {}

    def add(self, name: str, column: ColumnSummary, at: tuple[int, int]) -> None:
        """Take in one column of a window whose last row has the step and time `at`: windows close in any order."""
        number, total = self.sums.get(name, (0, 0.0))
        self.sums[name] = (number + column.finite, total + column.total)
        if at >= self._last_at.get(name, at):
            self.last[name], self._last_at[name] = column.last, at

    def means(self) -> dict[str, float]:
        """The mean of the finite values of each number; NaN where there were none."""
        return {name: total / number if number else math.nan for name, (number, total) in self.sums.items()}

    def attributes(self) -> dict[str, Any]:
        """Mean and last value of each number, of the first twenty names."""
        means = dict(list(self.means().items())[:_MOST_DESCRIBED])
        last = {name: self.last[name] for name in means}
        means = with_template(attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE, means)
        return {**means, **with_template(attr.CRUCIBLE_WINDOW_LAST_TEMPLATE, last)}
