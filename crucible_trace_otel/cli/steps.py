"""`crucible-trace steps`: every recorded step of a run, as CSV, JSON lines or a file for numpy."""

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

import click

from crucible_trace_otel.cli import reading

if TYPE_CHECKING:
    from crucible_trace_otel.store import JournalStore
    from crucible_trace_otel.trace.steps import StepRows

__all__ = ["command"]

_AT_ONCE = 1_000


@click.command("steps")
@reading.run
@click.option("--gradients", is_flag=True, help="The recorded gradients instead of the steps.")
@click.option("--rewards", is_flag=True, help="The rewards of episodes instead of the steps.")
@click.option("--latest", is_flag=True, help="Without what a later attempt at the run did again.")
@reading.journals
@click.option("--csv", "as_csv", is_flag=True, help="Write CSV with a header: what it does by default.")
@reading.as_json
@click.option("--npz", metavar="FILE", help="Write an array a column to FILE, for numpy.load().")
@reading.reading
def command(
    store: "JournalStore",
    *,
    run: str,
    gradients: bool,
    rewards: bool,
    latest: bool,
    as_csv: bool,
    as_json: bool,
    npz: str | None,
) -> None:
    """Write every step of RUN as CSV, as JSON or for numpy.

    CSV has a header; --json writes one JSON object a line. The steps of several training runs follow each other, in
    order of their start. A step lacks what was not recorded with it: an empty cell, an absent key. What JSON has no
    number for is text there: "NaN", "Infinity", "-Infinity"; in CSV it is nan, inf, -inf.
    """
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.semconv import events  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.trace.steps import step_rows  # noqa: PLC0415 - loaded when needed

    if as_csv + as_json + (npz is not None) > 1:
        raise click.UsageError("Take one of --csv, --json and --npz.")
    if gradients and rewards:
        raise click.UsageError("Take one of --gradients and --rewards.")
    wanted = "gradients" if gradients else "rewards" if rewards else "steps"
    names = {"gradients": events.GRADIENT_COMPUTED, "rewards": events.REWARD_RECEIVED, "steps": events.STEPS_RECORDED}
    trace = store.get(run)
    steps = step_rows(trace, names[wanted])
    steps = steps.latest() if latest else steps
    if npz is not None and len(steps):
        _write(steps, npz)
    elif npz is None:
        _say(_json_lines(steps) if as_json else _csv_lines(steps))
    if steps.missing:
        click.echo(f"Windows without their packed steps: {steps.missing}; only their statistics are left.", err=True)
    reading.say_gaps(store)
    if not len(steps):
        click.echo(f"{plain(trace.name)} has no recorded {wanted}.", err=True)
        sys.exit(1)


def _write(steps: "StepRows", npz: str) -> None:
    try:
        steps.to_npz(npz)
    except OSError as error:
        click.echo(f"{npz} cannot be written: {error.strerror or error}.", err=True)
        sys.exit(2)


def _say(lines: Iterator[str]) -> None:
    """Write `lines`, many at once: to say one takes longer than to make it."""
    while said := "".join(islice(lines, _AT_ONCE)):
        reading.say(said)


def _csv_lines(steps: "StepRows") -> Iterator[str]:
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    # A file gets texts as they are; a terminal must not obey what they hold.
    return steps.csv_lines(plain if sys.stdout.isatty() else str)


def _json_lines(steps: "StepRows") -> Iterator[str]:
    from crucible_trace_otel.renderers.nested import json_value  # noqa: PLC0415 - loaded when needed

    for row in steps.rows:
        try:
            said = json.dumps(row, allow_nan=False)
        except (TypeError, ValueError):  # what JSON lacks, which most rows do not hold
            said = json.dumps(json_value(row), allow_nan=False)
        yield said + "\n"
