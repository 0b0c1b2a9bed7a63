"""The values a stored trace is made of. Written by nobody twice: all of them are frozen."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

from crucible_trace_otel.semconv import attributes as attr

__all__ = ["Status", "Trace", "TraceEvent", "TraceLink", "TraceSpan", "group_into_traces"]

Attributes = Mapping[str, Any]
Status = Literal["unset", "ok", "error"]


@dataclass(frozen=True, slots=True)
class TraceLink:
    """A causal link from the span that holds it to another span, perhaps of another trace."""

    trace_id: str
    """32 lower-case hex digits."""
    span_id: str
    """16 lower-case hex digits."""
    attributes: Attributes = field(default_factory=dict)

    @property
    def type(self) -> str:
        """The relation: `depends_on`, `serves`, ... An empty string for a link of another instrumentation."""
        return str(self.attributes.get(attr.CRUCIBLE_LINK_TYPE, ""))


@dataclass(frozen=True, slots=True)
class TraceEvent:
    """Something that happened at one instant inside a span."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TraceSpan:
    """One ended operation, as OTLP carries it."""

    trace_id: str
    span_id: str
    parent_id: str | None
    """None for the root of a trace."""
    name: str
    start_ns: int
    end_ns: int
    attributes: Attributes = field(default_factory=dict)
    events: tuple[TraceEvent, ...] = ()
    links: tuple[TraceLink, ...] = ()
    status: Status = "unset"
    status_message: str = ""
    kind: str = "internal"
    scope: str = ""
    """The name of the instrumentation that recorded it."""
    scope_version: str = ""
    schema_url: str = ""
    """Which version of which convention its names follow."""
    trace_state: str = ""
    resource: Attributes = field(default_factory=dict)
    dropped: Mapping[str, int] = field(default_factory=dict)
    """How many attributes, events and links the recording SDK dropped; only those above zero."""
    parent_is_remote: bool = False
    """Whether the parent was recorded by another process, and so may be stored elsewhere."""

    @property
    def operation(self) -> str:
        """The convention's operation name; the span's own name for a span of another instrumentation."""
        return str(self.attributes.get(attr.CRUCIBLE_OPERATION_NAME, self.name))

    @property
    def about(self) -> str:
        """The one-line summary a viewer shows; may be empty."""
        return str(self.attributes.get(attr.CRUCIBLE_ABOUT, ""))

    @property
    def duration_s(self) -> float:
        """Seconds from start to end."""
        return (self.end_ns - self.start_ns) / 1e9


@dataclass(frozen=True)
class Trace:
    """All stored spans of one trace, in order of their start."""

    trace_id: str
    spans: tuple[TraceSpan, ...]

    @cached_property
    def by_id(self) -> Mapping[str, TraceSpan]:
        """Span id to span."""
        return {span.span_id: span for span in self.spans}

    @cached_property
    def roots(self) -> tuple[TraceSpan, ...]:
        """Spans without a stored parent: the true root, or, while it is still open, the orphans it left."""
        return tuple(span for span in self.spans if span.parent_id not in self.by_id)

    @cached_property
    def children(self) -> Mapping[str, tuple[TraceSpan, ...]]:
        """Span id to its children, in order of their start."""
        found: dict[str, list[TraceSpan]] = {}
        for span in self.spans:
            if span.parent_id in self.by_id:
                found.setdefault(str(span.parent_id), []).append(span)
        return {span_id: tuple(children) for span_id, children in found.items()}

    @property
    def is_complete(self) -> bool:
        """Whether a span that nothing of this process encloses is stored; False while the run is still going on."""
        return any(span.parent_id is None or span.parent_is_remote for span in self.spans)

    @property
    def name(self) -> str:
        """What a person would call it: the summary of its first root, or that root's name."""
        if not self.roots:
            return self.trace_id
        root = next((span for span in self.roots if span.parent_id is None), self.roots[0])
        return root.about or root.name

    @cached_property
    def run_ids(self) -> tuple[str, ...]:
        """Every run id its spans carry, in order of first appearance."""
        ids = (span.attributes.get(attr.CRUCIBLE_RUN_ID) for span in self.spans)
        return tuple(dict.fromkeys(str(run_id) for run_id in ids if run_id is not None))

    @property
    def start_ns(self) -> int:
        """When its first span started, nanoseconds since 1970."""
        return min(span.start_ns for span in self.spans)

    @property
    def end_ns(self) -> int:
        """When its last stored span ended, nanoseconds since 1970."""
        return max(span.end_ns for span in self.spans)


def group_into_traces(spans: Iterable[TraceSpan]) -> tuple[Trace, ...]:
    """The traces that `spans` belong to, oldest first; of spans with the same ids the first stays.

    The order in which spans come does not matter beyond that.
    """
    found: dict[str, dict[str, TraceSpan]] = {}
    for span in spans:
        found.setdefault(span.trace_id, {}).setdefault(span.span_id, span)
    traces = (
        Trace(trace_id, tuple(sorted(by_id.values(), key=lambda span: (span.start_ns, span.end_ns, span.span_id))))
        for trace_id, by_id in found.items()
    )
    return tuple(sorted(traces, key=lambda trace: (trace.start_ns, trace.trace_id)))
