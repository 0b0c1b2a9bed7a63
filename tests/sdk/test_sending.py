"""Sending by OTLP: what is acknowledged is counted, what is not is said, and no wait is longer than it was told."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.ship.answers import Answer, Outcome
from crucible_trace_otel.ship.claim import Claim
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.lease import Lease
from crucible_trace_otel.ship.log import ShipperLog
from crucible_trace_otel.ship.telling import Telling, state_of
from tests.backends.process import free_ports
from tests.journal.otlp import names
from tests.journal.process import run
from tests.sdk.answering import answering

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.backends.sink import Sink

PROTOCOLS = ["http/protobuf", "grpc"]
EXIT_S = 5.0  # two seconds are promised, the rest is for a machine that is busy with something else


def address(sink: Sink, protocol: str) -> str:
    return f"http://127.0.0.1:{sink.grpc_port if protocol == 'grpc' else sink.http_port}"


def record(number: int) -> None:
    for index in range(number):
        with crucible.stage(f"stage {index}"):
            pass


@contextmanager
def tarpit() -> Iterator[int]:
    """The port of somebody who takes every connection and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_flush_is_true_once_everything_is_acknowledged(sink: Sink, protocol: str) -> None:
    handle = crucible.configure(service_name="s", journal="j", endpoint=address(sink, protocol), protocol=protocol)
    record(1_200)
    report = handle.flush(30)
    assert report
    assert (report.recorded, report.stored, report.acknowledged, report.lost) == (1_200, 1_200, 1_200, 0)
    assert report.endpoint is not None
    assert report.endpoint.startswith(address(sink, protocol))
    assert len(sink.spans()) == 1_200
    assert {span.span_id for span in sink.spans()} == {
        type(sink.spans()[0]).FromString(stored.span).span_id for stored in read_directory("j").spans
    }
    record(3)
    handle.shutdown()
    report = handle.flush(30)  # another process goes on
    assert report
    assert report.acknowledged == len(sink.spans()) == 1_203


