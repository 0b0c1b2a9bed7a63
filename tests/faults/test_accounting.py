"""P36: recorded = stored + sent + held + refused + lost, exactly, whatever happens to spans."""

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_trace_otel.errors import StoreError
from crucible_trace_otel.journal import accounting
from crucible_trace_otel.journal.accounting import RunAccount, account, examine, resend
from crucible_trace_otel.journal.layout import acks_of
from crucible_trace_otel.journal.limit import enforce
from crucible_trace_otel.journal.records import AckState, RecordType, frame, json_payload
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.loop import ship_once
from tests.faults.collector import Misbehaving
from tests.journal.acked import (
    REFUSED,
    RESEND,
    SENT,
    answer,
    nobody,
    operation,
    places,
    span,
    total,
    write_segment,
    write_segments,
)

SPANS = 20


@pytest.fixture
def journal(tmp_path):
    """Two runs of ten spans."""
    directory = tmp_path / "journal"
    for trace in (1, 2):
        root = operation(
            trace, 9, "training_run", root=True, crucible_about=f"digits {trace}", crucible_run_id=f"r{trace}"
        )
        write_segment(directory, f"writer-{trace}", 0, [*(span(trace, number) for number in range(9)), root])
    return directory


def ship(directory, collector, seconds=20.0):
    return ship_once(directory, Destination(f"{collector.http_endpoint}/v1/traces"), seconds)


def states(one):
    return one.stored, one.sent, one.held, one.refused, one.lost


def test_p36_without_a_destination_all_is_stored(journal):
    assert account(journal) == [
        RunAccount(f"{trace:032x}", name=f"digits {trace}", run_id=f"r{trace}", stored=10) for trace in (1, 2)
    ]


@pytest.mark.parametrize(
    ("behaviour", "expected", "seconds"),
    [
        ("ok", (0, SPANS, 0, 0, 0), 20),
        ("partial 3", (0, SPANS - 3, 0, 3, 0), 20),
        ("400", (0, 0, 0, SPANS, 0), 20),
        ("500", (0, 0, 0, SPANS, 0), 20),
        ("401", (0, 0, SPANS, 0, 0), 20),
        ("302", (0, 0, SPANS, 0, 0), 20),
        ("503", (0, 0, SPANS, 0, 0), 0.5),
        ("reset", (0, 0, SPANS, 0, 0), 0.5),
    ],
)
def test_p36_whatever_the_collector_answers(journal, behaviour, expected, seconds):
    with Misbehaving(behaviour) as collector:
        ship(journal, collector, seconds)
        found = examine(journal)
        assert states(found.total()) == expected
        assert len(collector.spans()) == found.total().sent
    assert sum(one.recorded for one in account(journal)) == found.total().recorded == SPANS
    assert bool(found.said) == bool(found.total().refused)
    assert bool(found.total().waiting_since_ns) == bool(found.total().held)


def test_p36_what_was_refused_is_sent_again_when_asked_for(journal):
    with Misbehaving("400") as collector:
        ship(journal, collector)
        assert resend(journal, run="r2") == 10
        assert states(examine(journal).total()) == (0, 0, 10, 10, 0)
        collector.behave("ok")
        assert ship(journal, collector)
        assert [states(one) for one in account(journal)] == [(0, 0, 0, 10, 0), (0, 10, 0, 0, 0)]
        assert resend(journal) == 10
        assert resend(journal) == 0
        assert ship(journal, collector)
        assert states(examine(journal).total()) == (0, SPANS, 0, 0, 0)
        assert len(collector.span_ids()) == SPANS == len(collector.spans())


def test_p36_of_a_partial_success_only_what_was_refused_is_sent_again(journal):
    with Misbehaving("partial 3") as collector:
        ship(journal, collector)
        collector.behave("ok")
        assert resend(journal) == 3
        assert ship(journal, collector)
        assert states(examine(journal).total()) == (0, SPANS, 0, 0, 0)
        assert len(collector.requests()[-1].spans) == 3


def test_p36_a_run_is_found_by_its_name_and_its_trace_id_too(journal):
    for path in journal.glob("*.segment"):
        answer(path, REFUSED, 0, 10)
    assert resend(journal, run="digits 1") == 10
    assert resend(journal, run=f"{2:032x}") == 10
    assert resend(journal, run="nobody") == 0
    assert resend(journal, run="") == 0
    assert resend(journal, (AckState.REFUSED, AckState.SENT), run="digits 1") == 0
    for path in journal.glob("*.segment"):
        answer(path, SENT, 0, 10)
    assert resend(journal, (AckState.REFUSED, AckState.SENT), run="digits 1") == 10


def test_p36_lost_spans_are_counted_where_the_writer_says_so(journal):
    (path, _) = sorted(journal.glob("*.segment"))
    gap = {"spans": 7, "from": 1, "to": 2, "why": "disk full", "traces": {f"{2:032x}": 4, f"{3:032x}": 1}}
    with path.open("ab") as file:
        file.write(frame(RecordType.GAP, json_payload(gap)) + frame(RecordType.GAP, b"[]"))
    found = examine(journal)
    assert {one.trace_id: one.lost for one in found.runs.values() if one.lost} == {
        "": 2,
        f"{2:032x}": 4,
        f"{3:032x}": 1,
    }
    assert found.total().recorded == SPANS + 7
    assert found.damaged == 1


