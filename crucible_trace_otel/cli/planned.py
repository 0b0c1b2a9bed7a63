"""What `crucible-trace show` says of a plan: each of its stages beside what really ran."""

from collections import Counter
from typing import Any, Final

from rich.text import Text

from crucible_trace_otel.cli.aligned import aligned
from crucible_trace_otel.renderers.words import duration, plain, quoted
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.trace.plans import PlannedStage, planned_experiments, planned_stages
from crucible_trace_otel.trace.spans import Trace, TraceSpan

__all__ = ["document", "sections", "verdicts"]

_STYLES: Final = {"failed": "bold red", "interrupted": "bold red", "not_reached": "yellow", "skipped": "dim"}


def verdicts(trace: Trace) -> list[Text]:
    """What came of each experiment, as its user or its runner says."""
    return [
        Text(f"verdict of {quoted(span.name, span.about)}: {plain(span.attributes[attr.CRUCIBLE_RUN_VERDICT])}")
        for span in trace.spans
        if span.operation == operations.EXPERIMENT and span.attributes.get(attr.CRUCIBLE_RUN_VERDICT)
    ]


def sections(trace: Trace) -> list[list[Text]]:
    """For each experiment with a plan its stages, in the order of the plan."""
    return [_section(trace, experiment) for experiment in planned_experiments(trace)]


def _section(trace: Trace, experiment: TraceSpan) -> list[Text]:
    stages = planned_stages(trace, experiment)
    counts = Counter(_said(stage.state) for stage in stages)
    counted = ", ".join(f"{count} {said}" for said, count in counts.items())
    title = Text(f"Plan of {quoted(experiment.name, experiment.about)}: {counted}", style="bold")
    lines = aligned([_cells(stage) for stage in stages])
    return [title, *(Text(f"  {line}", _STYLES.get(one.state, "")) for line, one in zip(lines, stages, strict=True))]


def _cells(stage: PlannedStage) -> tuple[str, ...]:
    tries = len(stage.attempts)
    return (
        plain(stage.name, 40),
        _said(stage.state),
        duration(stage.duration_s) if stage.duration_s else "",
        f"{tries} attempts" if tries > 1 else "",
        plain(stage.error),
    )


def _said(state: str) -> str:
    return state.replace("_", " ")


def document(trace: Trace) -> list[dict[str, Any]]:
    """The same, for programs."""
    return [
        {
            "experiment": experiment.span_id,
            "sha256": experiment.attributes.get(attr.CRUCIBLE_EXPERIMENT_PLAN_SHA256),
            "stages": [
                {
                    "name": stage.name,
                    "state": stage.state,
                    "attempts": [span.span_id for span in stage.attempts],
                    "duration_s": stage.duration_s,
                    "error": stage.error,
                }
                for stage in planned_stages(trace, experiment)
            ],
        }
        for experiment in planned_experiments(trace)
    ]
