"""The rows of a history, whatever they come in: where each stands in the run, when it was, and its numbers."""

import csv
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from typing import Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.semconv.enums import HistorySource

__all__ = ["TAKEN", "History", "Row", "read_history", "time_of"]

_TIMES = ("time_ns", "time", "timestamp", "_timestamp", "wall_time")
_VALIDATIONS = ("val_", "eval_")
_EARLIEST_S, _EARLIEST_MS, _EARLIEST_US, _EARLIEST_NS = 1e8, 1e11, 1e14, 1e17  # 1973, in each unit
_LATEST_NS = 2**63 - 1
_LAST_STEP = 2**63 - 1
_INT64 = range(-(2**63), _LAST_STEP)
_DELIMITERS = ",;\t"
TAKEN = "rows, a data frame of pandas, a history of Keras, or a CSV file"
"""What a history can be, for a message."""


@dataclass(slots=True)
class Row:
    """One row of a history."""

    step: int
    epoch: int | None
    time_ns: int | None
    """Nanoseconds since 1970; None where the row does not tell."""
    numbers: dict[str, Any] = field(default_factory=dict)
    """What was measured in training, by name."""
    metrics: dict[str, Any] = field(default_factory=dict)
    """What a validation gave, by name."""


@dataclass(slots=True)
class History:
    """All rows of a history, in their order."""

    source: str
    rows: list[Row] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)
    """What a row says about the whole run."""
    left_out: int = 0
    """How many rows could not be read, such as those that are no mappings."""


def read_history(given: Any, started_ns: int | None) -> History:
    """The history in `given`: a CSV file's path, a data frame of pandas, a Keras history, or rows.

    Raises:
        OSError: There is no such file.
        TypeError: It is none of these.
        csv.Error: The file is no CSV.
    """
    source, rows = _source(given)
    history = History(source)
    is_progress = source == HistorySource.TRANSFORMERS or any(_is_fraction(row.get("epoch")) for row in rows if row)
    next_step = 0
    for given_row in rows:
        row = _read_row(given_row, next_step, started_ns, is_progress=is_progress)
        if row is None:
            history.left_out += 1
        elif "train_runtime" in row.numbers:
            history.summary |= row.numbers
        else:
            history.rows.append(row)
            next_step = max(next_step, min(row.step, _LAST_STEP - 1) + 1)
    return history


def time_of(value: Any, started_ns: int | None = None) -> int | None:
    """A time as nanoseconds since 1970, or None where `value` is none.

    Args:
        value: A `datetime` (local time without a zone), ISO 8601 text, or a number since 1970: seconds, milli-, micro-
            or nanoseconds, told apart by size. A number too small for that counts seconds from `started_ns`.
        started_ns: When the run began.
    """
    if isinstance(value, str):
        try:
            value = float(value)
        except ValueError:
            try:
                value = datetime.fromisoformat(value.strip().replace("Z", "+00:00"))
            except ValueError:
                return None
    if isinstance(value, datetime):
        try:
            value = value.timestamp()
        except (OSError, OverflowError, ValueError):  # far from now, without a zone
            return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= _LATEST_NS:
        return None
    for earliest, unit in ((_EARLIEST_NS, 1), (_EARLIEST_US, 1_000), (_EARLIEST_MS, 10**6), (_EARLIEST_S, 10**9)):
        if value >= earliest:
            found = value * unit if isinstance(value, int) else round(value * unit)
            return found if found <= _LATEST_NS else None
    return None if started_ns is None else started_ns + round(value * 1e9)


def _source(given: Any) -> tuple[str, Sequence[dict[Any, Any] | None]]:
    """What the history comes from, and its rows; None for one that is no mapping, or does not let itself be read."""
    if isinstance(given, (str, os.PathLike)):
        return HistorySource.CSV, _csv_rows(given)
    if hasattr(given, "notna") and hasattr(given, "to_dict"):  # a data frame of pandas, whose items are its columns
        return HistorySource.ROWS, _frame_rows(given)
    if isinstance(getattr(given, "history", None), Mapping):  # the object that Keras' fit returns
        return HistorySource.KERAS, _keras_rows(given.history, getattr(given, "epoch", ()))
    if isinstance(given, Mapping):
        return HistorySource.KERAS, _keras_rows(given, ())
    if not isinstance(given, Iterable):
        raise TypeError(f"rows={printable(given)[:80]} is no history: it takes {TAKEN}")
    rows = [_plain_row(row) for row in given]
    named = [row for row in rows if row is not None]
    is_transformers = all("epoch" in row and "step" in row for row in named) and any(
        "train_runtime" in row or "eval_runtime" in row for row in named
    )
    return HistorySource.TRANSFORMERS if is_transformers else HistorySource.ROWS, rows


