"""`show --follow` on a process that really records."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from hashlib import sha256
from typing import TYPE_CHECKING

import pytest

from tests.cli.running import ROOT, crucible_trace, program

if TYPE_CHECKING:
    from pathlib import Path

PROGRAM = """
import sys, time
from pathlib import Path
import crucible_trace_otel as crucible

crucible.configure(service_name="trainer", journal=sys.argv[1], ship="off")
go_on = Path(sys.argv[2])

with crucible.training_run("digits", run_id="monday") as run:
    for epoch in run.epochs(3):
        for step in range(250):
            epoch.record_step(loss=1 / (1 + 250 * epoch.index + step))
        if epoch.index == 1:
            abnormal = {"crucible.abnormal.kind": "spike", "crucible.abnormal.column": "loss"}
            epoch.span.add_event("step_abnormal", {"crucible.training.step.index": 251, **abnormal})
        if epoch.index == 0:
            print("recording", flush=True)
            while not go_on.exists():  # until somebody looks
                epoch.record_step(loss=0.5)
                time.sleep(0.01)
        epoch.record_validation(accuracy=0.5 + epoch.index / 10)
        run.save_checkpoint(sys.argv[1] + ".pt", write=lambda path: Path(path).write_text("weights"), best=True)
        time.sleep(1.2 if epoch.index else 0)
"""


@pytest.fixture
def recording(tmp_path: Path):
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "j"), str(tmp_path / "go")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        assert process.stdout.readline() == "recording\n"
        yield process
        process.kill()


def follow(tmp_path: Path) -> subprocess.Popen[str]:
    command = [
        sys.executable,
        "-m",
        "crucible_trace_otel.cli",
        "show",
        "monday",
        "--follow",
        "--journal",
        tmp_path / "j",
    ]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    )


def read_until(following: subprocess.Popen[str], beginning: str) -> list[str]:
    lines: list[str] = []
    while not lines or not lines[-1].startswith(beginning):
        lines.append(following.stdout.readline())
        assert lines[-1], lines
    return [line.rstrip("\n") for line in lines]


def test_a_run_is_followed_until_it_has_completed(tmp_path, recording):
    with follow(tmp_path) as following:
        begun = read_until(following, "step ")
        (tmp_path / "go").touch()
        rest, errors = following.communicate(timeout=30)
    assert (following.returncode, errors) == (0, "")
    assert begun[0].startswith("digits  running at step ")
    assert begun[1].startswith("run monday, started ")
    lines = rest.splitlines()
    assert [line for line in lines if line.startswith("validation")] == [
        f"validation  epoch {index}: accuracy 0.{5 + index}" for index in range(3)
    ]
    assert [line.split("  ")[0] for line in lines if line.startswith("epoch")] == ["epoch 0", "epoch 1", "epoch 2"]
    assert lines.count("abnormal  step 251, epoch 1  spike  loss") == 1
    saved, *others = (line for line in lines if line.startswith("checkpoint"))
    assert len(others) == 2
    digest = sha256(b"weights").hexdigest()[:8]
    assert f", epoch 0  {tmp_path / 'j'}.pt  7 B  sha256 {digest}  best" in saved
    assert [line for line in lines if line.startswith("step ")]
    assert lines[-2].startswith("completed, after ")
    assert lines[-1].startswith("verdict: completed after 3 epochs; ")


def test_a_killed_run_ends_the_watch(tmp_path, recording):
    with follow(tmp_path) as following:
        read_until(following, "step ")
        recording.send_signal(signal.SIGKILL)
        rest, errors = following.communicate(timeout=30)
    assert (following.returncode, errors) == (1, "")
    assert rest.splitlines()[-1].startswith("interrupted at step ")
    assert [line for line in rest.splitlines() if line.startswith("epoch 0") and "✗ interrupted" in line]


def test_ctrl_c_ends_the_watch_and_not_the_run(tmp_path, recording):
    with follow(tmp_path) as following:
        read_until(following, "step ")
        following.send_signal(signal.SIGINT)
        _, errors = following.communicate(timeout=30)
    assert (following.returncode, errors) == (1, "Interrupted; the run goes on.\n")
    assert recording.poll() is None


def test_in_a_terminal_the_last_step_stands_in_one_line(tmp_path, recording):
    command = [sys.executable, "-m", "crucible_trace_otel.cli", "show", "--follow", "--journal", str(tmp_path / "j")]
    terminal, inside = os.openpty()
    with subprocess.Popen(command, stdout=inside, cwd=ROOT) as following:
        os.close(inside)
        told = b""
        while told.count(b"\r\x1b[Kstep ") < 2:
            told += os.read(terminal, 1_000)
        following.send_signal(signal.SIGINT)
    os.close(terminal)
    assert following.returncode == 1
    assert b"\nstep " in told  # the first of them


def test_a_run_that_has_ended_is_told_and_left(journal):
    told = crucible_trace("show", "run-1", "--follow", "--journal", journal)
    assert (told.exit_code, told.stderr) == (0, "")
    assert told.stdout.splitlines()[0] == "digits  completed, 1 failed inference"
    assert told.stdout.splitlines()[-1] == "completed, 1 failed inference, after 9 s"


def test_what_cannot_be_followed_together_is_refused(journal):
    refused = crucible_trace("show", "--follow", "--json", "--journal", journal)
    assert refused.exit_code == 2
    assert "--follow takes none of" in refused.stderr
    assert program("show", "no such run", "--follow", "--journal", journal).returncode == 1
