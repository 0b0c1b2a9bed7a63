"""The values a stored trace is made of. Written by nobody twice: all of them are frozen."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any, Final, Literal

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import RunState

__all__ = [
    "DECISIONS",
    "NAMING",
    "Status",
    "Trace",
    "TraceEvent",
    "TraceLink",
    "TraceSpan",
    "enclosing",
    "group_into_traces",
    "in_order",
    "local_time",
    "without_markers",
]

Attributes = Mapping[str, Any]
Status = Literal["unset", "ok", "error"]

NAMING: Final = frozenset(
    {
        operations.PIPELINE,
        operations.TRAINING_RUN,
        operations.REASONING_CHAIN,
        operations.DEPLOYMENT,
        operations.EXPERIMENT,
        operations.TUNING_STUDY,
    }
)
"""The operations a person would call a trace after."""

DECISIONS: Final = frozenset(
    {
        operations.HYPOTHESIS_FORMED,
        operations.ALTERNATIVE_REJECTED,
        operations.CONSTRAINT_EVALUATED,
        operations.PATTERN_APPLIED,
        operations.AMBIGUITY_FLAGGED,
        operations.CONFIDENCE_UPDATED,
    }
)
"""The operations that are a moment of reasoning; how long they took says nothing."""

_NAMES: Final = frozenset(name for name in vars(operations).values() if isinstance(name, str))
_STARTED: Final = frozenset(f"{name}_started" for name in _NAMES) & _NAMES  # not `canary_started`: none ends
_MARKERS: Final = _STARTED | {operations.PROGRESS}
_LONGEST_IN_REPR: Final = 60


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


@dataclass(frozen=True, slots=True, repr=False)
class TraceEvent:
    """Something that happened at one instant inside a span."""

    name: str
    time_ns: int
    attributes: Attributes = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"TraceEvent({_short(self.name)}, {len(self.attributes)} attributes)"


@dataclass(frozen=True, slots=True, repr=False)
class TraceSpan:
    """One operation, as OTLP carries it: one that has ended, or as much of it as is known while it runs."""

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
    moved_from: str | None = None
    """Where `runs.join_runs` changed the parent: the one it was recorded with, empty for none."""

    def __repr__(self) -> str:
        about = f" {_short(self.about)}" if self.about and self.about != self.name else ""
        return f"TraceSpan({_short(self.name)}{about}, {self.duration_s:.3g} s, {self.span_id})"

    @property
    def is_ours(self) -> bool:
        """Whether it is an operation of the convention; False for a span of another instrumentation."""
        return attr.CRUCIBLE_OPERATION_NAME in self.attributes

    @property
    def is_running(self) -> bool:
        """Whether its process still worked on it when it was read; its end is then when that was last seen."""
        return self.attributes.get(attr.CRUCIBLE_RUN_STATE) == RunState.RUNNING

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


@dataclass(frozen=True, repr=False)
class Trace:
    """All stored spans of one trace, or of the traces of one run (`runs.join_runs`), in order of their start."""

    trace_id: str
    """Of a run of several traces the first."""
    spans: tuple[TraceSpan, ...]

    def __repr__(self) -> str:
        return f"Trace({_short(self.name)}, {len(self.spans)} spans, {self.trace_id[:8]}…)"

    @property
    def is_ours(self) -> bool:
        """Whether it holds any operation of the convention; False if all spans are other instrumentations'."""
        return any(span.is_ours for span in self.spans)

    @cached_property
    def by_id(self) -> Mapping[str, TraceSpan]:
        """Span id to span."""
        return {span.span_id: span for span in self.spans}

    @cached_property
    def trace_ids(self) -> tuple[str, ...]:
        """The ids of the traces its spans were recorded in: its own, then those of a run's other parts and attempts."""
        return tuple(dict.fromkeys((self.trace_id, *(span.trace_id for span in self.spans))))

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
        """Whether a span that nothing of this process encloses has ended; False while the run is still going on."""
        return any((span.parent_id is None or span.parent_is_remote) and not span.is_running for span in self.spans)

    @property
    def name(self) -> str:
        """What a person would call it: the summary of its root, or that root's name.

        `run <run id>` while the root is not stored. A root of another instrumentation gives way to the first of our
        operations below it.
        """
        if not self.roots:
            return self.trace_id
        root = next((span for span in self.roots if span.parent_id is None or span.parent_is_remote), None)
        if root is None and self.run_ids:
            return f"run {self.run_ids[0]}"
        if root is None or not root.is_ours:
            root = self._first_of_ours() or root or self.roots[0]
        return root.about or root.name

    def _first_of_ours(self) -> TraceSpan | None:
        """Of our operations that no other of ours encloses, the first that names a trace, or the first."""
        outermost = [span for span in self.spans if span.is_ours and not self._is_inside_ours(span)]
        return next((span for span in outermost if span.operation in NAMING), outermost[0] if outermost else None)

    def _is_inside_ours(self, span: TraceSpan) -> bool:
        seen: set[str] = set()
        here = self.by_id.get(span.parent_id or "")
        while here is not None and here.span_id not in seen:
            if here.is_ours:
                return True
            seen.add(here.span_id)
            here = self.by_id.get(here.parent_id or "")
        return False

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


def enclosing(span: TraceSpan, find: Callable[[str], TraceSpan | None]) -> Iterator[TraceSpan]:
    """`span` and the stored spans that enclose it, innermost first; `find` gives the span of an id, if it is stored."""
    here: TraceSpan | None = span
    seen: set[str] = set()
    while here is not None and here.span_id not in seen:
        yield here
        seen.add(here.span_id)
        here = find(here.parent_id or "")


def in_order(spans: Iterable[TraceSpan]) -> tuple[TraceSpan, ...]:
    """`spans` by their start, then their end."""
    return tuple(sorted(spans, key=lambda span: (span.start_ns, span.end_ns, span.span_id)))


def group_into_traces(spans: Iterable[TraceSpan]) -> tuple[Trace, ...]:
    """The traces that `spans` belong to, oldest first; of spans with the same ids the first stays.

    The order in which spans come does not matter beyond that.
    """
    found: dict[str, dict[str, TraceSpan]] = {}
    for span in spans:
        found.setdefault(span.trace_id, {}).setdefault(span.span_id, span)
    traces = (Trace(trace_id, in_order(by_id.values())) for trace_id, by_id in found.items())
    return tuple(sorted(traces, key=lambda trace: (trace.start_ns, trace.trace_id)))


def without_markers(spans: Iterable[TraceSpan]) -> list[TraceSpan]:
    """`spans` without those that say that an operation has started or goes on, where the operation itself is there.

    A backend shows an operation when it has ended, so that it needs these; one that is read here is there before.
    """
    every = list(spans)
    there = {(span.trace_id, span.span_id) for span in every if span.operation not in _MARKERS}
    started = {
        (span.trace_id, span.span_id)
        for span in every
        if span.operation in _STARTED and (span.trace_id, span.parent_id) in there
    }
    known = there | started
    return [
        span
        for span in every
        if (span.trace_id, span.span_id) not in started
        and not (span.operation == operations.PROGRESS and (span.trace_id, span.parent_id) in known)
    ]


def local_time(time_ns: int) -> str:
    """The time here, to the second."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000_000_000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a year that datetime does not know
        return "?"


def _short(text: str) -> str:
    """`text` as Python spells it, cut where it would fill the screen."""
    return repr(text if len(text) <= _LONGEST_IN_REPR else f"{text[: _LONGEST_IN_REPR - 1]}…")
