"""What is recorded is in the convention: every name, its type, and every attribute that is required."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.files._digests import drain
from crucible_trace_otel.semconv.catalogue import EVENTS, SPANS, find_attribute
from tests.semconv.everything import record_everything

TYPES = {
    "string": str,
    "int": int,
    "double": float,
    "boolean": bool,
    "bytes": bytes,
    "scalar": (str, int, float, bool),
}
FOREIGN_EVENTS = {"exception"}


@pytest.fixture(scope="module")
def spans(tmp_path_factory) -> Iterator[list[ReadableSpan]]:
    """One of everything that the public calls can record."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.add_span_processor(JournalSpanProcessor(tmp_path_factory.mktemp("journal")))  # it counts what traces hold
    use_tracer_provider(provider)
    try:
        record_everything(tmp_path_factory.mktemp("files"))
        assert drain(10)
        yield list(exporter.get_finished_spans())
    finally:
        use_tracer_provider(None)


def check(attributes, required, allowed_on) -> None:
    for key, value in attributes.items():
        definition = find_attribute(key)
        assert definition is not None, f"{key} on {allowed_on} is not in the convention"
        kind = definition.type.removesuffix("[]")
        values = value if definition.type.endswith("[]") else [value]
        assert all(type(item) in (TYPES[kind] if kind == "scalar" else (TYPES[kind],)) for item in values), (
            f"{key} = {value!r}"
        )
    present = {find_attribute(key).key for key in attributes}
    missing = {key for key, level in required.items() if level == "required"} - present
    assert not missing, f"{allowed_on} lacks {missing}"


def test_every_span_and_its_attributes_are_in_the_convention(spans):
    for span in spans:
        operation = span.attributes["crucible.operation.name"]
        assert operation in SPANS
        assert span.name.split()[0] == operation
        check(span.attributes, SPANS[operation].attributes, operation)
        unlisted = {key for key in span.attributes if find_attribute(key).key not in SPANS[operation].attributes}
        assert not unlisted, f"{operation} does not list {unlisted}"


def test_every_event_and_its_attributes_are_in_the_convention(spans):
    for span in spans:
        for event in span.events:
            if event.name in FOREIGN_EVENTS:
                continue
            assert event.name in EVENTS
            operations = EVENTS[event.name].operations  # none are named of an event that is not ours
            assert span.attributes["crucible.operation.name"] in operations or not operations
            check(event.attributes, EVENTS[event.name].attributes, event.name)


def test_a_run_that_outgrows_its_trace_is_among_what_is_recorded(spans):
    assert {"run_part", "run_index"} <= {span.attributes["crucible.operation.name"] for span in spans}


def test_every_link_carries_the_attributes_of_the_convention(spans):
    links = [link for span in spans for link in span.links]
    assert links
    for link in links:
        check(link.attributes, {"crucible.link.type": "required"}, "link")


def test_the_link_to_the_call_of_a_decision_is_among_what_is_recorded(spans):
    assert "thought_in" in {link.attributes["crucible.link.type"] for span in spans for link in span.links}
