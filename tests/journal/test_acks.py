import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.acks import Acks, Range, progress_of, unsent
from crucible_trace_otel.journal.layout import acks_of
from crucible_trace_otel.journal.records import Record, RecordType, ack_payload, frame, scan, span_payload
from tests.journal.acked import REFUSED, RESEND, SENT, WITHHELD, answer, places, send, span, write_segment

SPANS = 12


@pytest.fixture
def segment(tmp_path):
    return write_segment(tmp_path, "writer", 0, [span(1, number) for number in range(SPANS)])


def states(segment):
    acks = Acks(segment)
    acks.load()
    return acks.states([first for first, _ in places(segment)])


def test_nothing_is_known_without_a_file(segment):
    acks = Acks(segment)
    assert acks.load() is False
    assert acks.ranges == ()
    assert (acks.sent, acks.refused) == (0, 0)
    assert acks.state_at(places(segment)[0][0]) is None
    assert unsent(segment, acks)
    assert not acks_of(segment).exists()


def test_neighbours_that_were_taken_are_one_range(segment):
    where = places(segment)
    acks = Acks(segment)
    for first, end in where[::2] + where[1::2]:
        acks.add(SENT, first, end, 1)
    assert acks.ranges == (Range(where[0][0], where[-1][1], SPANS, 0, SENT),)
    assert states(segment) == [SENT] * SPANS


def test_what_is_not_to_be_sent_is_settled_and_counted_by_itself(segment):
    acks = answer(segment, WITHHELD, 0, 2)
    answer(segment, WITHHELD, 2, 4)
    acks = answer(segment, SENT, 4, SPANS)
    acks.load()
    assert [(part.state, part.spans) for part in acks.ranges] == [(WITHHELD, 4), (SENT, SPANS - 4)]
    assert (acks.sent, acks.refused, acks.withheld) == (SPANS - 4, 0, 4)
    assert states(segment) == [WITHHELD] * 4 + [SENT] * (SPANS - 4)
    assert not unsent(segment, acks)


def test_of_a_partial_success_the_last_ones_are_refused(segment):
    acks = answer(segment, SENT, 2, 8, refused=2, said="two too many")
    assert (acks.sent, acks.refused) == (4, 2)
    assert states(segment) == [None] * 2 + [SENT] * 4 + [REFUSED] * 2 + [None] * 4
    assert acks.range_at(places(segment)[3][0]).said == "two too many"


def test_resending_forgets_a_part_of_what_was_answered(segment):
    answer(segment, SENT, 0, SPANS, refused=3)
    acks = answer(segment, RESEND, 10, 12)
    acks.load()
    assert states(segment) == [SENT] * 9 + [REFUSED] + [None] * 2
    assert (acks.sent, acks.refused) == (9, 1)


def test_load_says_when_another_process_has_something_sent_again(segment):
    mine = answer(segment, SENT, 0, SPANS)
    assert mine.load() is False
    assert mine.settled_to() == segment.stat().st_size
    answer(segment, RESEND, 3, 4)
    assert mine.load() is True
    assert mine.load() is False
    assert mine.settled_to() == places(segment)[3][0]


def test_load_reads_only_what_was_appended(segment, monkeypatch):
    acks = answer(segment, SENT, 0, 2)
    acks.load()
    read, read_from = [], files.read_from
    with monkeypatch.context() as patched:
        patched.setattr(files, "read_from", lambda path, start: read.append(start) or read_from(path, start))
        acks.load()
        assert read == []
    answer(segment, SENT, 2, 4)
    monkeypatch.setattr(files, "read_from", lambda path, start: read.append(start) or read_from(path, start))
    acks.load()
    assert read == [len(frame(RecordType.ACK, ack_payload(SENT, 0, 0, 0)))]
    assert acks.sent == 4


def test_a_file_that_is_gone_is_forgotten(segment):
    acks = answer(segment, SENT, 0, SPANS)
    acks.load()
    acks_of(segment).unlink()
    assert acks.load() is True
    assert unsent(segment, acks)
    assert acks.settled_to() == places(segment)[0][0]


