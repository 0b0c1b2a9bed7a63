"""The steps of a run of several attempts as one sequence: no step twice, none missing.

An attempt goes on from a checkpoint, so it does again what an earlier one did after that checkpoint was saved. The rows
of the later attempt are the ones that led to the model; those of the earlier attempt from there on are kept apart.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from crucible_trace_otel.trace.steps import Row

__all__ = ["RunRows", "merge_attempts"]


@dataclass(frozen=True, slots=True, repr=False)
class RunRows:
    """The rows of all attempts of one run."""

    rows: tuple[Row, ...] = ()
    """Those that led to where the run is now, in the order of their steps."""
    redone: tuple[tuple[Row, ...], ...] = ()
    """For each attempt, its rows that a later attempt did again, or that nothing went on from."""

    def __repr__(self) -> str:
        redone = sum(len(rows) for rows in self.redone)
        return f"RunRows({len(self.rows)} rows of {len(self.redone)} attempts, {redone} done again)"


def merge_attempts(attempts: Iterable[Sequence[Row]]) -> RunRows:
    """Join the rows of the attempts of a run, such as the `step_rows(...).rows` of each.

    The last attempt counts whole. Of the attempt it went on from count the rows before its first step, and so on back
    to the first. It went on from the last attempt before it that had reached that step: one that had not, because it
    was killed early and the next began from a later checkpoint, led nowhere. Where none had, steps were lost; then it
    is the one that came nearest.

    Args:
        attempts: The rows of each attempt, in the order the attempts began. An attempt without rows changes nothing.
    """
    given = [sorted(rows, key=lambda row: (row["step"], row["time_ns"])) for rows in attempts]
    redone = [tuple(rows) for rows in given]
    merged: list[Row] = []
    here = next((number for number in reversed(range(len(given))) if given[number]), None)
    until: int | None = None
    while here is not None:
        rows = given[here]
        kept = [row for row in rows if until is None or row["step"] < until]
        redone[here] = tuple(rows[len(kept) :])
        merged = kept + merged
        until = min(rows[0]["step"], rows[0]["step"] if until is None else until)
        here = _before(given[:here], until)
    return RunRows(tuple(merged), tuple(redone))


def _before(earlier: Sequence[Sequence[Row]], first_step: int) -> int | None:
    """Which of the `earlier` attempts one that begins with `first_step` went on from."""
    reached = {number: rows[-1]["step"] for number, rows in enumerate(earlier) if rows and rows[0]["step"] < first_step}
    if not reached:
        return None
    return max(reached, key=lambda number: (min(reached[number], first_step - 1), number))
