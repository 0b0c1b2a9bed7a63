from dataclasses import replace

import pytest

from crucible_trace_otel.errors import NotFoundError, StoreError
from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.store import open_store
from crucible_trace_otel.trace.spans import Trace
from tests.store.stored import write
from tests.trace.builders import TraceBuilder, digits
from tests.trace.parts import in_parts


def later(trace: Trace, seconds: int) -> Trace:
    moved = (replace(s, start_ns=s.start_ns + seconds * 10**9, end_ns=s.end_ns + seconds * 10**9) for s in trace.spans)
    return Trace(trace.trace_id, tuple(moved))


FIRST, SECOND, OPEN = digits(1), later(digits(2), 60), later(digits(3, finished=False), 120)


@pytest.fixture
def journal(tmp_path):
    return write(tmp_path / "journal", [SECOND, OPEN, FIRST])


def test_traces_come_back_whole_and_oldest_first(journal):
    with open_store(journal) as store:
        assert store.traces() == (FIRST, SECOND, OPEN)
        assert store.latest() == OPEN
        assert (store.damaged, store.torn, store.unreadable) == (0, 0, ())


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("latest", OPEN),
        (FIRST.trace_id, FIRST),
        (f"{2:032X}", SECOND),
        ("run-1", FIRST),
        ("digits", OPEN),
        ("pipeline digits", SECOND),
        ("which model reads the digits?", OPEN),
        ("digits in production", SECOND),
    ],
)
def test_a_run_is_found_by_each_of_its_names(journal, asked, found):
    assert open_store(journal).get(asked) == found


def test_a_run_is_found_by_the_id_of_its_experiment(tmp_path):
    build = TraceBuilder()
    build.add(spans.EXPERIMENT, "a question", attributes={attr.CRUCIBLE_EXPERIMENT_ID: "e-1"})
    assert open_store(write(tmp_path, [build.trace()])).get("e-1") == build.trace()


def test_the_beginning_of_a_trace_id_finds_the_one_trace_it_fits(tmp_path):
    one, other = (TraceBuilder(number) for number in (0xABCDEF << 104, 0xABCDE0 << 104))
    for build in (one, other):
        build.add(spans.PIPELINE, "p")
    store = open_store(write(tmp_path / "j", [one.trace(), other.trace()]))
    assert store.get("ABCDEF") == one.trace()
    for beginning in ("abcde", "abcd"):
        with pytest.raises(NotFoundError, match=f"No trace in .* answers to '{beginning}'. Near: 'abcde"):
            store.get(beginning)


def test_what_is_not_found_is_named_with_what_comes_near(journal):
    with pytest.raises(NotFoundError) as refused:
        open_store(journal).get("digit")
    assert str(refused.value) == (
        f"No trace in {journal} answers to 'digit'. Near: 'digits', 'digits in production', 'pipeline digits'."
    )
    with pytest.raises(NotFoundError, match=r"answers to 'zzz'\. There is: 'run run-3', 'digits'\."):
        open_store(journal).get("zzz")
    with pytest.raises(NotFoundError, match=r"answers to ''\. There is:"):
        open_store(journal).get("")


def test_a_place_without_a_journal_is_an_error_that_names_it(tmp_path):
    (tmp_path / "notes.txt").touch()
    for place in (tmp_path / "nowhere", tmp_path, tmp_path / "notes.txt"):
        with pytest.raises(StoreError, match=str(place)):
            open_store(place)


def test_a_folder_with_a_journal_in_it_names_that(tmp_path):
    write(tmp_path / ".crucible", [FIRST])
    with pytest.raises(StoreError) as refused:
        open_store(tmp_path)
    assert str(refused.value) == (
        f"No journal in {tmp_path}: it holds no *.segment file. Did you mean {tmp_path / '.crucible'}?"
    )


def test_a_journal_without_an_operation_has_no_latest(tmp_path):
    (tmp_path / "empty.segment").touch()
    with pytest.raises(NotFoundError, match="holds no operation yet"):
        open_store(tmp_path).latest()
    with pytest.raises(NotFoundError, match="It holds no operation yet"):
        open_store(tmp_path).get("digits")
    assert open_store(tmp_path).traces() == ()


def test_a_store_is_gone_through_oldest_first(journal):
    assert list(open_store(journal)) == [FIRST, SECOND, OPEN]


def foreign(number: int, seconds: int) -> Trace:
    build = TraceBuilder(number)
    build.add(None, name="GET /health", at=seconds)
    return build.trace()


def test_the_latest_is_a_trace_with_operations_of_ours(tmp_path):
    other = foreign(9, 500)
    store = open_store(write(tmp_path, [other]))
    with pytest.raises(NotFoundError) as refused:
        store.latest()
    assert str(refused.value) == (
        f"The journal {tmp_path} holds only spans of other instrumentations: "
        "`crucible-trace list --all` shows their traces."
    )
    write(tmp_path, [FIRST])
    assert (store.latest(), store.get("latest"), store.get("GET /health")) == (FIRST, FIRST, other)


@pytest.mark.parametrize("run", [None, 7, FIRST])
def test_a_run_that_is_no_text_is_one_sentence(journal, run):
    with pytest.raises(NotFoundError) as refused:
        open_store(journal).get(run)
    assert str(refused.value) == f"No trace answers to {run!r}: it is asked for by a text, such as a name or a run id."


def test_what_is_written_after_opening_is_seen(tmp_path):
    store = open_store(write(tmp_path, [FIRST]))
    write(tmp_path, [SECOND])
    assert store.latest() == SECOND


def test_a_trace_recorded_twice_appears_once(tmp_path):
    assert open_store(write(tmp_path, [FIRST, FIRST])).traces() == (FIRST,)


def test_bytes_that_are_no_span_are_counted_and_the_rest_is_read(journal):
    writer = SegmentWriter(journal)
    writer.append_span(b"", b"", b"\xff\xff\xff")
    writer.close()
    store = open_store(journal)
    assert store.damaged == 1
    assert store.traces() == (FIRST, SECOND, OPEN)


def test_a_record_cut_short_is_told_as_torn(journal):
    segment = next(journal.glob("*.segment"))
    segment.write_bytes(segment.read_bytes()[:-1])
    store = open_store(journal)
    assert (len(store.traces()), store.torn, store.damaged) == (3, 1, 0)


def test_a_run_of_several_traces_is_found_by_each_of_its_ids(tmp_path):
    store = open_store(write(tmp_path, in_parts()))
    (run,) = store.traces()
    asked = ["r", "digits", "latest", "000000", *(f"{number:032x}" for number in (1, 2, 3))]
    assert [store.get(name).trace_id for name in asked] == [run.trace_id] * len(asked)
    assert len(run.spans) == 7
