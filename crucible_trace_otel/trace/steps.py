"""Every recorded step, unfolded from the windows it was packed into.

    for row in step_rows(trace).rows:
        print(row["epoch"], row["step"], row["loss"])

A window is a span event with the statistics of its steps and the packed series itself:
`crucible.window.series.columns`, `.formats` and `.values`, column after column.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import SeriesFormat
from crucible_trace_otel.trace.spans import Trace, TraceEvent, TraceSpan, enclosing

__all__ = ["Row", "StepRows", "decode_window", "step_rows"]

Row = dict[str, Any]

_FIXED = {SeriesFormat.I8: "q", SeriesFormat.F8: "d"}
_DEFLATED: frozenset[str] = frozenset({SeriesFormat.I8Z, SeriesFormat.F8Z})
_INTEGERS: frozenset[str] = frozenset({SeriesFormat.I8, SeriesFormat.I8Z})
_HALF = 1 << 63
_MOST_INFLATED = 1 << 20  # values in a window with a compressed column
_LENGTH = struct.Struct("<I")
_FIRST_COLUMNS = ("step", "time_ns")


@dataclass(frozen=True, slots=True, repr=False)
class StepRows:
    """The steps of a span or a trace: those of one training run after those of another, each by step and time."""

    rows: tuple[Row, ...] = ()
    """Each with `step`, `time_ns`, what was recorded by name, and `epoch` where the step lies in one."""
    missing: int = 0
    """Windows whose series is absent or damaged; of those only the statistics are left."""
    columns: tuple[str, ...] = _FIRST_COLUMNS
    """The keys of all rows: `step`, `time_ns`, `epoch` if any row has it, then the names as they first appeared."""

    def __repr__(self) -> str:
        return f"StepRows({len(self.rows)} rows of {', '.join(self.columns)}, {self.missing} windows missing)"


def step_rows(trace: Trace | TraceSpan, event_name: str = events.STEPS_RECORDED) -> StepRows:
    """Every step that the windows named `event_name` hold. A damaged window is counted, never raised.

    Several training runs in a trace, such as a second attempt that counts from step 0 again, follow each other in
    order of their start: their steps are not mixed.

    Args:
        trace: A trace, or one of its spans: then only the windows on that span.
        event_name: `steps_recorded`, or `gradient_computed` for what `record_gradient` packed.
    """
    runs: dict[str, list[Row]] = {}
    missing = 0
    for window, epoch, run in _windows(trace, event_name):
        try:
            unfolded = decode_window(window.attributes)
        except FormatError:
            missing += 1
            continue
        runs.setdefault(run, [])
        runs[run] += unfolded if epoch is None else [{"epoch": epoch} | row for row in unfolded]
    for steps in runs.values():
        steps.sort(key=lambda row: (row["step"], row["time_ns"]))
    rows = [row for steps in runs.values() for row in steps]
    names = dict.fromkeys(name for row in rows for name in row)
    first = [*_FIRST_COLUMNS, *(["epoch"] if "epoch" in names else [])]
    return StepRows(tuple(rows), missing, tuple(dict.fromkeys([*first, *names])))


def decode_window(attributes: Mapping[str, Any]) -> list[Row]:
    """The steps of one window, from the attributes of its event.

    Raises:
        FormatError: The series is absent, or its bytes do not have the form its columns and formats claim.
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
    unpacked: list[Any] = []
    position = 0
    for form in formats:
        column, position = _column(values, position, str(form), count)
        unpacked.append(column)
    if position != len(values):
        raise FormatError(f"{len(values) - position} bytes too many in a window's series.")
    return [dict(zip(columns, row, strict=True)) for row in zip(*unpacked, strict=True)]


def _column(values: bytes, position: int, form: str, count: int) -> tuple[Any, int]:
    """The column of `count` values that starts at `position`, and the position behind it."""
    if form in _FIXED:
        end = position + 8 * count
        if end > len(values):
            raise FormatError("A window's series ends too early.")
        return struct.unpack_from(f"<{count}{_FIXED[form]}", values, position), end
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


def _inflated(values: bytes, position: int, form: str, count: int) -> tuple[Any, int]:
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
        return struct.unpack(f"<{count}d", data), end
    differences = struct.unpack(f"<{count}q", data)
    return [(total + _HALF) % (2 * _HALF) - _HALF for total in accumulate(differences)], end


def _windows(trace: Trace | TraceSpan, event_name: str) -> Iterator[tuple[TraceEvent, Any, str]]:
    """Each window with the index of the epoch it lies in, or None, and the id of its training run."""
    spans, by_id = ((trace,), {}) if isinstance(trace, TraceSpan) else (trace.spans, trace.by_id)
    for span in spans:
        windows = [event for event in span.events if event.name == event_name]
        if windows:
            around = tuple(enclosing(span, by_id.get))
            key = attr.CRUCIBLE_TRAINING_EPOCH_INDEX
            epoch = next((one.attributes[key] for one in around if key in one.attributes), None)
            # The span of a run that still goes on, or was killed, is not stored: what it held names it as parent.
            outermost = around[-1].parent_id or around[-1].span_id
            run = next((one.span_id for one in around if one.operation == operations.TRAINING_RUN), outermost)
            for window in windows:
                yield window, window.attributes.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX, epoch), run
