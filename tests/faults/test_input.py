"""Whatever is handed over arrives: values, names, keys, times, ids, clocks that jump, calls in the wrong order."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
from collections import UserDict, UserList
from contextvars import Context
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, Status, StatusCode

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.encoder import encode_resource, encode_scope, encode_span
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.semconv import attributes as attr
from tests.journal.otlp import names, provider_into

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue

    from tests.record.reading import Recording

HOUR_NS = 3_600_000_000_000
CONTEXT = SpanContext(1, 2, False)


class Refusing:
    """An object each of whose methods raises."""

    def __str__(self) -> str:
        raise ValueError("no")

    __repr__ = __iter__ = __len__ = __hash__ = __bool__ = __index__ = __str__  # type: ignore[assignment]


class Endless(UserList):
    def __iter__(self) -> Iterator[Any]:
        while True:
            yield 1


class Colour(Enum):
    RED = "red"


class Tensor:
    """As torch's, for what this package looks at."""

    dtype = "torch.float32"

    def __init__(self, numbers: Any, device: str = "cpu") -> None:
        self.numbers, self.device = numbers, device
        self.shape = np.shape(numbers)

    def detach(self) -> Tensor:
        return self

    def tolist(self) -> Any:
        assert self.device == "cpu", "fetched from a device"
        return self.numbers


def cyclic() -> list[Any]:
    found: list[Any] = [1]
    found.append(found)
    return found


def nested(depth: int, *, mapping: bool = False) -> Any:
    found: Any = 1
    for _ in range(depth):
        found = {"k": found} if mapping else [found]
    return found


def branching(depth: int) -> list[Any]:
    """Two to the power of `depth` leaves in a few objects."""
    found: list[Any] = []
    for _ in range(depth):
        found = [found, found]
    return found


def span_of(name: Any = "s", **given: Any) -> ReadableSpan:
    return ReadableSpan(name, **{"context": CONTEXT, "start_time": 1, "end_time": 2, **given})


def encoded(span: Any) -> Span:
    """What arrives: parsed as part of a whole request, the way a collector does it."""
    shell = ResourceSpans.FromString(encode_resource(Resource({})))
    scope = ScopeSpans.FromString(encode_scope(None))
    scope.spans.append(Span.FromString(encode_span(span)))
    shell.scope_spans.append(scope)
    request = ExportTraceServiceRequest.FromString(
        ExportTraceServiceRequest(resource_spans=[shell]).SerializeToString()
    )
    return request.resource_spans[0].scope_spans[0].spans[0]


