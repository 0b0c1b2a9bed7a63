"""What a trace says of training: attempts at a run, epochs with their validations, checkpoints, abnormal steps."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.trace.spans import Trace, TraceSpan, enclosing
from crucible_trace_otel.trace.steps import StepRows

__all__ = [
    "AbnormalTold",
    "Checkpoint",
    "EpochTold",
    "RunAttempt",
    "abnormal_steps",
    "attempts",
    "checkpoints",
    "epochs",
    "run_of",
    "training_runs",
]


@dataclass(frozen=True, slots=True)
class RunAttempt:
    """One of several attempts at a training run."""

    span: TraceSpan
    number: int
    steps: int
    repeated: int
    """How many of the steps an earlier attempt had done before."""


@dataclass(frozen=True, slots=True)
class EpochTold:
    """An epoch and the validations in it."""

    span: TraceSpan
    index: Any
    validations: tuple[TraceSpan, ...]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was saved."""

    span: TraceSpan
    path: str
    step: Any
    epoch: Any
    sha256: str
    """Empty where it is not known."""
    is_best: bool
    """Whether it was called the best so far, and no later one of its run was."""
    is_deleted: bool
    """Whether it was recorded as deleted later on."""


@dataclass(frozen=True, slots=True)
class AbnormalTold:
    """Something that was abnormal about a step; what is not known is None."""

    span: TraceSpan
    """What the step was recorded on."""
    time_ns: int
    step: Any
    epoch: Any
    kind: str
    column: str
    value: Any
    expected: Any


def training_runs(trace: Trace) -> tuple[TraceSpan, ...]:
    """The training runs in `trace`, in order of their start; each attempt is one."""
    return tuple(span for span in trace.spans if span.operation == operations.TRAINING_RUN)


def run_of(trace: Trace, span: TraceSpan) -> TraceSpan | None:
    """The training run that `span` belongs to."""
    return next((one for one in enclosing(span, trace.by_id.get) if one.operation == operations.TRAINING_RUN), None)


def attempts(trace: Trace, steps: StepRows) -> tuple[RunAttempt, ...]:
    """The attempts at runs of which there are several, those of one run after those of another, by their number.

    Args:
        trace: A trace with all attempts.
        steps: All its steps.
    """
    counts = {
        attempt.span_id: (len(attempt.rows), repeated)
        for attempt, repeated in zip(steps.attempts, steps.repeated, strict=True)
    }
    found: dict[str, dict[int, TraceSpan]] = {}
    for span in training_runs(trace):
        number = span.attributes.get(attr.CRUCIBLE_RUN_ATTEMPT)
        if type(number) is int:  # of several spans of one attempt the first tells
            found.setdefault(str(span.attributes.get(attr.CRUCIBLE_RUN_ID)), {}).setdefault(number, span)
    return tuple(
        RunAttempt(span, number, *counts.get(span.span_id, (0, 0)))
        for of_run in found.values()
        if len(of_run) > 1
        for number, span in sorted(of_run.items())
    )


def epochs(trace: Trace) -> tuple[EpochTold, ...]:
    """Every epoch, in order of its start."""
    inside: dict[str, list[TraceSpan]] = {}
    for span in trace.spans:
        if span.operation == operations.VALIDATION_RUN:
            inside.setdefault(span.parent_id or "", []).append(span)
    return tuple(
        EpochTold(span, span.attributes.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX), tuple(inside.get(span.span_id, ())))
        for span in trace.spans
        if span.operation == operations.EPOCH
    )


def checkpoints(trace: Trace) -> tuple[Checkpoint, ...]:
    """Every saved checkpoint, in order of its saving."""
    saved = [span for span in trace.spans if span.operation == operations.CHECKPOINT_SAVE]
    best: dict[str, str] = {}
    for span in saved:
        if span.attributes.get(attr.CRUCIBLE_CHECKPOINT_BEST):
            best[_run_id(trace, span)] = span.span_id
    deleted = dict(_deleted(trace.spans))
    told = []
    for span in saved:
        path = str(span.attributes.get(attr.CRUCIBLE_CHECKPOINT_PATH, span.about))
        told.append(
            Checkpoint(
                span,
                path,
                step=span.attributes.get(attr.CRUCIBLE_CHECKPOINT_STEP),
                epoch=span.attributes.get(attr.CRUCIBLE_CHECKPOINT_EPOCH, _epoch_of(trace, span)),
                sha256=str(span.attributes.get(attr.CRUCIBLE_CHECKPOINT_SHA256, "")),
                is_best=best.get(_run_id(trace, span)) == span.span_id,
                is_deleted=deleted.get(path, -1) >= span.end_ns,
            )
        )
    return tuple(told)


def abnormal_steps(trace: Trace) -> tuple[AbnormalTold, ...]:
    """Every step that was found abnormal, in order of time."""
    found = [
        AbnormalTold(
            span,
            event.time_ns,
            step=event.attributes.get(attr.CRUCIBLE_TRAINING_STEP_INDEX),
            epoch=event.attributes.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX, _epoch_of(trace, span)),
            kind=str(event.attributes.get(attr.CRUCIBLE_ABNORMAL_KIND, "")),
            column=str(event.attributes.get(attr.CRUCIBLE_ABNORMAL_COLUMN, "")),
            value=event.attributes.get(attr.CRUCIBLE_ABNORMAL_VALUE),
            expected=event.attributes.get(attr.CRUCIBLE_ABNORMAL_EXPECTED),
        )
        for span in trace.spans
        for event in span.events
        if event.name == events.STEP_ABNORMAL
    ]
    return tuple(sorted(found, key=lambda one: one.time_ns))


def _deleted(spans: Iterable[TraceSpan]) -> Iterator[tuple[str, int]]:
    """The path of each checkpoint that was deleted, and when."""
    for span in spans:
        for event in span.events:
            if event.name == events.CHECKPOINT_DELETED:
                yield str(event.attributes.get(attr.CRUCIBLE_CHECKPOINT_PATH, "")), event.time_ns


def _epoch_of(trace: Trace, span: TraceSpan) -> Any:
    key = attr.CRUCIBLE_TRAINING_EPOCH_INDEX
    return next((one.attributes[key] for one in enclosing(span, trace.by_id.get) if key in one.attributes), None)


def _run_id(trace: Trace, span: TraceSpan) -> str:
    """What the checkpoints of all attempts at a run have in common."""
    run = run_of(trace, span)
    return str((run or span).attributes.get(attr.CRUCIBLE_RUN_ID, "" if run is None else run.span_id))
