"""`crucible-trace recover`: the ends of the runs whose process died, where nothing else has written them."""

import sys
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import click

from crucible_trace_otel.cli import reading
from crucible_trace_otel.errors import CrucibleError

if TYPE_CHECKING:
    from pathlib import Path

    from crucible_trace_otel.trace.spans import TraceSpan

__all__ = ["command"]


@click.command("recover")
@reading.journal
def command(path: str) -> None:
    """Close what killed processes have left open.

    What still runs is left alone. A shipper does so within two seconds by itself. Writes a line for each run that was
    closed.
    """
    from pathlib import Path  # noqa: PLC0415 - loaded when needed

    from crucible_trace_otel.journal.recovery import recover_dead  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.store import open_store  # noqa: PLC0415 - it loads protobuf

    directory = Path(path)
    try:
        with open_store(directory):
            closed = recover_dead(directory)
    except CrucibleError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    except OSError as error:
        click.echo(f"The ends of what was left open in {path} cannot be written: {error.strerror or error}.", err=True)
        sys.exit(2)
    for prefix in closed:
        for line in _told(_closed_of(directory, prefix)):
            reading.say(f"{line}\n")
    if not closed:
        click.echo(f"Nothing in {path} was left open by a process that died.", err=True)


def _closed_of(directory: "Path", prefix: str) -> "list[TraceSpan]":
    """The spans that were closed for a writer."""
    from crucible_trace_otel.journal.layout import recovered_of  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.journal.reader import read_segment  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.store.journal import decoded  # noqa: PLC0415 - it loads protobuf

    every = decoded(read_segment(recovered_of(directory, prefix)).spans)
    return [span for span in every if not span.operation.endswith("_interrupted")]


def _told(closed: "Sequence[TraceSpan]") -> Iterator[str]:
    """A line for each training run; where there was none, for each operation that no other of these encloses."""
    from crucible_trace_otel.renderers.words import number, plain  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.semconv import attributes as attr  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.semconv import spans as operations  # noqa: PLC0415 - loaded when needed

    ids = {span.span_id for span in closed}
    runs = [span for span in closed if span.operation == operations.TRAINING_RUN]
    for span in runs or [span for span in closed if span.parent_id not in ids]:
        step = span.attributes.get(attr.CRUCIBLE_TRAINING_STEP_INDEX)
        loss = span.attributes.get(attr.CRUCIBLE_TRAINING_LOSS_VALUE)
        came = [] if step is None else [f"at step {plain(step)}"]
        came += [] if loss is None else [f"loss {number(loss)}"]
        told = " ".join(["interrupted", ", ".join(came)]).strip()
        name = " ".join(filter(None, (plain(span.operation), plain(span.about))))
        yield f"{name}: {told}; last seen {plain(span.attributes.get(attr.CRUCIBLE_RUN_LAST_SEEN, '?'))}"
