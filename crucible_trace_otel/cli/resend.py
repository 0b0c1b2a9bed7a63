"""`crucible-trace resend`: have refused spans sent again, after what the collector disliked is mended."""

import sys
from pathlib import Path

import click

from crucible_trace_otel.cli import reading
from crucible_trace_otel.cli.ship import send, settings_of
from crucible_trace_otel.errors import CrucibleError

__all__ = ["command"]

_TIMEOUT_S = 60.0


@click.command("resend")
@click.argument("run", default=None, required=False, metavar="[RUN]")
@click.option("--refused", is_flag=True, required=True, help="What the collector turned down.")
@reading.journal
def command(path: str, *, run: str | None, refused: bool) -> None:
    """Have what the collector refused sent again.

    Of RUN (a name, a run id or a trace id), or of all runs. A shipper that runs takes it up. Where none does, it is
    sent at once to OTEL_EXPORTER_OTLP_ENDPOINT, if that is set.
    """
    from crucible_trace_otel.journal.accounting import resend  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.words import plural  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.ship.lease import is_held  # noqa: PLC0415 - loaded when needed

    directory = Path(path)
    try:
        count = resend(directory, refused=refused, run=run)
        if not count:
            click.echo(f"Nothing{'' if run is None else f' of {run!r}'} in {path} was refused.", err=True)
            sys.exit(1)
        reading.say(f"{count:,} refused {plural(count, 'span')} will be sent again.\n")
        if is_held(directory):
            reading.say("The shipper that runs does it.\n")
            return
        settings = settings_of(path)
        if settings.endpoint is None:
            reading.say(
                "`crucible-trace ship --endpoint URL` does it; so does the next program that records and sends.\n"
            )
            return
        is_sent = send(directory, settings, timeout_s=_TIMEOUT_S)
    except CrucibleError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    sys.exit(0 if is_sent else 1)
