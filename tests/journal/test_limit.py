import os
import shutil
from contextlib import suppress
from itertools import count
from zlib import crc32

import pytest

from crucible_trace_otel.journal import files, kept, limit
from crucible_trace_otel.journal.accounting import account, examine
from crucible_trace_otel.journal.acks import Acks
from crucible_trace_otel.journal.kept import keep, lost_in, segments_that_count
from crucible_trace_otel.journal.layout import recovered_of
from crucible_trace_otel.journal.limit import enforce
from crucible_trace_otel.journal.reader import read_directory, segments_in
from crucible_trace_otel.journal.records import RecordType, frame, json_payload
from tests.journal.acked import (
    REFUSED,
    WITHHELD,
    answer,
    detail,
    ids,
    nobody,
    not_sent,
    operation,
    places,
    send,
    span,
    total,
    write_segment,
    write_segments,
)

KIB = 1024


def test_nothing_goes_below_the_limit(tmp_path):
    paths = write_segments(tmp_path, "writer", 3)
    send(paths[0])
    assert enforce(tmp_path, total(tmp_path), is_alive=nobody) == []
    assert segments_in(tmp_path) == paths


def test_a_refused_span_that_is_kept_stays_refused(tmp_path):
    path = write_segment(tmp_path, "writer", 0, [*detail(1, 0), span(1, 50, failed=True), span(1, 51, failed=True)])
    answer(path, REFUSED, 11, 12, said="not that one")
    rescued = keep(tmp_path, [path], 8 * KIB)
    path.unlink()
    found = examine(tmp_path)
    assert (found.total().refused, found.total().held, found.total().lost) == (1, 1, 10)
    assert found.said == "not that one"
    assert Acks(rescued).load() is False
    assert len(ids(rescued)) == 2


def test_where_there_is_little_room_the_ends_of_runs_stay_and_errors_go(tmp_path):
    errors = [span(1, index, failed=True, size=1_000) for index in range(10)]
    path = write_segment(tmp_path, "writer", 0, [operation(1, 99, "pipeline"), *errors])
    rescued = keep(tmp_path, [path], 3 * KIB)
    numbers = [int.from_bytes(one[4:], "big") - 1 for one in ids(rescued)]
    assert numbers == [99, 8, 9]
    assert segments_that_count(tmp_path) == [rescued]


def test_an_end_does_not_go_before_what_says_that_its_span_is_open(tmp_path):
    opened = span(1, 99)
    first = write_segment(tmp_path, "writer", 0, detail(1, 0), opened=[opened])
    second = write_segment(tmp_path, "writer", 1, [opened, *detail(1, 10)])
    third = write_segment(tmp_path, "writer", 2, detail(1, 20))
    send(second)
    send(third)
    assert enforce(tmp_path, total(tmp_path) - 1, is_alive=nobody) == [third.name]
    send(first)
    bound = total(tmp_path) - first.stat().st_size - 1
    assert enforce(tmp_path, bound, is_alive=nobody) == [first.name, second.name]


def test_what_a_dead_writer_left_open_stays_until_it_has_ends(tmp_path):
    path = write_segment(tmp_path, "writer", 0, detail(1, 0), opened=[span(1, 99)])
    assert enforce(tmp_path, 1, is_alive=nobody) == []
    shutil.copy(write_segment(tmp_path, "other", 0, [span(1, 99)]), recovered_of(tmp_path, "writer"))
    assert path.name in enforce(tmp_path, 1, is_alive=nobody)


def test_what_only_a_newer_version_reads_does_not_count_as_sent(tmp_path):
    paths = write_segments(tmp_path, "writer", 2)
    send(paths[0])
    send(paths[1])
    record = bytearray(frame(RecordType.SPAN, bytes(30)))
    record[4] = 2
    record[12:16] = crc32(bytes(record[16:]), crc32(bytes(record[4:12]))).to_bytes(4, "little")
    with paths[0].open("ab") as file:
        file.write(record)
    assert enforce(tmp_path, total(tmp_path) - 1, is_alive=nobody) == [paths[1].name]


def test_what_is_not_to_be_sent_goes_later_than_what_was(tmp_path):
    paths = write_segments(tmp_path, "writer", 2)
    answer(paths[0], WITHHELD, 0, len(places(paths[0])))
    send(paths[1])
    assert enforce(tmp_path, total(tmp_path) - 1, is_alive=nobody) == [paths[1].name]


def test_only_one_process_at_a_time(tmp_path):
    write_segments(tmp_path, "writer", 3)
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert files.try_lock(fd)
        assert enforce(tmp_path, 1, is_alive=nobody) == []
    finally:
        os.close(fd)
    assert len(enforce(tmp_path, 1, is_alive=nobody)) == 3


def test_gaps_of_writers_are_carried_on(tmp_path):
    path = write_segment(tmp_path, "writer", 0, detail(1, 0))
    gap = {"spans": 5, "from": 10, "to": 20, "why": "disk full", "traces": {f"{2:032x}": 3}}
    with path.open("ab") as file:
        file.write(frame(RecordType.GAP, json_payload(gap)))
    enforce(tmp_path, 1, is_alive=nobody)
    assert {one["why"]: one["spans"] for one in read_directory(tmp_path).gaps} == {"disk full": 5, kept._WHY: 10}
    assert {one.trace_id: one.lost for one in account(tmp_path)} == {"": 2, f"{2:032x}": 3, f"{1:032x}": 10}


@pytest.mark.parametrize(
    ("gap", "lost"),
    [
        ({}, {}),
        ({"spans": 3}, {"": 3}),
        ({"spans": 3, "traces": {"a": 3}}, {"a": 3}),
        ({"spans": 1, "traces": {"a": 3}}, {"a": 3}),
        ({"spans": "3", "traces": {"a": -3, "b": True, "c": None, "d": 1.5}}, {}),
        ({"spans": -1, "traces": [1]}, {}),
    ],
)
def test_what_a_gap_says(gap, lost):
    assert lost_in(gap) == lost


@pytest.mark.parametrize("name", ["open_append", "write_all", "rename", "unlink"])
def test_an_operation_that_fails_is_an_error_and_loses_nothing(tmp_path, monkeypatch, name):
    write_segments(tmp_path, "writer", 3)
    (tmp_path / "shipper@here.lease").touch()
    for number in range(4):
        counted = count()
        real = getattr(files, name)

        def failing(*arguments, real=real, counted=counted, number=number, **more):
            if next(counted) == number:
                raise OSError(28, "No space left on device")
            return real(*arguments, **more)

        with monkeypatch.context() as patched:
            patched.setattr(files, name, failing)
            with suppress(OSError):
                enforce(tmp_path, 12 * KIB, is_alive=nobody)
        assert not_sent(tmp_path) == 30
    enforce(tmp_path, 12 * KIB, is_alive=nobody)
    assert total(tmp_path) <= 12 * KIB


def test_the_default_is_two_gibibytes():
    assert limit.LIMIT_BYTES == 2 << 30
