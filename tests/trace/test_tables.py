"""Steps as other tools take them: what is whole, what is missing in places, and what no number of theirs can hold."""

from __future__ import annotations

import csv
import io
import math
import sys
import tracemalloc

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.errors import MissingPackageError
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.trace.steps import StepRows, step_rows
from tests.trace.builders import TraceBuilder, window

HUGE = 2**70


def steps_of(*windows: dict[str, list]) -> StepRows:
    build = TraceBuilder()
    placed, step = [], 0
    for numbers in windows:
        placed.append(window(step, step, numbers))
        step += len(next(iter(numbers.values())))
    build.add(spans.TRAINING_RUN, "r", events=tuple(placed))
    return step_rows(build.trace())


odd = {
    "loss": [0.5, math.inf],
    "tokens": [1, 2],
    "note": ["a", "=1"],
    "wide": [HUGE, 1],
    "warm": [True, False],
    "val": [math.nan, 0.25],
}


@pytest.fixture
def steps() -> StepRows:
    """Two rows of all kinds, then one with a loss only, that is an integer."""
    return steps_of(odd, {"loss": [3]})


def test_rows_have_what_was_recorded_with_them(steps):
    assert steps.columns == ("step", "time_ns", *odd)
    rows = [{key: value for key, value in row.items() if key not in ("time_ns", "val")} for row in steps.rows]
    assert rows == [
        {"step": 0, "loss": 0.5, "tokens": 1, "note": "a", "wide": HUGE, "warm": True},
        {"step": 1, "loss": math.inf, "tokens": 2, "note": "=1", "wide": 1, "warm": False},
        {"step": 2, "loss": 3.0},
    ]
    assert type(steps.rows[2]["loss"]) is float  # as within a window, integers among fractions are doubles
    assert steps.rows[-1] == {"step": 2, "time_ns": steps.rows[2]["time_ns"], "loss": 3.0}
    assert [row["step"] for row in steps.rows[1:]] == [1, 2]
    with pytest.raises(IndexError):
        steps.rows[3]


def test_numpy(steps):
    arrays = steps.to_numpy()
    assert list(arrays) == list(steps.columns)
    kinds = {name: values.dtype.str for name, values in arrays.items()}
    assert kinds == {
        "step": "<i8", "time_ns": "<i8", "loss": "<f8", "tokens": "<f8", "note": "|O", "wide": "|O", "warm": "|O",
        "val": "<f8",
    }  # fmt: skip
    assert arrays["loss"].tolist() == [0.5, math.inf, 3.0]
    assert arrays["tokens"][:2].tolist() == [1.0, 2.0]
    assert np.isnan(arrays["tokens"][2])
    assert arrays["note"].tolist() == ["a", "=1", None]
    assert arrays["wide"].tolist() == [HUGE, 1, None]
    arrays["loss"][0] = 7  # an array is the caller's own
    assert steps.rows[0]["loss"] == 0.5


def test_integers_with_more_than_53_bits_stay_exact():
    exact = 2**53 + 1
    steps = steps_of({"id": [exact]}, {"id": [0.5], "seen": [exact]})
    assert [row["id"] for row in steps.rows] == [exact, 0.5]
    assert steps.to_numpy()["id"].tolist() == [exact, 0.5]
    assert steps.to_numpy()["seen"].tolist() == [None, exact]
    assert steps.to_pandas()["seen"].tolist() == [pd.NA, exact]
    assert steps.to_arrow()["seen"].to_pylist() == [None, exact]
    later = steps_of({"id": [0.5]}, {"id": [exact]})
    assert [row["id"] for row in later.rows] == [0.5, exact]


def test_pandas(steps):
    frame = steps.to_pandas()
    assert [str(kind) for kind in frame.dtypes] == [
        "int64", "int64", "float64", "Int64", "object", "object", "object", "float64",
    ]  # fmt: skip
    assert frame["tokens"].tolist() == [1, 2, pd.NA]
    assert frame["note"].tolist() == ["a", "=1", None]
    assert frame["loss"].tolist() == [0.5, math.inf, 3.0]


def test_arrow(steps):
    table = steps.to_arrow()
    table.validate(full=True)
    assert [str(field.type) for field in table.schema] == [
        "int64", "int64", "double", "int64", "string", "string", "bool", "double",
    ]  # fmt: skip
    assert table["tokens"].to_pylist() == [1, 2, None]
    assert table["note"].to_pylist() == ["a", "=1", None]
    assert table["wide"].to_pylist() == [str(HUGE), "1", None]
    assert table["warm"].to_pylist() == [True, False, None]
    assert table["val"].null_count == 1  # not a number is a value, no lack of one
    assert math.isnan(table["val"][0].as_py())


