"""The convention as Python: constants, value sets and the typed catalogue."""

import textwrap
from collections.abc import Iterable, Mapping
from pathlib import Path

from semconv.definitions import Attribute, Boundary, Event, GroupReference, Metric, Reference, Registry, Signal, Span
from semconv.python_text import Call, Name, Splat, literal
from semconv.rules import constant

__all__ = ["write_python"]

FOLDER = "crucible_trace_otel/semconv"
HEADER = (
    "# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.\n"
)
WIDTH = 116


def write_python(registry: Registry) -> dict[str, str]:
    """Path below the repository's root to the text of each generated module."""
    modules = {
        "__init__": _init(registry),
        "attributes": _attributes(registry),
        "spans": _names(
            "Operation names, the values of `crucible.operation.name`; a span name begins with one.", registry.spans
        ),
        "events": _names("Event names.", registry.events),
        "metrics": _names("Metric names.", registry.metrics),
        "enums": _enums(registry),
        "definitions": (Path(__file__).parent / "templates/definitions.py").read_text(encoding="utf-8"),
        "catalogue": _catalogue(registry),
    }
    return {f"{FOLDER}/{name}.py": HEADER + text for name, text in modules.items()}


def _docstring(*paragraphs: str, indent: str = "") -> str:
    """A docstring that holds the paragraphs, wrapped; raw where it must hold a backslash."""
    lines = "\n\n".join(_wrap(text, len(indent)) for text in paragraphs if text).replace('"""', "'''")
    prefix = "r" if "\\" in lines else ""
    closing = f'\n{indent}"""' if "\n" in lines else '"""'
    return indent + prefix + '"""' + textwrap.indent(lines, indent).removeprefix(indent) + closing


def _wrap(text: str, indent: int) -> str:
    return "\n".join(textwrap.wrap(text, WIDTH - indent, break_long_words=False, break_on_hyphens=False))


def _init(registry: Registry) -> str:
    return "\n".join(
        (
            _docstring("The convention: every name this package writes, generated from the model in semconv/."),
            "",
            "from typing import Final",
            "",
            f"SCHEMA_URL: Final = {literal(registry.schema_url)}",
            _docstring("Identifies the convention and its version; set on every instrumentation scope."),
            "",
        )
    )


def _constants(title: str, constants: Iterable[tuple[str, str, str, str]]) -> str:
    lines = [_docstring(title), "", "from typing import Final", ""]
    for made, name, brief, note in sorted(constants):
        lines += [f"{made}: Final = {literal(name)}", _docstring(brief, note), ""]
    return "\n".join(lines)


def _attributes(registry: Registry) -> str:
    return _constants(
        "Attribute keys. A `_TEMPLATE` is followed by a dot and the user's own name.",
        (
            (constant(key, template=attribute.template), key, attribute.brief, _notes(attribute))
            for key, attribute in registry.attributes.items()
        ),
    )


def _names(title: str, named: Mapping[str, Span] | Mapping[str, Event] | Mapping[str, Metric]) -> str:
    return _constants(title, ((constant(name), name, signal.brief, _notes(signal)) for name, signal in named.items()))


def _notes(definition: Attribute | Signal) -> str:
    deprecated = f"Deprecated: {definition.deprecated.note}" if definition.deprecated else ""
    return " ".join(text for text in (definition.note, deprecated) if text)


def _enums(registry: Registry) -> str:
    lines = [
        _docstring("Value sets. All of them are open: a reader meets values of later versions."),
        "",
        "from typing import Final",
    ]
    for attribute in sorted(registry.attributes.values(), key=lambda attribute: attribute.enum or ""):
        if attribute.enum is None:
            continue
        lines += [
            "",
            "",
            f"class {attribute.enum}:",
            _docstring(f"Values of `{attribute.key}`.", attribute.brief, indent="    "),
        ]
        for member in attribute.members:
            lines += [
                "",
                f"    {constant(member.id)}: Final = {literal(member.value)}",
                _docstring(member.brief, indent="    "),
            ]
    return "\n".join((*lines, ""))


_CATALOGUE_HEAD = '''"""Every definition of the convention, by name."""

from collections.abc import Mapping
from typing import Final

from crucible_trace_otel.semconv.definitions import (
    AttributeDefinition,
    Boundary,
    EventDefinition,
    MetricDefinition,
    RequirementLevel,
    SpanDefinition,
)

__all__ = [
    "ALIASES",
    "ATTRIBUTES",
    "ATTRIBUTE_GROUPS",
    "EVENTS",
    "METRICS",
    "SPANS",
    "AttributeDefinition",
    "Boundary",
    "EventDefinition",
    "MetricDefinition",
    "RequirementLevel",
    "SpanDefinition",
    "find_attribute",
]


def find_attribute(key: str) -> AttributeDefinition | None:
    """The definition of a key as recorded, or of the template it is made from; None when nothing defines it."""
    found = ATTRIBUTES.get(key)
    if found is not None and not found.template:
        return found
    for end, letter in enumerate(key):
        template = ATTRIBUTES.get(key[:end]) if letter == "." else None
        if template is not None and template.template and end + 1 < len(key):
            return template
    return None
'''


