"""A plan is run and recorded."""

import asyncio

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.errors import ConfigurationError, FormatError, NotFoundError
from crucible_trace_otel.plan import BackendRef, Experiment, StageDef
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.trace.plans import planned_stages
from tests.record.reading import Recording, node, said

RESULT, INDEX, ATTEMPT = attr.CRUCIBLE_OPERATION_RESULT, attr.CRUCIBLE_STAGE_INDEX, attr.CRUCIBLE_STAGE_ATTEMPT


def plan(*stages, **more):
    return {"id": "digits", "backend": {"id": "numpy"}, "pipeline": list(stages), **more}


def nothing(context, options):
    return None


class Training:
    """A stage that says which options it takes."""

    def __init__(self):
        self.told = None

    def describe(self, options):
        return {
            "required": ["epochs"],
            "types": {
                "epochs": int,
                "rate": "float",
                "optimizer": {"enum": ["adam", "sgd"]},
                "sizes": {"list": "integer"},
                "device": {"union": ["string", "boolean"]},
            },
            "defaults": {"rate": 0.1},
        }

    def run(self, context, options):
        self.told = options


def test_stages_run_in_order_and_are_recorded(recorded: Recording) -> None:
    read = crucible.read_plan(
        plan(
            {"name": "train", "after": ["load"], "options": {"rate": 0.1}},
            {"name": "augment", "enabled": False},
            {"name": "load", "module": "rows"},
        )
    )
    code = {
        "train": lambda context, options: {"loss": 0.5, "rows": context["load"], "good": True},
        "rows": lambda *_: 7,
    }
    result = crucible.run_plan(read, code, hypothesis="it learns", condition="baseline")
    assert [(one.name, one.state, one.value, one.attempts) for one in result.stages] == [
        ("train", "ran", {"loss": 0.5, "rows": 7, "good": True}, 1),
        ("augment", "skipped", None, 0),
        ("load", "ran", 7, 1),
    ]
    assert result.context == {"load": 7, "train": {"loss": 0.5, "rows": 7, "good": True}}
    assert (result.error, result.verdict) == (None, "completed; 2 of 3 stages ran, 1 skipped")
    assert repr(result) == "PlanResult('digits', 'completed; 2 of 3 stages ran, 1 skipped')"
    loss, rows = (f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.{name}" for name in ("loss", "rows"))
    experiment = {
        attr.CRUCIBLE_EXPERIMENT_ID: "digits",
        attr.CRUCIBLE_EXPERIMENT_NAME: "digits",
        attr.CRUCIBLE_EXPERIMENT_HYPOTHESIS: "it learns",
        attr.CRUCIBLE_EXPERIMENT_CONDITION: "baseline",
        attr.CRUCIBLE_EXPERIMENT_PLAN_SHA256: read.sha256,
        attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES: ("train", "augment", "load"),
        attr.CRUCIBLE_RUN_VERDICT: "completed; 2 of 3 stages ran, 1 skipped",
        RESULT: "success",
    }
    of_all = {attr.CRUCIBLE_EXPERIMENT_ID: "digits", RESULT: "success"}
    shown = (
        *experiment,
        attr.CRUCIBLE_EXPERIMENT_PLAN_NOT_REACHED,
        attr.CRUCIBLE_STAGE_CONFIG,
        INDEX,
        ATTEMPT,
        loss,
        rows,
    )
    assert recorded.tree(*shown) == node(
        "experiment",
        "digits",
        node(
            "pipeline digits",
            "digits",
            node("stage augment", "augment", attributes={**of_all, RESULT: "skip", INDEX: 0}, events=["stage_skipped"]),
            node("stage load", "load", attributes={**of_all, INDEX: 1, ATTEMPT: 0}),
            node(
                "stage train",
                "train",
                attributes={
                    **of_all, INDEX: 2, ATTEMPT: 0, loss: 0.5, rows: 7.0, attr.CRUCIBLE_STAGE_CONFIG: '{"rate": 0.1}',
                },
                links=["depends_on: stage load: load"],
            ),
            attributes=of_all,
        ),
        attributes=experiment,
    )  # fmt: skip
    assert result.trace_id == f"{recorded.one('experiment').context.trace_id:032x}"


def test_a_stage_that_fails_ends_the_run_and_its_exception_goes_on_unchanged(recorded: Recording) -> None:
    failure = ValueError("no rows")

    def load(context, options):
        raise failure

    stages = plan({"name": "load"}, {"name": "off", "enabled": False}, {"name": "train"}, {"name": "report"})
    with pytest.raises(ValueError, match="no rows") as raised:
        crucible.run_plan(stages, {"load": load, "train": nothing, "report": nothing})
    assert raised.value is failure
    error = "ValueError: no rows"
    assert recorded.tree() == node(
        "experiment",
        "digits",
        node(
            "pipeline digits",
            "digits",
            node("stage off", "off", events=["stage_skipped"]),
            node("stage load", "load", error=error, events=["exception"]),
            error=error,
        ),
        error=error,
    )
    experiment = said(recorded.one("experiment"))
    assert experiment[attr.CRUCIBLE_EXPERIMENT_PLAN_NOT_REACHED] == ("train", "report")
    assert experiment[attr.CRUCIBLE_RUN_VERDICT] == "failed in load; 0 of 4 stages ran, 1 skipped, 2 not reached"


def test_by_choice_the_result_says_what_failed(recorded: Recording) -> None:
    def load(context, options):
        raise ValueError("no rows")

    result = crucible.run_plan(
        plan({"name": "load"}, {"name": "train"}), {"load": load, "train": nothing}, errors="return"
    )
    assert [one.state for one in result.stages] == ["failed", "not_reached"]
    assert result["load"].error is result.error
    assert str(result.error) == "no rows"
    with pytest.raises(NotFoundError, match=r"No stage is called 'x'; there are load, train."):
        result["x"]


def test_what_ends_the_program_is_never_kept_back(recorded: Recording) -> None:
    def load(context, options):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        crucible.run_plan(
            plan({"name": "load"}, {"name": "b"}), {"load": load, "b": nothing}, retries=3, errors="return"
        )
    assert [span.name for span in recorded.spans] == ["experiment", "pipeline digits", "stage load"]
    assert said(recorded.one("experiment"))[attr.CRUCIBLE_EXPERIMENT_PLAN_NOT_REACHED] == ("b",)


def test_a_stage_is_tried_again_as_often_as_it_or_the_call_says(recorded: Recording) -> None:
    tried = {"a": 0, "b": 0, "c": 0}

    def flaky(name, failures):
        def run(context, options):
            tried[name] += 1
            if tried[name] <= failures:
                raise OSError(f"{name} {tried[name]}")
            return name

        return run

    stages = plan({"name": "a"}, {"name": "b", "retries": 1}, {"name": "c", "retries": 0})
    code = {"a": flaky("a", 2), "b": flaky("b", 1), "c": flaky("c", 1)}
    result = crucible.run_plan(stages, code, retries=2, errors="return")
    assert [(one.state, one.attempts) for one in result.stages] == [("ran", 3), ("ran", 2), ("failed", 1)]
    links = [[link.attributes[attr.CRUCIBLE_LINK_TYPE] for link in span.links] for span in recorded.named("stage a")]
    assert links == [[], ["retried_from"], ["retried_from"]]
    assert [(said(span)[INDEX], said(span)[ATTEMPT]) for span in recorded.spans if span.name.startswith("stage")] == [
        (0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0),
    ]  # fmt: skip
    retried = [event for event in recorded.one("pipeline digits").events if event.name == "stage_retried"]
    assert [(one.attributes[attr.CRUCIBLE_STAGE_NAME], one.attributes[ATTEMPT]) for one in retried] == [
        ("a", 1), ("a", 2), ("b", 1),
    ]  # fmt: skip
    assert {one.attributes[attr.ERROR_TYPE] for one in retried} == {"OSError"}


def test_one_exception_object_raised_by_each_attempt_is_recorded_on_each(recorded: Recording) -> None:
    failure = OSError("always")

    def load(context, options):
        raise failure

    crucible.run_plan(plan({"name": "load"}), {"load": load}, retries=1, errors="return")
    assert [[event.name for event in span.events] for span in recorded.named("stage load")] == [["exception"]] * 2


def test_options_are_checked_and_completed_by_what_the_stage_describes(recorded: Recording) -> None:
    training = Training()
    crucible.run_plan(plan({"name": "t", "options": {"epochs": 3, "rate": 1, "mine": {}}}), {"t": training})
    assert training.told == {"rate": 1, "epochs": 3, "mine": {}}
    wrong = {"rate": "fast", "optimizer": "x", "sizes": [1, True], "device": 3}
    with pytest.raises(ConfigurationError) as refused:
        crucible.run_plan(plan({"name": "t", "options": wrong}), {"t": training})
    assert str(refused.value).splitlines() == [
        "The plan 'digits' cannot be run:",
        "  pipeline[0].options.epochs: is required by the stage",
        "  pipeline[0].options.rate: must be of type float, not 'fast'",
        "  pipeline[0].options.optimizer: must be one of 'adam', 'sgd', not 'x'",
        "  pipeline[0].options.sizes: must be a list, each item of type integer, not [1, True]",
        "  pipeline[0].options.device: must be of type string or of type boolean, not 3",
    ]


def test_all_that_is_wrong_is_said_before_anything_starts(recorded: Recording) -> None:
    async def later(context, options):
        await asyncio.sleep(0)

    stages = plan({"name": "load"}, {"name": "train"}, {"name": "serve"}, {"name": "report"}, {"name": "ok"})
    code = {"load": later, "train": 3, "serve": Training, "ok": lambda *_: pytest.fail("it ran")}
    with pytest.raises(ConfigurationError) as refused:
        crucible.run_plan(stages, code)
    first, *problems = str(refused.value).splitlines()
    assert first == "The plan 'digits' cannot be run:"
    assert [line.partition(": ")[0] for line in problems] == [f"  pipeline[{place}]" for place in range(4)]
    assert "only makes something to be awaited" in problems[0]
    assert "3 is neither callable nor has it a method run(context, options)" in problems[1]
    assert "is a class; give an instance of it" in problems[2]
    assert "there is no code for 'report'; stages= has load, train, serve, ok" in problems[3]
    assert recorded.spans == []


@pytest.mark.parametrize(
    ("bad", "more", "error", "message"),
    [
        (plan({"name": "a", "after": ["b"]}, {"name": "b", "after": ["a"]}), {}, ConfigurationError, "a -> b -> a"),
        (plan({"name": "a", "retries": "x"}), {}, ConfigurationError, r"pipeline\[0\].retries: must be a whole number"),
        (
            plan({"name": "a"}),
            {"retries": -1},
            ConfigurationError,
            "retries: must be a whole number, 0 or more, not -1",
        ),
        (plan({"name": "a", "retries": 10**6}), {}, ConfigurationError, r"pipeline\[0\].retries: 1000000 is more than"),
        (plan({"name": "a"}), {"retries": 10**30}, ConfigurationError, r"pipeline\[0\].retries: 10+ is more than"),
        (plan({"name": "a"}), {"errors": "ignore"}, ConfigurationError, "errors='ignore' is neither"),
        ({"pipeline": 1}, {}, FormatError, "pipeline: 1 is no list"),
        ("nowhere.json", {}, ConfigurationError, "cannot be read"),
    ],
)
def test_what_cannot_be_run_is_refused(recorded: Recording, bad, more, error, message) -> None:
    with pytest.raises(error, match=message):
        crucible.run_plan(bad, {"a": nothing, "b": nothing}, **more)
    assert recorded.spans == []


def test_a_context_of_the_callers_own_is_passed_on(recorded: Recording) -> None:
    own, seen = object(), []
    result = crucible.run_plan(plan({"name": "a"}), {"a": lambda context, options: seen.append(context)}, context=own)
    assert seen == [own]
    assert result.context is own


def test_it_runs_where_nothing_records() -> None:
    result = crucible.run_plan(plan({"name": "a"}), {"a": lambda *_: 3})
    assert (result["a"].value, result.trace_id) == (3, "0" * 32)


def test_work_inside_a_stage_lies_below_it(recorded: Recording) -> None:
    def train(context, options):
        with crucible.training_run("softmax") as run:
            run.record_step(loss=1.0)

    crucible.run_plan(plan({"name": "train"}), {"train": train})
    run, stage = recorded.one("training_run"), recorded.one("stage train")
    assert run.parent.span_id == stage.context.span_id
    assert said(run)[attr.CRUCIBLE_EXPERIMENT_ID] == "digits"
    assert said(run)[attr.CRUCIBLE_STAGE_ID] == said(stage)[attr.CRUCIBLE_EVENT_ID]


def test_two_runs_of_a_plan_have_one_hash_and_another_plan_another(recorded: Recording) -> None:
    for rate in (1, 1.0, 2):
        crucible.run_plan(plan({"name": "a", "options": {"rate": rate}}), {"a": nothing})
    first, second, other = (said(span)[attr.CRUCIBLE_EXPERIMENT_PLAN_SHA256] for span in recorded.named("experiment"))
    assert first == second != other


def test_a_plan_by_hand_without_json_runs_without_a_hash(recorded: Recording, warned) -> None:
    by_hand = Experiment(id="e", backend=BackendRef(id="b"), pipeline=[StageDef(name="a", options={"f": len})])
    result = crucible.run_plan(by_hand, {"a": lambda context, options: options["f"]("abc")})
    assert result["a"].value == 3
    assert attr.CRUCIBLE_EXPERIMENT_PLAN_SHA256 not in said(recorded.one("experiment"))
    assert len(warned) == 1


def test_a_result_that_cannot_be_looked_into_fails_no_stage(recorded: Recording, warned) -> None:
    class Broken(dict):
        def items(self):
            raise RuntimeError("no items")

    broken = Broken(loss=1.0)
    result = crucible.run_plan(plan({"name": "a"}), {"a": lambda *_: broken})
    assert (result["a"].state, result["a"].value) == ("ran", broken)
    assert len(warned) == 1


def test_numbers_of_numpy_are_metrics_too(recorded: Recording) -> None:
    numpy = pytest.importorskip("numpy")
    reached = {"loss": numpy.float32(0.5), "rows": numpy.int64(3), "image": numpy.zeros(4), "name": "x", "ok": True}
    crucible.run_plan(plan({"name": "a"}), {"a": lambda *_: reached})
    template = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}."
    kept = {
        key.removeprefix(template): value for key, value in said(recorded.one("stage a")).items() if template in key
    }
    assert kept == {"loss": 0.5, "rows": 3.0}


