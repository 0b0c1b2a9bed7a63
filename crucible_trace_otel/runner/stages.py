"""The code of a stage: a plain callable, or an object that can describe what it takes."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from crucible_trace_otel.plan import StageDef
from crucible_trace_otel.plan.paths import shown

__all__ = ["RunnableStage", "StageCode", "code_of", "refusal"]


class RunnableStage(Protocol):
    """A stage that can say which options it takes."""

    def run(self, context: Any, options: dict[str, Any]) -> Any:
        """Do the work.

        Args:
            context: What all stages of the run share.
            options: What the plan tells it, with the defaults it described; a copy for each attempt.

        Returns:
            Its result. The numbers of a mapping are recorded as metrics of the stage.
        """

    def describe(self, options: Mapping[str, Any]) -> Mapping[str, Any]:
        """Say which options it takes.

        Args:
            options: What the plan tells it.

        Returns:
            `required` and `optional`: lists of names; `types`: name to type (`string`, `integer`, `float`, `boolean`,
            `list`, `map`, `any`, a Python type, `{"enum": [...]}`, `{"list": type}`, `{"union": [...]}`); `defaults`:
            name to value. All of them may be left out.
        """


StageCode: TypeAlias = Callable[[Any, dict[str, Any]], Any] | RunnableStage


def code_of(stage: StageDef, stages: Mapping[str, StageCode]) -> StageCode | None:
    """The code for `stage`: by its name, else by its module."""
    return stages.get(stage.name, stages.get(stage.module or ""))


def refusal(code: object) -> str | None:
    """Why `code` cannot be run as a stage; None where it can."""
    run = getattr(code, "run", code)
    if isinstance(code, type):
        return f"{shown(code)} is a class; give an instance of it"
    if not callable(run):
        return f"{shown(code)} is neither callable nor has it a method run(context, options)"
    if any(map(_is_for_later, (run, run.__call__))):
        return f"{shown(code)} only makes something to be awaited or looped over; give a plain function that does that"
    return None


def _is_for_later(function: object) -> bool:
    """Whether calling it does nothing yet."""
    checks = (inspect.iscoroutinefunction, inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(check(function) for check in checks)
