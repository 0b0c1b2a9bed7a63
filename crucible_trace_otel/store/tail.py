"""What is appended to a journal while it is watched: each record once, so that a look costs what is new in it."""

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.layout import KEPT, RECOVERED, RING, prefix_of
from crucible_trace_otel.journal.liveness import Life, life_of
from crucible_trace_otel.journal.progress import ring_windows
from crucible_trace_otel.journal.reader import StoredSteps, note_of, read_records
from crucible_trace_otel.journal.records import VERSION, Record, RecordType, read_span, read_steps
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.store.unended import journal_segments
from crucible_trace_otel.trace.otlp import decode_event, decode_span
from crucible_trace_otel.trace.spans import TraceEvent, TraceSpan

__all__ = ["JournalTail", "Look", "TailWindow"]


@dataclass(frozen=True, slots=True)
class TailWindow:
    """A window of steps, closed or as far as it is filled."""

    trace_id: str
    span_id: str
    """Of what it was recorded on."""
    event: TraceEvent


@dataclass(slots=True)
class Look:
    """What is new since the look before."""

    spans: list[TraceSpan] = field(default_factory=list)
    """Those that have ended, and those that were stored while they run, in the order in which they were stored.

    They are without resource and scope, which stand further up in the files."""
    windows: list[TailWindow] = field(default_factory=list)
    """Those that were closed, then those that are open now, new or not."""
    has_died: bool = False
    """Whether a process that recorded here has died, so that what it left open has been interrupted."""


class JournalTail:
    """Follows the segments of a journal directory, those that are there and those to come, from their present ends.

    What is read of the journal after this was made, and what `look()` returns, are together all of it; a record that
    is appended just then may be in both.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._ends: dict[Path, int] = {}
        self._sizes: dict[Path, int] = {}
        for segment in journal_segments(directory):
            self._ends[segment] = self._sizes[segment] = _size(segment)
        self._dead: set[str] = set()
        self._dead = set(self._dead_now())

    def look(self) -> Look:
        """Read what is new. A file that cannot be read, or is gone, is left out; a damaged record too.

        Raises:
            StoreError: The journal has been taken away.
        """
        found = Look()
        # Whoever is dead has written all there will be, so this comes first.
        dead = set(self._dead_now())
        found.has_died = not dead <= self._dead
        self._dead |= dead
        for segment in journal_segments(self._directory):
            size = _size(segment)
            if size != self._sizes.get(segment):
                self._sizes[segment] = size
                for record in self._new_records(segment):
                    with suppress(FormatError):
                        _take(record, found)
        for ring in self._directory.glob(f"*{RING}"):
            for window in ring_windows(ring):
                with suppress(FormatError):
                    found.windows.append(_window(window))
        return found

    def _new_records(self, segment: Path) -> Iterator[Record]:
        with suppress(OSError):
            for record in read_records(segment, self._ends.get(segment, 0)):
                if isinstance(record, Record):
                    self._ends[segment] = record.end
                    if record.version == VERSION:
                        yield record

    def _dead_now(self) -> Iterator[str]:
        """The writers that are dead, asked of each until it is."""
        newest: dict[str, Path] = {}
        for segment in journal_segments(self._directory):
            if not segment.stem.endswith(f"-{RECOVERED}"):
                newest[prefix_of(segment)] = segment
        for prefix, segment in newest.items():
            if prefix in self._dead or prefix == KEPT or life_of(note_of(segment), segment) is Life.DEAD:
                yield prefix


def _take(record: Record, found: Look) -> None:
    match record.type:
        case RecordType.SPAN:
            found.spans.append(decode_span(b"", b"", read_span(record.payload)[2]))
        case RecordType.OPEN:
            span = decode_span(b"", b"", read_span(record.payload)[2])
            running = {**span.attributes, attr.CRUCIBLE_RUN_STATE: RunState.RUNNING}
            found.spans.append(replace(span, end_ns=time.time_ns(), attributes=running))
        case RecordType.STEPS:
            found.windows.append(_window(StoredSteps(*read_steps(record.payload))))


def _window(stored: StoredSteps) -> TailWindow:
    return TailWindow(stored.trace_id.hex(), stored.span_id.hex(), decode_event(stored.event))


def _size(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0
