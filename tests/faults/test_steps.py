"""P9 for steps: a step whose call returned is there, whatever happens to the process and to the disk."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.reader import read_writers
from crucible_trace_otel.journal.recovery import recover_dead
from tests.journal.process import run, start

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and signals as POSIX has them")

SET_UP = """
import json, logging, os, signal, sys, threading, time
import crucible_trace_otel as crucible
from crucible_trace_otel.errors import logger

said = []
handler = logging.Handler()
handler.emit = lambda record: said.append(record.getMessage())
logger.addHandler(handler)
logger.propagate = False
"""
KILLED = (
    SET_UP
    + """
crucible.configure(service_name="s", ship="off")
way, step = sys.argv[1], 0
with crucible.training_run("run") as run:
    for epoch in run.epochs(1_000_000):
        record = epoch.step_recorder("loss", "tokens")
        for _ in range(730):
            if way == "position":
                record(step / 3, step)
            else:
                epoch.record_step(loss=step / 3, tokens=step)
            if way == "gradients":
                epoch.record_gradient(step / 7)
            os.write(1, b"%d\\n" % step)
            step += 1
"""
)


def rows_of(directory: Path, run_name: str = "run", event: str = "steps_recorded") -> list[dict[str, object]]:
    trace = crucible.open_store(directory).get(run_name)
    return [dict(row) for row in crucible.step_rows(trace, event).rows]


@pytest.mark.parametrize("way", ["name", "position", "gradients"])
@pytest.mark.parametrize("after", [0.0, 0.03, 0.2])
def test_p09_a_killed_process_keeps_every_step_that_returned(tmp_path: Path, way: str, after: float) -> None:
    process = start(KILLED, tmp_path, way)
    assert process.stdout is not None
    first = process.stdout.readline()
    time.sleep(after)
    process.send_signal(signal.SIGKILL)
    returned = [int(line) for line in (first + process.stdout.read()).split("\n")[:-1]]
    process.communicate()
    recover_dead(tmp_path / ".crucible")
    rows = rows_of(tmp_path / ".crucible")
    assert [row["step"] for row in rows][: len(returned)] == returned
    assert len(rows) - len(returned) in {0, 1}
    assert all((row["loss"], row["tokens"]) == (row["step"] / 3, row["step"]) for row in rows)
    if way == "gradients":
        gradients = rows_of(tmp_path / ".crucible", event="gradient_computed")
        assert len(gradients) - len(returned) in {0, 1}


def test_p09_a_killed_process_keeps_the_windows_of_its_own_policy_and_verbs(tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s", ship="off")
policy = crucible.WindowPolicy(rows=70, compact=True, plain_arrays=True)
with crucible.training_run("run", windows=policy) as run, run.epoch(0) as epoch:
    for step in range(250):
        epoch.record_step(loss=float("nan") if step == 100 else step / 3, tokens=step)
        epoch.process_batch(step, 32, loss=step / 3)
        epoch.compute_loss(step / 3, "train")
        epoch.record_metric(perplexity=step / 3)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start(SET_UP + code, tmp_path)
    process.communicate(timeout=60)
    recover_dead(tmp_path / ".crucible")
    rows = rows_of(tmp_path / ".crucible")
    assert [(row["step"], row["tokens"]) for row in rows] == [(step, step) for step in range(250)]
    assert [row["step"] for row in rows if row["loss"] != row["step"] / 3] == [100]
    for event, column in [
        ("batch_processed", "loss"),
        ("loss_computed", "loss.train"),
        ("metric_recorded", "perplexity"),
    ]:
        beside = rows_of(tmp_path / ".crucible", event=event)
        assert [(row["step"], row[column]) for row in beside] == [(step, step / 3) for step in range(250)]
    windows = [event for span in crucible.open_store(tmp_path / ".crucible").get("run").spans for event in span.events]
    formats = {
        event.attributes["crucible.window.series.formats"][0] for event in windows if event.name == "steps_recorded"
    }
    assert formats == {"i8", "i8z"}  # those that were closed, and what was open at the end


def test_p09_steps_that_are_no_numbers_are_at_most_a_second_old(tmp_path: Path) -> None:
    code = """
    crucible.configure(service_name="s", ship="off")
    with crucible.training_run("run") as run:
        for step in range(4):
            run.record_step(note=f"step {step}")
            time.sleep(0.6)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    process = start(SET_UP + "\n".join(line[4:] for line in code.splitlines()), tmp_path)
    process.communicate(timeout=60)
    recover_dead(tmp_path / ".crucible")
    assert [row["note"] for row in rows_of(tmp_path / ".crucible")][:3] == ["step 0", "step 1", "step 2"]


