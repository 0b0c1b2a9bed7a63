"""The convention as pages for people."""

import json
from collections.abc import Iterable, Sequence
from typing import TypeVar

from semconv.calls import Call, link_types
from semconv.definitions import (
    Attribute,
    Event,
    Example,
    Group,
    GroupReference,
    Metric,
    Reference,
    Registry,
    Signal,
    Span,
)

__all__ = ["write_markdown"]

_Signal = TypeVar("_Signal", bound=Signal)

OPERATION_NAME = "crucible.operation.name"
COMMON = ("crucible.operation", "crucible.event")
"""Groups of what every operation and every event carries."""
HEADER = "<!-- GENERATED from semconv/model by `python semconv/generate.py`. Do not edit. -->\n\n"

INTRODUCTION = """# The convention

The names this package writes, and what each of them means. They are the contract: what is emitted is checked against
them, and dashboards, queries and readers may rely on them. Its schema URL is
`{schema_url}`.

## How to read it

**A name** is lower case. Dots separate namespaces and everything of ours begins with `crucible.`. No name is a
namespace of another. A *template* such as `crucible.training.metric.<name>` is followed by a name of yours.

**An operation** has a duration and is a span; its span type is `crucible.internal.<operation>` and its span name is the
operation, so that a viewer lists few names. **An event** happens at one instant and is a span event on the operation it
belongs to. Many events of older recorders are the start or the
end of an operation: they are its *aliases*, and a search for one finds the span. A name with the signal `both` is met
as a span and as an event. A *liftable* event may also be recorded as a short span, because a link reaches spans only.

[Which call records what](#calls) is listed below, with the attributes of each.

**Requirement levels**: *required* is always there; *conditionally required* whenever its condition holds; *recommended*
whenever it is known; *opt-in* only when somebody asked for it. Absent means unknown, never a default.

**Stability**: a *development* name may still change with the next version of the convention; a *stable* one may not.

**Content** is free text of yours, of any length. It is never put on a metric.

**Units** are those of UCUM: `s` seconds, `By` bytes, `1` a plain number, `{{step}}` a count of steps. Losses, scores,
metrics and window statistics are always doubles, indexes and counts always integers.
"""


MARKERS = """\
A *long* operation has two markers besides: `<operation>_started`, a zero-length span that is sent at once so that the
operation is seen while it runs, and `<operation>_interrupted`, which somebody else writes when its process died.
They are listed on the page [life](convention/life.md).
"""


CALLS = """\
Attributes in bold are always there. Every span carries the group
[crucible.operation](convention/common.md#group-crucibleoperation) besides, every event the group
[crucible.event](convention/common.md#group-crucibleevent); the start and the end of an operation are those of its
span. A method of `Epoch` is one of `TrainingRun` too, and `depends_on=` and `links=` are taken by every call that
records a span.
"""


def write_markdown(registry: Registry, calls: Sequence[Call] = ()) -> dict[str, str]:
    """Path below the repository's root to the text of each generated page."""
    pages = {f"docs/convention/{area}.md": HEADER + _page(registry, area) for area in registry.areas}
    return {"docs/convention.md": HEADER + _index(registry, calls), **pages}


def _index(registry: Registry, calls: Sequence[Call]) -> str:
    spans, events, metrics = registry.spans.values(), registry.events.values(), registry.metrics.values()
    own = [attribute for attribute in registry.attributes.values() if not attribute.upstream]
    areas = [
        (
            f"[{area}](convention/{area}.md)",
            title,
            *(str(sum(definition.area == area for definition in kind) or "") for kind in (spans, events, own, metrics)),
        )
        for area, title in registry.areas.items()
    ]
    operations = [
        (_link(span, "operation"), span.brief, _code_list(_aliases(registry, span)))
        for span in _sorted(spans)
        if span.boundary is None
    ]
    measured = [
        (_link(metric, "metric"), metric.instrument, f"`{metric.unit}`", metric.brief) for metric in _sorted(metrics)
    ]
    links = [(f"`{name}`", brief) for name, brief in link_types(registry).items()]
    reused = [
        (f"`{a.key}`", a.type, a.brief, a.stability)
        for a in sorted(registry.attributes.values(), key=_key)
        if a.upstream
    ]
    happened = [(_link(event, "event"), event.brief) for event in _sorted(events) if not event.upstream]
    reused_events = [
        (f"`{event.name}`", event.brief, _code_list(registry.uses(event.references)), event.stability)
        for event in _sorted(events)
        if event.upstream
    ]
    return _join(
        INTRODUCTION.format(schema_url=registry.schema_url),
        _section("Areas", ("area", "what it holds", "operations", "events", "attributes", "metrics"), areas),
        _section("Operations", ("operation", "what it is", "aliases"), operations),
        MARKERS if "life" in registry.areas else "",
        _section("Events", ("event", "what happened"), happened),
        _section("Metrics", ("metric", "instrument", "unit", "what it measures"), measured),
        _section("Link types", ("type", "how the span that holds the link stands to the one it points at"), links),
        _section("Calls", ("call", "records", "with the attributes"), _call_rows(registry, calls)),
        CALLS if calls else "",
        _section("Reused as they are", ("attribute", "type", "what it says", "stability"), reused),
        _section("Reused events", ("event", "what happened", "attributes", "stability"), reused_events),
    )