class Described:
    """A stage that says of itself what it is told to say."""

    def __init__(self, said):
        self.said = said

    def describe(self, options):
        options.clear()  # what it does with them is its own affair
        if isinstance(self.said, Exception):
            raise self.said
        return self.said

    def run(self, context, options):
        return options


@pytest.mark.parametrize(
    "said_of_it",
    [
        ValueError("no words"), [1], "x", 5, {"required": 5}, {"required": [[1]]}, {"types": 5}, {"defaults": [1]},
        {"types": {"a": [1]}}, {"types": {"a": {"enum": 5}}}, {"types": {"a": {"union": 5}}},
    ],
    ids=repr,
)  # fmt: skip
def test_a_description_that_is_none_is_a_problem_of_the_plan(recorded: Recording, said_of_it) -> None:
    with pytest.raises(ConfigurationError, match=r"pipeline\[0\]: what describe\(\) says of 'a' cannot be used: "):
        crucible.run_plan(plan({"name": "a", "options": {"a": 1}}), {"a": Described(said_of_it)})
    assert recorded.spans == []


def test_one_required_option_may_stand_alone(recorded: Recording) -> None:
    with pytest.raises(ConfigurationError, match=r"pipeline\[0\].options.rate: is required by the stage"):
        crucible.run_plan(plan({"name": "a"}), {"a": Described({"required": "rate"})})


