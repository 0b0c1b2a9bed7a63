"""What became of the records of a segment: sent, refused, or still to be sent.

Beside each segment lies an `.acks` file, to which whoever sends appends one ACK record an answer. A later record counts
where it overlaps an earlier one. Damage in the file is skipped: at worst something is sent again.
"""

import os
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.layout import acks_of, prefix_of
from crucible_trace_otel.journal.reader import segments_in
from crucible_trace_otel.journal.records import (
    VERSION,
    AckState,
    Record,
    RecordType,
    ack_payload,
    frame,
    read_ack,
    scan,
)

__all__ = ["Acks", "Progress", "Range", "is_span", "progress_of", "unsent"]

_LOOK = 64 << 10
_NO_FILE = (0, 0, 0)
_PLAIN = (AckState.SENT, AckState.WITHHELD)
_SPAN_AT_LEAST = 8
"""Bytes of a SPAN record's payload that are no span: what is shorter is damage."""


@dataclass(frozen=True, slots=True)
class Range:
    """A part of a segment that was answered: the records from offset `first` to `end`."""

    first: int
    end: int
    spans: int
    """SPAN records in it; others in between do not matter."""
    refused: int
    """How many of those the collector turned down: all of them, or the last ones of a partial success."""
    state: AckState
    """SENT, REFUSED or WITHHELD; RESEND only where something is noted."""
    said: str = ""
    """The collector's words."""
    answer: tuple[int, int, int] = field(default=(0, 0, 0), compare=False)
    """First offset, end and refused spans of the whole answer, of which later ones may have replaced a part."""

    @property
    def is_plain(self) -> bool:
        """Whether the same became of all of it, without a word."""
        return self.state in _PLAIN and not self.refused and not self.answer[2] and not self.said

    def is_like(self, other: "Range") -> bool:
        """Whether the two may be one."""
        return self.is_plain and other.is_plain and self.state is other.state


