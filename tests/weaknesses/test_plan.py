"""Weaknesses of the Elixir libraries around experiment plans, each shown not to be here."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.plan import BackendRef, Experiment, StageDef
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, said

FAILED_LOADING = "failed in load; 0 of 2 stages ran, 1 not reached"


def plan(*stages, **more):
    return {"id": "e", "backend": {"id": "b"}, "pipeline": list(stages), **more}


def test_f1_a_disabled_stage_is_not_run(recorded: Recording) -> None:
    ran: list[str] = []
    code = {name: lambda context, options, name=name: ran.append(name) for name in ("load", "augment")}
    crucible.run_plan(plan({"name": "load"}, {"name": "augment", "enabled": False}), code)
    assert ran == ["load"]
    skipped = recorded.one("stage augment")
    assert skipped.attributes[attr.CRUCIBLE_OPERATION_RESULT] == "skip"
    assert [event.name for event in skipped.events] == ["stage_skipped"]


def test_f2_a_stage_that_raises_leaves_no_run_running(tmp_path) -> None:
    def load(context, options):
        raise ValueError("no rows")

    with crucible.configure(journal=tmp_path / "j", ship="off"):
        with pytest.raises(ValueError, match="no rows"):
            crucible.run_plan(plan({"name": "load"}, {"name": "train"}), {"load": load, "train": load})
        trace = crucible.open_store(tmp_path / "j").latest()  # while the program still goes on
    assert not any(span.is_running for span in trace.spans)
    assert {span.status for span in trace.spans} == {"error"}
    assert [(stage.name, stage.state) for stage in crucible.planned_stages(trace)] == [
        ("load", "failed"),
        ("train", "not_reached"),
    ]
    assert trace.roots[0].attributes[attr.CRUCIBLE_RUN_VERDICT] == FAILED_LOADING


def test_f3_options_are_checked_before_a_stage_has_started(recorded: Recording) -> None:
    class Load:
        def describe(self, options):
            return {"required": ["path"], "types": {"path": "string"}}

        def run(self, context, options):
            pytest.fail("it ran")

    with pytest.raises(
        crucible.ConfigurationError, match=r"pipeline\[0\]\.options\.path: must be of type string, not 3"
    ):
        crucible.run_plan(plan({"name": "load", "options": {"path": 3}}), {"load": Load()})
    assert recorded.spans == []


def test_f4_options_that_no_json_can_hold_are_recorded_all_the_same(tmp_path) -> None:
    odd = {"scorer": len, "around": [], "raw": b"\xff", "not": float("nan")}
    odd["around"].append(odd)
    by_hand = Experiment(id="e", backend=BackendRef(id="b"), pipeline=[StageDef(name="load", options=odd)])
    with crucible.configure(journal=tmp_path / "j", ship="off"):
        crucible.run_plan(by_hand, {"load": lambda context, options: None})
    trace = crucible.open_store(tmp_path / "j").latest()
    config = json.loads(
        next(span for span in trace.spans if span.operation == "stage").attributes[attr.CRUCIBLE_STAGE_CONFIG]
    )
    assert (config["scorer"], config["raw"], config["not"]) == ("<built-in function len>", "/w==", "nan")
    assert json.loads(crucible.render(trace, "json"))


def test_f5_running_a_plan_needs_no_package_that_is_not_needed() -> None:
    code = (
        "import sys, crucible_trace_otel as c\n"
        "blocked = ('numpy', 'pandas', 'pyarrow', 'sklearn', 'matplotlib', 'rfc8785')\n"
        "sys.modules.update(dict.fromkeys(blocked))\n"
        "plan = {'id': 'e', 'backend': {'id': 'b'}, 'pipeline': [{'name': 'a'}]}\n"
        "assert c.run_plan(plan, {'a': lambda context, options: 1})['a'].value == 1\n"
        "assert 'opentelemetry.sdk' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_f6_all_metrics_are_kept_with_durations_ids_and_parents(recorded: Recording) -> None:
    reached = {f"metric_{number}": number / 2 for number in range(100)}

    def train(context, options):
        return reached

    crucible.run_plan(plan({"name": "train"}), {"train": train})
    experiment, pipeline, stage = recorded.spans
    template = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}."
    kept = {key.removeprefix(template): value for key, value in said(stage).items() if key.startswith(template)}
    kept |= {
        key.removeprefix(template): value for key, value in json.loads(said(stage)[attr.CRUCIBLE_OVERFLOW]).items()
    }
    assert kept == reached
    assert stage.end_time > stage.start_time
    assert stage.parent.span_id == pipeline.context.span_id
    assert pipeline.parent.span_id == experiment.context.span_id
    assert said(stage)[attr.CRUCIBLE_EXPERIMENT_ID] == "e"
    assert said(stage)[attr.CRUCIBLE_STAGE_ID] == said(stage)[attr.CRUCIBLE_EVENT_ID]


def test_i1_what_the_plan_documents_is_no_problem() -> None:
    tests = ["ttest", "paired_ttest", "bootstrap", "wilcoxon", "anova"]
    tests += ["mannwhitney", "mann_whitney", "kruskal", "kruskal_wallis"]
    strategies = ["off", "fixed", "percentile", "adaptive", "workload_aware", "exponential_backoff"]
    for strategy in strategies:
        reliability = {"hedging": {"strategy": strategy}, "stats": {"tests": tests}}
        assert crucible.read_plan(plan({"name": "load"}, reliability=reliability)).problems() == ()
    (problem,) = crucible.read_plan(plan({"name": "load"}, reliability={"hedging": {"strategy": "guess"}})).problems()
    assert problem.path == "reliability.hedging.strategy"


def test_i2_unknown_fields_are_kept_and_plain_objects_are_read() -> None:
    value = plan({"name": "never_seen_before", "owner": {"team": 1}}, backend={"id": "gpt", "region": "eu"}, x=[None])
    read = crucible.read_plan(value)
    assert read.problems() == ()
    assert json.loads(read.to_json()) == value
    assert (read.backend.id, read.pipeline[0].name) == ("gpt", "never_seen_before")
    nameless = Experiment(id="e", backend={"id": "b"}, pipeline=[StageDef(name="a")])  # type: ignore[arg-type]
    assert [str(problem) for problem in nameless.problems()] == ["backend: must be a BackendRef, not {'id': 'b'}"]


def test_c1_experiments_at_once_get_only_what_belongs_to_them(recorded: Recording) -> None:
    together = Barrier(4, timeout=10)

    def run(name: str) -> None:
        with crucible.experiment("threads", id=name):
            together.wait()
            with crucible.stage(f"of {name}"):
                together.wait()
                crucible.current_operation().set({})  # type: ignore[union-attr]

    async def task(name: str) -> None:
        with crucible.experiment("tasks", id=name):
            await asyncio.sleep(0)
            with crucible.stage(f"of {name}"):
                await asyncio.sleep(0)

    async def tasks() -> None:
        await asyncio.gather(*(task(f"task {number}") for number in range(4)))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(run, [f"thread {number}" for number in range(4)]))
    asyncio.run(tasks())
    stages = [span for span in recorded.spans if span.name.startswith("stage")]
    experiments = {
        span.context.span_id: said(span)[attr.CRUCIBLE_EXPERIMENT_ID] for span in recorded.named("experiment")
    }
    assert len(stages) == len(experiments) == 8
    for span in stages:
        own = span.name.removeprefix("stage of ")
        assert said(span)[attr.CRUCIBLE_EXPERIMENT_ID] == own == experiments[span.parent.span_id]
