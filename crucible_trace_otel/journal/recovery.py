"""The ends of what a process left open when it died.

They go into a segment of their own beside what the process wrote itself: `<prefix>-recovered.segment`. Whoever finds
the writer dead makes them: the shipper, the next start, `crucible-trace recover`. Doing it again changes nothing.
"""

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.acks import Acks
from crucible_trace_otel.journal.layout import KEPT, prefix_of, recovered_of, ring_of
from crucible_trace_otel.journal.liveness import Life, is_of_this_host, life_of
from crucible_trace_otel.journal.messages import time_of
from crucible_trace_otel.journal.progress import windows_of
from crucible_trace_otel.journal.reader import (
    JournalContent,
    StoredSpan,
    StoredSteps,
    WriterContent,
    note_of,
    read_segment,
    read_writer,
    segments_in,
    span_ids,
)
from crucible_trace_otel.journal.records import AckState, RecordType, frame, json_payload, span_payload
from crucible_trace_otel.journal.restoring import closings, restored
from crucible_trace_otel.semconv.enums import RunState

__all__ = [
    "WITHOUT_A_WORD",
    "cause_of_end",
    "last_seen_of",
    "left_open",
    "may_be_open",
    "recover",
    "recover_dead",
    "restored",
]

WITHOUT_A_WORD: Final = "its process was killed or ended without a word (SIGKILL, SIGTERM, os._exit, out of memory)"
"""What is known about the end of a process that said nothing."""

_LONGEST_CAUSE = 400
_TELLING = 3  # of a writer's last segments one may be empty
_PATIENCE_S = 1.0


def recover(directory: Path, prefix: str, *, cause: str | None = None) -> int:
    """Close what the writer with that prefix has left open, if it is dead; how many spans that were.

    0 where nothing is open, where it was done before, and where the writer lives: that one is never touched.

    Args:
        directory: Of the journal.
        prefix: What the names of the writer's files begin with.
        cause: What ended it, where that is known better than from its files.

    Raises:
        OSError: The directory cannot be listed, or the ends cannot be written; then nothing has changed.
    """
    own = _own_segments(directory).get(prefix, [])
    if not own:
        return 0
    life = life_of(_note_of(own), own[-1])
    if life is not Life.DEAD:
        return 0
    with _locked(own[-1]):
        writer = _recent(directory, prefix, own)
        windows = windows_of(writer)
        closed, markers = closings(
            writer,
            state=RunState.INTERRUPTED,
            last_seen_ns=last_seen_of(writer, windows),
            cause=cause or cause_of_end(writer.content.closed),
            windows=windows,
        )
        if closed:
            there = _ids(writer.content.spans)  # of an end that was damaged the marker may be
            new = [one for one in (*closed, *markers) if span_ids(one.span) not in there]
            _write(recovered_of(directory, prefix), writer.note, new)
        if writer.ring is not None:
            with suppress(OSError):
                files.unlink(writer.ring)
    return len(closed)


def recover_dead(directory: Path) -> dict[str, int]:
    """Close what every dead writer of this host has left open: how many spans of which writer, those with any.

    Raises:
        OSError: The directory cannot be listed, or ends cannot be written; all other writers have been seen to.
    """
    closed: dict[str, int] = {}
    trouble: OSError | None = None
    for prefix in left_open(directory):
        try:
            count = recover(directory, prefix)
        except OSError as error:
            trouble = trouble or error
            continue
        if count:
            closed[prefix] = count
    if trouble is not None:
        raise trouble
    return closed


def left_open(directory: Path) -> list[str]:
    """The dead writers of this host that may have left something open, by their prefixes.

    Raises:
        OSError: The directory cannot be listed.
    """
    found = []
    for prefix, own in _own_segments(directory).items():
        note = _note_of(own)
        is_dead = (not note or is_of_this_host(note)) and life_of(note, own[-1]) is Life.DEAD
        if is_dead and not _is_settled(directory, prefix, own):
            found.append(prefix)
    return found


def may_be_open(own: Iterable[Path]) -> bool:
    """Whether the segments that a dead writer wrote itself, in their order, tell of anything it has not ended.

    A segment repeats what is open when it is begun, so that the newest tells; where the writer died in the midst of
    that, the one before tells. True also where the newest is damaged, or ends within a record: what it repeats may be
    cut. Never raises.
    """
    newest, before = JournalContent(()), JournalContent(())
    for segment in own:
        content = read_segment(segment)
        if content != JournalContent(()):  # one that is empty says nothing
            newest, before = content, newest
    return bool(newest.open or newest.damaged or newest.torn) or not _ids(before.open) <= _ids(newest.spans)


