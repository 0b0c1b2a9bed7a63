"""A trace as a Mermaid flowchart: what encloses what as arrows, what rests on what as dotted arrows with a name."""

from collections.abc import Mapping
from typing import Final

from crucible_trace_otel.renderers.areas import COLOURS, area_of
from crucible_trace_otel.renderers.outline import Fold, fold, link_target, window_summary, windows_of
from crucible_trace_otel.renderers.words import plain, tell_span
from crucible_trace_otel.semconv import events
from crucible_trace_otel.trace.causality import causal_links
from crucible_trace_otel.trace.spans import Trace, TraceSpan

__all__ = ["escape", "render_flowchart"]

_NODE_LIMITS: Final = (200, 100, 50, 25)
_MOST_EDGES: Final = 450  # Mermaid refuses a diagram of more than 500 edges
_MOST_CHARACTERS: Final = 48_000  # and one of more than 50,000 characters
_LONGEST_LABEL: Final = 80
_SAFE: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 _-,.=+/")
_PLACEHOLDERS: Final = frozenset("ﬂ°¶ß")  # Mermaid writes codes as `ﬂ°°35¶ß` while it parses
_BREAK: Final = "<br/>"
_FOLDED: Final = "    classDef folded fill:#ffffff,stroke:#9e9e9e,stroke-dasharray:4 3"


def render_flowchart(trace: Trace, *, ascii_only: bool = False) -> str:
    """`trace` as a Mermaid flowchart that Mermaid's own limits let pass; what is left out is said in a node."""
    for most_nodes in _NODE_LIMITS:
        text = _flowchart(trace, most_nodes, ascii_only=ascii_only)
        if len(text) <= _MOST_CHARACTERS:
            break
    return text


def _flowchart(trace: Trace, most_nodes: int, *, ascii_only: bool) -> str:
    shown, folds = _chosen(trace, most_nodes)
    lines = ["flowchart TD"]
    lines += [f"    {_node_id(i)}[{_label(trace, s, ascii_only)}]:::{area_of(s.operation)}" for i, s in shown.items()]
    edges = [
        f"    {_node_id(span.parent_id)} --> {_node_id(span.span_id)}"
        for span in shown.values()
        if span.parent_id in shown and span.parent_id != span.span_id
    ]
    for number, (parent_id, hidden) in enumerate(folds):
        lines.append(f'    fold{number}["{escape(hidden.text, ascii_only=ascii_only)}"]:::folded')
        edges += [f"    {_node_id(parent_id)} --> fold{number}"] if parent_id in shown else []
    causes, links_left_out = _causes(trace, shown, _MOST_EDGES - len(edges), ascii_only=ascii_only)
    left_out = len(trace.spans) - len(shown) - sum(len(hidden.spans) for _, hidden in folds)
    rest = [f"{left_out} more operations"] if left_out else []
    rest += [f"{links_left_out} more causal links"] if links_left_out else []
    if rest:
        said = escape(f"… {' and '.join(rest)} than a diagram holds", ascii_only=ascii_only)
        lines.append(f'    rest["{said}"]:::folded')
    used = {area_of(span.operation) for span in shown.values()}
    classes = [_class(area, *colours) for area, colours in COLOURS.items() if area in used]
    return "\n".join([*lines, *edges, *causes, *classes, _FOLDED]) + "\n"


def escape(text: str, *, longest: int = _LONGEST_LABEL, ascii_only: bool = False) -> str:
    """`text` for a quoted Mermaid label: letters stay, whatever could mean something to Mermaid becomes `#code;`."""
    return "".join(
        character if character in _SAFE or (not ascii_only and _is_letter(character)) else f"#{ord(character)};"
        for character in plain(text, longest)
    )


def _is_letter(character: str) -> bool:
    """Whether `character` is something beyond ASCII that is read as it stands."""
    return not character.isascii() and character.isprintable() and character not in _PLACEHOLDERS


def _chosen(trace: Trace, most_nodes: int) -> tuple[dict[str, TraceSpan], list[tuple[str | None, Fold]]]:
    """The spans to draw, level by level until the diagram is full, and the folds with their parents."""
    shown: dict[str, TraceSpan] = {}
    folds: list[tuple[str | None, Fold]] = []
    level: list[TraceSpan | Fold] = list(fold(trace.roots or trace.spans))
    while level:
        below: list[TraceSpan | Fold] = []
        for item in level:
            if len(shown) + len(folds) >= most_nodes:
                break
            if isinstance(item, Fold):
                folds.append((item.spans[0].parent_id, item))
            elif item.span_id not in shown:
                shown[item.span_id] = item
                below += fold(trace.children.get(item.span_id, ()))
        level = below
    return shown, folds


def _causes(
    trace: Trace, shown: Mapping[str, TraceSpan], most_edges: int, *, ascii_only: bool
) -> tuple[list[str], int]:
    """The dotted arrows and how many are left out; a cause that is not drawn gets a node with its name."""
    lines: list[str] = []
    named: set[str] = set()
    left_out = drawn = 0
    traces = dict.fromkeys(trace.trace_ids, trace)
    for span in shown.values():
        for link in causal_links(span):
            if drawn >= most_edges or len(named) >= len(shown):
                left_out += 1
                continue
            target = _node_id(link.span_id)
            if link.trace_id not in traces or link.span_id not in shown:
                target = f"x{link.trace_id}{link.span_id}"
                if target not in named:
                    named.add(target)
                    said = escape(link_target(traces, span, link), ascii_only=ascii_only)
                    lines.append(f'    {target}["{said}"]:::folded')
            relation = escape(link.type or "link", ascii_only=ascii_only) or "link"
            lines.append(f'    {_node_id(span.span_id)} -. "{relation}" .-> {target}')
            drawn += 1
    return lines, left_out


def _node_id(span_id: str | None) -> str:
    return f"s{span_id}"


def _label(trace: Trace, span: TraceSpan, ascii_only: bool) -> str:  # noqa: FBT001 - passed on
    told = tell_span(span)
    steps = window_summary(windows_of(trace, span, events.STEPS_RECORDED))
    facts = [told.duration, *told.facts, told.remark, steps]
    rows = [told.title, ", ".join(filter(None, facts)), f"✗ {told.problem}" if told.problem else ""]
    said = _BREAK.join(escape(row, ascii_only=ascii_only) for row in rows if row)
    return f'"{said}"'


def _class(name: str, fill: str, stroke: str) -> str:
    return f"    classDef {name} fill:{fill},stroke:{stroke},color:#212121"
