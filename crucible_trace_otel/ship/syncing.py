"""Has the disk itself keep what was written, for a power cut: what was appended outlives the process, and no more."""

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from crucible_trace_otel.journal import files

__all__ = ["Syncing"]


class Syncing:
    """Syncs segments of `directory` that have grown.

    Args:
        directory: Of the journal.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._sizes: dict[Path, int] = {}

    def sync(self, segments: Sequence[Path]) -> None:
        """Have the disk keep what was appended to `segments` since the last call. What it refuses is tried again."""
        if segments and not self._sizes.keys() >= set(segments):
            files.fsync_directory(self._directory)
        for path in segments:
            with suppress(OSError):
                size = path.lstat().st_size
                if self._sizes.get(path) == size:
                    continue
                fd = files.open_regular(path)
                try:
                    files.fdatasync(fd)
                finally:
                    os.close(fd)
                self._sizes[path] = size
        for path in self._sizes.keys() - set(segments):
            del self._sizes[path]