def test_p36_damage_is_shown_apart(journal):
    (path, other) = sorted(journal.glob("*.segment"))
    data = bytearray(path.read_bytes())
    data[places(path)[3][0] + 30] ^= 1
    path.write_bytes(data)
    other.write_bytes(other.read_bytes()[:-1])
    (journal / "zzz-0000.segment").symlink_to(path)
    found = examine(journal)
    assert (found.total().recorded, found.damaged, found.torn) == (SPANS - 2, 1, 1)
    assert len(found.unreadable) == 1


def test_p36_damaged_acks_mean_sending_again(journal):
    with Misbehaving("ok") as collector:
        ship(journal, collector)
        for path in journal.glob("*.acks"):
            path.write_bytes(b"\0" * path.stat().st_size)
        assert states(examine(journal).total()) == (0, 0, SPANS, 0, 0)
        ship(journal, collector)
        assert states(examine(journal).total()) == (0, SPANS, 0, 0, 0)
        assert len(collector.span_ids()) == SPANS


def test_p36_an_open_root_gives_its_run_a_name(tmp_path):
    root = operation(1, 9, "training_run", root=True, crucible_about="digits", crucible_run_id="r1")
    write_segment(tmp_path, "writer", 0, [span(1, 0)], opened=[root, span(2, 0, root=True)])
    assert account(tmp_path) == [RunAccount(f"{1:032x}", name="digits", run_id="r1", stored=1)]


def test_p36_no_journal_is_an_error(tmp_path):
    with pytest.raises(StoreError, match="No journal at"):
        account(tmp_path / "nowhere")


answers = st.tuples(
    st.integers(0, 2),
    st.integers(0, 9),
    st.integers(1, 10),
    st.sampled_from([SENT, REFUSED, RESEND]),
    st.integers(0, 3),
)


@settings(max_examples=60, deadline=None)
@given(
    traces=st.lists(st.lists(st.integers(1, 3), min_size=10, max_size=10), min_size=3, max_size=3),
    given=st.lists(answers, max_size=12),
    lost=st.dictionaries(st.integers(1, 4), st.integers(1, 5), max_size=3),
    bound=st.none() | st.integers(500, 8_000),
)
def test_p36_each_span_is_counted_once_in_its_state(traces, given, lost, bound):
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        (directory / "shipper@here.lease").touch()
        paths = []
        for index, of in enumerate(traces):
            spans = [span(trace, index * 100 + number, size=100) for number, trace in enumerate(of)]
            paths.append(write_segment(directory, f"writer-{index}", 0, spans))
        gap = {"spans": sum(lost.values()), "traces": {f"{trace:032x}": count for trace, count in lost.items()}}
        with paths[0].open("ab") as file:
            file.write(frame(RecordType.GAP, json_payload(gap)))
        expected = [["held"] * 10 for _ in paths]
        for which, first, length, state, most_refused in given:
            end = min(first + length, 10)
            refused = min(most_refused, end - first) if state is SENT else 0
            answer(paths[which], state, first, end, refused=refused)
            word = {SENT: "sent", REFUSED: "refused", RESEND: "held"}[state]
            expected[which][first:end] = [word] * (end - first - refused) + ["refused"] * refused
        counts = Counter({(trace, "lost"): count for trace, count in lost.items()})
        for of, words in zip(traces, expected, strict=True):
            counts.update(zip(of, words, strict=True))
        assert found_in(directory) == counts
        if bound is not None:
            enforce(directory, bound, is_alive=lambda prefix: False)
            unsent = {"held", "refused", "lost"}
            after = found_in(directory)
            for trace in range(1, 5):
                for_both = [sum(of[trace, word] for word in unsent) for of in (counts, after)]
                assert for_both[0] == for_both[1]
                assert after[trace, "sent"] <= counts[trace, "sent"]
            assert after.total() == examine(directory).total().recorded
            assert all(acks_of(path).exists() <= path.exists() for path in paths)


def found_in(directory):
    found = Counter()
    for one in account(directory):
        for word in ("stored", "sent", "held", "refused", "lost"):
            found[int(one.trace_id, 16), word] += getattr(one, word)
    return Counter({key: count for key, count in found.items() if count})


def test_p36_what_the_size_limit_takes_while_it_is_counted_is_counted_once(tmp_path, monkeypatch):
    write_segments(tmp_path, "writer", 6)
    before = examine(tmp_path).total()
    count, limits = accounting._count, iter([total(tmp_path) // 2])

    def count_while_the_limit_works(segment, found):
        count(segment, found)
        for limit in limits:
            assert enforce(tmp_path, limit, is_alive=nobody)

    monkeypatch.setattr(accounting, "_count", count_while_the_limit_works)
    after = examine(tmp_path)
    assert (after.total().recorded, after.unreadable) == (before.recorded, [])
    assert after.total().lost