class Acks:
    """What is known about the records of one segment.

    Args:
        segment: Its path; the acks lie beside it, and are made at the first `add`.
    """

    def __init__(self, segment: Path) -> None:
        self.segment = segment
        self.path = acks_of(segment)
        self._ranges: list[Range] = []
        self._firsts: list[int] = []
        self._file = _NO_FILE
        self._read_to = 0
        self._settled = 0  # up to here nothing is to be sent: `settled_to` need not look again
        self._unwritten: list[Range] = []

    @property
    def ranges(self) -> tuple[Range, ...]:
        """What was answered, in order; no two overlap, and neighbours that were plainly taken are one."""
        return tuple(self._ranges)

    @property
    def sent(self) -> int:
        """Spans that the collector took."""
        return sum(part.spans - part.refused for part in self._ranges if part.state is not AckState.WITHHELD)

    @property
    def withheld(self) -> int:
        """Spans that are not to be sent."""
        return sum(part.spans for part in self._ranges if part.state is AckState.WITHHELD)

    @property
    def refused(self) -> int:
        """Spans that the collector turned down."""
        return sum(part.refused for part in self._ranges)

    def load(self) -> bool:
        """Read what was appended since the last time, by anybody. Never raises; cheap where nothing was.

        Returns:
            Whether something is to be sent again that was settled before.
        """
        self._write_waiting()
        try:
            status = self.path.lstat()
            file = status.st_dev, status.st_ino, status.st_size
            if file == self._file:
                return False
            is_same = self._file == _NO_FILE or (file[:2] == self._file[:2] and self._read_to <= file[2])
            data = files.read_from(self.path, self._read_to if is_same else 0)
        except OSError:
            file, is_same, data = _NO_FILE, self._file == _NO_FILE, b""
        is_anew = not is_same and self._begin_anew()
        self._file = file
        again = [self._take(record) for record in scan(data, self._read_to) if isinstance(record, Record)]
        for waiting in self._unwritten:
            self._put(waiting)
        return any(again) or is_anew

    def add(  # noqa: PLR0917 - the fields of the record, in their order
        self, state: AckState, first: int, end: int, spans: int, refused: int = 0, said: str = ""
    ) -> None:
        """Note what became of the `spans` in the records from offset `first` to `end`; RESEND forgets what was noted.

        Never raises: what cannot be appended is known to this object, and appended with the next call that can.
        """
        if first < end:
            self._unwritten.append(_answered(state, first, end, spans, refused, said))
            self._put(self._unwritten[-1])
            self._write_waiting()

    def state_at(self, offset: int) -> AckState | None:
        """SENT, REFUSED or WITHHELD for the record at `offset`; None where it is still to be sent.

        Of a partial success this says SENT for all of it; `states` tells which ones were refused.
        """
        part = self.range_at(offset)
        return None if part is None else part.state

    def range_at(self, offset: int) -> Range | None:
        """The answer that the record at `offset` was part of; None where it is still to be sent."""
        index = bisect_right(self._firsts, offset) - 1
        return self._ranges[index] if index >= 0 and offset < self._ranges[index].end else None

    def states(self, offsets: Sequence[int]) -> list[AckState | None]:
        """What became of each span, given the offsets of all SPAN records of the segment in their order.

        Which spans a partial success refused is not told by the protocol: the last ones of it count as refused.
        """
        states = [self.state_at(offset) for offset in offsets]
        for part in self._ranges:
            first, end, refused = part.answer
            if part.state is AckState.SENT and refused:
                answered = range(bisect_left(offsets, first), bisect_left(offsets, end))
                for index in answered[-refused:]:
                    if part.first <= offsets[index] < part.end:
                        states[index] = AckState.REFUSED
        return states

    def settled_to(self) -> int:
        """The offset up to which every span of the segment is sent or refused: its size, where all of it is.

        Raises:
            OSError: The segment cannot be read.
        """
        begin = max(bisect_right(self._firsts, self._settled) - 1, 0)
        for part in self._ranges[begin:]:
            found = _first_span(self.segment, self._settled, part.first)
            if found is not None:
                return found
            self._settled = max(self._settled, part.end)
        with os.fdopen(files.open_regular(self.segment), "rb") as file:
            size = os.fstat(file.fileno()).st_size
        found = _first_span(self.segment, self._settled, size)
        return size if found is None else found

    def _begin_anew(self) -> bool:
        """Forget a file that is gone, or is another one now; True where that makes something unsent."""
        had = bool(self._ranges)
        self._ranges, self._firsts, self._read_to, self._settled = [], [], 0, 0
        return had

    def _take(self, record: Record) -> bool:
        """Take in one record of the file; True for a RESEND."""
        self._read_to = record.end
        if record.version != VERSION or record.type != RecordType.ACK:
            return False
        try:
            new = _answered(*read_ack(record.payload))
        except FormatError:
            return False
        if new.first < new.end:
            self._put(new)
        return new.state is AckState.RESEND

    def _put(self, new: Range) -> None:
        first, end = new.first, new.end
        begin = bisect_right(self._firsts, first) - 1
        begin += begin < 0 or self._ranges[begin].end <= first
        stop = bisect_left(self._firsts, end)
        if stop - begin == 1 and new.is_like(self._ranges[begin]):
            around = self._ranges[begin]
            if around.first <= first and end <= around.end:
                return
        if new.state is AckState.RESEND:
            self._settled = min(self._settled, first)
        left, right = [], []
        if begin < stop:
            left = _before(self._ranges[begin], new)
            right = _behind(self._ranges[stop - 1], new, is_split=bool(left) and stop - begin == 1)
        kept = [] if new.state is AckState.RESEND else [new]
        begin, stop, parts = self._with_neighbours(begin, stop, [*left, *kept, *right])
        self._ranges[begin:stop] = parts
        self._firsts[begin:stop] = [part.first for part in parts]

    def _with_neighbours(self, begin: int, stop: int, parts: list[Range]) -> tuple[int, int, list[Range]]:
        """`parts`, to be put from `begin` to `stop`, as one with plain ranges like them that touch them."""
        before = self._ranges[begin - 1 : begin] if begin else []
        after = self._ranges[stop : stop + 1]
        merged: list[Range] = []
        for part in [*before, *parts, *after]:
            last = merged[-1] if merged else None
            if last is not None and last.end == part.first and last.is_like(part):
                merged[-1] = replace(last, end=part.end, spans=last.spans + part.spans)
            else:
                merged.append(part)
        return begin - len(before), stop + len(after), merged

    def _write_waiting(self) -> None:
        """Append what is not in the file yet, one write a record."""
        if not self._unwritten:
            return
        with suppress(OSError):
            fd = files.open_append(self.path)
            try:
                while self._unwritten:
                    new = self._unwritten[0]
                    payload = ack_payload(new.state, new.first, new.end, new.spans, new.refused, new.said)
                    files.write_all(fd, frame(RecordType.ACK, payload))
                    del self._unwritten[0]
            finally:
                os.close(fd)


