"""What is kept of segments that go when the journal has reached its size limit.

A kept segment stands for the segments that its note names: from the moment it has its name they count as gone, whether
or not they have been removed. It holds those of their spans that were not sent and matter most (how runs ended, errors,
the last windows of steps), and how many others of which trace are lost. Its name is never used again.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, Final, TypeGuard

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.acks import Acks, is_span
from crucible_trace_otel.journal.facts import end_of, facts_of, may_have_failed, trace_of
from crucible_trace_otel.journal.layout import KEPT, SEGMENT, segment_of
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.reader import read_records, segments_in
from crucible_trace_otel.journal.records import (
    VERSION,
    AckState,
    Record,
    RecordType,
    frame,
    json_payload,
    read_json,
    read_span,
    scan,
    span_payload,
)
from crucible_trace_otel.semconv import spans as operations

__all__ = ["keep", "kept_in", "lost_in", "replaced", "segments_that_count"]

_ENDINGS, _ERRORS, _WINDOWS, _DETAIL = range(4)
_NAME = re.compile(rf"{KEPT}-(\d{{4,}}){SEGMENT}")
_NOTE_AT_MOST = 64 << 10
_WHY: Final = "the journal had reached its size limit"
_MOST_TRACES = 1_000
_STATUS: Final = frozenset(
    {
        operations.TRAINING_RUN,
        operations.WORKER,
        operations.PIPELINE,
        operations.DEPLOYMENT,
        operations.EXPERIMENT,
        operations.REASONING_CHAIN,
    }
)
_HOLDS_WINDOWS: Final = frozenset({operations.EPOCH, operations.EPISODE, operations.STEP_SEGMENT})
_INTERRUPTED: Final = "_interrupted"
_TELLING: Final = tuple(name.encode() for name in (*sorted(_STATUS | _HOLDS_WINDOWS), _INTERRUPTED))


@dataclass(slots=True)
class _Span:
    """A span that may be kept."""

    rank: int
    """What goes last has the lowest: how runs ended, then errors, then the last windows of steps."""
    trace_id: str
    resource: bytes
    scope: bytes
    span: bytes
    refusal: str | None
    """What the collector said when it turned it down; None where it is still to be sent."""


@dataclass(slots=True)
class _Loss:
    """Spans that are gone for one reason."""

    traces: Counter[str] = field(default_factory=Counter)
    first_ns: int = 0
    last_ns: int = 0

    def add(self, traces: Mapping[str, int], first_ns: int, last_ns: int) -> None:
        self.traces.update(traces)
        self.first_ns = min(filter(None, (self.first_ns, first_ns)), default=0)
        self.last_ns = max(self.last_ns, last_ns)

    def content(self, why: str) -> dict[str, Any]:
        """A GAP record's content."""
        named = {trace_id: count for trace_id, count in self.traces.most_common() if trace_id}
        return {
            "spans": self.traces.total(),
            "from": self.first_ns,
            "to": self.last_ns,
            "why": why,
            "traces": dict(islice(named.items(), _MOST_TRACES)),
        }


def kept_in(directory: Path) -> list[Path]:
    """The kept segments of a journal, the oldest first.

    Raises:
        OSError: The directory cannot be listed.
    """
    return sorted((path for path in segments_in(directory) if _NAME.fullmatch(path.name)), key=_number)


def segments_that_count(directory: Path) -> list[Path]:
    """The segments of a journal without those for which a kept one stands.

    Raises:
        OSError: The directory cannot be listed.
    """
    gone = replaced(directory)
    return [path for path in segments_in(directory) if path.name not in gone]


def replaced(directory: Path) -> set[str]:
    """The names of the segments for which kept ones stand; most of them are no longer there.

    Raises:
        OSError: The directory cannot be listed.
    """
    return {name for path in kept_in(directory) for name in _replaces(path)}


def lost_in(gap: Mapping[str, Any]) -> dict[str, int]:
    """How many spans of which trace a GAP record calls lost; under no trace id those of which that is not known."""
    traces = gap.get("traces")
    named = traces.items() if isinstance(traces, dict) else ()
    lost = {trace_id: count for trace_id, count in named if _is_count(count)}
    total = gap.get("spans")
    unnamed = total - sum(lost.values()) if _is_count(total) else 0
    return {**lost, "": lost.get("", 0) + unnamed} if unnamed > 0 else lost


def keep(directory: Path, sources: Sequence[Path], room: int) -> Path:
    """Write a kept segment that stands for `sources`, which may be removed then.

    Args:
        directory: Of the journal.
        sources: Segments, the oldest first; they are left as they are.
        room: Bytes that the kept spans may take.

    Raises:
        OSError: One cannot be read, or the kept one cannot be written; then there is none.
    """
    losses: dict[str, _Loss] = {}
    found = [span for source in sources for span in _not_sent(source, losses)]
    chosen = _chosen(found, room)
    lost = [span for index, span in enumerate(found) if index not in chosen]
    if lost:  # spans are stored in the order of their ends
        ends = sorted((end_of(lost[0].span), end_of(lost[-1].span)))
        losses.setdefault(_WHY, _Loss()).add(Counter(span.trace_id for span in lost), *ends)
    numbers = [_number(path) for path in kept_in(directory)]
    path = segment_of(directory, KEPT, max(numbers, default=-1) + 1)
    note = {**identity(), "pid": None, "started": None, "replaces": [source.name for source in sources]}
    gaps = [frame(RecordType.GAP, json_payload(loss.content(why))) for why, loss in losses.items() if loss.traces]
    _write(path, [frame(RecordType.NOTE, json_payload(note)), *gaps], [found[index] for index in sorted(chosen)])
    return path


