"""A plan is run: its stages one after the other, each a span of one pipeline inside one experiment."""

import os
from collections.abc import Mapping, MutableMapping
from numbers import Real
from time import perf_counter
from typing import Any, Literal

from crucible_trace_otel.errors import ConfigurationError
from crucible_trace_otel.plan import Experiment as Plan
from crucible_trace_otel.plan import read_plan
from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record.experiment import Experiment, experiment
from crucible_trace_otel.record.pipeline import Pipeline, pipeline
from crucible_trace_otel.runner.preparing import Prepared, prepare
from crucible_trace_otel.runner.results import PlanResult, StageResult
from crucible_trace_otel.runner.stages import StageCode
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["run_plan"]


def run_plan(
    plan: Plan | str | bytes | os.PathLike[str] | Mapping[str, Any],
    stages: Mapping[str, StageCode],
    *,
    context: Any = None,
    hypothesis: str | None = None,
    condition: str | None = None,
    retries: int = 0,
    errors: Literal["raise", "return"] = "raise",
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> PlanResult:
    """Run the stages of a plan and record them: an experiment, in it a pipeline, in it each attempt of each stage.

    Stages run in the order of the plan, but for those that name others in `after`. One that is not enabled is left
    out. The first one that fails ends the run: it is recorded as failed, those behind it as not reached, and its
    exception goes on unchanged.

    Args:
        plan: What `read_plan()` returned, or takes.
        stages: Name or module of a stage to its code: a callable that is given `context` and the stage's options, or
            an object with `run(context, options)` and `describe(options)`: see `RunnableStage`. Numbers in a mapping
            that it returns are recorded as metrics of the stage.
        context: What all stages share; a new dictionary when not given. Where it is a dictionary, what a stage
            returns is put there under the stage's name, unless it returns None.
        hypothesis: What the experiment is to find out.
        condition: Which of its conditions this run belongs to: `baseline`.
        retries: How many times a stage that fails is tried again, where its own `retries` does not say.
        errors: `raise` lets the exception of a stage go on; `return` keeps it in the result.
        depends_on: Records the experiment rests on.
        links: Other causal links: link type to its target or targets.

    Raises:
        ConfigurationError: Something about the plan, the code of a stage or its options is wrong. All of it is said,
            and nothing has started.
        FormatError: `plan` is no JSON object, or holds something else where an object or a list has to be.
    """
    if errors not in ("raise", "return"):
        raise ConfigurationError(f"errors={errors!r} is neither 'raise' nor 'return'.")
    read = plan if isinstance(plan, Plan) else read_plan(plan)
    run = _Run(read, prepare(read, stages, retries), {} if context is None else context)
    recorded = experiment(read, hypothesis=hypothesis, condition=condition, depends_on=depends_on, links=links)
    try:
        with recorded:
            run.perform(recorded)
    except Exception as error:
        if errors == "raise" or error is not run.error:
            raise
    return run.result(recorded)


class _Run:
    """A run of a plan, while it goes on."""

    def __init__(self, plan: Plan, ready: list[Prepared], context: Any) -> None:
        self._plan = plan
        self._ready = ready
        self._context = context
        self._results = {
            stage.name: StageResult(stage.name, "not_reached" if stage.is_enabled else "skipped")
            for stage in plan.pipeline
        }
        self.error: BaseException | None = None

    def perform(self, recorded: Experiment) -> None:
        """Run every stage, until one fails."""
        try:
            with pipeline(self._plan.id) as running:
                self._skip(running)
                for stage in self._ready:
                    self._run(stage, running)
        finally:
            left = [name for name, one in self._results.items() if one.state == "not_reached"]
            recorded.set({attr.CRUCIBLE_EXPERIMENT_PLAN_NOT_REACHED: left or None})
            if not recorded.verdict:
                recorded.set_verdict(self.result(recorded).verdict)

    def result(self, recorded: Experiment) -> PlanResult:
        """What has become of it so far."""
        trace_id = f"{recorded.span_context.trace_id:032x}"
        return PlanResult(self._plan, tuple(self._results.values()), self._context, recorded.id, trace_id)

    def _skip(self, running: Pipeline) -> None:
        for stage in self._plan.pipeline:
            if not stage.is_enabled:
                running.skip_stage(stage.name, reason="not enabled in the plan")

    def _run(self, stage: Prepared, running: Pipeline) -> None:
        """Run a stage until it succeeds or has no attempt left."""
        started, number = perf_counter(), 0
        config, tries = stage.options or None, stage.retries + 1
        try:
            for attempt in running.attempts(stage.name, tries, config=config, after=stage.after or None):
                number = attempt.number
                with attempt as span:
                    value = stage.run(self._context)
                    span.set(metric_attributes(_numbers(value)))
                    if value is not None and isinstance(self._context, MutableMapping):
                        self._context[stage.name] = value
        except BaseException as error:
            took = perf_counter() - started
            self._results[stage.name] = StageResult(stage.name, "failed", None, number + 1, took, error)
            self.error = error
            raise
        took = perf_counter() - started
        self._results[stage.name] = StageResult(stage.name, "ran", value, number + 1, took)


def _none(_: Any) -> dict[Any, Any]:
    return {}


@guarded(_none)
def _numbers(value: Any) -> dict[Any, Any]:
    """The numbers in what a stage returned, all of them; flags are none."""
    if not isinstance(value, Mapping):
        return {}
    return {name: item for name, item in value.items() if isinstance(item, Real) and not isinstance(item, bool)}
