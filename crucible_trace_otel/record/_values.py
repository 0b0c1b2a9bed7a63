"""Whatever the user's code hands over, as an attribute value OpenTelemetry can carry. Nothing raises, nothing vanishes.

Numbers stay numbers (numpy's and torch's too), `None` is left out, everything else becomes text that can be read.
What had to be changed is named with its reason, so that a reader can tell a repaired value from a given one.
"""

import base64
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence, ValuesView
from collections.abc import Set as AbstractSet
from datetime import date, datetime, time
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from typing import Any, TypeAlias

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = [
    "AttributeValue",
    "Cleaned",
    "Repairs",
    "as_json",
    "clean",
    "exact_text",
    "marks",
    "one_line",
    "printable",
    "with_template",
]

AttributeValue: TypeAlias = (
    bool | int | float | str | bytes | Sequence[bool] | Sequence[int] | Sequence[float] | Sequence[str]
)
Cleaned: TypeAlias = dict[str, AttributeValue]
Repairs: TypeAlias = dict[str, str]
"""Attribute key to the reason why its value is not the one that was given."""

_UNCHANGED = frozenset({bool, float})
_INT64 = range(-(2**63), 2**63)
_MOST_ITEMS = 1_000
_MOST_PARTS = 10_000  # of a nested value: one list in another in another grows to any size
_MOST_BYTES = 64 * 1024
_MOST_DEPTH = 32
_MOST_NAMES = 48
_LONGEST_SUMMARY = 120
_LONGEST_READ = 10_000  # of a summary: the cache of summaries holds the texts they were made of


def clean(given: Mapping[str, Any], repairs: Repairs | None = None) -> Cleaned:
    """`given` as attributes; what was changed is added to `repairs` and marked in the attributes themselves."""
    repairs = {} if repairs is None else repairs
    cleaned: Cleaned = {}
    for key, value in given.items():
        kind = type(value)
        if kind in _UNCHANGED or (kind is str and value.isascii()) or (kind is int and value in _INT64):
            cleaned[key] = value
        elif value is not None:
            try:
                cleaned[key] = _value(value, key, repairs)
            except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
                let_through(error)
                cleaned[key] = printable(value)
                repairs[key] = RepairReason.UNPRINTABLE
    return {**cleaned, **marks(repairs)} if repairs else cleaned


def marks(repairs: Repairs) -> Cleaned:
    """The attributes that name what was changed, and why; none where nothing was."""
    if not repairs:
        return {}
    return {
        attr.CRUCIBLE_REPAIRED_KEYS: tuple(repairs),
        attr.CRUCIBLE_REPAIRED_REASONS: tuple(repairs.values()),
    }


def with_template(prefix: str, named: Mapping[Any, Any] | None, *, most_names: int = _MOST_NAMES) -> dict[str, Any]:
    """Attributes `prefix.<name>` for values the user named; those past `most_names` together as one JSON object.

    The SDK keeps 128 attributes a span and drops the oldest without a word: our own names must not be pushed out.
    """
    try:
        return _with_template(prefix, named, most_names)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        return {f"{prefix}.value": f"<unreadable {type(named).__qualname__}>"}


def _with_template(prefix: str, named: Mapping[Any, Any] | None, most_names: int) -> dict[str, Any]:
    if not isinstance(named, Mapping):
        return {} if named is None else {f"{prefix}.value": named}
    attributes: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    try:
        items = list(named.items())
    except Exception as error:  # noqa: BLE001 - any mapping may be given, and its methods may do anything
        let_through(error)
        return {f"{prefix}.value": named}
    for name, value in items:
        key = f"{prefix}.{printable(name) or '_'}"
        while key in attributes or key in rest:
            key += "_"
        if len(attributes) < most_names:
            attributes[key] = value
        else:
            rest[key] = value
    return attributes | ({attr.CRUCIBLE_OVERFLOW: rest} if rest else {})


def as_json(value: Any) -> str:
    """`value` as JSON text, as it would be as an attribute that holds others."""
    try:
        return json.dumps(_plain(value, "", {}, (), iter(range(_MOST_PARTS))), ensure_ascii=False)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        return printable(value)


def one_line(value: object) -> str:
    """`value` as a summary: one line of at most 120 characters."""
    text = value if type(value) is str else printable(value)
    return _one_line(text if len(text) <= _LONGEST_READ else text[:_LONGEST_READ])


@lru_cache(maxsize=1_000)
def _one_line(text: str) -> str:
    text = " ".join(printable(text).split())
    return text if len(text) <= _LONGEST_SUMMARY else text[: _LONGEST_SUMMARY - 1] + "…"


def printable(value: object) -> str:
    """`value` as text that can be encoded, whatever its `__str__` does."""
    try:
        return _encodable(str(value))
    except Exception as error:  # noqa: BLE001 - any object may be given, and its __str__ may do anything
        let_through(error)
        return f"<unprintable {type(value).__qualname__}>"


def _value(value: Any, key: str, repairs: Repairs) -> AttributeValue:
    """One value that is neither plain nor None."""
    scalar = _scalar(value, key, repairs)
    if isinstance(scalar, (bool, int, float, str, bytes)):
        return scalar
    items = _items(scalar)
    if items is not None:
        scalars = [_scalar(item, key, repairs) for item in items[:_MOST_ITEMS]]
        array = _array(scalars) if len(items) <= _MOST_ITEMS else None
        if array is not None:
            return array
    return json.dumps(_plain(scalar, key, repairs, (), iter(range(_MOST_PARTS))), ensure_ascii=False)


