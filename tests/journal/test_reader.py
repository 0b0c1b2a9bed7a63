"""Reading a journal directory: what is no segment is left aside with a sentence, and nothing raises but the call."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from crucible_trace_otel.errors import StoreError
from crucible_trace_otel.journal.reader import StoredSpan, read_directory, read_segment
from crucible_trace_otel.journal.records import MAGIC, RecordType, frame
from crucible_trace_otel.journal.segment import SegmentWriter
from tests.journal.otlp import segments

DESCRIPTORS = Path("/proc/self/fd")


def numbered(number: int, message: bytes) -> bytes:
    return number.to_bytes(4, "little") + message


def one_span(directory: Path) -> Path:
    writer = SegmentWriter(directory)
    writer.append_span(b"resource", b"scope", b"span")
    writer.close()
    return segments(directory)[0]


def test_what_was_written_is_read(tmp_path: Path) -> None:
    one_span(tmp_path)
    content = read_directory(str(tmp_path))
    assert content.spans == (StoredSpan(b"resource", b"scope", b"span"),)
    assert (content.damaged, content.torn, content.unreadable) == (0, 0, ())


@pytest.mark.parametrize("place", ["missing", "file", "other things"])
def test_a_place_without_a_journal_is_said(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_text("no journal")
    (tmp_path / "other things").mkdir()
    (tmp_path / "other things" / "notes.txt").write_text("no journal")
    with pytest.raises(StoreError, match=place):
        read_directory(tmp_path / place)


def test_the_journal_inside_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / ".crucible").mkdir()
    with pytest.raises(StoreError, match=r"Did you mean .*/\.crucible\?"):
        read_directory(tmp_path)


def test_an_empty_folder_is_a_journal_in_which_nothing_has_ended(tmp_path: Path) -> None:
    assert read_directory(tmp_path).spans == ()


@pytest.mark.parametrize("kind", ["link", "dangling link", "fifo", "directory"])
def test_only_a_regular_file_is_opened(tmp_path: Path, kind: str) -> None:
    one_span(tmp_path)
    odd = tmp_path / "odd.segment"
    if kind == "link":
        (tmp_path / "elsewhere").write_bytes(frame(RecordType.SPAN, bytes(8) + b"not ours"))
        odd.symlink_to(tmp_path / "elsewhere")
    elif kind == "dangling link":
        odd.symlink_to(tmp_path / "nowhere")
    elif kind == "fifo":
        os.mkfifo(odd)
    else:
        odd.mkdir()
    open_before = len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.is_dir() else 0
    for _ in range(20):
        content = read_directory(tmp_path)
        assert [stored.span for stored in content.spans] == [b"span"]
        (sentence,) = content.unreadable
        assert sentence.startswith("odd.segment: ")
    if open_before:
        assert len(list(DESCRIPTORS.iterdir())) <= open_before


def test_a_file_that_is_gone_by_now_is_said(tmp_path: Path) -> None:
    assert read_segment(tmp_path / "gone.segment").unreadable == ("gone.segment: No such file or directory",)


def test_records_of_a_newer_version_or_type_are_counted_and_left_aside(tmp_path: Path) -> None:
    path = one_span(tmp_path)
    newer = bytearray(frame(RecordType.SPAN, b"x"))
    newer[4] = 2
    from zlib import crc32

    newer[12:16] = crc32(bytes(newer[4:12]) + b"x").to_bytes(4, "little")
    with path.open("ab") as file:
        file.write(bytes(newer) * 2 + frame(77, b"what is this"))
    content = read_directory(tmp_path)
    assert len(content.spans) == 1
    assert content.damaged == content.torn == 0
    assert content.unreadable == (
        f"{path.name}: 2 records of format version 2; a newer version reads them",
        f"{path.name}: 1 records of type 77; a newer version reads them",
    )


def test_damage_and_a_torn_end_are_counted_over_all_files(tmp_path: Path) -> None:
    for name in ("a", "b"):
        good = frame(RecordType.SPAN, bytes(8) + name.encode())
        (tmp_path / f"{name}.segment").write_bytes(b"noise" + good + b"noise" + good + MAGIC)
    content = read_directory(tmp_path)
    assert [stored.span for stored in content.spans] == [b"a", b"a", b"b", b"b"]
    assert (content.damaged, content.torn) == (4, 2)


def test_a_span_outlives_the_loss_of_the_messages_around_it(tmp_path: Path) -> None:
    path = one_span(tmp_path)
    data = bytearray(path.read_bytes())
    data[data.index(b"resource")] ^= 1
    path.write_bytes(data)
    content = read_directory(tmp_path)
    assert content.spans == (StoredSpan(b"", b"scope", b"span"),)
    assert content.damaged == 1


@pytest.mark.parametrize("record_type", list(RecordType))
def test_a_payload_too_short_for_its_numbers_does_not_raise(tmp_path: Path, record_type: RecordType) -> None:
    (tmp_path / "short.segment").write_bytes(b"".join(frame(record_type, bytes(size)) for size in range(9)))
    read_directory(tmp_path)


def test_numbers_belong_to_their_file(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.segment").write_bytes(
            frame(RecordType.RESOURCE, numbered(5, b"resource " + name.encode()))
            + frame(RecordType.SCOPE, numbered(9, b"scope " + name.encode()))
            + frame(RecordType.SPAN, numbered(5, numbered(9, name.encode())))
        )
    assert read_directory(tmp_path).spans == (
        StoredSpan(b"resource a", b"scope a", b"a"),
        StoredSpan(b"resource b", b"scope b", b"b"),
    )


def test_a_journal_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    number = 2_000
    writer = SegmentWriter(tmp_path)
    writer.append_span(b"resource", b"scope", b"0")

    def write() -> None:
        for index in range(1, number):
            writer.append_span(b"resource", b"scope", str(index).encode() * 50)

    thread = threading.Thread(target=write)
    thread.start()
    seen = 0
    while thread.is_alive():
        content = read_directory(tmp_path)
        assert content.damaged == 0
        assert len(content.spans) >= seen
        seen = len(content.spans)
    thread.join()
    writer.close()
    assert [stored.span for stored in read_directory(tmp_path).spans[:2]] == [b"0", b"1" * 50]
    assert len(read_directory(tmp_path).spans) == number
    assert read_directory(tmp_path).torn == 0
