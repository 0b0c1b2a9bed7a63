"""A process dies at any instant, or its files are damaged or made up: what it had recorded is there, and is closed."""

from __future__ import annotations

import os
import random
import signal
import struct
import threading
import time
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.journal.layout import acks_of, recovered_of, ring_of, segment_of
from crucible_trace_otel.journal.reader import read_segment, read_writer
from crucible_trace_otel.journal.records import MAGIC, RecordType, frame
from crucible_trace_otel.journal.recovery import recover, recover_dead
from crucible_trace_otel.journal.ring import StepRing
from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.journal.slots import WindowHead, row_form
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.store import open_store
from crucible_trace_otel.trace.steps import step_rows
from tests.cli.running import crucible_trace
from tests.journal.crafted import PREFIX, SECOND, START, TRACE, id_of, records, training, write
from tests.journal.process import start

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from crucible_trace_otel.trace.spans import Trace

PROGRAM = """
    import sys
    import crucible_trace_otel as crucible

    crucible.configure(service_name="tests", journal=sys.argv[1], console=False)
    with crucible.pipeline("digits"), crucible.training_run("digits", run_id="run-1") as run:
        for epoch in run.epochs(10**6):
            for _ in range(37):
                epoch.record_step(loss=0.5)
                print("step", flush=True)
            epoch.record_validation(accuracy=0.5)
            print("validation", flush=True)
"""


@pytest.fixture
def killed(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = start(PROGRAM, tmp_path, str(tmp_path / "journal"))
    yield process
    process.kill()
    process.communicate()


def until(process: subprocess.Popen[str], lines: int) -> list[str]:
    """The first lines it prints."""
    assert process.stdout is not None
    said = [process.stdout.readline().strip() for _ in range(lines)]
    assert said[-1], process.communicate()[1]
    return said


def states(trace: Trace) -> dict[str, object]:
    return {span.operation: span.attributes.get(attr.CRUCIBLE_RUN_STATE) for span in trace.spans}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGABRT, signal.SIGSEGV])
def test_p09_a_process_killed_at_any_instant_loses_nothing_that_returned(
    tmp_path: Path, killed: subprocess.Popen[str], number: signal.Signals
) -> None:
    said = until(killed, random.Random(number).randrange(1, 400))
    os.kill(killed.pid, number)
    assert killed.stdout is not None
    said += killed.stdout.read().split()
    killed.wait()
    recover_dead(tmp_path / "journal")
    trace = open_store(tmp_path / "journal").latest()
    rows = step_rows(trace).rows
    assert said.count("step") <= len(rows) <= said.count("step") + 1
    assert [row["step"] for row in rows] == list(range(len(rows)))
    validations = [span for span in trace.spans if span.operation == spans.VALIDATION_RUN]
    assert said.count("validation") <= len(validations) <= said.count("validation") + 1
    assert not any(span.is_running for span in trace.spans)


def test_p10_a_killed_run_shows_as_interrupted_with_its_last_step_before_and_after_recovery(
    tmp_path: Path, killed: subprocess.Popen[str]
) -> None:
    until(killed, 150)
    journal = tmp_path / "journal"
    listed = crucible_trace("list", "--journal", journal)
    assert "  running at step " in listed.stdout
    assert crucible_trace("recover", "--journal", journal).stdout == ""  # it lives
    assert not list(journal.glob("*recovered*"))
    killed.kill()
    killed.communicate()
    before, store = time.monotonic(), open_store(journal)
    shown = store.latest()
    done = crucible_trace("recover", "--journal", journal)
    assert time.monotonic() - before < 10  # two seconds are promised, the rest is for a busy machine
    last = len(step_rows(shown).rows) - 1
    assert done.stdout.startswith(f"training_run digits: interrupted at step {last}, loss 0.5; last seen 2")
    assert f"  interrupted at step {last}, loss 0.5\n" in crucible_trace("list", "--journal", journal).stdout
    trace = store.latest()
    assert {span.span_id for span in trace.spans} == {span.span_id for span in shown.spans}
    is_between_two_epochs = spans.EPOCH_INTERRUPTED not in states(trace)  # so the kill came, now and then
    assert states(trace) == {
        **dict.fromkeys((spans.PIPELINE, spans.TRAINING_RUN), "interrupted"),
        **dict.fromkeys((spans.PIPELINE_INTERRUPTED, spans.TRAINING_RUN_INTERRUPTED), "interrupted"),
        **({spans.EPOCH: None} if is_between_two_epochs else {spans.EPOCH: "interrupted"}),
        **({} if is_between_two_epochs else {spans.EPOCH_INTERRUPTED: "interrupted"}),
        spans.VALIDATION_RUN: None,
    }
    for span in trace.spans:
        if span.operation == spans.TRAINING_RUN:
            assert span.status == "error"
            assert abs(span.end_ns - time.time_ns()) < 60 * SECOND
    assert not list(journal.glob("*.ring"))
    again = crucible_trace("recover", "--journal", journal)
    assert (again.exit_code, again.stdout) == (0, "")


