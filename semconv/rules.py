"""What must hold over the whole convention, whatever file a definition stands in."""

import re
from collections.abc import Iterable, Mapping

from semconv.definitions import Attribute, Event, Group, GroupReference, Metric, Registry, Signal, Span
from semconv.read_definitions import STABILITIES
from semconv.yaml_nodes import Place, Refusals

__all__ = ["CLASS_NAME", "NAME", "NAMESPACE", "SPAN_NAMESPACE", "check", "constant"]

NAME = re.compile(r"[a-z][a-z0-9]*([._][a-z0-9]+)*")
WORD = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
CLASS_NAME = re.compile(r"([A-Z][a-z0-9]*)+")
NAMESPACE = "crucible."
SPAN_NAMESPACE = "crucible.internal."
UNITS_IN_NAMES = ("_total", "_seconds", "_milliseconds", "_bytes", "_percent")


def constant(name: str, *, template: bool = False) -> str:
    """The Python constant of a name: `crucible.run.id` is `CRUCIBLE_RUN_ID`."""
    return name.replace(".", "_").upper() + ("_TEMPLATE" if template else "")


def check(registry: Registry, refusals: Refusals) -> None:
    """Refuse everything that breaks a rule."""
    _names(registry, refusals)
    _namespaces(registry.attributes, refusals)
    _namespaces(registry.metrics, refusals)
    _constants(
        ((constant(name, template=a.template), name, a.place) for name, a in registry.attributes.items()), refusals
    )
    _constants(((constant(name), name, metric.place) for name, metric in registry.metrics.items()), refusals)
    _enums(registry, refusals)
    signals = _signals(registry)
    owners: list[Group | Signal] = [*registry.groups.values(), *signals]
    for owner in owners:
        _references(registry, owner, refusals)
    for signal in signals:
        _operations(registry, signal, refusals)
        _stability(registry, signal, refusals)
    _shared_names(registry, refusals)
    _markers(registry, refusals)
    _renames(registry, refusals)
    _metrics(registry, refusals)
    _unused(registry, refusals)


def _signals(registry: Registry) -> list[Signal]:
    return [*registry.spans.values(), *registry.events.values(), *registry.metrics.values()]


def _names(registry: Registry, refusals: Refusals) -> None:
    for key, attribute in registry.attributes.items():
        _name(key, "attribute", attribute.place, refusals)
        if attribute.upstream and key.startswith(NAMESPACE):
            refusals.add(attribute.place, f"the attribute `{key}` is ours; define it in the model")
        if not attribute.upstream:
            _ours(key, "attribute", attribute.place, refusals)
    for name, group in registry.groups.items():
        _name(name, "group", group.place, refusals)
        _ours(name, "group", group.place, refusals)
    for name, metric in registry.metrics.items():
        _name(name, "metric", metric.place, refusals)
        _ours(name, "metric", metric.place, refusals)
    for name, span in registry.spans.items():
        _word(name, "operation", span.place, refusals)
        if span.type != SPAN_NAMESPACE + name:
            foreign = f"the span `{span.type}` is in a namespace that is not ours"
            refusals.add(span.place, f"{foreign}; call it `{SPAN_NAMESPACE}{name}`")
    for name, event in registry.events.items():
        _event_name(name, event, refusals)


def _event_name(name: str, event: Event, refusals: Refusals) -> None:
    if event.upstream:
        _name(name, "event", event.place, refusals)
        if "." not in name:
            refusals.add(event.place, f"the event `{name}` is ours; define it in the model")
    elif "." in name:
        foreign = f"the event `{name}` is in a namespace that is not ours"
        refusals.add(event.place, f"{foreign}; an event of ours is one word such as `early_stopped`")
    else:
        _word(name, "event", event.place, refusals)


def _ours(name: str, kind: str, place: Place, refusals: Refusals) -> None:
    if not name.startswith(NAMESPACE):
        foreign = f"the {kind} `{name}` is in a namespace that is not ours"
        refusals.add(place, f"{foreign}; begin it with `{NAMESPACE}`, or refer to what upstream/ holds")


def _name(name: str, kind: str, place: Place, refusals: Refusals) -> None:
    if not NAME.fullmatch(name):
        refusals.add(
            place,
            f"`{name}` is no {kind} name; use lower case, digits, dots and single underscores, as in `crucible.run.id`",
        )


def _word(name: str, kind: str, place: Place, refusals: Refusals) -> None:
    if not WORD.fullmatch(name):
        refusals.add(
            place,
            f"`{name}` is no {kind} name; use lower case, digits and single underscores, as in `training_run`",
        )


