"""A disk that fails when it is told to: every file operation of the journal, counted, and one of them broken."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.journal import appending, files

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest

OPERATIONS = (
    "open_append",
    "write_all",
    "truncate",
    "fdatasync",
    "rename",
    "unlink",
    "listdir",
    "try_lock",
    "read_from",
)


class Disk:
    """Stands between the journal and the real file system; `fails` decides about each operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.fails: Callable[[int, str], OSError | None] = lambda number, operation: None
        self.takes: Callable[[bytes], bytes] = lambda data: data
        """How much of an append is written before it fails."""
        self.delay_s = 0.0
        for name in OPERATIONS:
            monkeypatch.setattr(files, name, self._around(name, getattr(files, name)))
        monkeypatch.setattr(appending, "_write", self._write)

    def _around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            self._do(name)
            return real(*arguments, **options)

        return call

    def _do(self, name: str) -> None:
        self.done.append(name)
        if self.delay_s:
            time.sleep(self.delay_s)
        error = self.fails(len(self.done) - 1, name)
        if error is not None:
            raise error

    def _write(self, fd: int, data: bytes, size: int) -> int:
        """As the C function: short where the disk is full; the call that follows then says why."""
        self.done.append("append")
        if self.delay_s:
            time.sleep(self.delay_s)
        if self.fails(len(self.done) - 1, "append") is not None:
            part = self.takes(data)
            return os.write(fd, part) if len(part) < size else -1
        return os.write(fd, data)


def full(name: str = "append") -> Callable[[int, str], OSError | None]:
    """Every operation of this name fails as on a full disk, and what `append` leaves to `write_all` too."""
    names = {name, "write_all"} if name == "append" else {name}
    return lambda number, operation: OSError(errno.ENOSPC, "No space left on device") if operation in names else None