def _answered(  # noqa: PLR0917 - as `add` takes them
    state: AckState, first: int, end: int, spans: int, refused: int, said: str
) -> Range:
    """The range of one answer."""
    refused = spans if state is AckState.REFUSED else min(refused, spans)
    return Range(first, end, spans, refused, state, said, (first, end, refused))


def _before(old: Range, new: Range) -> list[Range]:
    """What is left of `old` before `new`, which replaces a part of it."""
    if old.first >= new.first:
        return []
    spans = max(old.spans - new.spans, 0)
    left = min(spans, old.refused if old.state is AckState.REFUSED else max(old.refused - new.spans, 0))
    return [replace(old, end=new.first, spans=spans, refused=left)]


def _behind(old: Range, new: Range, *, is_split: bool) -> list[Range]:
    """What is left of `old` behind `new`; of one that is split in two the first part carries the count."""
    if old.end <= new.end:
        return []
    spans = 0 if is_split else max(old.spans - new.spans, 0)
    return [replace(old, first=new.end, spans=spans, refused=min(spans, old.refused))]


def _first_span(segment: Path, start: int, end: int) -> int | None:
    """Where the first SPAN record between two offsets begins; None where there is none.

    Raises:
        OSError: The segment cannot be read.
    """
    length = _LOOK
    while start < end:
        with os.fdopen(files.open_regular(segment), "rb") as file:
            file.seek(start)
            data = file.read(min(length, end - start))
        found = next((one.offset for one in scan(data, start) if isinstance(one, Record) and is_span(one)), None)
        if found is not None or length >= end - start:
            return found
        length *= 4  # a record may be longer than what was looked at
    return None


def is_span(record: Record) -> bool:
    """Whether a record is one that is sent and counted: a span that has ended."""
    is_known = record.version == VERSION and record.type == RecordType.SPAN
    return is_known and len(record.payload) >= _SPAN_AT_LEAST


def unsent(segment: Path, acks: Acks) -> bool:
    """Whether a span of the segment is still to be sent; `acks` as it was last loaded.

    Raises:
        OSError: The segment cannot be read.
    """
    with os.fdopen(files.open_regular(segment), "rb") as file:
        size = os.fstat(file.fileno()).st_size
    return acks.settled_to() < size


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the sending of one writer's segments has come."""

    sent: int
    """Spans that the collector took."""
    refused: int
    """Spans that it turned down."""
    settled: dict[Path, int]
    """For each segment the offset up to which every span is sent or refused."""


def progress_of(directory: Path, prefix: str) -> Progress:
    """How far the segments of the writer `prefix` have been sent. Never raises."""
    acks = list(_acks_of_writer(directory, prefix))
    settled: dict[Path, int] = {}
    for one in acks:
        with suppress(OSError):
            settled[one.segment] = one.settled_to()
    return Progress(sum(one.sent for one in acks), sum(one.refused for one in acks), settled)


def _acks_of_writer(directory: Path, prefix: str) -> Iterator[Acks]:
    with suppress(OSError):
        for segment in segments_in(directory):
            if prefix_of(segment) == prefix:
                acks = Acks(segment)
                acks.load()
                yield acks