def test_headers_and_compression_reach_the_collector(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
    crucible.configure(journal=False, endpoint=sink.http_endpoint, headers={"x-key": "secret"})
    record(5)
    assert crucible.flush(30)
    assert len(sink.spans()) == 5
    assert {(headers["x-key"], headers["content-encoding"]) for headers in sink.headers()} == {("secret", "gzip")}


@pytest.mark.parametrize("timeout", [-1, 0, 0.2, float("inf")])
def test_flush_never_raises(sink: Sink, timeout: float) -> None:
    crucible.configure(journal=False, endpoint=sink.http_endpoint)
    record(1)
    assert isinstance(crucible.flush(timeout), crucible.Report)
    assert isinstance(crucible.shutdown(timeout), crucible.Report)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_flush_returns_in_time_and_false_when_nobody_answers(protocol: str, warned: list[str]) -> None:
    with tarpit() as port:
        handle = crucible.configure(journal="j", endpoint=f"http://127.0.0.1:{port}", protocol=protocol)
        record(10)
        before = time.monotonic()
        report = handle.flush(0.3)
        assert time.monotonic() - before < EXIT_S
        assert not report
        assert (report.recorded, report.stored, report.acknowledged) == (10, 10, 0)
        time.sleep(2.5)
        handle.shutdown(0.3)
    assert warned == [
        (
            f"10 of 10 spans wait in j to be sent to {report.endpoint}: another process goes on trying for 600 s, "
            "later `crucible-trace ship` sends them."
        ),
    ]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("status", [400, 413])
def test_what_is_refused_is_not_acknowledged(status: int, warned: list[str]) -> None:
    with answering(status) as (endpoint, _):
        handle = crucible.configure(journal=False, endpoint=endpoint)
        record(10)
        report = handle.flush(10)
        assert not report
        assert (report.recorded, report.acknowledged) == (10, 0)
        handle.shutdown()
    assert len(warned) == 2
    assert f"{endpoint}/v1/traces did not take spans at the first try" in warned[0]
    assert str(status) in warned[0]
    assert warned[1] == (
        f"10 of 10 spans were not acknowledged by {endpoint}/v1/traces; they are not kept anywhere else."
    )


SCRIPT = """
import os, sys, time
import crucible_trace_otel as crucible
endpoint, protocol, ship, seconds = sys.argv[1:]
crucible.configure(service_name="s", endpoint=endpoint, protocol=protocol, ship=ship)
for _ in range(20):
    with crucible.stage("a"):
        pass
time.sleep(float(seconds))
"""


def timed(code: str, place: Path, *arguments: str) -> tuple[str, float]:
    before = time.monotonic()
    _, complaints = run(code, place, *arguments, PYTHONWARNINGS="default")
    return complaints, time.monotonic() - before


@pytest.mark.parametrize("ship", ["process", "thread"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize("who", ["nobody", "tarpit"])
def test_p03_the_process_ends_soon_and_says_what_did_not_arrive(
    tmp_path: Path, who: str, protocol: str, ship: str
) -> None:
    _, without = timed(SCRIPT.replace("endpoint=endpoint, ", ""), tmp_path, "-", protocol, ship, "1.7")
    with tarpit() as port:
        at = port if who == "tarpit" else free_ports(1)[0]
        complaints, took = timed(SCRIPT, tmp_path, f"http://127.0.0.1:{at}", protocol, ship, "1.7")
    ours = [line for line in complaints.splitlines() if "wait in" in line]
    assert len(ours) == 1
    assert ours[0].startswith("20 of 20 spans wait in .crucible to be sent to")
    assert "`crucible-trace ship` sends them" in ours[0]
    assert "Traceback" not in complaints
    assert took - without < EXIT_S
    assert len(read_directory(tmp_path / ".crucible").spans) == 40


def test_the_end_does_not_tell_the_trouble_of_who_sends_elsewhere_and_has_to_leave(
    sink: Sink, tmp_path: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRUCIBLE_SHIP_LINGER", "1")
    directory, wrong = tmp_path / "j", Destination("http://127.0.0.1:9/wrong/v1/traces")
    elsewhere = Lease(directory, claim=Claim(wrong, since=1))
    assert elsewhere.take()
    Telling(directory, wrong.shown, ShipperLog(directory)).heard(Answer(Outcome.PAUSED, said="HTTP 404"), 9)
    assert state_of(directory) is not None
    handle = crucible.configure(journal=directory, endpoint=address(sink, "http/protobuf"))
    record(1)
    handle.shutdown(0.1)
    elsewhere.release()
    assert len(warned) == 1
    assert "was sent to http://127.0.0.1:9/wrong/v1/traces, as a program before this one said" in warned[0]


@pytest.mark.parametrize("ship", ["process", "thread"])
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_a_process_recorded_that_just_ended_arrives(sink: Sink, tmp_path: Path, protocol: str, ship: str) -> None:
    """Also on Python 3.12, which starts no thread once the interpreter is shutting down."""
    complaints, _ = timed(SCRIPT, tmp_path, address(sink, protocol), protocol, ship, "0")
    assert complaints == ""
    assert sink.wait_for_spans(20)
    assert len(sink.spans()) == 20


def test_a_digest_that_is_not_ready_does_not_hold_up_the_end(sink: Sink, tmp_path: Path) -> None:
    """The file is sparse and takes far longer to digest than the end may take."""
    code = """
    import os, sys
    import crucible_trace_otel as crucible
    crucible.configure(service_name="s", endpoint=sys.argv[1])
    with open("large", "wb") as file:
        os.truncate("large", 200 << 30)
    with crucible.training_run("r") as run:
        run.save_checkpoint("large")
    with open("small", "wb") as file:
        file.write(b"x")
    """
    _, took = timed(code, tmp_path, sink.http_endpoint)
    assert took < EXIT_S + 5
    stored = names(read_directory(tmp_path / ".crucible").spans)
    expected = ["checkpoint_save", "training_run", "training_run_started"]
    assert sink.wait_for_spans(3)
    assert sorted(stored) == sorted(span.name for span in sink.spans()) == expected


def test_a_small_digest_is_ready_at_the_end(tmp_path: Path) -> None:
    code = """
    import crucible_trace_otel as crucible
    crucible.configure(service_name="s")
    with crucible.training_run("r") as run:
        run.save_checkpoint("small", write=lambda path: open(path, "w").close())
    """
    run(code, tmp_path, PYTHONWARNINGS="ignore")
    (span,) = [
        span for span in crucible.open_store(tmp_path / ".crucible").latest().spans if span.name == "checkpoint_save"
    ]
    assert "crucible.checkpoint.sha256" in span.attributes


FORK = """
import os, sys
import crucible_trace_otel as crucible

def record(number):
    for _ in range(number):
        with crucible.stage("s"):
            pass

endpoint, protocol = sys.argv[1:]
"""
needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")


@needs_fork
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_forked_child_sends_and_counts_for_itself(sink: Sink, tmp_path: Path, protocol: str) -> None:
    """By a connection of its own: bytes of two processes mixed on one would be neither's."""
    code = """
handle = crucible.configure(service_name="s", endpoint=endpoint, protocol=protocol)
record(10)
assert handle.flush(30)
children = []
for _ in range(3):
    pid = os.fork()
    if pid == 0:
        for _ in range(10):
            record(20)
            report = handle.flush(30)
        right = report and report.recorded == report.stored == report.acknowledged == 200
        os._exit(0 if right else 1)
    children.append(pid)
for _ in range(10):
    record(20)
    report = handle.flush(30)
assert report and report.recorded == report.acknowledged == 210, report
assert [os.waitpid(pid, 0)[1] for pid in children] == [0, 0, 0]
"""
    run(FORK + code, tmp_path, address(sink, protocol), protocol, PYTHONWARNINGS="ignore")
    assert len(sink.spans()) == 810
    assert len({span.span_id for span in sink.spans()}) == 810
    assert len(read_directory(tmp_path / ".crucible").spans) == 810


@needs_fork
def test_a_forked_child_is_not_credited_with_what_its_parent_sent(sink: Sink, tmp_path: Path) -> None:
    code = """
handle = crucible.configure(service_name="s", endpoint=endpoint)
record(10)
assert handle.flush(30)
pid = os.fork()
if pid == 0:
    record(5)
    report = handle.flush(0.5)
    os._exit(0 if (report.recorded, report.stored) == (5, 5) and report.acknowledged in (0, 5) else 1)
assert os.waitpid(pid, 0)[1] == 0
"""
    run(FORK + code, tmp_path, sink.http_endpoint, "http/protobuf", PYTHONWARNINGS="ignore")


@needs_fork
def test_a_child_that_leaves_by_sys_exit_sends_its_own(sink: Sink, tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s", endpoint=endpoint)
record(3)
pid = os.fork()
if pid == 0:
    record(4)
    sys.exit(0)
assert os.waitpid(pid, 0)[1] == 0
"""
    run(FORK + code, tmp_path, sink.http_endpoint, "http/protobuf", PYTHONWARNINGS="ignore")
    assert sink.wait_for_spans(7)
    assert len(sink.spans()) == 7


@needs_fork
def test_configure_in_a_forked_child(sink: Sink, tmp_path: Path) -> None:
    code = """
record(1)
pid = os.fork()
if pid == 0:
    handle = crucible.configure(service_name="child", endpoint=endpoint, journal="child")
    record(2)
    os._exit(0 if handle.flush(30) else 1)
assert os.waitpid(pid, 0)[1] == 0
crucible.configure(service_name="parent", endpoint=endpoint, journal="parent")
record(3)
pid = os.fork()
if pid == 0:
    handle = crucible.configure(service_name="second child", endpoint=endpoint, journal="child")
    record(4)
    os._exit(0 if handle.flush(30) else 1)
assert os.waitpid(pid, 0)[1] == 0
"""
    run(FORK + code, tmp_path, sink.http_endpoint, "http/protobuf", PYTHONWARNINGS="ignore")
    assert len(read_directory(tmp_path / "child").spans) == 6
    assert len(read_directory(tmp_path / "parent").spans) == 3
    services: dict[str, int] = {}
    for received in sink.received():
        name = next(pair.value.string_value for pair in received.resource.attributes if pair.key == "service.name")
        services[name] = services.get(name, 0) + 1
    assert services == {"child": 2, "parent": 3, "second child": 4}
