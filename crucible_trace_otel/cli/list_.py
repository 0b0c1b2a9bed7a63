"""`crucible-trace list`: every recorded run, the newest last."""

import json
import shutil
import sys
from typing import TYPE_CHECKING, Final

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore

__all__ = ["command"]

_HEADER: Final = ("NAME", "RUN", "STARTED", "TOOK", "SPANS", "STATE")


@click.command("list")
@click.option("--all", "show_all", is_flag=True, help="Every trace, also those that are no runs.")
@reading.journals
@reading.as_json
@reading.reading
def command(store: "JournalStore", *, show_all: bool, as_json: bool) -> None:
    """List the recorded runs, the newest last.

    Traces of single inferences and of feedback are counted instead, where there are others; those that hold spans of
    other instrumentations only are left out. --all lists them too.
    """
    from crucible_trace_otel.cli.aligned import aligned  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.cli.summary import summarise  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.words import plural  # noqa: PLC0415 - loaded when needed

    traces = store.traces()
    ours = [trace for trace in traces if trace.is_ours]
    runs = [trace for trace in ours if not trace.is_aside] or ours
    summaries = [summarise(trace) for trace in (traces if show_all else runs)]
    if as_json:
        reading.say(json.dumps([summary.values() for summary in summaries], indent=2) + "\n")
    elif summaries:
        rows = [_HEADER, *(summary.row() for summary in summaries)]
        reading.say("".join(f"{line}\n" for line in aligned(rows, _room())))
    elif traces:
        click.echo(f"{store.where} holds only spans of other instrumentations: --all lists their traces.", err=True)
    else:
        click.echo(f"{store.where} holds no operation yet.", err=True)
    if len(runs) < len(ours) and not show_all:
        aside = len(ours) - len(runs)
        click.echo(f"{aside:,} {plural(aside, 'trace')} of single inferences and feedback: --all lists them.", err=True)
    reading.say_gaps(store)
    if not summaries:
        sys.exit(1)


def _room() -> int | None:
    """How many columns the terminal has; None where the output goes elsewhere."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None
