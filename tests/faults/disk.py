"""A disk that fails when it is told to: every file operation of the journal, counted, and one of them broken.

It can also take the process with it: from one operation on nothing reaches the disk any more, as after a kill.
"""

from __future__ import annotations

import errno
import os
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.journal import appending, files, segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
_READING = ("listdir", "read_from")


class Killed(BaseException):
    """The process ends here."""


class Disk:
    """Stands between the journal and the real file system; `fails` decides about each operation."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.done: list[str] = []
        self.fails: Callable[[int, str], BaseException | None] = lambda number, operation: None
        self.takes: Callable[[bytes], bytes] = lambda data: data
        """How much of an append is written before it fails."""
        self.delay_s = 0.0
        self.slow_ns = 0
        """What an append seems to take: told to who measures it, and not waited for."""
        self.synced: dict[int, int] = {}
        """By the number of a file how many bytes of it a power cut leaves."""
        self.is_gone = False
        """Whether the process has been killed."""
        self._skew_ns = 0
        for thread in threading.enumerate():  # one of a test before must not meet this disk
            if thread.name == "crucible-watch":
                thread.join(10)
        for name in OPERATIONS:
            monkeypatch.setattr(files, name, self._around(name, getattr(files, name)))
        monkeypatch.setattr(appending, "_write", self._write)
        monkeypatch.setattr(segment, "perf_counter_ns", lambda: time.perf_counter_ns() + self._skew_ns)
        waits = segment.waits_of_this_thread
        monkeypatch.setattr(segment, "waits_of_this_thread", lambda: waits() + (self._skew_ns > 0) * len(self.done))

    def _around(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            if self.is_gone and name not in _READING:
                return _nothing(name)
            self._do(name)
            result = real(*arguments, **options)
            if name == "fdatasync":
                status = os.fstat(arguments[0])
                self.synced[status.st_ino] = status.st_size
            return result

        return call

    def _do(self, name: str) -> None:
        self.done.append(name)
        if self.delay_s:
            time.sleep(self.delay_s)
        error = self.fails(len(self.done) - 1, name)
        if error is not None:
            self.is_gone = isinstance(error, Killed)
            raise error

    def _write(self, fd: int, data: bytes, size: int) -> int:
        """As the C function: short where the disk is full; the call that follows then says why."""
        if self.is_gone:
            return size
        self.done.append("append")
        self._skew_ns += self.slow_ns
        if self.delay_s:
            time.sleep(self.delay_s)
        error = self.fails(len(self.done) - 1, "append")
        if error is None:
            return os.write(fd, data)
        part = self.takes(data)
        written = os.write(fd, part) if len(part) < size else -1
        if isinstance(error, Killed):
            self.is_gone = True
            raise error
        return written

    def kill_at(self, number: int, part: int = 0) -> None:
        """Let the process die at its file operation `number` from now, of which `part` bytes are written."""
        before = self.fails
        at = len(self.done) + number
        self.fails = lambda count, name: Killed() if count == at else before(count, name)
        self.takes = lambda data: data[:part] if len(self.done) - 1 == at else data
        self._before = before

    def revive(self) -> bool:
        """For the next process: the disk as it was before `kill_at`; whether that killed."""
        self.fails, self.takes, was_killed = self._before, lambda data: data, self.is_gone
        self.is_gone = False
        return was_killed

    @contextmanager
    def healthy(self) -> Iterator[None]:
        """For a while nothing fails."""
        before, self.fails = self.fails, lambda number, operation: None
        slow, self.slow_ns = self.slow_ns, 0
        try:
            yield
        finally:
            self.fails, self.slow_ns = before, slow


def _nothing(name: str) -> Any:
    """What an operation seems to do once nothing reaches the disk any more."""
    return {"open_append": lambda: os.open(os.devnull, os.O_WRONLY), "try_lock": lambda: True}.get(name, lambda: None)()


def full(name: str = "append") -> Callable[[int, str], OSError | None]:
    """Every operation of this name fails as on a full disk, and what `append` leaves to `write_all` too."""
    names = {name, "write_all"} if name == "append" else {name}
    return lambda number, operation: OSError(errno.ENOSPC, "No space left on device") if operation in names else None
