"""Every recorded step, unfolded from the windows it was packed into.

    for row in step_rows(trace).rows:
        print(row["epoch"], row["step"], row["loss"])

A window is a span event with the statistics of its steps and the packed series itself:
`crucible.window.series.columns`, `.formats` and `.values`, column after column. Columns they stay here: a row is made
when it is asked for, so that a run of a million steps takes eight bytes a number.
"""

import json
import os
import struct
import sys
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import IO, TYPE_CHECKING, Any

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import SeriesFormat
from crucible_trace_otel.trace import tables
from crucible_trace_otel.trace.attempts import Attempt, counting_rows
from crucible_trace_otel.trace.columns import Column, Growing, Row, Rows
from crucible_trace_otel.trace.spans import Trace, TraceEvent, TraceSpan, enclosing

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa

__all__ = ["Attempt", "Row", "StepRows", "decode_window", "step_rows"]

_FIXED = {SeriesFormat.I8: "q", SeriesFormat.F8: "d"}
_DEFLATED: frozenset[str] = frozenset({SeriesFormat.I8Z, SeriesFormat.F8Z})
_INTEGERS: frozenset[str] = frozenset({SeriesFormat.I8, SeriesFormat.I8Z})
_HALF = 1 << 63
_MOST_INFLATED = 1 << 20  # values in a window with a compressed column
_LENGTH = struct.Struct("<I")
_FIRST_COLUMNS = ("step", "time_ns")
_COUNT_STEPS = frozenset({operations.TRAINING_RUN, operations.WORKER, operations.EPISODE})
_INTEGER_64 = range(-(2**63), 2**63)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StepRows:
    """The steps of a span or a trace: those of one run or episode after those of another, each by step and time.

    Of a run that several processes share, those of one process follow those of another.
    """

    series: Mapping[str, Column]
    """By name: `step`, `time_ns`, `epoch` if any row has it, then the others as they first appeared."""
    attempts: tuple[Attempt, ...] = ()
    """Whose steps they are, in order."""
    missing: int = 0
    """Windows whose series is absent or damaged; of those only the statistics are left."""

    @property
    def columns(self) -> tuple[str, ...]:
        """The keys of all rows."""
        return tuple(self.series)

    @property
    def rows(self) -> Rows:
        """Each with `step`, `time_ns`, what was recorded by name, and `epoch` where the step lies in one.

        A sequence that makes its rows, dictionaries, when they are asked for.
        """
        return Rows(self.series, len(self))

    def __len__(self) -> int:
        return len(self.series["step"].values)

    def __repr__(self) -> str:
        return f"StepRows({len(self)} rows of {', '.join(self.columns)}, {self.missing} windows missing)"

    def latest(self) -> "StepRows":
        """The steps that led to where each run is now, without those that a later attempt at it did again.

        What one attempt has recorded twice by itself stays. See `trace.attempts.counting_rows()`.
        """
        counting = counting_rows(self.attempts, self.series["step"].values)
        kept = [row for rows in counting for row in rows]
        if len(kept) == len(self):
            return self
        ends = [0, *accumulate(map(len, counting))]
        attempts = [
            replace(attempt, rows=range(first, end))
            for attempt, (first, end) in zip(self.attempts, pairwise(ends), strict=True)
        ]
        return StepRows(_picked(self.series, kept), tuple(attempts), self.missing)

    @property
    def ranks(self) -> tuple[int, ...]:
        """Of the processes that recorded them, ascending; empty where one did that had no rank."""
        return tuple(sorted({attempt.rank for attempt in self.attempts if attempt.rank is not None}))

    def of_rank(self, rank: int) -> "StepRows":
        """The steps that the process of that rank has recorded."""
        own = [attempt for attempt in self.attempts if attempt.rank == rank]
        kept = [row for attempt in own for row in attempt.rows]
        ends = [0, *accumulate(len(attempt.rows) for attempt in own)]
        moved = [replace(one, rows=range(*ends_of)) for one, ends_of in zip(own, pairwise(ends), strict=True)]
        return StepRows(_picked(self.series, kept), tuple(moved), self.missing)

    @property
    def repeated(self) -> tuple[int, ...]:
        """Of each attempt, how many of its steps an earlier attempt at the same run had done before."""
        steps = self.series["step"].values

        def of_earlier(own: Attempt) -> set[int]:
            found: set[int] = set()
            for other in self.attempts:
                if own.run_id and own.run_id == other.run_id and (other.number or 0) < (own.number or 0):
                    found.update(steps[other.rows.start : other.rows.stop])
            return found

        return tuple(
            sum(steps[row] in earlier for row in attempt.rows)
            for attempt in self.attempts
            for earlier in [of_earlier(attempt)]
        )

    def to_numpy(self) -> "dict[str, np.ndarray[Any, Any]]":
        """Each column as an array with an element a row: int64, float64, or objects.

        A row that lacks a number has NaN, so that integers become doubles there; where one of them has more than 53
        bits, and in columns of texts, it has None among objects.

        Raises:
            MissingPackageError: numpy is not installed.
        """
        return tables.to_numpy(self.series, len(self))

    def to_npz(self, file: str | os.PathLike[str] | IO[bytes]) -> None:
        """Write the arrays of `to_numpy()` to `file`, for `numpy.load()`. Objects are texts there, nothing is empty.

        Raises:
            MissingPackageError: numpy is not installed.
            OSError: It cannot be written.
        """
        tables.to_npz(self.series, len(self), file)

    def to_pandas(self) -> "pd.DataFrame":
        """A data frame with a row a step: int64, float64, or objects.

        What a row lacks is NaN among doubles, NA among integers (then of pandas' type Int64), None among objects.

        Raises:
            MissingPackageError: pandas is not installed.
        """
        return tables.to_pandas(self.series, len(self))

    def to_arrow(self) -> "pa.Table":
        """A table with a row a step: int64, double, bool or string; what a row lacks is null.

        Integers beyond 64 bits, and whatever is mixed, are strings: texts as they are, anything else as JSON.

        Raises:
            MissingPackageError: pyarrow is not installed.
        """
        return tables.to_arrow(self.series, len(self))

    def to_csv(self) -> str:
        """A text with a header and a line a row; what a row lacks is empty.

        A text that begins like a formula gets an apostrophe in front, so that no spreadsheet runs it.
        """
        return "".join(self.csv_lines())

    def csv_lines(self, text: Callable[[str], str] = str) -> Iterator[str]:
        """The lines of `to_csv()`, each made when it is asked for. Nothing, where there is no row.

        Args:
            text: What is done to each text first.
        """
        return tables.csv_lines(self.series, len(self), text)


