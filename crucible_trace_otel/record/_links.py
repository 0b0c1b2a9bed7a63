"""Causal links: from what is recorded to what it depends on, wherever in the process that was recorded.

A link reaches spans only, and one viewer hides its attributes, so each link is also mirrored in attributes of the span
it starts from.
"""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from itertools import islice
from typing import Any, Protocol, TypeAlias

from opentelemetry.trace import Link, SpanContext

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._values import one_line, printable
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import LinkType

__all__ = [
    "Causes",
    "LinkTarget",
    "LinkTargets",
    "Linkable",
    "Links",
    "causes_of",
    "each_target",
    "is_known",
    "links_with",
    "may_link",
    "remember",
]


class Linkable(Protocol):
    """Anything recorded that another record may depend on."""

    @property
    def event_id(self) -> str:
        """Its own id, 32 hex digits."""

    @property
    def span_context(self) -> SpanContext:
        """The span that carries it."""

    @property
    def operation_name(self) -> str:
        """The convention's name for it."""

    @property
    def about(self) -> str:
        """Its summary."""


LinkTarget: TypeAlias = Linkable | SpanContext | str
"""What `depends_on=`, `parent=` and `links=` take: a record, a span context, or the event id of a record."""

LinkTargets: TypeAlias = LinkTarget | Iterable[LinkTarget]
Links: TypeAlias = Mapping[str, LinkTargets]
"""What `links=` takes: a link type to its target or targets."""

_MOST_REMEMBERED = 10_000
_MOST_VISITED = 1_000
_MOST_TARGETS = 1_000


@dataclass(frozen=True, slots=True)
class _Known:
    span_context: SpanContext
    name: str
    causes: list[str] = field(default_factory=list)
    """Event ids of what it rests on."""


_known: OrderedDict[str, _Known] = OrderedDict()


def may_link(there: SpanContext, parent: SpanContext, own_trace_id: int | None) -> bool:
    """Whether viewers read a link to `there` right: not to the own parent, and not from a root into its own trace."""
    if parent.is_valid:
        return (there.trace_id, there.span_id) != (parent.trace_id, parent.span_id)
    return there.trace_id != own_trace_id


def remember(record: Linkable, causes: "Causes") -> None:
    """Keep where `record` is and what it rests on, so that later records can name it by its event id."""
    if record.event_id not in _known:
        name = f"{record.operation_name}: {record.about}"
        _known[record.event_id] = _Known(record.span_context, name, causes.targets)
        while len(_known) > _MOST_REMEMBERED:
            _known.popitem(last=False)


def is_known(event_id: str) -> bool:
    """Whether a record of that id is remembered."""
    return event_id in _known