def _page(registry: Registry, area: str) -> str:
    own = [attribute for attribute in registry.attributes.values() if attribute.area == area and not attribute.upstream]
    spans = [span for span in registry.spans.values() if span.area == area]
    events = [event for event in registry.events.values() if event.area == area]
    metrics = [metric for metric in registry.metrics.values() if metric.area == area]
    groups = [group for group in registry.groups.values() if group.area == area]
    return _join(
        f"# {registry.areas[area].rstrip('.')}\n\n[The whole convention](../convention.md)\n",
        _section(
            "Attributes",
            ("attribute", "type", "unit", "what it says", "examples", "stability"),
            [_row(item) for item in own],
        ),
        *(_values(attribute) for attribute in own if attribute.enum is not None),
        "## Operations\n" if spans else "",
        *(_signal(registry, "Operation", span, _span_facts(registry, span)) for span in spans),
        "## Events\n" if events else "",
        *(_signal(registry, "Event", event, _event_facts(event)) for event in events),
        "## Metrics\n" if metrics else "",
        *(_signal(registry, "Metric", metric, _metric_facts(metric)) for metric in metrics),
        "## Attribute groups\n" if groups else "",
        *(_group(registry, group) for group in groups),
    )


def _call_rows(registry: Registry, calls: Sequence[Call]) -> list[tuple[str, ...]]:
    """A row for each thing that a call records; the call stands in its first, the attributes where a signal is new."""
    rows: list[tuple[str, ...]] = []
    told: set[str] = set()
    for call in calls:
        found = []
        for name in call.records:
            span = registry.spans.get(name)
            signal = span or registry.events[name]
            said = f"span {_link(signal, 'operation')}" if span else f"event {_event_link(signal)}"
            found.append((said, "as above" if name in told else _own_attributes(registry, signal)))
            told.add(name)
        if call.links:
            found.append((f"link {_code_list(call.links)}", ""))
        if call.metrics:
            found.append((f"metric {', '.join(_link(registry.metrics[name], 'metric') for name in call.metrics)}", ""))
        rows += [(f"`{call.name}`" if at == 0 else "", *each) for at, each in enumerate(found)]
    return rows


def _event_link(event: Signal) -> str:
    """One that is reused as it is has no page of its own."""
    if isinstance(event, Event) and event.upstream:
        return f"[`{event.name}`](#reused-events)"
    return _link(event, "event")


def _own_attributes(registry: Registry, signal: Signal) -> str:
    """What the signal carries beside what all of its kind do; the required ones in bold."""
    said = []
    for reference in signal.references:
        if isinstance(reference, GroupReference):
            if reference.id not in COMMON:
                said.append(_use(registry, reference, "convention/")[0])
        elif reference.key != OPERATION_NAME:
            key = f"`{reference.key}.<name>`" if registry.attributes[reference.key].template else f"`{reference.key}`"
            said.append(f"**{key}**" if reference.level == "required" else key)
    return ", ".join(said)


def _row(attribute: Attribute) -> tuple[str, ...]:
    key = f"{attribute.key}.<name>" if attribute.template else attribute.key
    marks = [attribute.note, "*Content.*" if attribute.content else "", _deprecated(attribute)]
    kind = f"one of [{attribute.enum}](#{attribute.enum.lower()})" if attribute.enum else attribute.type
    if attribute.enum and attribute.type.endswith("[]"):
        kind = f"list of {kind.removeprefix('one of ')}"
    examples = ", ".join(f"`{_example(example)}`" for example in attribute.examples)
    said = " ".join((attribute.brief, *(mark for mark in marks if mark)))
    return (f"`{key}`", kind, f"`{attribute.unit}`" if attribute.unit else "", said, examples, attribute.stability)


