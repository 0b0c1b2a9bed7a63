"""Open spans: what is recorded of them at once, after a second, when they change, and when their file is full."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import crucible_trace_otel as crucible
from crucible_trace_otel.journal import opening
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.journal.sizes import TRACES, Budget
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.semconv import attributes as attr
from tests.journal.otlp import provider_into

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def journal(tmp_path: Path) -> JournalSpanProcessor:
    journal = JournalSpanProcessor(tmp_path)
    use_tracer_provider(provider_into(journal))
    return journal


def passed(journal: JournalSpanProcessor, monkeypatch: pytest.MonkeyPatch, seconds: float = 1.5) -> None:
    """Let so many seconds pass for what is open."""
    real = opening.monotonic_ns()
    monkeypatch.setattr(opening, "monotonic_ns", lambda: real + int(seconds * 1e9))
    journal.ticker.tick()
    monkeypatch.undo()


def shape(journal: JournalSpanProcessor) -> tuple[list[str], list[str]]:
    """The names of what is open and of what has ended, as stored."""
    content = read_directory(journal.directory)
    return sorted(Span.FromString(stored.span).name for stored in content.open), [
        Span.FromString(stored.span).name for stored in content.spans
    ]


def test_a_long_operation_is_stored_and_marked_when_it_starts(journal: JournalSpanProcessor) -> None:
    with crucible.training_run("digits", hyperparameters={"lr": 0.1}) as run:
        assert shape(journal) == (["training_run"], ["training_run_started"])
        content = read_directory(journal.directory)
        (opened,), (marker,) = ([Span.FromString(s.span) for s in part] for part in (content.open, content.spans))
        assert opened.end_time_unix_nano == 0
        assert opened.span_id == marker.parent_span_id == run.span_context.span_id.to_bytes(8, "big")
        assert marker.start_time_unix_nano == marker.end_time_unix_nano == opened.start_time_unix_nano
        said = {pair.key: pair.value.string_value for pair in marker.attributes}
        assert said[attr.CRUCIBLE_OPERATION_NAME] == "training_run_started"
        assert said[attr.CRUCIBLE_RUN_STATE] == "running"
        assert said[attr.CRUCIBLE_ABOUT] == "digits"
        assert said[attr.CRUCIBLE_RUN_ID] == run.run_id
    assert shape(journal) == ([], ["training_run_started", "training_run"])


def test_a_short_one_leaves_nothing_but_its_end(journal: JournalSpanProcessor) -> None:
    with crucible.stage("clean"):
        journal.ticker.tick()
    assert shape(journal) == ([], ["stage clean"])


def test_what_is_a_second_old_is_stored_and_marked_once(
    journal: JournalSpanProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crucible.stage("clean"), crucible.reasoning_chain("why"):
        for _ in range(3):
            passed(journal, monkeypatch)
        assert shape(journal) == (["reasoning_chain", "stage clean"], ["stage_started", "reasoning_chain_started"])


def test_a_foreign_span_is_stored_when_it_is_a_second_old(
    journal: JournalSpanProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracer = provider_into(journal).get_tracer("foreign")
    span = tracer.start_span("GET /", attributes={"n": 1})
    passed(journal, monkeypatch)
    assert shape(journal) == (["GET /"], [])
    size = journal.writer.segments.position()[1]
    passed(journal, monkeypatch)
    assert journal.writer.segments.position()[1] == size  # nothing has changed
    span.set_attribute("n", 2)
    passed(journal, monkeypatch)
    (stored,) = read_directory(journal.directory).open
    assert [pair.value.int_value for pair in Span.FromString(stored.span).attributes] == [2]
    span.end()
    assert shape(journal) == ([], ["GET /"])


def test_a_silent_operation_gives_a_sign_of_progress_below_its_marker(
    journal: JournalSpanProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crucible.training_run("silent"):
        passed(journal, monkeypatch, 599)
        assert shape(journal)[1] == ["training_run_started"]
        passed(journal, monkeypatch, 1_300)
        marker, progress = (Span.FromString(stored.span) for stored in read_directory(journal.directory).spans)
        assert progress.name == "progress"
        assert progress.parent_span_id == marker.span_id
        assert progress.start_time_unix_nano > marker.start_time_unix_nano


def test_what_starts_in_another_part_is_a_sign_of_the_run(
    journal: JournalSpanProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    TRACES.budget = Budget(math.inf, 1)
    clock = [1]
    monkeypatch.setattr(opening, "monotonic_ns", lambda: clock[0])
    with crucible.training_run("busy") as run:
        for _ in range(4):
            run.record_validation(accuracy=0.5)
            clock[0] += 400 * 10**9
            journal.ticker.tick()
        assert shape(journal)[1].count("run_part_started") == 3
        assert "progress" not in shape(journal)[1]
        clock[0] += 400 * 10**9
        journal.ticker.tick()
        assert "progress" in shape(journal)[1]


def test_what_is_open_when_the_file_is_closed_is_in_it(journal: JournalSpanProcessor) -> None:
    crucible.stage("forgotten").start()
    journal.shutdown()
    assert shape(journal)[0] == ["stage forgotten"]
    content = read_directory(journal.directory)
    assert content.closed == {"how": "shutdown"}


def test_windows_are_not_repeated_in_the_record_of_an_open_span(
    journal: JournalSpanProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    with crucible.training_run("digits") as run:
        for number in range(1_000):
            run.record_step(loss=1.0 / (number + 1))
        run.stop_early("enough")
        passed(journal, monkeypatch)
        (stored,) = read_directory(journal.directory).open
        assert [event.name for event in Span.FromString(stored.span).events] == ["early_stopped"]
