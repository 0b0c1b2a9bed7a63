"""Who sends what the journal holds: a process that outlives this one, or a thread; and what was acknowledged."""

import importlib.util
import os
import ssl
import time
from collections import deque
from contextlib import suppress
from multiprocessing import parent_process
from pathlib import Path

from opentelemetry.util.re import parse_env_headers

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.acks import Acks
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.sdk._settings import Settings
from crucible_trace_otel.sdk._variables import otlp, switch, variable
from crucible_trace_otel.ship.claim import Claim
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.launch import start_process
from crucible_trace_otel.ship.lease import NEXT, holder_of
from crucible_trace_otel.ship.telling import state_of
from crucible_trace_otel.ship.thread import ShipperThread

__all__ = ["Shipping", "destination"]

_POLL_S = 0.01
_AGAIN_S = 5.0
_STARTING_S = 2.0
_BRIEFLY_S = 0.12


def destination(settings: Settings) -> Destination:
    """Where, and how, what is recorded under `settings` is sent."""
    address = settings.endpoint or ""
    if settings.protocol == "grpc" and "://" not in address:
        plain = variable(otlp("INSECURE"), switch, default=False)
        address = f"{'http' if plain else 'https'}://{address}"
    headers = dict(settings.headers or {})
    if settings.headers is None:
        headers.update(parse_env_headers(os.environ.get(otlp("HEADERS"), ""), liberal=True))
    certificate, client_key, client_certificate = settings.certificates
    return Destination(
        endpoint=address,
        protocol=settings.protocol,
        headers=headers,
        timeout_s=settings.timeout_s,
        compression=settings.compression or "none",
        certificate=certificate or _bundled_authorities(),
        client_key=client_key,
        client_certificate=client_certificate,
        text_limit=settings.text_limit,
        ranks=settings.export_ranks,
        paths=_folders_of("grpc") if settings.protocol == "grpc" else (),
    )


def _bundled_authorities() -> str | None:
    """The authorities that `certifi` brings, on a system that has none of its own."""
    known = ssl.get_default_verify_paths()
    if known.cafile or (known.capath and any(Path(known.capath).iterdir())):
        return None
    with suppress(Exception):
        from certifi import where  # noqa: PLC0415 - a dependency of a dependency, wanted on few systems

        return where()
    return None


def _folders_of(package: str) -> tuple[str, ...]:
    """Where `package` is installed, without importing it."""
    found = importlib.util.find_spec(package)
    return (str(Path(found.origin).parents[1]),) if found is not None and found.origin else ()


