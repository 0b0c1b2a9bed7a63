"""A span made smaller for who cannot take it whole; the journal keeps all of it.

For a backend that cuts long text without a word, such text is cut here; for a collector that finds a span too large,
long bytes, arrays and packed series too. What was cut is left as a head, and named with its length and SHA-256.
"""

import hashlib
from collections.abc import Iterator
from typing import Final, NamedTuple

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.wire import bytes_field, fields, varint, varint_field
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["HEAD", "reduced", "with_short_text"]

HEAD: Final = 1024
"""Bytes that are left of a long value of a span that is too large."""

# Field numbers of opentelemetry-proto's trace/v1/trace.proto and common/v1/common.proto.
_NAME, _ATTRIBUTE, _EVENT, _DROPPED_EVENTS, _LINK, _STATUS = 5, 9, 11, 12, 13, 15
_EVENT_NAME, _EVENT_ATTRIBUTE = 2, 3
_LINK_ATTRIBUTE = 4
_STATUS_MESSAGE = 2
_KEY, _VALUE = 1, 2
_TEXT, _INT, _ARRAY, _PAIRS, _BYTES = 1, 3, 5, 6, 7
_FIXED64, _FIXED32 = 1, 5
_ATTRIBUTE_OF: Final = {_EVENT: _EVENT_ATTRIBUTE, _LINK: _LINK_ATTRIBUTE}


class _Cut(NamedTuple):
    """What is cut."""

    head: int
    """Bytes that are left."""
    kinds: frozenset[int]
    """Fields of an AnyValue."""


_EVERYTHING: Final = _Cut(HEAD, frozenset({_TEXT, _BYTES, _ARRAY, _PAIRS}))

_KEYS, _LENGTHS, _SHA256S = (
    name.encode()
    for name in (attr.CRUCIBLE_TRUNCATED_KEYS, attr.CRUCIBLE_TRUNCATED_LENGTHS, attr.CRUCIBLE_TRUNCATED_SHA256S)
)


def with_short_text(span: bytes, limit: int) -> bytes:
    """The Span message with texts of more than `limit` bytes cut: attributes of the span, its events and its links.

    Texts within arrays stay, as backends leave them. A span without such a text is returned as it is, and so is what
    is no message.
    """
    if len(span) <= limit:
        return span
    cut = _Cut(limit, frozenset({_TEXT}))
    try:
        return _shortened(span, _ATTRIBUTE, cut)
    except FormatError:
        return span


def _shortened(message: bytes, attribute: int, cut: _Cut) -> bytes:
    """A span, event or link with its long attributes cut, and those of what is in it; the same object if none is."""
    parts: list[bytes] = []
    attributes: list[bytes] = []
    is_changed = False
    for number, kind, value in fields(message):
        if number == attribute and isinstance(value, bytes):
            attributes.append(value)
            is_changed = is_changed or (len(value) > cut.head and _is_long(value, cut))
            continue
        inner = _ATTRIBUTE_OF.get(number) if attribute == _ATTRIBUTE else None
        if inner is not None and isinstance(value, bytes) and len(value) > cut.head:
            whole, value = value, _shortened(value, inner, cut)  # noqa: PLW2901 - it takes the place of the whole
            is_changed = is_changed or value is not whole
        parts.append(_field(number, kind, value))
    if not is_changed:
        return message
    return b"".join([*parts, *(bytes_field(attribute, each) for each in _cut(attributes, cut))])


def _is_long(attribute: bytes, cut: _Cut) -> bool:
    """Whether a KeyValue message has a value that is to be cut."""
    values = (value for number, _, value in fields(attribute) if number == _VALUE and isinstance(value, bytes))
    contents = ((number, content) for value in values for number, _, content in fields(value))
    return any(number in cut.kinds and isinstance(held, bytes) and len(held) > cut.head for number, held in contents)


def reduced(span: bytes, limit: int) -> bytes:
    """The Span message with every long value cut, and if it still has more than `limit` bytes, fewer events.

    The events that go are those in the middle, and they are counted as dropped; ids, times, links and keys stay.

    Raises:
        FormatError: The bytes are no message.
    """
    parts: list[bytes] = []
    attributes: list[bytes] = []
    events: list[bytes] = []
    dropped = 0
    for number, kind, value in fields(span):
        if isinstance(value, int):
            dropped = value if number == _DROPPED_EVENTS else dropped
            parts += [] if number == _DROPPED_EVENTS else [varint_field(number, value)]
        elif number == _ATTRIBUTE:
            attributes.append(value)
        elif number == _EVENT:
            events.append(bytes_field(_EVENT, _with_less(value, _EVENT_ATTRIBUTE, _EVENT_NAME)))
        elif number == _LINK:
            parts.append(bytes_field(_LINK, _with_less(value, _LINK_ATTRIBUTE)))
        elif number == _STATUS:
            parts.append(bytes_field(_STATUS, _with_less(value, 0, _STATUS_MESSAGE)))
        else:
            parts.append(_field(number, kind, _head(value, HEAD) if number == _NAME else value))
    parts += [bytes_field(_ATTRIBUTE, attribute) for attribute in _cut(attributes, _EVERYTHING)]
    kept = _ends(events, limit - sum(map(len, parts)))
    dropped += len(events) - len(kept)
    return b"".join([*parts, *kept, varint_field(_DROPPED_EVENTS, dropped) if dropped else b""])


