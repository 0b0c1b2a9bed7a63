"""What `crucible-trace show` says about a run: sections of styled lines, or one document for programs."""

from typing import Any, Final

from rich.text import Text

from crucible_trace_otel.cli import planned, training
from crucible_trace_otel.cli.curve import curve
from crucible_trace_otel.cli.reading import gaps
from crucible_trace_otel.cli.summary import summarise
from crucible_trace_otel.renderers.nested import nested
from crucible_trace_otel.renderers.outline import Line, draw_guides, outline
from crucible_trace_otel.renderers.why import causal_chain, outcome_of, rejected
from crucible_trace_otel.renderers.words import number, plain, plural, quoted, reasoning
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.store import JournalStore
from crucible_trace_otel.trace.causality import causes
from crucible_trace_otel.trace.spans import Trace, TraceSpan
from crucible_trace_otel.trace.steps import step_rows
from crucible_trace_otel.trace.training import attempts, training_runs

__all__ = ["document", "sections"]

_STYLES: Final = {
    "title": "bold",
    "duration": "cyan",
    "fact": "green",
    "problem": "bold red",
    "reason": "italic",
    "link": "magenta",
    "event": "dim",
    "note": "yellow",
}
_MOST_RUNS: Final = 3
_MOST_HYPERPARAMETERS: Final = 12


def sections(
    store: JournalStore, traces: tuple[Trace, ...], trace: Trace, metric: str | None, *, show_all: bool, is_ascii: bool
) -> list[list[Text]]:
    """The head, the tree, the plan, the causes, the training and the gaps; those that have something to say.

    Raises:
        NotFoundError: `metric` is no number that was recorded with the steps.
    """
    steps = step_rows(trace)
    every = [_head(trace), training.attempts_told(attempts(trace, steps))]
    every += [_tree(traces, trace, show_all=show_all), *planned.sections(trace), _why(traces, trace)]
    every += [curve(steps, metric, is_ascii=is_ascii), *training.sections(trace, show_all=show_all), _unread(store)]
    return [lines for lines in every if lines]


def _head(trace: Trace) -> list[Text]:
    summary = summarise(trace)
    name, run_id, started, took, spans, standing = summary.row()
    run = f"run {run_id}, " if run_id else ""
    style = "cyan" if summary.state == RunState.RUNNING else "green" if standing == RunState.COMPLETED else "bold red"
    counted = f"{spans} {plural(len(trace.spans), 'operation')}"
    return [
        Text.assemble((name, "bold"), "  ", (standing, style)),
        Text(f"{run}trace {trace.trace_id}, started {started}, took {took}, {counted}", style="dim"),
        *(Text(line) for line in _trained(trace)),
        *planned.verdicts(trace),
        *training.verdicts(trace),
    ]


def _trained(trace: Trace) -> list[str]:
    """What each training run trained, on what, with which hyperparameters; runs that differ in nothing are one line."""
    told = list(dict.fromkeys(line for run in training_runs(trace) if (line := _trained_by(run))))
    more = [f"… {len(told) - _MOST_RUNS} more training runs"] if len(told) > _MOST_RUNS else []
    return told[:_MOST_RUNS] + more


def _trained_by(run: TraceSpan) -> str:
    template = f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}."
    named = {
        "model": run.attributes.get(attr.CRUCIBLE_MODEL_NAME),
        "dataset": run.attributes.get(attr.CRUCIBLE_DATASET_NAME),
    }
    given = {key.removeprefix(template): value for key, value in run.attributes.items() if key.startswith(template)}
    facts = [f"{what} {plain(name)}" for what, name in named.items() if name]
    facts += [f"{plain(name, 40)} {number(value)}" for name, value in list(given.items())[:_MOST_HYPERPARAMETERS]]
    facts += (
        [f"{len(given) - _MOST_HYPERPARAMETERS} more hyperparameters"] if len(given) > _MOST_HYPERPARAMETERS else []
    )
    return f"{quoted(run.name, run.about)}: {', '.join(facts)}" if facts else ""


def _tree(traces: tuple[Trace, ...], trace: Trace, *, show_all: bool) -> list[Text]:
    def drawn(guide: str, line: Line) -> Text:
        text = Text(guide, style="")
        text.stylize("dim", 0, len(guide))
        for position, (role, word) in enumerate(line.words):
            text.append("  " * bool(position))
            text.append(word, _STYLES[role])
        return text

    lines = outline(trace, show_all=show_all, among=traces)
    return [drawn(guide, line) for guide, line in zip(draw_guides(lines), lines, strict=True)]


def _why(traces: tuple[Trace, ...], trace: Trace) -> list[Text]:
    outcome = outcome_of(trace)
    lines = causal_chain(traces, outcome) if outcome is not None else []
    if outcome is None or not lines:
        return []
    title = Text(f"Why {quoted(outcome.name, outcome.about)}", style="bold")
    return [title, *(Text(f"  {line}", style="magenta") for line in lines)]


def _unread(store: JournalStore) -> list[Text]:
    return [Text(sentence, style="bold red") for sentence in gaps(store)]


def document(store: JournalStore, traces: tuple[Trace, ...], trace: Trace) -> dict[str, Any]:
    """What `show` shows, for programs."""
    outcome = outcome_of(trace)
    steps = step_rows(trace)
    why = causes(traces, outcome) if outcome is not None else ()
    return {
        "summary": summarise(trace).values(),
        "trace": nested(trace),
        "outcome": None if outcome is None else outcome.span_id,
        "why": [
            {
                "depth": step.depth,
                "type": step.type,
                "name": step.name,
                "span_id": step.link.span_id,
                "reasoning": reasoning(step.target) if step.target is not None else "",
            }
            for step in why
        ],
        "rejected": [
            {"name": plain(one.about), "span_id": one.span_id, "reasoning": reasoning(one)}
            for one in rejected(traces, why)
        ],
        "steps": {"count": len(steps), "missing_windows": steps.missing},
        "plans": planned.document(trace),
        "training": training.document(trace, steps),
        "gaps": gaps(store),
    }
