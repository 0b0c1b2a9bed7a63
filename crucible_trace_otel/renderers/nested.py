"""A trace as nested JSON that a person or a script can read. The packed steps are left out: `steps` shows them."""

import base64
import json
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any, Final

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.trace.causality import causal_links
from crucible_trace_otel.trace.otlp import non_finite
from crucible_trace_otel.trace.spans import Attributes, Trace, TraceSpan

__all__ = ["json_value", "nested", "render_json"]

_SERIES: Final = frozenset({attr.CRUCIBLE_WINDOW_SERIES_FORMATS, attr.CRUCIBLE_WINDOW_SERIES_VALUES})
# JSON readers, Python's too, give up at some depth; deeper spans stand beside their parent at this one.
_DEEPEST: Final = 100


def render_json(trace: Trace, *, ascii_only: bool = False) -> str:
    """`trace` as an indented JSON document."""
    return json.dumps(nested(trace), indent=2, ensure_ascii=ascii_only, allow_nan=False) + "\n"


def nested(trace: Trace) -> dict[str, Any]:
    """`trace` as values for JSON: a number that JSON lacks is a text, bytes are base64."""
    return {
        "trace_id": trace.trace_id,
        "name": trace.name,
        "run_ids": list(trace.run_ids),
        "complete": trace.is_complete,
        "spans": _spans(trace),
    }


def _spans(trace: Trace) -> list[dict[str, Any]]:
    top: list[dict[str, Any]] = []
    written: set[str] = set()
    # Spans that are each other's ancestors hang on no root, so every span is tried after the roots.
    for start in (*trace.roots, *trace.spans):
        waiting = [(start, top, 0)]
        while waiting:
            span, siblings, depth = waiting.pop()
            if span.span_id in written:
                continue
            written.add(span.span_id)
            told = _span(span)
            siblings.append(told)
            below = siblings if depth >= _DEEPEST else told["children"]
            waiting += [(child, below, depth + 1) for child in reversed(trace.children.get(span.span_id, ()))]
    return top


def _span(span: TraceSpan) -> dict[str, Any]:
    return {
        "span_id": span.span_id,
        "parent_id": span.parent_id,
        "name": span.name,
        "operation": span.operation,
        "about": span.about,
        "start": _instant(span.start_ns),
        "start_ns": span.start_ns,
        "duration_s": span.duration_s,
        "status": span.status,
        "status_message": span.status_message,
        "kind": span.kind,
        "scope": span.scope,
        "resource": _values(span.resource),
        "attributes": _values(span.attributes),
        "events": [
            {"name": event.name, "time_ns": event.time_ns, "attributes": _values(event.attributes)}
            for event in span.events
        ],
        "links": [
            {"type": link.type, "trace_id": link.trace_id, "span_id": link.span_id, "name": link.name}
            for link in causal_links(span)
        ],
        "dropped": dict(span.dropped),
        "children": [],
    }


def _instant(time_ns: int) -> str:
    """The time as ISO 8601 in UTC, to the microsecond."""
    seconds, rest = divmod(time_ns, 1_000_000_000)
    try:
        return datetime.fromtimestamp(seconds, timezone.utc).replace(microsecond=rest // 1000).isoformat()
    except (OverflowError, ValueError, OSError):  # a year that datetime does not know
        return ""


def _values(attributes: Attributes) -> dict[str, Any]:
    return {key: json_value(value) for key, value in attributes.items() if key not in _SERIES}


def json_value(value: Any) -> Any:
    """`value` as JSON has it: `"NaN"`, `"Infinity"` and `"-Infinity"` as texts, bytes as base64."""
    match value:
        case float() if not math.isfinite(value):
            return non_finite(value)
        case bytes():
            return base64.b64encode(value).decode("ascii")
        case Mapping():
            return {str(key): json_value(inner) for key, inner in value.items()}
        case str():
            return value
        case Sequence():
            return [json_value(inner) for inner in value]
    return value
