"""`crucible-trace steps`: every recorded step of a run, as CSV or JSON lines."""

import csv
import io
import json
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore
    from crucible_trace_otel.trace.steps import StepRows

__all__ = ["command"]


@click.command("steps")
@reading.run
@click.option("--gradients", is_flag=True, help="The recorded gradients instead of the steps.")
@reading.journal
@reading.as_json
@reading.reading
def command(store: "JournalStore", *, run: str, gradients: bool, as_json: bool) -> None:
    """Write every step of RUN as CSV with a header, or with --json as one JSON object a line.

    The steps of several training runs follow each other, in order of their start. A step lacks what was not recorded
    with it: an empty cell, an absent key. What JSON has no number for is text there: "NaN", "Infinity", "-Infinity";
    in CSV it is nan, inf, -inf.
    """
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.semconv import events  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.trace.steps import step_rows  # noqa: PLC0415 - loaded when needed

    trace = store.get(run)
    steps = step_rows(trace, events.GRADIENT_COMPUTED if gradients else events.STEPS_RECORDED)
    for line in _json_lines(steps) if as_json else _csv_lines(steps):
        reading.say(line)
    if steps.missing:
        click.echo(f"Windows without their packed steps: {steps.missing}; only their statistics are left.", err=True)
    reading.say_gaps(store)
    if not steps.rows:
        click.echo(f"{plain(trace.name)} has no recorded {'gradients' if gradients else 'steps'}.", err=True)
        sys.exit(1)


def _csv_lines(steps: "StepRows") -> Iterator[str]:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    if not steps.rows:
        return
    # A file gets texts as they are; a terminal must not obey what they hold.
    text = plain if sys.stdout.isatty() else str
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    for cells in (list(steps.columns), *([_cell(row.get(name)) for name in steps.columns] for row in steps.rows)):
        writer.writerow([_without_formula(text(cell)) if isinstance(cell, str) else cell for cell in cells])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()


def _without_formula(text: str) -> str:
    """A text that begins like a formula would be run by the spreadsheet that opens the file."""
    return f"'{text}" if text[:1] in set("=+-@\t\r") else text


def _cell(value: Any) -> Any:
    """Numbers and texts as they are, nothing for nothing, anything else as JSON."""
    return value if isinstance(value, (int, float, str)) or value is None else json.dumps(value)


def _json_lines(steps: "StepRows") -> Iterator[str]:
    from crucible_trace_otel.renderers.nested import json_value  # noqa: PLC0415 - loaded when needed

    for row in steps.rows:
        yield json.dumps(json_value(row), allow_nan=False) + "\n"
