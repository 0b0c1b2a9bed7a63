"""What the process that sends does for a journal, done by a thread of the recording one where nothing is sent."""

import time
from contextlib import suppress
from pathlib import Path

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.layout import prefix_of
from crucible_trace_otel.journal.limit import enforce
from crucible_trace_otel.journal.liveness import Life, life_of
from crucible_trace_otel.journal.reader import note_of, segments_in
from crucible_trace_otel.journal.recovery import recover_dead

__all__ = ["Upkeep"]

_RECOVER_S = 30.0


class Upkeep:
    """Ends what dead processes left open, and keeps the journal within its limit; to be called each second.

    Args:
        directory: Of the journal.
        limit_bytes: What it may take on the disk.
    """

    def __init__(self, directory: Path, limit_bytes: int) -> None:
        self._directory = directory
        self._limit_bytes = limit_bytes
        self._recovered_at = float("-inf")
        self._names_at = -1

    def look(self) -> None:
        """Do what is due. Never raises."""
        now = time.monotonic()
        with suppress(OSError):
            if now - self._recovered_at >= _RECOVER_S:
                self._recovered_at = now
                recover_dead(self._directory)
            names_at = self._directory.stat().st_mtime_ns
            if names_at == self._names_at:
                return  # no new segment: what has been written since fits into one
            self._names_at = names_at
            gone = enforce(self._directory, self._limit_bytes, is_alive=self._may_live)
            if gone:
                warn_once(
                    f"limit {self._directory}",
                    f"{self._directory} has reached its limit of {self._limit_bytes} bytes (CRUCIBLE_JOURNAL_LIMIT): "
                    "the oldest records go; how runs ended and what failed is kept longest.",
                )

    def _may_live(self, prefix: str) -> bool:
        own = [path for path in segments_in(self._directory) if prefix_of(path) == prefix]
        return bool(own) and life_of(note_of(own[-1]), own[-1]) is not Life.DEAD