def python(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [python(item) for item in value.array_value.values]
    if kind == "kvlist_value":
        return {pair.key: python(pair.value) for pair in value.kvlist_value.values}
    return kind and getattr(value, kind)


def said(message: Any) -> dict[str, Any]:
    attributes = {pair.key: python(pair.value) for pair in message.attributes}
    assert len(attributes) == len(message.attributes), "a key came twice"
    return attributes


def repaired(message: Any) -> dict[str, str]:
    attributes = said(message)
    keys, reasons = attributes.get(attr.CRUCIBLE_REPAIRED_KEYS, []), attributes.get(attr.CRUCIBLE_REPAIRED_REASONS, [])
    return dict(zip(keys, reasons, strict=True))


VALUES = [
    (float("inf"), float("inf"), None),
    (np.float32(1.5), 1.5, None),
    (np.int64(7), 7, None),
    (np.bool_(True), True, None),
    (np.arange(3), [0, 1, 2], None),
    (np.float64(0.5), 0.5, None),
    (Tensor(2.5), 2.5, None),
    (Tensor([1, 2]), [1, 2], None),
    (Tensor([1.0], "cuda:0"), "Tensor of torch.float32, shape (1,)", "on_device"),
    (np.zeros(10**6), "ndarray of float64, shape (1000000,)", "summarised"),
    (2**63, str(2**63), "integer"),
    (-(2**70), str(-(2**70)), "integer"),
    ([2**63, 1], [str(2**63), 1], "integer"),
    (10**5000, hex(10**5000), "integer"),
    ("a\ud800b", "a\ufffdb", "surrogate"),
    (("a\ud800b", "c"), ["a\ufffdb", "c"], "surrogate"),
    ({"k\ud800": ["\udfff"]}, {"k\ufffd": ["\ufffd"]}, "surrogate"),
    ({1: "a", None: "b"}, {"1": "a", "None": "b"}, None),
    ({3, 1, 2}, [1, 2, 3], None),
    (1 + 2j, "(1+2j)", None),
    (Decimal("0.10"), "0.10", None),
    (Colour.RED, "red", None),
    (cyclic(), [1, "<cycle>"], "cycle"),
    (Refusing(), "<unprintable Refusing>", "unprintable"),
    ([1, Refusing()], [1, "<unprintable Refusing>"], "unprintable"),
    ({"a": {"b": Refusing()}}, {"a": {"b": "<unprintable Refusing>"}}, "unprintable"),
    (b"\xff\x00", b"\xff\x00", None),
    (b"x" * 65_536, b"x" * 65_536, None),
    ("NUL \0", "NUL \0", None),
    (None, None, None),
]


@pytest.mark.parametrize(("value", "kept", "reason"), VALUES, ids=lambda value: ascii(type(value).__name__))
def test_p30_every_value_arrives_and_says_what_was_changed(value: Any, kept: Any, reason: str | None) -> None:
    span = encoded(span_of(attributes={"before": 1, "key": value, "after": 2}))
    attributes = said(span)
    assert (attributes["before"], attributes["key"], attributes["after"]) == (1, kept, 2)
    assert type(attributes["key"]) is type(kept)
    assert repaired(span) == ({"key": reason} if reason else {})


def test_p30_not_a_number_is_a_double() -> None:
    (pair,) = encoded(span_of(attributes={"key": float("nan")})).attributes
    assert pair.value.WhichOneof("value") == "double_value"
    assert pair.value.double_value != pair.value.double_value


@pytest.mark.parametrize("mapping", [False, True])
@pytest.mark.parametrize("depth", [30, 31, 32, 33, 150, 2_000])
def test_p30_what_is_nested_too_deeply_is_cut(depth: int, mapping: bool) -> None:
    value = nested(depth, mapping=mapping)
    event = Event("e", {"key": value}, 1)  # the deepest place of a request
    message = encoded(span_of(attributes={"key": value}, events=[event]))
    kept_whole = depth <= (30 if mapping else 32)
    for holder in (message, message.events[0]):
        assert repaired(holder) == ({} if kept_whole else {"key": "depth"})
        found, levels = said(holder)["key"], 0
        while isinstance(found, (list, dict)):
            found, levels = (found["k"] if mapping else found[0]), levels + 1
        assert (found, levels) == ((1, depth) if kept_whole else ("<too deep>", 30 if mapping else 32))
    while isinstance(value, list) and value:  # taken apart by hand: the collector of a deep list recurses
        value = value.pop()


@pytest.mark.parametrize("value", [branching(30), Endless(), range(10**12)], ids=["branching", "endless", "range"])
def test_p30_what_has_no_end_is_cut(value: Any) -> None:
    assert repaired(encoded(span_of(attributes={"key": value}))) == {"key": "summarised"}


def test_p30_beside_the_end_of_the_stack_nothing_is_raised() -> None:
    def deeper(depth: int) -> Span:
        return deeper(depth - 1) if depth else encoded(span_of(attributes={"key": nested(30)}))

    room = sys.getrecursionlimit() - sum(1 for _ in _frames())
    messages = [deeper(room - left) for left in (40, 60, 80)]
    assert [message.span_id for message in messages] == [bytes(7) + b"\x02"] * 3
    assert all("key" in said(message) or "span" in repaired(message) for message in messages)
    assert {tuple(repaired(message).values()) for message in messages} >= {("unprintable",)}


def _frames() -> Iterator[Any]:
    frame = sys._getframe()
    while frame:
        yield frame
        frame = frame.f_back  # type: ignore[assignment]


hostile = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(codec=None))
    | st.binary()
    | st.sampled_from([np.float32(1), np.arange(4), Colour.RED, int, print, Decimal(1)])
    | st.builds(Refusing)
    | st.builds(object)
    | st.builds(UserDict)
    | st.complex_numbers()
    | st.builds(cyclic),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters(codec=None)) | st.integers(), inner),
    max_leaves=8,
)
hostile_text = st.text(st.characters(codec=None)) | hostile


