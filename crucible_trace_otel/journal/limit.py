"""The journal's size limit: what has been sent goes first, how runs ended goes last.

Whole segments go, oldest first: those of which all was sent; then the others, of which the spans that matter most are
kept (see `kept`). A crash between any two file operations leaves what the next call goes on from.
"""

import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.acks import Acks, unsent
from crucible_trace_otel.journal.kept import keep, kept_in, replaced
from crucible_trace_otel.journal.layout import ACKS, KEPT, SEGMENT, acks_of, prefix_of, recovered_of
from crucible_trace_otel.journal.reader import read_records, read_segment, segments_in, span_ids
from crucible_trace_otel.journal.records import VERSION, Record, RecordType

__all__ = ["LIMIT_BYTES", "enforce"]

LIMIT_BYTES: Final = 2 << 30
_RESERVED = 20
"""What part of the limit is for what is kept of segments that went."""
_MOST_KEPT = 8 << 20
"""Bytes of one kept segment; there may be several."""
_UNFINISHED = re.compile(rf"\.{KEPT}-\d{{4,}}{SEGMENT}\.\d+\.new")
_OF_THE_LIVING = 2
_HUGE = 1 << 26


@dataclass(slots=True)
class _Segment:
    """A segment that may go."""

    path: Path
    older: list[Path]
    """Those of its writer before it."""
    is_newest: bool


def enforce(directory: Path, limit_bytes: int = LIMIT_BYTES, *, is_alive: Callable[[str], bool]) -> list[str]:
    """Delete segments until all together take at most `limit_bytes`; the names of those that went.

    Of a living writer the two newest segments stay. One process at a time does this, where the file system has locks.

    Args:
        directory: Of the journal.
        limit_bytes: What its segments may take.
        is_alive: Whether the writer with a prefix lives, or may.

    Raises:
        OSError: Something could not be read, written or removed; what was not sent is still there, or kept.
    """
    with _alone(directory) as is_mine:
        if not is_mine:
            return []
        _finish(directory)
        return list(_removed(directory, limit_bytes, is_alive)) if _total(directory) > limit_bytes else []


def _removed(directory: Path, limit_bytes: int, is_alive: Callable[[str], bool]) -> Iterator[str]:
    """The names of segments, each as it has gone."""
    for segment in _that_may_go(directory, is_alive):
        if _total(directory) <= limit_bytes:
            return
        if _is_sent(segment.path) and not _is_left_open(segment) and not _ends_what_is_open(segment):
            _remove(segment.path)
            yield segment.path.name
    for segment in _that_may_go(directory, is_alive):
        if _total(directory) <= limit_bytes:
            return
        if _is_left_open(segment):
            continue
        if _is_sent(segment.path):
            _remove(segment.path)
        else:
            _condense(directory, segment.path, limit_bytes // _RESERVED)
        yield segment.path.name


def _condense(directory: Path, segment: Path, share: int) -> None:
    """Keep of a segment what matters most, and of what all kept segments hold no more than their share."""
    room = min(share, _MOST_KEPT)
    last = kept_in(directory)[-1:]
    _replace(directory, [*(path for path in last if _size(path) < room // 2), segment], room)
    while len(kept := kept_in(directory)) > 1 and sum(map(_size, kept)) > share:
        _replace(directory, [kept[0], kept[-1]], room)


def _replace(directory: Path, sources: list[Path], room: int) -> None:
    """Have one kept segment stand for others; only it says that they count as gone, so they go before it may."""
    keep(directory, sources, room)
    for source in sources:
        _remove(source)


def _that_may_go(directory: Path, is_alive: Callable[[str], bool]) -> list[_Segment]:
    """The segments that may go, the oldest first; one of a writer never before an older one of it."""
    by_writer: dict[str, list[Path]] = {}
    for path in segments_in(directory):
        by_writer.setdefault(prefix_of(path), []).append(path)
    found: list[tuple[int, _Segment]] = []
    for prefix, paths in by_writer.items():
        if prefix == KEPT:
            continue
        written = 0
        for index in range(len(paths) - (_OF_THE_LIVING if is_alive(prefix) else 0)):
            written = max(written, _written_ns(paths[index]))
            if _is_readable(paths[index]):
                found.append((written, _Segment(paths[index], paths[:index], index == len(paths) - 1)))
    return [segment for _, segment in sorted(found, key=lambda pair: (pair[0], pair[1].path.name))]


def _is_left_open(segment: _Segment) -> bool:
    """Whether it is the last of a dead writer, and what that left open has no end yet."""
    is_recovered = segment.path == recovered_of(segment.path.parent, prefix_of(segment.path))
    return segment.is_newest and not is_recovered and bool(read_segment(segment.path).open)


def _is_sent(segment: Path) -> bool:
    """Whether the collector has taken all of it; never of what a newer version alone reads, or tells of lost spans."""
    acks = Acks(segment)
    acks.load()
    if acks.refused or acks.withheld or unsent(segment, acks):
        return False
    records = (record for record in read_records(segment) if isinstance(record, Record))
    return all(record.version == VERSION and record.type != RecordType.GAP for record in records)


def _ends_what_is_open(segment: _Segment) -> bool:
    """Whether spans of a segment have an `open` record in an older one that is still there.

    Without their ends they would be taken for interrupted ones.
    """
    older = [path for path in segment.older if path.exists()]
    opened = {span_ids(stored.span) for path in older for stored in read_segment(path).open}
    return bool(opened) and any(span_ids(stored.span) in opened for stored in read_segment(segment.path).spans)


def _finish(directory: Path) -> None:
    """Go on from where a crash left this: remove segments that were replaced, and what belongs to none."""
    gone = replaced(directory)
    for segment in segments_in(directory):
        if segment.name in gone:
            _remove(segment)
    for path in files.listdir(directory):
        is_orphan = path.name.endswith(SEGMENT + ACKS) and not path.with_name(path.name.removesuffix(ACKS)).exists()
        if is_orphan or _UNFINISHED.fullmatch(path.name):
            files.unlink(path)


def _remove(segment: Path) -> None:
    """Remove a segment, then its acks: those without a segment harm nobody."""
    for path in (segment, acks_of(segment)):
        with suppress(FileNotFoundError):
            files.unlink(path)


def _total(directory: Path) -> int:
    return sum(map(_size, segments_in(directory)))


def _size(path: Path) -> int:
    """What a segment takes on the disk; nothing, for what is no file or a sparse one."""
    with suppress(OSError):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            return status.st_size if status.st_size < _HUGE else getattr(status, "st_blocks", 0) * 512
    return 0


def _is_readable(path: Path) -> bool:
    with suppress(OSError):
        os.close(files.open_regular(path))
        return True
    return False


def _written_ns(path: Path) -> int:
    with suppress(OSError):
        return path.lstat().st_mtime_ns
    return 0


@contextmanager
def _alone(directory: Path) -> Iterator[bool]:
    """Whether no other process has the lock of the directory; where there are no locks nobody else is expected."""
    try:
        fd = os.open(directory, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
    except OSError:  # Windows has no descriptors of directories
        yield True
        return
    try:
        yield files.try_lock(fd) is not False
    finally:
        files.let_go(fd)
