"""Stored spans in requests: built by putting stored bytes together, delivered so that one bad span stops no other."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.records import AckState
from crucible_trace_otel.journal.wire import bytes_field
from crucible_trace_otel.ship.answers import Answer, Outcome
from crucible_trace_otel.ship.destination import Transport
from crucible_trace_otel.ship.reduction import reduced

__all__ = ["LARGEST_REQUEST", "Piece", "Settle", "batches", "deliver", "request_body"]

LARGEST_REQUEST: Final = 1 << 20
"""Bytes of a request before compression; only a single span may be larger."""

_FRUITLESS: Final = 32
"""Requests after which a batch of which nothing was taken is refused as a whole."""
_LATER = (Outcome.RETRY, Outcome.PAUSED)
_FRAMING = 12  # bytes around a span, a scope or a resource: two tags and lengths at most


class Piece(NamedTuple):
    """One stored span, and where it lies."""

    resource: bytes
    """A ResourceSpans message without scopes."""
    scope: bytes
    """A ScopeSpans message without spans."""
    span: bytes
    segment: Path
    offset: int
    end: int


Settle = Callable[[AckState, Sequence[Piece], int, str], None]
"""Told what became of pieces: the state, the pieces, how many of them were refused, and the collector's words."""


def request_body(pieces: Iterable[Piece]) -> bytes:
    """A serialized ExportTraceServiceRequest that holds the stored bytes of each span unchanged.

    Spans of one resource and scope stand together, in their order.
    """
    grouped: dict[bytes, dict[bytes, list[bytes]]] = {}
    for piece in pieces:
        grouped.setdefault(piece.resource, {}).setdefault(piece.scope, []).append(bytes_field(2, piece.span))
    return b"".join(
        bytes_field(1, resource + b"".join(bytes_field(2, scope + b"".join(spans)) for scope, spans in scopes.items()))
        for resource, scopes in grouped.items()
    )


def batches(pieces: Iterable[Piece], limit: int = LARGEST_REQUEST) -> Iterator[list[Piece]]:
    """`pieces` in lists whose requests have at most `limit` bytes; a single larger one is alone in its list."""
    batch: list[Piece] = []
    size = 0
    known: set[bytes | tuple[bytes, bytes]] = set()
    for piece in pieces:
        more = _size(piece, known)
        if batch and size + more > limit:
            yield batch
            batch, size, known = [], 0, set()
            more = _size(piece, known)
        batch.append(piece)
        size += more
        known |= {piece.resource, (piece.resource, piece.scope)}
    if batch:
        yield batch


def deliver(transport: Transport, pieces: Sequence[Piece], settle: Settle) -> Answer:
    """Send one batch, in several requests where the collector finds it too large or bad.

    A refused request is halved until the bad span is alone; where nothing at all is taken in 32 requests, all of it is
    refused. What was taken or refused is settled at once.

    Returns:
        RETRY or PAUSED: what is not settled is still to be sent. TAKEN: all is settled, and of what was taken or
        turned down `rejected` spans were refused. REFUSED: all is settled, nothing was taken.

    Raises:
        OSError: Only what `settle` raises.
    """
    return _Delivery(transport, settle).run(pieces)


class _Delivery:
    """One batch on its way."""

    def __init__(self, transport: Transport, settle: Settle) -> None:
        self._transport = transport
        self._settle = settle
        self._parts: deque[list[Piece]] = deque()
        self._requests = self._taken = self._refused = 0
        self._said = ""

    def run(self, pieces: Sequence[Piece]) -> Answer:
        # Largest parts first: once 32 requests found nothing good, each sixteenth of the batch has been tried.
        self._parts.extend([list(pieces)] if pieces else [])
        while self._parts:
            answer = self._send(self._parts.popleft())
            if answer is not None:
                return answer
            if not self._taken and self._requests >= _FRUITLESS:
                for part in self._parts:
                    self._refuse(part, self._said)
                self._parts.clear()
        outcome = Outcome.REFUSED if self._refused and not self._taken else Outcome.TAKEN
        return Answer(outcome, rejected=self._refused, said=self._said)

    def _send(self, part: list[Piece]) -> Answer | None:
        """Send `part` and settle or split it; the answer where the batch cannot go on for now."""
        body = request_body(part)
        answer = self._ask(body)
        if answer.outcome in _LATER:
            return answer
        if answer.outcome is Outcome.TAKEN:
            self._take(part, answer, answer.said)
        elif answer.outcome is Outcome.TOO_LARGE:
            if len(part) == 1:
                return self._send_reduced(part[0], len(body), answer)
            self._parts = deque(smaller for each in (part, *self._parts) for smaller in batches(each, len(body) // 2))
        elif answer.may_be_one and len(part) > 1:
            half = len(part) // 2
            self._parts += (part[:half], part[half:])
        else:
            self._refuse(part, answer.said)
        return None

    def _send_reduced(self, piece: Piece, size: int, refusal: Answer) -> Answer | None:
        """Send a span that is too large by itself once more, with less in it; it stays whole in the journal."""
        try:
            less = reduced(piece.span, min(LARGEST_REQUEST, size // 2))
        except FormatError:
            self._refuse([piece], refusal.said)
            return None
        answer = self._ask(request_body([piece._replace(span=less)]))
        if answer.outcome in _LATER:
            return answer
        if answer.outcome is Outcome.TAKEN:
            said = f"sent with {len(less)} of its {len(piece.span)} bytes: {refusal.said}"
            self._take([piece], answer, f"{said}; {answer.said}" if answer.said else said)
        else:
            self._refuse([piece], answer.said)
        return None

    def _ask(self, body: bytes) -> Answer:
        self._requests += 1
        answer = self._transport.send(body)
        self._said = answer.said or self._said
        return answer

    def _take(self, part: list[Piece], answer: Answer, said: str) -> None:
        refused = min(answer.rejected, len(part))
        self._taken += len(part) - refused
        self._refused += refused
        self._settle(AckState.SENT, part, refused, said)

    def _refuse(self, part: list[Piece], said: str) -> None:
        self._refused += len(part)
        self._settle(AckState.REFUSED, part, len(part), said)


def _size(piece: Piece, known: set[bytes | tuple[bytes, bytes]]) -> int:
    """Bytes that `piece` adds to a request, at most."""
    size = len(piece.span) + _FRAMING
    if piece.resource not in known:
        size += len(piece.resource) + _FRAMING
    if (piece.resource, piece.scope) not in known:
        size += len(piece.scope) + _FRAMING
    return size
