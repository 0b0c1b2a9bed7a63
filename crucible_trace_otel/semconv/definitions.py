# GENERATED from semconv/model by `python semconv/generate.py`. Do not edit: change the model and run it again.
"""What a definition of the convention holds."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

__all__ = [
    "AttributeDefinition",
    "Boundary",
    "EventDefinition",
    "MetricDefinition",
    "RequirementLevel",
    "SpanDefinition",
]

RequirementLevel = Literal["required", "conditionally_required", "recommended", "opt_in"]


@dataclass(frozen=True, slots=True)
class AttributeDefinition:
    """One attribute key, or a template of keys."""

    key: str
    type: str
    """`string`, `int`, `double`, `boolean`, one of these with `[]`, `bytes`, or `scalar`: any one of the first four."""
    brief: str
    stability: str
    template: bool = False
    """Whether the key is followed by a dot and the user's own name."""
    content: bool = False
    """Whether the value is free text of the user, of any length."""
    unit: str | None = None
    values: tuple[str, ...] = ()
    """The known values; the set is open."""
    upstream: bool = False
    """Whether OpenTelemetry defines it, not this convention."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """A name that stands for one moment of an operation."""

    span: str
    at: Literal["start", "end", "interruption"]


@dataclass(frozen=True, slots=True)
class SpanDefinition:
    """One operation."""

    name: str
    type: str
    brief: str
    stability: str
    requirement_level: Literal["recommended", "opt_in"]
    attributes: Mapping[str, RequirementLevel]
    sampling_relevant: tuple[str, ...] = ()
    """The attributes to set when the span starts, because a sampler may decide by them."""
    operations: tuple[str, ...] = ()
    """The operations it is met inside of; empty when it stands alone."""
    signal: Literal["span", "both"] = "span"
    boundary: Boundary | None = None
    """Set on a zero-length marker: the moment of another operation that it shows."""
    long: bool = False
    """Whether it has a `_started` and an `_interrupted` marker."""
    aliases: tuple[str, ...] = ()
    """The events that are the start or the end of this span."""


@dataclass(frozen=True, slots=True)
class EventDefinition:
    """One event."""

    name: str
    brief: str
    stability: str
    requirement_level: Literal["recommended", "opt_in"]
    attributes: Mapping[str, RequirementLevel]
    operations: tuple[str, ...]
    """The operations whose spans hold it; empty for an event of OpenTelemetry's, which any may hold."""
    signal: Literal["event", "both"] = "event"
    boundary: Boundary | None = None
    """Set when the start or the end of a span is this event."""
    liftable: bool = False
    """Whether an option records it as a short span, which a link can reach."""
    severity: Literal["info", "warn", "error"] = "info"
    foreign: bool = False
    """Whether only an import of another recorder's traces writes it."""
    renamed_to: str | None = None


@dataclass(frozen=True, slots=True)
class MetricDefinition:
    """One metric."""

    name: str
    instrument: Literal["counter", "updowncounter", "gauge", "histogram"]
    unit: str
    value_type: Literal["int", "double"]
    brief: str
    stability: str
    requirement_level: Literal["recommended", "opt_in"]
    attributes: Mapping[str, RequirementLevel]
    operations: tuple[str, ...] = ()