def _write(path: Path, records: list[bytes], spans: Iterable[_Span]) -> None:
    """Write a segment of `records` and `spans`; those that were turned down stay so."""
    numbers: dict[tuple[RecordType, bytes], int] = {}
    size = sum(map(len, records))
    acks = Acks(path)

    def put(record: bytes) -> None:
        nonlocal size
        records.append(record)
        size += len(record)

    def number(kind: RecordType, message: bytes) -> int:
        if (kind, message) not in numbers:
            numbers[kind, message] = len(numbers)
            put(frame(kind, numbers[kind, message].to_bytes(4, "little") + message))
        return numbers[kind, message]

    for one in spans:
        references = number(RecordType.RESOURCE, one.resource), number(RecordType.SCOPE, one.scope)
        begin = size
        put(frame(RecordType.SPAN, span_payload(*references, one.span)))
        if one.refusal is not None:  # known before the segment has its name, so that it is not sent again unasked
            acks.add(AckState.REFUSED, begin, size, 1, 0, one.refusal)
    with files.written_whole(path) as file:
        file.write(b"".join(records))


def _chosen(found: Sequence[_Span], room: int) -> set[int]:
    """Which spans are kept: by rank, the newest first, as many as there is room for."""
    chosen: set[int] = set()
    latest: set[str] = set()
    for index in reversed(range(len(found))):  # of windows only the last of each trace
        span = found[index]
        if span.rank == _WINDOWS and span.trace_id in latest:
            span.rank = _DETAIL
        elif span.rank == _WINDOWS:
            latest.add(span.trace_id)
    for index in sorted(range(len(found)), key=lambda index: (found[index].rank, -index)):
        if found[index].rank != _DETAIL and len(found[index].span) <= room:
            chosen.add(index)
            room -= len(found[index].span)
    return chosen


def _rank(span: bytes) -> int:
    if not (may_have_failed(span) or any(name in span for name in _TELLING)):
        return _DETAIL  # as most are, and taking a span apart is slow
    facts = facts_of(span)
    if facts.operation in _STATUS or facts.operation.endswith(_INTERRUPTED):
        return _ENDINGS
    if facts.has_failed:
        return _ERRORS
    return _WINDOWS if facts.operation in _HOLDS_WINDOWS else _DETAIL


def _not_sent(segment: Path, losses: dict[str, _Loss]) -> Iterator[_Span]:
    """The spans of a segment that the collector has not taken; what it says of lost ones is added to `losses`.

    Raises:
        OSError: It cannot be read.
    """
    acks = Acks(segment)
    acks.load()
    messages: dict[int, bytes] = {}
    records = [record for record in read_records(segment) if isinstance(record, Record)]
    states = iter(acks.states([record.offset for record in records if is_span(record)]))
    for record in records:
        if record.version != VERSION:  # only a newer version knows what goes here
            losses.setdefault(_WHY, _Loss()).add({"": int(record.type == RecordType.SPAN)}, 0, 0)
        elif record.type in (RecordType.RESOURCE, RecordType.SCOPE):
            messages[int.from_bytes(record.payload[:4], "little")] = record.payload[4:]
        elif record.type == RecordType.GAP:
            _add_gap(record, losses)
        elif is_span(record) and (state := next(states)) is not AckState.SENT:
            resource, scope, span = read_span(record.payload)
            answer = acks.range_at(record.offset)
            refusal = answer.said if state is AckState.REFUSED and answer is not None else None
            around = messages.get(resource, b""), messages.get(scope, b"")
            yield _Span(_rank(span), trace_of(span)[0], *around, span, refusal)


def _add_gap(record: Record, losses: dict[str, _Loss]) -> None:
    with suppress(FormatError):
        gap = read_json(record.payload)
        first, last = (time if _is_count(time := gap.get(key)) else 0 for key in ("from", "to"))
        losses.setdefault(str(gap.get("why", "")), _Loss()).add(lost_in(gap), first, last)


def _replaces(kept: Path) -> list[str]:
    """The names of the segments that a kept one stands for; none, where that cannot be read."""
    with suppress(OSError, FormatError):
        for record in scan(_beginning(kept)):
            if isinstance(record, Record) and record.type == RecordType.NOTE:
                names = read_json(record.payload).get("replaces")
                return [str(name) for name in names] if isinstance(names, list) else []
    return []


def _beginning(path: Path) -> bytes:
    with os.fdopen(files.open_regular(path), "rb") as file:
        return file.read(_NOTE_AT_MOST)


def _number(kept: Path) -> int:
    return int(kept.name[len(KEPT) + 1 : -len(SEGMENT)])


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and value >= 0
