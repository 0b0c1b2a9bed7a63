"""What the shipper keeps through faults of the collector, of writers and of itself."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.journal.acks import Acks
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.reader import read_directory, segments_in, span_ids
from crucible_trace_otel.ship import launch, loop, watch
from crucible_trace_otel.ship.answers import Answer, Outcome
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.lease import Lease, is_held, lease_of
from crucible_trace_otel.ship.log import log_of
from crucible_trace_otel.ship.loop import Pace, Shipper
from crucible_trace_otel.ship.telling import state_of
from tests.faults.collector import Misbehaving
from tests.faults.collector_process import CollectorProcess
from tests.ship_process.recording import ROOT, Recorder, wait_for, write_segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seconds of back-off become hundredths."""
    monkeypatch.setattr(Pace, "RETRY_S", (0.01, 0.6))
    monkeypatch.setattr(Pace, "PAUSE_S", (0.6, 36.0))


@contextmanager
def shipping(directory: Path, port: int, *, timeout_s: float = 1.0) -> Iterator[Shipper]:
    """The loop, on a thread, for as long as the block takes."""
    destination = Destination(f"http://127.0.0.1:{port}/v1/traces", timeout_s=timeout_s)
    shipper = Shipper(directory, destination, owner=identity())
    stop = threading.Event()
    thread = threading.Thread(target=shipper.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield shipper
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def recorded_in(directory: Path) -> set[tuple[bytes, bytes]]:
    return {span_ids(stored.span) for stored in read_directory(directory).spans}


def named(collector: Misbehaving, name: str) -> int:
    """How many different spans of that name were taken: on a busy machine an answer may come too late."""
    return len({(span.trace_id, span.span_id) for span in collector.spans() if span.name == name})


def listing(directory: Path) -> str:
    """What the directory holds, for a failure's message."""
    return str([(path.name, path.stat().st_size) for path in sorted(directory.iterdir())])


def settled_in(directory: Path) -> int:
    total = 0
    for segment in segments_in(directory):
        acks = Acks(segment)
        acks.load()
        total += acks.sent + acks.refused
    return total


def test_p02_a_program_ends_at_once_whatever_the_collector_does(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from crucible_trace_otel.ship.destination import Destination;"
        "from crucible_trace_otel.ship.launch import start_process; import time; began = time.monotonic();"
        "assert start_process(Path(sys.argv[1]), Destination(sys.argv[2]), linger_s=0.0, limit_bytes=1 << 30);"
        "print(time.monotonic() - began)"
    )
    write_segment(tmp_path / "journal", 10)
    with Misbehaving("tarpit") as collector:
        command = [sys.executable, "-c", script, str(tmp_path / "journal"), f"{collector.http_endpoint}/v1/traces"]
        took = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=10).stdout
        assert float(took) < 1.0
        pid = holder_of(tmp_path / "journal")
        os.kill(pid, signal.SIGKILL)


def holder_of(directory: Path) -> int:
    """The pid of the process that has the lease."""
    assert wait_for(lambda: is_held(directory) and lease_of(directory).read_text())
    return int(json.loads(lease_of(directory).read_text())["pid"])


@pytest.mark.parametrize("sees_pids", [True, False])
def test_p10_the_end_of_a_killed_run_is_at_the_collector_within_two_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sees_pids: bool
) -> None:
    if not sees_pids:
        monkeypatch.setattr(watch, "pidfd_of", lambda _: None)
    took = []
    with Misbehaving("ok") as collector, shipping(tmp_path, collector.http_port):
        for attempt in range(1, 4):
            with Recorder(tmp_path) as recorder:
                recorder.do("open fit")
                recorder.do("spans 3")
                assert wait_for(lambda attempt=attempt: named(collector, "step") == 3 * attempt)
                time.sleep(0.3)
                recorder.kill()
                began = time.monotonic()
                assert wait_for(lambda attempt=attempt: named(collector, "fit") == attempt), listing(tmp_path)
                took.append(time.monotonic() - began)
        assert wait_for(lambda: named(collector, "training_run_interrupted") == 3)
    assert max(took) < 2.0, took


