"""The writer of a segment: one file a process, one append a record."""

import os
import secrets
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from crucible_trace_otel.journal.records import RecordType, frame

__all__ = ["SUFFIX", "SegmentWriter"]

SUFFIX = ".segment"

_writers: "weakref.WeakSet[SegmentWriter]" = weakref.WeakSet()


class SegmentWriter:
    """Appends records to a file of this process in `directory`; both are made at the first append.

    What is made is readable by its owner only (0700, 0600), under any umask; a directory that is there keeps its mode.
    A forked child gets a file of its own.
    """

    def __init__(self, directory: str | os.PathLike[str]) -> None:
        self.directory = Path(directory).absolute()  # a program may change its working folder
        self._fd: int | None = None
        self._identity: tuple[int, int] | None = None
        self._has_name = False
        self._start()
        _writers.add(self)

    def _start(self) -> None:
        """Begin with no file: at construction, and in a forked child, whose lock may be held by a lost thread."""
        self._lock = threading.RLock()  # a signal handler or the garbage collector may record in here again
        self._waiting: deque[tuple[bytes, bytes, bytes]] = deque()
        self._is_writing = False
        self._size = 0
        self._numbers: dict[tuple[RecordType, bytes], int] = {}

    def append_span(self, resource: bytes, scope: bytes, span: bytes) -> None:
        """Append one serialized OTLP Span, with the messages around it if this file lacks them.

        The bytes are with the operating system when this returns: they survive the death of the process.

        Called again from within itself, by a signal handler or a finalizer, it leaves the span to the interrupted call.
        A span whose append an exception such as KeyboardInterrupt breaks off is written by the next call.

        Raises:
            OSError: The record is not stored, and the file ends where it ended before.
        """
        with self._lock:
            self._waiting.append((resource, scope, span))
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._is_writing:
            return
        self._is_writing = True
        try:
            while self._waiting:
                try:
                    self._append(*self._waiting[0])
                except Exception:
                    self._waiting.popleft()
                    raise
                self._waiting.popleft()
        finally:
            self._is_writing = False

    def _append(self, resource: bytes, scope: bytes, span: bytes) -> None:
        self._settle()
        resource_number = self._number_of(RecordType.RESOURCE, resource)
        scope_number = self._number_of(RecordType.SCOPE, scope)
        references = resource_number.to_bytes(4, "little") + scope_number.to_bytes(4, "little")
        self._write(frame(RecordType.SPAN, references + span))

    def close(self) -> None:
        """Write what waits and close the file; the next append opens another. Never raises."""
        with self._lock, suppress(OSError):
            if self._is_writing:
                return
            self._write_waiting()
            self._settle()
            self._drop()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # then what `close()` needs is gone, and the system closes the file
            self.close()

    def _settle(self) -> None:
        """Leave a file that is lost: its descriptor was closed by somebody else, or it was deleted.

        Daemonizers close every descriptor they find, and the number may then be that of a file of the user's.
        """
        if self._fd is None:
            return
        try:
            status = os.fstat(self._fd)
        except OSError:
            status = None
        if status is None or (status.st_dev, status.st_ino) != self._identity:
            self._fd = None
            self._numbers.clear()
        elif self._has_name and status.st_nlink == 0:
            self._drop()

    def _drop(self) -> None:
        fd, self._fd = self._fd, None
        self._numbers.clear()
        if fd is not None:
            os.close(fd)

    def _number_of(self, record_type: RecordType, message: bytes) -> int:
        """The number by which spans of this file refer to `message`; writes it where it is new."""
        number = self._numbers.get((record_type, message))
        if number is None:
            number = len(self._numbers)
            self._write(frame(record_type, number.to_bytes(4, "little") + message))
            self._numbers[record_type, message] = number
        return number

    def _write(self, record: bytes) -> None:
        if self._fd is None:
            self._fd, self._size = self._open(), 0
        written = 0
        try:
            while written < len(record):
                written += os.write(self._fd, record[written:])
        except BaseException:
            if written:
                os.ftruncate(self._fd, self._size)
            raise
        self._size += written

    def _open(self) -> int:
        make_private_directory(self.directory)
        started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
        name = f"{started}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | getattr(os, "O_CLOEXEC", 0)
        fd = os.open(self.directory / name, flags, 0o600)
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o600)
        status = os.fstat(fd)
        self._identity = status.st_dev, status.st_ino
        self._has_name = status.st_nlink > 0  # some file systems do not count names
        return fd

    def _forget(self) -> None:
        """In a forked child: the file belongs to the parent."""
        self._start()
        self._settle()
        self._drop()


def make_private_directory(directory: Path) -> None:
    """Make `directory` with its parents; what is made here is readable by its owner only, what is there stays.

    Raises:
        OSError: It cannot be made, or something that is no directory has its name.
    """
    if not directory.is_dir():
        if directory.parent != directory:
            make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)  # another process may make it at the same time
        directory.chmod(0o700)


def _forget_all() -> None:
    for writer in list(_writers):
        writer._forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
