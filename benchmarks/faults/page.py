"""The table of docs/reliability.md, and what a cell of it says."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from benchmarks.faults.cases import Case
from benchmarks.faults.measuring import Outcome

__all__ = ["cell", "fill", "table"]

_BEGIN = "<!-- make faults: begin -->"
_END = "<!-- make faults: end -->"

Row = tuple[Case, Mapping[str, Outcome]]


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    lines = ["| fault | plain SDK | ours |", "| --- | --- | --- |"]
    for case, outcomes in rows:
        cells = " | ".join(cell(outcomes[variant], is_ours=variant == "ours") for variant in ("sdk", "ours"))
        lines.append(f"| {case.name} {case.fault} | {cells} |")
    return "\n".join(lines)


def cell(outcome: Outcome, *, is_ours: bool) -> str:
    """What became of one program."""
    parts = [_lost(outcome, is_ours=is_ours)]
    if outcome.flush:
        seconds, answer = outcome.flush
        parts.append(f"flush {seconds:.1f} s, {answer}")
    if outcome.exit_s is not None:
        parts.append(f"exit +{outcome.exit_s:.2g} s" if outcome.exit_s < 1 else f"exit +{outcome.exit_s:.1f} s")
    if outcome.stderr:
        parts.append(f"{len(outcome.stderr)} line{'s' * (len(outcome.stderr) > 1)}")
    parts += outcome.roots
    if outcome.twice:
        parts.append(f"{outcome.twice} arrived twice")
    if is_ours and outcome.after_s is not None and not outcome.seconds:
        parts.append(f"all there after {outcome.after_s:.1f} s")
    return "; ".join(parts)


def _lost(outcome: Outcome, *, is_ours: bool) -> str:
    """What counts most: lost of recorded."""
    if outcome.seconds:
        return "duration " + " and ".join(f"{seconds:,.1f} s" for seconds in outcome.seconds)
    if outcome.events is not None:
        return f"{_emphasised(outcome.events_recorded - outcome.events)}/{outcome.events_recorded:,} steps"
    words = f"{_emphasised(outcome.lost)}/{outcome.recorded:,}"
    if is_ours:
        kept = {"held on disk": outcome.held, "refused, kept on disk": outcome.refused}
        words += "".join(f", {count:,} {where}" for where, count in kept.items() if count)
    return words


def _emphasised(count: int) -> str:
    return f"**{count:,}**" if count else "0"


def fill(page: Path, text: str) -> None:
    """Put `text` between the two marks of `page`.

    Raises:
        ValueError: The marks are not there.
    """
    before, begin, rest = page.read_text(encoding="utf-8").partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not (begin and end):
        raise ValueError(f"{page} has no marks {_BEGIN} and {_END} to put the table between.")
    page.write_text(f"{before}{_BEGIN}\n\n{text}\n\n{_END}{after}", encoding="utf-8")