@dataclass(slots=True)
class Causes:
    """The causal links of one record, as OpenTelemetry links and as the attributes that mirror them."""

    links: list[Link] = field(default_factory=list)
    types: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    span_ids: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)
    cycle: list[str] = field(default_factory=list)

    def copy(self) -> "Causes":
        """The same, to add to."""
        return Causes(*(list(getattr(self, each.name)) for each in fields(self)))

    def attributes(self) -> dict[str, Any]:
        """The mirror: three parallel arrays, and what could not be linked."""
        if not self.types and not self.unknown:
            return {}
        mirrored = {
            attr.CRUCIBLE_DEPENDENCY_NAMES: self.names,
            attr.CRUCIBLE_DEPENDENCY_SPAN_IDS: self.span_ids,
            attr.CRUCIBLE_DEPENDENCY_TYPES: self.types,
            attr.CRUCIBLE_DEPENDENCY_UNKNOWN: self.unknown,
            attr.CRUCIBLE_DEPENDENCY_CYCLE: self.cycle,
        }
        return {key: list(values) for key, values in mirrored.items() if values}

    def add(self, event_id: str, link_type: str, target: LinkTarget) -> Link | None:
        """Add one link from the record `event_id`. An unknown target and a cycle are marked and warned about once."""
        if isinstance(target, SpanContext):
            target_id, context, name = "", target, "span"
        else:
            target_id = target if isinstance(target, str) else str(getattr(target, "event_id", ""))
            known = _known.get(target_id)
            if (
                known is None
                and not isinstance(target, str)
                and isinstance(getattr(target, "span_context", None), SpanContext)
            ):
                known = _Known(target.span_context, f"{target.operation_name}: {target.about}")
            if known is None:
                self.miss(link_type, target)
                return None
            context, name = known.span_context, known.name
        if not context.is_valid:  # a record made while nothing was configured, or sampled out
            self.miss(link_type, target_id or "an invalid span context")
            return None
        if target_id:
            self._look_for_cycle(event_id, target_id)
            self.targets.append(target_id)
        attributes = {attr.CRUCIBLE_LINK_TYPE: link_type} | (
            {attr.CRUCIBLE_LINK_EVENT_ID: target_id} if target_id else {}
        )
        link = Link(context, attributes)
        self.links.append(link)
        self.types.append(link_type)
        self.names.append(one_line(f"{link_type}: {name}"))
        self.span_ids.append(f"{context.span_id:016x}")
        return link

    def miss(self, link_type: str, target: object) -> None:
        """Keep the name of a target that cannot be linked, and say so once."""
        said = one_line(target)
        self.unknown.append(said)
        warn_once(
            f"unknown target {said}",
            f"{link_type}: nothing recorded in this process has the event id {said!r}. The name is kept as "
            f"{attr.CRUCIBLE_DEPENDENCY_UNKNOWN}; pass the record itself, or its span context from another process.",
        )

    def _look_for_cycle(self, event_id: str, target_id: str) -> None:
        """Mark the path by which `target_id` already depends on `event_id`, if there is one."""
        path = _path(target_id, event_id)
        if path and not self.cycle:
            self.cycle = path
            warn_once(
                f"cycle {event_id}",
                f"A record depends on itself through {' -> '.join(path)}; the link is kept and marked.",
            )


@guarded(lambda *_, **__: Causes())
def causes_of(
    event_id: str,
    parent: LinkTarget | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Causes:
    """The causal links that the arguments of a recording call name."""
    causes = Causes()
    if parent is None and depends_on is None and links is None:
        return causes
    given = {LinkType.PARENT: parent, LinkType.DEPENDS_ON: depends_on, **links_with({}, links)}
    for link_type, targets in given.items():
        _add_all(causes, event_id, printable(link_type), targets)
    return causes


@guarded(nothing)
def _add_all(causes: Causes, event_id: str, link_type: str, targets: Any) -> None:
    """Add a link to each of `targets`; one that cannot be read is marked, and loses none of the others."""
    for target in each_target(targets):
        _add(causes, event_id, link_type, target)


@guarded(lambda own, _: dict(own))
def links_with(own: Mapping[str, Any], given: Any) -> dict[str, Any]:
    """The links of a room together with those the user gave, which must map a link type to its targets."""
    if given is None or isinstance(given, Mapping):
        return {**own, **(given or {})}
    warn_once(
        f"links {type(given).__name__}",
        f"links={printable(given)[:80]} was left out: it must map a link type to its target or targets.",
    )
    return dict(own)


def _add(causes: Causes, event_id: str, link_type: str, target: Any) -> None:
    try:
        causes.add(event_id, link_type, target)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        causes.miss(link_type, f"<unreadable {type(target).__qualname__}>")


def each_target(given: Any, most: int = _MOST_TARGETS) -> Iterator[Any]:
    """What `LinkTargets` names: one target, or each of several; None is none.

    Args:
        given: As the user gave it.
        most: How many are looked at, for some iterables have no end.
    """
    if isinstance(given, (str, SpanContext)) or not isinstance(given, Iterable):
        given = (given,)
    yield from (target for target in islice(given, most) if target is not None)


def _path(start: str, goal: str) -> list[str]:
    """The event ids from `start` to `goal` along what was recorded; empty if there is no such path."""
    came_from: dict[str, str] = {start: ""}
    waiting = [start]
    while waiting and len(came_from) <= _MOST_VISITED:
        here = waiting.pop()
        if here == goal:
            path = [here]
            while came_from[path[-1]]:
                path.append(came_from[path[-1]])
            return [goal, *reversed(path)]
        for target in _known[here].causes if here in _known else ():
            if target not in came_from:
                came_from[target] = here
                waiting.append(target)
    return []