def _namespaces(named: Mapping[str, Attribute] | Mapping[str, Metric], refusals: Refusals) -> None:
    for name, definition in named.items():
        parts = name.split(".")
        for length in range(1, len(parts)):
            shorter = named.get(".".join(parts[:length]))
            if shorter is not None:
                taken = ".".join(parts[:length])
                kind = "template" if isinstance(shorter, Attribute) and shorter.template else "name"
                refusals.add(
                    shorter.place,
                    f"the {kind} `{taken}` is a namespace of `{name}` ({definition.place}); rename one of them",
                )


def _constants(names: Iterable[tuple[str, str, Place]], refusals: Refusals) -> None:
    taken: dict[str, str] = {}
    for made, name, place in names:
        if made in taken:
            refusals.add(place, f"`{name}` and `{taken[made]}` make one constant, `{made}`; rename one of them")
        taken.setdefault(made, name)


def _enums(registry: Registry, refusals: Refusals) -> None:
    classes: dict[str, str] = {}
    for attribute in registry.attributes.values():
        if attribute.enum is None:
            continue
        if not CLASS_NAME.fullmatch(attribute.enum):
            refusals.add(attribute.place, f"`{attribute.enum}` is no class name; write it as in `LinkType`")
        if attribute.enum in classes:
            refusals.add(
                attribute.place,
                f"`{attribute.key}` and `{classes[attribute.enum]}` make one class, `{attribute.enum}`; rename one of "
                "them",
            )
        classes.setdefault(attribute.enum, attribute.key)
        seen: set[str] = set()
        for member in attribute.members:
            if not WORD.fullmatch(member.id):
                refusals.add(
                    member.place,
                    f"`{member.id}` is no member name; use lower case, digits and single underscores",
                )
            for text in {member.id, member.value}:
                if text in seen:
                    refusals.add(
                        member.place, f"the member `{text}` of `{attribute.key}` is a duplicate; keep one of them"
                    )
            seen.update((member.id, member.value))


def _references(registry: Registry, owner: Group | Signal, refusals: Refusals) -> None:
    name = owner.id if isinstance(owner, Group) else owner.name
    own: set[str] = set()
    grouped: dict[str, str] = {}
    for reference in owner.references:
        if isinstance(reference, GroupReference):
            group = registry.groups.get(reference.id)
            if group is None:
                refusals.add(
                    reference.place,
                    f"`{name}` refers to the group `{reference.id}`, which nothing defines; define it or correct the "
                    "name",
                )
                continue
            for key in registry.uses(group.references):
                if key in grouped:
                    refusals.add(
                        reference.place,
                        f"`{name}` gets `{key}` from two groups, `{grouped[key]}` and `{reference.id}`; take it out of "
                        "one of them",
                    )
                grouped.setdefault(key, reference.id)
            continue
        if reference.key in own:
            refusals.add(
                reference.place, f"the reference to `{reference.key}` in `{name}` is a duplicate; keep one of them"
            )
        own.add(reference.key)
        _reference(registry, name, reference.key, reference.place, refusals)
    if isinstance(owner, Metric | Event):
        _fit(registry, owner, refusals)


def _reference(registry: Registry, owner: str, key: str, place: Place, refusals: Refusals) -> None:
    if key in registry.attributes:
        return
    parents = (key[: -len(tail)] for tail in (key[i:] for i, letter in enumerate(key) if letter == "."))
    template = next(
        (parent for parent in parents if parent in registry.attributes and registry.attributes[parent].template), None
    )
    if template is not None:
        refusals.add(place, f"`{owner}` refers to `{key}`, one key of a template; refer to the template `{template}`")
    else:
        refusals.add(
            place,
            f"`{owner}` refers to `{key}`, which nothing defines; define it, in upstream/ if it is not ours, or "
            "correct "
            "the name",
        )


def _fit(registry: Registry, signal: Metric | Event, refusals: Refusals) -> None:
    for key, use in registry.uses(signal.references).items():
        attribute = registry.attributes.get(key)
        if attribute is None:
            continue
        if isinstance(signal, Event):
            if key in {"event", "event.name"}:
                refusals.add(
                    use.place,
                    f"the event `{signal.name}` has an attribute `{key}`, which would hide its name in viewers; remove "
                    "it",
                )
            continue
        if attribute.template:
            refusals.add(
                use.place,
                f"the metric `{signal.name}` refers to the template `{key}`, an open set of keys; refer to an "
                "attribute "
                "that names the key",
            )
        if attribute.content:
            refusals.add(
                use.place,
                f"the metric `{signal.name}` refers to `{key}`, which is content; a metric carries no free text, "
                "remove "
                "it",
            )