@pytest.mark.parametrize("stages", [None, [nothing], "a"])
def test_code_without_names_is_refused(recorded: Recording, stages) -> None:
    with pytest.raises(ConfigurationError, match="must map the names of stages to their code"):
        crucible.run_plan(plan({"name": "a"}), stages)


def test_a_refusal_of_many_stages_does_not_name_them_all_each_time(recorded: Recording) -> None:
    with pytest.raises(ConfigurationError, match=r"stages= has 0, .*, 19 and 980 more") as refused:
        crucible.run_plan(plan(*({"name": f"s{at}"} for at in range(1_000))), {str(at): nothing for at in range(1_000)})
    assert len(str(refused.value)) < 200_000


def test_what_a_stage_does_with_its_options_reaches_neither_the_plan_nor_the_next_attempt(recorded: Recording) -> None:
    told = []

    def greedy(context, options):
        told.append((options.pop("seed"), list(options["layers"])))
        options["layers"].append("one more")
        if len(told) < 3:
            raise OSError("no route")

    read = crucible.read_plan(plan({"name": "a", "retries": 5, "options": {"seed": 1, "layers": ["in"]}}))
    before = read.to_json()
    crucible.run_plan(read, {"a": greedy})
    assert told == [(1, ["in"])] * 3
    assert read.to_json() == before
    configs = {said(span)[attr.CRUCIBLE_STAGE_CONFIG] for span in recorded.named("stage a")}
    assert configs == {'{"seed": 1, "layers": ["in"]}'}


