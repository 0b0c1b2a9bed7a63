"""What is recorded beside the steps, in windows of its own; and what is given wrongly there."""

from __future__ import annotations

import math
from typing import Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from tests.record.reading import Recording, node


def cells(recorded: Recording, event_name: str) -> list[dict[str, Any]]:
    return [{name: value for name, value in row.items() if name != "time_ns"} for row in recorded.rows(event_name)]


def test_each_verb_has_windows_of_its_own(recorded: Recording) -> None:
    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        for step in range(2):
            epoch.record_step(loss=1.0)
            epoch.process_batch(step, size=32, loss=0.5, tokens=7)
            epoch.compute_loss(0.25)
            epoch.compute_loss(0.125, kind="auxiliary")
            epoch.compute_gradient(2.0, {"head": 1.0, "body": 1.5})
            epoch.record_metric(perplexity=12.5, note="warm")
        run.record_metric(accuracy=0.9, step=40)
    assert cells(recorded, events.BATCH_PROCESSED) == [
        {"step": step, "batch.index": step, "batch.size": 32, "loss": 0.5, "tokens": 7} for step in range(2)
    ]
    assert cells(recorded, events.LOSS_COMPUTED) == [
        *({"step": step, "loss": 0.25} for step in range(2)),
        *({"step": step, "loss.auxiliary": 0.125} for step in range(2)),
    ]
    assert cells(recorded, events.GRADIENT_COMPUTED) == [
        {"step": step, "norm": 2.0, "norm.head": 1.0, "norm.body": 1.5} for step in range(2)
    ]
    assert cells(recorded, events.METRIC_RECORDED) == [
        {"step": 40, "accuracy": 0.9},
        *({"step": step, "perplexity": 12.5, "note": "warm"} for step in range(2)),
    ]
    assert [row["step"] for row in recorded.rows()] == [0, 1]
    beside = [events.BATCH_PROCESSED, events.LOSS_COMPUTED, events.LOSS_COMPUTED, events.GRADIENT_COMPUTED]
    assert recorded.tree() == node(
        "training_run",
        "r",
        node("epoch", "epoch 0", events=[events.STEPS_RECORDED, *beside, events.METRIC_RECORDED]),
        events=[events.METRIC_RECORDED],
    )


