"""Attributes as OTLP's KeyValue messages.

What stands in front of a value (tags, the key, lengths) depends on the key and on the value's kind and size alone, and
is made once. Values that are not plain, and keys and texts that OTLP cannot carry, are the business of `repairing`.
"""

from collections.abc import Mapping
from functools import lru_cache
from struct import Struct
from typing import Any, Final

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.journal.repairing import Repairs, any_value, text_bytes
from crucible_trace_otel.journal.wire import bytes_field, varint
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["append_attributes"]

_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(128))
_LEAST, _MOST, _UNSIGNED = -(2**63), 2**63 - 1, 2**64 - 1
_MARKS: Final = (attr.CRUCIBLE_REPAIRED_KEYS, attr.CRUCIBLE_REPAIRED_REASONS)
_MOST_ITEMS = 100_000
_MOST_KEYS = 512
_LONGEST_KEY = 128
_LONGEST_TEXT = 100  # of those whose front is kept
_double = Struct("<d").pack


class _Fronts(dict[int, bytes]):
    """What stands in front of a value of so many bytes: tags, the key, and three lengths."""

    def __init__(self, tag: bytes, key: bytes, value_tag: bytes, *, has_size: bool) -> None:
        super().__init__()
        self._around = tag, bytes_field(1, key) + b"\x12", value_tag, has_size

    def __missing__(self, size: int) -> bytes:
        tag, key, value_tag, has_size = self._around
        value = value_tag + varint(size) if has_size else value_tag
        pair = b"".join((key, varint(len(value) + size), value))
        front = b"".join((tag, varint(len(pair) + size), pair))
        if size <= _LONGEST_TEXT:
            self[size] = front
        return front


class _Key:
    """An attribute key in messages of one kind."""

    __slots__ = ("array", "bytes", "double", "false", "integer", "text", "true")

    def __init__(self, tag: bytes, key: bytes) -> None:
        self.text = _Fronts(tag, key, b"\n", has_size=True)
        self.integer = _Fronts(tag, key, b"\x18", has_size=False)
        self.array = _Fronts(tag, key, b"*", has_size=True)
        self.bytes = _Fronts(tag, key, b":", has_size=True)
        self.double = _Fronts(tag, key, b"!", has_size=False)[8]
        flag = _Fronts(tag, key, b"\x10", has_size=False)[1]
        self.false, self.true = flag + b"\0", flag + b"\1"


class _Keys(dict[str, _Key]):
    """The keys of a field, made at first use; a program that has ever new ones starts over now and then."""

    def __init__(self, field_number: int) -> None:
        super().__init__()
        self.tag = varint(field_number << 3 | 2)

    def __missing__(self, key: str) -> _Key:
        if type(key) is not str:
            raise TypeError
        made = _Key(self.tag, key.encode())
        if len(key) <= _LONGEST_KEY:
            if len(self) >= _MOST_KEYS:
                self.clear()
            self[key] = made
        return made


_keys: dict[int, _Keys] = {}


def append_attributes(given: Any, field_number: int, parts: list[bytes], repairs: Repairs) -> None:
    """Append `given` to `parts` and, where anything was repaired, the names of it and why."""
    attributes = _copied(given, repairs)
    began = len(parts)
    _encode_pairs(attributes, field_number, parts, repairs)
    if not repairs:
        return
    if any(mark in attributes for mark in _MARKS):  # what our own operations repaired before
        keys, reasons = (_strings(attributes.pop(mark, ())) for mark in _MARKS)
        del parts[began:]
        anew: Repairs = {}
        _encode_pairs(attributes, field_number, parts, anew)
        repairs = {**dict(zip(keys, reasons, strict=False)), **repairs, **anew}
    _encode_pairs(dict(zip(_MARKS, (tuple(repairs), tuple(repairs.values())), strict=True)), field_number, parts, {})


def _strings(value: Any) -> tuple[str, ...]:
    return value if isinstance(value, tuple) and all(type(each) is str for each in value) else ()


def _copied(given: Any, repairs: Repairs) -> dict[Any, Any]:
    """`given` as a dictionary that nobody changes; that of a span is read at once, for others may be setting more."""
    try:
        copied = {} if given is None else given.copy()
        return copied if type(copied) is dict else dict(copied)
    except Exception as error:  # noqa: BLE001 - any mapping may be given, and its methods may do anything
        let_through(error)
        try:
            return dict(given.items())
        except Exception:  # noqa: BLE001
            repairs["attributes"] = RepairReason.UNPRINTABLE
            return {}


def _encode_pairs(attributes: Mapping[Any, Any], field_number: int, parts: list[bytes], repairs: Repairs) -> None:
    keys = _keys.get(field_number) or _keys.setdefault(field_number, _Keys(field_number))
    add = parts.append
    for key, value in attributes.items():
        kind = type(value)
        try:
            if kind is str:
                data = value.encode()
                add(keys[key].text[len(data)])
                add(data)
            elif kind is float:
                add(keys[key].double)
                add(_double(value))
            elif kind is int and _LEAST <= value <= _MOST:
                data = _ONE_BYTE[value] if 0 <= value < 128 else _varint(value)  # noqa: PLR2004 - seven bits a byte
                add(keys[key].integer[len(data)])
                add(data)
            elif kind is bool:
                add(keys[key].true if value else keys[key].false)
            elif kind is bytes:
                add(keys[key].bytes[len(value)])
                add(value)
            elif kind is tuple and (data := _array(value)):
                add(keys[key].array[len(data)])
                add(data)
            else:
                add(_other_pair(keys.tag, key, value, attributes, repairs))
        except (TypeError, UnicodeEncodeError):  # a key or text that OTLP cannot carry
            add(_other_pair(keys.tag, key, value, attributes, repairs))


def _varint(value: int) -> bytes:
    if 0 <= value < 1 << 14:
        return bytes((value & 127 | 128, value >> 7))
    return varint(value & _UNSIGNED)


def _array(values: tuple[Any, ...]) -> bytes:
    """An ArrayValue of texts or of doubles, which most arrays are; empty for any other."""
    kinds = set(map(type, values))
    if kinds == {float}:
        return b"".join([b"\n\t!" + _double(value) for value in values])
    if kinds != {str} or len(values) > _MOST_ITEMS:
        return b""
    texts = [value.encode() for value in values]
    return b"".join([_item_front(len(text)) + text for text in texts])


@lru_cache(maxsize=256)
def _item_front(size: int) -> bytes:
    text = b"\n" + varint(size)
    return b"\n" + varint(len(text) + size) + text


def _other_pair(tag: bytes, key: Any, value: Any, taken: Mapping[Any, Any], repairs: Repairs) -> bytes:
    """One attribute whose value is not plain, or whose key or text OTLP cannot carry."""
    of_key: Repairs = {}
    name = text_bytes(key, "", of_key).decode()
    if key is None:
        name, of_key[""] = "None", RepairReason.TYPE
    while of_key and (name in taken or name in repairs):
        name += "_"
    if of_key:
        repairs[name] = of_key[""]
    data = any_value(value, name, repairs)
    return _Fronts(tag, name.encode(), b"", has_size=False)[len(data)] + data
