"""Steps and windows: every row can be read back, whatever was in it."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.series import pack_column
from crucible_trace_otel.record.steps import _abnormal, _windows
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.trace.steps import decode_window
from tests.record.reading import Recording, node, said

INT64 = st.integers(-(2**63), 2**63 - 1)


def shape(window: Any) -> tuple[Any, ...]:
    return tuple(
        window[key]
        for key in (
            attr.CRUCIBLE_WINDOW_REASON,
            attr.CRUCIBLE_WINDOW_FIRST_STEP,
            attr.CRUCIBLE_WINDOW_LAST_STEP,
            attr.CRUCIBLE_WINDOW_COUNT,
        )
    )


def test_a_window_says_what_its_rows_were(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_abnormal, "_MOST_TOLD", 0)  # abnormal steps close no window then
    losses = [0.5, math.nan, 0.25, 4, math.inf]
    with crucible.training_run("r") as run:
        for loss in losses:
            run.record_step(loss=loss, tokens=7)
    (window,) = recorded.windows()
    statistics = {key: value for key, value in window.items() if key.endswith((".loss", ".tokens"))}
    assert math.isinf(statistics.pop(f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}.loss"))
    assert statistics == {
        f"{attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE}.loss": 0.5,
        f"{attr.CRUCIBLE_WINDOW_MIN_TEMPLATE}.loss": 0.25,
        f"{attr.CRUCIBLE_WINDOW_MAX_TEMPLATE}.loss": 4.0,
        f"{attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE}.loss": pytest.approx(4.75 / 3),
        f"{attr.CRUCIBLE_WINDOW_NONFINITE_TEMPLATE}.loss": 2,
    } | {
        f"{template}.tokens": 7.0
        for template in (
            attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE,
            attr.CRUCIBLE_WINDOW_LAST_TEMPLATE,
            attr.CRUCIBLE_WINDOW_MIN_TEMPLATE,
            attr.CRUCIBLE_WINDOW_MAX_TEMPLATE,
            attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE,
        )
    }
    assert window[attr.CRUCIBLE_ABOUT] == "steps 0 to 4: loss 0.5 to inf"
    assert window[attr.CRUCIBLE_WINDOW_SERIES_COLUMNS] == ("step", "time_ns", "loss", "tokens")
    assert window[attr.CRUCIBLE_WINDOW_SERIES_FORMATS] == ("i8", "i8", "f8", "i8")
    assert shape(window) == ("end", 0, 4, 5)
    assert str([row["loss"] for row in recorded.rows()]) == "[0.5, nan, 0.25, 4.0, inf]"


def test_windows_close_at_two_hundred_rows(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for step in range(450):
            run.record_step(loss=step)
    assert [shape(window) for window in recorded.windows()] == [
        ("count", 0, 199, 200),
        ("count", 200, 399, 200),
        ("end", 400, 449, 50),
    ]


def test_ten_thousand_steps_in_one_epoch(recorded: Recording) -> None:
    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        for step in range(10_250):
            epoch.record_step(loss=step / 3, step=step)
    assert [(row["step"], row["loss"]) for row in recorded.rows()] == [(step, step / 3) for step in range(10_250)]
    assert all(span.dropped_events == 0 for span in recorded.spans)
    assert recorded.tree() == node(
        "training_run",
        "r",
        node(
            "epoch",
            "epoch 0",
            node("step_segment", "epoch 0, part 1", events=[events.STEPS_RECORDED] * 2),
            events=[events.STEPS_RECORDED] * 50,
        ),
    )
    mean = f"{attr.CRUCIBLE_WINDOW_MEAN_TEMPLATE}.loss"
    assert said(recorded.one("epoch"))[mean] == pytest.approx(10_249 / 6)


def test_segments_hold_fifty_windows_each(recorded: Recording) -> None:
    with crucible.training_run("r", windows=crucible.WindowPolicy(rows=1)) as run:
        for step in range(250):
            run.record_step(loss=step)
    tree = recorded.tree()
    assert [len(tree.events), *(len(segment.events) for segment in tree.inside)] == [50] * 5
    assert [row["loss"] for row in recorded.rows()] == list(range(250))


def test_windows_close_on_time(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_windows, "_OWNER_HOLDS_NS", 0)
    monkeypatch.setattr(_windows, "_SEGMENT_NS", (0, 0))
    with crucible.training_run("r", windows=crucible.WindowPolicy(seconds=1e-9)) as run:
        for _ in range(6):
            run.record_step(loss=1.0)
    assert [shape(window)[0] for window in recorded.windows()] == ["time"] * 3
    assert recorded.tree() == node(
        "training_run",
        "r",
        *(node("step_segment", f"r, part {part}", events=["steps_recorded"]) for part in (1, 2, 3)),
    )


def test_alternating_names_have_a_window_each(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for step in range(100):
            run.record_step(**({"loss": 1.0} if step % 2 else {"loss": 1.0, "accuracy": 0.5}))
    assert [shape(window) for window in recorded.windows()] == [("end", 0, 98, 50), ("end", 1, 99, 50)]


def test_names_without_end_are_kept_too(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for step in range(50):
            run.record_step(**{f"n{step}": step})
    rows = sorted(recorded.rows(), key=lambda row: row["step"])
    assert [row[f"n{step}"] for step, row in enumerate(rows)] == list(range(50))
    assert {shape(window)[0] for window in recorded.windows()} == {"layout", "end"}


def test_many_numbers_push_nothing_out(recorded: Recording) -> None:
    numbers = {f"n{i}": float(i) for i in range(60)}
    with crucible.training_run("r") as run:
        run.record_step(**numbers)
    (row,) = recorded.rows()
    assert {name: row[name] for name in numbers} == numbers
    assert all(event.dropped_attributes == 0 for span in recorded.spans for event in span.events)


def test_steps_count_on_from_a_given_one(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_step(a=1)
        run.record_step(a=1, step=10)
        run.record_step(a=1)
        run.record_step(a=1, step=3)
        run.record_step(a=1)
    assert [row["step"] for row in recorded.rows()] == [0, 10, 11, 3, 12]
    assert shape(recorded.windows()[0]) == ("end", 0, 12, 5)


def test_gradients_belong_to_the_last_step_and_count_none(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_gradient(0.5, largest=2.0)
        for _ in range(3):
            run.record_step(loss=1.0)
            run.record_gradient(1.5)
        run.record_gradient(2.5, step=70)
        run.record_step(loss=1.0)
    assert [row["step"] for row in recorded.rows()] == [0, 1, 2, 3]
    gradients = [(row["step"], row["norm"]) for row in recorded.rows(events.GRADIENT_COMPUTED)]
    assert gradients == [(0, 0.5), (0, 1.5), (1, 1.5), (2, 1.5), (70, 2.5)]


@pytest.mark.parametrize("step", [2**63, -(2**63) - 1])
def test_a_step_beyond_64_bits_spoils_no_other(recorded: Recording, warned: list[str], step: int) -> None:
    with crucible.training_run("r") as run:
        run.record_step(loss=1.0, step=step)
        run.record_step(loss=2.0)
    assert len(warned) == 1
    assert [(row["step"], row["loss"]) for row in recorded.rows()] == [(0, 2.0)]


class Tensor:
    """What a number on an accelerator looks like; reading it would make the host wait."""

    shape = ()
    dtype = "float32"

    def __init__(self, device: str, value: float = 0.5) -> None:
        self.device = device
        self.value = value

    def tolist(self) -> float:
        assert self.device == "cpu"
        return self.value


def test_scalars_of_other_libraries_are_numbers(recorded: Recording) -> None:
    numpy = pytest.importorskip("numpy")
    given = [numpy.float32(0.5), numpy.float64(0.5), numpy.float16(0.5), numpy.array(0.5), numpy.longdouble(0.5)]
    with crucible.training_run("r") as run:
        for value in [*given, Tensor("cpu"), 0.5]:
            run.record_step(loss=value, tokens=numpy.int32(3), good=numpy.bool_(True))
    (window,) = recorded.windows()
    assert window[attr.CRUCIBLE_WINDOW_SERIES_FORMATS] == ("i8", "i8", "f8", "i8", "f8")
    assert [(row["loss"], row["tokens"], row["good"]) for row in recorded.rows()] == [(0.5, 3, 1.0)] * 7


def test_torch_scalars_are_numbers(recorded: Recording) -> None:
    torch = pytest.importorskip("torch")
    with crucible.training_run("r") as run:
        run.record_step(loss=torch.tensor(0.5, requires_grad=True), tokens=torch.tensor(3))
    (row,) = recorded.rows()
    assert (row["loss"], row["tokens"]) == (0.5, 3)


def test_a_number_on_a_device_is_not_waited_for_and_marked(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_step(loss=Tensor("cuda:0"))
    (window,) = recorded.windows()
    assert recorded.rows()[0]["loss"] == "Tensor of float32, shape ()"
    assert window[attr.CRUCIBLE_REPAIRED_KEYS] == ("loss",)
    assert window[attr.CRUCIBLE_REPAIRED_REASONS] == ("on_device",)


def test_values_that_are_no_numbers_are_kept_as_they_read(recorded: Recording) -> None:
    values = ["warm", True, Decimal("0.1"), b"\xff", [1, 2], 10**30, 10**5000, "\ud800", None]
    with crucible.training_run("r") as run:
        for value in values:
            run.record_step(x=value)
    found = [row.get("x", "absent") for row in sorted(recorded.rows(), key=lambda row: row["step"])]
    assert found == ["warm", 1.0, "0.1", "b'\\xff'", [1, 2], 10**30, hex(10**5000), "\ufffd", "absent"]


def test_numbers_too_large_for_their_column(recorded: Recording) -> None:
    values = [1.5, 10**400, 2**63, -5]
    with crucible.training_run("r") as run:
        for value in values:
            run.record_step(x=value)
    assert [row["x"] for row in recorded.rows()] == values


def test_columns_that_would_be_called_alike(recorded: Recording, warned: list[str]) -> None:
    given = {"time_ns": 1, "time_ns_": 2, "\ud800": 3} | {"\udfff": 4}
    with crucible.training_run("r") as run:
        run.record_step(**given)
    (row,) = recorded.rows()
    assert [row[name] for name in ("time_ns_", "time_ns__", "\ufffd", "\ufffd_")] == [1, 2, 3, 4]
    assert row["time_ns"] > 10**18
    assert warned == []


@given(
    st.lists(
        st.tuples(INT64, st.floats(), st.one_of(st.floats(), INT64, st.text(), st.booleans())), min_size=1, max_size=30
    )
)
def test_what_is_packed_can_be_unpacked(rows: list[tuple[int, float, Any]]) -> None:
    columns = {
        "step": list(range(len(rows))),
        "time_ns": list(range(len(rows))),
        **{str(index): [row[index] for row in rows] for index in range(3)},
    }
    packed = [pack_column(values) for values in columns.values()]
    window = {
        attr.CRUCIBLE_WINDOW_COUNT: len(rows),
        attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: tuple(columns),
        attr.CRUCIBLE_WINDOW_SERIES_FORMATS: tuple(form for form, _ in packed),
        attr.CRUCIBLE_WINDOW_SERIES_VALUES: b"".join(values for _, values in packed),
    }
    unpacked = decode_window(window)
    for name, values in columns.items():
        mixed = {type(value) for value in values} == {int, float}
        given = [float(value) for value in values] if mixed else values
        assert repr([row[name] for row in unpacked]) == repr(list(given))
