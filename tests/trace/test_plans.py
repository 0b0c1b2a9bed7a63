"""The stages of a plan beside what a trace says was run."""

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import Result, RunState
from crucible_trace_otel.trace.plans import planned_experiments, planned_stages
from crucible_trace_otel.trace.spans import TraceEvent
from tests.trace.builders import START_NS, TraceBuilder, digits

NAMES = ("load", "off", "train", "cached", "evaluate", "killed", "now", "report")


def named(name, **attributes):
    return {attr.CRUCIBLE_STAGE_NAME: name, **attributes}


def test_each_planned_stage_is_told():
    build = TraceBuilder()
    experiment = build.add(spans.EXPERIMENT, "e", attributes={attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES: NAMES})
    skipped = TraceEvent(events.STAGE_SKIPPED, START_NS, named("off"))
    pipeline = build.add(spans.PIPELINE, "p", experiment, events=(skipped,))
    ok, bad = {attr.CRUCIBLE_OPERATION_RESULT: Result.SUCCESS}, {attr.CRUCIBLE_OPERATION_RESULT: Result.ERROR}
    load = build.add(spans.STAGE, "load", pipeline, 1, 2, attributes=named("load", **ok))
    build.add(
        spans.STAGE, "load", load, 1, 1, attributes=named("load", **bad)
    )  # a stage inside one is none of the plan
    build.add(spans.STAGE, "train", pipeline, 3, 1, attributes=named("train", **bad), status="error")
    build.add(spans.STAGE, "train", pipeline, 4, 2, attributes=named("train", **ok))
    build.add(
        spans.STAGE,
        "cached",
        pipeline,
        6,
        0,
        attributes=named("cached", **{attr.CRUCIBLE_OPERATION_RESULT: Result.SKIP}),
    )
    failed = {"status": "error", "status_message": "ValueError: no"}
    build.add(spans.STAGE, "evaluate", pipeline, 7, 1, attributes=named("evaluate", **bad), **failed)
    interrupted = {attr.CRUCIBLE_RUN_STATE: RunState.INTERRUPTED}
    build.add(spans.STAGE, "killed", pipeline, 8, 1, attributes=named("killed", **interrupted), status="error")
    build.add(
        spans.STAGE, "now", pipeline, 9, 1, attributes=named("now", **{attr.CRUCIBLE_RUN_STATE: RunState.RUNNING})
    )
    build.add(spans.STAGE, "unplanned", pipeline, 9, 1, attributes=named("unplanned", **ok))
    told = planned_stages(build.trace())
    assert [(one.name, one.state, len(one.attempts), one.duration_s, one.error) for one in told] == [
        ("load", "ran", 1, 2.0, ""),
        ("off", "skipped", 0, 0, ""),
        ("train", "ran", 2, 3.0, ""),
        ("cached", "skipped", 1, 0.0, ""),
        ("evaluate", "failed", 1, 1.0, "ValueError: no"),
        ("killed", "interrupted", 1, 1.0, ""),
        ("now", "running", 1, 1.0, ""),
        ("report", "not_reached", 0, 0, ""),
    ]


def test_two_experiments_of_one_trace_are_told_apart():
    build = TraceBuilder()
    first = build.add(spans.EXPERIMENT, "a", at=0, attributes={attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES: ("load",)})
    second = build.add(spans.EXPERIMENT, "b", first, 1, attributes={attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES: ("load",)})
    build.add(spans.STAGE, "load", second, 2, attributes=named("load"))
    trace = build.trace()
    assert [one.about for one in planned_experiments(trace)] == ["a", "b"]
    assert [planned_stages(trace, one)[0].state for one in planned_experiments(trace)] == ["not_reached", "ran"]


def test_a_trace_without_a_plan_has_none():
    assert planned_stages(digits()) == ()
    build = TraceBuilder()
    build.add(spans.EXPERIMENT, "odd", attributes={attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES: "load"})
    assert planned_stages(build.trace()) == ()
