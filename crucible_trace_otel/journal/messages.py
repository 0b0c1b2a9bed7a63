"""The parts of serialized OTLP spans and events that recovery reads, and those it writes."""

import re
import struct
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.wire import (
    bytes_field,
    double_field,
    fields,
    fixed64_field,
    varint,
    varint_field,
)

__all__ = [
    "Event",
    "Kinship",
    "Origin",
    "Span",
    "attribute",
    "child",
    "ended",
    "event_field",
    "kinship",
    "number_of",
    "read_event",
    "read_span",
    "text_of",
    "time_of",
    "without",
]

# Field numbers of opentelemetry-proto's trace/v1/trace.proto and common/v1/common.proto.
_TRACE_ID, _SPAN_ID, _TRACE_STATE, _PARENT, _NAME, _KIND, _START, _END, _ATTRIBUTE = range(1, 10)
_EVENT, _STATUS, _FLAGS = 11, 15, 16
_EVENT_TIME, _EVENT_NAME, _EVENT_ATTRIBUTE = 1, 2, 3
_STATUS_MESSAGE, _STATUS_CODE = 2, 3
_KEY, _VALUE = 1, 2
_TEXT, _INT, _DOUBLE = 1, 3, 4
_INTERNAL, _ERROR = 1, 2
_PARENT_IS_HERE: Final = varint(_FLAGS << 3 | 5) + (0x100).to_bytes(4, "little")
"""Flags of a span whose parent is known to be of the same process."""
_USUAL: Final = re.compile(rb"\n\x10.{16}\x12\x08(.{8})(?:\x22\x08(.{8}))?\x2a([\0-\x7f])", re.DOTALL)
"""A span from its trace id to the length of its name, where it has no trace state."""
_KIND_TAG, _START_TAG, _END_TAG = b"\x30", b"\x39", 0x41
_TIMES = struct.Struct("<QBQ")
_LATEST: Final = (1 << 64) - 1
_SIGN: Final = 1 << 63

Attributes = Mapping[str, bytes]
"""Key to a serialized AnyValue."""


class Origin(NamedTuple):
    """Whose child a span is."""

    trace_id: bytes
    span_id: bytes
    trace_state: bytes = b""


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a span."""

    name: str
    time_ns: int
    attributes: Attributes


@dataclass(frozen=True, slots=True)
class Kinship:
    """Where a span stands among others, and when it was."""

    span_id: bytes
    parent_id: bytes
    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Span:
    """What a span that has not ended says."""

    trace_id: bytes
    span_id: bytes
    parent_id: bytes
    trace_state: bytes
    start_ns: int
    attributes: Attributes
    events: tuple[bytes, ...]
    has_failed: bool
    """Whether its status is an error already."""


def read_span(message: bytes) -> Span:
    """The span of a serialized OTLP Span.

    Raises:
        FormatError: It is none, or has no ids.
    """
    raw: dict[int, bytes] = {}
    attributes: dict[str, bytes] = {}
    events: list[bytes] = []
    for number, _, value in fields(message):
        if not isinstance(value, bytes):
            continue
        if number == _ATTRIBUTE:
            key, held = _pair(value)
            attributes[key] = held
        elif number == _EVENT:
            events.append(value)
        else:
            raw[number] = value
    if len(raw.get(_TRACE_ID, b"")) != 16 or len(raw.get(_SPAN_ID, b"")) != 8:  # noqa: PLR2004 - as OTLP has it
        raise FormatError("A span without a trace id and a span id.")
    return Span(
        trace_id=raw[_TRACE_ID],
        span_id=raw[_SPAN_ID],
        parent_id=raw.get(_PARENT, b""),
        trace_state=raw.get(_TRACE_STATE, b""),
        start_ns=_fixed(raw.get(_START, b"")),
        attributes=attributes,
        events=tuple(events),
        has_failed=any(number == _STATUS_CODE and code == _ERROR for number, _, code in fields(raw.get(_STATUS, b""))),
    )


def kinship(message: bytes) -> Kinship:
    """Of an ended span only what is cheap to read: its encoder writes ids and times before all else.

    Raises:
        FormatError: It is no message.
    """
    found = _USUAL.match(message)  # a journal may hold a million of them: this takes a tenth of the time
    if found is not None:
        span_id, parent_id, size = found.groups()
        at = found.end() + size[0]
        if message[at : at + 1] == _KIND_TAG and message[at + 2 : at + 3] == _START_TAG:
            start, tag, end = _TIMES.unpack_from(message[at + 3 : at + 3 + _TIMES.size].ljust(_TIMES.size, b"\0"))
            if tag == _END_TAG:
                return Kinship(span_id, parent_id or b"", start, end)
    raw: dict[int, bytes] = {}
    for number, _, value in fields(message):
        if number > _END:
            break
        if isinstance(value, bytes):
            raw[number] = value
    times = _fixed(raw.get(_START, b"")), _fixed(raw.get(_END, b""))
    return Kinship(raw.get(_SPAN_ID, b""), raw.get(_PARENT, b""), *times)


def read_event(message: bytes) -> Event:
    """The event of a serialized OTLP Span.Event.

    Raises:
        FormatError: It is none.
    """
    name, time_ns = "", 0
    attributes: dict[str, bytes] = {}
    for number, _, value in fields(message):
        if not isinstance(value, bytes):
            continue
        if number == _EVENT_TIME:
            time_ns = _fixed(value)
        elif number == _EVENT_NAME:
            name = value.decode("utf-8", "replace")
        elif number == _EVENT_ATTRIBUTE:
            key, held = _pair(value)
            attributes[key] = held
    return Event(name, time_ns, attributes)


def time_of(event: bytes) -> int:
    """When a serialized OTLP Span.Event was, nanoseconds since 1970; 0 where it does not say.

    Raises:
        FormatError: It is none.
    """
    found = (value for number, _, value in fields(event) if number == _EVENT_TIME)
    value = next(found, b"")
    return _fixed(value) if isinstance(value, bytes) else 0


def text_of(value: bytes | None) -> str:
    """The text that a serialized AnyValue holds; empty where it holds another thing or is no message."""
    held = _held(value, _TEXT)
    return held.decode("utf-8", "replace") if isinstance(held, bytes) else ""


def number_of(value: bytes | None) -> int | float | None:
    """The number that a serialized AnyValue holds; None where it holds another thing or is no message."""
    whole, double = _held(value, _INT), _held(value, _DOUBLE)
    if isinstance(whole, int):
        return whole - 2 * _SIGN if whole >= _SIGN else whole
    return float(struct.unpack("<d", double)[0]) if isinstance(double, bytes) and len(double) == 8 else None  # noqa: PLR2004


def attribute(key: str, value: str | float | bytes) -> bytes:
    """An attribute as a field of a Span; bytes are a serialized AnyValue as another span has it."""
    if isinstance(value, bytes):
        held = value
    elif isinstance(value, str):
        held = bytes_field(_TEXT, value.encode("utf-8", "replace"))
    else:
        held = varint_field(_INT, value) if isinstance(value, int) else double_field(_DOUBLE, value)
    return bytes_field(_ATTRIBUTE, bytes_field(_KEY, key.encode()) + bytes_field(_VALUE, held))


def event_field(event: bytes) -> bytes:
    """A serialized Span.Event as a field of a Span."""
    return bytes_field(_EVENT, event)


def ended(time_ns: int, error: str | None) -> bytes:
    """The fields that end a span: the time, and the status where it is an error."""
    end = fixed64_field(_END, _time(time_ns))
    if error is None:
        return end
    said = bytes_field(_STATUS_MESSAGE, error.encode("utf-8", "replace"))
    return end + bytes_field(_STATUS, said + varint_field(_STATUS_CODE, _ERROR))


def child(of: Origin, span_id: bytes, name: str, time_ns: int, attributes: Mapping[str, str | float | bytes]) -> bytes:
    """A zero-length child, in the form in which other spans are stored."""
    return b"".join(
        (
            bytes_field(_TRACE_ID, of.trace_id),
            bytes_field(_SPAN_ID, span_id),
            bytes_field(_TRACE_STATE, of.trace_state) if of.trace_state else b"",
            bytes_field(_PARENT, of.span_id),
            bytes_field(_NAME, name.encode()),
            varint_field(_KIND, _INTERNAL),
            fixed64_field(_START, _time(time_ns)),
            fixed64_field(_END, _time(time_ns)),
            *(attribute(key, value) for key, value in attributes.items()),
            bytes_field(_STATUS, b""),
            _PARENT_IS_HERE,
        )
    )


def without(message: bytes, keys: Collection[str], *, status: bool) -> bytes:
    """A serialized Span without its end, without the attributes `keys`, and without its status where that is asked for.

    Everything else stays as it is, byte for byte.
    """
    kept = [
        (number, kind, value)
        for number, kind, value in fields(message)
        if number != _END
        and not (status and number == _STATUS)
        and not (number == _ATTRIBUTE and isinstance(value, bytes) and _pair(value)[0] in keys)
    ]
    return b"".join(_written(*field) for field in kept)


def _written(number: int, kind: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint_field(number, value)
    return varint(number << 3 | kind) + (varint(len(value)) if kind == 2 else b"") + value  # noqa: PLR2004 - of a length


def _pair(message: bytes) -> tuple[str, bytes]:
    """Key and serialized AnyValue of a KeyValue."""
    raw = {number: value for number, _, value in fields(message) if isinstance(value, bytes)}
    return raw.get(_KEY, b"").decode("utf-8", "replace"), raw.get(_VALUE, b"")


def _held(value: bytes | None, kind: int) -> int | bytes | None:
    try:
        return next(_of_kind(value or b"", kind), None)
    except FormatError:
        return None


def _of_kind(value: bytes, kind: int) -> Iterator[int | bytes]:
    return (held for number, _, held in fields(value) if number == kind)


def _fixed(value: bytes) -> int:
    return int.from_bytes(value, "little") if len(value) == 8 else 0  # noqa: PLR2004


def _time(time_ns: int) -> int:
    return min(max(time_ns, 0), _LATEST)