def test_p10_a_living_run_is_left_alone_and_one_that_said_closed_is_not_believed(tmp_path: Path) -> None:
    with Misbehaving("ok") as collector, shipping(tmp_path, collector.http_port), Recorder(tmp_path) as recorder:
        recorder.do("open fit")
        recorder.do("close")
        time.sleep(1.5)
        assert not collector.spans()
        recorder.kill()
        assert wait_for(lambda: named(collector, "fit"), seconds=2)


def test_p10_what_died_before_the_start_is_ended_by_it(tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.do("open fit")
    with Misbehaving("ok") as collector, shipping(tmp_path, collector.http_port):
        assert wait_for(lambda: named(collector, "fit"), seconds=2)


def test_p10_also_while_a_request_hangs_the_end_is_written(tmp_path: Path) -> None:
    with Misbehaving("tarpit") as collector, Recorder(tmp_path) as recorder:
        recorder.do("open fit")
        recorder.do("spans 1")
        with shipping(tmp_path, collector.http_port, timeout_s=4.0):
            time.sleep(0.7)
            recorder.kill()
            recovered = wait_for(lambda: any("-recovered" in path.name for path in segments_in(tmp_path)), seconds=2)
    assert recovered


def test_p13_a_collector_that_was_away_gets_everything(tmp_path: Path, fast: None) -> None:
    with Misbehaving("ok") as collector:
        port = collector.http_port
    with Recorder(tmp_path) as recorder, shipping(tmp_path, port):
        for _ in range(10):
            recorder.do("spans 50")
            time.sleep(0.05)
        with Misbehaving("ok", http_port=port) as back:
            assert back.wait_for_spans(500, seconds=10)
            recorder.do("spans 50")
            assert back.wait_for_spans(550, seconds=10)
            ids = {(span.trace_id, span.span_id) for span in back.spans()}
    assert ids == recorded_in(tmp_path)


def test_p13_after_an_hour_away_it_is_tried_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, now, waits = Pace(), 0.0, []
    while now < 3600:
        pace.heard(Answer(Outcome.RETRY), now)
        waits.append(pace.next_at - now)
        now = pace.next_at
    assert 0.75 <= waits[0] <= 1
    assert all(later > 1.2 * sooner for sooner, later in pairwise(waits[:5]))
    assert max(waits) < 60.001  # differences of floating-point numbers
    pace.heard(Answer(Outcome.TAKEN), now)
    assert pace.next_at == now
    pace.heard(Answer(Outcome.PAUSED), now)
    assert now + 45 <= pace.next_at <= now + 60
    for _ in range(100):
        pace.heard(Answer(Outcome.PAUSED), now)
    assert pace.next_at <= now + 3600
    pace.heard(Answer(Outcome.RETRY, retry_after_s=120), now)
    assert now + 120 <= pace.next_at <= now + 132
    pace.heard(Answer(Outcome.RETRY, retry_after_s=1e9), now)
    assert pace.next_at <= now + 3600


def test_p13_a_backlog_drains_at_ten_megabytes_a_second(tmp_path: Path) -> None:
    for number in range(5):
        write_segment(tmp_path, 5_000, number=number, size=1_000)
    size = sum(path.stat().st_size for path in segments_in(tmp_path))
    with CollectorProcess("ok") as collector:
        assert loop.ship_once(tmp_path, Destination(f"{collector.http_endpoint}/v1/traces"), 60)
        assert collector.count() == 25_000
        requests = collector.requests()
    assert all(request["packed"] <= 1 << 20 for request in requests)
    took = requests[-1]["at"] - requests[0]["at"]
    assert size / took > 10e6, (size, took)


def test_p14_a_slow_collector_gets_larger_requests_and_everything(tmp_path: Path) -> None:
    with Misbehaving("slow 0.4") as collector, Recorder(tmp_path) as recorder:
        with shipping(tmp_path, collector.http_port, timeout_s=5.0):
            for _ in range(20):
                recorder.do("spans 100")
                time.sleep(0.05)
            assert collector.wait_for_spans(2_000, seconds=15)
        sizes = [len(request.spans) for request in collector.requests()]
    assert max(sizes) > 500
    assert len(sizes) < 20


@pytest.mark.parametrize("fault", ["503", "429", "502", "504", "reset", "cut", "lost", "garbage", "tarpit"])
def test_p16_what_may_have_been_lost_is_sent_again_byte_for_byte(tmp_path: Path, fast: None, fault: str) -> None:
    write_segment(tmp_path, 20)
    with Misbehaving(fault, fault, "ok") as collector:
        with shipping(tmp_path, collector.http_port, timeout_s=0.3):
            assert wait_for(lambda: settled_in(tmp_path) == 20)
        bodies = {request.body for request in collector.requests() if request.body}
        assert len(collector.requests()) >= 3
        assert len(bodies) == 1
        assert {(span.trace_id, span.span_id) for span in collector.spans()} == recorded_in(tmp_path)


def test_p15_the_time_that_the_collector_asks_for_is_waited(tmp_path: Path, fast: None) -> None:
    write_segment(tmp_path, 5)
    with Misbehaving("503 retry-after=1", "ok") as collector, shipping(tmp_path, collector.http_port):
        assert collector.wait_for_spans(5)
        first, second = (request.at for request in collector.requests())
    assert 1.0 <= second - first < 2.5


@pytest.mark.parametrize("fault", ["401", "403", "404", "302", "html"])
def test_p17_a_destination_that_lets_nobody_in_holds_everything_until_the_next_start(
    tmp_path: Path, fault: str
) -> None:
    write_segment(tmp_path, 20)
    with Misbehaving(fault) as collector:
        with shipping(tmp_path, collector.http_port) as shipper:
            assert wait_for(lambda: shipper.pace.is_paused)
            time.sleep(0.3)
            assert len(collector.requests()) == 1
        assert settled_in(tmp_path) == 0
        assert len(log_of(tmp_path).read_text().splitlines()) == 1
        collector.behave("ok")
        with shipping(tmp_path, collector.http_port):
            assert collector.wait_for_spans(20)


def test_p21_a_shipper_that_is_killed_is_continued_by_the_next(tmp_path: Path) -> None:
    for number in range(2):
        write_segment(tmp_path, 6_000, number=number, size=1_000)
    with CollectorProcess("slow 0.05") as collector:
        destination = Destination(f"{collector.http_endpoint}/v1/traces")
        for _ in range(6):
            launch._started.clear()
            assert launch.start_process(tmp_path, destination, linger_s=60.0, limit_bytes=1 << 30)
            before = collector.count()
            pid = holder_of(tmp_path)
            wait_for(lambda before=before: collector.count() > before, seconds=5)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            assert wait_for(lambda: not is_held(tmp_path), seconds=2)
        assert loop.ship_once(tmp_path, destination, 60)
        received = {(bytes.fromhex(trace), bytes.fromhex(span)) for trace, span in collector.span_ids()}
        repeated = len(collector.spans()) - len(received)
    assert received == recorded_in(tmp_path)
    assert settled_in(tmp_path) == 12_000
    assert repeated <= 6 * 1_100  # one request of a mebibyte each


def test_p21_of_two_shippers_one_sends(tmp_path: Path) -> None:
    write_segment(tmp_path, 500)
    with Misbehaving("ok") as collector, shipping(tmp_path, collector.http_port):
        assert wait_for(lambda: is_held(tmp_path))
        assert not Shipper(tmp_path, Destination(f"{collector.http_endpoint}/v1/traces")).run(threading.Event())
        assert collector.wait_for_spans(500)
        time.sleep(0.3)
        assert len(collector.spans()) == 500


def test_p24_what_another_host_is_writing_is_left_to_it(tmp_path: Path) -> None:
    elsewhere = {"host": "elsewhere", "boot": "another"}
    fresh = write_segment(tmp_path, 3, writer="20260101T000000-1-aaaaaaaa", **elsewhere)
    left = write_segment(tmp_path, 4, writer="20260101T000000-1-bbbbbbbb", **elsewhere)
    old = time.time() - 40
    os.utime(left, (old, old))
    with Misbehaving("ok") as collector, shipping(tmp_path, collector.http_port):
        assert collector.wait_for_spans(4)
        time.sleep(1.2)
        assert len(collector.spans()) == 4
        assert is_held(tmp_path, "elsewhere")
        os.utime(fresh, (old, old))
        assert collector.wait_for_spans(7)
    assert not is_held(tmp_path, "elsewhere")


def test_p24_what_another_host_sends_itself_is_left_to_it_however_old(tmp_path: Path) -> None:
    left = write_segment(tmp_path, 4, host="elsewhere", boot="another")
    os.utime(left, (1, 1))
    lease = Lease(tmp_path, "elsewhere")
    assert lease.take()
    with Misbehaving("ok") as collector, shipping(tmp_path, collector.http_port):
        time.sleep(1.5)
        assert not collector.spans()
        lease.release()
        assert collector.wait_for_spans(4)


def test_p24_the_segments_of_many_writers_go_together(tmp_path: Path) -> None:
    for number in range(64):
        write_segment(tmp_path, 10, writer=f"20260101T000000-{number}-00000000")
    with Misbehaving("ok") as collector, shipping(tmp_path, collector.http_port):
        assert collector.wait_for_spans(640)
        assert len(collector.requests()) < 10


def test_p37_a_collector_that_stays_away_is_one_line(tmp_path: Path, fast: None) -> None:
    write_segment(tmp_path, 5)
    with Misbehaving("503") as collector, shipping(tmp_path, collector.http_port):
        assert wait_for(lambda: len(collector.requests()) >= 10)
    assert len(log_of(tmp_path).read_text().splitlines()) == 1


def test_p37_when_it_is_back_one_line_says_how_long_it_was_away_and_how_much_waited(tmp_path: Path, fast: None) -> None:
    write_segment(tmp_path, 5, size=400)
    with Misbehaving("503") as collector, shipping(tmp_path, collector.http_port):
        assert wait_for(lambda: state_of(tmp_path))
        waits = state_of(tmp_path)
        assert wait_for(lambda: len(collector.requests()) >= 5)
        assert state_of(tmp_path) == waits
        collector.behave("403")
        assert wait_for(lambda: state_of(tmp_path).state == "paused")
        assert state_of(tmp_path).since_ns == waits.since_ns
        assert "HTTP 403" in state_of(tmp_path).said
        collector.behave("ok")
        assert collector.wait_for_spans(5)
        assert wait_for(lambda: state_of(tmp_path).state == "sending")
    assert waits.state == "waiting"
    assert "HTTP 503" in waits.said
    assert state_of(tmp_path) is None  # nobody has the lease
    lines = [line.split(" ", 2)[2] for line in log_of(tmp_path).read_text().splitlines()]
    address = f"http://127.0.0.1:{collector.http_port}/v1/traces"
    assert [line.split(address)[1].split(" ", 3)[:3] for line in lines] == [
        ["", "does", "not"],
        ["", "is", "not"],
        ["", "is", "back"],
    ]
    assert re.fullmatch(rf"{address} is back after \d+\.\d s; 2\.\d kB had waited\.", lines[2])


def test_what_a_sender_that_is_gone_said_is_not_taken_for_the_state_of_the_next(tmp_path: Path) -> None:
    for content in ("", "[]", "{}", '{"pid": 1, "started": 1, "state": "paused", "since_ns": 1, "said": "x"}'):
        lease = Lease(tmp_path)
        assert lease.take()
        lease.path.with_suffix(".state").write_text(content)
        assert state_of(tmp_path) is None
        lease.release()


def test_a_directory_that_is_deleted_and_made_again_is_sent_from_again(tmp_path: Path, fast: None) -> None:
    directory = tmp_path / "journal"
    write_segment(directory, 5)
    with Misbehaving("ok") as collector, shipping(directory, collector.http_port):
        assert collector.wait_for_spans(5)
        directory.rename(tmp_path / "gone")
        time.sleep(0.5)
        write_segment(directory, 5)
        assert collector.wait_for_spans(10)
