"""`crucible-trace render`: a run in one of the formats of `render()`."""

from typing import TYPE_CHECKING, Final

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore

__all__ = ["command"]

_FORMATS: Final = ("tree", "mermaid", "mermaid-flowchart", "json", "otlp-json")


@click.command("render")
@reading.run
@click.option(
    "--format", "form", type=click.Choice(_FORMATS), default="tree", show_default=True, help="How to show it."
)
@click.option("--all", "show_all", is_flag=True, help="Fold nothing in a tree.")
@reading.journals
@reading.as_json
@reading.reading
def command(store: "JournalStore", *, run: str, form: str, show_all: bool, as_json: bool) -> None:
    """Write RUN as a tree, as a diagram, or for other tools.

    --json is short for --format json.
    """
    from crucible_trace_otel.renderers import render  # noqa: PLC0415 - loaded when needed

    trace = store.get(run)
    reading.say(render(trace, "json" if as_json else form, all=show_all, ascii=reading.draws_only_ascii()))
    reading.say_gaps(store)
