"""Every name that the convention has: recorded by a real program, and read back behind a real Collector.

Which names these are is taken from the registry, so one that is added there fails here until a public call records it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv.catalogue import (
    ATTRIBUTES,
    EVENTS,
    METRICS,
    SPANS,
    EventDefinition,
    SpanDefinition,
    find_attribute,
)
from crucible_trace_otel.semconv.enums import LinkType
from semconv.generate import ROOT
from tests.backends.demo import journalled, nobody_sends, read_back, start
from tests.backends.recording import differences
from tests.backends.sink import ReceivedSpan, Sink
from tests.backends.test_signals_through_collector import behind, events_of, plain
from tests.semconv.test_emitted import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

    from crucible_trace_otel.trace.spans import TraceSpan

PROGRAM = ROOT / "tests" / "backends" / "whole.py"
ENVIRONMENT = {"CRUCIBLE_EVENT_SIGNAL": "both", "CRUCIBLE_PROGRESS": "1", "OTEL_METRICS_EXPORTER": "otlp"}
OPERATIONS = list(SPANS)
RECORDED_EVENTS = [event for event in EVENTS.values() if not event.foreign]
LINK_TYPES = [value for name, value in vars(LinkType).items() if name.isupper()]

NOT_SET = {
    "nothing reads a model's text, or chains records, yet": {
        *(f"crucible.integrity.{name}" for name in ("previous_sha256", "root", "sequence", "sha256")),
        *(f"crucible.parse.{name}" for name in ("diagnostics", "source_length", "source_offset")),
    },
    "told only where something went wrong, or was too long": {
        *("crucible.checkpoint.changed", "crucible.model.changed", "crucible.overflow"),
        *("crucible.truncated.keys", "crucible.truncated.lengths", "crucible.truncated.sha256s"),
    },
    "on metrics alone": {"crucible.metric.name", "crucible.recorder.state"},
    "of machines with an accelerator": {"crucible.device.count"},
    "for who knows it, by `set()`": {
        *("crucible.chain.id", "crucible.checkpoint.format", "crucible.model.format", "crucible.clock.offset"),
        *("crucible.link.reason", "crucible.training.batch.index", "crucible.training.loss.kind"),
    },
}
"""Attributes of the convention that the program does not lead to, by the reason."""


def span_of(event: EventDefinition) -> str | None:
    """The operation that `event` is the start or the end of, or is recorded as; None of an event of its own."""
    if event.boundary is not None:
        return event.boundary.span
    return event.name if event.name in SPANS else None


OWN_EVENTS = [event.name for event in RECORDED_EVENTS if span_of(event) is None]
MOMENTS = [event.name for event in RECORDED_EVENTS if span_of(event) is not None]


@dataclass(frozen=True)
class Carried:
    """What the program recorded, by its journal, and what of it came out behind the Collector."""

    journal: list[ReceivedSpan]
    arrived: list[ReceivedSpan]
    spans: list[TraceSpan]
    """Those that arrived, as readers have them."""
    logs: list[LogRecord]
    metrics: dict[str, Metric]

    def named(self, name: str) -> list[TraceSpan]:
        """The spans of an operation that arrived, which are those that the journal has."""
        assert differences(_of(self.journal, name), _of(self.arrived, name)) == []
        return [span for span in self.spans if span.operation == name]


def _of(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    return [each for each in spans if each.span.name.partition(" ")[0] == name]


@pytest.fixture(scope="module")
def carried(collector: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carried]:
    """One run of the program, killed at its end, with log records beside its events."""
    folder = tmp_path_factory.mktemp("whole")
    with Sink() as sink, behind(sink, folder, collector) as running:
        endpoint = running.endpoint("http/protobuf")
        with start([str(PROGRAM)], folder, endpoint, "http/protobuf", **ENVIRONMENT) as program:
            printed, _ = program.communicate(timeout=120)
        assert program.returncode == -9, printed
        assert nobody_sends(folder)
        journal = journalled(folder)
        assert sink.wait_for_spans(len(journal)), running.log
        in_journal = events_of([each.span for each in journal])
        assert sink.wait(lambda it: len(it.logs()) >= len(in_journal)), running.log
        arrived = sink.received()
        metrics = {metric.name: metric for metric in sink.metrics()}
        yield Carried(journal, arrived, [read_back(each) for each in arrived], sink.logs(), metrics)


def check_all(attributes: Mapping[str, Any], definition: SpanDefinition | EventDefinition) -> None:
    """Each attribute is of its type and listed, and none that is required is missing."""
    check(attributes, definition.attributes, definition.name)
    if definition.name == events.RECORDED_LATE:  # it holds whatever came late
        return
    found = {key: find_attribute(key) for key in attributes}
    unlisted = {key for key, known in found.items() if known is None or known.key not in definition.attributes}
    assert not unlisted, f"{definition.name} does not list {unlisted}"


def test_t6_what_the_calls_record_is_met_end_to_end(carried: Carried) -> None:
    """The old library's tests called what emits and what listens directly, so that nothing between them was missed."""
    assert differences(carried.journal, carried.arrived) == []
    assert {span.operation for span in carried.spans} == set(OPERATIONS)


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_read_back(carried: Carried, name: str) -> None:
    arrived = carried.named(name)
    assert arrived, f"nothing records a {name}"
    for span in arrived:
        check_all(span.attributes, SPANS[name])