@settings(max_examples=40, deadline=None)
@given(st.dictionaries(st.text(st.characters(codec=None)) | st.integers() | st.none(), hostile))
def test_p30_nothing_that_can_be_generated_vanishes(attributes: dict[Any, Any]) -> None:
    span = encoded(span_of(attributes=attributes))
    marks = {attr.CRUCIBLE_REPAIRED_KEYS, attr.CRUCIBLE_REPAIRED_REASONS}
    assert len(set(said(span)) - marks) == len(attributes)


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_p31_no_part_of_a_span_can_lose_it(data: st.DataObject) -> None:
    def any_of(*more: Any) -> Any:
        return data.draw(hostile_text | st.sampled_from(more or (None,)))

    def pointing() -> Any:
        return SimpleNamespace(
            is_valid=False, is_remote=any_of(), trace_state=None, trace_id=any_of(5), span_id=any_of(2**70)
        )

    links = [SimpleNamespace(context=pointing(), attributes=any_of({}), dropped_attributes=any_of(0))]
    events = [SimpleNamespace(name=any_of(), timestamp=any_of(1), attributes=any_of(), dropped_attributes=any_of())]
    message = encoded(
        SimpleNamespace(
            name=any_of(),
            context=pointing(),
            parent=pointing(),
            kind=any_of(),
            status=any_of(),
            start_time=any_of(),
            end_time=any_of(),
            attributes=any_of({"a": 1}),
            events=events,
            links=links,
            dropped_attributes=any_of(),
            dropped_events=any_of(),
            dropped_links=any_of(),
        )
    )
    assert len(message.trace_id) == 16
    assert len(message.span_id) == 8
    assert any(message.trace_id)
    assert any(message.span_id)
    assert message.end_time_unix_nano >= message.start_time_unix_nano


@pytest.mark.parametrize(
    ("name", "kept", "reason"),
    [
        ("half \ud800", "half \ufffd", "surrogate"),
        (5, "5", "type"),
        (None, "", None),
        ("x" * 1_000_000, "x" * 1_000_000, None),
        (Refusing(), "<unprintable Refusing>", "unprintable"),
    ],
    ids=["surrogate", "int", "None", "1 MB", "refusing"],
)
def test_p31_names_of_every_kind(name: Any, kept: str, reason: str | None) -> None:
    event = Event(name, {}, 1)
    status = Status(StatusCode.ERROR)
    status._description = name
    message = encoded(span_of(name, events=[event], status=status))
    assert (message.name, message.events[0].name, message.status.message) == (kept, kept, kept)
    assert repaired(message) == ({"span.name": reason, "span.status": reason} if reason else {})
    assert repaired(message.events[0]) == ({"event.name": reason} if reason else {})


def test_p31_keys_of_every_kind() -> None:
    attributes = {"\ud800": 1, chr(0xFFFD): 2, 3: "int", "3": "text", None: "None", "k" * 1_000_000: 4}
    message = encoded(span_of(attributes=attributes))
    kept = {"\ufffd_": 1, "\ufffd": 2, "3_": "int", "3": "text", "None": "None", "k" * 1_000_000: 4}
    assert {key: said(message)[key] for key in kept} == kept
    assert repaired(message) == {"\ufffd_": "surrogate", "3_": "type", "None": "type"}


def test_p31_resources_and_scopes_of_every_kind() -> None:
    bad = {"text\ud800": "\ud800", "number": 2**64}
    resource = ResourceSpans.FromString(encode_resource(Resource(bad, "https://\ud800")))
    scope = ScopeSpans.FromString(encode_scope(InstrumentationScope("n\ud800", 5, None, bad)))
    for attributes in (said(resource.resource), said(scope.scope)):
        assert (attributes["text\ufffd"], attributes["number"]) == ("\ufffd", str(2**64))
    assert (scope.scope.name, scope.scope.version, resource.schema_url) == ("n\ufffd", "5", "https://\ufffd")
    assert encode_resource(Refusing()) == encode_scope(Refusing()) == b"\n\0"


