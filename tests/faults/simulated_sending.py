"""A collector that answers as told, and a sender whose every step is called: no thread, no socket, no time."""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from typing import TYPE_CHECKING

from crucible_trace_otel.journal.reader import span_ids
from crucible_trace_otel.ship.answers import Answer, Outcome
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.lease import Lease
from crucible_trace_otel.ship.loop import Shipper
from crucible_trace_otel.ship.watch import Watch
from tests.faults.disk import Killed
from tests.ship.spans import raw_spans

if TYPE_CHECKING:
    from pathlib import Path

ANSWERS = (
    *("taken", "partial", "refused", "bad", "retry", "paused", "too large", "lost answer"),
    *("killed before", "killed after"),
)
_MOST_BYTES = 1_500
_POISON = b"\x2a\x06poison"  # the name of a span
_NOWHERE = Destination("http://127.0.0.1:9/v1/traces", "http/protobuf", {}, 1.0, "none", None, None, None, ())


class Collector:
    """Takes requests in the place of a transport; once the script is at its end, everything but poison."""

    def __init__(self) -> None:
        self.script: deque[str] = deque()
        self.got: defaultdict[bytes, set[bytes]] = defaultdict(set)
        """The messages that have arrived, by span id."""
        self.unsure: set[bytes] = set()
        """Spans of requests of which some were rejected: which is not told."""
        self.reduced: set[bytes] = set()
        """Spans that did not fit into a request."""
        self.requests = 0

    def send(self, body: bytes) -> Answer:
        """As `Transport`."""
        self.requests += 1
        spans = {span_ids(message)[1]: message for message in raw_spans(body)}
        answer = self.script.popleft() if self.script else "taken"
        if answer == "killed before":
            raise Killed
        if answer in {"retry", "paused", "refused"}:
            return Answer(Outcome(answer), said=answer)
        if answer == "too large" and len(body) > _MOST_BYTES:
            self.reduced |= spans.keys() if len(spans) == 1 else set()
            return Answer(Outcome.TOO_LARGE, said="too large")
        if answer == "bad" or any(_POISON in message for message in spans.values()):
            return Answer(Outcome.REFUSED, said="bad", may_be_one=True)
        rejected = len(spans) // 2 if answer == "partial" else 0
        self.unsure |= spans.keys() if rejected else set()
        for span_id, message in list(spans.items())[: len(spans) - rejected]:
            self.got[span_id].add(message)
        if answer == "killed after":
            raise Killed
        if answer == "lost answer":
            return Answer(Outcome.RETRY, said="cut off")
        return Answer(Outcome.TAKEN, rejected, said="some rejected" if rejected else "")

    def close(self) -> None:
        """Nothing."""


class Sender:
    """What the process that sends does, one step a call."""

    def __init__(self, directory: Path, collector: Collector) -> None:
        self.lease = Lease(directory)
        assert self.lease.take(0)
        self._shipper = Shipper(directory, _NOWHERE)
        self._shipper._transport = collector
        self._watch = Watch(
            directory, self.lease, self._shipper.log, limit_bytes=1 << 40, owner=None, wake=lambda: None
        )

    def look(self) -> None:
        """See what is there, and to the ends of those that died."""
        self._watch._listed_at = -math.inf
        self._watch.look()
        self._shipper._look(self._watch.seen, time.monotonic(), is_second=True)

    def send(self) -> None:
        """One turn of requests."""
        self._shipper._send()

    @property
    def is_settled(self) -> bool:
        """Whether nothing it has seen is left to send."""
        return self._shipper.is_settled

    def kill(self) -> None:
        """It is no more."""
        self.lease.release()