@pytest.mark.parametrize("name", OWN_EVENTS)
def test_every_event_is_read_back(carried: Carried, name: str) -> None:
    holders = {span.operation for span in carried.spans if name in {event.name for event in span.events}}
    assert holders, f"nothing records a {name}"
    allowed = EVENTS[name].operations  # none are named of an event that is not ours
    assert not allowed or holders <= set(allowed)
    for holder in holders:
        for span in carried.named(holder):
            for event in span.events:
                if event.name == name:
                    check_all(event.attributes, EVENTS[name])


@pytest.mark.parametrize("name", OWN_EVENTS)
def test_every_event_is_a_log_record_too(carried: Carried, name: str) -> None:
    expected = [event for event in events_of([each.span for each in carried.journal]) if event[0] == name]
    arrived = [
        (r.event_name, r.time_unix_nano, r.trace_id, r.span_id, sorted(plain(r.attributes).items()))
        for r in carried.logs
        if r.event_name == name
    ]
    assert expected
    assert sorted(arrived) == expected
    severities = {record.severity_text.lower() for record in carried.logs if record.event_name == name}
    assert severities == {EVENTS[name].severity}


@pytest.mark.parametrize("name", MOMENTS)
def test_what_is_the_start_or_the_end_of_an_operation_is_told_by_its_span(carried: Carried, name: str) -> None:
    operation = span_of(EVENTS[name])
    assert operation is not None
    assert name in {*SPANS[operation].aliases, operation}
    required = {key: level for key, level in EVENTS[name].attributes.items() if level == "required"}
    arrived = carried.named(operation)
    assert arrived, f"nothing records a {operation}"
    for span in arrived:
        check(span.attributes, required, operation)


@pytest.mark.parametrize("link_type", LINK_TYPES)
def test_every_link_leads_to_a_span_that_arrived_and_is_told_by_attributes_too(
    carried: Carried, link_type: str
) -> None:
    known = {(span.trace_id, span.span_id) for span in carried.spans}
    linked = [(span, link) for span in carried.spans for link in span.links if link.type == link_type]
    assert linked, f"nothing is linked as {link_type}"
    for span, link in linked:
        check(link.attributes, {attr.CRUCIBLE_LINK_TYPE: "required"}, "link")
        assert (link.trace_id, link.span_id) in known
        mirrored = zip(
            span.attributes[attr.CRUCIBLE_DEPENDENCY_TYPES],
            span.attributes[attr.CRUCIBLE_DEPENDENCY_SPAN_IDS],
            strict=True,
        )
        assert (link_type, link.span_id) in set(mirrored)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_arrives(carried: Carried, name: str) -> None:
    assert name in carried.metrics, f"nothing measures {name}"
    assert carried.metrics[name].unit == METRICS[name].unit


def test_the_attributes_that_no_call_of_the_program_sets_are_these(carried: Carried) -> None:
    held = [span.attributes for span in carried.spans]
    held += [event.attributes for span in carried.spans for event in span.events]
    held += [link.attributes for span in carried.spans for link in span.links]
    held += [span.resource for span in carried.spans]
    found = {known.key for attributes in held for key in attributes if (known := find_attribute(key)) is not None}
    own = {key for key, definition in ATTRIBUTES.items() if not definition.upstream}
    assert own - found == {key for keys in NOT_SET.values() for key in keys}
