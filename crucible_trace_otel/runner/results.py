"""What became of a run of a plan, stage by stage."""

from dataclasses import dataclass
from typing import Any, Literal

from crucible_trace_otel.errors import NotFoundError
from crucible_trace_otel.plan import Experiment
from crucible_trace_otel.plan.paths import listed

__all__ = ["PlanResult", "StageResult", "StageState"]

StageState = Literal["ran", "failed", "skipped", "not_reached"]


@dataclass(frozen=True, slots=True)
class StageResult:
    """What became of a stage."""

    name: str
    state: StageState
    """`skipped` where the plan does not enable it, `not_reached` where an earlier one failed."""
    value: Any = None
    """What it returned."""
    attempts: int = 0
    duration_s: float = 0.0
    """Seconds, over all attempts."""
    error: BaseException | None = None
    """What the last attempt raised."""


@dataclass(frozen=True, slots=True, repr=False)
class PlanResult:
    """What became of a run of a plan."""

    plan: Experiment
    stages: tuple[StageResult, ...]
    """Every stage, in the order of the plan."""
    context: Any
    """What the stages shared."""
    experiment_id: str
    trace_id: str
    """32 hex digits; all zeros where nothing was recorded."""

    def __repr__(self) -> str:
        return f"PlanResult({self.plan.id!r}, {self.verdict!r})"

    def __getitem__(self, name: str) -> StageResult:
        """What became of the stage `name`.

        Raises:
            NotFoundError: The plan has no such stage.
        """
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise NotFoundError(f"No stage is called {name!r}; there are {listed(one.name for one in self.stages)}.")

    @property
    def error(self) -> BaseException | None:
        """What ended the run; None where it came to its end."""
        return next((stage.error for stage in self.stages if stage.state == "failed"), None)

    @property
    def verdict(self) -> str:
        """It in a sentence: `failed in evaluate; 2 of 5 stages ran, 1 skipped, 1 not reached`."""
        by_state = {state: [one.name for one in self.stages if one.state == state] for state in _STATES}
        counted = [f"{len(by_state['ran'])} of {len(self.stages)} stages ran"]
        counted += [f"{len(by_state[state])} {said}" for state, said in _SAID.items() if by_state[state]]
        ended = f"failed in {', '.join(by_state['failed'])}" if by_state["failed"] else "completed"
        return f"{ended}; {', '.join(counted)}"


_STATES = ("ran", "failed", "skipped", "not_reached")
_SAID = {"skipped": "skipped", "not_reached": "not reached"}
