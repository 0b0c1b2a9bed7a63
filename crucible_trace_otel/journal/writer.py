"""Appending that never raises and never waits long: what the disk does not take now waits in memory, within a bound."""

import os
import sys
import threading
import time
import weakref
from collections import Counter, deque
from collections.abc import Callable, Sequence
from typing import Any, Literal

from crucible_trace_otel._interruption import is_from_handler
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.reader import span_ids
from crucible_trace_otel.journal.records import RecordType, json_payload
from crucible_trace_otel.journal.segment import SegmentWriter, SpanRecord

__all__ = ["JournalWriter", "Sync"]

Sync = float | Literal["always", "off"]
"""When the disk itself must have what was appended: each so many seconds, at each span, or when the system likes."""

_MOST_WAITING = 64 << 20
_SLOW_NS = 20_000_000
_WATCHED = 8  # appends after a slow one: that alone may as well have waited for a processor on a busy machine
_MOST_TRACES = 1_000
_BEAT_S = 10.0

_writers: "weakref.WeakSet[JournalWriter]" = weakref.WeakSet()


class JournalWriter:
    """Appends records to the segments of this process.

    A record that the disk refuses (full, quota, an error, no permission, the directory gone), or would take long over,
    waits in memory, up to 64 MiB; `tick()`, called each second, writes what waits. Beyond the bound the oldest go, are
    counted in `lost`, and named in a record as soon as one can be written.

    Args:
        directory: Of the journal.
        still_open: As `SegmentWriter` has it.
        sync: When the disk is told to keep what was appended.
        wake: Called when something waits because the disk is slow: `tick()` should be called soon.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        still_open: Callable[[], Sequence[SpanRecord]] | None = None,
        *,
        sync: Sync = "off",
        wake: Callable[[], None] | None = None,
    ) -> None:
        self.segments = SegmentWriter(directory, still_open)
        self.sync = sync
        self._wake = wake
        self._start()
        _writers.add(self)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._waiting: deque[tuple[RecordType, Any]] = deque()
        self._bytes = 0
        self._is_draining = self._is_slow = False
        self._lost_from = self._lost_to = 0
        self._lost_of: Counter[str] = Counter()
        self._why = self._lost_why = ""
        self._synced = self._beaten = time.monotonic()
        self._synced_to: tuple[Any, int] = ("", 0)
        self.lost = 0
        """Spans that found no room in memory either."""

    @property
    def stored(self) -> int:
        """Spans that were appended."""
        return self.segments.spans

    @property
    def waiting(self) -> int:
        """Spans that wait in memory."""
        with self._lock:
            return sum(kind == RecordType.SPAN for kind, _ in self._waiting) + self.segments.waiting

    def append_span(self, resource: bytes, scope: bytes, span: bytes, kind: RecordType = RecordType.SPAN) -> None:
        """Append one serialized span, or have it wait. Never raises an error of the disk."""
        if self._waiting or self._is_slow:
            self._wait(kind, (resource, scope, span))
            return
        segments = self.segments
        try:
            segments.append_span(resource, scope, span, kind)
        except OSError as error:
            self._refused(error, kind, (resource, scope, span))
            return
        if segments.took_ns > _SLOW_NS:
            self._was_slow(segments.took_ns)
        if self.sync == "always" and kind is RecordType.SPAN:
            segments.sync()

    def append(self, kind: RecordType, payload: bytes) -> None:
        """Append another record, or have it wait. Never raises an error of the disk."""
        if self._waiting or self._is_slow:
            self._wait(kind, payload)
            return
        try:
            self.segments.append(kind, payload)
        except OSError as error:
            self._refused(error, kind, payload)

    def _refused(self, error: OSError, kind: RecordType, content: Any) -> None:
        if is_from_handler(error):  # a TimeoutError is an error of the system too
            if _message(content) not in self.segments.recent:
                self._wait(kind, content)
            raise error
        self._why = error.strerror or str(error)
        directory = self.segments.directory
        warn_once(
            f"journal {directory} {error.errno}",
            f"{directory} takes no records just now ({self._why}): they wait in memory, up to "
            f"{_MOST_WAITING >> 20} MiB, and are written as soon as it does.",
        )
        self._wait(kind, content)

    def _was_slow(self, took_ns: int) -> None:
        """Watch the next appends; from the first one on that the disk holds up, a thread of ours writes."""
        if not (self.segments.watched and self.segments.was_held_up):
            self.segments.watched = _WATCHED
            return
        self._is_slow = True
        warn_once(
            f"slow {self.segments.directory}",
            f"{self.segments.directory} takes long to write to ({took_ns // 1_000_000} ms): a thread writes "
            "instead; what was recorded in the last second is lost if the process is killed meanwhile.",
        )
        self._call_for_help()

    def _wait(self, kind: RecordType, content: Any) -> None:
        with self._lock:
            self._waiting.append((kind, content))
            self.segments.recent.append(_message(content))
            self._bytes += _size(content)
            while self._bytes > _MOST_WAITING and len(self._waiting) > 2:  # noqa: PLR2004 - one may be being written
                self._lose(1 if self._is_draining else 0)
        if self._is_slow:
            self._call_for_help()

    def _lose(self, index: int) -> None:
        kind, content = self._waiting[index]
        del self._waiting[index]
        self._bytes -= _size(content)
        if kind == RecordType.SPAN:
            self._count_lost(span_ids(content[2])[0].hex(), 1, self._why)

    def _count_gone(self) -> None:
        with self._lock:
            gone, self.segments.gone = self.segments.gone, 0
            if gone:
                self._count_lost("", gone, "the file was deleted")

    def _count_lost(self, trace_id: str, number: int, why: str) -> None:
        self.lost += number
        self._lost_why = self._lost_why if self._lost_of else why
        self._lost_to = time.time_ns()
        self._lost_from = self._lost_from or self._lost_to
        known = trace_id in self._lost_of or len(self._lost_of) < _MOST_TRACES
        self._lost_of[trace_id if known else ""] += number

    def _call_for_help(self) -> None:
        if self._wake is not None:
            self._wake()

    def tick(self) -> None:
        """Write what waits, and have the disk keep what is due; on a thread that may be held up."""
        self._drain()
        self.segments.look()
        self._count_gone()
        self._drain()
        now = time.monotonic()
        if isinstance(self.sync, (int, float)) and now - self._synced >= self.sync:
            self._synced = now
            position = self.segments.position()
            if position != self._synced_to:
                self._synced_to = position
                self.segments.sync()
        if now - self._beaten >= _BEAT_S:
            self._beaten = now
            self.segments.beat()

    def _drain(self) -> None:
        with self._lock:
            if self._is_draining or not (self._waiting or self._is_slow or self._lost_of):
                return
            self._is_draining = True
        self.segments.keeps_gil = False
        self.segments.watched = sys.maxsize
        try:
            slowest = 0
            while self._waiting:
                kind, content = self._waiting[0]
                if isinstance(content, bytes):
                    self.segments.append(kind, content)
                else:
                    resource, scope, span = content
                    self.segments.append_span(resource, scope, span, kind)
                slowest = max(slowest, self.segments.took_ns)
                with self._lock:
                    self._bytes -= _size(self._waiting.popleft()[1])
            self._tell_of_gap()
            self._is_slow = slowest > _SLOW_NS and self.segments.was_held_up
        except OSError as error:
            self._why = error.strerror or str(error)
        finally:
            self._is_draining = False
            self.segments.keeps_gil = True
            self.segments.watched = _WATCHED

    def _tell_of_gap(self) -> None:
        if not self._lost_of:
            return
        with self._lock:
            gap = {
                "spans": sum(self._lost_of.values()),
                "from": self._lost_from,
                "to": self._lost_to,
                "why": self._lost_why,
                "traces": dict(self._lost_of),
            }
        self.segments.append(RecordType.GAP, json_payload(gap))
        with self._lock:
            self._lost_of.clear()
            self._lost_from = 0

    def close(self, closed: dict[str, Any] | None = None) -> None:
        """Try once more to write what waits, and close the file; the next record opens another. Never raises."""
        self._drain()
        self.segments.close(closed)
        self._count_gone()

    def forget(self) -> None:
        """In a forked child: what waits is the parent's to write."""
        self._start()


def _message(content: Any) -> bytes:
    """What `recent` holds of a record."""
    message: bytes = content if isinstance(content, bytes) else content[2]
    return message


def _size(content: Any) -> int:
    return len(content) if isinstance(content, bytes) else len(content[2]) + 200


def _forget_all() -> None:
    for writer in list(_writers):
        writer.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
