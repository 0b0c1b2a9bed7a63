"""Arrays and tables of other packages, known by what they can do: none of those packages is imported for them."""

import io
import sys
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["columns", "is_array", "is_arrow", "is_frame", "items", "numbers", "on_host", "pieces", "write_arrow"]

_ROWS = 65_536
_ITEMS = 4_096


def is_array(value: Any) -> bool:
    """An array or a scalar of numpy, a tensor of torch, and the like."""
    return (
        hasattr(value, "dtype") and hasattr(value, "shape") and (hasattr(value, "tobytes") or hasattr(value, "detach"))
    )


def is_frame(value: Any) -> bool:
    """A frame, column or index of pandas."""
    return (
        _package(value) == "pandas" and hasattr(value, "shape") and (hasattr(value, "iloc") or hasattr(value, "tolist"))
    )


def is_arrow(value: Any) -> bool:
    """A table or record batch of Arrow."""
    return _package(value) == "pyarrow" and hasattr(value, "schema") and hasattr(value, "slice")


def on_host(array: Any) -> Any:
    """`array` as one of numpy, without a copy; None where it lies on an accelerator, which it would wait for."""
    if str(getattr(array, "device", "cpu")).partition(":")[0].lower() != "cpu":
        return None
    return array.detach().numpy() if hasattr(array, "detach") else array


def pieces(array: Any, most_bytes: int) -> Iterator[Any]:
    """The bytes of a numpy array in C order: itself where they lie so, else copies of at most `most_bytes`."""
    if array.nbytes <= most_bytes or array.ndim == 0:
        yield array.tobytes()
    elif array.flags.c_contiguous:
        yield array.reshape(-1).view("u1")
    else:
        rows = most_bytes // (array.nbytes // len(array))
        if rows:
            for start in range(0, len(array), rows):
                yield array[start : start + rows].tobytes()
        else:
            for row in array:
                yield from pieces(row, most_bytes)


def columns(frame: Any) -> Iterator[tuple[Any, Any]]:
    """The index of `frame`, then its columns, each with its name."""
    index = getattr(frame, "index", None)
    if index is not None and not callable(index):
        yield index.name, index
    if hasattr(frame, "columns"):
        for position, name in enumerate(frame.columns):
            yield name, frame.iloc[:, position]
    else:
        yield frame.name, frame


def numbers(column: Any) -> Any:
    """A column of numbers or times as an array of numpy; None where it holds anything else."""
    are_plain = hasattr(column.dtype, "str") and column.dtype.kind in "biufcmM"
    return column.to_numpy() if are_plain else None


def items(column: Any) -> Iterator[Any]:
    """What a column holds, as Python objects."""
    values = getattr(column, "iloc", column)
    for start in range(0, len(column), _ITEMS):
        yield from values[start : start + _ITEMS].tolist()


def write_arrow(table: Any, write: Callable[[Any], None]) -> None:
    """Hand `table` to `write` piece by piece, as Arrow's stream of batches: the same however it lies in memory."""
    arrow = sys.modules["pyarrow"]
    schema = table.schema.remove_metadata()
    every = arrow.array(range(min(_ROWS, table.num_rows)), arrow.int32())
    with arrow.ipc.new_stream(arrow.PythonFile(_Sink(write), "w"), schema) as stream:
        for start in range(0, table.num_rows, _ROWS):
            part = table.slice(start, _ROWS)
            part = part.take(every.slice(0, part.num_rows))  # laid out afresh, where it came from a slice too
            for batch in part.combine_chunks().to_batches() if hasattr(part, "combine_chunks") else [part]:
                stream.write_batch(batch.replace_schema_metadata(None))


class _Sink(io.RawIOBase):
    def __init__(self, write: Callable[[Any], None]) -> None:
        self._write = write

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._write(data)
        return len(data)


def _package(value: Any) -> str:
    return type(value).__module__.partition(".")[0]
