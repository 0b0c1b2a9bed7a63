"""Sends what a journal holds until it is all settled: the one loop of the shipper's process, thread and command.

Its state is what the directory holds, segments and acks; a shipper that is killed is continued by the next one.
"""

import math
import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from errno import ENOENT
from pathlib import Path
from typing import Any

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.limit import LIMIT_BYTES
from crucible_trace_otel.journal.reader import segments_in
from crucible_trace_otel.journal.records import AckState
from crucible_trace_otel.ship.answers import LONGEST_WAIT_S, Answer, Outcome
from crucible_trace_otel.ship.batches import LARGEST_REQUEST, Piece, batches, deliver
from crucible_trace_otel.ship.claim import Claim
from crucible_trace_otel.ship.destination import Destination, transport
from crucible_trace_otel.ship.following import Following
from crucible_trace_otel.ship.lease import Lease
from crucible_trace_otel.ship.log import ShipperLog, place_of
from crucible_trace_otel.ship.ranks import RankChoice
from crucible_trace_otel.ship.reduction import with_short_text
from crucible_trace_otel.ship.telling import Telling
from crucible_trace_otel.ship.watch import Seen, Watch

__all__ = ["LIMIT_BYTES", "LINGER_S", "Pace", "Shipper", "ship_once"]

LINGER_S = 600.0
"""How long what cannot be sent is tried after the last writer has gone."""

_WORTH_A_REQUEST = 256 << 10
_COALESCE_S = 0.2
_FIRST_S = 0.05
_BUSY_S, _IDLE_S = 0.05, 0.2
_SECOND_S = 1.0
_FIRST_LOOK_S = 10.0


class Pace:
    """When the next request may go out; times are on the monotonic clock."""

    RETRY_S = 1.0, 60.0
    PAUSE_S = 60.0, 3600.0

    def __init__(self) -> None:
        self.next_at = 0.0
        self.troubles = 0
        """Failures in a row."""
        self._kind: Outcome | None = None

    @property
    def is_paused(self) -> bool:
        """Whether the last answer was that of a wrong destination."""
        return self._kind is Outcome.PAUSED

    def heard(self, answer: Answer, now: float) -> None:
        """Take in an answer: a failure doubles the wait, from 1 s to 60 s, from 60 s to an hour where it pauses."""
        if answer.outcome not in (Outcome.RETRY, Outcome.PAUSED):
            self.troubles, self._kind, self.next_at = 0, None, now
            return
        self.troubles = self.troubles + 1 if answer.outcome is self._kind else 1
        self._kind = answer.outcome
        first, longest = self.PAUSE_S if answer.outcome is Outcome.PAUSED else self.RETRY_S
        if answer.retry_after_s is not None:
            wait = min(answer.retry_after_s, LONGEST_WAIT_S) * (1 + _chance() / 10)
        else:
            wait = min(first * 2 ** min(self.troubles - 1, 20), longest) * (1 - _chance() / 4)
        self.next_at = now + min(wait, LONGEST_WAIT_S)


def _chance() -> float:
    """A number from 0 to 1, so that many who fail together do not come again together."""
    return os.urandom(1)[0] / 255