def step_rows(trace: Trace | TraceSpan, event_name: str = events.STEPS_RECORDED) -> StepRows:
    """Every step that the windows named `event_name` hold. A damaged window is counted, never raised.

    Several training runs in a trace, such as a second attempt that counts from step 0 again, follow each other in
    order of their start: their steps are not mixed. So do episodes, whose rows have an `episode`.

    Args:
        trace: A trace, or one of its spans: then only the windows on that span.
        event_name: `steps_recorded`, or that of what was recorded beside the steps, such as `gradient_computed`;
            `reward_received` for the rewards of episodes.
    """
    found: dict[str, tuple[_Run, list[Mapping[str, Sequence[Any]]]]] = {}
    missing = 0
    for window, run in _windows(trace, event_name):
        try:
            unfolded = _unfolded(window.attributes)
        except FormatError:
            missing += 1
            continue
        if not len(unfolded["step"]):
            continue
        epoch = window.attributes.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX, run.epoch)
        known = {"epoch": epoch, "episode": run.episode}
        around = {name: _repeated(value, len(unfolded["step"])) for name, value in known.items() if value is not None}
        found.setdefault(run.span_id, (run, []))[1].append({**around, **unfolded})
    columns: dict[str, Growing] = {name: Growing() for name in _FIRST_COLUMNS}
    attempts: list[Attempt] = []
    count = 0
    for run, windows in found.values():
        first = count
        for one in sorted(windows, key=_beginning):
            for name, values in one.items():
                columns.setdefault(name, Growing()).append(values, count)
            count += len(one["step"])
        attempts.append(Attempt(run.span_id, run.run_id, run.attempt, range(first, count), run.rank))
    names = dict.fromkeys((*_FIRST_COLUMNS, *(name for name in ("epoch", "episode") if name in columns), *columns))
    series = {name: columns[name].column(count) for name in names}
    order = _order(series, [attempt.rows for attempt in attempts])
    return StepRows(series if order is None else _picked(series, order), tuple(attempts), missing)


