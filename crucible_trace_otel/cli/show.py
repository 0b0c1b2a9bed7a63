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
@click.option("--follow", is_flag=True, help="Say what happens in a run that still goes on, until it has ended.")
@reading.journals
@reading.as_json
@reading.reading
def command(
    store: "JournalStore", *, run: str, show_all: bool, metric: str | None, follow: bool, as_json: bool
) -> None:
    """Show RUN at a glance.

    Its tree, its plan beside what ran, the causes behind its model, its loss, epochs, abnormal steps and checkpoints.

    The curve is that of `loss`, or else of the first number named like a loss, or else of the first one. With
    --follow: epochs, validations, checkpoints and abnormal steps as they come, and the last step each second; the exit
    code is 0 when the run has completed, 1 when it has ended otherwise or Ctrl-C was pressed.
    """
    if follow:
        if as_json or show_all or metric is not None:
            raise click.UsageError("--follow takes none of --all, --json and --metric.")
        if len(store.paths) > 1:
            raise click.UsageError("--follow reads one journal.")
        from crucible_trace_otel.cli.follow import follow as follow_run  # noqa: PLC0415 - loaded when needed

        sys.exit(0 if follow_run(store, run, is_ascii=reading.draws_only_ascii()) else 1)
    from rich.console import Console  # noqa: PLC0415 - loaded when needed
    from rich.text import Text  # noqa: PLC0415 - loaded when needed

    from crucible_trace_otel.cli.glance import document, sections  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.tree import in_ascii  # noqa: PLC0415 - loaded when needed

    traces = store.traces()
    trace = store.get(run, traces)
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
