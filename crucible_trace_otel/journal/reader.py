"""The reader of a journal directory: every intact record, and a count of what could not be read."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crucible_trace_otel.errors import FormatError, StoreError
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.layout import RECOVERED, SEGMENT, is_of_journal, prefix_of, ring_of
from crucible_trace_otel.journal.records import (
    HANDED_OVER,
    VERSION,
    Damage,
    Record,
    RecordType,
    read_json,
    read_span,
    read_steps,
    scan,
)
from crucible_trace_otel.journal.wire import fields

__all__ = [
    "JournalContent",
    "StoredSpan",
    "StoredSteps",
    "WriterContent",
    "no_journal_at",
    "note_of",
    "read_directory",
    "read_records",
    "read_segment",
    "read_writer",
    "read_writers",
    "segments_in",
    "span_ids",
]

_NOTE = 4096  # more than a note takes
_TRACE_ID, _SPAN_ID = 1, 2  # field numbers of an OTLP Span


@dataclass(frozen=True, slots=True)
class StoredSpan:
    """One span as it was stored."""

    resource: bytes
    """A serialized OTLP ResourceSpans message without scopes: the resource and its schema URL."""
    scope: bytes
    """A serialized OTLP ScopeSpans message without spans: the scope and its schema URL."""
    span: bytes
    """A serialized OTLP Span message."""
    offset: int = field(default=0, compare=False)
    """Where its record begins in its segment."""
    end: int = field(default=0, compare=False)
    """Where the next record begins."""


@dataclass(frozen=True, slots=True)
class StoredSteps:
    """A closed window of steps, stored before the span that holds it has ended."""

    window: int
    """Its number, which the step ring and the stored window have in common."""
    trace_id: bytes
    span_id: bytes
    event: bytes
    """A serialized OTLP Span.Event message."""


@dataclass(frozen=True, slots=True)
class JournalContent:
    """What a journal, or a part of it, holds."""

    spans: tuple[StoredSpan, ...]
    damaged: int = 0
    """Runs of bytes in the middle of a segment that are no intact record."""
    torn: int = 0
    """Segments that end within a record: normal for a process that was killed or is writing right now."""
    unreadable: tuple[str, ...] = ()
    """One sentence for each file, or newer kind of record, that was left aside."""
    open: tuple[StoredSpan, ...] = ()
    """The newest record of each span that has not ended in here."""
    steps: tuple[StoredSteps, ...] = ()
    gaps: tuple[Mapping[str, Any], ...] = ()
    """What could not be stored, as the writers said afterwards."""
    notes: tuple[Mapping[str, Any], ...] = ()
    """Who wrote, as each segment says at its beginning."""
    closed: Mapping[str, Any] | None = None
    """How the writer closed its last file; None where it did not."""


@dataclass(frozen=True, slots=True)
class WriterContent:
    """What one process has written."""

    prefix: str
    """What the names of its files begin with."""
    segments: tuple[Path, ...]
    """Its segments in their order, without the one that others wrote when it had died."""
    content: JournalContent
    ring: Path | None
    """The file of its open windows, where there is one."""

    @property
    def note(self) -> Mapping[str, Any]:
        """Who it is: process id, start time, host; empty where that was not written or is damaged."""
        return self.content.notes[-1] if self.content.notes else {}


def no_journal_at(path: Path) -> StoreError:
    """What is said where `path` is no directory."""
    reason = "it is no directory" if path.exists() else "nothing is there"
    return StoreError(f"No journal at {path}: {reason}. Record something first, or name another place.")


def read_directory(path: str | os.PathLike[str]) -> JournalContent:
    """Read every segment of the journal at `path`, also while it is being written.

    Raises:
        StoreError: `path` is no directory, or holds other things than segments.
    """
    directory = Path(path)
    if not directory.is_dir():
        raise no_journal_at(directory)
    segments = segments_in(directory)
    if not segments and not all(map(is_of_journal, directory.iterdir())):  # an empty one is one in which nothing ended
        inside = directory / ".crucible"
        way_out = f"Did you mean {inside}?" if inside.is_dir() else "Record something first, or name another place."
        raise StoreError(f"No journal in {directory}: it holds no *{SEGMENT} file. {way_out}")
    return _together(map(read_segment, segments))


def segments_in(directory: Path) -> list[Path]:
    """The segments in `directory`, sorted by name: the oldest writer's first."""
    return sorted(path for path in files.listdir(directory) if path.name.endswith(SEGMENT) and path.name[0] != ".")


def read_writers(directory: Path) -> list[WriterContent]:
    """What each process has written to the journal `directory`, the oldest first.

    Raises:
        OSError: The directory cannot be listed.
    """
    return [_writer(directory, prefix, paths) for prefix, paths in _by_writer(segments_in(directory)).items()]


def read_writer(directory: Path, prefix: str) -> WriterContent:
    """What the process whose files begin with `prefix` has written; nothing, where there is no such file.

    Raises:
        OSError: The directory cannot be listed.
    """
    return _writer(directory, prefix, _by_writer(segments_in(directory)).get(prefix, []))


def read_segment(path: Path) -> JournalContent:
    """Read one segment; a file that cannot be opened is reported in `unreadable`. Never raises."""
    try:
        return _content(path.name, read_records(path))
    except (OSError, MemoryError) as error:
        reason = getattr(error, "strerror", None) or error or "it does not fit into memory"
        return JournalContent((), unreadable=(f"{path.name}: {reason}",))