def test_csv(steps):
    header, *rows = csv.reader(io.StringIO(steps.to_csv()))
    assert header == list(steps.columns)
    assert [row[2:] for row in rows] == [
        ["0.5", "1", "a", str(HUGE), "True", "nan"],
        ["inf", "2", "'=1", "1", "False", "0.25"],
        ["3.0", "", "", "", "", ""],
    ]


def test_npz(steps):
    file = io.BytesIO()
    named = steps_of({**odd, "file": [1.0, 2.0], "a/b": [1, 2]})
    for one in (steps, named):
        file = io.BytesIO()
        one.to_npz(file)
        loaded = np.load(io.BytesIO(file.getvalue()), allow_pickle=False)
        assert loaded.files == list(one.columns)
    assert loaded["a/b"].tolist() == [1, 2]
    assert loaded["note"].tolist() == ["a", "=1"]
    assert loaded["wide"].tolist() == [str(HUGE), "1"]
    assert loaded["file"].dtype == np.float64


def test_no_steps():
    steps = steps_of()
    assert {name: len(values) for name, values in steps.to_numpy().items()} == {"step": 0, "time_ns": 0}
    assert (len(steps.to_pandas()), steps.to_arrow().num_rows, steps.to_csv()) == (0, 0, "")


@pytest.mark.parametrize(
    ("package", "extra", "call"),
    [("numpy", "numpy", "to_numpy"), ("pandas", "pandas", "to_pandas"), ("pyarrow", "arrow", "to_arrow")],
)
def test_a_missing_package_is_named_with_the_extra_that_brings_it(monkeypatch, steps, package, extra, call):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"needs {package}.*crucible_trace_otel\[{extra}\]"):
        getattr(steps, call)()


numbers = st.floats() | st.integers(-(2**63), 2**63 - 1) | st.integers(-(2**80), 2**80) | st.text(max_size=3)
rows = st.dictionaries(st.sampled_from("abc"), numbers)


@given(st.lists(st.lists(rows, min_size=1, max_size=4), max_size=5), st.randoms())
def test_any_rows_in_any_windows_come_back_the_same_in_every_form(given_rows, random):
    """A window a list, in which each row has the columns of the first: as it is recorded."""
    build = TraceBuilder()
    expected: list[dict] = []
    windows = []
    for group in given_rows:
        names = list(group[0])
        columns = {"row": [], **{name: [] for name in names}}
        for row in group:
            filled = {"row": float(len(expected)), **{name: row.get(name, 0.5) for name in names}}
            expected.append(filled)
            for name, value in filled.items():
                columns[name].append(value)
        windows.append(window(len(expected) - len(group), 0, columns))
    random.shuffle(windows)
    build.add(spans.TRAINING_RUN, "r", events=tuple(windows))
    steps = step_rows(build.trace())
    assert [row["row"] for row in steps.rows] == [float(number) for number in range(len(expected))]
    for read, told in zip(steps.rows, expected, strict=True):
        assert {key: _comparable(read[key]) for key in told} == {key: _comparable(value) for key, value in told.items()}
        assert set(read) == {"step", "time_ns", *told}
    assert [repr(steps.rows[at]) for at in range(len(steps))] == list(map(repr, steps.rows))
    assert steps.to_arrow().num_rows == len(steps.to_pandas()) == len(expected)
    steps.to_arrow().validate(full=True)
    assert all(len(values) == len(expected) for values in steps.to_numpy().values())
    assert len(list(csv.reader(io.StringIO(steps.to_csv())))) == (len(expected) + 1 if expected else 0)


def _comparable(value: object) -> object:
    return "nan" if value != value else str(value) if isinstance(value, int) and abs(value) >= 2**63 else value  # noqa: PLR0124


