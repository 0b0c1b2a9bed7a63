"""How rows of steps are taken: by name, by position, from several threads and signal handlers; none is lost or torn."""

from __future__ import annotations

import signal
import sys
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.journal import slots
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.steps import _windows
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator

NUMBERS = st.one_of(
    st.floats(), st.integers(-(2**63), 2**63 - 1), st.integers(), st.booleans(), st.floats().map(np.float64)
)


def formats(recorded: Recording) -> list[tuple[str, ...]]:
    return [window[attr.CRUCIBLE_WINDOW_SERIES_FORMATS][2:] for window in recorded.windows()]


def test_by_position(recorded: Recording) -> None:
    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        record = epoch.step_recorder("loss", "tokens")
        for step in range(250):
            record(step / 3, step)
    assert [(row["step"], row["loss"], row["tokens"]) for row in recorded.rows()] == [
        (step, step / 3, step) for step in range(250)
    ]
    assert formats(recorded) == [("f8", "i8")] * 2


def test_both_ways_share_a_window(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        record = run.step_recorder("loss")
        for step in range(50):
            record(float(2 * step))
            run.record_step(loss=float(2 * step + 1))
    assert [row["loss"] for row in recorded.rows()] == list(range(100))
    assert len(recorded.windows()) == 1


def test_a_recorder_takes_what_is_no_number_too(recorded: Recording, warned: list[str]) -> None:
    given = [0.5, None, "warm", 2**80, np.float32(0.25), True, float("inf")]
    with crucible.training_run("r") as run:
        record = run.step_recorder("x")
        for value in given:
            record(value)
    found = [row.get("x", "absent") for row in sorted(recorded.rows(), key=lambda row: row["step"])]
    assert found == [0.5, "absent", "warm", 2**80, 0.25, 1.0, float("inf")]
    assert warned == []


def test_a_recorder_that_is_misused_warns_and_goes_on(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        record = run.step_recorder("loss", "rate")
        for values in [(1.0, 2.0), (1.0,), (1.0, 2.0, 3.0), (1.0, 2.0)]:
            record(*values)
    record(1.0, 2.0)
    assert [(row["loss"], row["rate"]) for row in recorded.rows()] == [(1.0, 2.0)] * 2
    assert [text.split("(")[0] for text in warned] == ["TrainingRun.step_recorder"] * 2 + [
        "training_run 'r' has ended: what is recorded on it afterwards is not kept."
    ]


def test_integers_stay_exact_until_a_fraction_comes(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for value in [2**60 + 1, 3, 0.5, 4, 10**400]:
            run.record_step(x=value)
    assert formats(recorded) == [("i8",), ("f8",), ("json",)]
    assert [row["x"] for row in recorded.rows()] == [2**60 + 1, 3, 0.5, 4.0, 10**400]
    reasons = [window[attr.CRUCIBLE_WINDOW_REASON] for window in recorded.windows()]
    assert reasons == ["layout", "layout", "end"]


def test_the_order_of_names_does_not_matter(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_step(a=1.0, b=2.0)
        for _ in range(10):
            run.record_step(b=2.0, a=1.0)
    assert [(row["a"], row["b"]) for row in recorded.rows()] == [(1.0, 2.0)] * 11


def test_a_number_on_a_device_is_not_waited_for_between_floats(recorded: Recording) -> None:
    class Tensor:
        shape, dtype, device = (), "float32", "cuda:0"

        def __radd__(self, other: object) -> Tensor:
            return self

        def tolist(self) -> float:
            return pytest.fail("the device was waited for")

        def __float__(self) -> float:
            return pytest.fail("the device was waited for")

    with crucible.training_run("r") as run:
        for value in [0.5, 0.25, Tensor(), 0.125]:
            run.record_step(loss=value)
    assert [row["loss"] for row in recorded.rows()] == [0.5, 0.25, "Tensor of float32, shape ()", 0.125]


def test_numbers_of_numpy_pass_at_once(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at = []
    add = _windows.StepWindows.add
    looks = lambda *given, **more: looked_at.append(given) or add(*given, **more)  # noqa: E731
    monkeypatch.setattr(_windows.StepWindows, "add", looks)
    with crucible.training_run("r") as run:
        for step in range(90):
            run.record_step(loss=np.float32(0.5), tokens=np.int64(step))
    assert len(looked_at) == 1
    assert [(row["loss"], row["tokens"]) for row in recorded.rows()] == [(0.5, step) for step in range(90)]


@given(st.lists(st.fixed_dictionaries({"a": NUMBERS, "b": NUMBERS}), min_size=1, max_size=30), st.booleans())
def test_every_row_is_read_back(rows: list[dict[str, Any]], by_position: bool) -> None:
    recording = Recording()
    use_tracer_provider(recording.provider)
    with crucible.training_run("r") as run:
        record = run.step_recorder("a", "b")
        for row in rows:
            record(row["a"], row["b"]) if by_position else run.record_step(**row)
    found = sorted(recording.rows(), key=lambda row: row["step"])
    assert len(found) == len(rows)
    for expected, row in zip(rows, found, strict=True):
        for name, value in expected.items():
            assert row[name] in (value, str(value)) or float(row[name]) == float(value) or value != value  # noqa: PLR0124
    recording.provider.shutdown()


@pytest.fixture
def often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often")
def test_rows_of_several_threads_are_all_there_and_whole(recorded: Recording) -> None:
    def work(number: int) -> None:
        record = epoch.step_recorder("a", "b")
        for index in range(400):
            value = number * 1_000 + index
            if index % 2:
                record(float(value), value)
            else:
                epoch.record_step(a=float(value), b=value)

    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    rows = recorded.rows()
    assert sorted(row["b"] for row in rows) == [number * 1_000 + index for number in range(4) for index in range(400)]
    assert all(row["a"] == row["b"] for row in rows)
    assert sorted(row["step"] for row in rows) == list(range(1_600))


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs timers of POSIX")
def test_a_signal_handler_may_record_steps_in_between(recorded: Recording) -> None:
    taken = [0]

    def handler(*_: object) -> None:
        taken[0] += 1
        run.record_step(x=-taken[0])

    previous = signal.signal(signal.SIGALRM, handler)
    try:
        with crucible.training_run("r") as run:
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            for step in range(20_000):
                run.record_step(x=step)
            signal.setitimer(signal.ITIMER_REAL, 0)
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert sorted(row["x"] for row in recorded.rows()) == [*range(-taken[0], 0), *range(20_000)]
    assert taken[0]


def test_a_row_that_is_late_for_its_window_goes_to_the_next(recorded: Recording) -> None:
    """What a thread does that was interrupted between claiming its place and storing its row."""
    with crucible.training_run("r") as run:
        run.record_step(x=0)
        window = run._windows.current
        late = window.offset
        window.offset += window.size
        run.record_step(x=2)
        run._windows.close()
        assert window.missing == {late}
        window.pack(window.memory, late, 1, 1, 1, window.tag + late)
        assert run._windows.is_late(window, late)
        assert not run._windows.is_late(window, late)
    assert [row["x"] for row in recorded.rows()] == [0, 2]


@given(st.binary(max_size=200), st.integers(0, 4), st.text("qd", min_size=1, max_size=4))
def test_only_whole_rows_are_read(noise: bytes, rows: int, kinds: str) -> None:
    form = slots.row_form(kinds)
    slot = slots.Slot(7, bytearray(form.size * 5), 0, form.size * 5)
    for row in range(rows):
        form.pack_into(slot.memory, row * form.size, row, row, *([row] * len(kinds)), slot.tag + row * form.size)
    torn = (noise + bytes(form.size))[: form.size - 8]
    slot.memory[rows * form.size : rows * form.size + len(torn)] = torn
    columns, missing = slots.columns_in(slot, kinds, slot.end)
    assert [list(column) for column in columns] == ([list(range(rows))] * (len(kinds) + 2) if rows else [])
    assert missing == {row * form.size for row in range(rows, 5)}
