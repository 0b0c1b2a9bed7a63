"""The record format: every intact record is read, whatever is around it, in time that grows with the file only."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING
from zlib import crc32

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible_trace_otel.journal.records import MAGIC, VERSION, Damage, Record, RecordType, frame, scan

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER = 16
relaxed = settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])

bytes_like_ours = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.just(MAGIC),
        st.integers(1, 4).map(lambda size: MAGIC[:size]),
        st.builds(lambda length: MAGIC + struct.pack("<BBHII", 1, 3, 0, length, 7), st.integers(0, 2**32 - 1)),
    ),
    max_size=5,
).map(b"".join)
record = st.tuples(st.integers(0, 255), bytes_like_ours)
records = st.lists(record, min_size=1, max_size=8)


def framed(items: Iterable[tuple[int, bytes]]) -> list[bytes]:
    return [frame(kind, payload) for kind, payload in items]


def read(data: bytes) -> tuple[list[tuple[int, bytes]], list[Damage]]:
    found = list(scan(data))
    intact = [(each.type, each.payload) for each in found if isinstance(each, Record)]
    damage = [each for each in found if isinstance(each, Damage)]
    assert sum(HEADER + len(payload) for _, payload in intact) + sum(each.size for each in damage) == len(data)
    assert all(each.version == VERSION for each in found if isinstance(each, Record) and len(damage) == 0)
    assert not any(each.torn for each in damage[:-1])
    return intact, damage


def test_a_frame_has_the_documented_bytes() -> None:
    checked = b"\x01\x03\x00\x00\x03\x00\x00\x00"
    assert (
        frame(RecordType.SPAN, b"abc") == b"\xabCr\x1a" + checked + struct.pack("<I", crc32(checked + b"abc")) + b"abc"
    )


@given(records)
@relaxed
def test_what_was_framed_is_read(items: list[tuple[int, bytes]]) -> None:
    assert read(b"".join(framed(items))) == (items, [])


@given(records, st.data())
@relaxed
def test_a_truncated_file_loses_only_the_record_it_ends_within(
    items: list[tuple[int, bytes]], data: st.DataObject
) -> None:
    frames = framed(items)
    whole = b"".join(frames)
    cut = data.draw(st.integers(0, len(whole)))
    kept, end = 0, 0
    while kept < len(frames) and end + len(frames[kept]) <= cut:
        end += len(frames[kept])
        kept += 1
    intact, damage = read(whole[:cut])
    assert intact == items[:kept]
    assert damage == ([Damage(end, cut - end, torn=True)] if cut > end else [])


@given(records, st.data())
@relaxed
def test_a_flipped_byte_costs_one_record(items: list[tuple[int, bytes]], data: st.DataObject) -> None:
    frames = framed(items)
    hit = data.draw(st.integers(0, len(frames) - 1))
    at = data.draw(st.integers(0, len(frames[hit]) - 1))
    broken = bytearray(frames[hit])
    broken[at] ^= data.draw(st.integers(1, 255))
    intact, damage = read(b"".join([*frames[:hit], bytes(broken), *frames[hit + 1 :]]))
    assert intact == items[:hit] + items[hit + 1 :]
    assert [(each.offset, each.size) for each in damage] == [(sum(map(len, frames[:hit])), len(broken))]
    if hit < len(frames) - 1:
        assert not damage[0].torn


@given(st.lists(st.tuples(bytes_like_ours, record), min_size=1, max_size=6), bytes_like_ours)
@relaxed
def test_garbage_between_records_hides_none(pieces: list[tuple[bytes, tuple[int, bytes]]], tail: bytes) -> None:
    data = b"".join(garbage + frame(*item) for garbage, item in pieces) + tail
    intact, damage = read(data)
    assert intact == [item for _, item in pieces]
    assert [each.size for each in damage] == [len(garbage) for garbage in [*(g for g, _ in pieces), tail] if garbage]


@given(st.lists(st.one_of(bytes_like_ours, record.map(lambda item: frame(*item)[:-1])), max_size=10).map(b"".join))
@relaxed
def test_any_bytes_are_scanned_to_their_end(data: bytes) -> None:
    read(data)


def test_a_record_inside_a_payload_is_payload() -> None:
    inner = frame(3, b"inner")
    assert read(frame(3, inner)) == ([(3, inner)], [])


def test_only_an_unfinished_record_at_the_end_is_torn() -> None:
    first, last = frame(3, b"first"), frame(3, b"last")
    assert read(first + last[:-1])[1] == [Damage(len(first), len(last) - 1, torn=True)]
    assert read(first + MAGIC[:1])[1] == [Damage(len(first), 1, torn=True)]
    assert read(first + b"\0" * 40)[1] == [Damage(len(first), 40, torn=False)]
    assert read(first[:-1] + last)[1] == [Damage(0, len(first) - 1, torn=False)]


def lying_headers(size: int) -> bytes:
    """Headers, one after another, each of which claims the whole rest of the file as its payload."""
    return b"".join(
        MAGIC + struct.pack("<BBHII", VERSION, 3, 0, size - at - HEADER, 0) for at in range(0, size - HEADER, HEADER)
    ).ljust(size, b"\0")


MEGABYTE = 1 << 20
ADVERSARIES = {
    "magic": MAGIC * MEGABYTE,
    "headers that claim the rest": lying_headers(4 * MEGABYTE),
    "the same, after short records": b"".join(
        frame(3, b"") + MAGIC + struct.pack("<BBHII", VERSION, 3, 0, 4 * MEGABYTE - at - 2 * HEADER, 0)
        for at in range(0, 4 * MEGABYTE - 2 * HEADER, 2 * HEADER)
    ),
}


@pytest.mark.parametrize("data", ADVERSARIES.values(), ids=ADVERSARIES)
def test_a_file_made_to_be_slow_is_not(data: bytes) -> None:
    """Checked once for each header these would be hundreds of gigabytes; the bound is far above what it takes."""
    before = time.process_time()
    intact, _ = read(data + frame(3, b"the last"))
    assert intact[-1] == (3, b"the last")
    assert time.process_time() - before < 60
