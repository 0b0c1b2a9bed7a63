"""Large things: long values, many events, links and attributes, long runs. What is kept whole, and what is counted.

OpenTelemetry's own limits (128 events, links and attributes a span) hold for what is added by its own API; what goes
for them is counted on the span. Steps of ours are windows, and have no such limit.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import crucible_trace_otel as crucible
from crucible_trace_otel import sdk
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.sdk import _providers
from crucible_trace_otel.semconv import attributes as attr
from tests.cli.running import crucible_trace
from tests.faults.collector import Misbehaving
from tests.journal.otlp import provider_into

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SPANS = 100_000 if os.environ.get("CRUCIBLE_SOAK") else 10_000


@pytest.fixture(autouse=True)
def _nothing_configured_afterwards() -> Iterator[None]:
    yield
    sdk.shutdown(0)
    sdk._current.clear()
    _providers._switches.clear()
    _providers._own.clear()


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """The journal of a program of ours, and its global provider."""
    crucible.configure(service_name="s", journal=tmp_path / "journal", console=False)
    return tmp_path / "journal"


def stored(journal: Path, name: str) -> Span:
    """The only span of that name."""
    (span,) = (
        span for span in (Span.FromString(one.span) for one in read_directory(journal).spans) if span.name == name
    )
    return span


def texts(span: Span) -> dict[str, str]:
    return {pair.key: pair.value.string_value for pair in span.attributes}


@pytest.mark.parametrize("megabytes", [1, 5, 20])
def test_p08_p32_a_long_value_is_whole_in_the_journal(journal: Path, megabytes: int) -> None:
    long = "seven, " * (megabytes * 1_000_000 // 7)
    with trace_api.get_tracer("t").start_as_current_span("plain", attributes={"prompt": long}) as span:
        span.add_event("event", {"answer": long})
    plain = stored(journal, "plain")
    assert texts(plain) == {"prompt": long}
    assert plain.events[0].attributes[0].value.string_value == long
    assert (plain.dropped_attributes_count, plain.events[0].dropped_attributes_count) == (0, 0)


def test_p32_what_is_cut_on_the_wire_is_whole_in_the_journal_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRUCIBLE_TEXT_LIMIT", "off")
    long = "x" * 5_000_000
    with Misbehaving("limit 4000000") as collector:
        handle = crucible.configure(
            service_name="s", journal=tmp_path, endpoint=collector.http_endpoint, ship="thread", console=False
        )
        with trace_api.get_tracer("t").start_as_current_span("plain", attributes={"prompt": long}):
            pass
        assert handle.flush(20)
        (arrived,) = (span for span in collector.spans() if span.name == "plain")
    assert texts(stored(tmp_path, "plain"))["prompt"] == long
    said = {pair.key: pair.value for pair in arrived.attributes}
    assert said["prompt"].string_value == long[:1024]
    assert said[attr.CRUCIBLE_TRUNCATED_KEYS].array_value.values[0].string_value == "prompt"
    assert said[attr.CRUCIBLE_TRUNCATED_LENGTHS].array_value.values[0].int_value == len(long)
    assert len(said[attr.CRUCIBLE_TRUNCATED_SHA256S].array_value.values[0].string_value) == 64


def test_p32_what_the_sdk_drops_is_counted_on_the_span(journal: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("ERROR", logger="opentelemetry.attributes")  # it says a line for each

    target = trace_api.get_tracer("t").start_span("target")
    links = [trace_api.Link(target.get_span_context(), {"number": number}) for number in range(1_000)]
    with crucible.pipeline("p"), trace_api.get_tracer("t").start_as_current_span("many", links=links) as span:
        for number in range(10_000):
            span.add_event("event", {"number": number})
        for number in range(500):
            span.set_attribute(f"key {number}", number)
    target.end()
    many = stored(journal, "many")
    assert (len(many.events), many.dropped_events_count) == (128, 10_000 - 128)
    assert (len(many.links), many.dropped_links_count) == (128, 1_000 - 128)
    assert (len(many.attributes), many.dropped_attributes_count) == (128, 500 - 128)
    assert [event.attributes[0].value.int_value for event in many.events] == list(range(10_000 - 128, 10_000))
    (shown,) = (one for one in crucible.open_store(journal).latest().spans if one.name == "many")
    assert shown.dropped == {"events": 9_872, "links": 872, "attributes": 372}
    said = crucible_trace("show", "p", "--journal", journal)
    assert "dropped while recording: 372 attributes, 9872 events, 872 links" in said.stdout


def test_p32_steps_have_no_limit(journal: Path) -> None:
    with crucible.training_run("run") as run:
        for step in range(20_000):
            run.record_step(loss=float(step))
    trace = crucible.open_store(journal).get("run")
    assert [row["loss"] for row in crucible.step_rows(trace).rows] == list(range(20_000))
    assert stored(journal, "training_run").dropped_events_count == 0


def test_p33_a_long_run_opens_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("crucible_trace_otel.journal.segment.LONGEST", 1 << 20)
    journal = JournalSpanProcessor(tmp_path)
    tracer = provider_into(journal).get_tracer("t")
    with tracer.start_as_current_span("run") as run:
        for number in range(SPANS - 1):
            tracer.start_span("inside", attributes={"number": number}).end()
    journal.shutdown()
    assert len(list(tmp_path.glob("*.segment"))) > 1
    (trace,) = crucible.open_store(tmp_path).traces()
    assert len(trace.spans) == SPANS
    assert {span.parent_id for span in trace.spans} == {None, f"{run.get_span_context().span_id:016x}"}
    assert {span.attributes.get("number") for span in trace.spans} == {None, *range(SPANS - 1)}
