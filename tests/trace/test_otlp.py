import base64
import contextlib
import json
import math

import pytest
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.trace.otlp import decode_span, to_otlp_json
from crucible_trace_otel.trace.spans import TraceEvent, TraceLink, TraceSpan
from tests.trace.builders import digits

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
integers = st.integers(-(2**63), 2**63 - 1)
floats = st.floats(allow_nan=False)
scalars = st.one_of(st.booleans(), integers, floats, texts, st.binary(max_size=12))
values = st.recursive(
    st.one_of(scalars, *(st.lists(kind, max_size=4).map(tuple) for kind in (st.booleans(), integers, floats, texts))),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(tuple), st.dictionaries(names, inner, max_size=3)),
    max_leaves=6,
)
attributes = st.dictionaries(names, values, max_size=4)
times = st.integers(0, 2**64 - 1)
trace_ids = st.integers(1, 2**128 - 1)
span_ids = st.integers(1, 2**64 - 1)
trace_states = st.sampled_from([TraceState(), TraceState([("vendor", "1")]), TraceState([("a", "b"), ("c", "d")])])
contexts = st.builds(
    SpanContext, trace_ids, span_ids, st.booleans(), st.just(TraceFlags(TraceFlags.SAMPLED)), trace_states
)
statuses = st.one_of(
    st.just(Status(StatusCode.UNSET)),
    st.just(Status(StatusCode.OK)),
    st.builds(Status, st.just(StatusCode.ERROR), texts),
)
sdk_spans = st.builds(
    ReadableSpan,
    name=texts,
    context=contexts,
    parent=st.none() | contexts,
    resource=st.builds(Resource, attributes),
    attributes=attributes,
    events=st.lists(st.builds(Event, texts, attributes, times), max_size=3),
    links=st.lists(st.builds(Link, contexts, attributes), max_size=3),
    kind=st.sampled_from(SpanKind),
    status=statuses,
    start_time=times,
    end_time=times,
    instrumentation_scope=st.builds(InstrumentationScope, texts, texts, texts),
)


def stored(span: ReadableSpan) -> TraceSpan:
    """What the official encoder makes of `span`, split as the journal splits it, and decoded by us."""
    resource = encode_spans([span]).resource_spans[0]
    scope = resource.scope_spans[0]
    message = scope.spans[0].SerializeToString()
    del scope.spans[:]
    scope_bytes = scope.SerializeToString()
    del resource.scope_spans[:]
    return decode_span(resource.SerializeToString(), scope_bytes, message)


@given(sdk_spans)
def test_every_value_an_sdk_span_can_have_comes_back_equal_and_of_the_same_type(span):
    context, scope = span.context, span.instrumentation_scope
    expected = TraceSpan(
        trace_id=f"{context.trace_id:032x}",
        span_id=f"{context.span_id:016x}",
        parent_id=span.parent and f"{span.parent.span_id:016x}",
        name=span.name,
        start_ns=span.start_time,
        end_ns=span.end_time,
        attributes=dict(span.attributes),
        events=tuple(TraceEvent(event.name, event.timestamp, dict(event.attributes)) for event in span.events),
        links=tuple(
            TraceLink(f"{link.context.trace_id:032x}", f"{link.context.span_id:016x}", dict(link.attributes))
            for link in span.links
        ),
        status=span.status.status_code.name.lower(),
        status_message=span.status.description or "",
        kind=span.kind.name.lower(),
        scope=scope.name,
        scope_version=scope.version,
        schema_url=scope.schema_url,
        trace_state=",".join(f"{key}={value}" for key, value in context.trace_state.items()),
        resource=dict(span.resource.attributes),
        parent_is_remote=bool(span.parent and span.parent.is_remote),
    )
    assert stored(span) == expected
    assert texts_of_values(stored(span)) == texts_of_values(expected)


def texts_of_values(span: TraceSpan) -> list[str]:
    """True is not 1, nor 1 1.0, though they are equal."""
    holders = (span, *span.events, *span.links)
    return [repr(dict(attributes)) for attributes in (span.resource, *(holder.attributes for holder in holders))]


@settings(max_examples=40)
@given(st.lists(sdk_spans, min_size=1, max_size=3, unique_by=lambda span: span.context.span_id))
def test_the_json_form_is_what_protobuf_itself_reads_as_the_same_message(spans):
    ours = [stored(span) for span in spans]
    document = json.loads(json.dumps(to_otlp_json(ours), allow_nan=False))
    parsed = json_format.ParseDict(with_base64_ids(document), TracesData())
    read_back, messages = {}, {}
    for resource in parsed.resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                messages[span.trace_id, span.span_id] = span
                bare_scope = type(scope)(scope=scope.scope, schema_url=scope.schema_url)
                bare_resource = type(resource)(resource=resource.resource)
                around = bare_resource.SerializeToString(), bare_scope.SerializeToString()
                read_back[span.trace_id.hex(), span.span_id.hex()] = decode_span(*around, span.SerializeToString())
    assert read_back == {(span.trace_id, span.span_id): span for span in ours}
    for span in spans:
        official = encode_spans([span]).resource_spans[0].scope_spans[0].spans[0]
        for link in official.links:
            link.flags = 0  # whether a link's target is remote is not kept: nothing that reads asks for it
        assert messages[official.trace_id, official.span_id] == official


def with_base64_ids(document):
    """OTLP writes ids as hex digits, protobuf's own JSON reads all bytes as base64."""

    def convert(value):
        if isinstance(value, dict):
            return {
                key: base64.b64encode(bytes.fromhex(inner)).decode()
                if key in {"traceId", "spanId", "parentSpanId"}
                else convert(inner)
                for key, inner in value.items()
            }
        return [convert(item) for item in value] if isinstance(value, list) else value

    return convert(document)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_numbers_that_json_lacks_survive_both_forms(number):
    span = stored(ReadableSpan("s", SpanContext(1, 2, False), attributes={"x": number}, start_time=1, end_time=2))
    assert repr(span.attributes["x"]) == repr(number)
    parsed = json_format.ParseDict(with_base64_ids(to_otlp_json(span)), TracesData())
    assert repr(parsed.resource_spans[0].scope_spans[0].spans[0].attributes[0].value.double_value) == repr(number)


def test_a_parent_id_of_zeros_is_no_parent():
    assert decode_span(b"", b"", b"\x22\x08" + bytes(8)).parent_id is None


@given(st.binary(max_size=60))
def test_any_bytes_are_a_span_or_a_format_error(junk):
    with contextlib.suppress(FormatError):
        assert isinstance(decode_span(junk, junk, junk), TraceSpan)


def test_spans_of_one_resource_and_scope_stand_together():
    document = to_otlp_json(digits())
    assert [len(scope["spans"]) for resource in document["resourceSpans"] for scope in resource["scopeSpans"]] == [16]
