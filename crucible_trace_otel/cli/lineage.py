"""`crucible-trace lineage`: where a model comes from, and what became of it, across journals."""

import json
from typing import TYPE_CHECKING

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore

__all__ = ["command"]


@click.command("lineage")
@click.argument("subject")
@reading.journals
@reading.as_json
@reading.reading
def command(store: "JournalStore", *, subject: str, as_json: bool) -> None:
    """Tell where SUBJECT comes from and what became of it.

    From data sets and decisions over runs, checkpoints and models to deployments and feedback.

    SUBJECT is a deployment, a model, the path of a model or checkpoint, at least 8 digits of a SHA-256, a run's name or
    id, or a trace id; `name@version` is one version of a model, `name@environment` a deployment in one environment.
    `deployment:`, `model:`, `file:`, `run:`, `pipeline:` or `sha256:` in front says which of them.
    """
    from crucible_trace_otel.renderers.story import document, lines  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.tree import in_ascii  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.trace.lineage import lineage  # noqa: PLC0415 - loaded when needed

    found = lineage(store.traces(), subject)
    text = json.dumps(document(found), indent=2) if as_json else "\n".join(lines(found))
    reading.say((in_ascii(text) if reading.draws_only_ascii() else text) + "\n")
    reading.say_gaps(store)
