"""Segments with known spans in them, and what became of those."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span, Status

from crucible_trace_otel.journal.accounting import examine
from crucible_trace_otel.journal.acks import Acks
from crucible_trace_otel.journal.layout import segment_of
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.reader import read_records, read_segment, segments_in
from crucible_trace_otel.journal.records import AckState, Record, RecordType, frame, json_payload, span_payload

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RESOURCE = ResourceSpans(schema_url="resource").SerializeToString()
SCOPE = ScopeSpans(schema_url="scope").SerializeToString()
SENT, REFUSED, RESEND, WITHHELD = AckState.SENT, AckState.REFUSED, AckState.RESEND, AckState.WITHHELD


def span(
    trace: int, number: int, *, root: bool = False, failed: bool = False, size: int = 0, **attributes: str
) -> bytes:
    """A serialized span; attributes by their names with underscores for dots."""
    message = Span(
        trace_id=trace.to_bytes(16, "big"),
        span_id=(trace << 32 | number + 1).to_bytes(8, "big"),
        parent_span_id=b"" if root else trace.to_bytes(8, "big"),
        name="run" if root else "work",
        start_time_unix_nano=1_000 + number,
        end_time_unix_nano=2_000 + number,
        status=Status(code=Status.STATUS_CODE_ERROR if failed else Status.STATUS_CODE_UNSET),
    )
    for name, value in {**attributes, **({"filling": "x" * size} if size else {})}.items():
        message.attributes.add(key=name.replace("_", ".")).value.string_value = value
    return message.SerializeToString()


def operation(trace: int, number: int, name: str, **more: str) -> bytes:
    """A serialized span of one of our operations."""
    message = Span.FromString(span(trace, number, **more))
    message.attributes.add(key="crucible.operation.name").value.string_value = name
    return message.SerializeToString()


def write_segment(
    directory: Path, prefix: str, number: int, spans: Iterable[bytes], *, opened: Iterable[bytes] = ()
) -> Path:
    """A segment as a writer leaves it: `opened` are spans that had not ended when it was begun."""
    directory.mkdir(exist_ok=True, mode=0o700)
    note = {**identity(), "pid": None, "started": None}  # of this machine, and dead: nobody holds its lock
    records = [frame(RecordType.NOTE, json_payload(note))]
    records += [frame(RecordType.RESOURCE, bytes(4) + RESOURCE), frame(RecordType.SCOPE, b"\1\0\0\0" + SCOPE)]
    records += [frame(RecordType.OPEN, span_payload(0, 1, one)) for one in opened]
    records += [frame(RecordType.SPAN, span_payload(0, 1, one)) for one in spans]
    path = segment_of(directory, prefix, number)
    path.write_bytes(b"".join(records))
    return path


def places(segment: Path) -> list[tuple[int, int]]:
    """Where each SPAN record begins and ends."""
    records = (record for record in read_records(segment) if isinstance(record, Record))
    return [(record.offset, record.end) for record in records if record.type == RecordType.SPAN]


def answer(segment: Path, state: AckState, first: int, end: int, *, refused: int = 0, said: str = "") -> Acks:
    """Note what became of the spans from number `first` to `end`."""
    acks = Acks(segment)
    where = places(segment)
    acks.add(state, where[first][0], where[end - 1][1], end - first, refused, said)
    return acks


def send(segment: Path) -> None:
    """All of it was taken."""
    answer(segment, SENT, 0, len(places(segment)))


def ids(segment: Path) -> list[bytes]:
    """The span ids in a segment."""
    return [Span.FromString(stored.span).span_id for stored in read_segment(segment).spans]


def nobody(prefix: str) -> bool:
    """No writer lives."""
    return False


def everybody(prefix: str) -> bool:
    """Every writer lives."""
    return True


def detail(trace: int, begin: int, number: int = 10, size: int = 1_000) -> list[bytes]:
    """Spans that matter least."""
    return [span(trace, begin + index, size=size) for index in range(number)]


def write_segments(directory: Path, prefix: str, number: int) -> list[Path]:
    """Segments of one writer, each of ten spans of a kibibyte, the first of them the oldest."""
    paths = [write_segment(directory, prefix, index, detail(1, index * 10)) for index in range(number)]
    for index, path in enumerate(paths, 1):
        os.utime(path, ns=(index, index))
    return paths


def total(directory: Path) -> int:
    """Bytes of all segments."""
    return sum(path.stat().st_size for path in segments_in(directory))


def not_sent(directory: Path) -> int:
    """Spans that are held, refused or lost."""
    whole = examine(directory).total()
    return whole.held + whole.refused + whole.lost
