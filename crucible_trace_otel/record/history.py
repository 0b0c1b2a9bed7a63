"""The history of a run that has ended, recorded afterwards with its own times.

crucible.record_history("digits", "training.csv")
crucible.record_history("digits", keras_model.fit(images, labels).history)
crucible.record_history("digits", trainer.state.log_history)
crucible.record_history("digits", [{"epoch": 0, "step": 0, "time": 1767225600.5, "loss": 0.7}])
"""

import os
import time
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.series import described
from crucible_trace_otel.journal.slots import MOST_ROWS
from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._values import Repairs, clean, marks, printable
from crucible_trace_otel.record.facts import Dataset, Model
from crucible_trace_otel.record.runs._history_rows import TAKEN, History, Row, read_history, time_of
from crucible_trace_otel.record.steps._windows import MOST_EVENTS, StepSegment
from crucible_trace_otel.record.training import Epoch, TrainingRun
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import HistoryTimes, WindowReason

__all__ = ["record_history"]


@guarded(not_recorded(spans.TRAINING_RUN))
def record_history(
    name: str,
    rows: Iterable[Mapping[str, Any]] | Mapping[str, Any] | str | os.PathLike[str],
    *,
    started_at: datetime | float | str | None = None,
    ended_at: datetime | float | str | None = None,
    error: str | None = None,
    run_id: str | None = None,
    hyperparameters: Any = None,
    dataset: str | Dataset | None = None,
    model: str | Model | None = None,
    seed: int | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Recorded:
    """Record a training run that has ended, with the times its rows tell.

    A row's `step`, `epoch` and time (`time`, `timestamp`, `_timestamp`, `wall_time` or `time_ns`) say where it belongs;
    names that begin with `val_` or `eval_` become a validation, everything else numbers of the step. No time is made
    up: a row without one has that of the row before it, and where no row has one, all have `started_at` or the time of
    this call; `crucible.history.times` says which it was.

    Args:
        name: What a person calls the run.
        rows: Mappings, such as the `log_history` of transformers; the `history` of Keras; a data frame of pandas, in
            which NaN is what a row lacks; or the path of a CSV file.
        started_at: When the run began: a `datetime`, ISO 8601 text, or seconds since 1970. The first row's time when
            not given. With it, times that are too small to be dates count seconds from there.
        ended_at: When it ended; the last row's time when not given.
        error: What it failed with, where it did.
        run_id: Names the run, as for `training_run`.
        hyperparameters: As for `training_run`; so are `dataset`, `model` and `seed`.
        dataset: What it trained on.
        model: What it trained.
        seed: Of its random numbers.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.

    Returns:
        What later records can depend on. What cannot be read as a history is one warning, and nothing is recorded.
    """
    history = read_history(rows, time_of(started_at))
    if history.left_out and not history.rows:
        warn_once(
            f"history {printable(name)}",
            f"None of the {history.left_out} rows of the history {printable(name)!r} maps names to values: the run is "
            f"recorded without steps. It takes {TAKEN}.",
        )
    run = _PastRun(
        name,
        run_id=run_id,
        hyperparameters=hyperparameters,
        dataset=dataset,
        model=model,
        seed=seed,
        depends_on=depends_on,
        links=links,
    )
    _play(run, history, time_of(started_at), time_of(ended_at), error)
    return Recorded(run.event_id, run.span_context, run.operation_name, run.about)


class _Past(Operation):
    """An operation that was over before it is recorded: its clock is what the rows tell."""

    _at = 0

    def _now_ns(self) -> int:
        """The time of the row that is being recorded."""
        return self._at

    def _start_clock(self) -> int:
        """In an operation of now, the time of then."""
        started = super()._start_clock()
        return started if isinstance(self._outer, _Past) else self._at


class _PastRun(_Past, TrainingRun):
    def _tell_origin(self, history: History, times: str) -> None:
        """What it was imported from goes with its attributes."""
        self._given |= {
            attr.CRUCIBLE_HISTORY_SOURCE: history.source,
            attr.CRUCIBLE_HISTORY_TIMES: times,
            attr.CRUCIBLE_DROPPED_COUNT: history.left_out or None,
            attr.CRUCIBLE_DROPPED_REASON: "rows that cannot be read" if history.left_out else None,
            **metric_attributes(history.summary),
        }

    def _surroundings(self) -> dict[str, Any]:
        """Nothing of the code and the devices of now: they are those of the import."""
        return {}


class _PastEpoch(_Past, Epoch):
    pass


class _PastSegment(_Past, StepSegment):
    pass


def _timed(history: History, started_ns: int | None) -> tuple[str, int, int]:
    """Give each row a time, and tell whether they are its own; with the first and the last time."""
    known = [row.time_ns for row in history.rows if row.time_ns is not None]
    if not known:
        times = HistoryTimes.NONE
    else:
        times = HistoryTimes.RECORDED if len(known) == len(history.rows) else HistoryTimes.PARTIAL
    now = known[0] if known else time.time_ns() if started_ns is None else started_ns
    for row in history.rows:
        now = row.time_ns = now if row.time_ns is None else row.time_ns
    return times, min(known, default=now), max(known, default=now)


def _play(run: _PastRun, history: History, started_ns: int | None, ended_ns: int | None, error: str | None) -> None:
    """Record the rows one after another, each at its time."""
    times, first, last = _timed(history, started_ns)
    run._tell_origin(history, times)
    run._at = first if started_ns is None else started_ns
    with run:
        for epoch, rows in groupby(history.rows, key=lambda row: row.epoch):
            _record(run, epoch, list(rows))
        run._at = max(run._at, last) if ended_ns is None else ended_ns
        if error is not None:
            run.fail(error)


def _record(run: _PastRun, epoch: int | None, rows: list[Row]) -> None:
    """Record consecutive rows of one epoch, or of none.

    An epoch begins where the rows before it ended: a row is written after what it tells of.
    """
    owner: _PastRun | _PastEpoch = run
    if epoch is not None:
        owner = _PastEpoch(run, epoch)
        owner._at = run._at
        owner._start_inside(run)
    windows = _Windows(run, owner)
    for row in rows:
        owner._at = run._at = max(run._at, row.time_ns or 0)
        if row.numbers:
            windows.add(row)
        run._next_step = max(run._next_step, row.step + 1)
        if row.metrics:
            owner.record_validation(**row.metrics)
    windows.close()
    if owner is not run:
        owner.stop()


class _Windows:
    """Rows as window events on their epoch or run, and on segments of it once those are many."""

    def __init__(self, run: _PastRun, owner: _PastRun | _PastEpoch) -> None:
        self._run = run
        self._owner = owner
        self._open: dict[tuple[str, ...], list[Row]] = {}
        self._holder: _PastRun | _PastEpoch | _PastSegment = owner
        self._room = MOST_EVENTS
        self._segments = 0

    def add(self, row: Row) -> None:
        """Take in one row; those of the same names share a window."""
        rows = self._open.setdefault(tuple(row.numbers), [])
        rows.append(row)
        if len(rows) == MOST_ROWS:
            self._close(tuple(row.numbers), WindowReason.COUNT)

    def close(self) -> None:
        """Record what is open, and end the segment that holds the last of it."""
        for names in list(self._open):
            self._close(names, WindowReason.END)
        if isinstance(self._holder, _PastSegment):
            self._end(self._holder)

    def _close(self, names: tuple[str, ...], reason: str) -> None:
        rows = self._open.pop(names)
        repairs: Repairs = {}
        cells = [clean(row.numbers, repairs) for row in rows]
        columns: dict[str, list[Any]] = {"step": [row.step for row in rows], "time_ns": [row.time_ns for row in rows]}
        columns |= {name: [_number(row.get(name)) for row in cells] for name in names}
        attributes, numbers = described(columns, reason)
        at = rows[-1].step, rows[-1].time_ns or 0
        for totals in {id(one): one for one in (self._owner._totals, self._run._totals)}.values():
            for name, column in numbers.items():
                totals.add(name, column, at)
        emit_event(self._room_for_one(at[1]), events.STEPS_RECORDED, {**attributes, **marks(repairs)}, at[1])

    def _room_for_one(self, now: int) -> Operation:
        """The span for the next window."""
        if self._room == 0:
            if isinstance(self._holder, _PastSegment):
                self._end(self._holder)
            self._segments += 1
            self._room = MOST_EVENTS
            self._holder = _PastSegment(self._owner, self._segments)
            self._holder._at = now
            self._holder._start_inside(self._owner)
        self._room -= 1
        return self._holder

    def _end(self, segment: "_PastSegment") -> None:
        segment._at = self._owner._at
        segment.stop()


def _number(value: Any) -> Any:
    return float(value) if isinstance(value, bool) else value
