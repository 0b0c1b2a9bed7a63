"""Whether a writer lives: by its pid and start time where they can be compared, by its lock, by the age of its file."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.journal import files, liveness
from crucible_trace_otel.journal.liveness import SILENT_S, Life, identity, is_of_this_host, life_of, pidfd_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
ELSEWHERE = {"boot": "another", "host": "another"}


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "x-0000.segment"
    path.write_bytes(b"")
    return path


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"], stdout=-1
    ) as process:
        process.stdout.readline()
        yield process
        process.kill()


def note_of(pid: int) -> dict[str, object]:
    return {**identity(), "pid": pid, "started": liveness._start_in(liveness._stat_fields(str(pid))), "program": None}


def test_this_process_lives(segment: Path) -> None:
    assert identity()["pid"] == os.getpid()
    assert is_of_this_host(identity())
    assert life_of(identity(), segment) is Life.ALIVE


@linux
def test_a_process_is_alive_until_it_is_killed_also_while_nobody_asks_for_its_exit_code(
    segment: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    note = note_of(sleeper.pid)
    assert life_of(note, segment) is Life.ALIVE
    watched = pidfd_of(note)
    assert watched is not None
    try:
        assert not select.select([watched], [], [], 0)[0]
        sleeper.kill()
        assert select.select([watched], [], [], 5)[0]
        assert life_of(note, segment) is Life.DEAD  # a zombie
        sleeper.wait()
        assert life_of(note, segment) is Life.DEAD
        assert pidfd_of(note) is None
    finally:
        os.close(watched)


@linux
def test_another_process_with_the_same_pid_is_not_the_writer(segment: Path) -> None:
    note = {**identity(), "started": 1}
    assert life_of(note, segment) is Life.DEAD
    assert pidfd_of(note) is None


@linux
def test_a_living_pid_counts_more_than_a_lock_that_was_lost(segment: Path) -> None:
    assert life_of(identity(), segment) is Life.ALIVE  # nobody holds the lock


@linux
def test_in_another_container_of_this_kernel_the_lock_decides(segment: Path) -> None:
    note = {**identity(), "pid_namespace": "pid:[1]", "host": "another"}
    assert is_of_this_host(note)
    assert life_of(note, segment) is Life.DEAD
    assert pidfd_of(note) is None
    fd = files.open_append(segment)
    try:
        files.try_lock(fd)
        assert life_of(note, segment) is Life.ALIVE
    finally:
        os.close(fd)


@linux
def test_a_writer_from_before_this_boot_is_dead(segment: Path) -> None:
    note = {**identity(), "boot": "another"}
    os.utime(segment, (1, 1))
    assert life_of(note, segment) is Life.DEAD


@linux
def test_another_machine_of_the_same_name_is_not_taken_for_an_earlier_boot(segment: Path) -> None:
    assert life_of({**identity(), "boot": "another"}, segment) is Life.UNKNOWN  # its file was touched just now


def test_of_another_machine_the_age_of_the_file_decides(segment: Path) -> None:
    note = {**identity(), **ELSEWHERE}
    assert not is_of_this_host(note)
    assert life_of(note, segment) is Life.UNKNOWN
    old = time.time() - SILENT_S - 1
    os.utime(segment, (old, old))
    assert life_of(note, segment) is Life.DEAD
    fd = files.open_append(segment)
    try:
        files.try_lock(fd)
        assert life_of(note, segment) is Life.ALIVE
    finally:
        os.close(fd)


@linux
def test_where_there_are_no_locks_the_age_decides_too(segment: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "try_lock", lambda _: None)
    note = {**identity(), "pid_namespace": "pid:[1]"}
    assert life_of(note, segment) is Life.UNKNOWN
    os.utime(segment, (1, 1))
    assert life_of(note, segment) is Life.DEAD


@pytest.mark.parametrize(
    "note",
    [
        {},
        {"pid": "7"},
        {"pid": -1},
        {"pid": 2**40},
        {"pid": True},
        {"pid": None, "started": "x", "host": 7, "boot": []},
    ],
)
def test_a_damaged_note_says_nothing_and_raises_nothing(segment: Path, note: dict[str, object]) -> None:
    noted = {**identity(), **note} if note else note
    assert life_of(noted, segment) in {Life.UNKNOWN, Life.DEAD}
    assert pidfd_of(noted) is None
    assert life_of({}, segment.with_name("gone")) is Life.UNKNOWN


@linux
def test_a_process_that_is_reaped_while_it_is_looked_at_never_lives_again(segment: Path) -> None:
    for _ in range(20):
        with subprocess.Popen(["/bin/sleep", "60"]) as process:
            note = note_of(process.pid)
            watched = pidfd_of(note)
            assert watched is not None
            process.kill()
            select.select([watched], [], [], 5)
            os.close(watched)
            reaper = threading.Thread(target=process.wait)
            reaper.start()
            seen = {life_of(note, segment) for _ in range(50)}
            reaper.join()
        assert seen == {Life.DEAD}