@pytest.mark.parametrize(
    ("given_time", "kept"),
    [
        (-1, 1_000),
        (1.7e9, 1_700_000_000_000_000_000),
        (1.7e18, 1_700_000_000_000_000_000),
        (2**64, 1_000),
        (float("nan"), 1_000),
        (float("-inf"), 1_000),
        ("now", 1_000),
        (Refusing(), 1_000),
    ],
    ids=["negative", "seconds", "float", "huge", "nan", "inf", "text", "refusing"],
)
def test_p31_times_of_every_kind(given_time: Any, kept: int) -> None:
    event = Event("e", {"a": 1}, given_time)
    (event_message,) = encoded(span_of(start_time=1_000, end_time=2_000, events=[event])).events
    assert (event_message.time_unix_nano, repaired(event_message)) == (kept, {"event.time": "time"})
    begun = encoded(span_of(start_time=given_time, end_time=2 * 10**18))
    ended = encoded(span_of(start_time=1_000, end_time=given_time))
    assert (begun.start_time_unix_nano, repaired(begun)) == (
        kept if kept > 1_000 else 2 * 10**18,
        {"span.start_time": "time"},
    )
    assert (ended.end_time_unix_nano, repaired(ended)) == (kept, {"span.end_time": "time"})


def test_p31_a_span_without_times_ends_when_it_starts() -> None:
    assert encoded(span_of(end_time=None)).end_time_unix_nano == 1
    before = time.time_ns()
    message = encoded(span_of(start_time=None, end_time=None))
    assert before <= message.start_time_unix_nano <= message.end_time_unix_nano <= time.time_ns()


@pytest.mark.parametrize(
    ("trace_id", "span_id", "kept"),
    [(0, 5, False), (5, 0, False), (2**128 + 7, 5, True), (7, 2**64 + 5, True), (-1, 5, True), ("7", 5, False)],
)
def test_p31_ids_of_every_kind(trace_id: Any, span_id: Any, kept: bool) -> None:
    context = SimpleNamespace(is_valid=False, is_remote=False, trace_state=None, trace_id=trace_id, span_id=span_id)
    message = encoded(span_of(links=[Link(context, {"why": "because"}), Link(CONTEXT)]))
    assert len(message.links) == 1 + kept
    assert message.dropped_links_count == 1 - kept
    holder = message.links[0] if kept else message
    assert set(repaired(holder).values()) == {"identifier"}
    own = span_of(context=context)
    assert any(encoded(own).trace_id)
    assert any(encoded(own).span_id)
    assert encode_span(own) == encode_span(own)
    assert encoded(span_of(context=context, name="other")).span_id != encoded(own).span_id or span_id


def test_p31_what_was_repaired_before_is_still_named() -> None:
    marks = {attr.CRUCIBLE_REPAIRED_KEYS: ("a",), attr.CRUCIBLE_REPAIRED_REASONS: ("integer",)}
    message = encoded(span_of("n\ud800", attributes={"a": "1", 5: 6, **marks}))
    assert repaired(message) == {"a": "integer", "span.name": "surrogate", "5": "type"}
    assert said(message)["5"] == 6


def test_p31_a_foreign_kind_and_status_cost_nothing_else() -> None:
    message = encoded(span_of(kind="server", status="fine", attributes={"a": 1}))
    assert said(message)["a"] == 1
    assert repaired(message) == {"span.kind": "type", "span.status": "type"}


@pytest.mark.parametrize("part", ["context", "name", "attributes", "events", "links", "status", "kind", "parent"])
def test_p31_a_span_that_raises_when_it_is_read_keeps_its_ids_and_times(part: str) -> None:
    class Broken(ReadableSpan):
        pass

    def fail(self: Any) -> Any:
        raise RuntimeError("broken")

    setattr(Broken, part, property(fail))
    message = encoded(Broken("s", CONTEXT, start_time=1, end_time=2))
    assert (message.start_time_unix_nano, message.end_time_unix_nano) == (1, 2)
    assert repaired(message)["span"] == "unprintable"
    assert message.name == ("" if part == "name" else "s")
    assert any(message.span_id)