class Shipping:
    """Has the journal of this process sent.

    Args:
        journal: What it is recorded by.
        settings: Where it is sent; they name an endpoint.
    """

    def __init__(self, journal: JournalSpanProcessor, settings: Settings) -> None:
        self._journal = journal
        self._settings = settings
        self._directory = journal.writer.segments.directory
        self._destination = destination(settings)
        is_worker = parent_process() is not None  # it repeats the settings of its program, which are no newer
        self._claim = Claim(self._destination, 0 if is_worker else time.monotonic_ns())
        self.endpoint = self._destination.shown
        self._acks: dict[Path, Acks] = {}
        self._thread: ShipperThread | None = None
        self._mode = settings.ship
        self._looked = 0.0
        self._started = float("-inf")
        self._marks: deque[tuple[Path, int]] = deque(maxlen=2)
        self._ensure()
        journal.writer.segments.opened = self._begun
        journal.ticker.add(self._look)

    def wait(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds until everything stored before the call was sent or refused; whether it was."""
        until = time.monotonic() + timeout
        while self._journal.waiting and time.monotonic() < until:  # the disk does not take it: it is in no segment
            time.sleep(_POLL_S)
        is_stored = not self._journal.waiting
        newest, size = self._journal.writer.segments.position()
        waited_for = set(self._journal.writer.segments.paths)
        while True:
            waited_for -= {path for path in waited_for if self._is_settled(path, size if path == newest else None)}
            left = until - time.monotonic()
            if not waited_for or left <= 0:
                return is_stored and not waited_for
            time.sleep(min(_POLL_S, left))

    @property
    def sent(self) -> int:
        """Spans of this process that the collector took so far."""
        return sum(acks.sent for acks in self._acks_now())

    @property
    def refused(self) -> int:
        """Spans of this process that the collector turned down."""
        return sum(acks.refused for acks in self._acks_now())

    @property
    def withheld(self) -> int:
        """Spans of this process that are not to be sent."""
        return sum(acks.withheld for acks in self._acks_now())

    @property
    def backlog(self) -> int:
        """Bytes in the segments of this process that are still to be sent."""
        waiting = 0
        for acks in self._acks_now():
            with suppress(OSError):  # a segment that was sent and deleted
                waiting += max(0, acks.segment.stat().st_size - acks.settled_to())
        return waiting

    @property
    def trouble(self) -> str | None:
        """Why what is not sent waits; None where that is not known to be any trouble.

        What was stored more than a second ago and is not sent is trouble; that of who sends elsewhere, and has to
        leave, is none of what waits here.
        """
        state = None if self._claim.outranks(holder_of(self._directory)) else state_of(self._directory)
        said = state.said if state else ""
        if said or self._thread is not None:
            return said
        return "" if len(self._marks) > 1 and not self._is_settled(*self._marks[0]) else None

    @property
    def prospect(self) -> str:
        """What is going to happen with what waits."""
        by_hand = "`crucible-trace ship` sends them"
        if self._mode != "process":
            return by_hand
        return f"another process goes on trying for {self._settings.linger_s:g} s, later {by_hand}"

    def end(self, timeout: float) -> bool:
        """This process records no more: wait as long as its end may, and let go."""
        self._ensure()
        if self._thread is not None:
            is_done = self.wait(timeout)
            self._thread.stop(timeout=_BRIEFLY_S)
            return is_done
        # The first process of a container takes all others with it.
        ends_with_us = 1 in (os.getpid(), os.getppid())
        return self.wait(min(timeout, self._settings.exit_wait_s) if ends_with_us else min(timeout, _BRIEFLY_S))

    def _is_settled(self, segment: Path, size: int | None) -> bool:
        """Whether a segment of ours is sent up to `size`, or whole."""
        acks = self._acks.setdefault(segment, Acks(segment))
        acks.load()
        try:
            return acks.settled_to() >= (segment.stat().st_size if size is None else size)
        except OSError:  # deleted: nothing of it is left to send
            return True

    def _acks_now(self) -> list[Acks]:
        found = [self._acks.setdefault(path, Acks(path)) for path in list(self._journal.writer.segments.paths)]
        for acks in found:
            acks.load()
        return found

    def _begun(self) -> None:
        """A segment was opened: by a program that begins to record, or by a forked child."""
        self._looked = 0.0
        self._journal.ticker.at_once()

    def _look(self) -> None:
        """Each second: see that somebody sends, every few seconds."""
        position = self._journal.writer.segments.position()
        if position[1]:  # something was stored
            self._marks.append(position)
        now = time.monotonic()
        if now - self._looked >= _AGAIN_S:
            self._looked = now
            self._ensure()

    def _ensure(self) -> None:
        """Have somebody send, unless somebody does. Never raises: the journal keeps what nobody sends."""
        with suppress(Exception):
            self._have_somebody_send()

    def _have_somebody_send(self) -> None:
        if self._mode == "off" or (self._somebody_sends() and self._mode == "process"):
            return
        if self._mode == "process" and not self._starts_process():
            self._mode = "thread"
        if self._mode == "thread" and (self._thread is None or not self._thread.is_alive()):
            self._thread = ShipperThread(
                self._directory,
                self._destination,
                limit_bytes=self._settings.limit_bytes,
                since=self._claim.since,
            )

    def _somebody_sends(self) -> bool:
        """Whether somebody sends from this directory, or is about to, who need not leave; says who has to."""
        holder = holder_of(self._directory)
        there = str(holder.get("to"))
        there = f"{there} with other settings" if there == self.endpoint else there
        if self._claim.gives_way_to(holder):
            warn_once(
                f"elsewhere {self._directory} {there}",
                f"What is recorded in {self._directory} is sent to {there}, no longer to {self.endpoint}: a program "
                "that was configured later says so. Programs that send to different places need a journal each.",
            )
        elif self._claim.outranks(holder):
            warn_once(
                f"here {self._directory} {there}",
                f"What is recorded in {self._directory} was sent to {there}, as a program before this one said; "
                f"all of it is sent to {self.endpoint} from now on.",
            )
        somebody = (holder, holder_of(self._directory, name=NEXT))
        return any(each and not self._claim.outranks(each) for each in somebody)

    def _starts_process(self) -> bool:
        now = time.monotonic()
        if now - self._started < _STARTING_S:  # by this process, or by the one it was forked from
            return True
        self._started = now
        if start_process(
            self._directory,
            self._destination,
            linger_s=self._settings.linger_s,
            limit_bytes=self._settings.limit_bytes,
            since=self._claim.since,
        ):
            return True
        warn_once(
            "shipper", "No process can be started here to send what is recorded: a thread of this process sends it."
        )
        return False
