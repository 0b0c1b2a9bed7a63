"""Abnormal steps: each is told at once, none stops the training, and thousands of them stay few events."""

from __future__ import annotations

import math
import random
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.record.steps import _abnormal, _stepping
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import Callable

MILLISECOND = 1_000_000
REASON = attr.CRUCIBLE_WINDOW_REASON


def told(recorded: Recording) -> list[tuple[Any, ...]]:
    keys = (attr.CRUCIBLE_TRAINING_STEP_INDEX, attr.CRUCIBLE_ABNORMAL_KIND, attr.CRUCIBLE_ABNORMAL_COLUMN)
    return [tuple(event.get(key) for key in keys) for event in recorded.windows(events.STEP_ABNORMAL)]


def noise(steps: int) -> list[float]:
    draw = random.Random(5)
    return [1.0 + draw.gauss(0, 0.1) for _ in range(steps)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """A clock that stands still but for what it is told."""
    now = [10**15]

    def read() -> int:
        now[0] += 1
        return now[0]

    def go_on(milliseconds: float) -> None:
        now[0] += int(milliseconds * MILLISECOND)

    monkeypatch.setattr(time, "perf_counter_ns", read)
    monkeypatch.setattr(_stepping, "_clock", read)
    return go_on


@pytest.mark.parametrize("by_position", [False, True])
@pytest.mark.parametrize(("value", "kind"), [(math.nan, "nan"), (math.inf, "infinity"), (-math.inf, "infinity")])
def test_a_number_that_is_none_closes_its_window_and_is_told(
    recorded: Recording, value: float, kind: str, by_position: bool
) -> None:
    with crucible.training_run("r") as run, run.epoch(3) as epoch:
        record = epoch.step_recorder("loss", "norm")
        for step in range(10):
            norm = value if step == 6 else 2.0
            record(0.5, norm) if by_position else epoch.record_step(loss=0.5, norm=norm)
    assert recorded.tree() == node(
        "training_run",
        "r",
        node("epoch", "epoch 3", events=[events.STEP_ABNORMAL, events.STEPS_RECORDED, events.STEPS_RECORDED]),
    )
    (event,) = map(dict, recorded.windows(events.STEP_ABNORMAL))
    assert str(event.pop(attr.CRUCIBLE_ABNORMAL_VALUE)) == str(value)
    assert event == {
        attr.CRUCIBLE_ABOUT: f"step 6: norm is {value}",
        attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 3,
        attr.CRUCIBLE_TRAINING_STEP_INDEX: 6,
        attr.CRUCIBLE_ABNORMAL_KIND: kind,
        attr.CRUCIBLE_ABNORMAL_COLUMN: "norm",
    }
    assert [window[REASON] for window in recorded.windows()] == ["abnormal", "end"]
    assert [row["step"] for row in recorded.rows()] == list(range(10))
    assert [said(recorded.one(name))[attr.CRUCIBLE_ABNORMAL_COUNT] for name in ("training_run", "epoch")] == [1, 1]


def test_a_run_in_which_nothing_is_abnormal_says_nothing(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for loss in noise(2_000):
            run.record_step(loss=loss)
    assert told(recorded) == []
    assert attr.CRUCIBLE_ABNORMAL_COUNT not in said(recorded.one("training_run"))


@pytest.mark.parametrize("by_position", [False, True])
def test_a_loss_far_above_its_mean_is_a_spike(recorded: Recording, by_position: bool) -> None:
    losses = noise(1_000)
    losses[700] = 2.5
    with crucible.training_run("r") as run:
        record = run.step_recorder("tokens", "loss")
        for loss in losses:
            record(5, loss) if by_position else run.record_step(tokens=5, loss=loss)
    assert told(recorded) == [(700, "spike", "loss")]
    (event,) = recorded.windows(events.STEP_ABNORMAL)
    assert event[attr.CRUCIBLE_ABNORMAL_VALUE] == 2.5
    assert event[attr.CRUCIBLE_ABNORMAL_EXPECTED] == pytest.approx(1.0, abs=0.1)
    assert [row["loss"] for row in recorded.rows()] == losses


@pytest.mark.parametrize(
    "losses",
    [
        [step / 3 for step in range(3_000)],
        [1 / (step + 1) for step in range(3_000)],
        [0.7] * 1_000 + [0.7000001] * 1_000,
        [-5.0 - step / 100 for step in range(3_000)],
        [0.0] * 2_000,
        [1e308] * 1_000,
        ["warm"] * 300,
        [step % 7 for step in range(1_000)],
    ],
    ids=["rising", "falling", "constant", "negative", "zero", "huge", "text", "integers"],
)
def test_a_loss_that_only_moves_is_no_spike(recorded: Recording, losses: list[Any]) -> None:
    with crucible.training_run("r") as run:
        for loss in losses:
            run.record_step(loss=loss)
    assert told(recorded) == []


def test_a_level_that_has_risen_becomes_what_is_expected(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for loss in noise(1_000) + [loss + 5 for loss in noise(4_000)]:
            run.record_step(loss=loss)
    steps = [step for step, kind, _ in told(recorded) if kind == "spike"]
    assert steps[0] == 1_000
    assert said(recorded.one("training_run"))[attr.CRUCIBLE_ABNORMAL_COUNT] < 2_000


@given(st.lists(st.lists(st.floats(allow_infinity=True, allow_nan=True), max_size=30), max_size=8))
def test_a_level_takes_whatever_comes(windows: list[list[float]]) -> None:
    level = _abnormal.Level()
    for values in windows:
        level.learn(values, 6.0)
        assert level.ceiling >= level.mean
        assert math.isfinite(level.mean)


def test_mean_and_deviation_are_those_of_all_values() -> None:
    level = _abnormal.Level()
    values = noise(200)
    for start in range(0, 200, 40):
        level.learn(values[start : start + 40], 100.0)
    mean = math.fsum(values) / 200
    deviation = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / 200)
    assert level.mean == pytest.approx(mean)
    assert level.ceiling == pytest.approx(mean + 100 * deviation)


@pytest.mark.parametrize("by_position", [False, True])
def test_a_step_far_slower_than_the_others(
    recorded: Recording, clock: Callable[[float], None], by_position: bool
) -> None:
    with crucible.training_run("r") as run:
        record = run.step_recorder("loss")
        for step in range(500):
            clock(20 if step != 300 else 1_450)
            record(1.0) if by_position else run.record_step(loss=1.0)
    assert told(recorded) == [(300, "slow", None)]
    (event,) = recorded.windows(events.STEP_ABNORMAL)
    assert event[attr.CRUCIBLE_ABNORMAL_VALUE] == pytest.approx(1.45, rel=1e-3)
    assert event[attr.CRUCIBLE_ABNORMAL_EXPECTED] == pytest.approx(0.02, rel=1e-3)
    assert event[attr.CRUCIBLE_ABOUT] == "step 300: took 1.45 s, the others 0.02 s"


def test_a_pause_below_the_least_time_is_not_slow(recorded: Recording, clock: Callable[[float], None]) -> None:
    with crucible.training_run("r") as run:
        for step in range(500):
            clock(900 if step % 50 == 49 else 0.01)
            run.record_step(loss=1.0)
    assert told(recorded) == []


def test_nothing_is_looked_for_where_it_is_switched_off(recorded: Recording, clock: Callable[[float], None]) -> None:
    policy = crucible.WindowPolicy(spike_sigma=None, slow_factor=None)
    with crucible.training_run("r", windows=policy) as run:
        for step in range(500):
            clock(9_000 if step == 300 else 1)
            run.record_step(loss=1e9 if step == 400 else 1.0)
    assert told(recorded) == []


@pytest.mark.parametrize("milliseconds", [1, 49, 60, 3_000])
def test_windows_close_on_time_however_fast_the_steps_come(
    recorded: Recording, clock: Callable[[float], None], milliseconds: float
) -> None:
    with crucible.training_run("r", windows=crucible.WindowPolicy(seconds=5)) as run:
        for _ in range(500):
            clock(milliseconds)
            run.record_step(loss=1.0)
    for window in recorded.windows():
        assert (window[attr.CRUCIBLE_WINDOW_COUNT] - 1) * milliseconds <= 5_000 + milliseconds
    assert len(recorded.rows()) == 500


def test_a_loss_that_is_nan_for_ever_is_a_hundred_events_and_one_warning(
    recorded: Recording, warned: list[str]
) -> None:
    with crucible.training_run("r") as run:
        for step in range(3_000):
            run.record_step(loss=math.nan if step >= 50 else 1.0)
    assert told(recorded) == [(step, "nan", "loss") for step in range(50, 150)]
    assert said(recorded.one("training_run"))[attr.CRUCIBLE_ABNORMAL_COUNT] == 2_950
    assert warned == [
        "training_run 'r' has more than 100 abnormal steps: further ones are counted and get no event of their own."
    ]
    reasons = [window[REASON] for window in recorded.windows()]
    assert (reasons[0], reasons.count("abnormal"), len(reasons)) == ("abnormal", 1, 16)
    assert [row["step"] for row in recorded.rows()] == list(range(3_000))
    assert all(len(span.events) < 128 and span.dropped_events == 0 for span in recorded.spans)


def test_skipped_steps_count_on_and_keep_their_reason(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_step(loss=1.0)
        run.skip_step("the gradients overflowed", loss=2.0)
        run.skip_step()
        run.skip_step(step=9)
        run.record_step(loss=3.0)
    assert told(recorded) == [(1, "skipped", None), (2, "skipped", None), (9, "skipped", None)]
    first, second, _ = recorded.windows(events.STEP_ABNORMAL)
    assert first[attr.CRUCIBLE_ABNORMAL_REASON] == "the gradients overflowed"
    assert (first[attr.CRUCIBLE_ABOUT], second[attr.CRUCIBLE_ABOUT]) == (
        "step 1: skipped, the gradients overflowed",
        "step 2: skipped",
    )
    assert [(row["step"], row["loss"]) for row in recorded.rows()] == [(0, 1.0), (1, 2.0), (10, 3.0)]


def test_what_is_called_is_given_the_step_and_the_rows_around_it(recorded: Recording) -> None:
    found: list[crucible.AbnormalStep] = []
    policy = crucible.WindowPolicy(on_abnormal=found.append)
    with crucible.training_run("r", windows=policy) as run:
        for step in range(30):
            run.record_step(loss=math.inf if step == 20 else step / 10)
        run.skip_step("overflow")
    assert [(one.step, one.kind, one.column, one.value, one.expected, one.reason) for one in found] == [
        (20, "infinity", "loss", math.inf, None, None),
        (30, "skipped", None, None, None, "overflow"),
    ]
    assert [(row["step"], row["loss"]) for row in found[0].rows] == [
        *((step, step / 10) for step in range(11, 20)),
        (20, math.inf),
    ]
    assert [row["step"] for row in found[1].rows] == list(range(21, 30))
    assert len(told(recorded)) == 2


def test_what_is_called_may_raise_and_may_record(recorded: Recording, warned: list[str]) -> None:
    def called(found: crucible.AbnormalStep) -> None:
        run.record_step(loss=math.nan)
        run.record_step(loss=float(found.step))
        raise RuntimeError("no")

    with crucible.training_run("r", windows=crucible.WindowPolicy(on_abnormal=called)) as run:
        for _ in range(3):
            run.record_step(loss=math.nan)
    assert [text.split(".")[0] for text in warned] == ["on_abnormal raised RuntimeError: no"]
    assert [row["step"] for row in recorded.rows()] == list(range(9))
    assert [row["loss"] for row in recorded.rows()][2::3] == [0.0, 3.0, 6.0]


def test_ctrl_c_in_what_is_called_stops_the_training(recorded: Recording) -> None:
    def called(_: crucible.AbnormalStep) -> None:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        crucible.training_run("r", windows=crucible.WindowPolicy(on_abnormal=called)) as run,
    ):
        run.record_step(loss=1.0)
        run.record_step(loss=math.nan)
        run.record_step(loss=2.0)
    assert len(recorded.rows()) == 2
    assert said(recorded.one("training_run"))[attr.ERROR_TYPE] == "KeyboardInterrupt"


def test_what_is_called_may_end_the_run(recorded: Recording) -> None:
    with crucible.training_run(
        "r", windows=crucible.WindowPolicy(on_abnormal=lambda found: run.fail(f"step {found.step}"))
    ) as run:
        for step in range(5):
            run.record_step(loss=math.nan if step == 2 else 1.0)
    assert recorded.tree().error == "step 2"
    assert [row["step"] for row in recorded.rows()] == [0, 1, 2]


def test_gradients_that_are_infinite_are_told_too(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_step(loss=1.0)
        run.record_gradient(math.inf)
    assert told(recorded) == [(0, "infinity", "norm")]