def read_records(path: Path, start: int = 0) -> Iterator[Record | Damage]:
    """The records of a file from offset `start` on, where one begins, and the runs of bytes that are none.

    To follow a file that grows, call again with the end of the last record: a torn end may be one being written.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    return scan(files.read_from(path, start), start)


def note_of(segment: Path) -> Mapping[str, Any]:
    """Who writes a segment, as its first record says; empty where that is damaged. Never raises."""
    with suppress(OSError, FormatError), os.fdopen(files.open_regular(segment), "rb") as file:
        for record in scan(file.read(_NOTE)):
            if isinstance(record, Record) and record.type == RecordType.NOTE:
                return read_json(record.payload)
    return {}


def span_ids(span: bytes) -> tuple[bytes, bytes]:
    """Trace id and span id of a serialized OTLP Span; empty where it has none or is damaged."""
    found = {_TRACE_ID: b"", _SPAN_ID: b""}
    try:
        for number, _, value in fields(span):
            if number > _SPAN_ID:
                break
            if isinstance(value, bytes):
                found[number] = value
    except FormatError:
        pass
    return found[_TRACE_ID], found[_SPAN_ID]


def _by_writer(segments: Iterable[Path]) -> dict[str, list[Path]]:
    writers: dict[str, list[Path]] = {}
    for path in segments:
        writers.setdefault(prefix_of(path), []).append(path)
    return writers


def _writer(directory: Path, prefix: str, paths: list[Path]) -> WriterContent:
    ring = ring_of(directory, prefix)
    own = tuple(path for path in paths if not path.name.endswith(f"-{RECOVERED}{SEGMENT}"))
    there = ring.is_file() and not ring.is_symlink()
    return WriterContent(prefix, own, _together(map(read_segment, paths)), ring if there else None)


def _content(name: str, records: Iterable[Record | Damage]) -> JournalContent:
    """What the records of one segment say."""
    found = _Found()
    for record in records:
        if isinstance(record, Damage):
            found.torn += record.torn
            found.damaged += not record.torn
        elif record.version != VERSION:
            found.foreign[f"format version {record.version}"] += 1
        else:
            try:
                found.take(record)
            except FormatError:
                found.damaged += 1
    unreadable = (
        f"{name}: {count} records of {kind}; a newer version reads them" for kind, count in found.foreign.items()
    )
    return JournalContent(
        spans=tuple(found.spans),
        damaged=found.damaged,
        torn=found.torn,
        unreadable=tuple(unreadable),
        open=_still_open(found.open, found.spans, found.closed),
        steps=tuple(found.steps),
        gaps=tuple(found.gaps),
        notes=tuple(found.notes),
        closed=found.closed,
    )


class _Found:
    """What has been read of a segment so far."""

    def __init__(self) -> None:
        self.messages: dict[int, bytes] = {}
        self.spans: list[StoredSpan] = []
        self.open: list[StoredSpan] = []
        self.steps: list[StoredSteps] = []
        self.gaps: list[Mapping[str, Any]] = []
        self.notes: list[Mapping[str, Any]] = []
        self.closed: Mapping[str, Any] | None = None
        self.damaged = self.torn = 0
        self.foreign: Counter[str] = Counter()

    def take(self, record: Record) -> None:
        """Take in one record of this version.

        Raises:
            FormatError: Its payload is not what its type says.
        """
        match record.type:
            case RecordType.RESOURCE | RecordType.SCOPE:
                self.messages[int.from_bytes(record.payload[:4], "little")] = record.payload[4:]
            case RecordType.SPAN | RecordType.OPEN:
                resource, scope, span = read_span(record.payload)
                around = self.messages.get(resource, b""), self.messages.get(scope, b"")
                stored = StoredSpan(*around, span, record.offset, record.end)
                (self.spans if record.type == RecordType.SPAN else self.open).append(stored)
                self.closed = None  # it went on after that
            case RecordType.STEPS:
                self.steps.append(StoredSteps(*read_steps(record.payload)))
            case RecordType.GAP:
                self.gaps.append(read_json(record.payload))
            case RecordType.NOTE:
                self.notes.append(read_json(record.payload))
                self.closed = None
            case RecordType.CLOSED:
                self.closed = read_json(record.payload)
            case _:
                self.foreign[f"type {record.type}"] += 1


def _together(contents: Iterable[JournalContent]) -> JournalContent:
    """Several segments as one."""
    parts = list(contents)
    spans = tuple(span for part in parts for span in part.spans)
    last = [part for part in parts if part.notes][-1:]
    closed = last[0].closed if last else None
    return JournalContent(
        spans=spans,
        damaged=sum(part.damaged for part in parts),
        torn=sum(part.torn for part in parts),
        unreadable=tuple(sentence for part in parts for sentence in part.unreadable),
        open=_still_open([span for part in parts for span in part.open], spans, closed),
        steps=tuple(steps for part in parts for steps in part.steps),
        gaps=tuple(gap for part in parts for gap in part.gaps),
        notes=tuple(note for part in parts for note in part.notes),
        closed=closed,
    )


def _still_open(
    opened: Iterable[StoredSpan], ended: Iterable[StoredSpan], closed: Mapping[str, Any] | None
) -> tuple[StoredSpan, ...]:
    """The newest record of each span that has none of its end."""
    if closed is not None and closed.get("how") == HANDED_OVER:
        return ()
    newest = {span_ids(stored.span): stored for stored in opened}
    if newest:
        for stored in ended:
            newest.pop(span_ids(stored.span), None)
    return tuple(newest.values())
