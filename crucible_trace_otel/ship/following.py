"""One segment that is being sent: how far it is settled, and which spans of it come next."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.acks import Acks, is_span, unsent
from crucible_trace_otel.journal.records import VERSION, AckState, Damage, Record, RecordType, read_span, scan
from crucible_trace_otel.ship.batches import Piece

__all__ = ["Following"]

_LOOK = 256 << 10
_DOUBT_S = 1.0
_SHELLS = (RecordType.RESOURCE, RecordType.SCOPE)


class Following:
    """Follows a segment, which may still grow, from its beginning; holds no spans between two requests.

    Args:
        path: Of the segment.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.acks = Acks(path)
        self.is_live = True
        """Whether its writer may still append to it."""
        self.size = 0
        self.position = 0
        """Everything before this offset is settled."""
        self.waits_since: float | None = None
        """When, on the monotonic clock, the first bytes that are not settled were seen."""
        self._is_new = True
        self._shells: dict[tuple[int, int], bytes] = {}
        self._spans = 0
        self._next = (0, 0)
        self._taken: list[Piece] = []
        self._ordinals: dict[int, int] = {}
        self._doubt = (-1, 0.0)

    @property
    def waiting(self) -> int:
        """Bytes that are not settled."""
        return self.size - self.position

    def look(self, now: float, *, is_live: bool) -> None:
        """See how long the file is.

        Raises:
            OSError: It is gone.
        """
        self.is_live = is_live
        size = self.path.lstat().st_size
        if size < self.position:  # another file has its name
            self.rewind()
        self.size = size
        if self._is_new:
            self._is_new = False
            self.acks.load()
            if not is_live and not unsent(self.path, self.acks):
                self.position = size
        if self.position >= size:
            self.waits_since = None
        elif self.waits_since is None:
            self.waits_since = now

    def rewind(self) -> None:
        """Begin again at the beginning: what is settled is known from the acks."""
        self.position = self._spans = 0

    def take(self, most: int) -> list[Piece]:
        """The next spans that are to be sent, a little more than `most` bytes of them.

        Raises:
            OSError: The file cannot be read.
        """
        self._taken, self._ordinals = [], {}
        at, spans, length, taken = self.position, self._spans, max(most, _LOOK), 0
        while at < self.size and taken < most:
            data = self._read(at, length)
            is_all = at + len(data) >= self.size
            began = at
            for record in scan(data, at):
                if isinstance(record, Damage):
                    if not is_all or not self._is_damage(record):
                        break
                    at = record.offset + record.size
                    continue
                at = record.end
                self._keep_shell(record)
                if is_span(record):
                    spans += 1
                    taken += self._add(record, spans)
                if taken >= most:
                    break
            if at == began:
                if is_all:
                    break
                length = self.size - at  # one record, or what looks like one, is longer than that
        self._next = at, spans
        return self._taken

    def settle(self) -> None:
        """After sending: go on behind what was taken, where all of that is settled now."""
        if all(self.acks.state_at(piece.offset) is not None for piece in self._taken):
            self.position, self._spans = self._next
            self._taken, self._ordinals = [], {}
        self.waits_since = None if self.position >= self.size else self.waits_since

    def note(self, state: AckState, pieces: Sequence[Piece], refused: int, said: str) -> None:
        """Note what became of `pieces`, spans of this segment in their order; the last `refused` were turned down."""
        runs: list[list[Piece]] = []
        for piece in pieces:
            is_next = runs and self._ordinals.get(piece.offset, -1) == self._ordinals.get(runs[-1][-1].offset, -1) + 1
            if is_next:
                runs[-1].append(piece)
            else:
                runs.append([piece])
        for run in reversed(runs):
            here = min(refused, len(run))
            refused -= here
            self.acks.add(state, run[0].offset, run[-1].end, len(run), here, said)

    def _read(self, start: int, length: int) -> bytes:
        with os.fdopen(files.open_regular(self.path), "rb") as file:
            file.seek(start)
            return file.read(min(length, self.size - start))

    def _is_damage(self, damage: Damage) -> bool:
        """Whether bytes that are no record stay none: a long record that is being written looks the same at first."""
        if not self.is_live:
            return True
        offset, since = self._doubt
        if offset != damage.offset:
            self._doubt = damage.offset, time.monotonic()
            return False
        return not damage.torn and time.monotonic() - since > _DOUBT_S

    def _keep_shell(self, record: Record) -> None:
        if record.version == VERSION and record.type in _SHELLS:
            self._shells[record.type, int.from_bytes(record.payload[:4], "little")] = record.payload[4:]

    def _add(self, record: Record, ordinal: int) -> int:
        """Take a span, unless it is settled; its bytes."""
        if self.acks.state_at(record.offset) is not None:
            return 0
        try:
            resource, scope, span = read_span(record.payload)
        except FormatError:
            return 0
        resources = self._shells.get((RecordType.RESOURCE, resource), b"")
        scopes = self._shells.get((RecordType.SCOPE, scope), b"")
        self._taken.append(Piece(resources, scopes, span, self.path, record.offset, record.end))
        self._ordinals[record.offset] = ordinal
        return len(record.payload)
