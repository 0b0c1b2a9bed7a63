"""Two ways of doing the same, timed against each other in interleaved rounds of one process."""

import gc
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

__all__ = ["Comparison", "compare"]

ROUNDS = 9  # benchmarks/run.py may set it
Work = Callable[[], int]
"""Does something many times and returns the nanoseconds of this thread's CPU that counted."""


@dataclass
class Comparison:
    """One line of the table."""

    name: str
    reference: str
    """What the ratio is to."""
    each: int
    """How often a round does it."""
    ours_us: list[float] = field(default_factory=list)
    """Microseconds each, a round."""
    reference_us: list[float] = field(default_factory=list)
    kept: str = ""
    """What was read back, where that is counted."""

    @property
    def ratios(self) -> list[float]:
        """Ours to the reference, inside each round."""
        return [ours / reference for ours, reference in zip(self.ours_us, self.reference_us, strict=True)]

    def row(self) -> dict[str, object]:
        """As it is printed and stored."""
        return {
            "what": self.name,
            "reference": self.reference,
            "ours_us": round(median(self.ours_us), 2),
            "reference_us": round(median(self.reference_us), 2),
            "ratio": round(median(self.ratios), 2),
            "ratio_least": round(min(self.ratios), 2),
            "ratio_most": round(max(self.ratios), 2),
            "kept": self.kept,
        }


def timed(work: Callable[[], object]) -> int:
    """Nanoseconds of this thread's CPU that `work` takes."""
    before = time.thread_time_ns()
    work()
    return time.thread_time_ns() - before


def compare(name: str, each: int, ours: Work, reference: Work, against: str) -> Comparison:
    """Run both once to warm up, then `ROUNDS` times in random order."""
    result = Comparison(name, against, each)
    for number in range(ROUNDS + 1):
        pair = [(ours, result.ours_us), (reference, result.reference_us)]
        random.shuffle(pair)
        for work, results in pair:
            gc.collect()
            nanoseconds = work()
            if number:
                results.append(nanoseconds / each / 1_000)
    return result
