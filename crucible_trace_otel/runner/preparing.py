"""All that can be wrong with a run of a plan is found before anything starts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crucible_trace_otel.errors import ConfigurationError
from crucible_trace_otel.plan import Experiment, Problem, StageDef
from crucible_trace_otel.plan.order import run_order
from crucible_trace_otel.plan.paths import shown
from crucible_trace_otel.runner.options import option_problems
from crucible_trace_otel.runner.stages import StageCode, code_of, refusal

__all__ = ["Prepared", "prepare"]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A stage that is ready to run."""

    place: int
    """In the plan, from 0."""
    name: str
    code: StageCode | None
    options: dict[str, Any]
    after: tuple[str, ...]
    retries: int

    def run(self, context: Any) -> Any:
        """Run it once."""
        call: Any = getattr(self.code, "run", self.code)
        return call(context, self.options)


def prepare(plan: Experiment, stages: Mapping[str, StageCode], retries: int) -> list[Prepared]:
    """The stages that are to run, in the order in which they do.

    Args:
        plan: What is to run.
        stages: Code by the name or the module of a stage.
        retries: How many times a stage that says nothing about it is tried again.

    Raises:
        ConfigurationError: Something about the plan, the code or the options is wrong; the message says all of it.
    """
    problems = list(plan.problems())
    if isinstance(retries, bool) or not isinstance(retries, int) or retries < 0:
        problems.append(Problem("retries", f"must be a whole number, 0 or more, not {shown(retries)}"))
    if problems:
        raise ConfigurationError(_said(plan, problems))
    ready: dict[str, Prepared] = {}
    for place, stage in enumerate(plan.pipeline):
        if stage.is_enabled:
            code = code_of(stage, stages)
            options, wrong = _options(stage, code, stages, f"pipeline[{place}]")
            problems += wrong
            times = stage.retries if stage.says_retries else retries
            ready[stage.name] = Prepared(place, stage.name, code, options, tuple(stage.after or ()), times or 0)
    if problems:
        raise ConfigurationError(_said(plan, problems))
    order = run_order({stage.name: tuple(stage.after or ()) for stage in plan.pipeline})
    return [ready[name] for name in order if name in ready]


def _options(
    stage: StageDef, code: StageCode | None, stages: Mapping[str, StageCode], path: str
) -> tuple[dict[str, Any], list[Problem]]:
    """What the stage is told, with the defaults it described, and what is wrong with that or with its code."""
    given = dict(stage.options or {})
    if code is None:
        known = ", ".join(map(str, stages)) or "nothing"
        return given, [Problem(path, f"there is no code for {shown(stage.name)}; stages= has {known}")]
    if why := refusal(code):
        return given, [Problem(path, why)]
    describe = getattr(code, "describe", None)
    described = (describe(given) if callable(describe) else None) or {}
    return {**(described.get("defaults") or {}), **given}, list(option_problems(given, described, f"{path}.options"))


def _said(plan: Experiment, problems: Sequence[Problem]) -> str:
    return "\n".join([f"The plan {shown(plan.id)} cannot be run:", *(f"  {problem}" for problem in problems)])