def _beginning(window: Mapping[str, Sequence[Any]]) -> tuple[int, int]:
    return window["step"][0], window["time_ns"][0]


def _repeated(value: Any, count: int) -> Sequence[Any]:
    """A column that holds one value; one of integers is a view of numbers, as in a window."""
    return memoryview(array("q", (value,)) * count) if type(value) is int and value in _INTEGER_64 else [value] * count


def _order(series: Mapping[str, Column], runs: Sequence[range]) -> list[int] | None:
    """In which order the rows of each run are sorted by step and time; None where they are already."""
    steps, times = memoryview(series["step"].values), memoryview(series["time_ns"].values)  # type: ignore[arg-type]

    def is_sorted(rows: range) -> bool:
        keys = zip(steps[rows.start : rows.stop], times[rows.start : rows.stop], strict=True)
        return all(one <= next_one for one, next_one in pairwise(keys))

    if all(map(is_sorted, runs)):
        return None
    return [row for rows in runs for row in sorted(sorted(rows, key=times.__getitem__), key=steps.__getitem__)]


def _picked(series: Mapping[str, Column], order: Sequence[int]) -> dict[str, Column]:
    count = len(series["step"].values)
    picked = {name: column.picked(order, count) for name, column in series.items()}
    return {name: column for name, column in picked.items() if len(column.values) or name in _FIRST_COLUMNS}