def test_p10_recovering_says_what_keeps_it_from_that(tmp_path: Path) -> None:
    nowhere = crucible_trace("recover", "--journal", tmp_path / "nowhere")
    assert (nowhere.exit_code, nowhere.stdout) == (2, "")
    assert nowhere.stderr.startswith("No journal at ")


# ---- P27: damage ----

PARTS = records(training(), closed={"how": "exit"})
WHOLE = b"".join(PARTS)
MESSAGES = {one.span for one in (*training().content.spans, *training().content.open)}


def ring_with_rows(directory: Path, count: int = 10) -> Path:
    """The ring of a process that died with `count` steps in an open window of the second epoch."""
    segments = SegmentWriter(directory)
    head = WindowHead(50, TRACE, id_of(4), events.STEPS_RECORDED, ("loss",), "d")
    slot = StepRing(segments).slot(head)
    assert slot is not None
    form = row_form("d")
    for row in range(count):
        offset = slot.first + row * form.size
        form.pack_into(slot.memory, offset, 300 + row, START + 4 * SECOND + row, 0.125, slot.tag + offset)
    return ring_of(directory, segments.prefix).rename(ring_of(directory, PREFIX))


def read_all(directory: Path) -> set[bytes]:
    """The stored messages that are read; every reader must come through."""
    open_store(directory).traces()
    content = read_writer(directory, PREFIX).content
    return {one.span for one in (*content.spans, *content.open)}


def test_p27_a_segment_cut_at_any_byte_gives_every_whole_record(tmp_path: Path) -> None:
    path = write(tmp_path, training())
    ends = [sum(map(len, PARTS[: index + 1])) for index in range(len(PARTS))]
    for cut in range(0, len(WHOLE), 3):
        path.write_bytes(WHOLE[:cut])
        whole = b"".join(part for part, end in zip(PARTS, ends, strict=True) if end <= cut)
        assert read_all(tmp_path) == {message for message in MESSAGES if message in whole}


@pytest.mark.parametrize("seed", range(4))
def test_p27_flipped_bits_cost_only_the_records_they_hit(tmp_path: Path, seed: int) -> None:
    path = write(tmp_path, training())
    chance = random.Random(seed)
    for _ in range(500):
        parts = list(PARTS)
        for index in {chance.randrange(len(parts)) for _ in range(5)}:
            broken = bytearray(parts[index])
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
            parts[index] = bytes(broken)
        path.write_bytes(b"".join(parts))
        untouched = b"".join(part for part, before in zip(parts, PARTS, strict=True) if part == before)
        assert read_all(tmp_path) >= {message for message in MESSAGES if message in untouched}


@pytest.mark.parametrize("damage", ["zeroed page", "garbage", "empty", "newer version", "no segment"])
def test_p27_other_damage_is_set_aside_and_the_rest_is_closed(tmp_path: Path, damage: str) -> None:
    path = write(tmp_path, training())
    if damage == "zeroed page":
        path.write_bytes(WHOLE + bytes(4096) + WHOLE)
    elif damage == "garbage":
        path.write_bytes(os.urandom(3000) + WHOLE + os.urandom(3000))
    elif damage == "empty":
        segment_of(tmp_path, PREFIX, 1).touch()
    elif damage == "newer version":
        newer = bytearray(frame(RecordType.SPAN, b"x" * 40))
        newer[4] = 9
        path.write_bytes(bytes(newer) + WHOLE + frame(99, b"of a newer version"))
    else:
        path.rename(segment_of(tmp_path, PREFIX, 7))
    old = START // SECOND  # long ago: for a writer whose note is damaged nothing else tells that it is dead
    for segment in tmp_path.glob("*.segment"):
        os.utime(segment, (old, old))
    assert recover_dead(tmp_path) == {PREFIX: 2}
    trace = open_store(tmp_path).latest()
    assert states(trace)[spans.TRAINING_RUN] == "interrupted"
    assert len(trace.spans) == 6


