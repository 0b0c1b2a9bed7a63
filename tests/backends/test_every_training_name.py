"""Every name that the convention has about training: recorded by a real program, and read back behind a real Collector.

Which names these are is taken from the registry, so one that is added there fails here until a public call records it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from crucible_trace_otel.semconv.catalogue import EVENTS, SPANS, EventDefinition, SpanDefinition, find_attribute
from semconv.generate import ROOT
from semconv.registry import load
from tests.backends.demo import journalled, nobody_sends, read_back, start
from tests.backends.recording import differences
from tests.backends.sink import ReceivedSpan, Sink
from tests.backends.test_signals_through_collector import behind, events_of, plain
from tests.semconv.test_emitted import check

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

PROGRAM = ROOT / "tests" / "backends" / "whole_training.py"
ENVIRONMENT = {"CRUCIBLE_EVENT_SIGNAL": "both", "CRUCIBLE_PROGRESS": "1", "CRUCIBLE_TRACE_SPANS": "20"}
ABOUT_TRAINING = {"training", "training_signals", "windows", "artifacts", "tuning", "run", "life"}
"""Pages of the convention."""
REGISTRY, _ = load(ROOT / "semconv" / "model")


def is_of_training(definition: SpanDefinition | EventDefinition) -> bool:
    """Whether it stands on such a page, and the operation that it is first of all met inside of too."""
    signals = REGISTRY.spans if isinstance(definition, SpanDefinition) else REGISTRY.events
    outer = definition.operations[:1]
    return signals[definition.name].area in ABOUT_TRAINING and all(is_of_training(SPANS[name]) for name in outer)


def span_of(event: EventDefinition) -> str | None:
    """The operation that `event` is the start or the end of, or is recorded as; None of an event of its own."""
    if event.boundary is not None:
        return event.boundary.span
    return event.name if event.name in SPANS else None


OPERATIONS = [name for name, definition in SPANS.items() if is_of_training(definition)]
TRAINING_EVENTS = [event for event in EVENTS.values() if is_of_training(event) and not event.foreign]
OWN_EVENTS = [event.name for event in TRAINING_EVENTS if span_of(event) is None]
MOMENTS = [event.name for event in TRAINING_EVENTS if span_of(event) is not None]


@dataclass(frozen=True)
class Carried:
    """What the program recorded, by its journal, and what of it came out behind the Collector."""

    journal: list[ReceivedSpan]
    arrived: list[ReceivedSpan]
    logs: list[LogRecord]

    def named(self, name: str) -> list[ReceivedSpan]:
        """The spans of an operation that arrived, which are those that the journal has."""
        arrived = _named(self.arrived, name)
        assert differences(_named(self.journal, name), arrived) == []
        return arrived


def _named(spans: list[ReceivedSpan], name: str) -> list[ReceivedSpan]:
    return [each for each in spans if each.span.name == name]


@pytest.fixture(scope="module")
def carried(collector: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Carried]:
    """One run of the program, killed at its end, with log records beside its events."""
    folder = tmp_path_factory.mktemp("whole-training")
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
        yield Carried(journal, sink.received(), sink.logs())


def check_all(attributes: Mapping[str, Any], definition: SpanDefinition | EventDefinition) -> None:
    """Each attribute is of its type and listed, and none that is required is missing."""
    check(attributes, definition.attributes, definition.name)
    found = {key: find_attribute(key) for key in attributes}
    unlisted = {key for key, known in found.items() if known is None or known.key not in definition.attributes}
    assert not unlisted, f"{definition.name} does not list {unlisted}"


@pytest.mark.parametrize("name", OPERATIONS)
def test_every_operation_is_read_back(carried: Carried, name: str) -> None:
    arrived = carried.named(name)
    assert arrived, f"nothing records a {name}"
    for each in arrived:
        assert each.span.name == name
        check_all(read_back(each).attributes, SPANS[name])


@pytest.mark.parametrize("name", OWN_EVENTS)
def test_every_event_is_read_back(carried: Carried, name: str) -> None:
    holders = {each.span.name for each in carried.arrived if name in {event.name for event in each.span.events}}
    assert holders, f"nothing records a {name}"
    assert holders <= set(EVENTS[name].operations)
    for holder in holders:
        for each in carried.named(holder):
            for event in read_back(each).events:
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
    for each in arrived:
        check(read_back(each).attributes, required, operation)


def test_these_are_the_names_of_training() -> None:
    """What other areas have inside a training is theirs; so are files that stages make."""
    names = {*OPERATIONS, *OWN_EVENTS, *MOMENTS}
    assert names >= {"training_run", "trial_interrupted", "progress", "steps_recorded", "training_started"}
    assert names.isdisjoint({"barrier", "worker_started", "policy_update", "artifact_produced", "stage", "inference"})
