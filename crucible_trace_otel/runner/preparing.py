"""All that can be wrong with a run of a plan is found before anything starts."""

import copy
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import ConfigurationError
from crucible_trace_otel.plan import Experiment, Problem, StageDef
from crucible_trace_otel.plan.order import run_order
from crucible_trace_otel.plan.paths import listed, shown
from crucible_trace_otel.runner.options import option_problems
from crucible_trace_otel.runner.stages import StageCode, code_of, refusal

__all__ = ["Prepared", "prepare"]

_MOST_RETRIES = 999_999


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
        """Run it once.

        Raises:
            TypeError: It gave a coroutine, which nobody would ever run.
        """
        call: Any = getattr(self.code, "run", self.code)
        value = call(context, _copied(self.options))
        if inspect.iscoroutine(value):
            value.close()
            raise TypeError(f"The stage {self.name!r} only made a coroutine; give a plain function that runs it.")
        return value


def prepare(plan: Experiment, stages: Mapping[str, StageCode], retries: int) -> list[Prepared]:
    """The stages that are to run, in the order in which they do.

    Args:
        plan: What is to run.
        stages: Code by the name or the module of a stage.
        retries: How many times a stage that says nothing about it is tried again.

    Raises:
        ConfigurationError: Something about the plan, the code or the options is wrong; the message says all of it.
    """
    if not isinstance(stages, Mapping):
        raise ConfigurationError(f"stages={shown(stages)} must map the names of stages to their code.")
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
            if times is not None and times > _MOST_RETRIES:
                problems.append(Problem(f"pipeline[{place}].retries", f"{shown(times)} is more than {_MOST_RETRIES:,}"))
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
        known = listed(stages) or "nothing"
        return given, [Problem(path, f"there is no code for {shown(stage.name)}; stages= has {known}")]
    if why := refusal(code):
        return given, [Problem(path, why)]
    describe = getattr(code, "describe", None)
    try:
        described = (describe(_copied(given)) if callable(describe) else None) or {}
        wrong = list(option_problems(given, described, f"{path}.options"))
        return {**(described.get("defaults") or {}), **given}, wrong
    except Exception as error:  # noqa: BLE001 - it may do anything, and return anything
        let_through(error)
        said = (
            f"what describe() says of {shown(stage.name)} cannot be used: {type(error).__name__}: {shown(str(error))}"
        )
        return given, [Problem(path, said)]


def _copied(options: dict[str, Any]) -> dict[str, Any]:
    """Options for one call: whatever that does with them, the plan and the next attempt have what was written."""
    try:
        return copy.deepcopy(options)
    except Exception as error:  # noqa: BLE001 - a plan by hand may hold anything, which then is what it is
        let_through(error)
        return dict(options)


def _said(plan: Experiment, problems: Sequence[Problem]) -> str:
    return "\n".join([f"The plan {shown(plan.id)} cannot be run:", *(f"  {problem}" for problem in problems)])
