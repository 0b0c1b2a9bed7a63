"""The disk fails, is slow, loses what was not synced: nothing is raised, and what is lost is counted and said."""

from __future__ import annotations

import errno
import random
import threading
import time
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.journal import appending, files, writer
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.journal.records import RecordType, scan
from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.journal.writer import JournalWriter
from tests.faults.disk import Disk, full
from tests.journal.otlp import names, provider_into, segments

if TYPE_CHECKING:
    from pathlib import Path

BROKEN = {
    "full": OSError(errno.ENOSPC, "No space left on device"),
    "quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "failing": OSError(errno.EIO, "Input/output error"),
    "forbidden": PermissionError(errno.EACCES, "Permission denied"),
}


@pytest.fixture
def disk(monkeypatch: pytest.MonkeyPatch) -> Disk:
    return Disk(monkeypatch)


def record(place: Path, number: int = 6) -> JournalSpanProcessor:
    """Spans, a turn-over to another file in their midst, ticks."""
    journal = JournalSpanProcessor(place, sync=0.001)
    tracer = provider_into(journal).get_tracer("t")
    for index in range(number):
        tracer.start_span(f"span {index}").end()
        if index == number // 2:
            journal.writer.segments._full_at = journal.writer.segments._look_at = 1
        journal.writer.tick()
    time.sleep(0.002)  # a sync is due
    journal.writer.tick()
    return journal


@pytest.mark.parametrize("part", [0, 1, 40])
@pytest.mark.parametrize("fault", list(BROKEN))
def test_p25_whichever_file_operation_fails_nothing_is_raised_and_nothing_is_lost(
    tmp_path: Path, disk: Disk, fault: str, part: int
) -> None:
    disk.takes = lambda data: data[:part]
    record(tmp_path / "healthy").shutdown()
    operations = len(disk.done)
    assert {"append", "open_append", "rename", "fdatasync"} <= set(disk.done)
    for broken in range(operations):
        disk.done.clear()
        disk.fails = lambda number, operation, broken=broken: (
            BROKEN[fault] if number in (broken, broken + 1) and operation != "try_lock" else None
        )
        place = tmp_path / f"{broken}"
        journal = record(place)
        disk.fails = lambda number, operation: None
        journal.writer.tick()
        journal.shutdown()
        assert (journal.stored, journal.waiting, journal.lost) == (6, 0, 0), broken
        content = read_directory(place)
        assert sorted(names(content.spans)) == [f"span {index}" for index in range(6)], broken
        assert (content.damaged, content.torn) == (0, 0), broken


def test_p25_what_finds_no_room_in_memory_is_counted_and_named_in_a_record(
    tmp_path: Path, disk: Disk, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    monkeypatch.setattr(writer, "_MOST_WAITING", 20_000)
    journal = JournalSpanProcessor(tmp_path)
    tracer = provider_into(journal).get_tracer("t")
    disk.fails = full()
    for number in range(200):
        tracer.start_span(f"span {number}").end()
    waiting, lost = journal.waiting, journal.lost
    assert waiting > 10
    assert waiting + lost == 200
    disk.fails = lambda number, operation: None
    journal.writer.tick()
    assert (journal.stored, journal.waiting, journal.lost) == (waiting, 0, lost)
    content = read_directory(tmp_path)
    assert names(content.spans) == [f"span {number}" for number in range(lost, 200)]
    (gap,) = content.gaps
    assert (gap["spans"], sum(gap["traces"].values())) == (lost, lost)
    assert 0 < gap["from"] <= gap["to"]
    assert gap["why"] == "No space left on device"
    assert len(warned) == 1


def test_p07_once_a_write_was_slow_another_thread_writes(tmp_path: Path, disk: Disk) -> None:
    journal = JournalSpanProcessor(tmp_path)
    tracer = provider_into(journal).get_tracer("t")
    tracer.start_span("healthy").end()
    writers = set()
    real = files.write_all

    def slow(fd: int, data: bytes) -> None:
        writers.add(threading.current_thread().name)
        real(fd, data)

    files.write_all = slow
    disk.delay_s = 0.03
    for number in range(3):
        tracer.start_span(f"slow {number}").end()
    for number in range(20):
        tracer.start_span(f"after {number}").end()
    disk.delay_s = 0.0
    for _ in range(500):
        if not journal.waiting:
            break
        threading.Event().wait(0.01)
    assert writers == {"crucible-journal"}
    assert names(read_directory(tmp_path).spans) == [
        "healthy",
        *(f"slow {number}" for number in range(3)),
        *(f"after {number}" for number in range(20)),
    ]
    journal.writer.tick()
    tracer.start_span("quick again").end()
    assert disk.done[-1] == "append"  # by the caller again
    assert (journal.stored, journal.lost) == (25, 0)


def test_p12_a_power_cut_takes_only_what_was_not_synced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of the disk: what was synced is there; of the rest each page may be there, or zeros, or the end."""
    synced = 0
    spans_synced = 0
    journal = JournalWriter(tmp_path, sync=1e-9)

    def sync(fd: int) -> None:
        nonlocal synced, spans_synced
        synced, spans_synced = journal.segments.position()[1], journal.stored

    monkeypatch.setattr(files, "fdatasync", sync)
    lives = [b"span %d " % number * random.Random(number).randrange(1, 400) for number in range(120)]
    for number, span in enumerate(lives):
        journal.append_span(b"resource", b"scope", span)
        if number == 79:
            journal.tick()
    (segment,) = segments(tmp_path)
    data = segment.read_bytes()
    assert 0 < synced < len(data)
    assert spans_synced == 80
    for seed in range(1_000):
        cut = after_a_power_cut(data, synced, random.Random(seed))
        kept = [found.payload[8:] for found in scan(cut) if getattr(found, "type", None) == RecordType.SPAN]
        assert kept[:80] == lives[:80]
        assert set(kept) <= set(lives)


def after_a_power_cut(data: bytes, synced: int, chance: random.Random) -> bytes:
    page = 512
    kept = bytearray(data[:synced])
    for start in range(synced, len(data), page):
        part = data[start : start + page]
        kept += part if chance.random() < 0.5 else bytes(len(part))
    return bytes(kept[: chance.randrange(synced, len(data) + 1)])


def test_a_segment_turns_over_when_it_is_full_and_repeats_what_is_open(tmp_path: Path) -> None:
    segment = SegmentWriter(tmp_path, lambda: [(b"resource", b"scope", b"open one")])
    segment.append_span(b"resource", b"scope", b"first")
    segment._full_at = segment._look_at = 1
    segment.append_span(b"resource", b"scope", b"second")
    first, second = segments(tmp_path)
    assert (first.stem[-4:], second.stem[-4:]) == ("0000", "0001")
    kinds = [record.type for record in scan(second.read_bytes())]
    assert kinds == [RecordType.NOTE, RecordType.RESOURCE, RecordType.SCOPE, RecordType.OPEN, RecordType.SPAN]
    assert files.try_lock(files.open_append(first)) is True
    assert files.try_lock(files.open_append(second)) is False
    assert appending is not None


def test_p12_always_means_before_the_end_returns(tmp_path: Path, disk: Disk) -> None:
    journal = JournalSpanProcessor(tmp_path, sync="always")
    tracer = provider_into(journal).get_tracer("t")
    for number in range(20):
        tracer.start_span(f"span {number}").end()
        assert [done for done in disk.done if done in ("append", "fdatasync")][-2:] == ["append", "fdatasync"]
    assert disk.done.count("fdatasync") == 20
