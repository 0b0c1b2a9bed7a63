"""A run in one sentence, made from what was measured."""

from dataclasses import dataclass

from crucible_trace_otel.record.timing._measures import Measures

__all__ = ["Course", "verdict"]


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of a run when it ends."""

    state: str
    """`completed`, `failed`, `cancelled`."""
    stop_reason: str | None = None
    """Why it was stopped early."""
    last_step: int | None = None
    loss: float | None = None
    """Of the last step."""


def verdict(course: Course, measures: Measures) -> str | None:
    """How the run ended, how far it came, and where its time went; None where nothing is known but its end."""
    parts = [*_reached(course, measures), *_spent(measures)]
    if measures.abnormal:
        parts.append(f"abnormal steps: {measures.abnormal:,}")
    if not parts and course.stop_reason is None:
        return None
    ended = course.state if course.stop_reason is None else f"stopped early ({course.stop_reason})"
    if measures.epochs:
        ended += f" after {measures.epochs:,} epoch{'s' if measures.epochs != 1 else ''}"
    return "; ".join([ended, *parts])


def _reached(course: Course, measures: Measures) -> list[str]:
    if course.last_step is None:
        return [f"{measures.batches:,} batches"] if measures.batches else []
    loss = "" if course.loss is None else f"loss {course.loss:.4g} at "
    return [f"{loss}step {course.last_step:,}"]


def _spent(measures: Measures) -> list[str]:
    parts = []
    if measures.wait_share is not None:
        parts.append(f"{measures.wait_share:.0%} of the loop's time was spent waiting for data")
    gone_through = {name: phase for name, phase in measures.phases.items() if phase.count}
    if gone_through:
        name = max(gone_through, key=lambda name: gone_through[name].ns)
        slowest = gone_through[name]
        each = slowest.ns / slowest.count / 1e6
        parts.append(f"slowest phase: {name}, {slowest.ns / 1e9:.3g} s in all, {each:.3g} ms each time")
    if measures.throughput is not None:
        parts.append(f"{measures.throughput:,.0f} samples/s")
    return parts
