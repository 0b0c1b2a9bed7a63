"""`crucible-trace show`: a run at a glance: the tree, why its model exists, its loss, its validations."""

import json
import sys
from typing import TYPE_CHECKING

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore

__all__ = ["command"]


@click.command("show")
@reading.run
@click.option("--all", "show_all", is_flag=True, help="Show every one of many equal operations.")
@click.option("--metric", metavar="NAME", help="The number of the steps to draw, instead of the loss.")
@reading.journal
@reading.as_json
@reading.reading
def command(store: "JournalStore", *, run: str, show_all: bool, metric: str | None, as_json: bool) -> None:
    """Show RUN: its tree, the causes behind its model, its loss and its validations.

    The curve is that of `loss`, or else of the first number named like a loss, or else of the first one.
    """
    from rich.console import Console  # noqa: PLC0415 - loaded when needed
    from rich.text import Text  # noqa: PLC0415 - loaded when needed

    from crucible_trace_otel.cli.glance import document, sections  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.tree import in_ascii  # noqa: PLC0415 - loaded when needed

    trace = store.get(run)
    traces = store.traces()
    if as_json:
        reading.say(json.dumps(document(store, traces, trace), indent=2) + "\n")
        return
    is_ascii = reading.draws_only_ascii()
    # Lines are wrapped by the terminal, so that a narrow one loses nothing and a pipe gets them whole.
    console = Console(file=sys.stdout, highlight=False, soft_wrap=True, markup=False, emoji=False)
    told = sections(store, traces, trace, metric, show_all=show_all, is_ascii=is_ascii)
    for number, lines in enumerate(told):
        for line in [*([Text()] if number else []), *lines]:
            console.print(Text(in_ascii(line.plain)) if is_ascii else line)
