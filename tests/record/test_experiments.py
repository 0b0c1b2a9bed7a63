"""Experiments: their life, their id, and what belongs to which."""

from __future__ import annotations

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

SHOWN = (
    attr.CRUCIBLE_EXPERIMENT_ID,
    attr.CRUCIBLE_EXPERIMENT_NAME,
    attr.CRUCIBLE_EXPERIMENT_CONDITION,
    attr.CRUCIBLE_EXPERIMENT_PLAN_VERSION,
    attr.CRUCIBLE_RUN_VERDICT,
)


def test_everything_inside_an_experiment_carries_its_id(recorded: Recording) -> None:
    with crucible.experiment("which model", id="e-1", condition="baseline", version="2") as experiment:
        with crucible.pipeline("p") as pipeline, pipeline.stage("s"), crucible.reasoning_chain("q") as chain:
            chain.form_hypothesis("h")
        experiment.set_verdict("the small one")
    inside = {attr.CRUCIBLE_EXPERIMENT_ID: "e-1"}
    chain_node = node("reasoning_chain", "q", node("hypothesis_formed", "h", attributes=inside), attributes=inside)
    assert recorded.tree(*SHOWN) == node(
        "experiment",
        "which model",
        node("pipeline p", "p", node("stage s", "s", chain_node, attributes=inside), attributes=inside),
        attributes={
            **inside,
            attr.CRUCIBLE_EXPERIMENT_NAME: "which model",
            attr.CRUCIBLE_EXPERIMENT_CONDITION: "baseline",
            attr.CRUCIBLE_EXPERIMENT_PLAN_VERSION: "2",
            attr.CRUCIBLE_RUN_VERDICT: "the small one",
        },
    )


def test_without_an_id_it_is_named_by_its_event_id(recorded: Recording) -> None:
    with crucible.experiment("q") as experiment, crucible.stage("s"):
        pass
    assert {said(span)[attr.CRUCIBLE_EXPERIMENT_ID] for span in recorded.spans} == {experiment.id}
    assert experiment.id == experiment.event_id


def test_each_call_of_a_decorated_function_is_an_experiment_of_its_own(recorded: Recording) -> None:
    @crucible.experiment("q")
    def ask() -> None:
        with crucible.stage("s"):
            pass

    ask()
    ask()
    ids = [said(span)[attr.CRUCIBLE_EXPERIMENT_ID] for span in recorded.spans]
    assert ids[0] == ids[1] != ids[2] == ids[3]


def test_an_experiment_inside_another_is_its_own(recorded: Recording) -> None:
    with crucible.experiment("outer", id="o"), crucible.experiment("inner", id="i"), crucible.stage("s"):
        pass
    assert said(recorded.one("stage s"))[attr.CRUCIBLE_EXPERIMENT_ID] == "i"


def test_odd_subjects_never_raise(recorded: Recording, warned: list[str]) -> None:
    class Plan:
        id = "p"
        stage_names = ("a",)

        @property
        def sha256(self) -> str:
            raise ValueError("none")

    for subject in (None, 3, Plan(), "x" * 1_000):
        with crucible.experiment(subject) as experiment:  # type: ignore[arg-type]
            experiment.set_verdict(object())  # type: ignore[arg-type]
    with crucible.experiment("q", unknown=3):  # type: ignore[call-arg]
        pass
    names = [said(span)[attr.CRUCIBLE_EXPERIMENT_NAME] for span in recorded.named("experiment")]
    assert names == ["None", "3", "p", "x" * 1_000, "q"]
    assert said(recorded.named("experiment")[2])[attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES] == ("a",)
    assert len(warned) == 2