def test_p09_steps_that_wait_in_memory_are_kept_while_the_loop_stands_still(tmp_path: Path) -> None:
    code = """
from crucible_trace_otel.record.steps._windows import keep_what_waits
crucible.configure(service_name="s", ship="off")
with crucible.training_run("run") as run:
    run.record_step(note="first")
    run.record_step(note="second")
    time.sleep(1.1)
    keep_what_waits()
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start(SET_UP + code, tmp_path)
    process.communicate(timeout=60)
    recover_dead(tmp_path / ".crucible")
    assert [row["note"] for row in rows_of(tmp_path / ".crucible")] == ["first", "second"]


def test_p09_a_process_that_ends_with_an_open_run_leaves_its_steps_in_records(tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s", ship="off")
run = crucible.training_run("run").start()
for step in range(130):
    run.record_step(loss=float(step))
"""
    run(SET_UP + code, tmp_path)
    (writer,) = read_writers(tmp_path / ".crucible")
    assert writer.ring is None
    recover_dead(tmp_path / ".crucible")
    assert [row["loss"] for row in rows_of(tmp_path / ".crucible")] == list(range(130))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 1 MiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], check=False)
    if not made or made.returncode != 0:
        pytest.skip("no file system can be mounted here")
    yield place
    subprocess.run(["umount", place], check=True)


FILL = """
def fill(leaving=0):
    try:
        with open("filler", "ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))
    except OSError:
        os.truncate("filler", os.path.getsize("filler") - leaving)
"""


def test_p09_a_disk_that_fills_up_under_the_ring_kills_nobody(small_disk: Path) -> None:
    code = """
handle = crucible.configure(service_name="s", ship="off")
with crucible.training_run("run") as run:
    run.record_step(loss=0.0)
    fill()
    for step in range(1, 1_000):
        run.record_step(loss=float(step))
        run.record_gradient(float(step))
    os.unlink("filler")
print(json.dumps([handle.shutdown().lost, said]))
"""
    out, _ = run(SET_UP + FILL + code, small_disk)
    lost, said = json.loads(out)
    assert lost == 0
    assert not any("steps" in text for text in said)
    assert [row["loss"] for row in rows_of(small_disk / ".crucible")] == list(range(1_000))


def test_p09_where_there_is_no_room_for_the_ring_steps_are_kept_each_second_and_that_is_said(small_disk: Path) -> None:
    code = """
fill(leaving=100_000)
crucible.configure(service_name="s", ship="off")
with crucible.training_run("run") as run:
    for step in range(250):
        run.record_step(loss=float(step))
    time.sleep(1.0)
    run.record_step(loss=250.0)
    print(json.dumps(said), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start(SET_UP + FILL + code, small_disk)
    out, errors = process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL, errors
    (said,) = [text for text in json.loads(out) if "steps" in text]
    assert "stored each second" in said
    assert "No space left" in said
    (small_disk / "filler").unlink()
    recover_dead(small_disk / ".crucible")
    assert [row["loss"] for row in rows_of(small_disk / ".crucible")] == list(range(251))


@pytest.mark.parametrize("what", ["os.unlink(ring)", "os.rename(ring, 'elsewhere')", "os.closerange(3, 256)"])
def test_p09_a_ring_that_is_taken_away_stops_nobody(tmp_path: Path, what: str) -> None:
    code = f"""
import glob
crucible.configure(service_name="s", ship="off")
with crucible.training_run("run") as run:
    for step in range(50):
        run.record_step(loss=float(step))
    (ring,) = glob.glob(".crucible/*.ring")
    {what}
    mine = open("mine", "w")
    for step in range(50, 500):
        run.record_step(loss=float(step))
crucible.shutdown()
mine.write("mine")
mine.close()
"""
    run(SET_UP + code, tmp_path)
    assert (tmp_path / "mine").read_text() == "mine"
    assert [row["loss"] for row in rows_of(tmp_path / ".crucible")] == list(range(500))


def test_p09_a_forked_child_writes_to_a_ring_of_its_own(tmp_path: Path) -> None:
    code = """
crucible.configure(service_name="s", ship="off")
with crucible.training_run("run") as run:
    record = run.step_recorder("loss")
    for step in range(50):
        record(float(step))
    child = os.fork()
    if child == 0:
        for step in range(1_000, 1_150):
            record(float(step))
            run.record_step(loss=float(step + 1_000))
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    for step in range(50, 130):
        record(float(step))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    process = start(SET_UP + code, tmp_path)
    process.communicate(timeout=60)
    recover_dead(tmp_path / ".crucible")
    kept = sorted(
        row["loss"]
        for trace in crucible.open_store(tmp_path / ".crucible").traces()
        for row in crucible.step_rows(trace).rows
    )
    assert kept == [*range(130), *range(1_000, 1_150), *range(2_000, 2_150)]
