"""Columns of steps as what other tools take: numpy and its npz, pandas, pyarrow, CSV."""

import csv
import io
import json
import os
from array import array
from collections.abc import Callable, Iterator, Mapping
from importlib import import_module
from typing import IO, TYPE_CHECKING, Any
from zipfile import ZIP_DEFLATED, ZipFile

from crucible_trace_otel.errors import MissingPackageError
from crucible_trace_otel.trace.columns import ABSENT, EXACT, Column

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

__all__ = ["csv_lines", "to_arrow", "to_npz", "to_numpy", "to_pandas"]

Series = Mapping[str, Column]

_FORMULA = frozenset("=+-@\t\r")


def to_numpy(series: Series, count: int) -> "dict[str, np.ndarray[Any, Any]]":
    """Each column as an array of `count` elements; see `StepRows.to_numpy()`."""
    np = _imported("numpy", "numpy")
    return {name: _as_numpy(np, column, count) for name, column in series.items()}


def _as_numpy(np: Any, column: Column, count: int) -> Any:
    values = column.values
    if isinstance(values, array):
        given = np.frombuffer(values, values.typecode).copy() if len(values) else np.empty(0, values.typecode)
        if column.rows is None:
            return given
        if column.kind == "d" or all(-EXACT <= value <= EXACT for value in values):
            filled = np.full(count, np.nan)
            filled[np.frombuffer(column.rows, "q")] = given
            return filled
    objects = np.empty(count, object)
    for row, cell in enumerate(column.cells(count)):
        objects[row] = None if cell is ABSENT else cell
    return objects


def to_npz(series: Series, count: int, file: str | os.PathLike[str] | IO[bytes]) -> None:
    """Write the arrays of `to_numpy()` as `numpy.load()` reads them; see `StepRows.to_npz()`."""
    np = _imported("numpy", "numpy")
    # Not by `numpy.savez()`, which would pickle objects, and takes the names as keywords.
    with ZipFile(file, "w", ZIP_DEFLATED) as archive:
        for name, column in series.items():
            values = _as_numpy(np, column, count)
            if values.dtype == object:
                values = np.array(["" if cell is None else _text(cell) for cell in values], str)
            with archive.open(f"{_text(name)}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, values, allow_pickle=False)


def to_pandas(series: Series, count: int) -> "pd.DataFrame":
    """A data frame of `count` rows; see `StepRows.to_pandas()`."""
    pd = _imported("pandas", "pandas")
    np = _imported("numpy", "numpy")

    def cells(column: Column) -> Any:
        if column.kind == "q" and column.rows is not None:
            return pd.array([None if cell is ABSENT else cell for cell in column.cells(count)], "Int64")
        return pd.Series(_as_numpy(np, column, count), dtype=object if column.kind == "O" else None)

    return pd.DataFrame({name: cells(column) for name, column in series.items()}, columns=list(series))


def to_arrow(series: Series, count: int) -> "pa.Table":
    """A table of `count` rows; see `StepRows.to_arrow()`."""
    pa = _imported("pyarrow", "arrow")
    numbers = {"q": pa.int64(), "d": pa.float64()}

    def cells(column: Column) -> Any:
        if isinstance(column.values, array) and column.rows is None:
            # A copy of the bytes, which the columns go on to own.
            return pa.Array.from_buffers(numbers[column.kind], count, [None, pa.py_buffer(column.values.tobytes())])
        given = [None if cell is ABSENT else cell for cell in column.cells(count)]
        if column.kind in numbers:
            return pa.array(given, numbers[column.kind], from_pandas=False)
        kinds = {type(cell) for cell in given if cell is not None}
        if kinds == {bool}:
            return pa.array(given, pa.bool_())
        return pa.array([None if cell is None else _text(cell) for cell in given], pa.string())

    return pa.table({name: cells(column) for name, column in series.items()})


def _text(cell: Any) -> str:
    """A text as it is, anything else as JSON."""
    return cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else json.dumps(cell)


def csv_lines(series: Series, count: int, text: Callable[[str], str] = str) -> Iterator[str]:
    """A header and a line a row, if there is a row.

    Args:
        series: The columns.
        count: How many rows there are.
        text: What is done to each text first.
    """
    if not count:
        return
    buffer = io.StringIO()
    writer = csv.writer(buffer)  # with \r\n at the end of a line: else a \r in a text is not put in quotes

    def line(cells: Any) -> str:
        buffer.seek(0)
        buffer.truncate()
        writer.writerow(cells)
        return buffer.getvalue().removesuffix("\r\n") + "\n"

    yield line([_without_formula(text(name)) for name in series])
    if all(column.rows is None and column.kind != "O" for column in series.values()):
        yield from map(line, zip(*(column.values for column in series.values()), strict=True))
        return
    for row in zip(*(column.cells(count) for column in series.values()), strict=True):
        yield line([_without_formula(text(cell)) if isinstance(cell, str) else _cell(cell) for cell in row])


def _without_formula(text: str) -> str:
    """A text that begins like a formula would be run by the spreadsheet that opens the file."""
    return f"'{text}" if text[:1] in _FORMULA else text


def _cell(value: Any) -> Any:
    """Numbers as they are, nothing for nothing, anything else as JSON."""
    if value is None or value is ABSENT:
        return None
    return value if isinstance(value, (int, float)) else json.dumps(value)


def _imported(module: str, extra: str) -> Any:
    """The package `module`, which only some who read steps need.

    Raises:
        MissingPackageError: It is not installed.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise MissingPackageError(
            f"This needs {module}, which cannot be imported ({error}): pip install 'crucible_trace_otel[{extra}]'."
        ) from error