def _with_less(message: bytes, attribute: int, text: int = 0) -> bytes:
    """An event, link or status whose text field and attributes are cut."""
    parts: list[bytes] = []
    attributes: list[bytes] = []
    for number, kind, value in fields(message):
        if number == attribute and isinstance(value, bytes):
            attributes.append(value)
        else:
            shown = _head(value, HEAD) if number == text and isinstance(value, bytes) else value
            parts.append(_field(number, kind, shown))
    return b"".join([*parts, *(bytes_field(attribute, each) for each in _cut(attributes, _EVERYTHING))])


def _cut(attributes: list[bytes], rule: _Cut) -> list[bytes]:
    """KeyValue messages, each long value cut to a head, and three more that name what was cut."""
    kept: list[bytes] = []
    cut: dict[bytes, tuple[int, bytes]] = {}
    before: dict[bytes, list[bytes]] = {}
    for attribute in attributes:
        content = {number: value for number, _, value in fields(attribute) if isinstance(value, bytes)}
        key, value = content.get(_KEY, b""), content.get(_VALUE, b"")
        if key in (_KEYS, _LENGTHS, _SHA256S):
            before[key] = list(_elements(value))
            continue
        shorter = _shorter(value, rule) if len(value) > rule.head else None
        if shorter is None:
            kept.append(attribute)
            continue
        value, length, digest = shorter
        kept.append(bytes_field(_KEY, key) + bytes_field(_VALUE, value))
        cut[key] = length, digest
    columns = [before.get(name, []) for name in (_KEYS, _LENGTHS, _SHA256S)]
    for key, (length, digest) in cut.items():
        if bytes_field(_TEXT, key) in columns[0]:
            continue  # the recorder has cut it before: its length and digest are those of the whole
        columns[0].append(bytes_field(_TEXT, key))
        columns[1].append(varint_field(_INT, length))
        columns[2].append(bytes_field(_TEXT, digest))
    names = zip((_KEYS, _LENGTHS, _SHA256S), columns, strict=True)
    return kept + [_array_attribute(name, elements) for name, elements in names if elements]


def _shorter(value: bytes, cut: _Cut) -> tuple[bytes, int, bytes] | None:
    """The head of a long AnyValue, the length of the whole, and its SHA-256 in hexadecimal; None if it has none.

    The length is that of its text in characters, of its bytes, or of the elements of an array or mapping, whose
    digest is that of their serialized form.
    """
    for number, _, content in fields(value):
        if not isinstance(content, bytes) or len(content) <= cut.head or number not in cut.kinds:
            continue
        digest = hashlib.sha256(content).hexdigest().encode()
        if number == _TEXT:
            return bytes_field(_TEXT, _head(content, cut.head)), len(content.decode("utf-8", "replace")), digest
        if number == _BYTES:
            return bytes_field(_BYTES, content[: cut.head]), len(content), digest
        if number in (_ARRAY, _PAIRS):
            elements = [
                bytes_field(1, each) for inner, _, each in fields(content) if isinstance(each, bytes) and inner == 1
            ]
            return bytes_field(number, b"".join(_first(elements, cut.head))), len(elements), digest
    return None


def _elements(value: bytes) -> Iterator[bytes]:
    """The AnyValue messages of an AnyValue that is an array."""
    for number, _, content in fields(value):
        if number == _ARRAY and isinstance(content, bytes):
            yield from (each for inner, _, each in fields(content) if inner == 1 and isinstance(each, bytes))


def _array_attribute(key: bytes, elements: list[bytes]) -> bytes:
    array = b"".join(bytes_field(1, element) for element in elements)
    return bytes_field(_KEY, key) + bytes_field(_VALUE, bytes_field(_ARRAY, array))


def _first(parts: list[bytes], room: int) -> list[bytes]:
    """As many of the first parts as there is room for."""
    for count, part in enumerate(parts):
        room -= len(part)
        if room < 0:
            return parts[:count]
    return parts


def _ends(events: list[bytes], room: int) -> list[bytes]:
    """The first and the last events, as many as there is room for."""
    if sum(map(len, events)) <= room:
        return events
    middle = len(events) // 2
    first = _first(events[:middle], room // 2)
    last = _first(events[middle:][::-1], room - sum(map(len, first)))
    return first + last[::-1]


def _head(text: bytes, size: int) -> bytes:
    """The first bytes of UTF-8 text, no character split."""
    return text if len(text) <= size else text[:size].decode("utf-8", "ignore").encode()


def _field(number: int, kind: int, value: int | bytes) -> bytes:
    """A field as it was read."""
    if isinstance(value, int):
        return varint_field(number, value)
    if kind in (_FIXED64, _FIXED32):
        return varint(number << 3 | kind) + value
    return bytes_field(number, value)
