"""The process that sends: who started it is not troubled by it, and neither ends with the other."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from crucible_trace_otel.ship import __main__ as program
from crucible_trace_otel.ship import launch
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.lease import Lease, is_held, lease_of
from crucible_trace_otel.ship.log import log_of
from tests.faults.collector import Misbehaving
from tests.ship_process.recording import ROOT, Recorder, wait_for, write_segment

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

SECRET = "Bearer 0123456789abcdef"
_START = """
import sys
from pathlib import Path
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.launch import start_process
destination = Destination(sys.argv[2], headers={"authorization": "Bearer 0123456789abcdef"})
assert start_process(Path(sys.argv[1]), destination, linger_s=0.0, limit_bytes=1 << 30)
"""


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "journal"


@pytest.fixture(autouse=True)
def _none_started() -> None:
    launch._started.clear()


def holder_of(directory: Path) -> int:
    """The pid of the process that has the lease."""
    assert wait_for(lambda: is_held(directory) and lease_of(directory).read_text())
    return int(json.loads(lease_of(directory).read_text())["pid"])


def is_gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


@contextmanager
def started(directory: Path, endpoint: str, **fields: Any) -> Iterator[int]:
    """A shipper of this process; its pid. It is ended at the end."""
    destination = Destination(f"{endpoint}/v1/traces", **{"headers": {"authorization": SECRET}, **fields})
    assert launch.start_process(directory, destination, linger_s=0.0, limit_bytes=1 << 30)
    pid = holder_of(directory)
    try:
        yield pid
    finally:
        if not is_gone(pid):
            os.kill(pid, signal.SIGTERM)
            assert wait_for(lambda: is_gone(pid))


def test_it_is_nobodys_child_in_a_session_of_its_own_and_shows_no_secret(directory: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        with Misbehaving("ok") as collector, started(directory, collector.http_endpoint) as pid:
            process = Path(f"/proc/{pid}")
            stat = process.joinpath("stat").read_text().rpartition(")")[2].split()
            assert int(stat[1]) != os.getpid()
            assert int(stat[3]) not in {os.getsid(0), 0}
            assert process.joinpath("cwd").readlink() == Path("/")
            environment = process.joinpath("environ").read_text()
            assert SECRET not in environment + process.joinpath("cmdline").read_text()
            names = {entry.partition("=")[0] for entry in environment.split("\0") if entry}
            assert names <= {*launch._PASSED_ON, launch.MARK, "PWD", "SHLVL", "_", "OLDPWD"}
            opened = {entry.readlink() for entry in process.joinpath("fd").iterdir() if entry.is_symlink()}
            assert Path(f"/proc/self/fd/{write}").readlink() not in opened
            assert wait_for(lambda: "VmRSS" in process.joinpath("status").read_text())
            resident = int(process.joinpath("status").read_text().split("VmRSS:")[1].split()[0])
            assert resident < 64 << 10
        with suppress(ChildProcessError):  # no child at all, or one of another test that still runs
            assert os.waitpid(-1, os.WNOHANG) == (0, 0)
    finally:
        os.close(read)
        os.close(write)


def test_it_loads_the_standard_library_and_this_package_only() -> None:
    script = (
        "import runpy, sys; names = runpy.run_path(sys.argv[1], run_name='shipper'); names['_make_package_known']();"
        "import crucible_trace_otel.ship.loop, crucible_trace_otel.ship.http;"
        "print(*sorted({name.partition('.')[0] for name in sys.modules} - set(sys.stdlib_module_names)))"
    )
    command = [sys.executable, "-I", "-S", "-c", script, program.__file__]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout.split()
    assert set(loaded) <= {"crucible_trace_otel", "__main__"}


def test_by_grpc_it_finds_the_package_where_it_is_told_to(directory: Path) -> None:
    write_segment(directory, 3)
    found = importlib.util.find_spec("grpc")
    assert found is not None
    assert found.origin is not None
    with Misbehaving("ok") as collector:
        destination = Destination(
            f"http://{collector.grpc_endpoint}", protocol="grpc", paths=(str(Path(found.origin).parents[1]),)
        )
        assert launch.start_process(directory, destination, linger_s=0.0, limit_bytes=1 << 30)
        assert collector.wait_for_spans(3)
        assert {request.protocol for request in collector.requests()} == {"grpc"}


def test_files_of_the_working_folder_and_of_its_own_folder_are_not_imported(directory: Path, tmp_path: Path) -> None:
    for name in ("crucible_trace_otel.py", "http.py", "json.py", "sitecustomize.py"):
        (tmp_path / name).write_text(f"open({str(tmp_path / 'imported')!r}, 'w')")
    moved = f"import os; os.chdir({str(tmp_path)!r}); os.environ['PYTHONPATH'] = os.getcwd()\nassert start_process"
    write_segment(directory, 3)
    with Misbehaving("ok") as collector:
        start(directory, collector.http_endpoint, _START.replace("assert start_process", moved))
        assert collector.wait_for_spans(3)
    assert not (tmp_path / "imported").exists()


def start(directory: Path, endpoint: str, script: str = _START, **options: Any) -> subprocess.Popen[bytes]:
    """A program that starts a shipper, at its end unless `options` say otherwise."""
    process = subprocess.Popen(
        [sys.executable, "-c", script, str(directory), f"{endpoint}/v1/traces"], cwd=ROOT, **options
    )
    if not options:
        assert process.wait(20) == 0
    return process


def test_a_program_that_waits_for_its_children_until_there_is_none_ends(directory: Path) -> None:
    waits = "import os\ntry:\n    while True: os.wait()\nexcept ChildProcessError:\n    print('ended')\n"
    with Misbehaving("tarpit") as collector:
        write_segment(directory, 1)
        with start(directory, collector.http_endpoint, _START + waits, stdout=subprocess.PIPE) as process:
            assert process.stdout.read() == b"ended\n"
        wait_for(lambda: not is_held(directory), seconds=15)


def test_a_handler_of_sigchld_is_called_once_at_most(directory: Path) -> None:
    counted: list[int] = []
    before = signal.signal(signal.SIGCHLD, lambda number, _: counted.append(number))
    try:
        with Misbehaving("ok") as collector, started(directory, collector.http_endpoint):
            pass
    finally:
        signal.signal(signal.SIGCHLD, before)
    assert len(counted) <= 1


def test_where_children_are_reaped_by_the_system_it_starts_too(directory: Path) -> None:
    before = signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    try:
        with Misbehaving("ok") as collector, started(directory, collector.http_endpoint):
            pass
    finally:
        signal.signal(signal.SIGCHLD, before)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_to_the_process_group_of_the_program_leaves_it_alive(directory: Path, number: int) -> None:
    write_segment(directory, 1)
    waits = "print(flush=True)\nimport time; time.sleep(60)"
    with Misbehaving("503", "503", "ok") as collector:
        options = {"stdout": subprocess.PIPE, "start_new_session": True, "stderr": subprocess.DEVNULL}
        with start(directory, collector.http_endpoint, _START.replace("0.0", "30.0") + waits, **options) as process:
            process.stdout.readline()
            pid = holder_of(directory)
            os.killpg(process.pid, number)
            process.wait(10)
        assert not is_gone(pid)
        assert collector.wait_for_spans(1)
        assert wait_for(lambda: is_gone(pid))


def test_it_ends_when_no_writer_is_left_and_all_is_sent(directory: Path) -> None:
    with Misbehaving("ok") as collector:
        with Recorder(directory) as recorder:
            recorder.do("spans 20")
            start(directory, collector.http_endpoint)
            pid = holder_of(directory)
            assert collector.wait_for_spans(20)
            time.sleep(0.5)
            assert not is_gone(pid)  # the writer lives
            recorder.do("spans 5")
        assert wait_for(lambda: is_gone(pid), seconds=5)
        assert len(collector.span_ids()) == 25


def test_of_many_started_at_once_one_stays(directory: Path) -> None:
    write_segment(directory, 200)
    with Misbehaving("ok") as collector, started(directory, collector.http_endpoint) as pid:
        destination = Destination(f"{collector.http_endpoint}/v1/traces")
        for _ in range(3):
            assert launch.start_process(directory, destination, linger_s=0.0, limit_bytes=1 << 30)
        assert collector.wait_for_spans(200)
        time.sleep(1)
        assert holder_of(directory) == pid
        assert len(collector.spans()) == 200


@pytest.mark.parametrize("executable", ["", "/opt/app/trainer", "python3", "/nowhere/python3", None])
def test_a_program_that_is_no_python_starts_none(
    directory: Path, monkeypatch: pytest.MonkeyPatch, executable: str | None
) -> None:
    if executable is None:
        monkeypatch.setattr(sys, "frozen", True, raising=False)
    else:
        monkeypatch.setattr(sys, "executable", executable)
    assert not launch.start_process(directory, Destination("http://127.0.0.1:1"), linger_s=0.0, limit_bytes=1 << 30)
    assert not directory.exists()


def test_without_a_shell_or_a_directory_it_starts_none(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.parent.joinpath("file").write_text("")
    nowhere = directory.parent / "file" / "journal"
    assert not launch.start_process(nowhere, Destination("http://127.0.0.1:1"), linger_s=0.0, limit_bytes=1 << 30)
    monkeypatch.setattr(launch, "_SHELL", "/nowhere/sh")
    assert not launch.start_process(directory, Destination("http://127.0.0.1:1"), linger_s=0.0, limit_bytes=1 << 30)


def test_processes_that_do_not_stay_are_given_up(directory: Path) -> None:
    lease = Lease(directory)
    assert lease.take()  # so that each ends at once
    destination = Destination("http://127.0.0.1:1")
    results = [
        launch.start_process(directory, destination, linger_s=0.0, limit_bytes=1 << 30)
        for _ in range(launch._MOST_STARTS + 1)
    ]
    lease.release()
    assert results == [True] * launch._MOST_STARTS + [False]


def test_started_by_hand_it_says_what_to_do_instead() -> None:
    done = subprocess.run([sys.executable, "-I", program.__file__], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "crucible-trace ship" in done.stderr


def test_it_inherits_no_blocked_signals(directory: Path) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    try:
        with Misbehaving("ok") as collector, started(directory, collector.http_endpoint):
            pass  # ended by SIGTERM
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def test_a_secret_in_an_answer_does_not_reach_the_log(directory: Path) -> None:
    write_segment(directory, 1)
    with started(directory, "http://127.0.0.1:1", headers={"authorization": f"{SECRET}\n"}):
        wait_for(lambda: log_of(directory).read_text(), seconds=3)
    assert "0123456789abcdef" not in log_of(directory).read_text()


def test_threads_of_the_program_may_start_it_too(directory: Path) -> None:
    with Misbehaving("ok") as collector:
        write_segment(directory, 1)
        thread = threading.Thread(target=start, args=(directory, collector.http_endpoint))
        thread.start()
        thread.join()
        assert collector.wait_for_spans(1)
