"""A running program beside a collector that is away, slow, silent or picky: what it keeps, waits for and says."""

from __future__ import annotations

import json
import logging
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import crucible_trace_otel as crucible
from crucible_trace_otel import sdk
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal import ticking
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.sdk import _providers
from crucible_trace_otel.ship.log import log_of
from tests.backends.process import free_ports
from tests.cli.running import crucible_trace
from tests.faults.behaviours import REFUSAL
from tests.faults.collector import Misbehaving
from tests.faults.disk import Disk, full
from tests.journal.process import run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SET_UP = """
import json, sys, threading, time
import crucible_trace_otel as crucible
from crucible_trace_otel.ship.loop import Pace
from opentelemetry import trace
Pace.RETRY_S = 0.01, 0.02
"""
HTTP, GRPC = "http/protobuf", "grpc"


def record(number: int, name: str = "a") -> None:
    for _ in range(number):
        with crucible.stage(name):
            pass


@pytest.fixture(autouse=True)
def _nothing_configured_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    sdk.shutdown(0)
    sdk._current.clear()
    _providers._switches.clear()
    _providers._own.clear()


def stored(journal: Path) -> list[Span]:
    content = read_directory(journal)
    assert (content.damaged, content.torn) == (0, 0)
    return [Span.FromString(one.span) for one in content.spans]


@pytest.mark.parametrize("ship", ["process", "thread"])
@pytest.mark.parametrize("collector", ["nobody", "no such name", "tarpit", "slow 2", "reset", "503"])
def test_p02_whatever_the_collector_does_recording_uses_no_network_and_all_is_on_disk(
    tmp_path: Path, collector: str, ship: str
) -> None:
    """A call that opens, sends and receives nothing does not wait for anybody either."""
    code = """
calls = []
def listen(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.fork", "os.posix_spawn")) and recording:
        calls.append((threading.current_thread().name, event))
recording = False
sys.addaudithook(listen)
handle = crucible.configure(service_name="s", endpoint=sys.argv[1], ship=sys.argv[2])
record = crucible.stage("warm").start().stop()
recording = True
with crucible.training_run("run") as run:
    for step in range(500):
        run.record_step(loss=float(step))
    for _ in range(2_000):
        with crucible.stage("a"):
            pass
recording = False
report = handle.flush(0)
print(json.dumps([report.recorded, report.stored, report.lost, [one for one in calls if one[0] == "MainThread"]]))
"""
    with ExitStack() as stack:
        if collector == "nobody":
            endpoint = f"http://127.0.0.1:{free_ports(1)[0]}"
        elif collector == "no such name":
            endpoint = "http://collector.invalid:4318"
        else:
            endpoint = stack.enter_context(Misbehaving(collector)).http_endpoint
        variables = {"CRUCIBLE_SHIP_LINGER": "0", "OTEL_EXPORTER_OTLP_TIMEOUT": "0.5"}
        out, _ = run(SET_UP + code, tmp_path, endpoint, ship, **variables)
    recorded, kept, lost, calls = json.loads(out)
    names = [span.name for span in stored(tmp_path / ".crucible")]
    assert names.count("stage a") == 2_000
    assert "training_run" in names
    assert (recorded - kept, lost, calls) == (0, 0, [])
    assert len(crucible.step_rows(crucible.open_store(tmp_path / ".crucible").get("run")).rows) == 500


def configured(collector: Misbehaving, journal: Path, protocol: str = HTTP) -> crucible.Handle:
    endpoint = f"http://{collector.grpc_endpoint}" if protocol == GRPC else collector.http_endpoint
    return crucible.configure(
        service_name="s", journal=journal, endpoint=endpoint, protocol=protocol, ship="thread", console=False
    )


def test_p04_p25_what_waits_in_memory_is_not_acknowledged_until_the_disk_and_the_collector_have_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch)
    monkeypatch.setattr(ticking, "_SECOND", 0.02)
    with Misbehaving("ok") as collector:
        handle = configured(collector, tmp_path / "journal")
        disk.fails = full()
        record(50)
        report = handle.flush(0.1)
        assert not report
        assert (report.recorded, report.stored, report.lost, report.acknowledged) == (50, 0, 0, 0)
        disk.fails = lambda number, operation: None
        report = handle.flush(20)
        assert report
        assert (report.recorded, report.stored, report.lost, report.acknowledged) == (50, 50, 0, 50)
        assert collector.count() == 50
        handle.shutdown()


def test_a_journal_that_never_takes_anything_is_told_at_the_end_and_raises_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    disk = Disk(monkeypatch)
    monkeypatch.setattr(ticking, "_SECOND", 0.005)
    handle = crucible.configure(
        service_name="s", journal=tmp_path / "j", endpoint="http://127.0.0.1:9", ship="off", console=False
    )
    disk.fails = full()
    record(10)
    assert not handle.flush(0.1)
    report = handle.shutdown()
    assert (report.recorded, report.stored, report.lost) == (10, 0, 10)
    assert warned[-1] == f"10 of 10 spans could not be stored in {tmp_path / 'j'}."
    disk.fails = lambda number, operation: None


