"""Sending from within the program: the same, as long as the program lives."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.lease import Lease, is_held
from crucible_trace_otel.ship.loop import ship_once
from crucible_trace_otel.ship.thread import ShipperThread
from tests.faults.collector import Misbehaving
from tests.ship_process.recording import Recorder, wait_for, write_segment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def collector() -> Iterator[Misbehaving]:
    with Misbehaving("ok") as running:
        yield running


def to(collector: Misbehaving) -> Destination:
    return Destination(f"{collector.http_endpoint}/v1/traces", timeout_s=2.0)


def test_it_sends_what_is_there_and_what_comes(tmp_path: Path, collector: Misbehaving) -> None:
    write_segment(tmp_path, 5)
    thread = ShipperThread(tmp_path, to(collector))
    try:
        with Recorder(tmp_path) as recorder:
            recorder.do("spans 7")
            assert collector.wait_for_spans(12)
        assert thread.is_alive()
    finally:
        assert thread.stop(5)
    assert not thread.is_alive()
    assert not is_held(tmp_path)


def test_it_waits_until_nobody_else_sends(tmp_path: Path, collector: Misbehaving) -> None:
    write_segment(tmp_path, 5)
    lease = Lease(tmp_path)
    assert lease.take()
    thread = ShipperThread(tmp_path, to(collector))
    try:
        time.sleep(0.5)
        assert not collector.spans()
        lease.release()
        assert collector.wait_for_spans(5)
    finally:
        assert thread.stop(5)


def test_a_forked_child_has_neither_thread_nor_lease_and_can_have_its_own(
    tmp_path: Path, collector: Misbehaving
) -> None:
    thread = ShipperThread(tmp_path, to(collector))
    assert wait_for(lambda: is_held(tmp_path))
    child = os.fork()
    if child == 0:
        own = ShipperThread(tmp_path, to(collector))
        ok = not thread.is_alive() and own.is_alive()
        wait_for(lambda: os.getppid() == 1, seconds=0.3)
        os._exit(0 if ok and own.stop(3) else 1)
    assert thread.stop(5)
    assert wait_for(lambda: not is_held(tmp_path), seconds=5)
    assert os.waitpid(child, 0)[1] == 0


def test_sending_once_says_whether_all_is_settled(tmp_path: Path, collector: Misbehaving) -> None:
    write_segment(tmp_path, 5)
    assert ship_once(tmp_path, to(collector), 5)
    assert len(collector.spans()) == 5
    assert ship_once(tmp_path, to(collector), 5)
    assert len(collector.spans()) == 5
    collector.behave("503")
    write_segment(tmp_path, 5, number=1)
    assert not ship_once(tmp_path, to(collector), 0.5)
    collector.behave("401")
    began = time.monotonic()
    assert not ship_once(tmp_path, to(collector), 30)
    assert time.monotonic() - began < 5  # trying again would not help
    collector.behave("400")
    assert ship_once(tmp_path, to(collector), 5)  # refused: settled too


def test_sending_once_does_not_wait_for_long_for_who_sends_already(tmp_path: Path, collector: Misbehaving) -> None:
    write_segment(tmp_path, 5)
    lease = Lease(tmp_path)
    assert lease.take()
    assert not ship_once(tmp_path, to(collector), 0.3)
    lease.release()


def test_sending_once_takes_what_a_living_writer_has_written(tmp_path: Path, collector: Misbehaving) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.do("spans 7")
        assert ship_once(tmp_path, to(collector), 5)
    assert len(collector.spans()) == 7


def test_with_nothing_there_it_is_done(tmp_path: Path, collector: Misbehaving) -> None:
    assert ship_once(tmp_path, to(collector), 5)