@pytest.mark.parametrize(
    "poison",
    [
        lambda tracer: tracer.start_span("half a \ud800 character").end(),
        lambda tracer: tracer.start_span(5).end(),
        lambda tracer: tracer.start_span("s", start_time=-1).end(),
        lambda tracer: _with_event(tracer, "e\ud800"),
        lambda tracer: _with_event(tracer, "e", -1),
        lambda tracer: _with_event(tracer, "e", time.time()),
        lambda tracer: tracer.start_span("s", links=[Link(SpanContext(2**130, 2**70, False), {"a": 1})]).end(),
        lambda tracer: tracer.start_span("s", attributes={"k\ud800": 2**70}).end(),
        lambda tracer: _failing(tracer, OSError("no file \ud800")),
    ],
    ids=[
        "name",
        "int name",
        "start",
        "event",
        "event before 1970",
        "event in seconds",
        "link",
        "attribute",
        "exception",
    ],
)
def test_p31_the_journal_loses_neither_the_bad_span_nor_a_neighbour(
    tmp_path: Path, poison: Callable[[Any], None]
) -> None:
    journal = JournalSpanProcessor(tmp_path)
    provider = provider_into(journal)
    tracer = provider.get_tracer("t")
    for number in range(20):
        tracer.start_span(f"good {number}").end()
    poison(tracer)
    provider.shutdown()
    content = read_directory(tmp_path)
    assert len(content.spans) == 21
    assert journal.lost == 0
    assert names(content.spans)[:20] == [f"good {number}" for number in range(20)]


def _with_event(tracer: Any, *event: Any) -> None:
    span = tracer.start_span("s")
    span.add_event(event[0], {"a": 1}, *event[1:])
    span.end()


def _failing(tracer: Any, error: Exception) -> None:
    with pytest.raises(type(error)), tracer.start_as_current_span("s"):
        raise error


# ---- clocks ----


