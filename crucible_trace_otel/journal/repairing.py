"""Whatever stands where OTLP wants text, a time, an id or a value, as bytes it can carry. Nothing here raises.

The official encoder drops the whole batch around some of these, and silently the attribute in others. What had to be
changed is named with its reason, in the words that values of our own operations are marked with.
"""

import operator
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from hashlib import sha256
from math import prod
from typing import Any, Final, TypeAlias

from crucible_trace_otel.journal.wire import bytes_field, double_field, varint_field
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["Repairs", "any_value", "count", "identifier", "text_bytes", "time_bytes"]

Repairs: TypeAlias = dict[str, str]
"""What had to be changed, an attribute's key or a part such as `event.time`, to the reason."""

_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
_INT64: Final = range(-(2**63), 2**63)
_MOST_COUNT = 2**32 - 1
_MOST_DEPTH = 32
_MOST_LEVELS = 90  # of messages: a parser refuses the whole request at 100, some of which are around this value
_MOST_PARTS = 100_000  # of one value: one list in another in another grows to any size
_MOST_NUMBERS = 1_000  # of an array that is not made of Python's own numbers
_SECONDS_BELOW = 1e12  # as nanoseconds that is a quarter of an hour after 1970
_QUALNAME: Final = type.__dict__["__qualname__"]  # read so, no metaclass can interfere
_STRING, _BOOL, _INT, _DOUBLE, _ARRAY, _MAPPING, _BYTES = range(1, 8)  # the fields of an AnyValue


def text_bytes(value: Any, what: str, repairs: Repairs) -> bytes:
    """`value` as UTF-8; None is empty."""
    if value is None:
        return b""
    try:
        if not isinstance(value, str):
            repairs[what] = RepairReason.TYPE
        return _utf8(value if isinstance(value, str) else str(value), what, repairs)
    except Exception:  # noqa: BLE001 - any object may be given, and its methods may do anything
        repairs[what] = RepairReason.UNPRINTABLE
        return _unprintable(value)


def time_bytes(value: Any, what: str, repairs: Repairs, instead: Any = None) -> bytes:
    """`value` as nanoseconds since 1970, 8 bytes; a float may be seconds; for what is no time `instead`, or now."""
    return _moment(value, what, repairs) or _moment(instead, what, repairs) or _now()


def _moment(value: Any, what: str, repairs: Repairs) -> bytes | None:
    try:
        if isinstance(value, float):
            repairs[what] = RepairReason.TIME
            value = int(value * 1e9 if value < _SECONDS_BELOW else value)
        return operator.index(value).to_bytes(8, "little")
    except Exception:  # noqa: BLE001 - below 0, above 64 bits, not finite, or any object
        repairs[what] = RepairReason.TIME
        return None


def _now() -> bytes:
    try:
        return time.time_ns().to_bytes(8, "little")
    except Exception:  # noqa: BLE001 - a clock that is set before 1970, or somebody's own
        return bytes(8)


def identifier(value: Any, size: int, what: str, repairs: Repairs, *origin: object) -> bytes:
    """An id of `size` bytes: of a wider number its lower bits; one that is 0 or no number is made from `origin`."""
    try:
        number = operator.index(value)
    except Exception:  # noqa: BLE001 - any object may be given
        number = 0
    kept = number & ((1 << 8 * size) - 1)
    if not kept or kept != number:
        repairs[what] = RepairReason.IDENTIFIER
    if kept or not origin:
        return kept.to_bytes(size, "big")
    return sha256(b"\0".join([text_bytes(part, what, {}) for part in origin])).digest()[:size]


def count(value: Any) -> int:
    """A number of dropped things; 0 for what is none."""
    return min(max(value, 0), _MOST_COUNT) if type(value) is int else 0


def any_value(value: Any, key: str, repairs: Repairs) -> bytes:
    """`value` as an AnyValue message, of the kind the official encoder chooses where it has one."""
    return _AnyValue(key, repairs).of(value)


