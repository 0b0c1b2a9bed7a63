"""Why something happened: the causal links of a span, followed to their beginnings.

for step in causes(store.traces(), deployment):
    print("  " * step.depth, step.type, step.name)
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.trace.spans import Key, Trace, TraceSpan, enclosing, key_of

__all__ = ["CausalLink", "CausalStep", "causal_links", "causes"]


@dataclass(frozen=True, slots=True)
class CausalLink:
    """One causal link of a span, from the link itself and the attributes that mirror it."""

    type: str
    """The relation: `depends_on`, `serves`, ... An empty string for a link of another instrumentation."""
    trace_id: str
    span_id: str
    name: str = ""
    """What the target was called when the link was made: `operation: summary`; empty if nobody wrote it down."""


@dataclass(frozen=True, slots=True)
class CausalStep:
    """One link on the way from an effect back to its causes."""

    depth: int
    """0 for a link of the span that was asked about, 1 for a link of what that one points to, ..."""
    subject: TraceSpan
    """The effect: the span that was asked about, or the target of the step above."""
    holder: TraceSpan
    """The span that holds the link: the subject, a span around it, or a part of the span that was asked about."""
    link: CausalLink
    target: TraceSpan | None
    """The cause; None where it is not among the traces given."""
    repeated: bool = False
    """Whether the target stands further up already; its own causes are listed there."""

    @property
    def type(self) -> str:
        """The relation: `depends_on`, `serves`, ..."""
        return self.link.type

    @property
    def name(self) -> str:
        """The cause as `operation: summary`."""
        if self.target is None:
            return self.link.name or f"span {self.link.span_id}"
        return f"{self.target.operation}: {self.target.about}" if self.target.about else self.target.operation


def causal_links(span: TraceSpan) -> tuple[CausalLink, ...]:
    """The causal links of `span`: its links, then those only its attributes name, in their order."""
    mirrored = list(
        zip(
            _texts(span, attr.CRUCIBLE_DEPENDENCY_TYPES),
            _texts(span, attr.CRUCIBLE_DEPENDENCY_SPAN_IDS),
            _texts(span, attr.CRUCIBLE_DEPENDENCY_NAMES),
            strict=False,
        )
    )
    found: dict[tuple[str, str], CausalLink] = {}
    for link in span.links:
        name = next((name for kind, span_id, name in mirrored if (kind, span_id) == (link.type, link.span_id)), "")
        bare = _without_type(name, link.type)
        found.setdefault((link.type, link.span_id), CausalLink(link.type, link.trace_id, link.span_id, bare))
    for kind, span_id, name in mirrored:
        # A link may be missing: a root span carries none into its own trace, and an SDK drops those past its limit.
        found.setdefault((kind, span_id), CausalLink(kind, span.trace_id, span_id, _without_type(name, kind)))
    return tuple(found.values())


def causes(traces: Trace | Iterable[Trace], span: TraceSpan) -> tuple[CausalStep, ...]:
    """Everything `span` rests on, nearest first: its links' targets, their links' targets, and so on.

    The links of a span count together with those of the spans around it: a checkpoint rests on what its training run
    depends on. For `span` itself the links of its parts count too: a deployment serves what its model load serves.
    Each cause is followed once, so cycles end; the order depends on nothing but the spans.
    """
    every = (traces,) if isinstance(traces, Trace) else tuple(traces)
    index: dict[Key, TraceSpan] = {key_of(one): one for trace in every for one in trace.spans}
    homes = {trace_id: trace for trace in every for trace_id in trace.trace_ids}
    followed = {key_of(span)}
    asked: set[Key] = set()
    steps: list[CausalStep] = []
    waiting = _links_of((*_around(span, homes), *_parts(span, homes.get(span.trace_id))), 0, span, asked)
    while waiting:
        step = waiting.pop()
        key = (step.link.trace_id, step.link.span_id)
        target = index.get(key)
        steps.append(replace(step, target=target, repeated=key in followed))
        if target is not None and key not in followed:
            waiting += _links_of(_around(target, homes), step.depth + 1, target, asked)
        followed.add(key)
    return tuple(steps)


def _links_of(holders: Iterable[TraceSpan], depth: int, subject: TraceSpan, asked: set[Key]) -> list[CausalStep]:
    """The links of those `holders` not `asked` before, last first: what encloses two effects is listed once."""
    steps: list[CausalStep] = []
    for holder in holders:
        if key_of(holder) not in asked:
            asked.add(key_of(holder))
            steps += [CausalStep(depth, subject, holder, link, None) for link in causal_links(holder)]
    return steps[::-1]


def _around(span: TraceSpan, homes: dict[str, Trace]) -> Iterator[TraceSpan]:
    home = homes.get(span.trace_id)
    return enclosing(span, home.by_id.get if home is not None else lambda _: None)


def _parts(span: TraceSpan, trace: Trace | None) -> Iterator[TraceSpan]:
    """Everything inside `span`, in order of the tree."""
    if trace is None:
        return
    seen = {span.span_id}
    waiting = list(reversed(trace.children.get(span.span_id, ())))
    while waiting:
        part = waiting.pop()
        if part.span_id not in seen:
            seen.add(part.span_id)
            yield part
            waiting += reversed(trace.children.get(part.span_id, ()))


def _texts(span: TraceSpan, key: str) -> tuple[str, ...]:
    value = span.attributes.get(key, ())
    return tuple(str(item) for item in value) if isinstance(value, (tuple, list)) else (str(value),)


def _without_type(name: str, link_type: str) -> str:
    return name.removeprefix(f"{link_type}: ")
