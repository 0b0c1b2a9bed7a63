"""A span with less in it: what is cut is named, and nothing else changes."""

import contextlib
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.ship.reduction import HEAD, reduced, with_short_text
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


LIMIT = 2_048


def short(span):
    return Span.FromString(with_short_text(span.SerializeToString(), LIMIT))


def test_long_text_is_cut_at_a_character_and_named_where_it_stood():
    text, said = "x" + "ä" * 2_000, "why " * 900
    span = message("one", events=[{"name": "decided"}], links=[{"span_id": b"12345678"}])
    for holder in (span, span.events[0], span.links[0]):
        holder.attributes.add(key="text").value.string_value = text
        holder.attributes.add(key="said").value.string_value = said
        holder.attributes.add(key="kept").value.string_value = "k" * LIMIT
        holder.attributes.add(key="data").value.bytes_value = b"d" * 9_000
        holder.attributes.add(key="list").value.array_value.values.add(string_value=text)
    sent = short(span)
    for holder in (sent, sent.events[0], sent.links[0]):
        kept = values(holder.attributes)
        assert kept["text"] == "x" + "ä" * 1_023
        assert kept["said"] == said[:LIMIT]
        assert (kept["kept"], kept["data"], kept["list"]) == ("k" * LIMIT, b"d" * 9_000, [text])
        assert kept[attr.CRUCIBLE_TRUNCATED_KEYS] == ["text", "said"]
        assert kept[attr.CRUCIBLE_TRUNCATED_LENGTHS] == [2_001, 3_600]
        assert kept[attr.CRUCIBLE_TRUNCATED_SHA256S] == [sha256(text.encode()), sha256(said.encode())]
    assert short(sent) == sent


def test_what_has_no_long_text_is_the_same_object():
    small = message("one").SerializeToString()
    assert with_short_text(small, LIMIT) is small
    span = message("two", events=[{"name": "window", "attributes": [text_attribute("a", "x" * LIMIT)]}] * 3)
    span.attributes.add(key="data").value.bytes_value = b"d" * 9_000
    whole = span.SerializeToString()
    assert with_short_text(whole, LIMIT) is whole


def test_long_text_that_the_recorder_cut_already_keeps_its_first_length():
    span = message("one")
    span.attributes.add(key="text").value.string_value = "x" * 5_000
    first = Span.FromString(with_short_text(span.SerializeToString(), 4_000))
    assert values(short(first).attributes)[attr.CRUCIBLE_TRUNCATED_LENGTHS] == [5_000]
    assert len(values(less(first).attributes)["text"]) == HEAD


@given(st.binary(min_size=LIMIT + 1, max_size=3 * LIMIT))
def test_bytes_that_are_no_span_are_sent_as_they_are_or_cut(data):
    assert isinstance(with_short_text(data, LIMIT), bytes)


@given(st.dictionaries(st.text(max_size=5), st.text(alphabet="aä€😀", max_size=3_000), max_size=4))
def test_no_text_is_longer_than_the_limit_and_no_character_is_split(texts):
    span = message("one")
    for key, text in texts.items():
        span.attributes.add(key=key).value.string_value = text
    sent = {each.key: each.value.string_value for each in short(span).attributes}
    assert {key: sent[key] for key in texts} == {
        key: text.encode()[:LIMIT].decode("utf-8", "ignore") for key, text in texts.items()
    }