def _plain_row(given: Any) -> dict[Any, Any] | None:
    try:
        return dict(given) if isinstance(given, Mapping) else None
    except Exception as error:  # noqa: BLE001 - any mapping may be given, and its methods may do anything
        let_through(error)
        return None


def _csv_rows(path: str | os.PathLike[str]) -> list[dict[str, Any]]:
    with open(path, encoding="utf-8-sig", errors="replace", newline="") as file:  # noqa: PTH123 - a path of any kind
        header = file.readline()
        delimiter = max(_DELIMITERS, key=header.count)
        file.seek(0)
        return [
            {
                name: _cell(cell)
                for name, cell in row.items()
                if name is not None and isinstance(cell, str) and cell.strip()
            }
            for row in csv.DictReader(file, delimiter=delimiter)
        ]


def _frame_rows(frame: Any) -> list[dict[Any, Any]]:
    """The rows of a data frame; a cell without a value, such as NaN, is one that its row lacks."""
    return [
        {name: value for name, value in row.items() if is_there[name]}
        for row, is_there in zip(frame.to_dict("records"), frame.notna().to_dict("records"), strict=True)
    ]


def _cell(text: str) -> Any:
    """A cell as the number it reads as, else as text."""
    for kind in (int, float):
        with suppress(ValueError):
            return kind(text)
    return text


def _keras_rows(columns: Mapping[Any, Any], epochs: Sequence[Any]) -> list[dict[str, Any]]:
    """Columns with a value an epoch as rows; where one is shorter, its last rows lack it."""
    listed = {
        printable(name): list(values) if isinstance(values, Iterable) and not isinstance(values, str) else [values]
        for name, values in columns.items()
    }
    rows = [dict(zip(listed, values, strict=True)) for values in zip_longest(*listed.values())]
    return [
        {"epoch": epoch, **row} for epoch, row in zip([*epochs, *range(len(epochs), len(rows))], rows, strict=False)
    ]


def _read_row(given: dict[Any, Any] | None, next_step: int, started_ns: int | None, *, is_progress: bool) -> Row | None:
    """One row; None for one that cannot be read, which costs no other."""
    try:
        return None if given is None else _row(given, next_step, started_ns, is_progress=is_progress)
    except Exception as error:  # noqa: BLE001 - any value may be given, and its methods may do anything
        let_through(error)
        return None


def _row(given: dict[Any, Any], next_step: int, started_ns: int | None, *, is_progress: bool) -> Row:
    """One row; what is no step, epoch or time stays beside the numbers, under its name with `_`."""
    row = Row(next_step, None, None)
    step, epoch = _whole(given.get("step")), _epoch(given.get("epoch"), is_progress=is_progress)
    for key in _TIMES:
        row.time_ns = time_of(given.get(key), started_ns) if row.time_ns is None else row.time_ns
        if key in given and time_of(given[key], started_ns) is not None:
            del given[key]
    if step is not None:
        row.step = step
        del given["step"]
    if epoch is not None:
        row.epoch = epoch
        del given["epoch"]
    for name, value in given.items():
        text = printable(name)
        prefix = next((prefix for prefix in _VALIDATIONS if text.startswith(prefix) and text != prefix), None)
        if value is None:
            continue
        if prefix is not None:
            row.metrics[text.removeprefix(prefix)] = value
        else:
            row.numbers[f"{text}_" if text in ("step", "epoch", "time_ns") else text] = value
    return row


def _whole(value: Any) -> int | None:
    try:
        whole = int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return whole if whole == value and whole in _INT64 else None


def _epoch(value: Any, *, is_progress: bool) -> int | None:
    """The index of an epoch; of a progress, such as 0.5 or 1.0 of the way, the one that was gone on with."""
    if not is_progress:
        return _whole(value)
    try:
        return max(math.ceil(float(value)) - 1, 0)
    except (TypeError, ValueError, OverflowError):
        return None


def _is_fraction(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value) and not value.is_integer()