class _AnyValue:
    """One value of an attribute, which may hold others, itself among them."""

    def __init__(self, key: str, repairs: Repairs) -> None:
        self._key = key
        self._repairs = repairs
        self._parts = 0

    def of(self, value: Any, inside: tuple[int, ...] = (), levels: int = 0) -> bytes:
        """`value`, which lies inside containers of these ids and below so many messages."""
        try:
            if type(value) in _PLAIN:  # asking whether a value is a sequence takes longer than encoding it
                return self._scalar(value, inside, levels)
            if isinstance(value, (Sequence, Mapping)) and not isinstance(value, (str, bytes)):
                return self._container(value, inside, levels)
            return self._scalar(value, inside, levels)
        except Exception:  # noqa: BLE001 - any object may be given, and its methods may do anything
            self._repairs[self._key] = RepairReason.UNPRINTABLE
            return bytes_field(_STRING, _unprintable(value))

    def _scalar(self, value: Any, inside: tuple[int, ...], levels: int) -> bytes:  # noqa: PLR0911 - one a kind
        if value is None:
            return b""
        if isinstance(value, bool):
            return varint_field(_BOOL, value)
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, int):
            return self._integer(int.__index__(value))
        if isinstance(value, float):
            return double_field(_DOUBLE, value)
        if isinstance(value, bytes):
            return bytes_field(_BYTES, b"".join((value,)))
        return self._other(value, inside, levels)

    def _other(self, value: Any, inside: tuple[int, ...], levels: int) -> bytes:
        """What the official encoder knows nothing of."""
        if isinstance(value, Enum):
            return self.of(value.value, inside, levels)
        if isinstance(value, AbstractSet):
            return self._container(sorted(value, key=str), inside, levels)
        if hasattr(value, "tolist") and hasattr(value, "shape"):
            return self._numbers(value, inside, levels)
        return self._text(str(value))

    def _text(self, value: str) -> bytes:
        return bytes_field(_STRING, _utf8(value, self._key, self._repairs))

    def _integer(self, value: int) -> bytes:
        if value in _INT64:
            return varint_field(_INT, value)
        self._repairs[self._key] = RepairReason.INTEGER
        try:
            return self._text(str(value))
        except ValueError:  # Python refuses decimal text of more than 4,300 digits
            return self._text(hex(value))

    def _numbers(self, value: Any, inside: tuple[int, ...], levels: int) -> bytes:
        """A numpy or torch array, or one of their scalars."""
        on_device = str(getattr(value, "device", "cpu")).partition(":")[0] != "cpu"
        if on_device or prod(value.shape) > _MOST_NUMBERS:
            self._repairs[self._key] = RepairReason.ON_DEVICE if on_device else RepairReason.SUMMARISED
            dtype = getattr(value, "dtype", "?")
            return self._text(f"{type(value).__name__} of {dtype}, shape {tuple(value.shape)}")
        numbers = value.detach().tolist() if hasattr(value, "detach") else value.tolist()
        return self._text(str(numbers)) if hasattr(numbers, "tolist") else self.of(numbers, inside, levels)

    def _container(self, value: Any, inside: tuple[int, ...], levels: int) -> bytes:
        is_array = isinstance(value, Sequence)
        levels += 2 if is_array else 3
        if id(value) in inside:
            return self._cut("<cycle>", RepairReason.CYCLE)
        if len(inside) >= _MOST_DEPTH or levels > _MOST_LEVELS:
            return self._cut("<too deep>", RepairReason.DEPTH)
        inside = (*inside, id(value))
        parts: list[bytes] = []
        for item in value if is_array else value.items():
            self._parts += 1
            if self._parts > _MOST_PARTS:
                more = self._cut("…", RepairReason.SUMMARISED)
                parts.append(more if is_array else _pair("…".encode(), more))
                break
            parts.append(self.of(item, inside, levels) if is_array else self._named(item, inside, levels))
        return bytes_field(_ARRAY if is_array else _MAPPING, b"".join([bytes_field(1, part) for part in parts]))

    def _named(self, item: tuple[Any, Any], inside: tuple[int, ...], levels: int) -> bytes:
        name, value = item
        try:
            key = _utf8(str(name), self._key, self._repairs)
        except Exception:  # noqa: BLE001 - any object may be given, and its methods may do anything
            self._repairs[self._key] = RepairReason.UNPRINTABLE
            key = _unprintable(name)
        return _pair(key, self.of(value, inside, levels))

    def _cut(self, marker: str, reason: str) -> bytes:
        self._repairs[self._key] = reason
        return bytes_field(_STRING, marker.encode())


def _pair(key: bytes, value: bytes) -> bytes:
    return bytes_field(1, key) + bytes_field(2, value)


def _utf8(text: str, what: str, repairs: Repairs) -> bytes:
    """UTF-8 of `text`, each lone surrogate replaced by U+FFFD."""
    try:
        return str.encode(text)
    except UnicodeEncodeError:
        repairs[what] = RepairReason.SURROGATE
        return str.encode(text, "utf-16", "surrogatepass").decode("utf-16", "replace").encode()


def _unprintable(value: Any) -> bytes:
    return f"<unprintable {_QUALNAME.__get__(type(value))}>".encode(errors="replace")
