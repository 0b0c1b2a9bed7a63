"""Following a segment: each span exactly once, whatever the pieces in which it grows."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.journal.acks import Acks
from crucible_trace_otel.journal.records import AckState, RecordType, frame, json_payload, span_payload
from crucible_trace_otel.ship import following as module
from crucible_trace_otel.ship.following import Following
from tests.ship_process.recording import RESOURCE, SCOPE

if TYPE_CHECKING:
    import pytest

HEAD = (
    frame(RecordType.NOTE, json_payload({"pid": 1}))
    + frame(RecordType.RESOURCE, bytes(4) + RESOURCE)
    + frame(RecordType.SCOPE, bytes(4) + SCOPE)
)


def span_record(content: bytes) -> bytes:
    return frame(RecordType.SPAN, span_payload(0, 0, content))


def sent_from(following: Following, most: int = 1 << 20, *, is_live: bool = False) -> list[bytes]:
    """All that is to be sent, taken and settled until nothing is left."""
    sent = []
    following.look(time.monotonic(), is_live=is_live)
    for _ in range(1_000):
        before = following.position
        pieces = following.take(most)
        sent += [piece.span for piece in pieces]
        if pieces:
            following.note(AckState.SENT, pieces, 0, "")
        following.settle()
        if following.position == before:
            break
    return sent


@given(
    sizes=st.lists(st.integers(0, 3_000), max_size=30),
    most=st.integers(1, 5_000),
    cuts=st.lists(st.floats(0, 1), max_size=5),
)
def test_each_span_is_taken_once_however_the_file_grows(sizes: list[int], most: int, cuts: list[float]) -> None:
    spans = [number.to_bytes(4, "big") * (size // 4 + 1) for number, size in enumerate(sizes)]
    data = HEAD + b"".join(span_record(span) + frame(RecordType.OPEN, span_payload(0, 0, b"open")) for span in spans)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x-0000.segment"
        path.write_bytes(b"")
        following = Following(path)
        sent = []
        for cut in sorted(cuts):
            path.write_bytes(data[: int(cut * len(data))])
            sent += sent_from(following, most, is_live=True)
        path.write_bytes(data)
        sent += sent_from(following, most)
        assert sent == spans
        assert following.waiting == 0
        again = Following(path)
        assert sent_from(again) == []
        assert sum(part.spans for part in again.acks.ranges) == len(spans)


def test_shells_come_with_each_span_and_after_a_restart_too(tmp_path: Path) -> None:
    path = tmp_path / "x-0000.segment"
    path.write_bytes(HEAD + span_record(b"one") + span_record(b"two"))
    following = Following(path)
    following.look(0, is_live=True)
    first = following.take(1)
    assert [piece.span for piece in first] == [b"one"]
    following.note(AckState.SENT, first, 0, "")
    restarted = Following(path)
    restarted.look(0, is_live=True)
    (piece,) = restarted.take(1 << 20)
    assert (piece.resource, piece.scope, piece.span) == (RESOURCE, SCOPE, b"two")


def test_what_was_not_settled_is_taken_again_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x-0000.segment"
    path.write_bytes(HEAD + b"".join(span_record(bytes([number])) for number in range(6)))
    following = Following(path)
    following.look(0, is_live=True)
    pieces = following.take(1 << 20)
    following.note(AckState.REFUSED, [pieces[2]], 1, "bad")
    following.note(AckState.SENT, [*pieces[:2], pieces[3]], 0, "")  # around the one that was refused
    following.settle()
    assert [piece.span for piece in following.take(1 << 20)] == [b"\4", b"\5"]
    assert following.acks.sent == 3
    assert following.acks.refused == 1


def test_of_a_partial_success_the_last_spans_count_as_refused(tmp_path: Path) -> None:
    path = tmp_path / "x-0000.segment"
    path.write_bytes(HEAD + b"".join(span_record(bytes([number])) for number in range(6)))
    following = Following(path)
    following.look(0, is_live=False)
    following.note(AckState.SENT, following.take(1 << 20), 2, "two too many")
    following.settle()
    assert following.waiting == 0
    assert (following.acks.sent, following.acks.refused) == (4, 2)


def test_what_is_to_be_sent_again_is(tmp_path: Path) -> None:
    path = tmp_path / "x-0000.segment"
    path.write_bytes(HEAD + span_record(b"one") + span_record(b"two"))
    following = Following(path)
    assert sent_from(following) == [b"one", b"two"]
    (known,) = following.acks.ranges
    Acks(path).add(AckState.RESEND, known.first, known.end, 2)
    assert following.acks.load()
    following.rewind()
    assert sent_from(following) == [b"one", b"two"]


def test_a_record_inside_a_long_one_is_not_taken_for_one(tmp_path: Path) -> None:
    inner = b"x" * module._LOOK + span_record(b"forged") * 3 + b"y" * module._LOOK
    path = tmp_path / "x-0000.segment"
    path.write_bytes(HEAD + span_record(b"first") + span_record(inner) + span_record(b"last"))
    assert sent_from(Following(path), 1) == [b"first", inner, b"last"]
    # Neither while it is being written.
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) - module._LOOK // 2])
    live = Following(path)
    live.acks.path.unlink()
    live = Following(path)
    assert sent_from(live, is_live=True) == [b"first"]
    path.write_bytes(whole)
    assert sent_from(live, is_live=True) == [inner, b"last"]


def test_damage_costs_one_span_and_a_torn_end_of_a_dead_writer_none(tmp_path: Path) -> None:
    path = tmp_path / "x-0000.segment"
    damaged = bytearray(span_record(b"damaged"))
    damaged[-1] ^= 1
    path.write_bytes(HEAD + span_record(b"one") + damaged + span_record(b"two") + span_record(b"torn")[:-2])
    following = Following(path)
    assert sent_from(following) == [b"one", b"two"]
    assert following.waiting == 0


def test_damage_in_a_live_file_is_believed_after_a_while(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "x-0000.segment"
    path.write_bytes(HEAD + b"damage" + span_record(b"one"))
    following = Following(path)
    assert sent_from(following, is_live=True) == []
    monkeypatch.setattr(module, "_DOUBT_S", 0.0)
    assert sent_from(following, is_live=True) == [b"one"]