def test_p27_the_steps_of_a_ring_are_kept_and_damage_in_it_costs_only_what_it_hits(tmp_path: Path) -> None:
    write(tmp_path, training())
    ring = ring_with_rows(tmp_path)
    whole = ring.read_bytes()
    assert step_rows(open_store(tmp_path).latest()).rows[-1]["step"] == 309
    chance = random.Random(1)
    for _ in range(300):
        broken = bytearray(whole)
        for _ in range(5):
            broken[chance.randrange(700)] ^= 1 << chance.randrange(8)
        ring.write_bytes(broken)
        assert read_all(tmp_path) == MESSAGES
    for size in (0, 1, 4096, 100_000, len(whole) - 1):
        ring.write_bytes(whole[:size])
        assert read_all(tmp_path) == MESSAGES
    ring.write_bytes(whole)
    assert recover(tmp_path, PREFIX) == 2
    assert len(step_rows(open_store(tmp_path).latest()).rows) == 10
    assert not ring.exists()


# ---- P44: crafted directories ----


def in_time(directory: Path) -> None:
    """Every reader comes through, and soon: a pipe that nobody writes to would hold it for ever."""
    readers = threading.Thread(target=lambda: (read_all(directory), recover_dead(directory)), daemon=True)
    readers.start()
    readers.join(20)
    assert not readers.is_alive()


@pytest.mark.parametrize("name", ["segment", "ring", "acks", "recovered", "lease"])
@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "directory", "huge"])
def test_p44_what_is_no_file_of_a_writer_is_not_followed(tmp_path: Path, name: str, kind: str) -> None:
    journal, outside = tmp_path / "journal", tmp_path / "outside"
    path = write(journal, training())
    outside.write_bytes(WHOLE.replace(TRACE, b"X" * 16))
    places = {
        "segment": segment_of(journal, "20260101T000000-8-0123abcd", 0),
        "ring": ring_of(journal, PREFIX),
        "acks": acks_of(path),
        "recovered": recovered_of(journal, PREFIX),
        "lease": journal / "shipper@host.lease",
    }
    odd = places[name]
    if kind == "link":
        odd.symlink_to(outside)
    elif kind == "dangling link":
        odd.symlink_to(tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(odd)
    elif kind == "directory":
        odd.mkdir()
    else:
        with odd.open("wb") as file:
            file.truncate(1 << 40)
    before = outside.read_bytes()
    if name == "recovered" and kind in {"directory", "huge"}:
        with pytest.raises(OSError, match=r"."):
            recover_dead(journal)  # said, and nothing else has changed
        assert read_all(journal) >= MESSAGES
    else:
        in_time(journal)
        assert recovered_of(journal, PREFIX).is_file()
        assert {trace.trace_id for trace in open_store(journal).traces()} == {TRACE.hex()}
    assert outside.read_bytes() == before
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    "name", ["..segment", "...segment", "-.segment", "-recovered.segment", "a\n..%2f-0000.segment"]
)
def test_p44_a_name_leads_nowhere_else(tmp_path: Path, name: str) -> None:
    journal = tmp_path / "a" / "journal"
    journal.mkdir(parents=True)
    (journal / name).write_bytes(WHOLE)
    os.utime(journal / name, (1, 1))
    recover_dead(journal)
    crucible_trace("list", "--journal", journal)
    assert [one.name for one in (tmp_path / "a").iterdir()] == ["journal"]
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_p44_ends_are_not_written_through_a_link(tmp_path: Path) -> None:
    journal, outside = tmp_path / "journal", tmp_path / "outside"
    write(journal, training())
    outside.write_bytes(b"not ours")
    unfinished = f".{recovered_of(journal, PREFIX).name}.{os.getpid()}.new"
    (journal / unfinished).symlink_to(outside)
    recovered_of(journal, PREFIX).symlink_to(outside)
    assert recover(journal, PREFIX) == 2
    assert outside.read_bytes() == b"not ours"
    assert not recovered_of(journal, PREFIX).is_symlink()
    assert len(read_segment(recovered_of(journal, PREFIX)).spans) == 4


def test_p44_a_record_that_claims_to_be_enormous_is_not_allocated(tmp_path: Path) -> None:
    path = write(tmp_path, training())
    path.write_bytes(MAGIC + struct.pack("<BBHII", 1, RecordType.OPEN, 0, 2**32 - 1, 0) + WHOLE)
    assert read_all(tmp_path) == MESSAGES
