"""`crucible-trace ship`: send what the journal holds, by hand or from cron."""

import math
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from crucible_trace_otel.cli import reading
from crucible_trace_otel.errors import ConfigurationError, CrucibleError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from crucible_trace_otel.sdk._settings import Settings
    from crucible_trace_otel.ship.claim import Claim

__all__ = ["command", "send", "settings_of"]

_PAUSE_S = 1.0
_TIMEOUT_S = 60.0


@click.command("ship")
@reading.journal
@click.option("--follow", is_flag=True, help="Go on until interrupted, also while programs record.")
@click.option("--endpoint", metavar="URL", help="Of the collector; by default that of OTEL_EXPORTER_OTLP_ENDPOINT.")
@click.option("--protocol", type=click.Choice(("http/protobuf", "grpc")), help="How to speak to it.")
@click.option("--header", "headers", multiple=True, metavar="NAME=VALUE", help="To send along; may be repeated.")
@click.option("--timeout", default=_TIMEOUT_S, show_default=True, metavar="SECONDS", help="How long to try.")
def command(
    path: str, *, follow: bool, endpoint: str | None, protocol: str | None, headers: tuple[str, ...], timeout: float
) -> None:
    """Send what the journal holds and nobody has sent.

    The OTEL_EXPORTER_OTLP_* variables count where an option is left out. A secret belongs in one of them, since others
    can see a program's arguments. Exit code 0: all is sent; 1: something is held or refused, or another shipper is at
    work; 2: an error.
    """
    try:
        settings = settings_of(path, endpoint, protocol, headers)
        if settings.endpoint is None:
            raise ConfigurationError("Where to? Give --endpoint URL, or set OTEL_EXPORTER_OTLP_ENDPOINT.")
        is_sent = send(Path(path), settings, timeout_s=timeout, follow=follow)
    except CrucibleError as error:
        click.echo(str(error), err=True)
        sys.exit(2)
    sys.exit(0 if is_sent else 1)


def settings_of(
    path: str, endpoint: str | None = None, protocol: str | None = None, headers: tuple[str, ...] = ()
) -> "Settings":
    """How to send what is in the journal at `path`, by what is given and by the environment.

    Raises:
        StoreError: There is no journal.
        ConfigurationError: What is given cannot be used.
    """
    from crucible_trace_otel.journal.reader import no_journal_at  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.sdk._settings import read_settings  # noqa: PLC0415 - it loads the SDK

    if not Path(path).is_dir():
        raise no_journal_at(Path(path))
    pairs = [header.partition("=") for header in headers]
    if not all(equals for _, equals, _ in pairs):
        raise ConfigurationError("A --header must be NAME=VALUE.")
    return read_settings(
        service_name=None,
        resource_attributes=None,
        journal=path,
        endpoint=endpoint,
        protocol=protocol,
        headers={name.strip(): value.strip() for name, _, value in pairs} or None,
        console=False,
        ship="off",
    )


def send(directory: Path, settings: "Settings", *, timeout_s: float, follow: bool = False) -> bool:
    """Send what is there and say what became of it; whether all of it is sent. `settings` name an endpoint.

    Raises:
        StoreError: The journal cannot be read.
    """
    from crucible_trace_otel.journal.accounting import examine  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.sdk._shipping import destination  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.ship.claim import Claim  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.ship.lease import holder_of  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.ship.loop import Shipper  # noqa: PLC0415 - loaded when needed

    shipper = Shipper(directory, destination(settings), limit_bytes=settings.limit_bytes)
    before = _taken(directory)
    holder = holder_of(directory)
    if holder:
        click.echo(_who_sends(holder, Claim(destination(settings)), follow=follow), err=True)
        if not follow:
            return False
    try:
        shipper.run(threading.Event(), until=math.inf if follow else time.monotonic() + timeout_s)
        while follow:  # nobody records now, or another shipper is at work
            time.sleep(_PAUSE_S)
            shipper.run(threading.Event())
    except KeyboardInterrupt:
        click.echo("Interrupted; what is not sent stays in the journal.", err=True)
    found = examine(directory)
    total = found.total()
    sent = max(_taken(directory) - before, 0)
    reading.say(
        f"Sent {sent:,} to {plain(destination(settings).shown)}; held {total.held:,}, refused {total.refused:,}.\n"
    )
    if total.refused:
        click.echo(f"The last refusal: {plain(found.said) or 'without a word'}", err=True)
    return not total.held and not total.refused


def _who_sends(holder: "Mapping[str, Any]", claim: "Claim", *, follow: bool) -> str:
    """Who sends from here already, where to, and what to do about it."""
    from crucible_trace_otel.renderers.words import plain  # noqa: PLC0415 - loaded when needed

    place = f", to {plain(str(holder['to']))}" if "to" in holder else ""
    who = f"Process {plain(str(holder.get('pid')))} of this machine sends from here already{place}"
    if follow:
        return f"{who}; this one goes on when that has ended."
    if not place or claim.is_the_same(holder):
        return f"{who}. `crucible-trace status` says how far it is."
    here = plain(claim.destination.shown)
    here = f"{here} and these settings" if holder["to"] == claim.destination.shown else here
    return (
        f"{who}. A program that is configured with {here} takes over when it starts; "
        f"or end that process (`kill {plain(str(holder.get('pid')))}`) and repeat this."
    )


def _taken(directory: Path) -> int:
    """Spans of the journal that the collector has taken so far."""
    from crucible_trace_otel.journal.acks import Acks  # noqa: PLC0415 - loaded when needed
    from crucible_trace_otel.journal.reader import segments_in  # noqa: PLC0415

    sent = 0
    for segment in segments_in(directory):
        acks = Acks(segment)
        acks.load()
        sent += acks.sent
    return sent