def last_seen_of(writer: WriterContent, windows: Iterable[StoredSteps]) -> int:
    """When a process last gave a sign of life, nanoseconds since 1970: it wrote, touched its file, or kept a step.

    Args:
        writer: What the process has written.
        windows: Its windows of steps.
    """
    seen = [0]
    for path in (*writer.segments, *([writer.ring] if writer.ring is not None else [])):
        with suppress(OSError):
            seen.append(path.lstat().st_mtime_ns)
    for window in windows:
        with suppress(FormatError):
            seen.append(time_of(window.event))
    return min(max(seen), time.time_ns())  # a damaged time must not put the end into the future


def cause_of_end(closed: Mapping[str, Any] | None) -> str:
    """What ended a process, by what it wrote last."""
    if closed is None:
        return WITHOUT_A_WORD
    error = str(closed.get("error") or "")[:_LONGEST_CAUSE]
    return f"its program ended without ending it{f' ({error})' if error else ''}"


def _own_segments(directory: Path) -> dict[str, list[Path]]:
    """The segments that each writer wrote itself, in their order."""
    found: dict[str, list[Path]] = {}
    for path in segments_in(directory):
        prefix = prefix_of(path)
        if prefix != KEPT and path != recovered_of(directory, prefix):
            found.setdefault(prefix, []).append(path)
    return found


def _note_of(own: Sequence[Path]) -> Mapping[str, Any]:
    """Who wrote these segments, as the newest that says so has it; empty where none does."""
    return next((note for note in map(note_of, reversed(own)) if note), {})


def _recent(directory: Path, prefix: str, own: Sequence[Path]) -> WriterContent:
    """What a writer left open, from its last two segments where they tell: a run of days may have written hundreds."""
    if len(own) <= 2:  # noqa: PLR2004
        return read_writer(directory, prefix)
    before, newest = (read_segment(path) for path in own[-2:])
    spans = (*before.spans, *newest.spans, *read_segment(recovered_of(directory, prefix)).spans)
    steps = before.steps + newest.steps
    known = _ids((*newest.open, *spans))
    is_whole = _ids(before.open) | {(one.trace_id, one.span_id) for one in steps} <= known
    if before.damaged or newest.damaged or newest.torn or not is_whole:
        return read_writer(directory, prefix)  # the newest does not repeat what was open when it was begun
    ended = _ids(spans)
    opened = tuple(one for one in newest.open if span_ids(one.span) not in ended)
    content = JournalContent(spans, open=opened, steps=steps, notes=newest.notes, closed=newest.closed)
    ring = ring_of(directory, prefix)
    return WriterContent(prefix, tuple(own), content, ring if ring.is_file() and not ring.is_symlink() else None)


def _ids(spans: Iterable[StoredSpan]) -> set[tuple[bytes, bytes]]:
    return {span_ids(one.span) for one in spans}


def _is_settled(directory: Path, prefix: str, own: Sequence[Path]) -> bool:
    """Whether it is cheap to see that a dead writer left nothing open: each of its files repeats what is open."""
    if ring_of(directory, prefix).exists():
        return False
    recovered = recovered_of(directory, prefix)
    with suppress(OSError):
        if recovered.lstat().st_mtime_ns >= own[-1].lstat().st_mtime_ns and read_segment(recovered).spans:
            return True
    return not may_be_open(own[-_TELLING:])


@contextmanager
def _locked(segment: Path) -> Iterator[None]:
    """Hold the lock of a dead writer's newest segment against others who recover; waits for it a second at most.

    A child that inherited it may hold it for as long as it lives.
    """
    try:
        fd = files.open_regular(segment)
    except OSError:
        yield
        return
    try:
        until = time.monotonic() + _PATIENCE_S
        while files.try_lock(fd) is False and time.monotonic() < until:
            time.sleep(0.02)
        yield
    finally:
        files.let_go(fd)


def _write(path: Path, note: Mapping[str, Any], spans: Iterable[StoredSpan]) -> None:
    """Put `spans` into the recovered segment, behind what is in it: what was sent of it stays where it is."""
    before = files.read_from(path) if path.is_file() and not path.is_symlink() else b""
    acks = Acks(path)
    acks.load()
    if acks.ranges and acks.ranges[-1].end > len(before):  # it was longer once: other spans come to lie there
        acks.add(AckState.RESEND, len(before), acks.ranges[-1].end, 0)
    numbers: dict[tuple[RecordType, bytes], int] = {}
    records = [before] if before else [frame(RecordType.NOTE, json_payload(note))]

    def number(kind: RecordType, message: bytes) -> int:
        if (kind, message) not in numbers:
            numbers[kind, message] = len(numbers)
            records.append(frame(kind, numbers[kind, message].to_bytes(4, "little") + message))
        return numbers[kind, message]

    for one in spans:
        references = number(RecordType.RESOURCE, one.resource), number(RecordType.SCOPE, one.scope)
        records.append(frame(RecordType.SPAN, span_payload(*references, one.span)))
    with files.written_whole(path) as file:
        file.write(b"".join(records))
