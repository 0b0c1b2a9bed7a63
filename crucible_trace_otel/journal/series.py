"""What a window of steps says about itself: its statistics, and every row, packed. See docs/step-series.md.

Used by the process that records, and by whoever closes the windows of a process that was killed: they look the same.
"""

import json
import math
import struct
import sys
import zlib
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from crucible_trace_otel.journal.keyvalues import append_attributes
from crucible_trace_otel.journal.wire import bytes_field, fixed64_field
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import SeriesFormat

__all__ = [
    "INDEX",
    "MOST_INFLATED",
    "ColumnSummary",
    "DescribedWindow",
    "as_list",
    "described",
    "event_message",
    "pack_column",
]

INDEX = ("step", "time_ns")
"""The first two columns of every window."""

MOST_INFLATED = 1 << 20
"""Values in a window of which a column is compressed: what a reader has to hold is bounded."""

_DEFLATED: dict[str, str] = {SeriesFormat.I8: SeriesFormat.I8Z, SeriesFormat.F8: SeriesFormat.F8Z}
_UNSIGNED = 2**64 - 1
_FORMATS = {"q": SeriesFormat.I8, "d": SeriesFormat.F8}
_INTEGERS, _NUMBERS = {int}, {int, float}
_MOST_BITS = 8_192  # Python reads and writes no decimal number of more than 4,300 digits
_MOST_ATTRIBUTES = 122  # of the SDK's 128 to an event: room for three of the series, one mark, two of repairs
_MOST_DESCRIBED = 19  # numbers with statistics of their own: six each must stay under the SDK's 128 attributes


class ColumnSummary(NamedTuple):
    """One column of numbers, over its finite values; the last one as it is."""

    finite: int
    total: float
    last: float


class DescribedWindow(NamedTuple):
    """A window as it is stored."""

    attributes: dict[str, Any]
    """Those of its event."""
    numbers: dict[str, ColumnSummary]
    """Each column that holds numbers only."""


def described(
    columns: Mapping[str, Sequence[Any]], reason: str, *, compact: bool = False, plain_arrays: bool = False
) -> DescribedWindow:
    """A window of one row or more, closed for `reason`.

    Args:
        columns: By name, `step` and `time_ns` first, all of one length.
        reason: A value of `crucible.window.reason`.
        compact: Pack columns by zlib where that makes them smaller.
        plain_arrays: Add the values of each number as an array, while the event has room.
    """
    steps = as_list(columns["step"])
    first, last = min(steps), max(steps)
    packed = {name: pack_column(values) for name, values in columns.items()}
    if compact and len(steps) * len(columns) <= MOST_INFLATED:
        packed = {name: _deflated(form, data) for name, (form, data) in packed.items()}
    summary = f"steps {first} to {last}"
    statistics: dict[str, dict[str, Any]] = {}
    numbers: dict[str, ColumnSummary] = {}
    for name, values in columns.items():
        if name in INDEX or packed[name][0] == SeriesFormat.JSON:
            continue
        numbers[name], found = _statistics(as_list(values))
        for key, value in found.items():
            of_key = statistics.setdefault(key, {})
            if len(of_key) < _MOST_DESCRIBED:
                of_key[name] = value
        if name == "loss":
            summary += f": loss {float(values[0]):.4g} to {float(values[-1]):.4g}"
    attributes: dict[str, Any] = {
        attr.CRUCIBLE_ABOUT: summary,
        attr.CRUCIBLE_WINDOW_FIRST_STEP: first,
        attr.CRUCIBLE_WINDOW_LAST_STEP: last,
        attr.CRUCIBLE_WINDOW_COUNT: len(steps),
        attr.CRUCIBLE_WINDOW_REASON: reason,
    }
    for key, named in statistics.items():
        attributes |= {f"{key}.{name or '_'}": value for name, value in named.items()}
    if plain_arrays:
        attributes |= _arrays({name: columns[name] for name in ("step", *numbers)}, _MOST_ATTRIBUTES - len(attributes))
    attributes[attr.CRUCIBLE_WINDOW_SERIES_COLUMNS] = tuple(columns)
    attributes[attr.CRUCIBLE_WINDOW_SERIES_FORMATS] = tuple([form for form, _ in packed.values()])
    attributes[attr.CRUCIBLE_WINDOW_SERIES_VALUES] = b"".join(values for _, values in packed.values())
    return DescribedWindow(attributes, numbers)


