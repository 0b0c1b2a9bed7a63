"""What is recorded after the end of its operation is kept by the nearest one around it that goes on."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record import _late
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import node, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.record.reading import Recording

LATE = "recorded_late"


def late_events(recorded: Recording, name: str) -> list[dict[str, Any]]:
    return [dict(event.attributes) for event in recorded.one(name).events if event.name == LATE]


def test_p35_an_event_attributes_and_a_link_stand_on_what_is_around_marked_with_whose_they_are(
    recorded: Recording, warned: list[str]
) -> None:
    with crucible.pipeline("p") as pipeline:
        with crucible.stage("first") as first:
            pass
        with crucible.stage("s") as stage:
            pass
        emit_event(stage, "early_stopped", {"crucible.training.stop_reason": "enough"})
        stage.set({"crucible.training.patience": 3, "left out": None})
        stage.link("depends_on", first)
    whose = {"crucible.about": "s", "crucible.late.event_id": stage.event_id}
    assert late_events(recorded, "pipeline p") == [
        {**whose, "crucible.late.name": "early_stopped", "crucible.training.stop_reason": "enough"},
        {**whose, "crucible.training.patience": 3},
        {
            **whose,
            "crucible.dependency.names": ("depends_on: stage: first",),
            "crucible.dependency.span_ids": (f"{first.span_context.span_id:016x}",),
            "crucible.dependency.types": ("depends_on",),
        },
    ]
    assert pipeline.event_id != stage.event_id
    assert said(recorded.one("stage s")).keys().isdisjoint({"crucible.training.patience", "crucible.dependency.names"})
    assert not recorded.one("stage s").events
    assert warned == ["stage 's' has ended: what is recorded on it afterwards is kept on pipeline 'p'."]


def form(chain: crucible.ReasoningChain, stage: crucible.Stage, run: crucible.TrainingRun) -> str:
    return chain.form_hypothesis("late", confidence=0.5).event_id


def validate(chain: crucible.ReasoningChain, stage: crucible.Stage, run: crucible.TrainingRun) -> str:
    return run.record_validation(accuracy=0.5).event_id


def tune(chain: crucible.ReasoningChain, stage: crucible.Stage, run: crucible.TrainingRun) -> str:
    return run.tune_hyperparameter("lr", 0.5).event_id


@pytest.mark.parametrize(("call", "name"), [(form, "hypothesis_formed"), (validate, "validation_run"), (tune, None)])
def test_a_decision_and_its_like_lie_in_what_is_around_and_can_be_depended_on(
    recorded: Recording, warned: list[str], call: Callable[..., str], name: str | None
) -> None:
    name = name or "hyperparameter_tuned"
    with crucible.pipeline("p"):
        with crucible.reasoning_chain("c") as chain, crucible.stage("s") as stage, crucible.training_run("r") as run:
            pass
        event_id = call(chain, stage, run)
        with crucible.stage("next", depends_on=event_id):
            pass
    late = recorded.one(name)
    assert late.parent.span_id == recorded.one("pipeline p").context.span_id
    assert said(late)["crucible.late.event_id"] in {chain.event_id, run.event_id}
    assert said(late)["crucible.event.id"] == event_id
    assert [link.context for link in recorded.one("stage next").links] == [late.context]
    assert len(warned) == 1


def test_steps_and_skipped_ones_while_an_epoch_ends_on_another_thread_go_to_the_run(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        with run.epoch(3) as epoch:
            epoch.record_step(loss=1.0)
            epoch._windows.close()  # as its end does
            epoch.record_step(loss=0.5)
            epoch.skip_step("overflow", loss=0.25)
        assert not epoch._windows._open
    assert [(row.get("epoch"), row["step"], row["loss"]) for row in recorded.rows()] == [
        (3, 1, 0.5),
        (3, 2, 0.25),
        (None, 0, 1.0),
    ]
    assert [event.name for event in recorded.one("training_run").events] == ["step_abnormal", "steps_recorded"]


def test_steps_while_their_run_ends_on_another_thread_are_told_on_it(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run._windows.close()  # as its end does
        run.record_step(loss=0.5)
        run.skip_step("overflow")
    whose = {"crucible.late.event_id": run.event_id}
    assert late_events(recorded, "training_run") == [
        {
            **whose,
            "crucible.late.name": "steps_recorded",
            "crucible.training.step.index": 0,
            "crucible.window.last.loss": 0.5,
        },
        {
            **whose,
            "crucible.late.name": "step_abnormal",
            "crucible.training.step.index": 1,
            "crucible.abnormal.kind": "skipped",
            "crucible.abnormal.reason": "overflow",
        },
    ]


@pytest.mark.parametrize("bound", [True, False])
def test_steps_of_an_epoch_that_has_ended_go_to_the_run_with_its_index(
    recorded: Recording, warned: list[str], bound: bool
) -> None:
    with crucible.training_run("r") as run:
        for index in (3, 4):
            with run.epoch(index) as epoch:
                epoch.record_step(loss=1.0)
            record = epoch.step_recorder("loss") if bound else lambda loss, epoch=epoch: epoch.record_step(loss=loss)
            record(0.5)
            record(0.25)
            epoch.record_gradient(2.0)
    run_rows = [
        {key: row[key] for key in ("epoch", "step", "loss")}
        for row in recorded.rows()
        if "epoch" in row  # those of the epochs have their own
    ]
    assert run_rows == [
        {"epoch": 3, "step": 1, "loss": 0.5},
        {"epoch": 3, "step": 2, "loss": 0.25},
        {"epoch": 4, "step": 4, "loss": 0.5},
        {"epoch": 4, "step": 5, "loss": 0.25},
    ]
    assert [(row["epoch"], row["step"], row["norm"]) for row in recorded.rows("gradient_computed")] == [
        (3, 2, 2.0),
        (4, 5, 2.0),
    ]
    assert [text.partition(":")[0] for text in warned] == ["epoch 'epoch 3' has ended", "epoch 'epoch 4' has ended"]
    assert {event.name for event in recorded.one("training_run").events} == {"steps_recorded", "gradient_computed"}


def test_an_epoch_of_its_own_numbers_keeps_them(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        with run.epoch(3) as epoch:
            pass
        epoch.record_step(loss=1.0, epoch=7.5)
    assert [row["epoch"] for row in recorded.rows()] == [7.5]


def test_an_epoch_that_outlives_its_run_keeps_its_steps(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        epoch = run.epoch(0).start()
    epoch.record_step(loss=1.0)
    epoch.stop()
    assert [row["loss"] for row in recorded.rows()] == [1.0]
    assert warned == []


def test_a_step_of_a_run_that_has_ended_stands_on_what_is_around(recorded: Recording) -> None:
    with crucible.pipeline("p"):
        with crucible.training_run("r") as run:
            run.record_step(loss=1.0)
        run.record_step(loss=0.5, tokens=7)
    assert late_events(recorded, "pipeline p") == [
        {
            "crucible.about": "r",
            "crucible.late.event_id": run.event_id,
            "crucible.late.name": "steps_recorded",
            "crucible.training.step.index": 1,
            "crucible.window.last.loss": 0.5,
            "crucible.window.last.tokens": 7.0,
        }
    ]


def test_of_many_the_first_are_kept_and_the_others_counted(recorded: Recording) -> None:
    with crucible.pipeline("p"):
        with crucible.stage("s") as stage:
            pass
        for number in range(200):
            emit_event(stage, "early_stopped", {"crucible.training.patience": number})
    assert len(late_events(recorded, "pipeline p")) == _late._MOST
    pipeline = said(recorded.one("pipeline p"))
    assert pipeline[attr.CRUCIBLE_DROPPED_COUNT] == 200 - _late._MOST
    assert pipeline[attr.CRUCIBLE_DROPPED_REASON] == "records that came after the end of what they belong to"


def all_around_ended(stage: crucible.Stage) -> None:
    outer = stage.outer
    stage.stop()
    if outer is not None:
        outer.stop()


@pytest.mark.parametrize("inside", [False, True])
def test_where_nothing_around_goes_on_it_is_not_kept_and_that_is_said_once(
    recorded: Recording, warned: list[str], inside: bool
) -> None:
    pipeline = crucible.pipeline("p").start() if inside else None
    stage = crucible.stage("s").start()
    all_around_ended(stage)
    for _ in range(3):
        emit_event(stage, "early_stopped", {})
        stage.set({"crucible.training.patience": 3})
        stage.link("depends_on", "nothing has this id")
    assert warned[0] == "stage 's' has ended: what is recorded on it afterwards is not kept."
    assert [text for text in warned if "has ended" in text] == warned[:1]
    assert all(not span.events for span in recorded.spans)
    assert len(recorded.spans) == (2 if pipeline else 1)


def test_the_nearest_that_goes_on_may_be_far_out_and_foreign_spans_are_not_asked(recorded: Recording) -> None:
    with crucible.pipeline("p"), recorded.foreign.start_as_current_span("foreign"):
        middle = crucible.stage("middle").start()
        inner = crucible.stage("inner").start()
        inner.stop()
        middle.stop()
        emit_event(inner, "early_stopped", {})
    assert [event.name for event in recorded.one("pipeline p").events] == [LATE]
    assert not recorded.one("foreign").events


def test_before_its_start_nothing_is_late(recorded: Recording, warned: list[str]) -> None:
    with crucible.pipeline("p"):
        stage = crucible.stage("s")
        stage.set({"crucible.training.patience": 3})
        emit_event(stage, "early_stopped", {})
    assert recorded.trees() == [node("pipeline p", "p")]
    assert warned == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_forked_child_leaves_what_its_parent_has_open_alone(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline:
        with crucible.stage("s") as stage:
            pass
        child = os.fork()
        if child == 0:
            emit_event(stage, "early_stopped", {})
            os._exit(len(getattr(pipeline.span, "events", ())))
        assert os.waitpid(child, 0)[1] == 0
    assert not recorded.one("pipeline p").events
