"""What each process has written to a journal, with the operations it has not ended."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from crucible_trace_otel.errors import StoreError
from crucible_trace_otel.journal.layout import RING
from crucible_trace_otel.journal.liveness import Life, life_of
from crucible_trace_otel.journal.progress import ring_windows, windows_of
from crucible_trace_otel.journal.reader import (
    StoredSpan,
    StoredSteps,
    WriterContent,
    read_directory,
    read_writers,
    segments_in,
)
from crucible_trace_otel.journal.recovery import cause_of_end, last_seen_of, restored
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.trace.spans import TraceSpan

__all__ = ["Written", "journal_segments", "read_journal", "unended"]


@dataclass(frozen=True, slots=True)
class Written:
    """What one process has written."""

    writer: WriterContent
    windows: tuple[StoredSteps, ...]
    """Its windows of steps, closed and open."""


def journal_segments(directory: Path) -> list[Path]:
    """The segments of the journal `directory`.

    Raises:
        StoreError: It is no journal, or it cannot be listed.
    """
    try:
        segments = segments_in(directory) if directory.is_dir() else []
        if not segments:
            read_directory(directory)  # says what is wrong with it
    except OSError as error:
        raise StoreError(f"The journal {directory} cannot be read: {error.strerror or error}.") from error
    return segments


def read_journal(directory: Path) -> list[Written]:
    """What each process has written to the journal `directory`, the oldest first.

    Raises:
        StoreError: It is no journal, or it cannot be listed.
    """
    if not journal_segments(directory):
        return []
    try:
        # The rings first: a window that is closed meanwhile is then met twice, and not missed.
        rings = {ring: ring_windows(ring) for ring in directory.glob(f"*{RING}")}
        writers = read_writers(directory)
    except OSError as error:
        raise StoreError(f"The journal {directory} cannot be read: {error.strerror or error}.") from error
    return [Written(writer, windows_of(writer, rings.get(writer.ring or directory, ()))) for writer in writers]


def unended(written: Written, ended: Iterable[TraceSpan]) -> tuple[StoredSpan, ...]:
    """The operations a process has not ended, as far as they have come: running ones, or interrupted ones if it died.

    Args:
        written: What it has written.
        ended: The spans that are in there.
    """
    writer = written.writer
    if not writer.content.open and {window.span_id.hex() for window in written.windows} <= {
        one.span_id for one in ended
    }:
        return ()
    is_dead = not writer.segments or life_of(writer.note, writer.segments[-1]) is Life.DEAD
    return restored(
        writer,
        state=RunState.INTERRUPTED if is_dead else RunState.RUNNING,
        last_seen_ns=last_seen_of(writer, written.windows),
        cause=cause_of_end(writer.content.closed),
        windows=written.windows,
    )