def _operations(registry: Registry, signal: Signal, refusals: Refusals) -> None:
    for operation in signal.operations:
        if operation not in registry.spans:
            refusals.add(
                signal.place,
                f"`{signal.name}` belongs to the operation `{operation}`, which nothing defines; define its span or "
                "correct the name",
            )
    if isinstance(signal, Span | Event) and signal.boundary is not None and signal.boundary.span not in registry.spans:
        refusals.add(
            signal.boundary.place,
            f"`{signal.name}` is the {signal.boundary.at} of the span `{signal.boundary.span}`, which nothing defines; "
            "define it or correct the name",
        )


def _stability(registry: Registry, signal: Signal, refusals: Refusals) -> None:
    for key, use in registry.uses(signal.references).items():
        attribute = registry.attributes.get(key)
        if attribute is None or use.level == "opt_in":
            continue
        if STABILITIES.index(attribute.stability) < STABILITIES.index(signal.stability):
            refusals.add(
                signal.place,
                f"`{signal.name}` is {signal.stability} and its attribute `{key}` only {attribute.stability}; lower "
                "the "
                "one or raise the other",
            )


def _shared_names(registry: Registry, refusals: Refusals) -> None:
    both: tuple[tuple[Mapping[str, Span] | Mapping[str, Event], Mapping[str, Span] | Mapping[str, Event], str], ...] = (
        (registry.spans, registry.events, "event"),
        (registry.events, registry.spans, "span"),
    )
    for named, others, other in both:
        for name, signal in named.items():
            if signal.signal == "both" and name not in others:
                refusals.add(
                    signal.place,
                    f"`{name}` has the signal `both` and is defined as no {other}; define it as one, or change the "
                    "signal",
                )
            if signal.signal != "both" and name in others:
                refusals.add(
                    signal.place,
                    f"`{name}` is defined as a span and as an event; give both the signal `both`, or rename one",
                )


def _markers(registry: Registry, refusals: Refusals) -> None:
    for span in registry.spans.values():
        for ending, moment in (("started", "start"), ("interrupted", "interruption")):
            marker = registry.spans.get(f"{span.name}_{ending}")
            marks = (
                marker is not None
                and marker.boundary is not None
                and (marker.boundary.span, marker.boundary.at) == (span.name, moment)
            )
            if span.long and not marks:
                refusals.add(
                    span.place,
                    f"`{span.name}` is long and has no marker `{span.name}_{ending}`; define that span with the "
                    f"boundary `{moment}`, or remove `long`",
                )
            if marks and not span.long and marker is not None:
                refusals.add(
                    marker.place,
                    f"`{marker.name}` marks `{span.name}`, which is not long; remove the marker, or add `long: true` "
                    "there",
                )


def _renames(registry: Registry, refusals: Refusals) -> None:
    kinds: tuple[Mapping[str, Attribute | Span | Event | Metric], ...] = (
        dict(registry.attributes),
        {span.type: span for span in registry.spans.values()},
        dict(registry.events),
        dict(registry.metrics),
    )
    for named in kinds:
        for name, definition in named.items():
            deprecated = definition.deprecated
            if deprecated is not None and deprecated.renamed_to is not None and deprecated.renamed_to not in named:
                refusals.add(
                    deprecated.place,
                    f"`{name}` is renamed to `{deprecated.renamed_to}`, which nothing defines; define it or correct "
                    "the "
                    "name",
                )


def _metrics(registry: Registry, refusals: Refusals) -> None:
    for name, metric in registry.metrics.items():
        for ending in UNITS_IN_NAMES:
            if name.endswith(ending):
                refusals.add(
                    metric.place,
                    f"the metric `{name}` ends with `{ending}`; say it by the instrument and the unit, and shorten the "
                    "name",
                )
        if name.endswith(".duration") and (metric.unit, metric.instrument) != ("s", "histogram"):
            refusals.add(
                metric.place, f"the metric `{name}` is a duration and no histogram in `s`; make it one or rename it"
            )


def _unused(registry: Registry, refusals: Refusals) -> None:
    signals = _signals(registry)
    opened = {item.id for signal in signals for item in signal.references if isinstance(item, GroupReference)}
    owners: list[Signal | Group] = [*signals, *registry.groups.values()]
    used = {key for owner in owners for key in registry.uses(owner.references)}
    for attribute in registry.attributes.values():
        if attribute.upstream and attribute.key not in used:
            refusals.add(attribute.place, f"nothing refers to the upstream attribute `{attribute.key}`; remove it")
    for group in registry.groups.values():
        if not group.public and group.id not in opened:
            refusals.add(
                group.place, f"nothing refers to the internal group `{group.id}`; remove it, or make it public"
            )