def test_another_file_of_the_same_name_counts(segment):
    acks = answer(segment, SENT, 0, SPANS)
    acks.load()
    acks_of(segment).rename(segment.with_name("old"))
    answer(segment, SENT, 0, 1)
    assert acks.load() is True
    assert acks.sent == 1


@pytest.mark.parametrize("writes", [0, 10])
def test_a_full_disk_is_tried_again_and_loses_nothing(segment, monkeypatch, writes):
    where = places(segment)
    acks = Acks(segment)

    def full(fd, data):
        os.write(fd, data[:writes])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_all", full)
        acks.add(SENT, where[0][0], where[3][1], 4)
        assert acks.load() is False
        assert acks.sent == 4
    assert states(segment) == [None] * SPANS
    acks.add(REFUSED, where[4][0], where[4][1], 1, said="no")
    assert states(segment) == [SENT] * 4 + [REFUSED] + [None] * 7
    acks.load()
    assert (acks.sent, acks.refused) == (4, 1)


def test_a_directory_that_cannot_be_written_is_no_error(segment, monkeypatch):
    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(files, "open_append", refused)
    acks = answer(segment, SENT, 0, SPANS)
    assert acks.load() is False
    assert acks.settled_to() == segment.stat().st_size


@pytest.mark.parametrize("trap", ["link", "fifo", "directory"])
def test_what_is_no_file_is_not_followed(segment, tmp_path, trap):
    target = tmp_path / "target"
    target.write_bytes(frame(RecordType.ACK, ack_payload(SENT, 0, 1 << 20, 9)))
    make = {"link": lambda path: path.symlink_to(target), "fifo": os.mkfifo, "directory": Path.mkdir}
    make[trap](acks_of(segment))
    before = target.read_bytes()
    acks = Acks(segment)
    assert acks.load() is False
    assert acks.ranges == ()
    acks.add(SENT, 0, 1, 1)
    assert target.read_bytes() == before


@pytest.mark.parametrize(
    "payload",
    [b"", b"\1", ack_payload(SENT, 0, 9, 1)[:-1], b"\7" + ack_payload(SENT, 0, 9, 1)[1:], ack_payload(SENT, 9, 9, 1)],
)
def test_records_that_say_nothing_are_left_aside(segment, payload):
    acks_of(segment).write_bytes(frame(RecordType.ACK, payload) + frame(99, b"later") + frame(RecordType.NOTE, b"{}"))
    answer(segment, SENT, 0, 1)
    assert states(segment) == [SENT] + [None] * (SPANS - 1)