def pack_column(values: Sequence[Any]) -> tuple[str, bytes]:
    """The format and the bytes of one column, little-endian.

    Integers stay exact; a column with a float in it is all doubles; anything else is JSON text behind its length.
    """
    if type(values) is memoryview and sys.byteorder == "little":
        return _FORMATS[values.format], values.tobytes()
    kinds = set(map(type, values))
    try:
        if kinds == _INTEGERS:
            return SeriesFormat.I8, _little_endian(array("q", values))
        if kinds <= _NUMBERS:
            return SeriesFormat.F8, _little_endian(array("d", values))
    except OverflowError:  # an integer beyond 64 bits, or beyond a double
        pass
    values = [hex(value) if type(value) is int and value.bit_length() > _MOST_BITS else value for value in values]
    text = json.dumps(values, ensure_ascii=False, default=repr).encode("utf-8", "replace")
    return SeriesFormat.JSON, len(text).to_bytes(4, "little") + text


def _deflated(form: str, data: bytes) -> tuple[str, bytes]:
    """A packed column by zlib, integers as what each is more than the one before; as it is where that is no smaller."""
    if form == SeriesFormat.JSON:
        return form, data
    if form == SeriesFormat.I8:
        values = struct.unpack(f"<{len(data) // 8}Q", data)
        differences = [(value - before) & _UNSIGNED for before, value in zip((0, *values), values, strict=False)]
        small = zlib.compress(struct.pack(f"<{len(values)}Q", *differences))
    else:
        small = zlib.compress(data)
    if len(small) + 4 >= len(data):
        return form, data
    return _DEFLATED[form], len(small).to_bytes(4, "little") + small


def _arrays(columns: Mapping[str, Sequence[Any]], room: int) -> dict[str, tuple[float, ...]]:
    """The first columns as arrays of doubles, as many as there is room for."""
    shown = list(columns.items())[: max(room, 0)]
    template = attr.CRUCIBLE_WINDOW_ARRAY_TEMPLATE
    return {f"{template}.{name or '_'}": tuple([float(value) for value in values]) for name, values in shown}


def as_list(values: Sequence[Any]) -> Sequence[Any]:
    """A column, its numbers made where it is a view of bytes."""
    return values.tolist() if type(values) is memoryview else values


def event_message(name: str, time_ns: int, attributes: Mapping[str, Any]) -> bytes:
    """The event of a window as a serialized OTLP Span.Event message.

    Args:
        name: Of the event.
        time_ns: Nanoseconds since 1970.
        attributes: Of the event.
    """
    parts = [fixed64_field(1, time_ns), bytes_field(2, name.encode("utf-8", "replace"))]
    append_attributes(attributes, 3, parts, {})
    return b"".join(parts)


def _statistics(values: Sequence[float]) -> tuple[ColumnSummary, dict[str, float | int]]:
    """First, last, and over the finite values minimum, maximum and mean; how many are not finite, where any is."""
    finite: Sequence[float] = values
    total = _sum(values)
    if not math.isfinite(total):  # a value that is not, or a sum beyond a double
        finite = [value for value in values if math.isfinite(value)]
        total = _sum(finite)
    found: dict[str, float | int] = {
        attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE: float(values[0]),
        attr.CRUCIBLE_WINDOW_LAST_TEMPLATE: float(values[-1]),
        attr.CRUCIBLE_WINDOW_MIN_TEMPLATE: float(min(finite, default=math.nan)),
        attr.CRUCIBLE_WINDOW_MAX_TEMPLATE: float(max(finite, default=math.nan)),
        attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE: total / len(finite) if finite else math.nan,
    }
    if len(finite) < len(values):
        found[attr.CRUCIBLE_WINDOW_NONFINITE_TEMPLATE] = len(values) - len(finite)
    return ColumnSummary(len(finite), total, float(values[-1])), found


def _sum(values: Sequence[float]) -> float:
    """An exact sum; infinity where it is beyond a double, and whatever is not finite where a value is not."""
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):  # beyond a double; infinities of both signs
        return float(sum(values))


def _little_endian(values: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