def test_what_is_not_given_is_no_column(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.process_batch(loss=0.5)
        run.process_batch()
    assert cells(recorded, events.BATCH_PROCESSED) == [{"step": 0, "loss": 0.5}, {"step": 0}]


def test_both_names_of_a_gradient_are_one(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_gradient(1.0, layers={"head": 0.5})
        run.compute_gradient(2.0, layers={"head": 0.25}, step=3)
    assert cells(recorded, events.GRADIENT_COMPUTED) == [
        {"step": 0, "norm": 1.0, "norm.head": 0.5},
        {"step": 3, "norm": 2.0, "norm.head": 0.25},
    ]
    assert len(recorded.windows(events.GRADIENT_COMPUTED)) == 1


def test_a_text_is_kept_and_needs_no_number_beside_it(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_step(phase="warm-up")
        run.record_metric(phase="decay")
    assert cells(recorded, events.STEPS_RECORDED) == [{"step": 0, "phase": "warm-up"}]
    assert cells(recorded, events.METRIC_RECORDED) == [{"step": 0, "phase": "decay"}]


# ---- given wrongly ----


def test_names_that_are_no_text_are_made_text(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        record = run.step_recorder(1, None, "loss")  # type: ignore[arg-type]
        for value in range(3):
            record(1.0, 2.0, value)
        run.record_gradient(1.0, {0: 0.5, None: 0.25})  # type: ignore[dict-item]
    assert cells(recorded, events.STEPS_RECORDED) == [
        {"step": step, "1": 1.0, "None": 2.0, "loss": step} for step in range(3)
    ]
    assert cells(recorded, events.GRADIENT_COMPUTED) == [{"step": 2, "norm": 1.0, "norm.0": 0.5, "norm.None": 0.25}]
    assert warned == [
        "step_recorder() takes names, each once: 1, None, loss become the columns 1, None, loss.",
    ]


def test_a_name_that_is_given_twice_keeps_both_values(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        run.step_recorder("loss", "loss")(1.0, 2.0)
    assert cells(recorded, events.STEPS_RECORDED) == [{"step": 0, "loss": 1.0, "loss_": 2.0}]
    assert len(warned) == 1


def test_keywords_of_a_recorder_are_one_warning_and_it_does_nothing(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        run.step_recorder(names=["loss"])(1.0)  # type: ignore[call-arg]
    assert (len(warned), recorded.rows()) == (1, [])


def test_keywords_that_are_no_names_never_reach_the_recorder(recorded: Recording) -> None:
    with crucible.training_run("r") as run, pytest.raises(TypeError, match="keywords must be strings"):
        run.record_step(**{1: 2.0})  # type: ignore[misc]
    assert recorded.rows() == []


@pytest.mark.parametrize(
    "call",
    [
        lambda run: run.process_batch(loss=1.0, step="x"),
        lambda run: run.compute_loss(),
        lambda run: run.compute_loss(1.0, "train", "more"),
        lambda run: run.compute_gradient(1.0, layers=3),
        lambda run: run.record_metric(0.5),
        lambda run: run.skip_step(step=2**70),
    ],
)
def test_a_call_that_is_wrong_is_one_warning_and_the_run_goes_on(
    recorded: Recording, warned: list[str], call: Any
) -> None:
    with crucible.training_run("r") as run:
        for _ in range(3):
            call(run)
        run.record_step(loss=1.0)
    assert len(warned) == 1
    assert cells(recorded, events.STEPS_RECORDED) == [{"step": 0, "loss": 1.0}]


def test_steps_that_go_back_or_repeat_are_kept_and_counted(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for _ in range(2):
            with run.epoch(0) as epoch:
                for step in range(50):
                    epoch.record_step(loss=1.0, step=step)
        for step in (60, 60, 55, 61):
            run.record_step(loss=1.0, step=step)
    assert [row["step"] for row in recorded.rows()] == [60, 60, 55, 61, *range(50), *range(50)]
    assert [window.get(attr.CRUCIBLE_WINDOW_REPEATED) for window in recorded.windows()] == [2, None, 50]


def test_steps_that_count_by_themselves_are_never_repeated(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        record = run.step_recorder("x")
        for value in [1, 2, 0.5, 3, "text", 4, None, 2**70, math.nan, 1.0] * 30:
            record(value)
            run.record_step(x=value)
            run.skip_step(x=value)
    assert sorted(row["step"] for row in recorded.rows()) == list(range(900))
    assert [window.get(attr.CRUCIBLE_WINDOW_REPEATED) for window in recorded.windows()] == [None] * len(
        recorded.windows()
    )


VERBS = [
    lambda owner: owner.record_step(loss=1.0),
    lambda owner: owner.process_batch(loss=1.0),
    lambda owner: owner.compute_loss(1.0),
    lambda owner: owner.compute_gradient(1.0),
    lambda owner: owner.record_metric(accuracy=1.0),
    lambda owner: owner.skip_step("late"),
]


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("of_epoch", [True, False])
def test_a_verb_after_the_end_is_one_warning(recorded: Recording, warned: list[str], verb: Any, of_epoch: bool) -> None:
    with crucible.training_run("r") as run:
        with run.epoch(0) as epoch:
            verb(epoch)
        before = len(warned)
        if of_epoch:
            for _ in range(3):
                verb(epoch)
            assert len(warned) == before + 1
    if not of_epoch:
        for _ in range(3):
            verb(run)
    ended, where = ("epoch 'epoch 0'", "kept on training_run 'r'") if of_epoch else ("training_run 'r'", "not kept")
    assert warned == [f"{ended} has ended: what is recorded on it afterwards is {where}."]
    kept = [event for span in recorded.spans for event in span.events]
    of_run = 0 if not of_epoch else 3 if verb is VERBS[-1] else 1  # three skipped steps, or one window of three rows
    assert len(kept) == 1 + of_run


def test_two_epochs_that_are_open_at_once_keep_their_rows(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        first, second = run.epoch(0).start(), run.epoch(1).start()
        for step in range(600):
            (first if step % 2 else second).record_step(loss=float(step))
            (second if step % 3 else first).process_batch(step)
        first.stop()
        second.stop()
    kept = {span.attributes[attr.CRUCIBLE_ABOUT]: span for span in recorded.named("epoch")}
    assert list(kept) == ["epoch 0", "epoch 1"]
    assert sorted(row["step"] for row in recorded.rows()) == list(range(600))
    assert sorted(row["batch.index"] for row in recorded.rows(events.BATCH_PROCESSED)) == list(range(600))
