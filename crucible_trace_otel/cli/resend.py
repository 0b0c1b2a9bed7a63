"""`crucible-trace resend`: have spans sent again that were refused, or after all that were withheld."""

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
@click.option("--refused", is_flag=True, help="What the collector turned down.")
@click.option("--withheld", is_flag=True, help="What CRUCIBLE_EXPORT_RANKS withheld; unset that first.")
@reading.journal
def command(path: str, *, run: str | None, refused: bool, withheld: bool) -> None:
    """Have spans sent that were refused, or were withheld.

    With --refused again what the collector turned down, with --withheld after all what CRUCIBLE_EXPORT_RANKS kept on
    this disk; of RUN (a name, a run id or a trace id), or of all runs. A shipper that runs takes it up. Where none
    does, it is sent at once to OTEL_EXPORTER_OTLP_ENDPOINT, if that is set.
    """
    from crucible_trace_otel.journal.accounting import resend  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.journal.records import AckState  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.words import plural  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.ship.lease import is_held  # noqa: PLC0415 - loaded when needed

    meant = {AckState.REFUSED: refused, AckState.WITHHELD: withheld}
    states = [state for state, is_meant in meant.items() if is_meant]
    if not states:
        raise click.UsageError("Say which: --refused, --withheld, or both.")
    directory, named = Path(path), " or ".join(state.name.lower() for state in states)
    try:
        count = resend(directory, states, run=run)
        if not count:
            click.echo(f"Nothing{'' if run is None else f' of {run!r}'} in {path} was {named}.", err=True)
            sys.exit(1)
        reading.say(f"{count:,} {named} {plural(count, 'span')} will be sent{' again' if refused else ''}.\n")
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
