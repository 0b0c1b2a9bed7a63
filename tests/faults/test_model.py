"""Processes record, fork, die and are corrupted in any order, beside a disk and a collector that fail in any way.

After each step: nothing that returned is missing, nothing is counted twice, nobody is shown what did not happen.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from crucible_trace_otel.journal.accounting import resend
from crucible_trace_otel.journal.kept import replaced
from crucible_trace_otel.journal.layout import ACKS, KEPT, SEGMENT, prefix_of
from crucible_trace_otel.journal.limit import enforce
from crucible_trace_otel.journal.recovery import recover, recover_dead
from tests.faults.disk import Killed
from tests.faults.ledger import Ledger, spoilt
from tests.faults.simulated import KINDS, Process, World
from tests.faults.simulated_sending import ANSWERS, Collector, Sender

if TYPE_CHECKING:
    from collections.abc import Callable

_SOAK = float(os.environ.get("CRUCIBLE_SOAK", "0"))
_MEMORY = Path("/dev/shm")  # a disk that syncs in no time
_MOST_PROCESSES = 4
_SETTLING = 40
_PAGE = 512
_LONG_AGO_S = 3_600
FAULTS = {
    "none": (None, ()),
    "full": (errno.ENOSPC, ("append", "write_all", "open_append")),
    "failing": (errno.EIO, ("append", "write_all", "open_append", "rename", "unlink", "fdatasync")),
    "no names": (errno.ENOSPC, ("open_append", "rename")),
    "no removing": (errno.EIO, ("unlink",)),
    "no reading": (errno.EIO, ("listdir", "read_from")),
    "slow": (None, ()),
}
which = st.integers(0, 5)
kinds = st.sampled_from(KINDS)
moment = st.just(-1) | st.integers(0, 15)
"""At which file operation a process dies; -1: at none."""
Move = tuple[str, Any]
move = st.one_of(
    st.tuples(st.just("start"), kinds),
    st.tuples(st.just("end"), which),
    st.tuples(st.just("change"), which),
    st.tuples(st.just("record"), st.tuples(kinds, st.integers(1, 5))),
    st.tuples(st.just("tick"), st.sampled_from([0.1, 1.5, 6.0])),
    st.tuples(st.just("rotate"), st.none()),
)
moves = st.lists(move, min_size=3, max_size=8)


class Journal(RuleBasedStateMachine):
    """A directory, and everybody who has to do with it."""

    @initialize(is_seen=st.booleans(), moves=moves)
    def begin(self, is_seen: bool, moves: list[Move]) -> None:
        place = _MEMORY if os.access(_MEMORY, os.W_OK) else None
        self.place = Path(tempfile.mkdtemp(dir=place))
        self.world = World(self.place / "journal")
        self.collector = Collector()
        self.ledger = Ledger(self.world, self.collector)
        self.sender: Sender | None = None
        self.step = 0
        self.is_sound, self.was_killed = True, False
        self.began = int(time.time()) - _LONG_AGO_S
        Process(self.world, is_seen=is_seen)
        self.work(0, moves)

    def teardown(self) -> None:
        if not hasattr(self, "world"):
            return
        try:
            if self.is_sound:
                self.settle()
        finally:
            if self.sender is not None:
                self.sender.kill()
            self.world.end()
            shutil.rmtree(self.place)

    def pick(self, index: int) -> Process:
        """One that lives; there is always one."""
        alive = self.world.alive or [Process(self.world, is_seen=index % 2 == 0)]
        return alive[index % len(alive)]

    def segments(self) -> list[Path]:
        return sorted(path for path in self.world.directory.glob(f"*{SEGMENT}") if path.name[0] != ".")

    # What processes do

    @precondition(lambda self: len(self.world.alive) < _MOST_PROCESSES)
    @rule(is_seen=st.booleans())
    def start_process(self, is_seen: bool) -> None:
        Process(self.world, is_seen=is_seen)

    @rule(index=which, moves=moves)
    def work(self, index: int, moves: list[Move]) -> None:
        process = self.pick(index)
        for what, how in moves:
            process.act(lambda what=what, how=how: process.do(what, how))

    @precondition(lambda self: len(self.world.alive) < _MOST_PROCESSES)
    @rule(index=which)
    def fork(self, index: int) -> None:
        child = self.pick(index).fork()
        assert child.journal.recorded == 0

    @rule(index=which, is_end=st.booleans())
    def close(self, index: int, is_end: bool) -> None:
        process = self.pick(index)
        if is_end or not process.is_seen:  # of one that goes on without a file only its pid tells that it lives
            process.act(process.exit)
            process.kill()
        else:
            process.act(process.journal.shutdown)

    # What happens to them

    @rule(index=which)
    def crash(self, index: int) -> None:
        self.pick(index).kill()

    @rule(index=which, number=st.integers(0, 9), part=st.integers(0, 60), what=which)
    def crash_within(self, index: int, number: int, part: int, what: int) -> None:
        process = self.pick(index)
        before = self.ledger.read()
        if what % 2:
            process.rotate()
        calls = (lambda: process.record("run", 2), lambda: process.tick(1.5), process.exit)
        self.was_killed = process.dies_within(number, part, calls[what // 2])
        if self.was_killed:
            self.ledger.was_killed(process, before)
        elif what // 2 == len(calls) - 1:
            process.kill()

    @rule(
        name=st.sampled_from(list(FAULTS)), part=st.integers(0, 60), index=which, moves=moves, is_healed=st.booleans()
    )
    def work_on_a_broken_disk(self, name: str, part: int, index: int, moves: list[Move], is_healed: bool) -> None:
        self.break_disk(name, part)
        self.work(index, moves)
        if is_healed:
            self.break_disk("none")

    def break_disk(self, name: str, part: int = 0) -> None:
        code, broken = FAULTS[name]
        disk = self.world.disk
        disk.slow_ns = 200_000_000 if name == "slow" else 0
        disk.takes = lambda data: data[:part]
        disk.fails = lambda _, operation: OSError(code, os.strerror(code)) if operation in broken else None

    @precondition(lambda self: self.step % 8 == 0)
    @rule(seed=st.integers(0, 2**32))
    def power_cut(self, seed: int) -> None:
        """Everybody is gone, and of what was not synced each page may be there, or zeros, or the end of the file."""
        chance = random.Random(seed)
        for process in self.world.alive:
            process.kill()
        self.lose_sender()
        for path in self.segments():
            status = path.lstat()
            synced = self.world.disk.synced.get(status.st_ino, 0)
            is_whole = not path.stem.rpartition("-")[2].isdigit() or prefix_of(path) == KEPT
            if is_whole or synced >= status.st_size:
                continue
            for start in range(synced, status.st_size, _PAGE):
                if chance.random() < 0.5:
                    self.spoil(path, start, min(start + _PAGE, status.st_size))
            self.cut(path, chance.randrange(synced, status.st_size + 1))

    # What happens to what they wrote

    @precondition(lambda self: self.closed_segments())
    @rule(index=which, at=st.integers(0, 10_000), length=st.integers(1, 40), is_cut=st.booleans())
    def corrupt(self, index: int, at: int, length: int, is_cut: bool) -> None:
        paths = self.closed_segments()
        path = paths[index % len(paths)]
        start = at % path.stat().st_size
        if is_cut:
            self.cut(path, start)
        else:
            self.spoil(path, start, start + length)

    def closed_segments(self) -> list[Path]:
        newest = {prefix_of(path): path for path in self.segments()}
        live = {path for prefix, path in newest.items() if self.world.is_alive(prefix)}
        if self.world.directory.is_dir() and any((self.world.directory / name).exists() for name in self.replaced()):
            live |= {path for path in newest.values() if prefix_of(path) == KEPT}  # two accidents at once
        return [path for path in self.segments() if path not in live and path.stat().st_size]

    def replaced(self) -> set[str]:
        with self.world.disk.healthy():
            return replaced(self.world.directory)

    def spoil(self, path: Path, start: int, stop: int) -> None:
        data = bytearray(path.read_bytes())
        changed = range(start, min(stop, len(data)))
        self.ledger.was_spoilt(list(spoilt(path, changed)))
        data[changed.start : changed.stop] = bytes(len(changed))
        path.write_bytes(data)

    def cut(self, path: Path, size: int) -> None:
        self.ledger.was_spoilt(list(spoilt(path, range(size, path.stat().st_size))))
        os.truncate(path, size)

    @rule(index=which, at=st.integers(0, 1_000), length=st.integers(1, 40), is_cut=st.booleans())
    def corrupt_acks(self, index: int, at: int, length: int, is_cut: bool) -> None:
        paths = sorted(self.world.directory.glob(f"*{SEGMENT}{ACKS}"))
        if not paths:
            return
        path = paths[index % len(paths)]
        data = bytearray(path.read_bytes())
        start = at % (len(data) + 1)
        stop = len(data) if is_cut else min(start + length, len(data))
        data[start:stop] = b"" if is_cut else bytes(0xFF ^ byte for byte in data[start:stop])
        path.write_bytes(data)

    # What others do about it

    def under_faults(self, call: Callable[[], object], number: int) -> None:
        """Do something that may say that the disk fails, or be killed at a file operation."""
        disk = self.world.disk
        disk.kill_at(number)
        try:
            with suppress(OSError, Killed):
                call()
        finally:
            self.was_killed = disk.revive()

    @rule(number=moment)
    def recover(self, number: int) -> None:
        if self.world.directory.is_dir():
            self.under_faults(lambda: recover_dead(self.world.directory), number)

    @rule(index=which)
    def recover_the_living(self, index: int) -> None:
        with self.world.disk.healthy():
            assert not self.world.directory.is_dir() or recover(self.world.directory, self.pick(index).prefix) == 0

    @rule(part=st.sampled_from([0.0, 0.3, 0.7]), number=moment)
    def limit(self, part: float, number: int) -> None:
        directory = self.world.directory
        if not directory.is_dir():
            return
        with self.world.disk.healthy():
            before = self.ledger.read()
        bound = int(part * sum(path.lstat().st_size for path in self.segments()))
        self.under_faults(lambda: enforce(directory, bound, is_alive=self.world.is_alive), number)
        with self.world.disk.healthy():
            self.ledger.was_limited(before)

    @rule(script=st.lists(st.sampled_from(ANSWERS), max_size=4), number=moment)
    def ship(self, script: list[str], number: int) -> None:
        self.sender = self.sender or self.new_sender()
        self.collector.script.extend(script)
        disk = self.world.disk
        disk.kill_at(number)
        try:
            self.sender.look()
            for _ in range(1 + len(script)):
                self.sender.send()
        except Killed:
            disk.is_gone, disk.fails = True, lambda *_: None
            self.lose_sender()
        finally:
            self.was_killed = disk.revive()
            self.collector.script.clear()

    def new_sender(self) -> Sender:
        with self.world.disk.healthy():
            return Sender(self.world.directory, self.collector)

    @rule()
    def lose_sender(self) -> None:
        if self.sender is not None:
            self.sender.kill()
            self.sender = None

    @rule()
    def resend(self) -> None:
        if self.world.directory.is_dir():
            with self.world.disk.healthy():
                self.ledger.was_resent = resend(self.world.directory) > 0 or self.ledger.was_resent

    # What holds

    @invariant()
    def everything_is_accounted_for(self) -> None:
        if hasattr(self, "world"):
            self.step += 1
            self.date_files()
            self.is_sound = False
            with self.world.disk.healthy():
                self.ledger.check()
            self.is_sound = True

    def date_files(self) -> None:
        """Times of files that are the same in each run, and so long ago that nobody waits for another sign of life."""
        for path in self.segments():
            if path.stat().st_mtime > self.began + self.step:
                os.utime(path, (self.began + self.step,) * 2)

    def settle(self) -> None:
        """The disk and the collector are healthy from now on, and everybody ends as they should."""
        self.break_disk("none")
        self.collector.script.clear()
        for process in self.world.alive:
            process.act(lambda process=process: process.tick(1.5))
            assert not process.waiting
            process.act(process.exit)
            process.kill()
        if not self.world.directory.is_dir():
            return
        recover_dead(self.world.directory)
        self.step += 1
        self.date_files()
        for _ in range(2):  # the second knows nothing but what is in the files
            self.sender = self.sender or self.new_sender()
            for _ in range(_SETTLING):
                self.sender.look()
                if self.sender.is_settled:
                    break
                self.sender.send()
            assert self.sender.is_settled
            self.lose_sender()
        self.ledger.check_end()


TestJournal = Journal.TestCase
TestJournal.settings = settings(
    max_examples=int(60 + 5_000 * _SOAK), stateful_step_count=60 if _SOAK else 30, deadline=None
)

WORK = [("start", "run"), ("record", ("plain", 2)), ("start", "plain"), ("tick", 1.5), ("record", ("run", 1))]
DYING: dict[str, Callable[[Journal, int, int], object]] = {
    "rotating": lambda journal, number, part: journal.crash_within(0, number, part, 1),
    "ticking": lambda journal, number, part: journal.crash_within(0, number, part, 3),
    "ending": lambda journal, number, part: journal.crash_within(0, number, part, 5),
    "recovering": lambda journal, number, part: journal.recover(number),
    "sending": lambda journal, number, part: journal.ship([], number),
    "limiting": lambda journal, number, part: journal.limit(0.0, number),
}


@pytest.mark.parametrize("part", [0, 50])
@pytest.mark.parametrize("what", list(DYING))
def test_p28_a_kill_before_any_file_operation_loses_nothing(what: str, part: int) -> None:
    for number in itertools.count():
        journal = Journal()
        journal.begin(is_seen=bool(number % 2), moves=WORK)
        if what in {"recovering", "sending", "limiting"}:
            journal.crash(0)
            journal.ship(["partial"], -1) if what == "limiting" else None
        DYING[what](journal, number, part)
        try:
            journal.everything_is_accounted_for()
        finally:
            journal.teardown()
        if not journal.was_killed:
            break
    assert number > 3


def test_p27_a_newest_segment_that_was_cut_short_does_not_hide_what_is_open() -> None:
    """It repeats what is open; where that is cut, older segments tell."""
    journal = Journal()
    journal.begin(is_seen=False, moves=[("start", "plain"), ("start", "plain"), ("start", "run")])
    rotating = [("rotate", None), ("start", "large"), ("end", 1), ("rotate", None), ("tick", 1.5), ("start", "run")]
    journal.work(index=3, moves=rotating)
    journal.power_cut(seed=0)
    journal.work_on_a_broken_disk(index=1, is_healed=False, moves=[("end", 3)], name="no reading", part=8)
    journal.corrupt(at=200, index=2, is_cut=True, length=36)
    journal.everything_is_accounted_for()
    journal.teardown()
