"""What `crucible-trace show` says of training: attempts, epochs, abnormal steps, checkpoints, the verdict."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, Final

from rich.text import Text

from crucible_trace_otel.cli.aligned import aligned
from crucible_trace_otel.cli.summary import local_time
from crucible_trace_otel.renderers.nested import json_value
from crucible_trace_otel.renderers.words import duration, number, plain, plural, quoted, tell_span
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import Result, RunState
from crucible_trace_otel.trace.spans import Trace, TraceSpan, enclosing
from crucible_trace_otel.trace.steps import StepRows
from crucible_trace_otel.trace.training import (
    AbnormalTold,
    Checkpoint,
    EpochTold,
    RunAttempt,
    abnormal_steps,
    attempts,
    checkpoints,
    epochs,
    run_of,
    training_runs,
)

__all__ = [
    "attempts_told",
    "document",
    "sections",
    "tell_abnormal",
    "tell_checkpoint",
    "tell_epoch",
    "tell_validation",
    "verdicts",
]

_MOST: Final = 20
_SHORT_DIGEST: Final = 8


def sections(trace: Trace, *, show_all: bool) -> list[list[Text]]:
    """Abnormal steps, epochs, validations outside of them, and checkpoints; those that have something to say.

    Of a run of several processes the epochs are those of one, the first, unless `show_all`.
    """
    validated = [span for span in trace.spans if span.operation == operations.VALIDATION_RUN]
    inside = {one.span_id for epoch in epochs(trace) for one in epoch.validations}
    outside = [tell_validation(trace, span) for span in validated if span.span_id not in inside]
    shown = epochs(trace) if show_all else _of_first_rank(epochs(trace))
    told = [(one.span, tell_epoch(one)) for one in shown]
    saved = [(one.span, tell_checkpoint(one)) for one in checkpoints(trace)]
    every = [
        _section("Abnormal steps", _abnormal(abnormal_steps(trace), show_all=show_all)),
        _section("Epochs", _rows(trace, told, show_all=show_all)),
        _section("Validation", _last(outside, show_all=show_all)),
        _section("Checkpoints", _rows(trace, saved, show_all=show_all)),
    ]
    return [lines for lines in every if lines]


def _of_first_rank(found: Sequence[EpochTold]) -> list[EpochTold]:
    """Those that the first of the processes recorded which share a run; all of them where none has a rank."""
    ranks = [one.span.attributes.get(attr.CRUCIBLE_DISTRIBUTED_RANK) for one in found]
    first = min((rank for rank in ranks if type(rank) is int), default=None)
    return [one for one, rank in zip(found, ranks, strict=True) if type(rank) is not int or rank == first]


def _section(title: str, lines: Iterable[str]) -> list[Text]:
    body = [Text(f"  {line}", style="yellow" if line.startswith("…") else "") for line in lines]
    return [Text(title, style="bold"), *body] if body else []


def _rows(trace: Trace, told: Sequence[tuple[TraceSpan, tuple[str, ...]]], *, show_all: bool) -> list[str]:
    """Aligned lines; where there are several training runs, those of each under its name."""
    groups: dict[str, list[tuple[str, ...]]] = {}
    for span, cells in told:
        run = run_of(trace, span)
        groups.setdefault("" if run is None else run.span_id, []).append(cells)
    lines: list[str] = []
    for run_id, rows in groups.items():
        named = [_run_name(trace, trace.by_id[run_id])] if run_id and len(training_runs(trace)) > 1 else []
        indent = "  " * bool(named)
        lines += [*named, *(f"{indent}{line}" for line in _last(aligned(rows), show_all=show_all))]
    return lines


def _run_name(trace: Trace, run: TraceSpan) -> str:
    """Its name; where several have that name, with what tells them apart: number of the attempt, or start."""
    name = quoted(run.name, run.about)
    alike = [other for other in training_runs(trace) if quoted(other.name, other.about) == name]
    if len(alike) == 1:
        return name
    numbers = [str(other.attributes.get(attr.CRUCIBLE_RUN_ATTEMPT)) for other in alike]
    is_numbered = len(set(numbers)) == len(numbers)
    number_of_run = plain(run.attributes.get(attr.CRUCIBLE_RUN_ATTEMPT, "?"))
    return f"{name}, {f'attempt {number_of_run}' if is_numbered else f'started {local_time(run.start_ns)}'}"


def _last(lines: Sequence[str], *, show_all: bool) -> list[str]:
    hidden = 0 if show_all else max(len(lines) - _MOST, 0)
    return [*([f"… {hidden:,} earlier ones"] if hidden else []), *lines[hidden:]]


def tell_epoch(epoch: EpochTold) -> tuple[str, ...]:
    """Its name, loss, validations and duration, as cells."""
    told = tell_span(epoch.span)
    loss = epoch.span.attributes.get(attr.CRUCIBLE_TRAINING_LOSS_VALUE)
    validated = "; ".join(", ".join(_metrics(one)) for one in epoch.validations)
    return (
        plain(epoch.span.about or epoch.span.name, 40),
        "" if loss is None else f"loss {number(loss)}",
        f"validation: {validated}" if validated else "",
        f"✗ {told.problem}" if told.problem else told.remark or told.duration,
    )


def tell_validation(trace: Trace, span: TraceSpan) -> str:
    """`epoch 3: accuracy 0.9`."""
    around = [one.about for one in list(enclosing(span, trace.by_id.get))[1:] if one.about]
    where = f"{plain(around[0])}: " if around else ""
    return f"{where}{', '.join(_metrics(span))}"


def _metrics(span: TraceSpan) -> list[str]:
    return [*filter(None, (plain(span.about), *tell_span(span).facts))]


def tell_checkpoint(one: Checkpoint) -> tuple[str, ...]:
    """Where in the training, its path, size, short digest, and what became of it, as cells."""
    told = tell_span(one.span)
    marks = ["best"] if one.is_best else ["best so far"] if "best" in told.facts else []
    marks += ["deleted"] if one.is_deleted else []
    marks += [f"✗ {told.problem}"] if told.problem else []
    facts = [fact for fact in told.facts if fact != "best"]
    digest = f"sha256 {plain(one.sha256)[:_SHORT_DIGEST]}" if one.sha256 else ""
    return _where(one), plain(one.path), ", ".join(facts), digest, ", ".join(marks)


def _where(one: Checkpoint | AbnormalTold) -> str:
    known = {"step": one.step, "epoch": one.epoch}
    return ", ".join(f"{noun} {number(value)}" for noun, value in known.items() if value is not None)


def _abnormal(found: Sequence[AbnormalTold], *, show_all: bool) -> list[str]:
    """The first ones, a line each, and how many more there are of which kind."""
    shown = len(found) if show_all else _MOST
    lines = aligned([tell_abnormal(one) for one in found[:shown]]) if found else []
    kinds = Counter(plain(one.kind or "?", 40) for one in found[shown:])
    counted = ", ".join(f"{count:,} {kind}" for kind, count in kinds.most_common())
    return [*lines, *([f"… {len(found) - shown:,} more: {counted}"] if kinds else [])]


def tell_abnormal(one: AbnormalTold) -> tuple[str, ...]:
    """Where in the training, what kind it was, and the numbers, as cells."""
    value = " ".join(filter(None, (plain(one.column, 40), "" if one.value is None else number(one.value))))
    expected = "" if one.expected is None else f"expected {number(one.expected)}"
    return _where(one), plain(one.kind, 40), ", ".join(filter(None, (value, expected)))


def attempts_told(found: Sequence[RunAttempt]) -> list[Text]:
    """The section about the attempts at runs of which there are several."""
    return _section("Attempts", aligned([_tell_attempt(one) for one in found]) if found else [])


def _tell_attempt(one: RunAttempt) -> tuple[str, ...]:
    steps = f"{one.steps:,} {plural(one.steps, 'step')}"
    repeated = f", {one.repeated:,} of them done again" if one.repeated else ""
    return (
        f"attempt {one.number}",
        local_time(one.span.start_ns),
        duration(one.span.duration_s),
        f"{steps}{repeated}",
        _how_it_ended(one.span),
    )


def _how_it_ended(span: TraceSpan) -> str:
    state = str(span.attributes.get(attr.CRUCIBLE_RUN_STATE) or span.attributes.get(attr.CRUCIBLE_OPERATION_RESULT, ""))
    step = span.attributes.get(attr.CRUCIBLE_TRAINING_STEP_INDEX)
    at = f" at step {step}" if state in (RunState.INTERRUPTED, RunState.RUNNING) and step is not None else ""
    cause = plain(span.attributes.get(attr.CRUCIBLE_RUN_CAUSE) or span.status_message)
    return f"{plain(state) or Result.SUCCESS}{at}" + (f": {cause.removeprefix(f'{state}: ')}" if cause else "")


def verdicts(trace: Trace) -> list[Text]:
    """What came of each training run, as the recorder or its user says."""
    found = [
        (run, plain(run.attributes[attr.CRUCIBLE_RUN_VERDICT]))
        for run in training_runs(trace)
        if run.attributes.get(attr.CRUCIBLE_RUN_VERDICT)
    ]
    several = len(training_runs(trace)) > 1
    return [Text(f"verdict{f' of {_run_name(trace, run)}' if several else ''}: {said}") for run, said in found]


def document(trace: Trace, steps: StepRows) -> dict[str, Any]:
    """The same for programs."""
    values = {
        "attempts": [
            {
                "span_id": one.span.span_id,
                "number": one.number,
                "state": one.span.attributes.get(attr.CRUCIBLE_RUN_STATE),
                "steps": one.steps,
                "repeated": one.repeated,
            }
            for one in attempts(trace, steps)
        ],
        "epochs": [
            {
                "span_id": one.span.span_id,
                "index": one.index,
                "loss": one.span.attributes.get(attr.CRUCIBLE_TRAINING_LOSS_VALUE),
                "validations": [_metric_values(span) for span in one.validations],
            }
            for one in epochs(trace)
        ],
        "abnormal_steps": [
            {
                "step": one.step,
                "epoch": one.epoch,
                "kind": one.kind,
                "column": one.column,
                "value": one.value,
                "expected": one.expected,
            }
            for one in abnormal_steps(trace)
        ],
        "checkpoints": [
            {
                "span_id": one.span.span_id,
                "path": one.path,
                "step": one.step,
                "epoch": one.epoch,
                "sha256": one.sha256,
                "best": one.is_best,
                "deleted": one.is_deleted,
            }
            for one in checkpoints(trace)
        ],
        "verdicts": [
            run.attributes[attr.CRUCIBLE_RUN_VERDICT]
            for run in training_runs(trace)
            if attr.CRUCIBLE_RUN_VERDICT in run.attributes
        ],
    }
    told: dict[str, Any] = json_value(values)
    return told


def _metric_values(span: TraceSpan) -> dict[str, Any]:
    template = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}."
    return {key.removeprefix(template): value for key, value in span.attributes.items() if key.startswith(template)}
