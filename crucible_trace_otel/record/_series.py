"""The packed rows of a window: columns one after another, little-endian. The format is in docs/step-series.md."""

import json
import sys
from array import array
from collections.abc import Sequence
from typing import Any

from crucible_trace_otel.record._values import printable

__all__ = ["INTEGERS", "NUMBERS", "OTHER", "pack_column"]

INTEGERS, NUMBERS, OTHER = "i8", "f8", "json"


def pack_column(values: Sequence[Any]) -> tuple[str, bytes]:
    """The format and the bytes of one column.

    Integers stay exact; a column with a float in it is all doubles; anything else is JSON text behind its length.
    """
    kinds = set(map(type, values))
    if kinds <= {int}:
        try:
            return INTEGERS, _little_endian(array("q", values))
        except OverflowError:
            pass
    elif kinds <= {int, float}:
        return NUMBERS, _little_endian(array("d", values))
    text = json.dumps(list(values), ensure_ascii=False, default=printable).encode("utf-8", "replace")
    return OTHER, len(text).to_bytes(4, "little") + text


def _little_endian(values: "array[Any]") -> bytes:
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()