def test_a_stage_that_only_makes_a_coroutine_has_not_run(recorded: Recording) -> None:
    async def later():
        pytest.fail("it ran")

    class Later:
        async def __call__(self, context, options):
            pytest.fail("it ran")

    with pytest.raises(TypeError, match="The stage 'a' only made a coroutine"):
        crucible.run_plan(plan({"name": "a"}), {"a": lambda *_: later()})
    assert said(recorded.one("stage a"))[RESULT] == "error"
    with pytest.raises(ConfigurationError, match="only makes something to be awaited"):
        crucible.run_plan(plan({"name": "a"}), {"a": Later()})


def test_of_a_plan_with_more_stages_than_an_attribute_holds_none_is_lost(tmp_path) -> None:
    names = [f"s{at}" for at in range(1_100)]
    code = dict.fromkeys(names, nothing) | {"s1090": lambda *_: 1 / 0}
    with crucible.configure(journal=tmp_path, ship="off"):
        crucible.run_plan(plan(*({"name": name, "enabled": name != "s1080"} for name in names)), code, errors="return")
    told = planned_stages(crucible.open_store(tmp_path).latest())
    assert {stage.name for stage in told} == set(names)
    assert [stage.name for stage in told if stage.state == "skipped"] == ["s1080"]
    assert [stage.name for stage in told if stage.state == "failed"] == ["s1090"]
    assert [stage.name for stage in told if stage.state == "not_reached"] == names[1_091:]
