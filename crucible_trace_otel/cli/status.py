"""`crucible-trace status`: what became of every recorded span."""

import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from crucible_trace_otel.cli import reading
from crucible_trace_otel.errors import CrucibleError

if TYPE_CHECKING:
    from crucible_trace_otel.journal.accounting import Accounting, RunAccount

__all__ = ["command"]

_HEADER: Final = ("NAME", "RUN", "RECORDED", "STORED", "SENT", "HELD", "REFUSED", "LOST")
_LONGEST_NAME: Final = 40


@click.command("status")
@reading.journal
@reading.as_json
def command(path: str, *, as_json: bool) -> None:
    """Say for each run what became of its spans, and who sends them.

    Each recorded span is in one of five states. STORED: on this disk, and not to be sent. SENT: taken by the
    collector. HELD: still to be sent. REFUSED: turned down by the collector, on this disk; `crucible-trace resend`
    tries them again. LOST: gone. RECORDED is the sum.
    """
    from crucible_trace_otel.journal.accounting import examine  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.ship.lease import holder_of  # noqa: PLC0415 - loaded when needed

    directory = Path(path)
    try:
        found = examine(directory)
    except CrucibleError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    holder = holder_of(directory)
    if as_json:
        reading.say(json.dumps(_document(found, _shipper(holder, directory)), indent=2) + "\n")
    elif found.runs:
        reading.say(_table(found) + "".join(f"{line}\n" for line in _shipping(found, _shipper(holder, directory))))
    else:
        click.echo(f"Nothing that is recorded in {path} has ended yet.", err=True)
    for sentence in (*_not_counted(found), *_not_closed(directory)):
        click.echo(sentence, err=True)
    if not found.runs:
        sys.exit(1)


def _not_closed(directory: Path) -> Iterator[str]:
    """What dead processes have left open, and nobody has closed: it is not counted, and no backend knows of its end."""
    from crucible_trace_otel.journal.recovery import left_open  # noqa: PLC0415 - loaded when needed

    with suppress(OSError):
        dead = len(left_open(directory))
        if dead:
            yield (
                f"{dead} dead {'process' if dead == 1 else 'processes'} may have left operations open: "
                "`crucible-trace recover` closes them; so does whatever sends."
            )


def _table(found: "Accounting") -> str:
    """A line a run and one of their sum; the numbers at the right of their columns."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - loaded when needed

    rows = [_HEADER, *(_row(run, _name(run)) for run in found.by_run()), _row(found.total(), "total")]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]

    def line(cells: Sequence[str]) -> str:
        texts = [set_cell_size(cell, width) for cell, width in zip(cells[:2], widths[:2], strict=True)]
        numbers = [cell.rjust(width) for cell, width in zip(cells[2:], widths[2:], strict=True)]
        return "  ".join((*texts, *numbers)).rstrip() + "\n"

    return "".join(map(line, rows))


def _row(run: "RunAccount", name: str) -> tuple[str, ...]:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    counts = (run.recorded, run.stored, run.sent, run.held, run.refused, run.lost)
    return name, plain(run.run_id, _LONGEST_NAME), *(f"{count:,}" for count in counts)


def _name(run: "RunAccount") -> str:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    return plain(run.name, _LONGEST_NAME) or (f"trace {run.trace_id[:8]}" if run.trace_id else "of unknown runs")


def _shipper(holder: Mapping[str, Any], directory: Path) -> dict[str, Any] | None:
    """Who sends, where to and how that goes; None where nobody does."""
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.ship.telling import SENDING, state_of  # noqa: PLC0415 - loaded when needed

    if not holder:
        return None
    state = state_of(directory)
    return {
        "pid": holder["pid"] if type(holder.get("pid")) is int else None,
        "to": plain(str(holder["to"])) if "to" in holder else None,
        "state": plain(state.state) if state else SENDING,
        "since_ns": state.since_ns if state else None,
        "said": (plain(state.said) or None) if state else None,
    }


def _shipping(found: "Accounting", shipper: Mapping[str, Any] | None) -> Iterator[str]:
    """Who sends, how that goes, since when something waits, and what the last refusal said."""
    from crucible_trace_otel.cli.summary import local_time  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.words import duration, plain  # noqa: PLC0415 - loaded when needed

    total = found.total()
    if not found.has_destination:
        yield "Nothing is sent from this directory."
        return
    if shipper is None:
        yield "No shipper of this machine runs."
    else:
        place = f" to {shipper['to']}" if shipper["to"] else ""
        yield f"Process {shipper['pid'] or 'unknown'} of this machine sends{place}."
        if shipper["said"]:
            how = "It is paused" if shipper["state"] == "paused" else "It waits"
            yield f"{how} since {local_time(shipper['since_ns'])}: {shipper['said']}"
    if total.held:
        since, waited_s = total.waiting_since_ns, time.time() - total.waiting_since_ns / 1e9
        waited = f" since {local_time(since)} ({duration(max(waited_s, 0.0))})" if since else ""
        yield f"{total.held:,} wait to be sent{waited}."
        if shipper is None:
            yield "`crucible-trace ship` sends them; so does the next program that records here with an endpoint."
    if total.withheld:
        yield f"{total.withheld:,} stay on this disk alone, as CRUCIBLE_EXPORT_RANKS said."
        yield "`crucible-trace resend --withheld`, without that variable, sends them."
    if total.refused:
        yield f"The last refusal: {plain(found.said) or 'without a word'}"
        yield "`crucible-trace resend --refused` tries them again."


def _not_counted(found: "Accounting") -> Iterator[str]:
    """What lies in the directory apart from the spans that were counted."""
    from crucible_trace_otel.renderers.words import plain, plural  # noqa: PLC0415 - loaded when needed

    if found.damaged:
        yield f"{found.damaged} damaged {plural(found.damaged, 'record')} could not be read; they are in no count."
    if found.torn:
        yield (
            f"{found.torn} {plural(found.torn, 'file')} stopped within a record: "
            "normal where a process was killed, or is writing right now."
        )
    for sentence in found.unreadable:
        yield f"Not read: {plain(sentence)}."


def _document(found: "Accounting", shipper: Mapping[str, Any] | None) -> dict[str, Any]:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    total = found.total()
    return {
        "runs": [_values(run) for run in found.runs.values()],
        "total": _counts(total),
        "shipper_runs": shipper is not None,
        "shipper": None if shipper is None else dict(shipper),
        "has_destination": found.has_destination,
        "waiting_since_ns": total.waiting_since_ns or None,
        "last_refusal": plain(found.said) or None,
        "damaged": found.damaged,
        "torn": found.torn,
        "unreadable": [plain(sentence) for sentence in found.unreadable],
    }


def _values(run: "RunAccount") -> dict[str, Any]:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    named = {"name": plain(run.name), "run_id": plain(run.run_id), "trace_id": run.trace_id or None}
    waits = {"waiting_since_ns": run.waiting_since_ns or None, "last_refusal": plain(run.said) or None}
    return {**named, **_counts(run), **waits}


def _counts(run: "RunAccount") -> dict[str, int]:
    states = {"stored": run.stored, "sent": run.sent, "held": run.held, "refused": run.refused, "lost": run.lost}
    return {"recorded": run.recorded, **states, "withheld": run.withheld}
