"""A span with less in it: what is cut is named, and nothing else changes."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.ship.reduction import HEAD, reduced
from tests.ship.spans import message, text_attribute

EVERYTHING = 1 << 30


def less(span, limit=EVERYTHING):
    return Span.FromString(reduced(span.SerializeToString(), limit))


def values(attributes):
    """Attributes as plain values."""
    return {
        each.key: [getattr(item, item.WhichOneof("value")) for item in each.value.array_value.values]
        if each.value.WhichOneof("value") == "array_value"
        else getattr(each.value, each.value.WhichOneof("value"))
        for each in attributes
    }


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def test_long_values_are_cut_and_named():
    text, data = "ä" * 2_000, b"\xff" * 3_000
    span = message("one")
    span.attributes.add(key="text").value.string_value = text
    span.attributes.add(key="short").value.string_value = "x" * HEAD
    span.attributes.add(key="data").value.bytes_value = data
    span.attributes.add(key="number").value.int_value = -5
    listed = span.attributes.add(key="list").value.array_value
    for _ in range(900):
        listed.values.add(string_value="abc")
    kept = values(less(span).attributes)
    assert kept["text"] == "ä" * (HEAD // 2)
    assert kept["data"] == data[:HEAD]
    assert (kept["short"], kept["number"]) == ("x" * HEAD, -5)
    assert set(kept["list"]) == {"abc"}
    assert 100 < len(kept["list"]) < 200
    assert kept[attr.CRUCIBLE_TRUNCATED_KEYS] == ["text", "data", "list"]
    assert kept[attr.CRUCIBLE_TRUNCATED_LENGTHS] == [2_000, 3_000, 900]
    assert kept[attr.CRUCIBLE_TRUNCATED_SHA256S] == [
        sha256(text.encode()),
        sha256(data),
        sha256(listed.SerializeToString()),
    ]


def test_what_the_recorder_has_cut_keeps_its_first_length():
    span = message("one", attributes=[text_attribute("text", "x" * 2_000), text_attribute("more", "y" * 2_000)])
    for key, kind, value in (
        (attr.CRUCIBLE_TRUNCATED_KEYS, "string_value", "text"),
        (attr.CRUCIBLE_TRUNCATED_LENGTHS, "int_value", 1_000_000),
        (attr.CRUCIBLE_TRUNCATED_SHA256S, "string_value", "0" * 64),
    ):
        span.attributes.add(key=key).value.array_value.values.add(**{kind: value})
    kept = values(less(span).attributes)
    assert kept[attr.CRUCIBLE_TRUNCATED_KEYS] == ["text", "more"]
    assert kept[attr.CRUCIBLE_TRUNCATED_LENGTHS] == [1_000_000, 2_000]
    assert kept[attr.CRUCIBLE_TRUNCATED_SHA256S] == ["0" * 64, sha256(b"y" * 2_000)]


def test_events_links_name_and_status_are_cut_too():
    span = message("n" * 5_000)
    span.status.message, span.status.code = "s" * 5_000, 2
    window = span.events.add(name="steps_recorded", time_unix_nano=7)
    window.attributes.add(key=attr.CRUCIBLE_WINDOW_SERIES_VALUES).value.bytes_value = bytes(80_000)
    span.links.add(trace_id=b"t" * 16, span_id=b"s" * 8).attributes.add(key="k").value.string_value = "l" * 5_000
    small = less(span)
    assert len(small.name) == len(small.status.message) == HEAD
    assert small.status.code == 2
    [event], [link] = small.events, small.links
    assert (event.name, event.time_unix_nano) == ("steps_recorded", 7)
    kept = values(event.attributes)
    assert len(kept[attr.CRUCIBLE_WINDOW_SERIES_VALUES]) == HEAD
    assert kept[attr.CRUCIBLE_TRUNCATED_LENGTHS] == [80_000]
    assert (link.trace_id, link.span_id) == (b"t" * 16, b"s" * 8)
    assert values(link.attributes)[attr.CRUCIBLE_TRUNCATED_KEYS] == ["k"]


@pytest.mark.parametrize("count", [1, 2, 3, 100, 101])
def test_events_go_from_the_middle_and_are_counted(count):
    span = message("one", dropped_events_count=4)
    for number in range(count):
        span.events.add(name=f"{number:03d}", attributes=[text_attribute("k", "x" * 900)])
    limit = 1_000 * (count // 2) + 200
    small = less(span, limit)
    names = [event.name for event in small.events]
    assert small.ByteSize() <= limit
    assert small.dropped_events_count == 4 + count - len(names)
    assert len(names) >= count // 2
    if len(names) > 1:
        assert names[0] == "000"
        assert names[-1] == f"{count - 1:03d}"
        assert names == sorted(names)


texts = st.text(st.characters(codec="utf-8"), max_size=9) | st.integers(1_000, 1_100).map("x".__mul__)


@given(
    st.lists(st.tuples(texts, texts), max_size=5), st.lists(texts, max_size=5), st.integers(0, 5_000), st.integers(0, 3)
)
def test_whatever_it_is_it_gets_smaller_or_stays_itself(attributes, events, limit, dropped):
    span = message("one", trace_state="a=b", kind=3, flags=0x101, dropped_links_count=2, dropped_events_count=dropped)
    for key, text in attributes:
        span.attributes.add(**text_attribute(key, text))
    for name in events:
        span.events.add(name=name, time_unix_nano=5)
    small = less(span, limit)
    assert len(small.events) + small.dropped_events_count == len(events) + dropped
    whole = less(span)
    if not any(len(text.encode()) > HEAD for _, text in attributes) and not any(
        len(name.encode()) > HEAD for name in events
    ):
        assert whole == span
    for one in (small, whole):
        assert (one.trace_id, one.span_id, one.flags, one.kind) == (span.trace_id, span.span_id, span.flags, span.kind)
        assert (one.trace_state, one.dropped_links_count) == ("a=b", 2)


@given(st.binary(max_size=200))
def test_any_bytes_are_a_span_or_a_format_error(data):
    with contextlib.suppress(FormatError):
        reduced(data, 100)
