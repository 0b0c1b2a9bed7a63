"""The segment writer in real processes: permissions, forks, full disks, stolen descriptors, SIGKILL."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from crucible_trace_otel.journal.reader import read_directory
from tests.journal.otlp import names, segments
from tests.journal.process import run, start

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, umask and signals as POSIX has them")

SET_UP = """
import json, logging, os, sys, threading
from opentelemetry.sdk.trace import TracerProvider
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.errors import logger

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logger.addHandler(handler)
logger.propagate = False
journal = JournalSpanProcessor("journal")
provider = TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(journal)
tracer = provider.get_tracer("t")

def record(name, size=0):
    tracer.start_span(name, attributes={"filler": "x" * size}).end()

def tell(**more):
    print(
        json.dumps({"stored": journal.stored, "waiting": journal.waiting, "lost": journal.lost, "said": said, **more}),
        flush=True,
    )
"""


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("umask", ["0", "0o777", "0o022"])
def test_only_the_owner_reads_what_is_made(umask: str) -> None:
    """Also as a user who is not root: a directory without permissions would stop that one."""
    place = Path(tempfile.mkdtemp())
    try:
        code = f"""
import os, time, encodings.idna, linecache, traceback
from crucible_trace_otel.journal.segment import SegmentWriter
if os.getuid() == 0:
    os.chown(".", 65534, 65534)
    os.setgid(65534)
    os.setuid(65534)
os.umask({umask})
writer = SegmentWriter("some/where/journal")
writer.append_span(b"r", b"s", b"span")
"""
        run(code, place)
        journal = place / "some/where/journal"
        assert [mode(made) for made in (journal.parents[1], journal.parent, journal)] == [0o700] * 3
        assert [mode(segment) for segment in segments(journal)] == [0o600]
        assert len(read_directory(journal).spans) == 1
    finally:
        shutil.rmtree(place)


def test_many_processes_may_start_at_once(tmp_path: Path) -> None:
    code = """
    import os, sys, time
    from pathlib import Path
    from crucible_trace_otel.journal.files import make_private_directory
    until = float(sys.argv[1])
    for number in range(50):
        while time.time() < until + number * 0.01:
            pass
        make_private_directory(Path(f"a{number}/b/c"))
    """
    at = str(time.time() + 1.0)
    processes = [start(code, tmp_path, at) for _ in range(4)]
    assert [process.communicate(timeout=60)[1] for process in processes] == [""] * 4


def test_a_forked_child_has_a_file_of_its_own(tmp_path: Path) -> None:
    code = """
    record("before")
    open_span = tracer.start_span("open at the fork")
    children = []
    for number in range(3):
        pid = os.fork()
        if pid == 0:
            record(f"child {number}")
            record(f"child {number}")
            os._exit(0)
        children.append(pid)
    for pid in children:
        assert os.waitpid(pid, 0)[1] == 0
    record("after")
    open_span.end()
    print(os.getpid(), *children)
    """
    out, _ = run(SET_UP + "\n".join(line[4:] for line in code.splitlines()), tmp_path)
    parent, *children = out.split()
    by_pid = {path.name.split("-")[1]: path for path in segments(tmp_path / "journal")}
    assert sorted(by_pid) == sorted([parent, *children])
    content = read_directory(tmp_path / "journal")
    assert sorted(names(content.spans)) == sorted(
        ["before", "after", "open at the fork", *(f"child {number}" for number in range(3) for _ in range(2))]
    )
    assert {note["pid"] for note in content.notes} == {int(pid) for pid in by_pid}
    assert (content.damaged, content.torn) == (0, 0)


def test_a_fork_while_other_threads_write_locks_nobody_out(tmp_path: Path) -> None:
    code = """
stop = threading.Event()
def busy():
    while not stop.is_set():
        record("thread")