@pytest.mark.parametrize(("behaviour", "refused"), [("partial 3", 3), ("400", 50), ("500", 50)])
@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_p17_p19_what_is_refused_is_said_once_and_never_taken_for_sent(
    tmp_path: Path, warned: list[str], behaviour: str, refused: int, protocol: str
) -> None:
    with Misbehaving(behaviour) as collector:
        handle = configured(collector, tmp_path, protocol)
        record(50)
        report = handle.flush(20)
        requests = len(collector.requests())
        assert not report
        assert (report.acknowledged + report.refused, report.lost) == (50, 0)
        # Each request of a partial success may have refused three.
        assert report.refused == (refused if behaviour != "partial 3" else 3 * requests)
        handle.shutdown()
        assert len(collector.requests()) == requests  # not repeated
    assert len(warned) == 1
    assert f"{report.refused} of 50 spans were refused by {report.endpoint}" in warned[0]
    assert log_of(tmp_path).read_text().count(REFUSAL) in (0, 1)
    status = crucible_trace("status", "--journal", tmp_path).stdout
    assert REFUSAL in status
    assert len([span for span in stored(tmp_path) if span.name == "stage a"]) == 50


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_p18_a_program_whose_span_is_too_large_delivers_all_and_says_little(
    tmp_path: Path, warned: list[str], protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRUCIBLE_TEXT_LIMIT", "off")
    with Misbehaving("limit 1000000") as collector:
        handle = configured(collector, tmp_path, protocol)
        with crucible.stage("large", config={"prompt": "x" * 5_000_000}):
            pass
        record(100)
        assert handle.flush(30)
        names = {span.name for span in collector.spans()}
        assert collector.count() == 101
        handle.shutdown()
    assert names == {"stage large", "stage a"}
    assert warned == []
    assert not log_of(tmp_path).exists() or len(log_of(tmp_path).read_text().splitlines()) <= 3
    assert max(span.ByteSize() for span in stored(tmp_path)) > 5_000_000


@pytest.mark.parametrize("protocol", [HTTP, GRPC])
def test_p20_a_program_whose_first_span_can_never_be_sent_delivers_the_rest(tmp_path: Path, protocol: str) -> None:
    with Misbehaving("poison stage poison") as collector:
        handle = configured(collector, tmp_path, protocol)
        record(1, "poison")
        record(1_000)
        report = handle.flush(30)
        assert (report.acknowledged, report.refused, collector.count()) == (1_000, 1, 1_000)
        assert len(collector.requests()) <= 40
        assert {span.name for span in collector.spans()} == {"stage a"}


@pytest.mark.parametrize("behaviour", ["503", "nobody"])
def test_p37_a_collector_that_is_away_for_long_costs_a_line_at_the_end(tmp_path: Path, behaviour: str) -> None:
    """As many attempts in a second or two as in an hour; nothing on standard output."""
    code = """
import crucible_trace_otel.ship.loop as loop
attempts = 0
class Counted(Pace):
    def heard(self, answer, now):
        global attempts
        attempts += 1
        super().heard(answer, now)
loop.Pace, loop._IDLE_S = Counted, 0.01
crucible.configure(service_name="s", endpoint=sys.argv[1], ship="thread")
until = time.monotonic() + 30
while attempts < 60 and time.monotonic() < until:
    with crucible.stage("a"):
        time.sleep(0.001)
assert attempts >= 60, attempts
"""
    with Misbehaving("503") as collector:
        endpoint = collector.http_endpoint if behaviour == "503" else f"http://127.0.0.1:{free_ports(1)[0]}"
        out, said = run(SET_UP + code, tmp_path, endpoint)
    assert out == ""
    (line,) = said.splitlines()
    assert "spans wait in .crucible to be sent" in line
    assert len(log_of(tmp_path / ".crucible").read_text().splitlines()) == 1


def test_p37_a_log_handler_that_records_what_it_hears_makes_no_loop(tmp_path: Path) -> None:
    class Recording(logging.Handler):
        heard = 0

        def emit(self, _: Any) -> None:
            Recording.heard += 1
            with crucible.stage("a"):
                warn_once("loop within", "said while something that was said is recorded")

    handler = Recording()
    logging.getLogger().addHandler(handler)
    try:
        with Misbehaving("400") as collector:
            handle = configured(collector, tmp_path)
            crucible.stage("a", depends_on="nobody").start().stop()
            handle.flush(10)
            handle.shutdown()
    finally:
        logging.getLogger().removeHandler(handler)
    assert 1 <= Recording.heard <= 6
