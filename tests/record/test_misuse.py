"""Calls that are wrong: each leaves a warning and the program running, and everything right is still recorded."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import numpy as np
import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.files._digests import drain
from tests.record.reading import node

if TYPE_CHECKING:
    from pathlib import Path

    from tests.record.reading import Recording


def test_a_keyword_nobody_knows_is_left_out_with_a_warning(
    recorded: Recording, warned: list[str], tmp_path: Path
) -> None:
    with (
        crucible.pipeline("p", retries=3) as pipeline,
        pipeline.stage("s", colour="red"),
        crucible.training_run("run", hyperparams={"lr": 1}) as run,
    ):
        stored = run.save_checkpoint(tmp_path / "c", write=lambda path: path.write_text("c"), bets=True)
    assert stored.value == 1
    assert drain(5)
    assert len(recorded.spans) == 4
    assert [text.partition(":")[0] for text in warned] == [
        "pipeline() takes no 'retries'",
        "Pipeline.stage() takes no 'colour'",
        "training_run() takes no 'hyperparams'",
        "TrainingRun.save_checkpoint() takes no 'bets'",
    ]
    assert "hyperparameters" in warned[2]


@pytest.mark.parametrize("make", [crucible.stage, crucible.deployment, crucible.reasoning_chain, crucible.training_run])
def test_links_that_map_nothing_are_left_out_with_a_warning(
    recorded: Recording, warned: list[str], make: object
) -> None:
    with make("x", links=["depends_on"]):
        pass
    assert len(recorded.spans) == 1
    assert any(text.startswith("links=") for text in warned)


def test_a_confidence_is_updated_even_with_links_that_map_nothing(recorded: Recording, warned: list[str]) -> None:
    with crucible.reasoning_chain("c") as chain:
        first = chain.form_hypothesis("h", confidence=0.5)
        updated = chain.update_confidence(first, 0.75, links=["refines"])
    assert updated.confidence == 0.75
    links = [link.attributes["crucible.link.type"] for span in recorded.spans for link in span.links]
    assert links == ["refines"]
    assert len(warned) == 1


def test_what_is_recorded_after_the_end_is_warned_about_once(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("run") as run:
        run.record_step(loss=1.0)
    for _ in range(3):
        run.record_step(loss=2.0)
        run.record_validation(accuracy=1.0)
    assert warned == ["training_run 'run' has ended: what is recorded on it afterwards is not kept."]
    assert len(recorded.spans) == 1


def test_a_decorated_training_run_is_a_fresh_run_at_each_call(recorded: Recording) -> None:
    @crucible.training_run("run")
    def train(steps: int) -> None:
        run = crucible.current_operation()
        for step in range(steps):
            run.record_step(loss=float(step))

    train(3)
    train(2)
    first, second = recorded.spans
    assert first.attributes["crucible.run.id"] != second.attributes["crucible.run.id"]
    counts = [[event.attributes["crucible.window.count"] for event in span.events] for span in (first, second)]
    assert counts == [[3], [2]]
    assert second.events[0].attributes["crucible.window.first_step"] == 0


def test_a_decorated_pipeline_counts_its_stages_anew(recorded: Recording) -> None:
    @crucible.pipeline("p")
    def work() -> None:
        for name in ("a", "b"):
            with crucible.stage(name):
                pass

    work()
    work()
    indices = [span.attributes["crucible.stage.index"] for span in recorded.spans if span.name.startswith("stage")]
    assert indices == [0, 1, 0, 1]


def test_epochs_are_counted_by_numpy_integers_too(recorded: Recording) -> None:
    with crucible.training_run("run") as run:
        for _ in run.epochs(np.int64(2)):
            pass
    assert recorded.trees() == [node("training_run", "run", node("epoch", "epoch 0"), node("epoch", "epoch 1"))]


def test_a_pipe_in_place_of_a_checkpoint_holds_nothing_up(
    recorded: Recording, warned: list[str], tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "pipe")
    with crucible.training_run("run") as run:
        run.save_checkpoint(tmp_path / "pipe")
    assert drain(5)
    assert "no regular file" in warned[0]
    assert {span.name for span in recorded.spans} == {"training_run", "checkpoint_save"}


def test_a_bare_stage_decorator_names_the_stage_after_the_function(recorded: Recording) -> None:
    @crucible.stage
    def double(value: int) -> int:
        return 2 * value

    assert double(3) == 6
    assert recorded.trees() == [node("stage double", "double")]


def test_what_an_object_makes_on_another_thread_belongs_to_it(recorded: Recording, tmp_path: Path) -> None:
    with (
        crucible.pipeline("p") as pipeline,
        crucible.training_run("run") as run,
        crucible.deployment("d") as deployment,
        ThreadPoolExecutor(1) as pool,
    ):

        def elsewhere() -> None:
            with pipeline.stage("s"), crucible.stage("inside"):
                pass
            run.save_checkpoint(tmp_path / "c", write=lambda path: path.write_text("c"))
            with deployment.inference("i"):
                pass

        pool.submit(elsewhere).result()
        pool.submit(elsewhere).result()
    (tree,) = recorded.trees()
    stages = [node("stage s", "s", node("stage inside", "inside"))] * 2
    assert [child for child in tree.inside if child.name.startswith("stage")] == stages
    parents = {span.name: span.parent.span_id for span in recorded.spans if span.parent}
    assert parents["checkpoint_save"] == run.span_context.span_id
    assert parents["inference"] == deployment.span_context.span_id


def test_an_exception_after_a_broken_off_loop_is_recorded_once(recorded: Recording) -> None:
    with pytest.raises(OSError, match="full"), crucible.training_run("run") as run:
        for _ in run.epochs(3):
            break
        run.save_model("m", write=lambda _: (_ for _ in ()).throw(OSError("full")))
    epoch, model, outer = recorded.one("epoch"), recorded.one("model_save"), recorded.one("training_run")
    assert epoch.status.is_ok
    assert not epoch.events
    assert [event.name for event in model.events] == ["exception"]
    assert not outer.events


def test_the_last_loss_is_that_of_the_last_step_whatever_window_closes_last(recorded: Recording) -> None:
    with crucible.training_run("run") as run:
        for step in range(300):
            run.record_step(loss=float(step))
            if step == 10:
                run.record_step(loss=999.0, eval_loss=1.0)
    assert recorded.one("training_run").attributes["crucible.training.loss.value"] == 299.0


def test_numbers_near_the_end_of_the_doubles_lose_no_row(recorded: Recording) -> None:
    with crucible.training_run("run") as run:
        for _ in range(4):
            run.record_step(loss=1.7e308)
            run.record_gradient(-1.7e308, other=1.0)
    events = recorded.one("training_run").events
    assert [event.attributes["crucible.window.count"] for event in events] == [4, 4]
    assert events[0].attributes["crucible.window.mean.loss"] == float("inf")


def test_failing_without_a_word_is_a_failure_all_the_same(recorded: Recording) -> None:
    crucible.stage("s").start().fail(None)
    assert recorded.one("stage s").attributes["error.type"] == "_OTHER"


@pytest.mark.parametrize("confidence", [95, "high", float("nan")])
def test_a_confidence_that_is_none_is_warned_about(recorded: Recording, warned: list[str], confidence: object) -> None:
    with crucible.reasoning_chain("c") as chain:
        assert chain.form_hypothesis("h", confidence=confidence).confidence is None
    assert "from 0 to 1" in warned[0]


def test_a_forked_child_does_not_write_the_steps_of_its_parent(recorded: Recording) -> None:
    with crucible.training_run("run") as run:
        run.record_step(loss=1.0)
        child = os.fork()
        if child == 0:
            run.stop()
            kept = sum(len(span.events) for span in recorded.spans)
            os._exit(kept)
        assert os.waitpid(child, 0)[1] == 0
    assert len(recorded.one("training_run").events) == 1