threads = [threading.Thread(target=busy) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(30):
    pid = os.fork()
    if pid == 0:
        record("child")
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
tell()
"""
    out, _ = run(SET_UP + code, tmp_path, PYTHONWARNINGS="ignore")
    content = read_directory(tmp_path / "journal")
    assert names(content.spans).count("child") == 30
    assert names(content.spans).count("thread") == json.loads(out)["stored"]
    assert (content.damaged, content.torn) == (0, 0)


FILL = """
for number in range(400):
    record(f"span {number}", 300)
"""


def test_a_limit_of_file_size_cuts_no_record_in_two(tmp_path: Path) -> None:
    code = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, resource.RLIM_INFINITY))
"""
    after = """
full = journal.waiting
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
record("room again")
journal.shutdown()
tell(full=full)
"""
    out, _ = run(SET_UP + code + FILL + after, tmp_path)
    told = json.loads(out)
    content = read_directory(tmp_path / "journal")
    assert told["full"] > 0
    assert (told["stored"], told["waiting"], told["lost"]) == (401, 0, 0)
    assert names(content.spans) == [*(f"span {number}" for number in range(400)), "room again"]
    assert (content.damaged, content.torn) == (0, 0)
    assert len(told["said"]) == 1
    assert "takes no records just now (File too large)" in told["said"][0]


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A real file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=64k", "tmpfs", place], check=False)
    if not made or made.returncode != 0:
        pytest.skip("no file system can be mounted here; the limit of file size above tests the same code")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_is_counted_and_said_once(small_disk: Path) -> None:
    out, _ = run(SET_UP + FILL + "tell()", small_disk)
    told = json.loads(out)
    content = read_directory(small_disk / "journal")
    assert told["waiting"] > 0
    assert told["stored"] + told["waiting"] == 400
    assert len(content.spans) == told["stored"] > 50
    assert (content.damaged, content.torn) == (0, 0)
    assert len(told["said"]) == 1
    assert "No space left" in told["said"][0]


def test_a_read_only_file_system_is_counted_and_said_once(small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    out, _ = run(SET_UP + FILL + "tell()", small_disk)
    told = json.loads(out)
    assert (told["stored"], told["waiting"], told["lost"]) == (0, 400, 0)
    assert len(told["said"]) == 1


def test_a_descriptor_closed_by_a_daemonizer_is_not_written_to(tmp_path: Path) -> None:
    """Its number goes to the user's next file."""
    code = """
record("before")
os.closerange(3, 256)
mine = [open(f"mine{number}", "w") for number in range(4)]
record("after")
journal.shutdown()
for file in mine:
    file.write("mine")
    file.close()
os.closerange(3, 256)
record("later")
os.closerange(3, 256)
journal.shutdown()
tell()
"""
    out, _ = run(SET_UP + code, tmp_path)
    assert json.loads(out) == {"stored": 3, "waiting": 0, "lost": 0, "said": []}
    assert [(tmp_path / f"mine{number}").read_text() for number in range(4)] == ["mine"] * 4
    assert sorted(names(read_directory(tmp_path / "journal").spans)) == ["after", "before", "later"]


@pytest.mark.parametrize("after", [0.0, 0.05, 0.2])
def test_a_killed_process_keeps_every_span_whose_end_returned(tmp_path: Path, after: float) -> None:
    code = """
number = 0
while True:
    record(f"span {number}", number % 700)
    os.write(1, b"span %d\\n" % number)
    number += 1
"""
    process = start(SET_UP + code, tmp_path)
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    ended = [first.strip(), *process.stdout.read().splitlines()]
    process.communicate()
    if not ended[-1][-1:].isdigit():
        ended.pop()
    content = read_directory(tmp_path / "journal")
    kept = names(content.spans)
    assert kept[: len(ended)] == ended
    assert len(kept) - len(ended) <= 1
    assert content.damaged == 0
    assert content.torn <= 1


def test_the_file_name_says_when_and_who(tmp_path: Path) -> None:
    out, _ = run(SET_UP + "record('one'); print(os.getpid())", tmp_path)
    (segment,) = segments(tmp_path / "journal")
    started, pid, chance, number = segment.stem.split("-")
    assert time.strptime(started, "%Y%m%dT%H%M%S")
    assert pid == out.strip()
    assert len(bytes.fromhex(chance)) == 4
    assert number == "0000"
    assert sys.platform != "win32"