def test_every_truncation_and_every_flipped_byte_costs_one_answer_at_most(segment):
    for number in range(3):
        answer(segment, SENT, number, number + 1)
    whole = acks_of(segment).read_bytes()
    size = len(whole) // 3
    for length in range(len(whole)):
        acks_of(segment).write_bytes(whole[:length])
        assert states(segment)[:3] == [SENT if length >= (number + 1) * size else None for number in range(3)]
    for position in range(len(whole)):
        flipped = bytearray(whole)
        flipped[position] ^= 0x55
        acks_of(segment).write_bytes(flipped)
        assert states(segment)[:3] == [None if position // size == number else SENT for number in range(3)]


def test_settled_to_looks_over_what_is_no_span(tmp_path):
    one, two = span(1, 0), span(1, 1)
    path = write_segment(tmp_path, "writer", 0, [one])
    with path.open("ab") as file:
        file.write(frame(RecordType.OPEN, span_payload(0, 1, two) + bytes(300_000)))
        file.write(frame(RecordType.SPAN, span_payload(0, 1, two)) + frame(RecordType.OPEN, span_payload(0, 1, two)))
    acks = Acks(path)
    (first, end), (second, last) = places(path)
    assert acks.settled_to() == first
    acks.add(SENT, first, end, 1)
    assert acks.settled_to() == second
    acks.add(REFUSED, second, last, 1)
    assert acks.settled_to() == path.stat().st_size
    assert not unsent(path, acks)


def test_progress_of_a_writer(tmp_path):
    first = write_segment(tmp_path, "writer", 0, [span(1, number) for number in range(4)])
    second = write_segment(tmp_path, "writer", 1, [span(1, number) for number in range(4)])
    write_segment(tmp_path, "other", 0, [span(2, 0)])
    send(first)
    answer(second, REFUSED, 0, 1)
    progress = progress_of(tmp_path, "writer")
    assert (progress.sent, progress.refused) == (4, 1)
    assert progress.settled == {first: first.stat().st_size, second: places(second)[1][0]}
    assert progress_of(tmp_path / "nowhere", "writer").settled == {}


class Answers(RuleBasedStateMachine):
    """Answers, resends, damage and reopening, by two processes, against a list of states."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        spans = [span(1, number, size=number * 7) for number in range(SPANS)]
        self.segment = write_segment(Path(self.folder.name), "writer", 0, spans, opened=spans[:2])
        self.where = places(self.segment)
        self.known = []
        self.acks = [Acks(self.segment), Acks(self.segment)]

    def teardown(self):
        if hasattr(self, "folder"):
            self.folder.cleanup()

    @rule(
        who=st.integers(0, 1),
        ends=st.lists(st.integers(0, SPANS), min_size=2, max_size=2, unique=True).map(sorted),
        state=st.sampled_from([SENT, SENT, REFUSED, WITHHELD, RESEND]),
        refused=st.integers(0, 4),
        said=st.text(max_size=3),
    )
    def answer(self, who, ends, state, refused, said):
        first, end = ends
        refused = min(refused, end - first) if state is SENT else 0
        place = self.where[first][0], self.where[end - 1][1]
        self.acks[who].add(state, *place, end - first, refused, said)
        self.known.append((state, first, end, refused))

    @rule(who=st.integers(0, 1))
    def load(self, who):
        self.acks[who].load()
        assert self.acks[who].states([first for first, _ in self.where]) == self.expected()

    @rule(which=st.integers(0, 99), position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
    def damage(self, which, position, bit):
        """A record is damaged; whoever has read it already is started anew."""
        path = acks_of(self.segment)
        data = bytearray(path.read_bytes()) if path.exists() else bytearray()
        records = [record for record in scan(bytes(data)) if isinstance(record, Record)]
        if not records:
            return
        hit = records[which % len(records)]
        data[hit.offset + int(position * (hit.end - hit.offset))] ^= 1 << bit
        path.write_bytes(data)
        del self.known[which % len(records)]
        self.reopen()

    @rule(length=st.integers(1, 30))
    def tear(self, length):
        """Somebody is killed, or the disk is full, within an append."""
        with acks_of(self.segment).open("ab") as file:
            file.write(frame(RecordType.ACK, ack_payload(SENT, 0, 1 << 20, SPANS))[:length])

    @rule()
    def reopen(self):
        self.acks = [Acks(self.segment), Acks(self.segment)]

    def expected(self):
        states = [None] * SPANS
        for state, first, end, refused in self.known:
            states[first:end] = [None if state is RESEND else state] * (end - first)
            states[end - refused : end] = [REFUSED] * refused
        return states

    @invariant()
    def agrees(self):
        if not hasattr(self, "segment"):
            return
        acks = Acks(self.segment)
        acks.load()
        expected = self.expected()
        assert acks.states([first for first, _ in self.where]) == expected
        waiting = [first for (first, _), state in zip(self.where, expected, strict=True) if state is None]
        assert acks.settled_to() == (waiting[0] if waiting else self.segment.stat().st_size)
        assert unsent(self.segment, acks) == bool(waiting)
        ends = [edge for part in acks.ranges for edge in (part.first, part.end)]
        assert ends == sorted(ends)


TestAnswers = Answers.TestCase
TestAnswers.settings = settings(max_examples=60, stateful_step_count=25, deadline=None)
