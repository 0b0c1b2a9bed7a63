"""What a value is made of, in few words: its type, the names and types of its columns, its shape."""

import os
from collections.abc import Mapping
from itertools import islice
from typing import Any

from crucible_trace_otel.record._values import one_line
from crucible_trace_otel.record.stages import _tables

__all__ = ["schema_of"]

_MOST_NAMES = 100
_DEEPEST = 2


def schema_of(value: Any, depth: int = 0) -> dict[str, Any]:  # noqa: PLR0911 - one line a kind of value
    """What `value` is made of, as something JSON can write; keys and columns past a hundred are counted."""
    name = type(value).__name__
    if isinstance(value, os.PathLike):
        return {"type": "directory" if os.path.isdir(value) else "file"}  # noqa: PTH112
    if _tables.is_array(value):
        dtype = str(value.dtype).removeprefix("torch.")
        return {"type": name, "dtype": dtype, "shape": [int(size) for size in value.shape]}
    if _tables.is_frame(value) and hasattr(value, "columns"):
        types = ((column, value.dtypes.iloc[at]) for at, column in enumerate(value.columns))
        return {"type": name, "rows": len(value), "columns": _named(types, len(value.columns))}
    if _tables.is_frame(value):
        return {"type": name, "rows": len(value), "dtype": str(value.dtype)}
    if _tables.is_arrow(value):
        types = ((field.name, field.type) for field in value.schema)
        return {"type": name, "rows": value.num_rows, "columns": _named(types, len(value.schema))}
    if isinstance(value, Mapping) and depth < _DEEPEST:
        keys = ((key, schema_of(value[key], depth + 1)) for key in islice(value, _MOST_NAMES))
        return {"type": name, "keys": _named(keys, len(value))}
    if isinstance(value, (list, tuple, set, frozenset, Mapping)):
        return {"type": name, "length": len(value)}
    return {"type": name}


def _named(parts: Any, count: int) -> dict[str, Any]:
    named: dict[str, Any] = {}
    for key, what in islice(parts, _MOST_NAMES):
        name = one_line(key)
        while name in named:
            name += "_"
        named[name] = what if isinstance(what, dict) else one_line(what)
    return named | ({"…": f"{count - _MOST_NAMES} more"} if count > _MOST_NAMES else {})
