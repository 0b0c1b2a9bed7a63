"""Many processes, one journal: forks of every kind, killed workers, sixty-four writers."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crucible_trace_otel.journal.reader import read_directory
from tests.journal.process import run

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals as POSIX has them")

SET_UP = """
import multiprocessing, os, signal, sys, threading, time
import crucible_trace_otel as crucible

def record(name):
    with crucible.stage(name):
        pass

def work(number, spans=50):
    for index in range(spans):
        record(f"{number}/{index}")
"""


def stored(folder: Path) -> Counter[str]:
    """How often each target of a stage is stored, in a journal without damage."""
    content = read_directory(folder / ".crucible")
    assert (content.damaged, content.torn, content.unreadable) == (0, 0, ())
    names = (Span.FromString(span.span).name for span in content.spans)
    return Counter(name.removeprefix("stage ") for name in names if not name.endswith("_started"))  # a busy machine's


def once(*names: str) -> Counter[str]:
    return Counter(names)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_p22_workers_of_multiprocessing_lose_and_repeat_nothing(tmp_path: Path, method: str) -> None:
    (tmp_path / "program.py").write_text(
        SET_UP
        + f"""
if {method!r} != "fork":
    crucible.configure(service_name="worker")
if __name__ == "__main__":
    if {method!r} == "fork":
        crucible.configure(service_name="worker")
    context = multiprocessing.get_context({method!r})
    with crucible.stage("around"):
        with context.Pool(4) as pool:
            pool.map(work, range(4))
        daemons = [context.Process(target=work, args=(number,), daemon=True) for number in range(4, 8)]
        for process in daemons:
            process.start()
        for process in daemons:
            process.join()
"""
    )
    run("import runpy; runpy.run_path('program.py', run_name='__main__')", tmp_path, PYTHONWARNINGS="ignore") if (
        method == "fork"
    ) else _program(tmp_path)
    expected = once("around", *(f"{number}/{index}" for number in range(8) for index in range(50)))
    assert stored(tmp_path) == expected


def _program(folder: Path) -> None:
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "program.py"], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_p22_a_child_that_leaves_by_exit_ends_nothing_of_its_parent(tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s")
with crucible.stage("around"):
    pid = os.fork()
    if pid == 0:
        record("child")
        sys.exit(0)
    os.waitpid(pid, 0)
    record("parent")
"""
    run(SET_UP + code, tmp_path)
    assert stored(tmp_path) == once("child", "parent", "around")


def test_p22_a_killed_worker_keeps_what_it_ended(tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s")
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    work(0)
    os.write(write, b"x")
    time.sleep(60)
os.read(read, 1)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
record("parent")
"""
    run(SET_UP + code, tmp_path)
    assert stored(tmp_path) == once("parent", *(f"0/{index}" for index in range(50)))


def test_p23_forks_while_threads_record_neither_hang_nor_lose(tmp_path: Path) -> None:
    """The quick form of a thousand forks; a fork of a fork too."""
    code = """
crucible.configure(service_name="s")
stop = threading.Event()
counts = [0, 0, 0]
def busy(thread):
    while not stop.is_set():
        record(f"thread {thread}")
        counts[thread] += 1
threads = [threading.Thread(target=busy, args=(number,)) for number in range(3)]
for thread in threads:
    thread.start()
for number in range(60):
    pid = os.fork()
    if pid == 0:
        record(f"child {number}")
        inner = os.fork()
        if inner == 0:
            record(f"grandchild {number}")
            os._exit(0)
        os._exit(os.waitpid(inner, 0)[1])
    assert os.waitpid(pid, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
print(*counts)
"""
    out, _ = run(SET_UP + code, tmp_path, PYTHONWARNINGS="ignore")
    counts = {f"thread {number}": int(count) for number, count in enumerate(out.split())}
    expected = once(*(f"{kind} {number}" for kind in ("child", "grandchild") for number in range(60)))
    assert stored(tmp_path) == expected + Counter(counts)


def test_p23_nothing_of_ours_is_left_open_in_a_child(tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s")
with crucible.training_run("digits") as training:
    training.record_step(loss=1.0)
    record("parent")
    pid = os.fork()
    if pid == 0:
        opened = [os.path.realpath(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd")]
        found = [path for path in opened if ".crucible" in path]
        os._exit(bool(found) * 2 + (threading.active_count() > 1))
    assert os.waitpid(pid, 0)[1] == 0
"""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("needs /proc")
    run(SET_UP + code, tmp_path)


def test_p24_sixty_four_processes_share_a_directory(tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s")
children = []
for number in range(64):
    pid = os.fork()
    if pid == 0:
        work(number)
        os._exit(0)
    children.append(pid)
assert [os.waitpid(pid, 0)[1] for pid in children] == [0] * 64
"""
    run(SET_UP + code, tmp_path)
    assert stored(tmp_path) == once(*(f"{number}/{index}" for number in range(64) for index in range(50)))
    assert len(list((tmp_path / ".crucible").glob("*.segment"))) == 64


def test_p05_threads_and_tasks_at_once_lose_nothing_and_keep_their_parents(tmp_path: Path) -> None:
    code = """
import asyncio
crucible.configure(service_name="s")
def burst(thread):
    with crucible.stage(f"thread {thread}"):
        work(thread, 50)
threads = [threading.Thread(target=burst, args=(number,)) for number in range(200)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
async def task(number):
    with crucible.stage(f"task {number}"):
        await asyncio.sleep(0)
        with crucible.stage(f"in task {number}"):
            await asyncio.sleep(0)
async def all_tasks():
    await asyncio.gather(*(task(number) for number in range(10_000)))
asyncio.run(all_tasks())
"""
    run(SET_UP + code, tmp_path)
    stored = (Span.FromString(span.span) for span in read_directory(tmp_path / ".crucible").spans)
    spans = [span for span in stored if not span.name.endswith("_started")]  # of those that took longer than a second
    assert len(spans) == len({span.span_id for span in spans}) == 200 * 51 + 20_000
    named = {span.span_id: span.name for span in spans}
    for span in spans:
        name = span.name.removeprefix("stage ")
        if name.startswith("in task "):
            assert named[span.parent_span_id] == f"stage {name.removeprefix('in ')}"
        elif "/" in name:
            assert named[span.parent_span_id] == f"stage thread {name.partition('/')[0]}"
