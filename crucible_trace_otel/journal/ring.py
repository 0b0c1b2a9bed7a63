"""The step ring: the rows of a process's open windows, in a small mapped file beside its segments.

A row is stored by one `pack_into`, without a system call; the page cache keeps it when the process is killed. Sixteen
slots of 16 KiB, each with one open window:

    number of the window u64 | magic 4 | length of the head u32 | CRC32 of number and head u32 | zero u32 | head | rows

The head is JSON; the number is stored last and is zero where no window is open. Rows are as `slots` has them, from the
next multiple of eight bytes on. A window that is closed is appended to the segment before its slot is free again.
"""

import json
import os
import struct
import threading
import weakref
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from zlib import crc32

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.layout import ring_of
from crucible_trace_otel.journal.mapping import MappedFile
from crucible_trace_otel.journal.records import RecordType, steps_payload
from crucible_trace_otel.journal.series import INDEX, described, event_message
from crucible_trace_otel.journal.slots import MOST_ROWS, KeptWindow, Slot, WindowHead, columns_in, row_form
from crucible_trace_otel.semconv.enums import WindowReason

if TYPE_CHECKING:
    from crucible_trace_otel.journal.segment import SegmentWriter

__all__ = ["OpenWindow", "StepRing", "open_windows", "window_event"]

_SLOTS, _SLOT = 16, 16 << 10
_FEWEST_ROWS = 20  # of a slot: wider rows are kept in another way
_MAGIC = b"\xabCs\x1a"
_NUMBER = struct.Struct("<Q")
_HEADER = struct.Struct("<Q4sIII")
_rings: "weakref.WeakSet[StepRing]" = weakref.WeakSet()


class OpenWindow(NamedTuple):
    """A window that its process had not closed."""

    number: int
    trace_id: bytes
    span_id: bytes
    """The span that recorded the steps."""
    event_name: str
    names: tuple[str, ...]
    """Of the numbers."""
    rows: tuple[tuple[int | float, ...], ...]
    """Each `step, time_ns, *numbers`."""


