"""The reader of a journal directory: every intact span, and a count of what could not be read."""

import os
import stat
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from crucible_trace_otel.errors import StoreError
from crucible_trace_otel.journal.records import VERSION, Damage, RecordType, scan
from crucible_trace_otel.journal.segment import SUFFIX

_MUCH = 1 << 26

__all__ = ["JournalContent", "StoredSpan", "read_directory", "read_segment"]


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span as it was stored."""

    resource: bytes
    """A serialized OTLP ResourceSpans message without scopes: the resource and its schema URL."""
    scope: bytes
    """A serialized OTLP ScopeSpans message without spans: the scope and its schema URL."""
    span: bytes
    """A serialized OTLP Span message."""


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal holds."""

    spans: tuple[StoredSpan, ...]
    damaged: int = 0
    """Runs of bytes in the middle of a segment that are no intact record."""
    torn: int = 0
    """Segments that end within a record: normal for a process that was killed or is writing right now."""
    unreadable: tuple[str, ...] = ()
    """One sentence for each file, or newer kind of record, that was left aside."""


def read_directory(path: str | os.PathLike[str]) -> JournalContent:
    """Read every segment of the journal at `path`, also while it is being written.

    Raises:
        StoreError: `path` is no directory, or holds other things than segments.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise StoreError(
            f"No journal at {directory}: it is no directory. Record something first, or name another place."
        )
    segments = sorted(directory.glob(f"*{SUFFIX}"))
    if not segments and any(directory.iterdir()):  # an empty one is a journal in which nothing has ended yet
        inside = directory / ".crucible"
        way_out = f"Did you mean {inside}?" if inside.is_dir() else "Record something first, or name another place."
        raise StoreError(f"No journal in {directory}: it holds no *{SUFFIX} file. {way_out}")
    contents = [read_segment(segment) for segment in segments]
    return JournalContent(
        spans=tuple(span for content in contents for span in content.spans),
        damaged=sum(content.damaged for content in contents),
        torn=sum(content.torn for content in contents),
        unreadable=tuple(sentence for content in contents for sentence in content.unreadable),
    )


def read_segment(path: Path) -> JournalContent:
    """Read one segment; a file that cannot be opened is reported in `unreadable`. Never raises."""
    try:
        data = _read_regular_file(path)
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error or "it does not fit into memory"
        return JournalContent((), unreadable=(f"{path.name}: {reason}",))
    spans: list[StoredSpan] = []
    messages: dict[int, bytes] = {}
    damaged = torn = 0
    foreign: Counter[str] = Counter()
    for found in scan(data):
        if isinstance(found, Damage):
            torn += found.torn
            damaged += not found.torn
        elif found.version != VERSION:
            foreign[f"format version {found.version}"] += 1
        elif found.type in (RecordType.RESOURCE, RecordType.SCOPE):
            messages[int.from_bytes(found.payload[:4], "little")] = found.payload[4:]
        elif found.type == RecordType.SPAN:
            resource, scope = (int.from_bytes(found.payload[at : at + 4], "little") for at in (0, 4))
            spans.append(StoredSpan(messages.get(resource, b""), messages.get(scope, b""), found.payload[8:]))
        else:
            foreign[f"type {found.type}"] += 1
    unreadable = (
        f"{path.name}: {count} records of {kind}; a newer version reads them" for kind, count in foreign.items()
    )
    return JournalContent(tuple(spans), damaged, torn, tuple(unreadable))


def _read_regular_file(path: Path) -> bytes:
    """The bytes of `path`, which must be a file: a link, a pipe or a device in its place is not opened."""
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    fd = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(0, "not a regular file")
    with os.fdopen(fd, "rb") as file:
        status = os.fstat(fd)
        if status.st_size > _MUCH and getattr(status, "st_blocks", status.st_size) * 512 < status.st_size // 2:
            raise OSError(0, "a sparse file, which no writer of ours makes")
        return file.read()
