"""Training runs: what a run records beside its steps."""

from __future__ import annotations

import json
import math
from argparse import Namespace
from typing import Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._ids import trace_id_of_run
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.sdk._ids import id_generator
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from tests.record.reading import Recording, node, said

LEARNING_RATE = f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}.lr"
ACCURACY = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.accuracy"
LOSS = attr.CRUCIBLE_TRAINING_LOSS_VALUE
IDENTITY = (
    attr.CRUCIBLE_OPERATION_NAME,
    attr.CRUCIBLE_ABOUT,
    attr.CRUCIBLE_EVENT_ID,
    attr.CRUCIBLE_RUN_ID,
    attr.CRUCIBLE_RUN_NAME,
)


def test_a_run_of_two_epochs(recorded: Recording) -> None:
    shown = (
        attr.CRUCIBLE_RUN_NAME,
        attr.CRUCIBLE_RUN_ATTEMPT,
        attr.CRUCIBLE_RUN_STATE,
        attr.CRUCIBLE_DATASET_NAME,
        attr.CRUCIBLE_MODEL_NAME,
        attr.CRUCIBLE_TRAINING_EPOCH_INDEX,
        attr.CRUCIBLE_TRAINING_STOP_REASON,
        attr.CRUCIBLE_TRAINING_BEST_VALUE,
        attr.CRUCIBLE_TRAINING_PATIENCE,
        attr.CRUCIBLE_DECISION_REASONING,
        LEARNING_RATE,
        ACCURACY,
        LOSS,
    )
    with crucible.training_run("digits", hyperparameters={"lr": 0.1}, dataset="uci", model="softmax") as run:
        for epoch in run.epochs(2):
            for step in range(4):
                epoch.record_step(loss=float(step + epoch.index))
            validation = epoch.record_validation(accuracy=1)
        run.tune_hyperparameter("lr", 0.01, reason="plateau", depends_on=validation)
        run.stop_early("no progress", best_epoch=1, best_value=1, patience=3)

    def epoch_node(index: int, loss: float) -> Any:
        return node(
            "epoch",
            f"epoch {index}",
            node(
                "validation_run",
                "accuracy 1",
                attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: index, ACCURACY: 1.0},
            ),
            attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: index, LOSS: loss},
            events=["steps_recorded"],
        )

    stop = {
        attr.CRUCIBLE_TRAINING_STOP_REASON: "no progress",
        attr.CRUCIBLE_TRAINING_BEST_VALUE: 1.0,
        attr.CRUCIBLE_TRAINING_PATIENCE: 3,
    }
    assert recorded.tree(*shown) == node(
        "training_run",
        "digits",
        epoch_node(0, 1.5),
        epoch_node(1, 2.5),
        node(
            "hyperparameter_tuned",
            "lr = 0.01",
            attributes={LEARNING_RATE: 0.01, attr.CRUCIBLE_DECISION_REASONING: "plateau"},
            links=["depends_on: validation_run: accuracy 1"],
        ),
        attributes={
            attr.CRUCIBLE_RUN_NAME: "digits",
            attr.CRUCIBLE_RUN_ATTEMPT: 0,
            attr.CRUCIBLE_RUN_STATE: "completed",
            attr.CRUCIBLE_DATASET_NAME: "uci",
            attr.CRUCIBLE_MODEL_NAME: "softmax",
            LEARNING_RATE: 0.1,
            LOSS: 4.0,
            **stop,
        },
        events=["early_stopped"],
    )
    assert {said(span)[attr.CRUCIBLE_RUN_ID] for span in recorded.spans} == {run.run_id}


@pytest.mark.parametrize(
    ("error", "state"), [(ValueError(), "failed"), (KeyboardInterrupt(), "cancelled"), (SystemExit(0), "completed")]
)
def test_the_state_of_a_run_tells_how_it_ended(recorded: Recording, error: BaseException, state: str) -> None:
    with pytest.raises(type(error)), crucible.training_run("r"):
        raise error
    assert said(recorded.one("training_run"))[attr.CRUCIBLE_RUN_STATE] == state


def test_a_run_id_fixes_the_trace() -> None:
    recorded = Recording(id_generator=id_generator())
    use_tracer_provider(recorded.provider)
    for _ in range(2):
        with crucible.training_run("r", run_id="job-17"):
            pass
    with crucible.training_run("r") as other, crucible.training_run("r", run_id="job-17"):
        pass
    ids = [span.context.trace_id for span in recorded.spans]
    assert ids == [trace_id_of_run("job-17")] * 2 + [trace_id_of_run(other.run_id)] * 2