class StepRing:
    """Keeps the open windows of this process where a kill leaves them.

    The file is made at the first window. Where it cannot be, that is said once, and windows are appended to the segment
    each second instead.

    Args:
        segments: Beside which the file lies.
        append: Stores a record; `segments.append` when not given.
    """

    def __init__(self, segments: "SegmentWriter", append: Callable[[RecordType, bytes], None] | None = None) -> None:
        self._segments = segments
        self._append = append or segments.append
        self._start()
        _rings.add(self)

    def _start(self) -> None:
        self._lock = threading.RLock()
        self._file: MappedFile | None = None
        self._path: Path | None = None
        self._tried: Path | None = None
        self._free: deque[int] = deque()
        self._is_refused = False

    def slot(self, head: WindowHead) -> Slot | None:
        """Room for the rows of a window, or None: then it is to be given to `keep` each second. Never raises."""
        known = {"trace": head.trace_id.hex(), "span": head.span_id.hex(), "event": head.event_name}
        text = json.dumps({**known, "columns": head.columns, "kinds": head.kinds}).encode()
        at = -(-(_HEADER.size + len(text)) // 8) * 8
        rows = min((_SLOT - at) // row_form(head.kinds).size, MOST_ROWS)
        if rows < _FEWEST_ROWS:
            return None
        with self._lock:
            file = self._opened()
            if file is None or not self._free:
                return None
            begin = self._free.popleft()
        number = _NUMBER.pack(head.number)
        _HEADER.pack_into(file.memory, begin, 0, _MAGIC, len(text), crc32(text, crc32(number)), 0)
        file.memory[begin + _HEADER.size : begin + _HEADER.size + len(text)] = text
        file.memory[begin : begin + _NUMBER.size] = number
        first = begin + at
        return Slot(head.number, file.memory, first, first + rows * row_form(head.kinds).size)

    def keep(self, window: KeptWindow) -> None:
        """Append a window to the segment; a later one of the same number replaces it.

        Raises:
            OSError: It could not be stored.
        """
        event = event_message(window.event_name, window.time_ns, window.attributes)
        self._append(RecordType.STEPS, steps_payload(window.number, window.trace_id, window.span_id, event))

    def free(self, slot: Slot) -> None:
        """Take back the room of a window that is kept, or empty."""
        with self._lock:
            if self._file is not None and slot.memory is self._file.memory:
                begin = slot.first // _SLOT * _SLOT
                _NUMBER.pack_into(slot.memory, begin, 0)
                self._free.append(begin)

    def close(self) -> None:
        """Append what is open as it is now, and remove the file; the next window makes another. Never raises.

        A window that is open takes further rows, which are stored when it is closed.
        """
        with self._lock, suppress(Exception):  # the end of the journal comes after this
            file, path = self._file, self._path
            if file is None or path is None:
                return
            for window in _windows_in(bytes(file.memory)):
                event = window_event(window)
                if event is not None:
                    payload = steps_payload(window.number, window.trace_id, window.span_id, event)
                    self._append(RecordType.STEPS, payload)
            files.unlink(path)
            is_unused = len(self._free) == _SLOTS
            self._start()
            if is_unused:
                file.detach()

    def _opened(self) -> MappedFile | None:
        if self._file is None and not self._is_refused:
            path = ring_of(self._segments.directory, self._segments.prefix)
            try:
                files.make_private_directory(path.parent)
                if path == self._tried:
                    with suppress(OSError):  # ours, from an attempt that Ctrl-C broke off
                        files.unlink(path)
                self._tried = path
                self._file = MappedFile(path, _SLOTS * _SLOT)
            except Exception as error:  # noqa: BLE001 - once is enough, whatever it was
                let_through(error)
                self._is_refused = True
                warn_once(
                    f"steps {self._segments.directory}",
                    f"The steps of this process are stored each second, not each at once: "
                    f"{getattr(error, 'strerror', None) or error}.",
                )
            else:
                self._path = path
                self._free.extend(range(0, _SLOTS * _SLOT, _SLOT))
        return self._file

    def forget(self) -> None:
        """In a forked child: the file belongs to the parent."""
        file = self._file
        self._start()
        if file is not None:
            with suppress(OSError):
                file.detach()


def open_windows(path: Path) -> tuple[OpenWindow, ...]:
    """The windows that the file at `path` holds, the oldest first; a row that was cut short is left out.

    Never raises: what is no such file holds none.
    """
    try:
        data = files.read_from(path)
    except (OSError, MemoryError):
        return ()
    return _windows_in(data) if len(data) == _SLOTS * _SLOT else ()


def _windows_in(data: bytes) -> tuple[OpenWindow, ...]:
    found = (_window_at(data, begin) for begin in range(0, len(data), _SLOT))
    return tuple(sorted(window for window in found if window is not None))


def _window_at(data: bytes, begin: int) -> OpenWindow | None:
    number, magic, length, checked, _ = _HEADER.unpack_from(data, begin)
    text = data[begin + _HEADER.size : begin + _HEADER.size + length]
    if not number or magic != _MAGIC or length > _SLOT - _HEADER.size:
        return None
    if checked != crc32(text, crc32(_NUMBER.pack(number))):
        return None
    try:
        head = json.loads(text)
        kinds, columns, event_name = head["kinds"], tuple(head["columns"]), head["event"]
        texts = all(isinstance(text, str) for text in (kinds, event_name, *columns))
        if not texts or set(kinds) - {"q", "d"} or len(kinds) != len(columns):
            return None
        size = row_form(kinds).size
        first = begin + -(-(_HEADER.size + length) // 8) * 8
        end = first + min((begin + _SLOT - first) // size, MOST_ROWS) * size
        found, _ = columns_in(Slot(number, data, first, end), kinds, end)
        trace_id, span_id = bytes.fromhex(head["trace"]), bytes.fromhex(head["span"])
        return OpenWindow(number, trace_id, span_id, event_name, columns, tuple(zip(*found, strict=True)))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def window_event(window: OpenWindow) -> bytes | None:
    """That window, closed, as a serialized OTLP Span.Event message; None where it has no rows."""
    if not window.rows:
        return None
    columns = dict(zip((*INDEX, *window.names), zip(*window.rows, strict=True), strict=True))
    attributes = described(columns, WindowReason.END).attributes
    return event_message(window.event_name, window.rows[-1][1], attributes)  # type: ignore[arg-type]


def _forget_all() -> None:
    for ring in list(_rings):
        ring.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