def test_steps_take_little_more_than_their_numbers():
    count, names = 100_000, ("loss", "lr", "norm")
    windows = [{name: [0.5] * 1_000 for name in names} for _ in range(count // 1_000)]
    build = TraceBuilder()
    placed = tuple(window(1_000 * at, at, numbers) for at, numbers in enumerate(windows))
    build.add(spans.EPOCH, attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 0}, events=placed)
    trace = build.trace()
    tracemalloc.start()
    try:
        steps = step_rows(trace)
        assert sum(1 for _ in steps.rows) == count
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most < 2 * count * 8 * len(steps.columns)


def attempt(build: TraceBuilder, number: int, at: float, *windows, run_id: str = "monday") -> None:
    given = {attr.CRUCIBLE_RUN_ID: run_id, attr.CRUCIBLE_RUN_ATTEMPT: number}
    build.add(spans.TRAINING_RUN, "r", at=at, lasts=5, attributes=given, events=windows)


def test_a_step_that_a_later_attempt_did_again_is_there_once_in_the_latest():
    build = TraceBuilder()
    attempt(build, 0, 0, window(0, 1, {"loss": [9.0, 8.0, 7.0, 6.0], "old": [1, 2, 3, 4]}))
    attempt(build, 1, 10, window(2, 11, {"loss": [0.7, 0.6]}), window(4, 12, {"loss": [0.5], "new": [1.0]}))
    attempt(build, 0, 20, window(0, 21, {"loss": [5.0]}), run_id="another")
    steps = step_rows(build.trace())
    assert [(one.run_id, one.number, one.rows) for one in steps.attempts] == [
        ("monday", 0, range(4)), ("monday", 1, range(4, 7)), ("another", 0, range(7, 8)),
    ]  # fmt: skip
    assert steps.repeated == (0, 2, 0)
    latest = steps.latest()
    assert [(row["step"], row["loss"]) for row in latest.rows] == [
        (0, 9.0), (1, 8.0), (2, 0.7), (3, 0.6), (4, 0.5), (0, 5.0),
    ]  # fmt: skip
    assert [row.get("old", row.get("new")) for row in latest.rows] == [1, 2, None, None, 1.0, None]
    assert [one.rows for one in latest.attempts] == [range(2), range(2, 5), range(5, 6)]
    assert latest.latest() is latest


def test_a_column_of_which_nothing_is_left_is_none():
    build = TraceBuilder()
    attempt(build, 0, 0, window(0, 1, {"loss": [9.0], "old": [1]}))
    attempt(build, 1, 10, window(0, 11, {"loss": [0.7]}))
    assert step_rows(build.trace()).latest().columns == ("step", "time_ns", "loss")


def latest_of(*ranges: range) -> list[tuple[int, float]]:
    """Steps with the number of the attempt that counts, of attempts at one run that did the steps of `ranges`."""
    build = TraceBuilder()
    for number, steps in enumerate(ranges):
        attempt(build, number, 10 * number, window(steps.start, 10 * number, {"loss": [float(number)] * len(steps)}))
    return [(row["step"], row["loss"]) for row in step_rows(build.trace()).latest().rows]


def test_what_an_attempt_did_beyond_the_point_where_the_next_went_on_does_not_count():
    """Though the next one has not come so far yet."""
    assert latest_of(range(6), range(3, 5)) == [(0, 0), (1, 0), (2, 0), (3, 1), (4, 1)]


def test_an_attempt_that_led_nowhere_does_not_count():
    """The second was killed early, and the third went on from a later checkpoint of the first."""
    told = latest_of(range(8), range(2, 4), range(6, 9))
    assert told == [*((step, 0) for step in range(6)), (6, 2), (7, 2), (8, 2)]


def test_steps_that_were_lost_between_two_attempts_stay_lost():
    assert [step for step, _ in latest_of(range(2), range(4, 6))] == [0, 1, 4, 5]


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(1, 20)), min_size=1, max_size=5))
def test_the_latest_steps_are_ascending_and_those_of_the_last_attempt_are_all_there(given_attempts):
    ranges = [range(first, first + count) for first, count in given_attempts]
    told = latest_of(*ranges)
    steps = [step for step, _ in told]
    assert steps == sorted(set(steps))
    assert [step for step, number in told if number == len(ranges) - 1] == list(ranges[-1])


def test_two_processes_of_one_attempt_have_their_steps_one_after_another_and_none_is_done_again():
    build = TraceBuilder()
    attempt(build, 0, 0, window(0, 1, {"loss": [3.0, 2.0]}))
    attempt(build, 0, 0.5, window(0, 2, {"loss": [0.3, 0.2]}))
    steps = step_rows(build.trace())
    assert [row["loss"] for row in steps.rows] == [3.0, 2.0, 0.3, 0.2]
    assert (steps.repeated, steps.latest()) == ((0, 0), steps)
