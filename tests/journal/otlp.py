"""Spans as the OpenTelemetry SDK makes them, and journals read back as OTLP messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider

if TYPE_CHECKING:
    from pathlib import Path

    from crucible_trace_otel.journal.processor import JournalSpanProcessor
    from crucible_trace_otel.journal.reader import StoredSpan


def provider_into(*processors: JournalSpanProcessor, **resource: str) -> TracerProvider:
    """A plain provider that stores through `processors`."""
    provider = TracerProvider(resource=Resource(resource), shutdown_on_exit=False)
    for processor in processors:
        provider.add_span_processor(processor)
    return provider


def whole(stored: StoredSpan) -> ResourceSpans:
    """The three stored messages as the one they were taken from."""
    message = ResourceSpans.FromString(stored.resource)
    scope = ScopeSpans.FromString(stored.scope)
    scope.spans.append(Span.FromString(stored.span))
    message.scope_spans.append(scope)
    return message


def names(spans: tuple[StoredSpan, ...]) -> list[str]:
    """The span names, in the order they were stored."""
    return [Span.FromString(stored.span).name for stored in spans]


def segments(directory: Path) -> list[Path]:
    """The segment files of a journal."""
    return sorted(directory.glob("*.segment"))
