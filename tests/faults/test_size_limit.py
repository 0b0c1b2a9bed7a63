"""P26, P28 and P44: what goes when the journal has reached its size limit, and what never does."""

import os
import shutil
import warnings
from itertools import count

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.accounting import account, examine
from crucible_trace_otel.journal.acks import Acks
from crucible_trace_otel.journal.kept import kept_in, segments_that_count
from crucible_trace_otel.journal.layout import acks_of, segment_of
from crucible_trace_otel.journal.limit import enforce
from crucible_trace_otel.journal.reader import read_directory, read_segment
from tests.journal.acked import (
    REFUSED,
    SENT,
    answer,
    detail,
    everybody,
    ids,
    nobody,
    not_sent,
    operation,
    send,
    span,
    total,
    write_segment,
    write_segments,
)

KIB = 1024


OPERATIONS = ("open_append", "write_all", "rename", "unlink", "fsync_directory")


def kill_at(number, act):
    """Run `act` in a process that ends before its file operation `number`; whether it came that far."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # threads of other tests; the child needs none
        child = os.fork()
    if child == 0:
        counted = count()

        def counting(operation):
            def counted_one(*arguments, **more):
                if next(counted) == number:
                    os._exit(9)
                return operation(*arguments, **more)

            return counted_one

        for name in OPERATIONS:
            setattr(files, name, counting(getattr(files, name)))
        try:
            act()
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) in (0, 9)
    return os.waitstatus_to_exitcode(status) == 9


def test_p26_what_was_sent_goes_first_and_the_oldest_before_the_others(tmp_path):
    paths = write_segments(tmp_path, "writer", 6)
    for index in (1, 2, 4):
        send(paths[index])
    assert enforce(tmp_path, total(tmp_path) - 12 * KIB, is_alive=nobody) == [paths[1].name, paths[2].name]
    assert not acks_of(paths[1]).exists()
    assert examine(tmp_path).total().lost == 0
    assert enforce(tmp_path, total(tmp_path) - 12 * KIB, is_alive=nobody) == [paths[4].name, paths[0].name]
    assert examine(tmp_path).total().lost == 10


def test_p26_of_a_living_writer_the_two_newest_segments_stay(tmp_path):
    paths = write_segments(tmp_path, "writer", 5)
    enforce(tmp_path, 1, is_alive=everybody)
    assert [path for path in paths if path.exists()] == paths[3:]
    enforce(tmp_path, 1, is_alive=nobody)
    assert segments_that_count(tmp_path) == kept_in(tmp_path)


def test_p26_runs_errors_and_last_windows_are_kept(tmp_path):
    kept_ones = [
        operation(1, 100, "training_run", root=True, crucible_run_id="r1"),
        operation(1, 101, "epoch_interrupted"),
        span(1, 102, failed=True),
        operation(1, 104, "step_segment"),
        operation(2, 105, "epoch"),
    ]
    gone = [operation(1, 0, "epoch"), *detail(2, 1)]
    path = write_segment(tmp_path, "writer", 0, [gone[0], *kept_ones, *gone[1:]])
    (tmp_path / "shipper@here.lease").touch()
    answer(path, SENT, 9, 11)
    size = path.stat().st_size
    newer = write_segment(tmp_path, "writer", 1, detail(3, 0, 200))
    assert enforce(tmp_path, total(tmp_path) - size // 2, is_alive=nobody) == [path.name]
    (rescued,) = kept_in(tmp_path)
    assert sorted(ids(rescued)) == sorted(Span.FromString(one).span_id for one in kept_ones)
    by_trace = {int(one.trace_id, 16): one for one in account(tmp_path)}
    assert (by_trace[1].held, by_trace[1].lost) == (4, 1)
    assert (by_trace[2].held, by_trace[2].lost, by_trace[2].sent) == (1, 8, 0)
    assert by_trace[1].run_id == "r1"
    (gap,) = read_segment(rescued).gaps
    assert (gap["spans"], gap["traces"]) == (9, {f"{1:032x}": 1, f"{2:032x}": 8})
    assert (gap["from"], gap["to"]) == (2_000, 2_010)
    assert newer.exists()


def test_p26_the_limit_holds_while_a_run_goes_on(tmp_path):
    """Many times the limit, nothing of it sent, one span in ten an error: never over by more than a segment."""
    bound, largest, recorded = 200 * KIB, 0, 0
    for number in range(60):
        spans = [
            operation(7, number * 10, "training_run")
            if number % 7 == 0
            else span(7, number * 10, failed=True, size=1_000),
            *detail(7, number * 10 + 1, 9),
        ]
        path = write_segment(tmp_path, "writer", number, spans)
        largest, recorded = max(largest, path.stat().st_size), recorded + len(spans)
        assert total(tmp_path) <= bound + largest
        enforce(tmp_path, bound, is_alive=everybody)
        assert total(tmp_path) <= bound
    found = examine(tmp_path)
    assert found.total().recorded == recorded
    assert sum(path.stat().st_size for path in kept_in(tmp_path)) <= bound // 20 + KIB
    runs = [one for one in read_directory(tmp_path).spans if b"training_run" in one.span]
    assert len(runs) == 9
    assert len(list(tmp_path.iterdir())) < 30


def test_p44_what_is_no_segment_is_neither_counted_nor_removed(tmp_path):
    directory = tmp_path / "journal"
    (path,) = write_segments(directory, "writer", 1)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_bytes(b"precious" * 10_000)
    traps = [segment_of(directory, "aaa", number) for number in range(3)]
    traps[0].symlink_to(elsewhere)
    os.mkfifo(traps[1])
    with traps[2].open("wb") as file:
        file.truncate(1 << 40)
    assert enforce(directory, 20 * KIB, is_alive=nobody) == []
    assert enforce(directory, 1, is_alive=nobody) == [path.name]
    assert all(trap.lstat() for trap in traps)
    assert elsewhere.exists()


def test_p28_a_kill_between_any_two_operations_loses_nothing_that_was_not_to_go(tmp_path):
    template = tmp_path / "template"
    paths = write_segments(template, "writer", 3)
    (template / "shipper@here.lease").touch()
    paths.append(write_segment(template, "writer", 3, [*detail(1, 30), span(1, 98, failed=True)]))
    answer(paths[3], REFUSED, 10, 11, said="no")
    paths.append(write_segment(template, "writer", 4, [operation(1, 99, "pipeline"), *detail(1, 40)]))
    paths.append(write_segment(template, "writer", 5, detail(1, 50)))
    send(paths[1])
    enforce(template, total(template) - 12 * KIB, is_alive=nobody)  # one kept segment is there already
    assert len(kept_in(template)) == 1
    send(write_segment(template, "writer", 6, detail(1, 60)))
    bound, unsent_spans = 14 * KIB, not_sent(template)
    reference = tmp_path / "reference"
    shutil.copytree(template, reference)
    enforce(reference, bound, is_alive=nobody)
    numbers = 0
    for number in count():
        directory = tmp_path / f"killed-{number}"
        shutil.copytree(template, directory)
        was_killed = kill_at(number, lambda directory=directory: enforce(directory, bound, is_alive=nobody))
        assert not_sent(directory) == unsent_spans
        enforce(directory, bound, is_alive=nobody)
        assert not_sent(directory) == unsent_spans
        assert total(directory) <= bound
        assert examine(directory).total() == examine(reference).total()
        assert not [path for path in directory.iterdir() if path.name.startswith(".")]
        assert all(path.with_name(path.name.removesuffix(".acks")).exists() for path in directory.glob("*.acks"))
        numbers = number
        if not was_killed:
            break
    assert numbers > 15


def test_p28_a_kill_within_an_append_of_acks_costs_a_repetition_at_most(tmp_path):
    (path,) = write_segments(tmp_path, "writer", 1)
    for number in count():
        acks_of(path).unlink(missing_ok=True)
        answer(path, SENT, 0, 3)
        was_killed = kill_at(number, lambda: answer(path, SENT, 3, 6))
        acks = Acks(path)
        acks.load()
        assert acks.sent in ((3, 6) if was_killed else (6,))
        if not was_killed:
            break
    assert number == 2