def _scalar(value: Any, key: str, repairs: Repairs) -> Any:  # noqa: C901, PLR0911, PLR0912 - one branch a kind of value
    """`value` as bool, int, float, str or bytes; containers come back as they are."""
    if isinstance(value, Enum):
        return _scalar(value.value, key, repairs)
    if isinstance(value, str):
        text = _encodable(value)
        if text != value:
            repairs[key] = RepairReason.SURROGATE
        return text
    if isinstance(value, bool) or type(value) is float:
        return value
    if isinstance(value, int):
        number = int(value)  # of a subclass, `in` would compare with each number of the range
        if number in _INT64:
            return number
        repairs[key] = RepairReason.INTEGER
        return exact_text(number)
    if isinstance(value, float):
        return float(value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _short_bytes(bytes(value), key, repairs)
    if value is None or isinstance(value, (Mapping, AbstractSet, list, tuple)):
        return value
    if hasattr(value, "tolist") and hasattr(value, "shape"):
        return _from_array(value, key, repairs)
    if isinstance(value, (datetime, date, time)):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return _encodable(os.fsdecode(value))
    if isinstance(value, (Sequence, ValuesView)) and not isinstance(value, range):
        return list(value)
    text = printable(value)
    if text.startswith("<unprintable "):
        repairs[key] = RepairReason.UNPRINTABLE
    return text


def _from_array(value: Any, key: str, repairs: Repairs) -> Any:
    """A numpy or torch array, or one of their scalars, as Python numbers; a large one as a description."""
    if str(getattr(value, "device", "cpu")).partition(":")[0] != "cpu":
        repairs[key] = RepairReason.ON_DEVICE  # reading it would make the host wait for the device
        return _description(value)
    if math.prod(value.shape) > _MOST_ITEMS:
        repairs[key] = RepairReason.SUMMARISED
        return _description(value)
    numbers = value.detach().tolist() if hasattr(value, "detach") else value.tolist()
    if hasattr(numbers, "tolist"):  # numpy's longdouble has no Python twin, nor has its complex one
        return printable(numbers) if numbers.dtype.kind == "c" else float(numbers)
    return numbers if isinstance(numbers, list) else _scalar(numbers, key, repairs)


def _description(array: Any) -> str:
    return f"{type(array).__name__} of {getattr(array, 'dtype', '?')}, shape {tuple(array.shape)}"


def exact_text(value: int) -> str:
    """`value` as decimal digits, or as hexadecimal ones where they are too many."""
    try:
        return str(value)
    except ValueError:  # Python refuses decimal text of more than 4,300 digits
        return hex(value)


def _short_bytes(value: bytes, key: str, repairs: Repairs) -> bytes | str:
    if len(value) <= _MOST_BYTES:
        return value
    repairs[key] = RepairReason.SUMMARISED
    return f"{len(value)} bytes, sha256 {sha256(value).hexdigest()}"


def _encodable(text: str) -> str:
    """`text` with each lone surrogate replaced by U+FFFD: one of them makes a whole batch of spans undeliverable."""
    if text.isascii():
        return str.__str__(text)
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _items(value: Any) -> list[Any] | None:
    if isinstance(value, AbstractSet):
        return sorted(value, key=printable)
    return list(value) if isinstance(value, (list, tuple)) else None


def _array(scalars: list[Any]) -> AttributeValue | None:
    """`scalars` as an array of one type, or None where OpenTelemetry has no such array."""
    kinds = {type(scalar) for scalar in scalars}
    if kinds == {int, float} and all(abs(scalar) <= 2**53 for scalar in scalars if type(scalar) is int):
        return tuple(float(scalar) for scalar in scalars)
    return tuple(scalars) if len(kinds) <= 1 and kinds <= {bool, int, float, str} else None


def _plain(value: Any, key: str, repairs: Repairs, inside: tuple[int, ...], parts: Iterator[int]) -> Any:  # noqa: PLR0911
    """`value` as something JSON can write, cut at cycles, at a depth of 32 and after 10,000 parts."""
    if next(parts, None) is None:
        repairs[key] = RepairReason.SUMMARISED
        return "…"
    value = _scalar(value, key, repairs)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, bytes):
        repairs[key] = RepairReason.BYTES
        return base64.b64encode(value).decode("ascii")
    items = list(value.items()) if isinstance(value, Mapping) else _items(value)
    if items is None:
        return value
    if id(value) in inside or len(inside) >= _MOST_DEPTH:
        repairs[key] = RepairReason.CYCLE if id(value) in inside else RepairReason.DEPTH
        return "<cycle>" if id(value) in inside else "<too deep>"
    inside = (*inside, id(value))
    rest = len(items) - _MOST_ITEMS
    if rest > 0:
        repairs[key] = RepairReason.SUMMARISED
    if isinstance(value, Mapping):
        plain = {printable(name): _plain(item, key, repairs, inside, parts) for name, item in items[:_MOST_ITEMS]}
        return plain | ({"…": f"{rest} more"} if rest > 0 else {})
    return [_plain(item, key, repairs, inside, parts) for item in items[:_MOST_ITEMS]] + (
        [f"… {rest} more"] if rest > 0 else []
    )