def _example(example: Example) -> str:
    return json.dumps(example, ensure_ascii=False) if not isinstance(example, str) else example


def _values(attribute: Attribute) -> str:
    rows = [(f"`{member.value}`", member.brief, member.stability) for member in attribute.members]
    title = f"### {attribute.enum}\n\nValues of `{attribute.key}`; the set is open.\n\n"
    return title + _table(("value", "what it means", "stability"), rows)


def _signal(registry: Registry, kind: str, signal: Signal, facts: Sequence[str]) -> str:
    said = " ".join(text for text in (signal.brief, signal.note, _deprecated(signal)) if text)
    shared = [f"{signal.stability}, {_level(signal.level)}"]
    if signal.operations:
        shared.append(f"belongs to {_code_list(signal.operations)}")
    title = f"### {kind} `{signal.name}`\n\n{said}\n\n*{'; '.join((*facts, *shared))}.*\n"
    rows = [_use(registry, reference) for reference in signal.references]
    return title + ("\n" + _table(("attribute", "requirement level"), rows) if rows else "")


def _span_facts(registry: Registry, span: Span) -> list[str]:
    facts = [f"span type `{span.type}`", f"span name `{span.span_name}`"]
    if span.signal == "both":
        facts.append("met as a span and as an event")
    if span.boundary is not None:
        facts.append(f"marks the {span.boundary.at} of `{span.boundary.span}`")
    if span.long:
        facts.append(f"long: has the markers `{span.name}_started` and `{span.name}_interrupted`")
    if aliases := _aliases(registry, span):
        facts.append(f"aliases {_code_list(aliases)}")
    return facts


def _event_facts(event: Event) -> list[str]:
    facts = [f"severity {event.severity}"]
    if event.signal == "both":
        facts.append("met as a span and as an event")
    if event.boundary is not None:
        facts.append(f"the {event.boundary.at} of the span `{event.boundary.span}`")
    if event.liftable:
        facts.append("liftable to a span")
    if event.foreign:
        facts.append("written only by an import")
    return facts


def _metric_facts(metric: Metric) -> list[str]:
    return [metric.instrument, f"unit `{metric.unit}`", metric.value_type]


def _group(registry: Registry, group: Group) -> str:
    rows = [_use(registry, reference) for reference in group.references]
    return (
        f"### Group `{group.id}`\n\n"
        + (f"{group.brief}\n\n" if group.brief else "")
        + _table(("attribute", "requirement level"), rows)
    )


def _use(registry: Registry, reference: Reference | GroupReference, folder: str = "") -> tuple[str, str]:
    if isinstance(reference, GroupReference):
        group = registry.groups[reference.id]
        return f"all of [{group.id}]({folder}{group.area}.md#group-{_anchor(group.id)})", "as the group says"
    attribute = registry.attributes[reference.key]
    key = f"{reference.key}.<name>" if attribute.template else reference.key
    level = f"{_level(reference.level)}: {reference.condition}" if reference.condition else _level(reference.level)
    return f"`{key}`", level + (
        " Set at the start." if reference.condition else ", set at the start"
    ) * reference.sampling_relevant


def _aliases(registry: Registry, span: Span) -> list[str]:
    return [event.name for event in registry.events.values() if event.alias_of == span.name]


def _deprecated(definition: Attribute | Signal) -> str:
    return f"**Deprecated**: {definition.deprecated.note}" if definition.deprecated else ""


def _level(level: str) -> str:
    return level.replace("opt_in", "opt-in").replace("_", " ")


def _link(signal: Signal, kind: str) -> str:
    return f"[`{signal.name}`](convention/{signal.area}.md#{kind}-{_anchor(signal.name)})"


def _anchor(text: str) -> str:
    return text.replace(".", "")


def _code_list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _key(attribute: Attribute) -> str:
    return attribute.key


def _sorted(signals: Iterable[_Signal]) -> list[_Signal]:
    return sorted(signals, key=lambda signal: signal.name)


def _section(title: str, head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return f"## {title}\n\n{_table(head, rows)}" if rows else ""


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def _join(*parts: str) -> str:
    return "\n".join(part for part in parts if part)