def decode_window(attributes: Mapping[str, Any]) -> list[Row]:
    """The steps of one window, from the attributes of its event.

    Raises:
        FormatError: The series is absent, or its bytes do not have the form its columns and formats claim.
    """
    columns = _unfolded(attributes)
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _unfolded(attributes: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """The columns of one window: views of numbers where they are packed as such, lists of anything else.

    Raises:
        FormatError: As of `decode_window()`.
    """
    columns = attributes.get(attr.CRUCIBLE_WINDOW_SERIES_COLUMNS)
    formats = attributes.get(attr.CRUCIBLE_WINDOW_SERIES_FORMATS)
    values = attributes.get(attr.CRUCIBLE_WINDOW_SERIES_VALUES)
    count = attributes.get(attr.CRUCIBLE_WINDOW_COUNT)
    if not (isinstance(columns, tuple) and isinstance(formats, tuple) and isinstance(values, bytes)):
        raise FormatError("This window holds no series.")
    if type(count) is not int or count < 0 or len(columns) != len(formats) or len(set(columns)) != len(columns):
        raise FormatError(f"This window's count {count!r}, columns and formats do not fit each other.")
    if columns[:2] != _FIRST_COLUMNS or not set(map(str, formats[:2])) <= _INTEGERS:
        raise FormatError(f"A series begins with the integers step and time_ns, not with {columns[:2]!r}.")
    if _DEFLATED & set(map(str, formats)) and count * len(columns) > _MOST_INFLATED:
        raise FormatError(f"A compressed series of {count} rows and {len(columns)} columns is too large to be read.")
    unpacked: list[Sequence[Any]] = []
    position = 0
    for form in formats:
        column, position = _column(values, position, str(form), count)
        unpacked.append(column)
    if position != len(values):
        raise FormatError(f"{len(values) - position} bytes too many in a window's series.")
    return dict(zip(columns, unpacked, strict=True))


def _column(values: bytes, position: int, form: str, count: int) -> tuple[Sequence[Any], int]:
    """The column of `count` values that starts at `position`, and the position behind it."""
    if form in _FIXED:
        end = position + 8 * count
        if end > len(values):
            raise FormatError("A window's series ends too early.")
        return _view(values, position, end, _FIXED[form]), end
    if form in _DEFLATED:
        return _inflated(values, position, form, count)
    if form != SeriesFormat.JSON:
        raise FormatError(f"Unknown format {form!r} of a series column; a newer version may read it.")
    if position + _LENGTH.size > len(values):
        raise FormatError("A window's series ends too early.")
    start = position + _LENGTH.size
    end = start + _LENGTH.unpack_from(values, position)[0]
    try:
        column = json.loads(values[start:end].decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise FormatError(f"A column of a window's series is no JSON: {error}") from error
    if end > len(values) or not isinstance(column, list) or len(column) != count:
        raise FormatError(f"A column of a window's series is no JSON array of {count} values.")
    return column, end


def _view(values: bytes, start: int, end: int, kind: str) -> Sequence[Any]:
    """The packed numbers without a copy, where this machine keeps numbers in the same order of bytes."""
    view = memoryview(values)[start:end]
    if sys.byteorder == "little":
        return view.cast("B").cast(kind)  # type: ignore[call-overload, no-any-return]
    swapped = array(kind, view.tobytes())
    swapped.byteswap()
    return memoryview(swapped)


def _inflated(values: bytes, position: int, form: str, count: int) -> tuple[Sequence[Any], int]:
    """As `_column`, of a compressed one; nothing is inflated beyond what `count` values take."""
    start = position + _LENGTH.size
    if start > len(values):
        raise FormatError("A window's series ends too early.")
    end = start + _LENGTH.unpack_from(values, position)[0]
    inflating = zlib.decompressobj()
    try:
        data = inflating.decompress(values[start:end], 8 * count + 1)
    except zlib.error as error:
        raise FormatError(f"A column of a window's series cannot be inflated: {error}") from error
    if end > len(values) or not inflating.eof or inflating.unused_data or len(data) != 8 * count:
        raise FormatError(f"A column of a window's series does not inflate to {count} values.")
    if form == SeriesFormat.F8Z:
        return _view(data, 0, len(data), "d"), end
    differences = struct.unpack(f"<{count}q", data)
    return memoryview(array("q", [(total + _HALF) % (2 * _HALF) - _HALF for total in accumulate(differences)])), end


@dataclass(frozen=True, slots=True)
class _Run:
    """What is known of the training run, of its process, or of the episode, that a window belongs to."""

    span_id: str
    run_id: str
    attempt: int | None
    rank: int | None
    epoch: Any
    """Index of the epoch that the window lies in, or None."""
    episode: Any = None
    """Index of the episode whose steps it holds, or None."""


def _windows(trace: Trace | TraceSpan, event_name: str) -> Iterator[tuple[TraceEvent, _Run]]:
    """Each window with the run or episode it belongs to."""
    spans, by_id = ((trace,), {}) if isinstance(trace, TraceSpan) else (trace.spans, trace.by_id)
    for span in spans:
        windows = [event for event in span.events if event.name == event_name]
        if windows:
            run = _run_around(tuple(enclosing(span, by_id.get)))
            for window in windows:
                yield window, run


def _run_around(around: Sequence[TraceSpan]) -> _Run:
    """The training run, the worker of one, or the episode that the spans `around`, innermost first, belong to."""
    # The span of a run that still goes on, or was killed, is not stored: what it held names it as parent.
    outermost = around[-1].parent_id or around[-1].span_id

    def nearest(key: str) -> Any:
        return next((one.attributes[key] for one in around if key in one.attributes), None)

    counts = next((one for one in around if one.operation in _COUNT_STEPS), None)
    epoch = nearest(attr.CRUCIBLE_TRAINING_EPOCH_INDEX)
    if counts is not None and counts.operation == operations.EPISODE:
        return _Run(counts.span_id, "", None, None, epoch, counts.attributes.get(attr.CRUCIBLE_EPISODE_INDEX))
    attempt, run_id = nearest(attr.CRUCIBLE_RUN_ATTEMPT), nearest(attr.CRUCIBLE_RUN_ID)
    rank = nearest(attr.CRUCIBLE_DISTRIBUTED_RANK)
    return _Run(
        span_id=outermost if counts is None else counts.span_id,
        run_id="" if run_id is None else str(run_id),
        attempt=attempt if type(attempt) is int else None,
        rank=rank if type(rank) is int else None,
        epoch=epoch,
    )