def test_many_hyperparameters_push_nothing_out(recorded: Recording) -> None:
    given = {f"h{i}": i for i in range(130)}
    with crucible.stage("s"), crucible.training_run("r", hyperparameters=given, dataset="d", model="m") as run:
        for step in range(10):
            run.record_step(**{f"number_{i}": step for i in range(30)})
    span = recorded.one("training_run")
    attributes = said(span)
    assert span.dropped_attributes == 0
    assert set(IDENTITY) <= attributes.keys()
    prefix = attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE
    found = {key: value for key, value in attributes.items() if key.startswith(f"{prefix}.")}
    found |= json.loads(attributes[attr.CRUCIBLE_OVERFLOW])
    assert found == {f"{prefix}.{name}": value for name, value in given.items()}


def test_hyperparameters_of_any_kind(recorded: Recording, warned: list[str]) -> None:
    prefix = attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE

    class Hostile(dict):  # type: ignore[type-arg]
        def items(self) -> Any:
            raise RuntimeError("no items")

    for given in (Namespace(lr=0.1), Hostile(lr=0.1), {1: "int", "1": "text", "": None}, None):
        with crucible.training_run("r", hyperparameters=given):  # type: ignore[arg-type]
            pass
    found = [{key: value for key, value in said(span).items() if key.startswith(prefix)} for span in recorded.spans]
    assert found == [
        {f"{prefix}.lr": 0.1},
        {f"{prefix}.value": "{'lr': 0.1}"},
        {f"{prefix}.1": "int", f"{prefix}.1_": "text"},
        {},
    ]


def test_metrics_are_doubles(recorded: Recording) -> None:
    numpy = pytest.importorskip("numpy")
    with crucible.training_run("r") as run:
        run.record_validation(a=1, b=numpy.int64(2), c=numpy.float32(0.5), d=True, e="best", f=2**53 + 1)
    prefix = attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE
    attributes = said(recorded.one("validation_run"))
    found = {key.removeprefix(f"{prefix}."): value for key, value in attributes.items() if key.startswith(prefix)}
    assert found == {"a": 1.0, "b": 2.0, "c": 0.5, "d": True, "e": "best", "f": 2**53 + 1}
    assert [type(found[name]) for name in "abcd"] == [float, float, float, bool]


def test_two_epochs_open_at_once(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        first, second = run.epoch(0).start(), run.epoch(1).start()
        first.record_step(loss=1.0)
        second.record_step(loss=2.0)
        first.record_step(loss=3.0)
        first.stop()
        second.record_step(loss=4.0)
        second.stop()
    attributes = {said(span)[attr.CRUCIBLE_ABOUT]: said(span).get(LOSS) for span in recorded.spans}
    assert attributes == {"r": 4.0, "epoch 0": 2.0, "epoch 1": 3.0}
    assert sorted((row["step"], row["loss"]) for row in recorded.rows()) == [(0, 1.0), (1, 2.0), (2, 3.0), (3, 4.0)]


def test_verbs_after_the_end_do_nothing(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        pass
    for late in (run, epoch):
        late.record_step(loss=1.0)
        late.record_gradient(1.0)
        assert not late.record_validation(accuracy=1.0).span_context.is_valid
    run.stop_early("late")
    run.tune_hyperparameter("lr", 1)
    assert recorded.tree() == node("training_run", "r", node("epoch", "epoch 0"))


def test_a_call_that_is_wrong_is_warned_about_and_goes_on(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        run.record_step(0.5)  # type: ignore[misc]
        run.record_step(step="three", loss=1.0)  # type: ignore[arg-type]
        run.record_gradient()  # type: ignore[call-arg]
        run.record_gradient(1.0, norm=2.0)  # type: ignore[misc]
        run.record_validation(0.5)  # type: ignore[misc]
        run.stop_early()  # type: ignore[call-arg]
        run.tune_hyperparameter("lr")  # type: ignore[call-arg]
        run.record_step(loss=1.0)
    names = [text.split("()")[0] for text in warned]
    assert names == [
        "TrainingRun.record_step",
        "TrainingRun.record_step",
        "TrainingRun.record_gradient",
        "TrainingRun.record_gradient",
        "TrainingRun.record_validation",
        "TrainingRun.stop_early",
        "TrainingRun.tune_hyperparameter",
    ]
    assert recorded.tree() == node("training_run", "r", events=["steps_recorded"])


def test_epochs_by_their_indices(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        assert [epoch.index for epoch in run.epochs(range(3, 6))] == [3, 4, 5]
        assert list(run.epochs(0)) == []
        with pytest.raises(TypeError):
            run.epochs(None)  # type: ignore[arg-type]
    assert [inner.about for inner in recorded.tree().inside] == ["epoch 3", "epoch 4", "epoch 5"]


def test_a_run_without_finite_losses(recorded: Recording) -> None:
    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        epoch.record_step(loss=math.nan)
        epoch.record_gradient(math.inf)
    assert math.isnan(said(recorded.one("epoch"))[LOSS])
    (window,) = recorded.windows()
    assert window[f"{attr.CRUCIBLE_WINDOW_NONFINITE_TEMPLATE}.loss"] == 1
    assert recorded.rows(events.GRADIENT_COMPUTED)[0]["norm"] == math.inf
