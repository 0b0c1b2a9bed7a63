"""A trace as lines of an outline, before any drawing: what the text tree and the terminal both show."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from crucible_trace_otel.renderers.words import leading, name_of, number, plain, plural, quoted, reasons, tell_span
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.trace.causality import CausalLink, causal_links
from crucible_trace_otel.trace.spans import Trace, TraceEvent, TraceSpan

__all__ = ["Fold", "Line", "Role", "draw_guides", "fold", "link_target", "outline", "window_summary", "windows_of"]

Role = Literal["title", "duration", "fact", "problem", "reason", "link", "event", "note"]

_MOST_SIBLINGS: Final = 12
_SHOWN_FIRST: Final = 6
_SHOWN_LAST: Final = 5
_MOST_ALIKE: Final = 2
_MOST_EVENTS: Final = 5
_MOST_LINKS: Final = 8
_WINDOWS: Final = (events.STEPS_RECORDED, events.GRADIENT_COMPUTED, events.REWARD_RECEIVED)
_TOLD_ELSEWHERE: Final = (events.STAGE_SKIPPED, events.STAGE_RETRIED)  # by the stage that was skipped, or the attempt
_RECORDING: Final = frozenset({operations.TRAINING_RUN, operations.WORKER})
_DEEPEST_GUIDE: Final = 30

UNFINISHED: Final = "(still running, or its process ended without a word)"
LOST: Final = "(its record is damaged, or it never ended)"


@dataclass(frozen=True, slots=True)
class Line:
    """One line: how deep it stands, and its words with the part each plays."""

    depth: int
    words: tuple[tuple[Role, str], ...]
    is_detail: bool = False
    """Whether it says more about the operation above it, and is no operation itself."""


@dataclass(frozen=True, slots=True)
class Fold:
    """Siblings of one name left out in the middle."""

    name: str
    spans: tuple[TraceSpan, ...]

    @property
    def text(self) -> str:
        """How many of what: `… 37 more epochs`."""
        return f"… {len(self.spans)} more {plural(len(self.spans), self.name)}"


def outline(trace: Trace, *, show_all: bool = False, among: Iterable[Trace] = ()) -> list[Line]:
    """The lines of `trace`, from its roots down.

    Args:
        trace: A stored trace.
        show_all: Show every one of many equal siblings; otherwise those in the middle are folded into a line that
            counts them, and the links that several have in common stand at the first. One that failed is never
            folded away.
        among: Other traces, in which links may find what they point to.
    """
    traces = {trace_id: one for one in (*among, trace) for trace_id in one.trace_ids}
    lines: list[Line] = []
    shown: set[str] = set()
    every = iter(trace.spans)
    waiting: list[tuple[int, TraceSpan | Fold | str]] = _top(trace, show_all)[::-1]
    alike = {} if show_all else _alike(trace.roots, [item for _, item in reversed(waiting)])
    while True:
        while waiting:
            depth, item = waiting.pop()
            if not isinstance(item, TraceSpan):
                lines.append(Line(depth, (("note", item if isinstance(item, str) else item.text),)))
                shown |= _inside(trace, item.spans) if isinstance(item, Fold) else set()
            elif item.span_id not in shown:
                shown.add(item.span_id)
                lines.append(_span_line(trace, depth, item))
                details = _details(traces, item, alike.get(item.span_id))
                lines += [Line(depth + 1, (word,), is_detail=True) for word in details]
                children = _folded(trace.children.get(item.span_id, ()), show_all=show_all)
                alike |= {} if show_all else _alike(trace.children.get(item.span_id, ()), children)
                waiting += [(depth + 1, child) for child in reversed(children)]
        # Spans that are each other's ancestors hang on no root; they are stored, so they are shown.
        lost = next((span for span in every if span.span_id not in shown), None)
        if lost is None:
            return lines
        waiting.append((0, lost))


def _top(trace: Trace, show_all: bool) -> list[tuple[int, TraceSpan | Fold | str]]:  # noqa: FBT001 - passed on
    """The roots; then, under a note for each ancestor that is not stored, what it left."""
    top: list[tuple[int, TraceSpan | Fold | str]] = []
    orphans: dict[str, list[TraceSpan]] = {}
    for root in trace.roots:
        if root.parent_id is None or root.parent_is_remote:
            top.append((0, root))
        else:
            orphans.setdefault(root.parent_id, []).append(root)
    for left in orphans.values():
        top.append((0, LOST if trace.is_complete else UNFINISHED))
        top += [(1, child) for child in _folded(left, show_all=show_all)]
    return top


def fold(spans: Sequence[TraceSpan]) -> list[TraceSpan | Fold]:
    """`spans`, where of more than twelve with one name those in the middle are folded; failed ones stay."""
    by_name: dict[str, list[TraceSpan]] = {}
    for span in spans:
        by_name.setdefault(span.name, []).append(span)
    folds: dict[str, Fold] = {}
    for name, same in by_name.items():
        if len(same) > _MOST_SIBLINGS:
            middle = [span for span in same[_SHOWN_FIRST:-_SHOWN_LAST] if span.status != "error"]
            folds |= {span.span_id: one for one in [Fold(name, tuple(middle))] for span in middle}
    # A fold stands where the first of what it hides would stand.
    items = [folds.get(span.span_id, span) for span in spans]
    first = {id(item): position for position, item in reversed(list(enumerate(items)))}
    return [item for position, item in enumerate(items) if first[id(item)] == position]


def _folded(spans: Sequence[TraceSpan], *, show_all: bool) -> list[TraceSpan | Fold]:
    return list(spans) if show_all else fold(spans)


def _alike(spans: Iterable[TraceSpan], shown: Iterable[TraceSpan | Fold | str]) -> dict[str, int]:
    """Of more than two siblings of one name with equal links: how many more there are than the first that is shown.

    The others count 0: their links need not be told again.
    """
    groups: dict[tuple[object, ...], list[str]] = {}
    for span in spans:
        links = [(link.type, link.trace_id, link.span_id) for link in causal_links(span)]
        if links:
            groups.setdefault((span.name, *links), []).append(span.span_id)
    visible = [item.span_id for item in shown if isinstance(item, TraceSpan)]
    found: dict[str, int] = {}
    for same in groups.values():
        if len(same) > _MOST_ALIKE:
            found |= dict.fromkeys(same, 0)
            found |= {first: len(same) - 1 for first in [span_id for span_id in visible if span_id in same][:1]}
    return found


def _inside(trace: Trace, spans: Iterable[TraceSpan]) -> set[str]:
    """The ids of `spans` and of everything below them."""
    found: set[str] = set()
    waiting = list(spans)
    while waiting:
        span = waiting.pop()
        if span.span_id not in found:
            found.add(span.span_id)
            waiting += trace.children.get(span.span_id, ())
    return found


def _span_line(trace: Trace, depth: int, span: TraceSpan) -> Line:
    told = tell_span(span)
    words: list[tuple[Role, str]] = [("title", told.title)]
    words += [("duration", told.duration)] if told.duration else []
    words += [("fact", fact) for fact in (*told.facts, *_steps_below(trace, span))]
    words += [("note", told.remark)] if told.remark else []
    problem = RunState.INTERRUPTED if _is_interrupted_inside(trace, span) else told.problem
    words += [("problem", f"✗ {problem}")] if problem else []
    return Line(depth, tuple(words))


def _is_interrupted_inside(trace: Trace, span: TraceSpan) -> bool:
    """Whether what encloses it was interrupted with it, for the same cause, which is told there."""
    around = trace.by_id.get(span.parent_id or "")
    cause = span.attributes.get(attr.CRUCIBLE_RUN_CAUSE)
    return (
        around is not None
        and cause is not None
        and not span.operation.endswith(f"_{RunState.INTERRUPTED}")
        and around.attributes.get(attr.CRUCIBLE_RUN_CAUSE) == cause
    )


def _steps_below(trace: Trace, span: TraceSpan) -> list[str]:
    """How many steps a training run, or one process of it, holds, where they lie in its epochs."""
    if span.operation not in _RECORDING:
        return []
    of_others = [one for one in trace.children.get(span.span_id, ()) if one.operation == operations.WORKER]
    inside = [trace.by_id[span_id] for span_id in _inside(trace, [span]) - _inside(trace, of_others)]
    count = _count([event for one in inside for event in one.events if event.name == events.STEPS_RECORDED])
    is_told_already = count == _count(windows_of(trace, span, events.STEPS_RECORDED))
    return [] if is_told_already else [f"{count:,} {plural(count, 'step')}"]


def _details(traces: Mapping[str, Trace], span: TraceSpan, alike: int | None) -> list[tuple[Role, str]]:
    """Reasons, causes and events of `span`, a line each; windows of steps together in one line.

    Args:
        traces: Trace id to trace: its own, and those that its links may lead to.
        span: The operation that all of it is about.
        alike: How many siblings have the same links; 0 where those stand at an earlier one, None for links of its own.
    """
    trace = traces[span.trace_id]
    words: list[tuple[Role, str]] = [("reason", reason) for reason in reasons(span)]
    links = causal_links(span) if alike != 0 else ()
    same = f"  (the same for {alike} more {plural(alike, span.name)})" if alike else ""
    words += [
        ("link", f"↳ {plain(link.type or 'link')} {link_target(traces, span, link)}{same}")
        for link in links[:_MOST_LINKS]
    ]
    if len(links) > _MOST_LINKS:
        words.append(("note", f"… {len(links) - _MOST_LINKS} more links"))
    unknown = span.attributes.get(attr.CRUCIBLE_DEPENDENCY_UNKNOWN, ())
    words += [
        ("problem", f'↳ "{plain(name)}" was never recorded')
        for name in (unknown if isinstance(unknown, tuple) else (unknown,))
    ]
    if span.attributes.get(attr.CRUCIBLE_DEPENDENCY_CYCLE):
        words.append(("problem", "↳ it depends on itself through these links"))
    for name in _WINDOWS:
        summary = window_summary(windows_of(trace, span, name))
        words += [("event", f"• {name}: {summary}")] if summary else []
    others = [event for event in span.events if event.name not in (*_WINDOWS, *_TOLD_ELSEWHERE)]
    words += [("event", f"• {_event(event)}") for event in others[:_MOST_EVENTS]]
    if len(others) > _MOST_EVENTS:
        words.append(("note", f"… {len(others) - _MOST_EVENTS} more events"))
    if span.dropped:
        dropped = ", ".join(f"{count} {what}" for what, count in span.dropped.items())
        words.append(("problem", f"• dropped while recording: {dropped}"))
    return words


def link_target(traces: Mapping[str, Trace], span: TraceSpan, link: CausalLink) -> str:
    """What `link` points to, as `operation "summary"`, and a remark where it is not in the trace of `span`."""
    target = traces[link.trace_id].by_id.get(link.span_id) if link.trace_id in traces else None
    if target is not None:
        is_here = link.trace_id in traces[span.trace_id].trace_ids
        return name_of(target) if is_here else f"{name_of(target)} (another trace)"
    operation, _, about = link.name.partition(": ")
    said = quoted(operation, about) if operation else f"span {link.span_id}"
    return f"{said} ({'another trace' if link.trace_id != span.trace_id else 'not stored'})"


def windows_of(trace: Trace, span: TraceSpan, name: str) -> list[TraceEvent]:
    """The windows called `name` on `span`, and on the segments that took those it had no room for."""
    segments = [child for child in trace.children.get(span.span_id, ()) if child.operation == operations.STEP_SEGMENT]
    return [event for one in (span, *segments) for event in one.events if event.name == name]


def window_summary(windows: Sequence[TraceEvent]) -> str:
    """How many steps `windows` hold, and what the loss, or else the first number, did; empty without windows."""
    if not windows:
        return ""
    count = _count(windows)
    said = f"{count:,} {plural(count, 'step')}"
    said += f" in {len(windows):,} windows" if len(windows) > 1 else ""
    columns = [
        key.removeprefix(f"{attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE}.")
        for window in windows
        for key in window.attributes
        if key.startswith(f"{attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE}.")
    ]
    column = leading(columns)
    if column is None:
        return said
    first = _first_given(windows, f"{attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE}.{column}")
    last = _first_given(windows[::-1], f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}.{column}")
    return f"{said}, {plain(column, 40)} {number(first)} → {number(last)}"


def _count(windows: Iterable[TraceEvent]) -> int:
    counts = (window.attributes.get(attr.CRUCIBLE_WINDOW_COUNT) for window in windows)
    return sum(count for count in counts if type(count) is int)


def _first_given(windows: Sequence[TraceEvent], key: str) -> object:
    return next((window.attributes[key] for window in windows if key in window.attributes), "?")


def _event(event: TraceEvent) -> str:
    about = event.attributes.get(attr.CRUCIBLE_ABOUT, "")
    if attr.EXCEPTION_TYPE in event.attributes:
        about = f"{event.attributes[attr.EXCEPTION_TYPE]}: {event.attributes.get(attr.EXCEPTION_MESSAGE, '')}"
    judged = (attr.GEN_AI_EVALUATION_NAME, attr.GEN_AI_EVALUATION_SCORE_VALUE, attr.GEN_AI_EVALUATION_SCORE_LABEL)
    if event.name == events.GEN_AI_EVALUATION_RESULT:
        about = " ".join(number(event.attributes[key]) for key in judged if key in event.attributes)
    return quoted(event.name, str(about))


def draw_guides(lines: Sequence[Line]) -> list[str]:
    """The branches of the tree in front of each line. Past thirty levels the depth stands there as a number."""
    guides: list[str] = []
    open_levels: set[int] = set()  # the levels at which a sibling follows further down
    for line in reversed(lines):
        depth = min(line.depth, _DEEPEST_GUIDE)
        trunk = "".join("│   " if level in open_levels else "    " for level in range(1, depth))
        if line.is_detail:
            # A detail stands where the children hang; the line to the first of them passes by it.
            guides.append(trunk + ("│ " if depth in open_levels else "  "))
            continue
        branch = "" if depth == 0 else "├── " if depth in open_levels else "└── "
        beyond = f"({line.depth}) " if line.depth > depth else ""
        guides.append(trunk + branch + beyond)
        open_levels = {level for level in open_levels if level < depth} | {depth}
    return guides[::-1]
