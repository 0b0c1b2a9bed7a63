"""Which steps of the attempts at a run led to where it is now: no step twice, none missing."""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Attempt", "counting_rows"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """Which steps are those of one attempt at a training run."""

    span_id: str
    """The span of the attempt, or the outermost one known of it."""
    run_id: str
    """Empty where it is not known."""
    number: int | None
    """Which attempt at the run; None where nobody said."""
    rows: range
    rank: int | None = None
    """Of the process among those that share the attempt, each of which has rows of its own; None for one alone."""


def counting_rows(attempts: Sequence[Attempt], steps: Sequence[int]) -> tuple[range, ...]:
    """Of each attempt the rows that count.

    The last attempt at a run counts whole. Of the one it went on from count the rows before its first step, and so on
    back to the first. It went on from the last one before it that had reached that step; one that had not, because it
    was killed early and the next began from a later checkpoint, led nowhere. Where none had reached it, it is the one
    that came nearest. Attempts of one number, such as the processes of one, count alike.

    Args:
        attempts: In any order; those without a run id count whole.
        steps: The step of each row, ascending within each attempt.
    """
    counting = {at: one.rows for at, one in enumerate(attempts) if not one.run_id}
    runs: dict[str, dict[int, list[int]]] = {}
    for at, one in enumerate(attempts):
        if one.run_id and one.rows:
            runs.setdefault(one.run_id, {}).setdefault(one.number or 0, []).append(at)
    for by_number in runs.values():
        left = [by_number[number] for number in sorted(by_number)]
        here, until = left.pop(), None
        while here:
            for at in here:
                rows = attempts[at].rows
                end = rows.stop if until is None else bisect_left(steps, until, rows.start, rows.stop)
                counting[at] = range(rows.start, end)
            first = min(steps[attempts[at].rows.start] for at in here)
            until = first if until is None else min(first, until)
            reached = [
                max(steps[attempts[at].rows.stop - 1] for at in earlier)
                if any(steps[attempts[at].rows.start] < until for at in earlier)
                else None
                for earlier in left
            ]
            candidates = [(min(last, until - 1), at) for at, last in enumerate(reached) if last is not None]
            nearest = max(candidates, default=(0, -1))[1]
            here = left[nearest] if nearest >= 0 else []
            left = left[: max(nearest, 0)]
    return tuple(counting.get(at, range(one.rows.start, one.rows.start)) for at, one in enumerate(attempts))