class Shipper:
    """Sends what the processes of this host write to `directory`, each span until it is taken or refused for good.

    Args:
        directory: Of the journal.
        destination: Where to.
        linger_s: How long it goes on trying once no writer lives and something is left.
        limit_bytes: What the journal may take on disk.
        owner: `liveness.identity()` of who asked for it: as good as a writer while that process lives.
        since: When the program was configured that sends there, nanoseconds on the monotonic clock: who sends elsewhere
            by an older configuration is asked to leave. By 0 nobody is.
    """

    def __init__(
        self,
        directory: Path,
        destination: Destination,
        *,
        linger_s: float = LINGER_S,
        limit_bytes: int = LIMIT_BYTES,
        owner: Mapping[str, Any] | None = None,
        since: int = 0,
    ) -> None:
        self.directory = Path(directory).absolute()
        self.log = ShipperLog(self.directory, _secrets_of(destination))
        self.pace = Pace()
        self._telling = Telling(self.directory, destination.shown, self.log)
        self._linger_s = linger_s
        self._limit_bytes = limit_bytes
        self._owner = owner
        self._claim = Claim(destination, since)
        self._transport = transport(destination)
        self._text_limit = destination.text_limit
        self._ranks = RankChoice(destination.ranks)
        self._following: dict[Path, Following] = {}
        self._wake = threading.Event()
        self._turn = 0

    def run(self, stop: threading.Event, *, until: float = math.inf, patience_s: float = 0.2) -> bool:
        """Send until nothing is left to do; whether the lease was to be had. Never raises.

        Args:
            stop: Ends it, after the request that is under way.
            until: When, on the monotonic clock, to leave what could not be sent; it leaves then, or before when all is
                settled or the destination is paused, whatever writers do.
            patience_s: How long to try for the lease.
        """
        lease, has_had = None, False
        try:
            lease = Lease(self.directory, claim=self._claim)
            while lease.take(patience_s, stop):
                has_had = True
                is_done = self._hold(lease, stop, until)
                lease.release()
                if is_done and (stop.is_set() or until < math.inf or not self._is_something_new()):
                    break
        except Exception as error:  # noqa: BLE001 - the program whose records these are must not suffer
            self.log.say("run", f"The shipper failed: {place_of(error)}.")
        finally:
            with suppress(Exception):
                self._transport.close()
            if lease is not None:
                lease.release()
        return has_had

    @property
    def is_settled(self) -> bool:
        """Whether everything it knew of when it left was sent or refused."""
        return all(not one.waiting for one in self._following.values())

    def _hold(self, lease: Lease, stop: threading.Event, until: float) -> bool:
        """Send while the lease is held; whether this ended by itself, and not because the lease was lost."""
        self._following.clear()
        watch = Watch(
            self.directory, lease, self.log, limit_bytes=self._limit_bytes, owner=self._owner, wake=self._wake.set
        )
        watch.start()
        try:
            return self._send_on(watch, stop, until)
        finally:
            watch.stop()

    def _send_on(self, watch: Watch, stop: threading.Event, until: float) -> bool:
        alone_since, began = math.inf, time.monotonic()
        sent_at = second_at = -math.inf
        while not stop.is_set() and watch.is_going_on():
            self._wake.clear()
            seen, now = watch.seen, time.monotonic()
            if seen is None:
                if now >= min(until, began + max(self._linger_s, _FIRST_LOOK_S)):  # it cannot even be looked at
                    return True
                self._wake.wait(_BUSY_S)
                continue
            is_second = now - second_at >= _SECOND_S
            second_at = now if is_second else second_at
            self._look(seen, now, is_second=is_second)
            may_send = now >= self.pace.next_at
            at_once = until < math.inf or not seen.is_anyone_alive
            if may_send and self._is_worth_it(now, at_once=at_once, after_rest=now - sent_at >= _COALESCE_S):
                sent_at = now
                if self._send():
                    continue
            alone_since = math.inf if seen.is_anyone_alive else min(alone_since, now)
            is_late = now >= until if until < math.inf else now - alone_since >= self._linger_s
            is_last_look = watch.seen is seen and not seen.is_behind
            if is_late or (is_last_look and self.is_settled and (until < math.inf or alone_since <= now)):
                return True
            if until < math.inf and self.pace.is_paused:
                return True
            self._wake.wait(_BUSY_S if may_send and not self.is_settled else _IDLE_S)
        return stop.is_set()

    def _look(self, seen: Seen, now: float, *, is_second: bool) -> None:
        """See what there is to send."""
        for path in self._following.keys() - seen.segments.keys():
            del self._following[path]
        for path, is_live in seen.segments.items():
            following = self._following.get(path)
            if following is None:
                following = self._following[path] = Following(path)
            elif not (is_live or following.is_live or is_second):
                continue
            try:
                if is_second and following.acks.load():
                    following.rewind()
                following.look(now, is_live=is_live)
            except OSError as error:
                if error.errno != ENOENT:  # the size limit takes segments away
                    self.log.say(f"read {path.name}", f"{path.name} cannot be read: {error.strerror}.")
                self._following.pop(path, None)

    def _is_worth_it(self, now: float, *, at_once: bool, after_rest: bool) -> bool:
        """Whether to send now: enough is there, or something has waited for long enough."""
        waiting = [one for one in self._following.values() if one.waits_since is not None]
        if not waiting:
            return False
        if at_once or sum(one.waiting for one in waiting) >= _WORTH_A_REQUEST:
            return True
        oldest = min(one.waits_since for one in waiting if one.waits_since is not None)
        return now - oldest >= (_FIRST_S if after_rest else _COALESCE_S)

    def _send(self) -> bool:
        """One batch: first of what is being written and of the ends of dead runs, then of what is older.

        Returns:
            Whether there was anything to send, or to go on behind.
        """
        before = sum(one.position for one in self._following.values())
        pieces: list[Piece] = []
        taken: list[Following] = []
        room = LARGEST_REQUEST
        for following in self._in_turn():
            if room <= 0:
                break
            try:
                part = following.take(room)
            except OSError as error:
                if error.errno != ENOENT:
                    self.log.say(f"read {following.path.name}", f"{following.path.name}: {error.strerror}.")
                continue
            taken.append(following)
            part, withheld = self._ranks.divide(part)
            following.note(AckState.WITHHELD, withheld, 0, "")
            pieces += part
            room -= sum(len(piece.span) for piece in part)
        for batch in batches(map(self._on_the_wire, pieces)):
            answer = self._deliver(batch)
            self.pace.heard(answer, time.monotonic())
            self._telling.heard(answer, sum(one.waiting for one in self._following.values()))
            if self.pace.troubles:
                break
        for following in taken:
            following.settle()
        return bool(pieces) or sum(one.position for one in self._following.values()) != before

    def _on_the_wire(self, piece: Piece) -> Piece:
        """As it is stored, but for texts that a backend would cut without a word."""
        limit = self._text_limit
        span = with_short_text(piece.span, limit) if limit else piece.span
        return piece if span is piece.span else piece._replace(span=span)

    def _in_turn(self) -> list[Following]:
        """What has something to send: live segments and recovered ones first, each time another of them."""
        self._turn += 1
        waiting = [one for one in self._following.values() if one.waiting > 0]
        hot = [one for one in waiting if one.is_live or one.waiting < _WORTH_A_REQUEST]
        turn = self._turn % len(hot) if hot else 0
        chosen = set(map(id, hot))
        return [*hot[turn:], *hot[:turn], *(one for one in waiting if id(one) not in chosen)]

    def _deliver(self, batch: Sequence[Piece]) -> Answer:
        try:
            return deliver(self._transport, batch, self._settle)
        except Exception as error:  # noqa: BLE001 - sending goes on later, whatever this was
            return Answer(Outcome.RETRY, said=f"sending failed: {place_of(error)}")

    def _settle(self, state: AckState, pieces: Sequence[Piece], refused: int, said: str) -> None:
        """Note what became of spans of several segments; of a partial success the last ones count as refused."""
        by_segment: dict[Path, list[Piece]] = {}
        for piece in pieces:
            by_segment.setdefault(piece.segment, []).append(piece)
        for path, own in reversed(by_segment.items()):
            here = min(refused, len(own))
            refused -= here
            self._following[path].note(state, own, here, said)

    def _is_something_new(self) -> bool:
        """Whether there is something to do that was not there when the lease was let go."""
        with suppress(OSError):
            for path in segments_in(self.directory):
                known = self._following.get(path)
                if known is None or path.lstat().st_size > known.size:
                    return True
        return False


def ship_once(directory: Path, destination: Destination, timeout_s: float) -> bool:
    """Send what is in `directory` now, for at most `timeout_s` seconds; whether all of it was sent or refused.

    False too where another process has the lease all that time. Never raises.
    """
    until = time.monotonic() + timeout_s
    shipper = Shipper(directory, destination)
    return shipper.run(threading.Event(), until=until, patience_s=timeout_s) and shipper.is_settled


def _secrets_of(destination: Destination) -> Iterable[str]:
    """What must not stand in the log: header values whole and by their words, and the password of the endpoint."""
    for value in destination.headers.values():
        yield from {value, *value.split()}
    with suppress(FormatError):
        yield destination.address().password
