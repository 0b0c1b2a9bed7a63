"""The newest configuration says where a directory is sent, whoever is killed on the way there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.journal import files
from crucible_trace_otel.ship import launch
from crucible_trace_otel.ship.claim import Claim
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.lease import NEXT, Lease, holder_of, is_held, lease_of
from crucible_trace_otel.ship.log import log_of
from tests.faults.collector import Misbehaving
from tests.ship_process.recording import ROOT, Recorder, wait_for, write_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")

SECRET = "Bearer 0123456789abcdef"
HERE = Destination("http://127.0.0.1:9/v1/traces", headers={"authorization": SECRET})
THERE = Destination("http://127.0.0.1:9/v1/traces", headers={"authorization": f"{SECRET}0"})
_OPERATIONS = ("open_append", "open_regular", "try_lock", "truncate", "write_all", "let_go", "make_private_directory")

_PROGRAM = """
import sys, time
import crucible_trace_otel as crucible
crucible.configure(service_name="s", journal=sys.argv[1], endpoint=sys.argv[2], headers={"authorization": sys.argv[3]})
for line in sys.stdin:
    with crucible.stage(line.strip()):
        pass
"""


@pytest.fixture(autouse=True)
def _none_started() -> None:
    launch._started.clear()


def sender(directory: Path, destination: Destination, since: int) -> None:
    assert launch.start_process(directory, destination, linger_s=30.0, limit_bytes=1 << 30, since=since)


def to(port: int) -> Destination:
    return Destination(f"http://127.0.0.1:{port}/v1/traces", headers={"authorization": SECRET}, timeout_s=2.0)


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    """A journal; whoever sends from it at the end of the test is ended."""
    journal = tmp_path / "journal"
    yield journal
    with suppress(ProcessLookupError, KeyError):
        os.kill(holder_of(journal)["pid"], signal.SIGTERM)
    assert wait_for(lambda: not is_held(journal))


def test_a_lease_says_where_to_and_nothing_of_the_headers(tmp_path: Path) -> None:
    lease = Lease(tmp_path, claim=Claim(HERE, 5))
    assert lease.take()
    holder = holder_of(tmp_path)
    lease.release()
    assert (holder["pid"], holder["to"], holder["since"]) == (os.getpid(), HERE.endpoint, 5)
    assert SECRET not in json.dumps(holder)
    assert Claim(HERE).is_the_same(holder)
    assert not Claim(THERE).is_the_same(holder)


@pytest.mark.parametrize(
    ("claim", "outranks", "gives_way"),
    [
        (Claim(THERE, 6), True, False),
        (Claim(THERE, 4), False, True),
        (Claim(THERE, 0), False, True),
        (Claim(HERE, 6), False, False),
        (Claim(HERE, 4), False, False),
    ],
)
def test_the_newer_of_two_destinations_counts(claim: Claim, outranks: bool, gives_way: bool) -> None:
    other = Claim(HERE, 5).written()
    assert (claim.outranks(other), claim.gives_way_to(other)) == (outranks, gives_way)
    for unknown in ({}, {"pid": 1}, {**other, "since": "5"}, {**other, "salt": 1}):
        assert not claim.outranks(unknown)
        assert not claim.gives_way_to(unknown)


def test_a_wrong_address_that_is_corrected_is_no_longer_used(directory: Path) -> None:
    write_segment(directory, 20)
    with Misbehaving("404") as wrong, Misbehaving("ok") as right, Recorder(directory) as recorder:
        sender(directory, to(wrong.http_port), 1)
        assert wait_for(wrong.requests)
        before = holder_of(directory)
        sender(directory, to(right.http_port), 2)
        assert right.wait_for_spans(20)
        recorder.do("spans 5")
        assert right.wait_for_spans(25)
        after = holder_of(directory)
        assert len(wrong.requests()) == 1
    assert after["pid"] != before["pid"]
    assert after["to"] == to(right.http_port).endpoint
    lines = log_of(directory).read_text().splitlines()
    leaves = [line for line in lines if "Leaves" in line]
    assert len(leaves) == 1
    assert f"process {after['pid']} sends what is recorded here to {after['to']}" in leaves[0]
    said = "".join(path.read_text("utf-8", "replace") for path in directory.iterdir())
    assert "0123456789abcdef" not in said


def test_a_request_that_is_under_way_is_ended_first_and_nothing_is_sent_by_two(directory: Path) -> None:
    write_segment(directory, 20)
    with Misbehaving("slow 1.0") as first, Misbehaving("ok") as second:
        sender(directory, to(first.http_port), 1)
        assert wait_for(lambda: holder_of(directory).get("since") == 1)
        time.sleep(0.3)
        sender(directory, to(second.http_port), 2)
        assert wait_for(lambda: holder_of(directory).get("since") == 2 or not is_held(directory))
        assert wait_for(lambda: len(first.spans()) + len(second.spans()) >= 20)
        time.sleep(0.5)
        assert len(first.spans()) + len(second.spans()) == 20


def test_a_program_of_older_settings_does_not_get_it_back(directory: Path) -> None:
    with Misbehaving("ok") as old, Misbehaving("ok") as new, Recorder(directory) as recorder:
        sender(directory, to(new.http_port), 2)
        assert wait_for(lambda: holder_of(directory).get("since") == 2)
        holder = holder_of(directory)
        sender(directory, to(old.http_port), 1)
        recorder.do("spans 5")
        assert new.wait_for_spans(5)
        time.sleep(1.5)
        assert holder_of(directory) == holder
        assert not old.requests()


def test_the_same_settings_again_change_nothing(directory: Path) -> None:
    with Misbehaving("ok") as collector, Recorder(directory) as recorder:
        sender(directory, to(collector.http_port), 1)
        assert wait_for(lambda: is_held(directory))
        holder = holder_of(directory)
        sender(directory, to(collector.http_port), 2)
        recorder.do("spans 5")
        assert collector.wait_for_spans(5)
        time.sleep(1.5)
        assert holder_of(directory) == holder


class Program:
    """A program that is configured with a collector and records a stage for each line it is told."""

    def __init__(self, directory: Path, endpoint: str, secret: str) -> None:
        command = [sys.executable, "-c", _PROGRAM, str(directory), endpoint, secret]
        pipes = {"stdin": subprocess.PIPE, "stderr": subprocess.PIPE}
        self._process = subprocess.Popen(command, cwd=ROOT, text=True, **pipes)

    def record(self, name: str) -> None:
        self._process.stdin.write(f"{name}\n")
        self._process.stdin.flush()

    def end(self) -> list[str]:
        """Have it end; what it complained about."""
        complaints = self._process.communicate(timeout=20)[1]
        assert self._process.returncode == 0
        return complaints.splitlines()


def test_of_two_living_programs_the_later_one_counts_and_each_says_so_once(directory: Path) -> None:
    with Misbehaving("ok") as one, Misbehaving("ok") as other:
        first = Program(directory, one.http_endpoint, "first-token")
        first.record("a")
        assert one.wait_for_spans(1)
        second = Program(directory, other.http_endpoint, "second-token")
        assert wait_for(lambda: holder_of(directory).get("to") == f"{other.http_endpoint}/v1/traces")
        second.record("b")
        assert other.wait_for_spans(1)
        for number in range(35):  # both look every five seconds who sends
            first.record(f"c {number}")
            time.sleep(0.2)
        first.record("d")
        assert wait_for(lambda: any(span.name == "stage d" for span in other.spans()))
        complaints = first.end(), second.end()
        assert len(one.spans()) == 1
    assert log_of(directory).read_text().count("Leaves") == 1
    assert [len(lines) for lines in complaints] == [1, 1]
    assert f"is sent to {other.http_endpoint}/v1/traces, no longer to {one.http_endpoint}/v1/traces" in complaints[0][0]
    assert f"was sent to {one.http_endpoint}/v1/traces" in complaints[1][0]


def test_when_the_later_one_was_killed_with_its_sender_the_living_one_sends(directory: Path) -> None:
    with Misbehaving("ok") as one:
        first = Program(directory, one.http_endpoint, "first-token")
        first.record("a")
        assert one.wait_for_spans(1)
        sender(directory, HERE, time.monotonic_ns())
        assert wait_for(lambda: holder_of(directory).get("to") == HERE.endpoint)
        os.kill(holder_of(directory)["pid"], signal.SIGKILL)
        first.record("b")
        assert one.wait_for_spans(2)
        first.end()


# ---- a kill at any instant ----


def forked(work: Callable[[], None], *, killed_at: int | None = None) -> int:
    """A process that does `work`, and is killed before its file operation `killed_at`."""
    child = os.fork()
    if child:
        return child
    with suppress(BaseException):
        if killed_at is not None:
            _kill_at(killed_at)
        work()
    os._exit(0)


def _kill_at(number: int) -> None:
    left = [number]

    def killing(operation: Callable[..., object]) -> Callable[..., object]:
        def call(*arguments: object, **options: object) -> object:
            if not left[0]:
                os.kill(os.getpid(), signal.SIGKILL)
            left[0] -= 1
            return operation(*arguments, **options)

        return call

    for name in _OPERATIONS:
        setattr(files, name, killing(getattr(files, name)))


def was_killed(child: int) -> bool:
    return os.WIFSIGNALED(os.waitpid(child, 0)[1])


def hold_until_wanted(directory: Path) -> None:
    lease = Lease(directory, claim=Claim(HERE, 1))
    assert lease.take()
    assert wait_for(lease.wanted_by)
    lease.release()


def take_over(directory: Path) -> None:
    assert Lease(directory, claim=Claim(THERE, 2)).take()
    time.sleep(0.05)


@pytest.mark.parametrize("who", ["who leaves", "who comes"])
def test_a_kill_at_any_instant_of_the_change_leaves_a_lease_that_can_be_taken(directory: Path, who: str) -> None:
    for at in range(400):  # how often it looks while it waits depends on the machine
        leaving = forked(lambda: hold_until_wanted(directory), killed_at=at if who == "who leaves" else None)
        wait_for(lambda: is_held(directory), seconds=10 if who == "who comes" else 0.3)
        coming = forked(lambda: take_over(directory), killed_at=at if who == "who comes" else None)
        killed = was_killed(coming if who == "who comes" else leaving)
        newest = Lease(directory, claim=Claim(Destination("http://127.0.0.1:9/newest"), 3))
        assert newest.take(5)
        assert not newest.wanted_by()
        newest.release()
        was_killed(leaving if who == "who comes" else coming)
        oldest = Lease(directory, claim=Claim(HERE, 1))
        assert oldest.take(5)  # nobody is left who wants it
        oldest.release()
        if not killed:
            break
    assert not killed
    assert at > 3
    assert not holder_of(directory, name=NEXT)
    assert lease_of(directory, name=NEXT).stat().st_mode & 0o777 == 0o600


def test_without_locks_the_change_goes_the_same_way(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "try_lock", lambda _: None)
    leaving = forked(lambda: hold_until_wanted(directory))
    assert wait_for(lambda: is_held(directory))
    assert not Lease(directory, claim=Claim(THERE, 0)).take(0)
    newer = Lease(directory, claim=Claim(THERE, 2))
    assert newer.take()
    assert not was_killed(leaving)
    newer.release()
