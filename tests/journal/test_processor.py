"""`JournalSpanProcessor` in a provider that somebody else set up: stored is what the official encoder makes."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, set_span_in_context

from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import read_directory
from tests.journal.otlp import names, provider_into, segments, whole

if TYPE_CHECKING:
    from pathlib import Path


def test_stored_bytes_parse_to_what_the_official_encoder_makes(tmp_path: Path) -> None:
    exporter = InMemorySpanExporter()
    journal = JournalSpanProcessor(tmp_path)
    for resource in (Resource({"service.name": "a"}, "https://example.org/schema"), Resource({"service.name": "b"})):
        provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        provider.add_span_processor(journal)
        for tracer in (provider.get_tracer("one", "1.0", "https://example.org/s"), provider.get_tracer("two")):
            with tracer.start_as_current_span("plain") as parent:
                pass
            span = tracer.start_span(
                "everything",
                set_span_in_context(parent),
                kind=SpanKind.CLIENT,
                attributes={"t": "x", "i": 2**62, "f": 0.5, "b": True, "y": b"\xff", "l": [1, 2], "s": ["a", "b"]},
                links=[Link(SpanContext(1, 2, True, TraceFlags(1)), {"why": "because"})],
                start_time=5,
            )
            for number in range(200):
                span.add_event(f"event {number}", {"number": number})
            span.set_status(Status(StatusCode.ERROR, "went wrong"))
            span.end(9)
    content = read_directory(tmp_path)
    assert [whole(stored) for stored in content.spans] == [
        encode_spans([span]).resource_spans[0] for span in exporter.get_finished_spans()
    ]
    assert len(content.spans) == journal.stored == 8
    assert (content.damaged, content.torn, content.unreadable, journal.lost) == (0, 0, (), 0)
    assert len(segments(tmp_path)) == 1


def test_a_span_that_is_not_sampled_is_not_stored(tmp_path: Path) -> None:
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    provider.add_span_processor(JournalSpanProcessor(tmp_path / "never"))
    provider.get_tracer("t").start_span("s").end()
    assert not (tmp_path / "never").exists()


def test_nothing_is_made_before_the_first_span(tmp_path: Path) -> None:
    journal = JournalSpanProcessor(tmp_path / "later")
    assert journal.force_flush()
    journal.shutdown()
    assert not (tmp_path / "later").exists()


def test_a_span_that_ends_after_shutdown_opens_another_file(tmp_path: Path) -> None:
    provider = provider_into(JournalSpanProcessor(tmp_path))
    tracer = provider.get_tracer("t")
    late = tracer.start_span("late")
    tracer.start_span("early").end()
    provider.shutdown()
    late.end()
    assert sorted(names(read_directory(tmp_path).spans)) == ["early", "late"]
    assert len(segments(tmp_path)) == 2


def test_sixty_four_threads_lose_nothing(tmp_path: Path) -> None:
    journal = JournalSpanProcessor(tmp_path)
    tracer = provider_into(journal).get_tracer("t")
    together = threading.Barrier(64)

    def record(thread: int) -> None:
        together.wait()
        for number in range(50):
            tracer.start_span(f"{thread}/{number}").end()

    threads = [threading.Thread(target=record, args=(number,)) for number in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    content = read_directory(tmp_path)
    assert sorted(names(content.spans)) == sorted(f"{thread}/{number}" for thread in range(64) for number in range(50))
    assert (content.damaged, content.torn, journal.lost) == (0, 0, 0)
    assert journal.stored == 3_200
    assert all(stored.resource and stored.scope for stored in content.spans)
    assert len(segments(tmp_path)) == 1


def test_a_file_in_the_way_is_said_once_and_what_is_recorded_waits(tmp_path: Path, warned: list[str]) -> None:
    (tmp_path / "taken").write_text("a file of the user's")
    journal = JournalSpanProcessor(tmp_path / "taken")
    tracer = provider_into(journal).get_tracer("t")
    for _ in range(3):
        tracer.start_span("s").end()
    assert (journal.stored, journal.waiting, journal.lost) == (0, 3, 0)
    assert len(warned) == 1
    assert str(tmp_path / "taken") in warned[0]
    assert (tmp_path / "taken").read_text() == "a file of the user's"


def test_a_directory_replaced_by_a_file_loses_at_most_a_second_and_says_so(tmp_path: Path, warned: list[str]) -> None:
    place = tmp_path / "journal"
    journal = JournalSpanProcessor(place)
    tracer = provider_into(journal).get_tracer("t")
    tracer.start_span("before").end()
    place.rename(tmp_path / "moved")
    tracer.start_span("still in the moved one").end()
    journal.writer.tick()  # as each second
    for segment in segments(tmp_path / "moved"):
        segment.unlink()
    place.write_text("in the way")
    tracer.start_span("lost").end()
    journal.writer.tick()  # only now is it seen
    tracer.start_span("waits").end()
    place.unlink()
    tracer.start_span("after").end()
    journal.writer.tick()
    assert (journal.stored, journal.waiting, journal.lost) == (4, 0, 1)
    content = read_directory(place)
    assert names(content.spans) == ["waits", "after"]
    (gap,) = content.gaps
    assert (gap["spans"], gap["why"]) == (1, "the file was deleted")
    assert len(warned) == 1


def test_a_deleted_journal_is_made_again(tmp_path: Path) -> None:
    journal = JournalSpanProcessor(tmp_path)
    tracer = provider_into(journal, **{"service.name": "s"}).get_tracer("t")
    tracer.start_span("before").end()
    for segment in segments(tmp_path):
        segment.unlink()
    journal.writer.tick()  # as each second
    tracer.start_span("after").end()
    (stored,) = read_directory(tmp_path).spans
    assert names((stored,)) == ["after"]
    assert b"service.name" in stored.resource
