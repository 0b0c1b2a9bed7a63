"""The OTLP codec of readers: protobuf bytes to stored spans, and stored spans to OTLP JSON.

The protocol is documented in the opentelemetry-proto repository (trace/v1/trace.proto). Its JSON form follows
protobuf's mapping, except that ids are hex digits and enums are numbers.
"""

import base64
import math
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

from google.protobuf.message import DecodeError
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.trace.spans import Attributes, Status, Trace, TraceEvent, TraceLink, TraceSpan

__all__ = ["decode_event", "decode_span", "non_finite", "to_otlp_json"]

_KINDS: Final = ("unspecified", "internal", "server", "client", "producer", "consumer")
_STATUSES: Final[tuple[Status, ...]] = ("unset", "ok", "error")
_HAS_IS_REMOTE: Final = 0x100
_IS_REMOTE: Final = 0x200


def decode_span(resource: bytes, scope: bytes, span: bytes) -> TraceSpan:
    """One stored span.

    Args:
        resource: A serialized ResourceSpans message; its scopes are not read.
        scope: A serialized ScopeSpans message; its spans are not read.
        span: A serialized Span message.

    Raises:
        FormatError: The bytes are no such messages.
    """
    try:
        scope_name, scope_version, schema_url = _scope(scope)
        return _span(
            pb.Span.FromString(span),
            resource=_resource(resource),
            scope=scope_name,
            scope_version=scope_version,
            schema_url=schema_url,
        )
    except DecodeError as error:
        raise FormatError(f"These bytes are no OTLP span: {error}") from error


def decode_event(event: bytes) -> TraceEvent:
    """One stored event, from a serialized Span.Event message.

    Raises:
        FormatError: The bytes are no such message.
    """
    try:
        return _event(pb.Span.Event.FromString(event))
    except DecodeError as error:
        raise FormatError(f"These bytes are no OTLP event: {error}") from error


@lru_cache(maxsize=64)
def _resource(message: bytes) -> Attributes:
    return _attributes(pb.ResourceSpans.FromString(message).resource.attributes)


@lru_cache(maxsize=64)
def _scope(message: bytes) -> tuple[str, str, str]:
    spans = pb.ScopeSpans.FromString(message)
    return spans.scope.name, spans.scope.version, spans.schema_url


def _span(message: pb.Span, **around: Any) -> TraceSpan:
    dropped = {
        "attributes": message.dropped_attributes_count,
        "events": message.dropped_events_count,
        "links": message.dropped_links_count,
    }
    return TraceSpan(
        trace_id=message.trace_id.hex(),
        span_id=message.span_id.hex(),
        # A zero id is how some senders say that there is no parent.
        parent_id=message.parent_span_id.hex() if any(message.parent_span_id) else None,
        name=message.name,
        start_ns=message.start_time_unix_nano,
        end_ns=message.end_time_unix_nano,
        attributes=_attributes(message.attributes),
        events=tuple(map(_event, message.events)),
        links=tuple(
            TraceLink(link.trace_id.hex(), link.span_id.hex(), _attributes(link.attributes)) for link in message.links
        ),
        status=_STATUSES[message.status.code] if 0 <= message.status.code < len(_STATUSES) else "unset",
        status_message=message.status.message,
        kind=_KINDS[message.kind] if 0 <= message.kind < len(_KINDS) else "unspecified",
        trace_state=message.trace_state,
        dropped={what: count for what, count in dropped.items() if count},
        parent_is_remote=bool(message.flags & _HAS_IS_REMOTE and message.flags & _IS_REMOTE),
        **around,
    )


def _event(message: pb.Span.Event) -> TraceEvent:
    return TraceEvent(message.name, message.time_unix_nano, _attributes(message.attributes))


def _attributes(pairs: Iterable[KeyValue]) -> Attributes:
    return MappingProxyType({pair.key: _value(pair.value) for pair in pairs})


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return tuple(_value(item) for item in value.array_value.values)
        case "kvlist_value":
            return {pair.key: _value(pair.value) for pair in value.kvlist_value.values}
        case kind:
            return getattr(value, kind)


def to_otlp_json(spans: Trace | TraceSpan | Iterable[TraceSpan]) -> dict[str, Any]:
    """`spans` as the JSON form of an OTLP trace export request, ready for `json.dumps`."""
    if isinstance(spans, TraceSpan):
        spans = (spans,)
    elif isinstance(spans, Trace):
        spans = spans.spans
    resources: dict[str, dict[str, Any]] = {}
    scopes: dict[tuple[str, str, str, str], list[dict[str, Any]]] = {}
    for span in spans:
        attributes = _json_attributes(span.resource)
        # The text, because 1, 1.0 and True are one key but three values.
        resource_key = repr(attributes)
        resource = resources.setdefault(resource_key, {"resource": {"attributes": attributes}, "scopeSpans": []})
        scope_key = (resource_key, span.scope, span.scope_version, span.schema_url)
        if scope_key not in scopes:
            scopes[scope_key] = []
            resource["scopeSpans"].append(
                {
                    "scope": _given({"name": span.scope, "version": span.scope_version}),
                    "spans": scopes[scope_key],
                    **_given({"schemaUrl": span.schema_url}),
                }
            )
        scopes[scope_key].append(_json_span(span))
    return {"resourceSpans": list(resources.values())}


def _json_span(span: TraceSpan) -> dict[str, Any]:
    parent_id = span.parent_id if span.moved_from is None else span.moved_from
    status = {"code": _STATUSES.index(span.status), "message": span.status_message}
    return {
        "traceId": span.trace_id,
        "spanId": span.span_id,
        **_given({"traceState": span.trace_state, "parentSpanId": parent_id}),
        "flags": _HAS_IS_REMOTE | (_IS_REMOTE if span.parent_is_remote else 0),
        "name": span.name,
        "kind": _KINDS.index(span.kind),
        "startTimeUnixNano": str(span.start_ns),
        "endTimeUnixNano": str(span.end_ns),
        "attributes": _json_attributes(span.attributes),
        **_given({f"dropped{what.capitalize()}Count": count for what, count in span.dropped.items()}),
        "events": [
            {"timeUnixNano": str(event.time_ns), "name": event.name, "attributes": _json_attributes(event.attributes)}
            for event in span.events
        ],
        "links": [
            {"traceId": link.trace_id, "spanId": link.span_id, "attributes": _json_attributes(link.attributes)}
            for link in span.links
        ],
        "status": _given(status),
    }


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` without those that have protobuf's default, which its JSON form leaves out."""
    return {name: value for name, value in fields.items() if value}


def _json_attributes(attributes: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"key": key, "value": _json_value(value)} for key, value in attributes.items()]


def _json_value(value: Any) -> dict[str, Any]:  # noqa: PLR0911 - one branch a kind of value
    match value:
        case None:
            return {}
        case bool():
            return {"boolValue": value}
        case int():
            return {"intValue": str(value)}
        case float():
            return {"doubleValue": value if math.isfinite(value) else non_finite(value)}
        case str():
            return {"stringValue": value}
        case bytes():
            return {"bytesValue": base64.b64encode(value).decode("ascii")}
        case Mapping():
            return {"kvlistValue": {"values": _json_attributes(value)}}
        case Sequence():
            return {"arrayValue": {"values": [_json_value(item) for item in value]}}
    raise TypeError(f"{type(value).__name__} is no OpenTelemetry attribute value")


def non_finite(value: float) -> str:
    """How protobuf's JSON spells what JSON cannot."""
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
