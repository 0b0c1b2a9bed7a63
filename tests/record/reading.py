"""Finished spans as a tree that can be compared with an expected one."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import StatusCode

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.trace.steps import decode_window

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass
class Node:
    """A span with what lies below it, in order of start."""

    name: str
    about: str | None = None
    inside: list[Node] = field(default_factory=list)
    attributes: dict[str, Any] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    """Each as `type: name of the target: its about`."""
    error: str | None = None
    """The description of the status ERROR."""


def node(name: str, about: str | None = None, *inside: Node, **more: Any) -> Node:
    """An expected node."""
    return Node(name, about, list(inside), **more)


class Recording:
    """A provider of its own, and what was recorded through it."""

    def __init__(self, **provider: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False, **provider)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.foreign = self.provider.get_tracer("somebody.else")

    @property
    def spans(self) -> list[ReadableSpan]:
        """Every ended span, in order of start."""
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        """The spans of one name, in order of start."""
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        """The only span of that name."""
        (span,) = self.named(name)
        return span

    def trees(self, *shown: str) -> list[Node]:
        """All spans below their parents, with the attributes `shown`."""
        spans = self.spans
        nodes = {span.context.span_id: _node(span, spans, shown) for span in spans}
        roots = []
        for span in spans:
            above = nodes.get(span.parent.span_id) if span.parent else None
            (roots if above is None else above.inside).append(nodes[span.context.span_id])
        return roots

    def tree(self, *shown: str) -> Node:
        """The only tree."""
        (tree,) = self.trees(*shown)
        return tree

    def rows(self, event_name: str = events.STEPS_RECORDED) -> list[dict[str, Any]]:
        """Every row of every window, span by span, as the readers unfold it."""
        return [row for window in self.windows(event_name) for row in decode_window(window)]

    def windows(self, event_name: str = events.STEPS_RECORDED) -> list[Mapping[str, Any]]:
        """The attributes of every window."""
        return [event.attributes or {} for span in self.spans for event in span.events if event.name == event_name]


def said(span: ReadableSpan) -> dict[str, Any]:
    """The attributes of `span`."""
    return dict(span.attributes or {})


def _node(span: ReadableSpan, spans: Iterable[ReadableSpan], shown: tuple[str, ...]) -> Node:
    attributes = said(span)
    return Node(
        span.name,
        attributes.get(attr.CRUCIBLE_ABOUT),
        [],
        {key: attributes[key] for key in shown if key in attributes},
        [event.name for event in span.events],
        [_link(link, spans) for link in span.links],
        span.status.description or "" if span.status.status_code is StatusCode.ERROR else None,
    )


def _link(link: Any, spans: Iterable[ReadableSpan]) -> str:
    there = next((span for span in spans if span.context == link.context), None)
    target = f"{there.name}: {said(there).get(attr.CRUCIBLE_ABOUT)}" if there else "elsewhere"
    return f"{link.attributes.get(attr.CRUCIBLE_LINK_TYPE)}: {target}"
