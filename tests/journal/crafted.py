"""Journals written record by record, as a process that died in the middle would have left them."""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from crucible_trace_otel.journal.layout import segment_of
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.reader import JournalContent, StoredSpan, StoredSteps, WriterContent
from crucible_trace_otel.journal.records import RecordType, frame, json_payload, span_payload, steps_payload
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

TRACE = b"T" * 16
START = 1_767_225_600_000_000_000
SECOND = 1_000_000_000
PREFIX = "20260101T000000-7-0123abcd"


def value(of: Any) -> AnyValue:
    match of:
        case bool():
            return AnyValue(bool_value=of)
        case str():
            return AnyValue(string_value=of)
        case int():
            return AnyValue(int_value=of)
        case float():
            return AnyValue(double_value=of)
        case bytes():
            return AnyValue(bytes_value=of)
    found = AnyValue()
    found.array_value.values.extend(map(value, of))
    return found


def pairs(attributes: Mapping[str, Any]) -> list[KeyValue]:
    return [KeyValue(key=key, value=value(held)) for key, held in attributes.items()]


def window(first: int, at: float, loss: float, count: int = 100, name: str = events.STEPS_RECORDED) -> Span.Event:
    """A window of `count` steps that closed `at` seconds after START."""
    attributes = {
        attr.CRUCIBLE_WINDOW_FIRST_STEP: first,
        attr.CRUCIBLE_WINDOW_LAST_STEP: first + count - 1,
        attr.CRUCIBLE_WINDOW_COUNT: count,
        f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}.loss": loss,
        attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: ["step", "time_ns", "loss"],
    }
    return Span.Event(name=name, time_unix_nano=START + round(at * SECOND), attributes=pairs(attributes))


def span(
    number: int, operation: str | None, parent: int = 0, at: float = 0, ends: float | None = None, **attributes: Any
) -> Span:
    """A span with the id of `number`; open without `ends`. Underscores in names of attributes stand for dots."""
    own = (
        {} if operation is None else {attr.CRUCIBLE_OPERATION_NAME: operation, attr.CRUCIBLE_ABOUT: f"the {operation}"}
    )
    return Span(
        trace_id=TRACE,
        span_id=id_of(number),
        parent_span_id=id_of(parent) if parent else b"",
        name=operation or "GET /",
        kind=Span.SPAN_KIND_INTERNAL,
        start_time_unix_nano=START + round(at * SECOND),
        end_time_unix_nano=0 if ends is None else START + round(ends * SECOND),
        attributes=pairs({**own, **{key.replace("__", "."): held for key, held in attributes.items()}}),
        flags=0x101,
    )


def id_of(number: int) -> bytes:
    return number.to_bytes(8, "big")


def stored(message: Span) -> StoredSpan:
    return StoredSpan(RESOURCE, SCOPE, message.SerializeToString())


RESOURCE = ResourceSpans(schema_url="r").SerializeToString()
SCOPE = ScopeSpans(schema_url="s").SerializeToString()


def steps(number: int, holder: int, event: Span.Event) -> StoredSteps:
    return StoredSteps(number, TRACE, id_of(holder), event.SerializeToString())


def writer(
    opened: Iterable[Span] = (), ended: Iterable[Span] = (), windows: Iterable[StoredSteps] = ()
) -> WriterContent:
    content = JournalContent(spans=tuple(map(stored, ended)), open=tuple(map(stored, opened)), steps=tuple(windows))
    return WriterContent(PREFIX, (), content, None)


def training() -> WriterContent:
    """A run killed in its second epoch: two windows there, of which its record holds one; a checkpoint was saved."""
    run = span(1, spans.TRAINING_RUN, crucible__run__id="run-1", crucible__run__attempt=2)
    first = span(2, spans.EPOCH, 1, 1, 2, crucible__training__epoch__index=0)
    saved = span(3, spans.CHECKPOINT_SAVE, 2, 1.5, 1.6, crucible__checkpoint__path="a.npz")
    second = span(4, spans.EPOCH, 1, 2, crucible__training__epoch__index=1)
    early, late = window(100, 2.5, 0.5), window(200, 3.5, 0.25)
    first.events.append(window(0, 1.9, 1.0))
    second.events.append(early)
    closed = (steps(0, 2, window(0, 1.9, 1.0)), steps(1, 4, early), steps(2, 4, late))
    return writer([run, second], [first, saved], closed)


def parsed(spans_: Iterable[StoredSpan]) -> dict[str, Span]:
    """By name; each must be a span of its own."""
    messages = [Span.FromString(one.span) for one in spans_]
    found = {message.name: message for message in messages}
    assert len(found) == len(messages)
    return found


def said(message: Span | Span.Event) -> dict[str, Any]:
    """Its attributes; no key may stand there twice."""
    found = {pair.key: getattr(pair.value, pair.value.WhichOneof("value") or "", None) for pair in message.attributes}
    assert len(found) == len(message.attributes)
    return found


def dead() -> dict[str, Any]:
    """The identity of a process that is gone: this one's pid at another start time."""
    return {**identity(), "started": 1}


def records(
    content: WriterContent, closed: Mapping[str, Any] | None = None, note: Mapping[str, Any] | None = None
) -> list[bytes]:
    """The frames of a segment that says what `content` says."""
    frames = [
        frame(RecordType.NOTE, json_payload(dead() if note is None else note)),
        frame(RecordType.RESOURCE, (0).to_bytes(4, "little") + RESOURCE),
        frame(RecordType.SCOPE, (1).to_bytes(4, "little") + SCOPE),
    ]
    frames += [frame(RecordType.OPEN, span_payload(0, 1, one.span)) for one in content.content.open]
    frames += [
        frame(RecordType.STEPS, steps_payload(one.window, one.trace_id, one.span_id, one.event))
        for one in content.content.steps
    ]
    frames += [frame(RecordType.SPAN, span_payload(0, 1, one.span)) for one in content.content.spans]
    return frames + ([] if closed is None else [frame(RecordType.CLOSED, json_payload(closed))])


def write(directory: Path, content: WriterContent, prefix: str = PREFIX, **more: Any) -> Path:
    """A journal with one segment that says what `content` says."""
    directory.mkdir(exist_ok=True)
    path = segment_of(directory, prefix, 0)
    path.write_bytes(b"".join(records(content, **more)))
    os.utime(path, ns=(START + 4 * SECOND, START + 4 * SECOND))
    return path


def locked(path: Path) -> int:
    """A descriptor that holds the lock of `path`."""
    fd = os.open(path, os.O_RDWR)
    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd
