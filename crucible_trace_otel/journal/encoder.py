"""A span of the OpenTelemetry SDK as OTLP protobuf, at a part of what the official encoder costs.

Parsed, it equals what the official encoder makes; where that one drops a span or an attribute, this one repairs it and
says so in the attributes of the span, event or link (`repairing`). There are no message objects: bytes are joined once.

Equal but for: a span ends when it starts if its end is missing or lies before; a missing start is the end; a link to a
zero context is dropped and counted; containers in containers are cut at a depth of 32 (parsers refuse a whole request
at about that), and a value after 100,000 parts. Messages: https://github.com/open-telemetry/opentelemetry-proto.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache
from struct import Struct
from types import SimpleNamespace
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, StatusCode

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.journal.keyvalues import append_attributes
from crucible_trace_otel.journal.repairing import Repairs, count, identifier, text_bytes, time_bytes
from crucible_trace_otel.journal.wire import bytes_field, varint, varint_field
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["encode_attributes", "encode_event", "encode_resource", "encode_scope", "encode_span"]

_SPAN_ATTRIBUTE, _EVENT_ATTRIBUTE, _LINK_ATTRIBUTE, _RESOURCE_ATTRIBUTE, _SCOPE_ATTRIBUTE = 9, 3, 4, 1, 3
_FLAGS: Final = (b"\x85\x01\x00\x01\x00\x00", b"\x85\x01\x00\x03\x00\x00")  # by whether the parent is remote
_LINK_FLAGS: Final = (b"\x35\x00\x01\x00\x00", b"\x35\x00\x03\x00\x00")
_UNSET_AND_LOCAL: Final = b"z\x00" + _FLAGS[0]  # status, and flags of a span whose parent is not remote
_INTERNAL: Final = b"0\x01"
_TIMES: Final = Struct("<BQBQ").pack
_NOTHING: Final = b"\n\x00"  # a resource or a scope without anything in it
_MOST_TIME = 2**64 - 1
_MOST_SHELLS = 64
_shells: dict[int, tuple[object, bytes]] = {}
_LONGEST_TEXT = 100  # of those whose surroundings are kept


def encode_span(span: ReadableSpan, *, ended: bool = True) -> bytes:
    """A Span message. Never raises: of a span that cannot be read it holds ids, name and times, and a mark.

    Args:
        span: Any span of the SDK.
        ended: Whether it has ended; of one that has not, the message has no end, and no windows of steps: each of them
            has a record of its own.
    """
    try:
        return _span(span, ended=ended)
    except Exception as error:  # noqa: BLE001 - a span may be of a foreign class, and hold any object
        let_through(error)
        return _least(span, ended=ended)


def encode_event(name: str, time_ns: int, attributes: Mapping[str, Any]) -> bytes:
    """A Span.Event message; the time in nanoseconds since 1970. Never raises."""
    return _event(name, time_ns, attributes)


def encode_attributes(mapping: Mapping[str, Any], field_number: int) -> bytes:
    """`mapping` as KeyValue messages, each a field of that number: 9 in a Span, 3 in an Event. Never raises."""
    parts: list[bytes] = []
    append_attributes(mapping, field_number, parts, {})
    return b"".join(parts)


def encode_resource(resource: Resource | None) -> bytes:
    """A ResourceSpans message without scopes: the resource and its schema's URL. Never raises."""
    return _remembered(resource, _resource)


def encode_scope(scope: InstrumentationScope | None) -> bytes:
    """A ScopeSpans message without spans: the scope and its schema's URL. Never raises."""
    return _remembered(scope, _scope)


def _span(span: ReadableSpan, *, ended: bool) -> bytes:
    repairs: Repairs = {}
    is_plain = type(span) is ReadableSpan  # most have no links or events, and to ask takes longer than to see that
    parts = (_usual_head(span) if is_plain and ended else None) or _head(span, repairs, ended=ended)
    if not is_plain or span._links:
        _links(span, parts, repairs)
    if not is_plain or span._events:
        _events(span, parts, repairs, ended=ended)
    if span.dropped_attributes:
        parts.append(varint_field(10, count(span.dropped_attributes)))
    append_attributes(span.attributes, _SPAN_ATTRIBUTE, parts, repairs)
    return b"".join(parts)


def _links(span: ReadableSpan, parts: list[bytes], repairs: Repairs) -> None:
    dropped = span.dropped_links
    for link in span.links:
        message = _link(link)
        if message is None:
            dropped = count(dropped) + 1
            repairs["links"] = RepairReason.IDENTIFIER
        else:
            parts += (b"j" + varint(len(message)), message)
    if dropped:
        parts.append(varint_field(14, count(dropped)))


def _events(span: ReadableSpan, parts: list[bytes], repairs: Repairs, *, ended: bool) -> None:
    dropped = span.dropped_events
    for event in span.events if ended else _but_windows(span):
        message = _event_of(event, span.start_time)
        if message is None:
            dropped = count(dropped) + 1
            repairs["events"] = RepairReason.UNPRINTABLE
        else:
            parts += (b"Z" + varint(len(message)), message)
    if dropped:
        parts.append(varint_field(12, count(dropped)))


def _but_windows(span: ReadableSpan) -> list[Any]:
    return [event for event in span.events if attr.CRUCIBLE_WINDOW_SERIES_VALUES not in (event.attributes or ())]


def _usual_head(span: ReadableSpan) -> list[bytes] | None:
    """What `_head` makes of a span that is as most are, in half the time; None for any other."""
    context, parent, start, end = span._context, span._parent, span._start_time, span._end_time
    if type(context) is not SpanContext or type(start) is not int or type(end) is not int or not 0 <= start <= end:
        return None
    trace_id, span_id, _, _, state, is_valid = context
    name = _usual_name(span._name) if type(span._name) is str and span._kind is SpanKind.INTERNAL else None
    if name is None or not is_valid or state or end > _MOST_TIME or not span._status.is_unset:
        return None
    if parent is None:
        above = b"\x12\x08" + span_id.to_bytes(8, "big")
    elif type(parent) is SpanContext and parent[5] and not parent[2]:
        above = b'\x12\x08%b"\x08%b' % (span_id.to_bytes(8, "big"), parent[1].to_bytes(8, "big"))
    else:
        return None
    return [b"\n\x10", trace_id.to_bytes(16, "big"), above, name, _TIMES(0x39, start, 0x41, end), _UNSET_AND_LOCAL]


@lru_cache(maxsize=256)
def _usual_name(name: str) -> bytes | None:
    """The fields of name and kind of an internal span; None where the name is long or to be repaired."""
    field = _short_text(b"*", name) if len(name) <= _LONGEST_TEXT else None
    return None if field is None else field + _INTERNAL


def _head(span: Any, repairs: Repairs, *, ended: bool) -> list[bytes]:
    """What every span has, ids and times first: there the journal's readers look for them."""
    context, parent, kind, status = span.context, span.parent, span.kind, span.status
    if context.is_valid:
        parts = [b"\n\x10", context.trace_id.to_bytes(16, "big"), b"\x12\x08", context.span_id.to_bytes(8, "big")]
    else:
        parts = _made_ids(span, repairs)
    if context.trace_state:
        state = ",".join([f"{key}={value}" for key, value in context.trace_state.items()])
        parts.append(_text(b"\x1a", state, "span.trace_state", repairs))
    if parent:
        above = (
            parent.span_id.to_bytes(8, "big")
            if parent.is_valid
            else identifier(parent.span_id, 8, "span.parent", repairs)
        )
        if any(above):
            parts += (b'"\x08', above)
    parts.append(_text(b"*", span.name, "span.name", repairs))
    parts.append(_INTERNAL if kind is SpanKind.INTERNAL else _kind(kind, repairs))
    parts.append(_times(span.start_time, span.end_time, repairs, ended=ended))
    if status is not None:
        parts.append(_status(status, repairs))
    parts.append(_FLAGS[1 if parent and parent.is_remote else 0])
    return parts


def _made_ids(span: Any, repairs: Repairs) -> list[bytes]:
    """Ids in place of ones that are not valid: the same each time, since a span may be encoded while it is open."""
    trace_id, span_id = span.context.trace_id, span.context.span_id
    origin = trace_id, span_id, span.name, span.start_time
    return [
        bytes_field(1, identifier(trace_id, 16, "span.trace_id", repairs, *origin)),
        bytes_field(2, identifier(span_id, 8, "span.span_id", repairs, *origin)),
    ]


def _least(span: Any, *, ended: bool) -> bytes:
    """What can be read of a span that raises when it is read."""
    repairs: Repairs = {"span": RepairReason.UNPRINTABLE}
    context, parent = _read(span, "context"), _read(span, "parent")
    ids = {name: _read(context, name) for name in ("trace_id", "span_id")}
    above = None
    if parent is not None:
        above = SimpleNamespace(is_valid=False, is_remote=False, span_id=_read(parent, "span_id"))
    known = {name: _read(span, name) for name in ("name", "start_time", "end_time")}
    context = SimpleNamespace(is_valid=False, trace_state=None, **ids)
    parts = _head(
        SimpleNamespace(context=context, parent=above, kind=SpanKind.INTERNAL, status=None, **known),
        repairs,
        ended=ended,
    )
    append_attributes({}, _SPAN_ATTRIBUTE, parts, repairs)
    return b"".join(parts)


def _read(owner: Any, name: str) -> Any:
    try:
        return getattr(owner, name, None)
    except Exception as error:  # noqa: BLE001 - any object may be given
        let_through(error)
        return None


def _times(start: Any, end: Any, repairs: Repairs, *, ended: bool) -> bytes:
    """Start and end; the end is never before the start, whatever the wall clock did in between."""
    if ended and type(start) is type(end) is int and 0 <= start <= end <= _MOST_TIME:
        return b"9%bA%b" % (start.to_bytes(8, "little"), end.to_bytes(8, "little"))
    first = time_bytes(start, "span.start_time", repairs, end)
    if not ended:
        return b"9" + first
    last = time_bytes(end, "span.end_time", repairs, start)
    if last[::-1] < first[::-1]:
        repairs["span.end_time"] = RepairReason.TIME
        last = first
    return b"9%bA%b" % (first, last)


def _kind(kind: Any, repairs: Repairs) -> bytes:
    try:
        return b"0" + varint(SpanKind(kind).value + 1)
    except Exception as error:  # noqa: BLE001 - any object may be given
        let_through(error)
        repairs["span.kind"] = RepairReason.TYPE
        return b"0\x01"


def _status(status: Any, repairs: Repairs) -> bytes:
    try:
        code, description = status.status_code, status.description
        if code is StatusCode.UNSET and description is None:
            return b"z\x00"
        return bytes_field(15, _text(b"\x12", description, "span.status", repairs) + varint_field(3, code.value))
    except Exception as error:  # noqa: BLE001 - any object may be given
        let_through(error)
        repairs["span.status"] = RepairReason.TYPE
        return b"z\x00"


def _link(link: Any) -> bytes | None:
    """A Span.Link message; None for one that points nowhere."""
    repairs: Repairs = {}
    try:
        context = link.context
        trace_id = identifier(context.trace_id, 16, "link.trace_id", repairs)
        span_id = identifier(context.span_id, 8, "link.span_id", repairs)
        if not any(trace_id) or not any(span_id):
            return None
        parts = [b"\n\x10", trace_id, b"\x12\x08", span_id, _LINK_FLAGS[1 if context.is_remote else 0]]
        if link.dropped_attributes:
            parts.append(varint_field(5, count(link.dropped_attributes)))
        append_attributes(link.attributes, _LINK_ATTRIBUTE, parts, repairs)
        return b"".join(parts)
    except Exception as error:  # noqa: BLE001 - a link may be of a foreign class
        let_through(error)
        return None


def _event_of(event: Any, span_start: Any) -> bytes | None:
    """A Span.Event message; None for one that raises when it is read."""
    try:
        return _event(event.name, event.timestamp, event.attributes, event.dropped_attributes, span_start)
    except Exception as error:  # noqa: BLE001 - an event may be of a foreign class
        let_through(error)
        return None


def _event(name: Any, time_ns: Any, attributes: Any, dropped: Any = 0, instead: Any = None) -> bytes:
    repairs: Repairs = {}
    try:
        moment = time_ns.to_bytes(8, "little")
    except Exception as error:  # noqa: BLE001 - no integer, or one below 0 or above 64 bits
        let_through(error)
        moment = time_bytes(time_ns, "event.time", repairs, instead)
    parts = [b"\t", moment, _text(b"\x12", name, "event.name", repairs)]
    if dropped:
        parts.append(varint_field(4, count(dropped)))
    append_attributes(attributes, _EVENT_ATTRIBUTE, parts, repairs)
    return b"".join(parts)


def _resource(resource: Any) -> bytes:
    body = encode_attributes(resource.attributes, _RESOURCE_ATTRIBUTE)
    return bytes_field(1, body) + _text(b"\x1a", resource.schema_url, "schema_url", {})


def _scope(scope: Any) -> bytes:
    repairs: Repairs = {}
    parts = [_text(b"\n", scope.name, "scope.name", repairs), _text(b"\x12", scope.version, "scope.version", repairs)]
    append_attributes(scope.attributes, _SCOPE_ATTRIBUTE, parts, repairs)
    return bytes_field(1, b"".join(parts)) + _text(b"\x1a", scope.schema_url, "schema_url", {})


def _remembered(thing: object, encode: Callable[[Any], bytes]) -> bytes:
    """What `encode` makes of an immutable thing that comes with span after span."""
    known, message = _shells.get(id(thing), (None, b""))
    if message and known is thing:
        return message
    try:
        message = _NOTHING if thing is None else encode(thing)
    except Exception as error:  # noqa: BLE001 - it may be of a foreign class
        let_through(error)
        message = _NOTHING
    if len(_shells) >= _MOST_SHELLS:
        _shells.clear()
    _shells[id(thing)] = thing, message
    return message


def _text(tag: bytes, text: Any, what: str, repairs: Repairs) -> bytes:
    """A field of text: nothing where it is empty."""
    if type(text) is str and len(text) <= _LONGEST_TEXT:
        field = _short_text(tag, text)
        if field is not None:
            return field
    data = text_bytes(text, what, repairs)
    return b"".join((tag, varint(len(data)), data)) if data else b""


@lru_cache(maxsize=1_024)
def _short_text(tag: bytes, text: str) -> bytes | None:
    """The same; None where the text holds a lone surrogate."""
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return None
    return b"".join((tag, varint(len(data)), data)) if data else b""
