"""Tuning studies and their trials."""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

STATE = attr.CRUCIBLE_TUNING_TRIAL_STATE
INDEX = attr.CRUCIBLE_TUNING_TRIAL_INDEX
VALUE = attr.CRUCIBLE_TUNING_VALUE
BEST = attr.CRUCIBLE_TUNING_BEST_TRIAL
RATE = f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}.lr"
COUNTS = (
    attr.CRUCIBLE_TUNING_TRIALS_COMPLETED,
    attr.CRUCIBLE_TUNING_TRIALS_PRUNED,
    attr.CRUCIBLE_TUNING_TRIALS_FAILED,
)


def test_a_study_with_a_trial_of_each_end(recorded: Recording) -> None:
    with crucible.training_run("r") as run, run.tuning_study("lr", objective="loss", direction="min") as study:
        for rate, loss in ((0.1, 0.5), (0.01, 0.25), (0.001, 0.75)):
            with study.trial({"lr": rate}) as trial:
                trial.complete(loss, accuracy=1)
        with study.trial({"lr": 10.0}) as trial:
            trial.complete(0.0)
            trial.prune("loss rises")
        with pytest.raises(ValueError, match="boom"), study.trial({"lr": -1.0}):
            raise ValueError("boom")

    accuracy = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.accuracy"

    def completed(index: int, rate: float, loss: float) -> Any:
        attributes = {INDEX: index, STATE: "completed", RATE: rate, VALUE: loss, accuracy: 1.0}
        return node("trial", f"trial {index}", attributes=attributes)

    shown = (INDEX, STATE, RATE, VALUE, BEST, attr.CRUCIBLE_TUNING_TRIAL_REASON, accuracy, *COUNTS)
    pruned = {INDEX: 3, STATE: "pruned", RATE: 10.0, VALUE: 0.0, attr.CRUCIBLE_TUNING_TRIAL_REASON: "loss rises"}
    assert recorded.tree(*shown).inside == [
        node(
            "tuning_study",
            "lr",
            completed(0, 0.1, 0.5),
            completed(1, 0.01, 0.25),
            completed(2, 0.001, 0.75),
            node("trial", "trial 3", attributes=pruned),
            node(
                "trial",
                "trial 4",
                attributes={INDEX: 4, STATE: "failed", RATE: -1.0},
                events=["exception"],
                error="ValueError: boom",
            ),
            attributes={BEST: 1, VALUE: 0.25, RATE: 0.01, **dict(zip(COUNTS, (3, 1, 1), strict=True))},
            links=["best_trial: trial: trial 1"],
        )
    ]
    assert study.best_trial is not None
    assert (study.best_trial.index, study.best_trial.value, study.best_trial.hyperparameters) == (1, 0.25, {"lr": 0.01})


@pytest.mark.parametrize(
    ("direction", "best"),
    [("maximize", 2), ("MAX", 2), ("minimize", 1), (None, None), ("sideways", None), (3, None)],
)
def test_the_best_trial_is_the_best_in_the_direction(recorded: Recording, direction: Any, best: int | None) -> None:
    with crucible.tuning_study("s", direction=direction) as study:
        for value in (2.0, 1.0, 3.0, math.nan, math.inf, -math.inf):
            with study.trial() as trial:
                trial.complete(value)
        with study.trial():
            pass
    span = recorded.one("tuning_study")
    assert said(span).get(BEST) == best
    assert [link.attributes[attr.CRUCIBLE_LINK_TYPE] for link in span.links] == []  # a root, and its own trace
    assert said(span).get(attr.CRUCIBLE_DEPENDENCY_TYPES, ()) == (() if best is None else ("best_trial",))
    assert said(span)[COUNTS[0]] == 7


def test_an_unknown_direction_is_kept_and_warned_about(recorded: Recording, warned: list[str]) -> None:
    with crucible.tuning_study("s", direction="sideways"):
        pass
    assert said(recorded.one("tuning_study"))[attr.CRUCIBLE_TUNING_DIRECTION] == "sideways"
    assert len(warned) == 1


def test_trials_with_numbers_of_their_own(recorded: Recording, warned: list[str]) -> None:
    with crucible.tuning_study("s") as study:
        for index in (None, 7, "eight", -1, None):
            with study.trial(index=index):  # type: ignore[arg-type]
                pass
    assert [said(span)[INDEX] for span in recorded.named("trial")] == [0, 7, 8, 9, 10]
    assert len(warned) == 2


def test_trials_in_threads(recorded: Recording) -> None:
    def attempt(study: crucible.TuningStudy, rate: int) -> None:
        with study.trial({"lr": rate}) as trial:
            trial.complete(rate)

    with crucible.tuning_study("s", direction="maximize") as study, ThreadPoolExecutor(4) as pool:
        for rate in range(40):
            pool.submit(copy_context().run, attempt, study, rate)
    assert study.best_trial is not None
    assert study.best_trial.value == 39.0
    assert sorted(said(span)[INDEX] for span in recorded.named("trial")) == list(range(40))
    (tree,) = recorded.trees()
    assert len(tree.inside) == 40


def test_a_run_inside_a_trial_and_a_trial_as_a_cause(recorded: Recording) -> None:
    with crucible.tuning_study("s", direction="maximize") as study:
        with study.trial({"lr": 0.1}) as trial, crucible.training_run("short"):
            trial.complete(1)
        with study.trial(depends_on=trial):
            pass
    first, second = recorded.tree().inside
    assert [inner.name for inner in first.inside] == ["training_run"]
    assert second.links == ["depends_on: trial: trial 0"]


def test_what_cannot_be_a_value_is_warned_about_and_the_study_goes_on(recorded: Recording, warned: list[str]) -> None:
    numpy = pytest.importorskip("numpy")
    with crucible.tuning_study("s", direction="maximize") as study:
        with study.trial() as trial:
            trial.complete("good")  # type: ignore[arg-type]
        with study.trial() as trial:
            trial.complete(numpy.float32(0.5))
            trial.complete(numpy.float32(0.25))
        trial.complete(9.0)
        late = study.trial().start()
    late.stop()
    study.trial().start().stop()
    values = [said(span).get(VALUE) for span in recorded.named("trial")]
    assert values[:3] == [None, 0.25, None]
    assert said(recorded.one("tuning_study"))[VALUE] == 0.25
    assert said(recorded.one("tuning_study"))[COUNTS[0]] == 2
    assert len(warned) == 3