@pytest.fixture
def shift(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Moves the wall clock, for us and for the SDK."""
    real, moved = time.time_ns, [0]

    def wall() -> int:
        return real() + moved[0]

    monkeypatch.setattr(time, "time_ns", wall)
    monkeypatch.setattr("opentelemetry.sdk.trace.time_ns", wall)
    return lambda by: moved.__setitem__(0, moved[0] + by)


@pytest.mark.parametrize("by", [HOUR_NS, -HOUR_NS], ids=["forward", "back"])
def test_p34_a_clock_that_jumps_moves_no_operation(recorded: Recording, shift: Callable[[int], None], by: int) -> None:
    began = time.perf_counter_ns()
    with crucible.pipeline("p") as pipeline:
        shift(by)
        with pipeline.stage("first"):
            shift(by)
        with pipeline.stage("second") as second:
            shift(-by)
            second.span.add_event("foreign")
        with crucible.training_run("run") as run:
            for epoch in run.epochs(2):
                shift(by)
                epoch.record_step(loss=1.0)
    took = time.perf_counter_ns() - began
    outer = recorded.one("pipeline p")
    spans = [span for span in recorded.spans if span.name != "pipeline p"]
    assert 0 < outer.end_time - outer.start_time <= took
    assert [span.name for span in spans] == ["stage first", "stage second", "training_run", "epoch", "epoch"]
    for span in spans:
        assert outer.start_time <= span.start_time <= span.end_time <= outer.end_time
    for window in (event for span in spans for event in span.events if event.name != "foreign"):
        assert outer.start_time <= window.timestamp <= outer.end_time


def test_p34_a_clock_that_jumps_between_operations_gives_each_its_own_start(
    recorded: Recording, shift: Callable[[int], None]
) -> None:
    with crucible.stage("first"):
        pass
    shift(HOUR_NS)
    with crucible.stage("second"):
        pass
    first, second = recorded.spans
    assert HOUR_NS <= second.start_time - first.start_time < HOUR_NS + HOUR_NS // 60
    assert all(0 <= span.end_time - span.start_time < HOUR_NS for span in (first, second))


def test_p34_a_foreign_span_whose_clock_went_back_has_no_negative_duration(
    tmp_path: Path, shift: Callable[[int], None]
) -> None:
    provider = provider_into(JournalSpanProcessor(tmp_path))
    span = provider.get_tracer("t").start_span("s")
    shift(-HOUR_NS)
    span.end()
    provider.shutdown()
    (stored,) = read_directory(tmp_path).spans
    message = Span.FromString(stored.span)
    assert message.end_time_unix_nano == message.start_time_unix_nano == span.start_time
    assert repaired(message) == {"span.end_time": "time"}


# ---- calls in the wrong order ----


def first_end(stage: Any) -> None:
    stage.stop()
    stage.fail("late")
    stage.stop()


def end_of_the_span_itself(stage: Any) -> None:
    stage.span.end()
    stage.stop()


def end_elsewhere(stage: Any) -> None:
    thread = threading.Thread(target=stage.stop)
    thread.start()
    thread.join()


def end_in_a_lost_context(stage: Any) -> None:
    Context().run(stage.stop)


def end_by_many(stage: Any) -> None:
    together = threading.Barrier(8)
    threads = [threading.Thread(target=lambda: (together.wait(), stage.stop())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("end", [first_end, end_of_the_span_itself, end_elsewhere, end_in_a_lost_context, end_by_many])
def test_p35_however_it_is_ended_it_is_recorded_once_and_the_first_end_wins(
    recorded: Recording, end: Callable[[Any], None]
) -> None:
    stage = crucible.stage("s").start()
    end(stage)
    with crucible.stage("next"):
        pass
    ended, following = recorded.named("stage s") + recorded.named("stage next")
    assert len(recorded.spans) == 2
    assert ended.status.status_code is not StatusCode.ERROR
    assert following.parent is None


def test_p35_an_error_that_came_first_stays(recorded: Recording) -> None:
    stage = crucible.stage("s").start()
    stage.fail("first")
    stage.stop()
    stage.fail("second")
    assert recorded.one("stage s").status.description == "first"


def test_p35_a_span_that_is_never_ended_holds_nothing_up(recorded: Recording) -> None:
    def forgets() -> None:
        crucible.stage("forgotten").start()

    thread = threading.Thread(target=forgets)
    thread.start()
    thread.join()
    gc.collect()
    with crucible.stage("after"):
        pass
    assert [span.name for span in recorded.spans] == ["stage after"]


def test_p35_a_generator_that_is_closed_late_is_recorded_inside_what_it_began_in(recorded: Recording) -> None:
    def rows() -> Iterator[int]:
        with crucible.stage("rows"):
            yield 1
            yield 2

    with crucible.pipeline("p"):
        left = rows()
        assert next(left) == 1
    left.close()
    with crucible.stage("after"):
        pass
    assert recorded.one("stage rows").parent.span_id == recorded.one("pipeline p").context.span_id
    assert recorded.one("stage after").parent is None


@pytest.mark.parametrize("how", ["stop", "fail"])
def test_p35_calls_before_the_start_and_without_a_provider_do_nothing(how: str) -> None:
    stage = crucible.stage("s")
    getattr(stage, how)(*(["why"] if how == "fail" else []))
    run = crucible.training_run("run").start()
    run.record_step(loss=1.0)
    run.stop()
    run.record_step(loss=2.0)


AT_SHUTDOWN = """
import atexit, sys, threading, time
import crucible_trace_otel as crucible

crucible.configure(service_name="s", journal=sys.argv[1])

class Late:
    def __del__(self):
        with crucible.stage("in a finalizer"):
            pass

def rows():
    with crucible.stage("of a generator"):
        yield 1

def forever():
    while True:
        with crucible.stage("of a daemon thread"):
            time.sleep(0.001)

def at_exit():
    with crucible.stage("at exit"):
        pass

atexit.register(at_exit)
threading.Thread(target=forever, daemon=True).start()
late, left = Late(), rows()
next(left)
never_ended = crucible.pipeline("never ended").start()
time.sleep(0.05)
"""


def test_p35_a_program_that_ends_in_the_middle_says_nothing_and_loses_nothing(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AT_SHUTDOWN, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (0, "", 1), done.stderr
    assert "pipeline never ended" in done.stderr
    content = read_directory(tmp_path)
    assert (content.damaged, content.unreadable) == (0, ())
    assert {"stage at exit", "stage of a daemon thread"} <= set(names(content.spans))
    assert "pipeline never ended" in names(content.open)
