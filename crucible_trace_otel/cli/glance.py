"""What `crucible-trace show` says about a run: sections of styled lines, or one document for programs."""

import math
import shutil
from typing import Any, Final

from rich.text import Text

from crucible_trace_otel.cli.reading import gaps
from crucible_trace_otel.cli.summary import summarise
from crucible_trace_otel.renderers.nested import nested
from crucible_trace_otel.renderers.outline import Line, draw_guides, outline
from crucible_trace_otel.renderers.sparkline import sparkline
from crucible_trace_otel.renderers.why import causal_chain, outcome_of
from crucible_trace_otel.renderers.words import number, plain, quoted, tell_span
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.store import JournalStore
from crucible_trace_otel.trace.causality import causes
from crucible_trace_otel.trace.spans import Trace
from crucible_trace_otel.trace.steps import StepRows, step_rows

__all__ = ["document", "sections"]

_STYLES: Final = {
    "title": "bold",
    "duration": "cyan",
    "fact": "green",
    "problem": "bold red",
    "link": "magenta",
    "event": "dim",
    "note": "yellow",
}
_WIDEST_CURVE: Final = 100
_MOST_VALIDATIONS: Final = 20


def sections(
    store: JournalStore, traces: tuple[Trace, ...], trace: Trace, *, show_all: bool, is_ascii: bool
) -> list[list[Text]]:
    """The head, the tree, the causes, the loss, the validations and the gaps; those that have something to say."""
    every = [_head(trace), _tree(trace, show_all=show_all), _why(traces, trace), _loss(trace, is_ascii=is_ascii)]
    every += [_validations(trace, show_all=show_all), _unread(store)]
    return [lines for lines in every if lines]


def _head(trace: Trace) -> list[Text]:
    summary = summarise(trace)
    name, run_id, started, took, spans, state = summary.row()
    run = f"run {run_id}, " if run_id else ""
    return [
        Text.assemble((name, "bold"), "  ", (state, "green" if state == "completed" else "bold red")),
        Text(f"{run}trace {trace.trace_id}, started {started}, took {took}, {spans} operations", style="dim"),
    ]


def _tree(trace: Trace, *, show_all: bool) -> list[Text]:
    def drawn(guide: str, line: Line) -> Text:
        text = Text(guide, style="")
        text.stylize("dim", 0, len(guide))
        for position, (role, word) in enumerate(line.words):
            text.append("  " * bool(position))
            text.append(word, _STYLES[role])
        return text

    lines = outline(trace, show_all=show_all)
    return [drawn(guide, line) for guide, line in zip(draw_guides(lines), lines, strict=True)]


def _why(traces: tuple[Trace, ...], trace: Trace) -> list[Text]:
    outcome = outcome_of(trace)
    lines = causal_chain(traces, outcome) if outcome is not None else []
    if outcome is None or not lines:
        return []
    title = Text(f"Why {quoted(outcome.name, outcome.about)}", style="bold")
    return [title, *(Text(f"  {line}", style="magenta") for line in lines)]


def _loss(trace: Trace, *, is_ascii: bool) -> list[Text]:
    steps = step_rows(trace)
    values = _losses(steps)
    missing = [Text(f"windows without their packed steps: {steps.missing}", style="bold red")] if steps.missing else []
    if not values:
        return missing
    finite = [value for value in values if math.isfinite(value)]
    width = max(min(shutil.get_terminal_size().columns - 20, _WIDEST_CURVE), 10)
    high, low = sparkline(values, width, ascii_only=is_ascii)
    title = f"Loss over {len(values)} steps, from {number(values[0])} to {number(values[-1])}"
    title += f", {len(values) - len(finite)} of them not finite (!)" if len(finite) < len(values) else ""
    rows = [("max", high, max(finite, default=math.nan)), ("min", low, min(finite, default=math.nan))]
    curve = [Text.assemble(f"  {name} ", (blocks, "green"), f" {number(value)}") for name, blocks, value in rows]
    return [Text(title, style="bold"), *curve, *missing]


def _losses(steps: StepRows) -> list[float]:
    losses = (row.get("loss") for row in steps.rows)
    return [float(loss) for loss in losses if isinstance(loss, (int, float))]


def _validations(trace: Trace, *, show_all: bool) -> list[Text]:
    found = [f"  {where}{what}" for where, what in _validation_rows(trace)]
    hidden = 0 if show_all else max(len(found) - _MOST_VALIDATIONS, 0)
    if not found:
        return []
    earlier = [Text(f"  … {hidden} earlier ones", style="yellow")] if hidden else []
    return [Text("Validation", style="bold"), *earlier, *map(Text, found[hidden:])]


def _validation_rows(trace: Trace) -> list[tuple[str, str]]:
    rows: list[tuple[str, str]] = []
    for span in trace.spans:
        if span.operation == operations.VALIDATION_RUN:
            parent = trace.by_id.get(span.parent_id or "")
            where = f"{plain(parent.about)}: " if parent is not None and parent.about else ""
            rows.append((where, ", ".join(filter(None, (plain(span.about), *tell_span(span).facts)))))
    return rows


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
            {"depth": step.depth, "type": step.type, "name": step.name, "span_id": step.link.span_id} for step in why
        ],
        "steps": {"count": len(steps.rows), "missing_windows": steps.missing},
        "gaps": gaps(store),
    }
