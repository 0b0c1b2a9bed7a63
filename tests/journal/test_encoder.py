"""Our encoder against the official one: parsed, the bytes are the same message for every span that one can encode."""

from __future__ import annotations

import logging
import math
import time
from collections import OrderedDict, UserDict, UserList
from enum import IntEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.attributes import BoundedAttributes
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan, SpanLimits, TracerProvider
from opentelemetry.sdk.util import BoundedList
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from crucible_trace_otel.journal import encoder, keyvalues
from crucible_trace_otel.journal.encoder import (
    encode_attributes,
    encode_event,
    encode_resource,
    encode_scope,
    encode_span,
)
from crucible_trace_otel.journal.repairing import time_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    """The SDK complains about each key that is no string; writing that down takes longer than the tests."""
    logger = logging.getLogger("opentelemetry.attributes")
    logger.disabled = True
    yield
    logger.disabled = False


class Level(IntEnum):
    LOW = 1


class Text(str):
    __slots__ = ()


text = st.text(st.characters(exclude_categories=["Cs"]))
key = st.text(st.characters(exclude_categories=["Cs"]), min_size=1) | st.sampled_from(["a", "b" * 200, "größe"])
integer = st.integers(-(2**63), 2**63 - 1)
scalar = st.booleans() | integer | st.floats(allow_nan=False) | text | st.binary() | st.none()
odd = st.sampled_from(
    [
        Level.LOW,
        Text("t"),
        np.float64(0.5),
        bytearray(b"ab"),
        range(3),
        UserList([1]),
        UserDict(a=1),
        OrderedDict(b=[2]),
    ]
)
value = st.recursive(
    scalar | odd | st.lists(text).map(tuple) | st.lists(st.floats(allow_nan=False)).map(tuple),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(key | st.integers(), inner),
    max_leaves=12,
)
plain = st.dictionaries(key, value, max_size=6)
attributes = st.none() | plain | plain.map(lambda given: BoundedAttributes(4, given, immutable=False))
count = st.integers(0, 3)
trace_state = st.none() | st.sampled_from([TraceState([("a", "1"), ("t@v", "x y")]), TraceState()])
context = st.builds(
    SpanContext,
    st.integers(1, 2**128 - 1),
    st.integers(1, 2**64 - 1),
    st.booleans(),
    st.sampled_from([TraceFlags(0), TraceFlags(1)]),
    trace_state,
)
event = st.builds(Event, text, attributes, st.integers(0, 2**64 - 1))
link = st.builds(Link, context, attributes)
url = st.none() | st.sampled_from(["", "https://example.org/schema"])
resource = st.builds(Resource, plain, url)
scope = st.none() | st.builds(InstrumentationScope, text, st.none() | text, url, attributes)
times = st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2).map(sorted)


