"""What a program has recorded, as the program itself knows it: written after each call returned, and kept by any kill.

A file of fixed slots, mapped into memory: a slot costs a microsecond, no system call and no turn of the interpreter's
lock, and the page cache keeps it when the process is killed. Each process has one of its own.
"""

import mmap
import os
import struct
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

from opentelemetry.trace import Span

__all__ = ["Ledger", "Recorded", "read_ledgers"]

_SLOT = struct.Struct("<B16s8s")
_SLOTS = 120_000
_FREE, _ENDED, _ROOT, _MARK = range(4)
_NUMBER = struct.Struct("<d")

SpanId = tuple[str, str]
"""Trace id and span id, in hex."""


class Ledger:
    """The notes of one program and of the processes it forks.

    Args:
        directory: Where the files are made, one a process.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open()
        os.register_at_fork(after_in_child=self._open)

    def ended(self, span: Span) -> None:
        """The `end()` of `span` has returned."""
        self._span(_ENDED, span)

    def root(self, span: Span) -> None:
        """`span` is what the program records below; it is still open."""
        self._span(_ROOT, span)

    def mark(self, name: str, value: float | None = None) -> None:
        """Note a number by a name of at most 16 letters; without one, the monotonic clock."""
        self._note(_MARK, name.encode().ljust(16), _NUMBER.pack(time.monotonic() if value is None else value))

    def _span(self, kind: int, span: Span) -> None:
        context = span.get_span_context()
        self._note(kind, context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big"))

    def _note(self, kind: int, first: bytes, second: bytes) -> None:
        _SLOT.pack_into(self._map, next(self._next) * _SLOT.size, kind, first, second)

    def _open(self) -> None:
        path = self._directory / f"{time.monotonic_ns():020}-{os.getpid()}.ledger"
        with path.open("wb+") as file:
            file.truncate(_SLOTS * _SLOT.size)
            self._map = mmap.mmap(file.fileno(), 0)
        self._next = count()


@dataclass
class Recorded:
    """What the ledgers of a program say."""

    ended: list[SpanId] = field(default_factory=list)
    roots: list[SpanId] = field(default_factory=list)
    marks: dict[str, float] = field(default_factory=dict)


def read_ledgers(directory: Path) -> Recorded:
    """What all processes of a program have noted so far."""
    recorded = Recorded()
    for path in sorted(directory.glob("*.ledger")):
        for kind, first, second in _slots(path.read_bytes()):
            if kind == _MARK:
                recorded.marks[first.decode().rstrip()] = _NUMBER.unpack(second)[0]
            else:
                (recorded.ended if kind == _ENDED else recorded.roots).append((first.hex(), second.hex()))
    return recorded


def _slots(data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    for kind, first, second in _SLOT.iter_unpack(data[: len(data) // _SLOT.size * _SLOT.size]):
        if kind == _FREE:
            return
        yield kind, first, second
