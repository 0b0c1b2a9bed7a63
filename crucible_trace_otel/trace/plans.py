"""What a plan wanted, beside what a trace says was run."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import Result, RunState
from crucible_trace_otel.trace.spans import Trace, TraceSpan, enclosing

__all__ = ["PlannedStage", "PlannedState", "planned_experiments", "planned_stages"]

PlannedState = Literal["ran", "failed", "skipped", "not_reached", "running", "interrupted"]


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """A stage of a plan, and what became of it."""

    name: str
    state: PlannedState
    """`skipped` where it was left out on purpose, `not_reached` where nothing says that it began."""
    attempts: tuple[TraceSpan, ...] = ()
    """Each time it ran, in order."""

    @property
    def duration_s(self) -> float:
        """Seconds that its attempts took together."""
        return sum(span.duration_s for span in self.attempts)

    @property
    def error(self) -> str:
        """What its last attempt failed with; empty where it did not."""
        return self.attempts[-1].status_message if self.state == "failed" else ""


def planned_experiments(trace: Trace) -> tuple[TraceSpan, ...]:
    """The experiments in `trace` that say what was planned, in order of their start."""
    return tuple(
        span
        for span in trace.spans
        if span.operation == operations.EXPERIMENT and attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES in span.attributes
    )


def planned_stages(trace: Trace, experiment: TraceSpan | None = None) -> tuple[PlannedStage, ...]:
    """The stages of a plan beside what was run of them, in the order of the plan; empty where there was no plan.

    Args:
        trace: The trace of the run.
        experiment: The span of the experiment; the first one in the trace that had a plan when not given.
    """
    planned = planned_experiments(trace)
    experiment = experiment or (planned[0] if planned else None)
    if experiment is None:
        return ()
    ran: dict[str, list[TraceSpan]] = {}
    skipped: dict[str, bool] = {}
    for span in trace.spans:
        if _belongs(trace, span, experiment):
            if span.operation == operations.STAGE:
                ran.setdefault(str(span.attributes.get(attr.CRUCIBLE_STAGE_NAME, "")), []).append(span)
            skipped |= dict.fromkeys(_skipped_on(span), True)
    names = _texts(experiment.attributes.get(attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES))
    if isinstance(experiment.attributes.get(attr.CRUCIBLE_EXPERIMENT_PLAN_STAGES), str):  # the first thousand alone
        unreached = _texts(experiment.attributes.get(attr.CRUCIBLE_EXPERIMENT_PLAN_NOT_REACHED))
        names = list(dict.fromkeys([*names, *ran, *skipped, *unreached]))
    return tuple(_became(name, tuple(ran.get(name, ())), is_skipped=name in skipped) for name in names)


def _belongs(trace: Trace, span: TraceSpan, experiment: TraceSpan) -> bool:
    """Whether `span` is a pipeline or a stage of `experiment` itself, not of what runs inside one of its stages."""
    if span.operation not in (operations.PIPELINE, operations.STAGE):
        return False
    for around in list(enclosing(span, trace.by_id.get))[1:]:
        if around.span_id == experiment.span_id:
            return True
        if around.operation in (operations.STAGE, operations.EXPERIMENT):
            return False
    return False


def _skipped_on(span: TraceSpan) -> list[str]:
    return [
        str(event.attributes.get(attr.CRUCIBLE_STAGE_NAME, ""))
        for event in span.events
        if event.name == events.STAGE_SKIPPED
    ]


def _became(name: str, attempts: tuple[TraceSpan, ...], *, is_skipped: bool) -> PlannedStage:
    if not attempts:
        return PlannedStage(name, "skipped" if is_skipped else "not_reached")
    last = attempts[-1]
    result = last.attributes.get(attr.CRUCIBLE_OPERATION_RESULT)
    if last.is_running:
        return PlannedStage(name, "running", attempts)
    if last.attributes.get(attr.CRUCIBLE_RUN_STATE) == RunState.INTERRUPTED:
        return PlannedStage(name, "interrupted", attempts)
    if result == Result.SKIP:
        return PlannedStage(name, "skipped", attempts)
    has_failed = last.status == "error" or result not in (None, Result.SUCCESS)
    return PlannedStage(name, "failed" if has_failed else "ran", attempts)


def _texts(value: Any) -> Iterable[str]:
    """The names in an attribute: of more than a thousand it is JSON that says at its end how many more there are."""
    if isinstance(value, str):
        try:
            found = json.loads(value)
        except (ValueError, RecursionError):
            return []
        value = found[:-1] if isinstance(found, list) else ()
    return [str(item) for item in value] if isinstance(value, (list, tuple)) else []