def _catalogue(registry: Registry) -> str:
    groups = {name: _group_constant(name) for name in sorted(registry.groups)}
    parts = [_CATALOGUE_HEAD]
    for name, made in groups.items():
        head = f"{made}: Final[Mapping[str, RequirementLevel]] = "
        parts.append(head + literal(_own_levels(registry.groups[name].references), before=len(head)))
    public = {name: Name(made) for name, made in groups.items() if registry.groups[name].public}
    parts.append(_table("ATTRIBUTE_GROUPS", "Mapping[str, RequirementLevel]", public))
    parts.append(
        _table("ATTRIBUTES", "AttributeDefinition", {k: _attribute(a) for k, a in registry.attributes.items()})
    )
    parts.append(
        _table("SPANS", "SpanDefinition", {name: _span(registry, span) for name, span in registry.spans.items()})
    )
    parts.append(_table("EVENTS", "EventDefinition", {name: _event(event) for name, event in registry.events.items()}))
    parts.append(
        _table("METRICS", "MetricDefinition", {name: _metric(metric) for name, metric in registry.metrics.items()})
    )
    aliases = {name: event.alias_of for name, event in registry.events.items() if event.alias_of is not None}
    parts.append(_table("ALIASES", "str", aliases))
    parts.append(
        _docstring(
            "Event name to the operation whose span's start or end it is, so that a query by the event's name finds "
            "the span."
        )
    )
    text = parts[0] + "\n\n" + "\n".join(parts[1:])
    return text + "\n"


def _table(name: str, value_type: str, entries: Mapping[str, object]) -> str:
    head = f"{name}: Final[Mapping[str, {value_type}]] = "
    return head + literal(dict(sorted(entries.items())), before=len(head))


def _group_constant(name: str) -> str:
    return "_" + constant(name.partition(".")[2])


def _own_levels(references: tuple[Reference | GroupReference, ...]) -> dict[object, object]:
    """As a dict display reads: groups first, so that what stands after them wins."""
    levels: dict[object, object] = {
        Splat(_group_constant(reference.id)): None for reference in references if isinstance(reference, GroupReference)
    }
    levels.update({item.key: item.level for item in references if isinstance(item, Reference)})
    return levels


def _call(name: str, arguments: Mapping[str, object], defaults: Mapping[str, object]) -> Call:
    """A constructor call without the arguments that only repeat a default."""
    return Call(name, {key: value for key, value in arguments.items() if key not in defaults or defaults[key] != value})


def _attribute(attribute: Attribute) -> Call:
    return _call(
        "AttributeDefinition",
        {
            "key": attribute.key,
            "type": attribute.type,
            "brief": attribute.brief,
            "stability": attribute.stability,
            "template": attribute.template,
            "content": attribute.content,
            "unit": attribute.unit,
            "values": tuple(member.value for member in attribute.members),
            "upstream": attribute.upstream,
        },
        {"template": False, "content": False, "unit": None, "values": (), "upstream": False},
    )


def _shared(signal: Signal) -> dict[str, object]:
    return {
        "brief": signal.brief,
        "stability": signal.stability,
        "requirement_level": signal.level,
        "attributes": _own_levels(signal.references),
    }


def _boundary(boundary: Boundary | None) -> Call | None:
    return None if boundary is None else Call("Boundary", {"span": boundary.span, "at": boundary.at})


def _span(registry: Registry, span: Span) -> Call:
    events = registry.events.values()
    return _call(
        "SpanDefinition",
        {
            "name": span.name,
            "type": span.type,
            **_shared(span),
            "sampling_relevant": tuple(k for k, use in registry.uses(span.references).items() if use.sampling_relevant),
            "operations": span.operations,
            "signal": span.signal,
            "boundary": _boundary(span.boundary),
            "long": span.long,
            "aliases": tuple(sorted(event.name for event in events if event.alias_of == span.name)),
        },
        {"sampling_relevant": (), "operations": (), "signal": "span", "boundary": None, "long": False, "aliases": ()},
    )


def _event(event: Event) -> Call:
    return _call(
        "EventDefinition",
        {
            "name": event.name,
            **_shared(event),
            "operations": event.operations,
            "signal": event.signal,
            "boundary": _boundary(event.boundary),
            "liftable": event.liftable,
            "severity": event.severity,
            "foreign": event.foreign,
            "renamed_to": event.deprecated.renamed_to if event.deprecated else None,
        },
        {
            "signal": "event",
            "boundary": None,
            "liftable": False,
            "severity": "info",
            "foreign": False,
            "renamed_to": None,
        },
    )


def _metric(metric: Metric) -> Call:
    return _call(
        "MetricDefinition",
        {
            "name": metric.name,
            "instrument": metric.instrument,
            "unit": metric.unit,
            "value_type": metric.value_type,
            **_shared(metric),
            "operations": metric.operations,
        },
        {"operations": ()},
    )
