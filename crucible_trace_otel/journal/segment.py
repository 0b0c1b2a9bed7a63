"""The writer of segments: one file a process at a time, one append a record, another file after 8 MiB."""

import os
import secrets
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from typing import Any

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.appending import AppendedFile, waits_of_this_thread
from crucible_trace_otel.journal.layout import segment_of
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.records import RecordType, frame, json_payload, span_frame

__all__ = ["SegmentWriter", "SpanRecord"]

LONGEST = 8 << 20
"""Bytes after which a segment is full: what is sent and deleted as one piece."""

_RECENT = 8
_writers: "weakref.WeakSet[SegmentWriter]" = weakref.WeakSet()
SpanRecord = tuple[bytes, bytes, bytes]
"""Resource, scope and span: a ResourceSpans message without scopes, a ScopeSpans without spans, and a Span."""


class SegmentWriter:
    """Appends records to files of this process in `directory`; both are made at the first append.

    What is made is readable by its owner only (0700, 0600), under any umask; a directory that is there keeps its mode.
    A forked child gets files of its own. The newest file is locked while this process lives.

    Args:
        directory: Of the journal.
        still_open: Asked for the spans that have not ended when another file is begun, so that none of its readers
            needs an older one for them.
    """

    def __init__(
        self, directory: str | os.PathLike[str], still_open: Callable[[], Sequence[SpanRecord]] | None = None
    ) -> None:
        self.directory = Path(directory).absolute()  # a program may change its working folder
        self._still_open = still_open
        self.opened: Callable[[], object] | None = None
        """Called when another file was begun."""
        self._file: AppendedFile | None = None
        self._start()
        _writers.add(self)

    def _start(self) -> None:
        """Begin with no file: at construction, and in a forked child, whose lock may be held by a lost thread."""
        self._lock = threading.RLock()  # a signal handler or the garbage collector may record in here again
        self._waiting: deque[tuple[RecordType, Any]] = deque()
        self._is_writing = False
        self._path = Path()
        self._size = 0
        self._full_at = LONGEST
        self._number = 0
        self._prefix = ""
        self._resources: dict[bytes, int] = {}
        self._scopes: dict[bytes, int] = {}
        self._look_at = 0
        """The size from which on the file is looked at before each record; at once, where its descriptor is low."""
        self.recent: deque[bytes] = deque(maxlen=_RECENT)
        """The last spans that were handed over: who was interrupted while doing so need not do it again."""
        self.paths: list[Path] = []
        """The files that were begun."""
        self.spans = 0
        """Spans that were appended."""
        self.gone = 0
        """Spans that went with a file that was deleted."""
        self._seen = 0
        self.watched = 0
        """How many of the next appends are to be watched for whether the disk holds them up."""
        self.was_held_up = False
        """Whether the last append that was watched waited for the disk, rather than for a processor."""
        self.took_ns = 0
        """Nanoseconds of the last append alone, without waiting for other threads."""
        self.keeps_gil = True
        """False while a thread writes that others must not wait for."""

    @property
    def prefix(self) -> str:
        """What the names of all files of this process in the directory begin with."""
        if not self._prefix:
            started = time.strftime("%Y%m%dT%H%M%S", time.gmtime())
            self._prefix = f"{started}-{os.getpid()}-{secrets.token_hex(4)}"
        return self._prefix

    @property
    def waiting(self) -> int:
        """Spans that were handed over and not written: an exception broke that off, and the next call does it."""
        return sum(kind == RecordType.SPAN for kind, _ in list(self._waiting))

    def position(self) -> tuple[Path, int]:
        """The segment that is written to, and its size; an empty path before the first record."""
        return self._path, self._size  # without the lock: a disk that hangs must not hold up who asks

    def append_span(self, resource: bytes, scope: bytes, span: bytes, kind: RecordType = RecordType.SPAN) -> None:
        """Append one serialized OTLP Span, with the messages around it if this file lacks them.

        The bytes are with the operating system when this returns: they survive the death of the process.

        Called again from within itself, by a signal handler or a finalizer, it leaves the span to the interrupted call.
        A span whose append an exception such as KeyboardInterrupt breaks off is written by the next call.

        Raises:
            OSError: The record is not stored, and the file ends where it ended before.
        """
        with self._lock:
            first, second = self._resources.get(resource), self._scopes.get(scope)
            if first is None or second is None or self._waiting or self._is_writing or self._size >= self._look_at:
                self._waiting.append((kind, (resource, scope, span)))
                self.recent.append(span)
                self._write_waiting()
                return
            self._is_writing = True  # what is usual, without any detour
            try:
                self._write(span_frame(kind, first, second, span), span)
            finally:
                self._is_writing = False
            if kind is RecordType.SPAN:
                self.spans += 1
            if self._waiting:
                self._write_waiting()

    def append(self, kind: RecordType, payload: bytes) -> None:
        """Append a record that is no span, as `append_span` does.

        Raises:
            OSError: The record is not stored.
        """
        with self._lock:
            self._waiting.append((kind, payload))
            self._write_waiting()

    def _write_waiting(self) -> None:
        if self._is_writing:
            return
        self._is_writing = True
        number = self._number
        try:
            while self._waiting:
                try:
                    self._write_record(*self._waiting[0])
                except Exception:
                    if self._file is None and self._number > number:  # the file was taken from us, not the disk full
                        number = self._number
                        continue
                    _, refused = self._waiting.popleft()
                    with suppress(ValueError):
                        self.recent.remove(refused if isinstance(refused, bytes) else refused[2])
                    raise
                self._waiting.popleft()
        finally:
            self._is_writing = False

    def _write_record(self, kind: RecordType, content: Any) -> None:
        if self._file is not None and self._size >= self._look_at:
            self.look()
        if type(content) is bytes:
            self._write(frame(kind, content))
            return
        resource, scope, span = content
        first, second = self._resources.get(resource), self._scopes.get(scope)
        if first is None or second is None:
            first, second = self._number_of(RecordType.RESOURCE, resource), self._number_of(RecordType.SCOPE, scope)
        self._write(span_frame(kind, first, second, span))
        if kind is RecordType.SPAN:
            self.spans += 1

    def look(self) -> None:
        """Leave a file that is full or lost: deleted, or its descriptor closed by somebody else.

        To be called each second or so: a descriptor with a high number, which nobody gets by chance, is not looked at
        before each record. What was written to a deleted one since it was seen to be there is counted in `gone`.
        """
        with self._lock:
            unseen = self.spans - self._seen
            self._seen = self.spans
            if self._file is None:
                return
            if not self._file.is_there():
                self._drop()
                self.spans -= unseen
                self._seen = self.spans
                self.gone += unseen
                return
            if self._size >= self._full_at:
                try:
                    self._turn_over()
                except OSError:  # no room for another name: this file takes another mebibyte
                    self._full_at = self._size + (1 << 20)
                    self._look_at = self._full_at if self._look_at else 0

    def close(self, closed: dict[str, Any] | None = None) -> None:
        """Write what waits, say how it ended, and close the file; the next append opens another. Never raises."""
        with self._lock, suppress(OSError):
            if self._is_writing:
                return
            self._write_waiting()
            self.look()
            if self._file is not None and closed is not None:
                self._write(frame(RecordType.CLOSED, json_payload(closed)))
        with self._lock:
            self._drop()

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():  # then what `close()` needs is gone, and the system closes the file
            with suppress(Exception):  # nobody could catch it: the garbage collector calls this
                self.close()

    def sync(self) -> None:
        """Have the disk keep what was appended so far. Never raises; only one thread may call it at a time."""
        with self._lock:
            file = self._file
        if file is not None:
            with suppress(OSError, ValueError):
                files.fdatasync(file.fd)

    def beat(self) -> None:
        """Touch the file: a sign of life for who cannot see this process. Never raises."""
        with self._lock, suppress(OSError):
            if self._file is not None and self._file.is_there():
                os.utime(self._file.fd if os.utime in os.supports_fd else self._path)

    def _drop(self) -> None:
        file, self._file = self._file, None
        self._resources.clear()
        self._scopes.clear()
        if file is not None:
            self._number += 1
            with suppress(OSError):
                file.close()

    def _number_of(self, kind: RecordType, message: bytes) -> int:
        """The number by which spans of this file refer to `message`; writes it where it is new."""
        self._file = self._file or self._open()
        numbers = self._resources if kind is RecordType.RESOURCE else self._scopes
        number = numbers.get(message)
        if number is None:
            number = len(self._resources) + len(self._scopes)
            self._write(frame(kind, number.to_bytes(4, "little") + message))
            numbers[message] = number
        return number

    def _write(self, record: bytes, span: bytes = b"") -> None:
        file = self._file
        if file is None:
            file = self._file = self._open()
        waits = waits_of_this_thread() if self.watched else 0
        began = perf_counter_ns()
        try:
            file.append(record, self.keeps_gil)
            self._size += len(record)  # in here: what an interruption leaves uncounted is cut off, and written again
            if span:
                self.recent.append(span)
        except BaseException:
            if file.is_there():
                files.truncate(file.fd, self._size)
            else:
                self._drop()
            raise
        self.took_ns = perf_counter_ns() - began
        if self.watched:
            self.watched -= 1
            self.was_held_up = waits_of_this_thread() > waits

    def _turn_over(self) -> None:
        """Go on in another file: that is there, whole and locked, before this one is let go."""
        previous, number = self._file, self._number
        self._number += 1
        try:
            self._file = self._open()
        except BaseException:
            self._number = number
            raise
        if previous is not None:
            with suppress(OSError):
                previous.close()

    def _open(self) -> AppendedFile:
        """Another segment: it gets its name once it is locked, and repeats what is open.

        So one without a lock has no living writer, and none needs an older one for what is open.
        """
        files.make_private_directory(self.directory)
        path = segment_of(self.directory, self.prefix, self._number)
        unnamed = path.with_name(f".{path.name}.new")
        with suppress(OSError):  # left by an attempt that failed in the middle
            files.unlink(unnamed)
        file = AppendedFile(files.open_append(unnamed, exclusive=True))
        resources: dict[bytes, int] = {}
        scopes: dict[bytes, int] = {}
        try:
            files.try_lock(file.fd)
            note = frame(RecordType.NOTE, json_payload(identity()))
            content = b"".join((note, *self._repeated(resources, scopes)))
            file.append(content, self.keeps_gil)
            files.rename(unnamed, path)
        except BaseException:
            with suppress(OSError):
                files.unlink(unnamed)
            file.close()
            raise
        self._path, self._size, self._full_at = path, len(content), len(content) + LONGEST
        self._resources, self._scopes = resources, scopes
        self._look_at = self._full_at if files.is_high(file.fd) else 0
        self.paths.append(path)
        if self.opened is not None:
            self.opened()
        return file

    def _repeated(self, resources: dict[bytes, int], scopes: dict[bytes, int]) -> Iterator[bytes]:
        """The records of what is open, for the beginning of a file that is not the first."""
        for resource, scope, span in self._still_open() if self._still_open and self._number else ():
            for kind, numbers, message in (
                (RecordType.RESOURCE, resources, resource),
                (RecordType.SCOPE, scopes, scope),
            ):
                if message not in numbers:
                    numbers[message] = len(resources) + len(scopes)
                    yield frame(kind, numbers[message].to_bytes(4, "little") + message)
            yield span_frame(RecordType.OPEN, resources[resource], scopes[scope], span)

    def forget(self) -> None:
        """In a forked child: the files belong to the parent, and so does what waits."""
        file, self._file = self._file, None
        self._start()
        if file is not None:  # an inherited descriptor would keep the lock when the parent has died
            with suppress(OSError):
                file.close()


def _forget_all() -> None:
    for writer in list(_writers):
        writer.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
