"""The packed rows of a window: columns one after another, little-endian. The format is in docs/step-series.md."""

import json
import sys
from array import array
from collections.abc import Sequence
from typing import Any

from crucible_trace_otel.record._values import exact_text, printable
from crucible_trace_otel.semconv.enums import SeriesFormat

__all__ = ["pack_column"]

_MOST_BITS = 8_192  # Python reads and writes no decimal number of more than 4,300 digits


def pack_column(values: Sequence[Any]) -> tuple[str, bytes]:
    """The format and the bytes of one column.

    Integers stay exact; a column with a float in it is all doubles; anything else is JSON text behind its length.
    """
    kinds = set(map(type, values))
    try:
        if kinds <= {int}:
            return SeriesFormat.I8, _little_endian(array("q", values))
        if kinds <= {int, float}:
            return SeriesFormat.F8, _little_endian(array("d", values))
    except OverflowError:  # an integer beyond 64 bits, or beyond a double
        pass
    values = [
        exact_text(value) if type(value) is int and value.bit_length() > _MOST_BITS else value for value in values
    ]
    text = json.dumps(values, ensure_ascii=False, default=printable).encode("utf-8", "replace")
    return SeriesFormat.JSON, len(text).to_bytes(4, "little") + text


def _little_endian(values: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
