"""All that is wrong with a plan, each with its place."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.plan import (
    BackendRef,
    Experiment,
    ModelVersion,
    StageDef,
    backend,
    deployment,
    feedback,
    reliability,
    training,
)
from crucible_trace_otel.plan.order import find_cycle, run_order

TESTS = "ttest, paired_ttest, bootstrap, anova, wilcoxon, mannwhitney, mann_whitney, kruskal, kruskal_wallis"


def problems(part):
    return [str(problem) for problem in part.problems()]


def test_a_plan_without_problems_has_none():
    plan = {
        "id": "e",
        "backend": {"id": "b"},
        "pipeline": [{"name": "load"}, {"name": "train", "after": ["load"], "retries": 2, "options": {"any": []}}],
        "dataset": {"name": "digits", "format": "npz"},
        "experiment_type": "training",
        "created_at": "2026-01-01T00:00:00Z",
        "training_config": {"id": "t", "model_ref": {"id": "m"}, "dataset_ref": {"name": "d"}, "learning_rate": 1},
        "outputs": [{"name": "report", "sink": "gcs", "formats": ["pdf"]}],
    }
    assert crucible.read_plan(plan).problems() == ()


def test_every_problem_is_said_with_its_place():
    plan = {
        "backend": {"id": "", "fallback": {}},
        "pipeline": [
            {"name": "load", "after": ["nowhere"], "options": []},
            {"name": 3, "enabled": "yes"},
            {"name": "load", "retries": -1},
            {},
        ],
        "tags": ["a", 1],
        "experiment_type": "guess",
        "updated_at": "tomorrow",
        "reliability": {"stats": {"alpha": 1.5, "tests": ["ttest", "guess"]}, "feedback": {"sampling_rate": "1"}},
        "training_config": {"id": "t", "epochs": 0, "batch_size": 1.5, "learning_rate": 0, "validation_split": 2},
    }
    assert problems(crucible.read_plan(plan)) == [
        "id: is required",
        "backend.id: must not be empty",
        "backend.fallback.id: is required",
        "pipeline[0].options: must be an object, not []",
        "pipeline[1].name: must be text, not 3",
        "pipeline[1].enabled: must be true or false, not 'yes'",
        "pipeline[2].retries: must be at least 0, not -1",
        "pipeline[3].name: is required",
        "tags[1]: must be text, not 1",
        f"reliability.stats.tests[1]: must be one of {TESTS}; not 'guess'",
        "reliability.stats.alpha: must be at most 1, not 1.5",
        "reliability.feedback.sampling_rate: must be a number, not '1'",
        "updated_at: must be a time such as 2026-01-31T12:00:00Z, not 'tomorrow'",
        "experiment_type: must be one of evaluation, training, comparison, ablation; not 'guess'",
        "training_config.model_ref: is required",
        "training_config.dataset_ref: is required",
        "training_config.epochs: must be at least 1, not 0",
        "training_config.batch_size: must be a whole number, not 1.5",
        "training_config.learning_rate: must be above 0, not 0",
        "training_config.validation_split: must be at most 1, not 2",
        "pipeline[0].after[0]: no stage is called 'nowhere'; there are load",
        "pipeline[2].name: 'load' is the name of an earlier stage too",
    ]


def test_a_cycle_is_named():
    stages = [{"name": "a", "after": ["c"]}, {"name": "b", "after": ["a"]}, {"name": "c", "after": ["b"]}]
    plan = crucible.read_plan({"id": "e", "backend": {"id": "b"}, "pipeline": stages})
    assert problems(plan) == ["pipeline: a -> c -> b -> a: each comes after the next, so none can run first"]
    alone = crucible.read_plan({"id": "e", "backend": {"id": "b"}, "pipeline": [{"name": "a", "after": ["a"]}]})
    assert problems(alone) == ["pipeline: a -> a: each comes after the next, so none can run first"]


def test_a_plan_needs_a_stage():
    assert problems(crucible.read_plan({"id": "e", "backend": {"id": "b"}, "pipeline": []})) == [
        "pipeline: must have at least one stage"
    ]


@pytest.mark.parametrize("pipeline", [3, "load", ["load", 3], {"name": "load"}, None])
def test_a_pipeline_by_hand_that_is_none_is_a_problem_not_a_crash(pipeline):
    found = problems(Experiment(id="e", backend=BackendRef(id="b"), pipeline=pipeline))
    assert found
    assert all(problem.startswith("pipeline") for problem in found)


@pytest.mark.parametrize("name", [{}, [], [{}], True, None])
def test_a_name_that_is_none_is_a_problem_not_a_crash(name):
    stages = [StageDef(name=name, after=[name]), StageDef(name=name), StageDef(name="a")]
    found = problems(Experiment(id="e", backend=BackendRef(id="b"), pipeline=stages))
    assert [problem.partition(":")[0] for problem in found] == [
        "pipeline[0].name",
        "pipeline[0].after[0]",
        "pipeline[1].name",
    ]


@pytest.mark.parametrize(
    ("version", "is_good"), [("1.0.0", True), ("1.2.3-rc.1+x", True), ("1.0", False), ("v1.0.0", False)]
)
def test_a_version_begins_with_a_semantic_one(version, is_good):
    assert (problems(ModelVersion(id="v", model_id="m", version=version)) == []) is is_good


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (training.Run(id="r", config=None, status="done"), ["config: is required", "status: must be one of"]),
        (deployment.Config(id="d", model_version_id="v", replicas=0), ["replicas: must be at least 1, not 0"]),
        (deployment.Status(id="s", deployment_id="d", traffic_percent=101), ["traffic_percent: must be at most 100"]),
        (deployment.Status(id="s", deployment_id="d", state="up", health="ill"), ["state: must be", "health: must be"]),
        (feedback.Event(id="f", feedback_type="shout"), ["feedback_type: must be one of thumbs"]),
        (
            reliability.Ensemble(strategy="guess", min_agreement=-1),
            ["strategy: must be", "min_agreement: must be at least 0"],
        ),
        (reliability.Config(stats="x"), ["stats: must be a Stats, not 'x'"]),
        (backend.Options(response_format="json_schema"), ["json_schema: is required where response_format"]),
        (
            backend.Prompt(messages=[backend.Message(role="boss", content=3)]),
            ["messages[0].role: must", "messages[0].content: must"],
        ),
        (
            backend.Message(role="user", content=[{"type": "text"}, {"type": "smell"}]),
            ["content[1].type: must be one of text"],
        ),
        (backend.Prompt(tool_choice="always"), ["tool_choice: must be one of auto, none, required"]),
        (backend.Prompt(tool_choice={"name": "search"}), []),
        (backend.Completion(choices=[{"index": 0}]), ["choices[0]: must be a Choice, not {'index': 0}"]),
        (StageDef(name="a", after="load"), ["after: must be a list, not 'load'"]),
        (StageDef(name="a", options={"f": print}), []),
    ],
)
def test_a_part_tells_what_is_wrong_with_it(part, said):
    found = problems(part)
    assert len(found) == len(said)
    assert all(problem.startswith(beginning) for problem, beginning in zip(found, said, strict=True)), found


def test_stages_keep_the_order_of_the_plan_but_for_what_they_come_after():
    assert run_order({"a": ["c"], "b": [], "c": ["gone"], "d": ["a"]}) == ["b", "c", "a", "d"]
    with pytest.raises(ValueError, match="a -> b -> a"):
        run_order({"a": ["b"], "b": ["a"]})
    assert find_cycle({"a": ["b"], "b": ["c", "d"], "c": [], "d": ["b"]}) == ["b", "d", "b"]
    assert find_cycle({str(at): [str(at + 1)] for at in range(5_000)}) == []


@given(st.lists(st.sets(st.integers(0, 7)), max_size=8))
def test_each_time_the_first_stage_that_waits_for_nothing_more_is_next(after):
    waiting = {str(name): [str(other) for other in others] for name, others in enumerate(after)}
    left, expected = dict(waiting), []
    while following := next((name for name, others in left.items() if not set(others) & set(left)), None):
        expected.append(following)
        del left[following]
    if left:
        cycle = find_cycle(waiting)
        assert cycle[0] == cycle[-1]
        assert all(later in waiting[name] for name, later in pairwise(cycle))
        with pytest.raises(ValueError, match="each waits for the next"):
            run_order(waiting)
    else:
        assert (run_order(waiting), find_cycle(waiting)) == (expected, [])


def test_of_many_stages_the_first_are_named_where_one_is_unknown():
    stages = [{"name": f"s{at}", "after": ["nobody"]} for at in range(500)]
    found = problems(crucible.read_plan({"id": "e", "backend": {"id": "b"}, "pipeline": stages}))
    assert len(found) == 500
    first = ", ".join(f"s{at}" for at in range(20))
    assert found[0].endswith(f"no stage is called 'nobody'; there are {first} and 480 more")
