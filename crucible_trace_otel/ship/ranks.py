"""Which spans of a run that several processes share are sent: those of all, of one, or of the first on each machine."""

from contextlib import suppress
from typing import Final

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.facts import facts_of
from crucible_trace_otel.journal.messages import number_of
from crucible_trace_otel.journal.wire import fields
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.ship.batches import Piece

__all__ = ["ALL_RANKS", "CHOICES", "RankChoice"]

ALL_RANKS: Final = "all"
CHOICES: Final = (ALL_RANKS, "one", "node")
_DECIDES: Final = {"one": attr.CRUCIBLE_DISTRIBUTED_RANK, "node": attr.CRUCIBLE_DISTRIBUTED_LOCAL_RANK}
_RUNS = (operations.TRAINING_RUN, operations.WORKER)
_ALWAYS_SENT: Final = frozenset({name + end for name in _RUNS for end in ("", "_started", "_interrupted")})
"""What shows that a process takes part, and how it ended."""
_MOST_KNOWN = 1_000


class RankChoice:
    """Decides by what the resource of a span says of its process; one without a rank is always sent.

    Args:
        choice: `all`, `one` (rank 0), or `node` (local rank 0).
    """

    def __init__(self, choice: str) -> None:
        self._key = _DECIDES.get(choice, "").encode()
        self._is_first: dict[bytes, bool] = {}

    def divide(self, pieces: list[Piece]) -> tuple[list[Piece], list[Piece]]:
        """Those to send, and those that stay on this disk: none with an error does, and no run or worker itself."""
        if not self._key:
            return pieces, []
        divided: tuple[list[Piece], list[Piece]] = ([], [])
        for piece in pieces:
            divided[self._withholds(piece)].append(piece)
        return divided

    def _withholds(self, piece: Piece) -> bool:
        if self._comes_first(piece.resource):
            return False
        facts = facts_of(piece.span)
        return not facts.has_failed and facts.operation not in _ALWAYS_SENT

    def _comes_first(self, resource: bytes) -> bool:
        if resource not in self._is_first:
            if len(self._is_first) >= _MOST_KNOWN:
                self._is_first.clear()
            self._is_first[resource] = not _number(resource, self._key)
        return self._is_first[resource]


def _number(resource: bytes, key: bytes) -> float:
    """A number that a ResourceSpans message says of its resource; 0 where it does not."""
    with suppress(FormatError):
        for number, _, body in fields(resource):
            for _, _, pair in fields(body) if number == 1 and isinstance(body, bytes) else ():
                said = {field: value for field, _, value in fields(pair)} if isinstance(pair, bytes) else {}
                if said.get(1) == key and isinstance(value := said.get(2), bytes):
                    return number_of(value) or 0
    return 0
