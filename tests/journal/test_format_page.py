"""docs/journal-format.md is enough to read a journal: `read` is written from the page and uses nothing of ours."""

from __future__ import annotations

import re
import struct
import zlib
from pathlib import Path

from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import JournalContent, StoredSpan, read_directory, read_segment
from crucible_trace_otel.journal.records import frame
from tests.journal.otlp import provider_into, segments

PAGE = Path(__file__).parents[2] / "docs" / "journal-format.md"


def read(data: bytes) -> tuple[list[tuple[bytes, bytes, bytes]], int, int]:
    """The spans of a segment with what is around them, the runs of damage, and whether the end is torn."""
    spans, messages, damaged, torn, at, bad_from = [], {}, 0, 0, 0, None
    while at < len(data):
        intact = False
        if data[at : at + 4] == b"\xab\x43\x72\x1a" and at + 16 <= len(data):
            version, kind, _, length, checksum = struct.unpack_from("<BBHII", data, at + 4)
            payload = data[at + 16 : at + 16 + length]
            intact = len(payload) == length and zlib.crc32(data[at + 4 : at + 12] + payload) == checksum
        if not intact:
            bad_from = at if bad_from is None else bad_from
            at = data.find(b"\xab\x43\x72\x1a", at + 1)
            at = len(data) if at < 0 else at
            continue
        damaged, bad_from = damaged + (bad_from is not None), None
        at += 16 + length
        if version == 1 and kind in (1, 2):
            messages[payload[:4]] = payload[4:]
        elif version == 1 and kind == 3:
            spans.append((messages.get(payload[:4], b""), messages.get(payload[4:8], b""), payload[8:]))
    if bad_from is not None:
        rest = data[bad_from:]
        torn = rest[:4] == b"\xab\x43\x72\x1a"[: len(rest)]
        if torn and len(rest) >= 16:
            torn = 16 + struct.unpack_from("<I", rest, 8)[0] > len(rest)
        damaged += not torn
    return spans, damaged, int(torn)


def a_real_segment(directory: Path) -> bytes:
    journal = JournalSpanProcessor(directory)
    for service in ("one", "two"):
        provider = provider_into(journal, **{"service.name": service})
        for number in range(10):
            tracer = provider.get_tracer(f"scope {number % 2}", schema_url="https://example.org/schema")
            tracer.start_span(f"{service} {number}", attributes={"number": number, "bytes": b"\xabCr\x1a" * 9}).end()
    journal.shutdown()
    (segment,) = segments(directory)
    return segment.read_bytes()


def as_the_page_has_it(content: JournalContent) -> tuple[list[tuple[bytes, bytes, bytes]], int, int]:
    spans: list[StoredSpan] = list(content.spans)
    return [(stored.resource, stored.scope, stored.span) for stored in spans], content.damaged, content.torn


def test_a_reader_written_from_the_page_reads_a_real_journal(tmp_path: Path) -> None:
    data = a_real_segment(tmp_path)
    spans, damaged, torn = read(data)
    assert (len(spans), damaged, torn) == (20, 0, 0)
    assert as_the_page_has_it(read_directory(tmp_path)) == (spans, 0, 0)


def test_it_agrees_with_ours_about_what_is_torn_and_what_damaged(tmp_path: Path) -> None:
    data = a_real_segment(tmp_path / "journal")
    copy = tmp_path / "copy.segment"
    for at in range(0, len(data), 37):
        flipped = bytearray(data)
        flipped[at] ^= 0x55
        for version in (data[:at], bytes(flipped), data[:at] + b"noise" + data[at:], data[at:]):
            copy.write_bytes(version)
            assert read(version) == as_the_page_has_it(read_segment(copy))


def test_the_example_record_is_one() -> None:
    (example,) = re.findall(r"^    (ab 43 72 1a [0-9a-f ]+)$", PAGE.read_text(), re.MULTILINE)
    assert bytes.fromhex(example) == frame(3, struct.pack("<II", 0, 1))


def test_the_example_name_is_one(tmp_path: Path) -> None:
    a_real_segment(tmp_path)
    (example,) = re.findall(r"^    (\S+)\.segment$", PAGE.read_text(), re.MULTILINE)
    form = r"\d{8}T\d{6}-\d+-[0-9a-f]{8}-\d{4}"
    assert re.fullmatch(form, example)
    assert re.fullmatch(form, segments(tmp_path)[0].stem)
