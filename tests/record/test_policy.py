"""How a run may have its windows made: their size, their form, what lies on an accelerator."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.steps import _windows
from crucible_trace_otel.record.steps._keeping import use_step_keeper
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.trace.steps import decode_window
from tests.record.reading import Recording

if TYPE_CHECKING:
    from crucible_trace_otel.journal.slots import KeptWindow, Slot, WindowHead

FORMATS = attr.CRUCIBLE_WINDOW_SERIES_FORMATS


@pytest.mark.parametrize(
    "values",
    [
        {"rows": 0},
        {"rows": 201},
        {"rows": 2.0},
        {"rows": True},
        {"seconds": 0},
        {"seconds": math.nan},
        {"seconds": "10"},
        {"spike_sigma": -1},
        {"slow_factor": math.inf},
        {"slow_seconds": 0},
        {"on_abnormal": "call me"},
        {"compact": 1},
        {"plain_arrays": None},
        {"keep_device_scalars": "yes"},
    ],
)
def test_a_value_that_cannot_be_used_is_refused_by_name(values: dict[str, Any]) -> None:
    ((name, value),) = values.items()
    with pytest.raises(crucible.ConfigurationError, match=f"^{name}={value} cannot be used: give "):
        crucible.WindowPolicy(**values)


def test_what_is_no_policy_is_one_warning_and_the_default(recorded: Recording, warned: list[str]) -> None:
    for _ in range(2):
        with crucible.training_run("r", windows={"rows": 5}) as run:  # type: ignore[arg-type]
            run.record_step(loss=1.0)
    assert warned == ["windows= takes a WindowPolicy, not {'rows': 5}: the default is used."]
    assert len(recorded.rows()) == 2


def test_windows_have_as_many_rows_as_the_policy_says(recorded: Recording) -> None:
    with crucible.training_run("r", windows=crucible.WindowPolicy(rows=50)) as run, run.epoch(0) as epoch:
        record = epoch.step_recorder("loss")
        for step in range(120):
            record(float(step))
    counts = [window[attr.CRUCIBLE_WINDOW_COUNT] for window in recorded.windows()]
    assert counts == [50, 50, 20]


def test_a_policy_may_be_used_by_several_runs(recorded: Recording) -> None:
    policy = crucible.WindowPolicy(rows=10)
    for name in ("a", "b"):
        with crucible.training_run(name, windows=policy) as run:
            run.record_step(loss=math.nan)
    assert [dict(span.attributes)[attr.CRUCIBLE_ABNORMAL_COUNT] for span in recorded.spans] == [1, 1]


def test_compact_windows_are_smaller_and_say_the_same(recorded: Recording) -> None:
    for policy in (None, crucible.WindowPolicy(compact=True)):
        with crucible.training_run("r", windows=policy) as run:
            for step in range(200):
                run.record_step(loss=1.0, tokens=2**40 + 7 * step, note="x")
    plain, compact = recorded.windows()
    assert (plain[FORMATS], compact[FORMATS]) == (
        ("i8", "i8", "f8", "i8", "json"),
        ("i8z", "i8z", "f8z", "i8z", "json"),
    )
    series = attr.CRUCIBLE_WINDOW_SERIES_VALUES
    assert len(compact[series]) < len(plain[series]) / 2
    rows = [(row["step"], row["loss"], row["tokens"], row["note"]) for row in recorded.rows()]
    assert rows[:200] == rows[200:]


@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(-9, 9), st.floats(), st.sampled_from([0.0, -0.0])),
        min_size=1,
        max_size=60,
    )
)
def test_every_row_of_a_compact_window_is_read_back(rows: list[tuple[Any, ...]]) -> None:
    recording = Recording()
    use_tracer_provider(recording.provider)
    with crucible.training_run("r", windows=crucible.WindowPolicy(compact=True)) as run:
        record = run.step_recorder("a", "b", "c", "d")
        for row in rows:
            record(*row)
    found = [tuple(row[name] for name in "abcd") for row in sorted(recording.rows(), key=lambda row: row["step"])]
    assert repr(found) == repr(rows)
    recording.provider.shutdown()


def test_plain_arrays_hold_each_number(recorded: Recording) -> None:
    with crucible.training_run("r", windows=crucible.WindowPolicy(plain_arrays=True)) as run:
        for step in range(3):
            run.record_step(loss=step / 4, tokens=step, note="x")
    (window,) = recorded.windows()
    arrays = {key: value for key, value in window.items() if key.startswith(attr.CRUCIBLE_WINDOW_ARRAY_TEMPLATE)}
    assert arrays == {
        "crucible.window.array.step": (0.0, 1.0, 2.0),
        "crucible.window.array.loss": (0.0, 0.25, 0.5),
        "crucible.window.array.tokens": (0.0, 1.0, 2.0),
    }


@pytest.mark.parametrize("columns", [1, 10, 19, 20, 60])
def test_plain_arrays_push_nothing_out(recorded: Recording, columns: int) -> None:
    numbers = {f"n{i}": math.nan if i % 2 else float(i) for i in range(columns)}
    with crucible.training_run("r", windows=crucible.WindowPolicy(plain_arrays=True)) as run:
        run.record_step(**numbers, step=5)
        run.record_step(**numbers, step=5)
    assert [str({name: row[name] for name in numbers}) for row in recorded.rows()] == [str(numbers)] * 2
    assert all(event.dropped_attributes == 0 for span in recorded.spans for event in span.events)
    assert "crucible.window.array.n0" in recorded.windows()[0]


class OnDevice:
    """What a number on an accelerator looks like: reading it, or making it text, waits for the device."""

    def __init__(self, value: Any, reads: list[Any], shape: tuple[int, ...] = ()) -> None:
        self.device, self.shape = "cuda:0", shape
        self._value, self._reads = value, reads

    def detach(self) -> OnDevice:
        return OnDevice(self._value, self._reads, self.shape)

    def item(self) -> Any:
        self._reads.append(self._value)
        if isinstance(self._value, Exception):
            raise self._value
        return self._value

    def __str__(self) -> str:
        raise AssertionError("it was waited for")

    __repr__ = __float__ = tolist = __str__  # type: ignore[assignment]


def test_a_number_on_a_device_is_refused_with_one_warning(recorded: Recording, warned: list[str]) -> None:
    reads: list[Any] = []
    with crucible.training_run("r") as run:
        record = run.step_recorder("loss")
        for _ in range(3):
            record(OnDevice(0.5, reads))
    assert (reads, len(warned)) == ([], 1)
    assert warned[0].startswith("'loss' lies on cuda:0: ")
    assert [row["loss"] for row in recorded.rows()] == ["OnDevice of ?, shape ()"] * 3
    assert recorded.windows()[0][attr.CRUCIBLE_REPAIRED_REASONS] == ("on_device",)


def test_kept_numbers_are_read_when_their_window_is_closed(recorded: Recording, warned: list[str]) -> None:
    reads: list[Any] = []
    policy = crucible.WindowPolicy(rows=10, keep_device_scalars=True)
    with crucible.training_run("r", windows=policy) as run:
        for step in range(15):
            run.record_step(loss=OnDevice(step / 4, reads), tokens=step)
            assert len(reads) == (10 if step >= 9 else 0)
    assert [(row["loss"], row["tokens"]) for row in recorded.rows()] == [(step / 4, step) for step in range(15)]
    assert [window[FORMATS] for window in recorded.windows()] == [("i8", "i8", "f8", "i8")] * 2
    assert warned == []


def test_what_is_kept_each_second_does_not_wait_for_the_device(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_windows, "_SECOND_NS", 1)
    reads: list[Any] = []
    kept: list[KeptWindow] = []

    class Keeper:
        def slot(self, head: WindowHead) -> Slot | None:
            raise AssertionError(head)

        def keep(self, window: KeptWindow) -> None:
            kept.append(window)

        def free(self, slot: Slot) -> None:
            raise AssertionError(slot)

    use_step_keeper(Keeper())
    try:
        policy = crucible.WindowPolicy(keep_device_scalars=True, seconds=1e9)
        with crucible.training_run("r", windows=policy) as run:
            run.record_step(loss=OnDevice(0.5, reads), tokens=7)
            run._windows.keep_unfinished()
            assert (reads, len(kept) > 0) == ([], True)
            assert [(row["loss"], row["tokens"]) for row in decode_window(kept[-1].attributes)] == [(None, 7)]
    finally:
        use_step_keeper(None)
    assert [row["loss"] for row in decode_window(kept[-1].attributes)] == [0.5]


def test_what_is_kept_may_be_abnormal_and_may_fail(recorded: Recording, warned: list[str]) -> None:
    reads: list[Any] = []
    found: list[crucible.AbnormalStep] = []
    policy = crucible.WindowPolicy(keep_device_scalars=True, on_abnormal=found.append)
    values = [0.5, math.nan, RuntimeError("device lost"), True]
    with crucible.training_run("r", windows=policy) as run:
        for value in values:
            run.record_step(loss=OnDevice(value, reads))
        run.record_step(loss=OnDevice(1.0, reads, shape=(2, 2)))
    assert str([row["loss"] for row in recorded.rows()]) == str(
        [0.5, math.nan, "device lost", 1.0, "OnDevice of ?, shape (2, 2)"]
    )
    assert [(one.step, one.kind, [row["step"] for row in one.rows]) for one in found] == [(1, "nan", [0, 1])]
    assert [event[attr.CRUCIBLE_TRAINING_STEP_INDEX] for event in recorded.windows(events.STEP_ABNORMAL)] == [1]
    assert len(warned) == 1  # of the one that is no scalar
