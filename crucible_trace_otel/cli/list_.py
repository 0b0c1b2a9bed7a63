"""`crucible-trace list`: every recorded run, the newest last."""

import json
import shutil
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore

__all__ = ["command"]

_HEADER: Final = ("NAME", "RUN", "STARTED", "TOOK", "SPANS", "STATE")
_NARROWEST_NAME: Final = 12


@click.command("list")
@click.option("--all", "show_all", is_flag=True, help="Also traces that hold spans of other instrumentations only.")
@reading.journal
@reading.as_json
@reading.reading
def command(store: "JournalStore", *, show_all: bool, as_json: bool) -> None:
    """List the recorded runs, the newest last."""
    from crucible_trace_otel.cli.summary import summarise  # noqa: PLC0415 - loaded when needed

    traces = store.traces()
    summaries = [summarise(trace) for trace in traces if show_all or trace.is_ours]
    if as_json:
        reading.say(json.dumps([summary.values() for summary in summaries], indent=2) + "\n")
    elif summaries:
        reading.say(_table([_HEADER, *(summary.row() for summary in summaries)], _room()))
    elif traces:
        click.echo(f"{store.path} holds only spans of other instrumentations: --all lists their traces.", err=True)
    else:
        click.echo(f"{store.path} holds no operation yet.", err=True)
    reading.say_gaps(store)
    if not summaries:
        sys.exit(1)


def _room() -> int | None:
    """How many columns the terminal has; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def _table(rows: Sequence[tuple[str, ...]], room: int | None) -> str:
    """`rows` in columns; on a narrow terminal the names are cut, and lines break only when that is not enough."""
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - loaded when needed

    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    if room is not None:
        too_much = sum(widths) + 2 * (len(widths) - 1) - room
        widths[0] = max(min(widths[0], _NARROWEST_NAME), widths[0] - max(too_much, 0))
    lines = ["  ".join(set_cell_size(cell, width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "".join(f"{line.rstrip()}\n" for line in lines)