def bounded(items: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """A few of them, in a list that may have dropped some."""
    return st.lists(items, max_size=4).flatmap(lambda few: st.sampled_from([few, BoundedList.from_seq(2, few)]))


@st.composite
def spans(draw: st.DrawFn) -> ReadableSpan:
    start, end = draw(times)
    return ReadableSpan(
        draw(text),
        draw(context),
        draw(st.none() | context),
        draw(resource),
        draw(attributes),
        draw(bounded(event)),
        draw(bounded(link)),
        draw(st.sampled_from(SpanKind)),
        None,
        draw(
            st.sampled_from([Status(code) for code in StatusCode]) | st.builds(Status, st.just(StatusCode.ERROR), text)
        ),
        start,
        end,
        draw(scope),
    )


def holding(name: str = "s", /, **given: Any) -> ReadableSpan:
    """A plain span with these attributes."""
    return ReadableSpan(name, SpanContext(1, 2, False), attributes=given, start_time=1, end_time=2)


def official(span: ReadableSpan) -> ResourceSpans:
    return encode_spans([span]).resource_spans[0]


def ours(span: ReadableSpan) -> ResourceSpans:
    whole = ResourceSpans.FromString(encode_resource(span.resource))
    whole.scope_spans.append(ScopeSpans.FromString(encode_scope(span.instrumentation_scope)))
    whole.scope_spans[0].spans.append(Span.FromString(encode_span(span)))
    return whole


@settings(max_examples=100, deadline=None)
@given(spans())
def test_every_span_parses_to_what_the_official_encoder_makes(span: ReadableSpan) -> None:
    assert ours(span) == official(span)


@settings(max_examples=25, deadline=None)
@given(spans())
def test_an_open_span_is_the_same_without_an_end(span: ReadableSpan) -> None:
    expected = official(span).scope_spans[0].spans[0]
    expected.ClearField("end_time_unix_nano")
    assert Span.FromString(encode_span(span, ended=False)) == expected


@settings(max_examples=25, deadline=None)
@given(text, st.integers(0, 2**64 - 1), plain)
def test_an_event_alone_is_that_of_a_span(name: str, time_ns: int, given_attributes: dict[str, Any]) -> None:
    span = ReadableSpan("s", SpanContext(1, 2, False), events=[Event(name, given_attributes, time_ns)])
    assert (
        Span.Event.FromString(encode_event(name, time_ns, given_attributes))
        == (official(span).scope_spans[0].spans[0].events[0])
    )


@settings(max_examples=25, deadline=None)
@given(plain, st.sampled_from([(9, Span), (3, Span.Event), (4, Span.Link)]))
def test_attributes_alone_are_those_of_a_message(given_attributes: dict[str, Any], of: tuple[int, Any]) -> None:
    field, message = of
    (span,) = official(holding(**given_attributes)).scope_spans[0].spans
    assert message.FromString(encode_attributes(given_attributes, field)).attributes == span.attributes


@pytest.mark.parametrize("number", [math.nan, -math.nan, math.inf, -0.0, 5e-324])
def test_doubles_keep_their_bits(number: float) -> None:
    (attribute,) = Span.FromString(encode_attributes({"x": number}, 9)).attributes
    assert np.float64(attribute.value.double_value).tobytes() == np.float64(number).tobytes()


@pytest.mark.parametrize("length", [0, 1, 95, 99, 100, 101, 125, 126, 127, 128, 129, 16_383, 16_384, 2_000_000])
def test_lengths_around_each_size_of_a_varint(length: int) -> None:
    long = "x" * length
    span = holding(long, **{"k": long, long or "e": 1, "l": (long,), "b": long.encode()})
    assert ours(span) == official(span)


@pytest.mark.parametrize("number", [0, 1, 127, 128, 16_383, 16_384, 2**31, 2**63 - 1, -1, -(2**63)])
def test_integers_around_each_size_of_a_varint(number: int) -> None:
    span = holding(k=number, l=(number,), m={"n": number})
    assert ours(span) == official(span)


def test_spans_of_the_sdk_with_everything_dropped_that_can_be() -> None:
    limits = SpanLimits(max_span_attributes=2, max_events=1, max_links=1, max_event_attributes=1, max_link_attributes=1)
    tracer = TracerProvider(span_limits=limits, shutdown_on_exit=False).get_tracer(
        "t", "1", "https://example.org/s", {"a": 1}
    )
    links = [Link(SpanContext(1, number, True), {"a": 1, "b": 2}) for number in (3, 4)]
    span = tracer.start_span("s", attributes={"a": 1, "b": 2, "c": 3}, links=links)
    for _ in range(3):
        span.add_event("e", {"a": 1, "b": 2})
    assert Span.FromString(encode_span(span, ended=False)).attributes[0].key == "b"  # while it is open
    span.end()
    expected = official(span).scope_spans[0].spans[0]
    assert (expected.dropped_attributes_count, expected.dropped_events_count, expected.dropped_links_count) == (1, 2, 1)
    assert ours(span) == official(span)


def test_a_program_with_ever_new_keys_and_scopes_keeps_a_bounded_memory() -> None:
    for number in range(3 * keyvalues._MOST_KEYS):
        encode_attributes({f"key {number}": "x" * number}, 9)
        encode_scope(InstrumentationScope(f"scope {number}"))
    keys = keyvalues._keys[9]
    assert len(keys) <= keyvalues._MOST_KEYS
    assert len(encoder._shells) <= encoder._MOST_SHELLS
    assert all(len(made.text) <= keyvalues._LONGEST_TEXT + 1 for made in keys.values())
    assert max(map(len, keys)) <= keyvalues._LONGEST_KEY


def test_mappings_that_are_no_dictionaries() -> None:
    for given_attributes in (MappingProxyType({"a": 1}), UserDict(a=1), BoundedAttributes(4, {"a": 1})):
        assert encode_attributes(given_attributes, 9) == encode_attributes({"a": 1}, 9)
    assert encode_attributes({}, 9) == b""


def test_what_comes_again_is_the_same_object() -> None:
    """The journal compares it with what it wrote: identity makes that cheap."""
    resource_, scope_ = Resource({"a": 1}), InstrumentationScope("s")
    assert encode_resource(resource_) is encode_resource(resource_)
    assert encode_scope(scope_) is encode_scope(scope_)


@pytest.mark.parametrize("clock", [lambda: -1, lambda: 2**64, lambda: None, lambda: 1 / 0])
def test_a_clock_that_tells_no_time_is_read_once(monkeypatch: pytest.MonkeyPatch, clock: Any) -> None:
    monkeypatch.setattr(time, "time_ns", clock)
    repairs: dict[str, str] = {}
    assert time_bytes(2**70, "event.time", repairs, instead=-1) == bytes(8)
    assert time_bytes(2**70, "event.time", repairs, instead=5) == (5).to_bytes(8, "little")
    assert repairs == {"event.time": "time"}
