"""What the convention defines, as frozen values."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from semconv.yaml_nodes import Place, Scalar

__all__ = [
    "Attribute",
    "Boundary",
    "Deprecation",
    "Event",
    "Example",
    "Group",
    "GroupReference",
    "Member",
    "Metric",
    "Reference",
    "Registry",
    "RequirementLevel",
    "Signal",
    "Span",
]

RequirementLevel = Literal["required", "conditionally_required", "recommended", "opt_in"]
Example = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Deprecation:
    """Why a name should no longer be used."""

    reason: str
    note: str
    renamed_to: str | None
    place: Place


@dataclass(frozen=True, slots=True)
class Member:
    """One value of an enumeration."""

    id: str
    value: str
    brief: str
    stability: str
    place: Place


@dataclass(frozen=True, slots=True)
class Attribute:
    """One attribute key, or a template of keys."""

    key: str
    type: str
    """`string`, `int[]`, ...; `bytes` or `scalar` where the schema language can say only `any`."""
    template: bool
    brief: str
    note: str
    stability: str
    examples: tuple[Example, ...]
    content: bool
    unit: str | None
    enum: str | None
    members: tuple[Member, ...]
    deprecated: Deprecation | None
    upstream: bool
    area: str
    place: Place


@dataclass(frozen=True, slots=True)
class Reference:
    """A signal's or group's use of an attribute."""

    key: str
    level: RequirementLevel
    condition: str
    sampling_relevant: bool
    place: Place


@dataclass(frozen=True, slots=True)
class GroupReference:
    """A signal's use of all attributes of a group."""

    id: str
    place: Place


@dataclass(frozen=True, slots=True)
class Group:
    """Attributes that are used together."""

    id: str
    public: bool
    brief: str
    references: tuple[Reference | GroupReference, ...]
    area: str
    place: Place


@dataclass(frozen=True, slots=True)
class Boundary:
    """The name is the start, the end or the interruption of an operation's span."""

    span: str
    at: str
    place: Place


@dataclass(frozen=True, slots=True)
class Signal:
    """What spans, events and metrics have in common."""

    name: str
    brief: str
    note: str
    stability: str
    level: str
    references: tuple[Reference | GroupReference, ...]
    operations: tuple[str, ...]
    deprecated: Deprecation | None
    area: str
    place: Place


@dataclass(frozen=True, slots=True)
class Span(Signal):
    """An operation."""

    type: str
    kind: str
    span_name: str
    signal: str
    boundary: Boundary | None
    long: bool


@dataclass(frozen=True, slots=True)
class Event(Signal):
    """Something that happens at one instant inside an operation."""

    signal: str
    boundary: Boundary | None
    liftable: bool
    severity: str
    foreign: bool
    upstream: bool

    @property
    def alias_of(self) -> str | None:
        """The operation whose start or end it is, where it has a name of its own."""
        if self.boundary is None or self.boundary.span == self.name:
            return None
        return self.boundary.span


@dataclass(frozen=True, slots=True)
class Metric(Signal):
    """A measured number."""

    instrument: str
    unit: str
    value_type: str


@dataclass(frozen=True, slots=True)
class Registry:
    """The whole convention, each kind of name in its own name space."""

    schema_url: str
    attributes: Mapping[str, Attribute]
    groups: Mapping[str, Group]
    spans: Mapping[str, Span]
    events: Mapping[str, Event]
    metrics: Mapping[str, Metric]
    areas: Mapping[str, str]
    """File stem to the sentence that its first comment line holds."""

    def uses(self, references: tuple[Reference | GroupReference, ...]) -> dict[str, Reference]:
        """Attribute key to its use, groups opened; what a signal says itself beats what its groups say."""
        found: dict[str, Reference] = {}
        for reference in references:
            if isinstance(reference, GroupReference) and reference.id in self.groups:
                for key, use in self.uses(self.groups[reference.id].references).items():
                    found.setdefault(key, use)
        for reference in references:
            if isinstance(reference, Reference):
                found[reference.key] = reference
        return found
