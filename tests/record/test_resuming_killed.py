"""The example that is killed and goes on: real processes, SIGKILL at random steps, read back from the journal."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.record._ids import trace_id_of_run
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.store import open_store
from crucible_trace_otel.trace.steps import step_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from crucible_trace_otel.trace.spans import Trace, TraceSpan

pytest.importorskip("sklearn")
EXAMPLES = Path(__file__).parents[2] / "examples"
STEPS, A_CHECKPOINT = 285, 57
FORKING = """
import os, sys
sys.path.insert(0, sys.argv[1])
import training_resume
for line in sys.stdin:
    folder, *arguments = line.split()
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        sys.argv[1:] = arguments
        training_resume.main()
        sys.exit()
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""
"""Each line is a process of its own; what takes a second to import is imported once."""


class Programs:
    """Runs the example, one process after the other."""

    def __init__(self) -> None:
        command = [sys.executable, "-c", FORKING, str(EXAMPLES)]
        self._parent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def run(self, folder: Path, *arguments: str) -> int:
        """The exit code of the example, started in `folder`."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(" ".join([str(folder), *arguments]) + "\n")
        self._parent.stdin.flush()
        code = ""
        while not code.removeprefix("-").strip().isdecimal():  # what the example says comes before
            code = self._parent.stdout.readline()
            assert code, "the programs have ended"
        return int(code)

    def end(self) -> None:
        assert self._parent.stdin is not None
        self._parent.stdin.close()
        self._parent.wait(10)
        assert self._parent.stdout is not None
        self._parent.stdout.close()


@pytest.fixture(scope="module")
def programs() -> Iterator[Programs]:
    programs = Programs()
    yield programs
    programs.end()


def attempts_of(run: Trace) -> list[TraceSpan]:
    return [span for span in run.spans if span.operation == spans.TRAINING_RUN]


def assert_is_one_run_of_two_attempts(folder: Path, kill_at: int) -> None:
    """One run of two traces, linked; each step once; what was done again is what came after the checkpoint."""
    (run,) = open_store(folder / ".crucible").traces()
    killed, resumed = attempts_of(run)
    (run_id,) = run.run_ids
    assert [int(trace_id, 16) for trace_id in run.trace_ids] == [trace_id_of_run(run_id, n) for n in (0, 1)]
    assert [span.attributes[attr.CRUCIBLE_RUN_ATTEMPT] for span in (killed, resumed)] == [0, 1]
    assert [span.attributes[attr.CRUCIBLE_RUN_STATE] for span in (killed, resumed)] == ["interrupted", "completed"]
    links = [(link.type, link.trace_id, link.span_id) for link in resumed.links]
    assert links == [("resumed_from", killed.trace_id, killed.span_id)]
    saved = (kill_at - 1) // A_CHECKPOINT * A_CHECKPOINT  # the last step before the last checkpoint, and one more
    (load,) = (span for span in run.spans if span.operation == spans.CHECKPOINT_LOAD)
    saves = [
        span.span_id
        for span in run.spans
        if span.operation == spans.CHECKPOINT_SAVE and span.trace_id == killed.trace_id
    ]
    assert [(link.type, link.span_id) for link in load.links] == [("produced_by", saves[-1])]
    assert attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH not in load.attributes
    steps = step_rows(run)
    first, second = ([steps.rows[at] for at in attempt.rows] for attempt in steps.attempts)
    assert [row["step"] for row in first] == list(range(kill_at))
    assert [row["step"] for row in second] == list(range(saved, STEPS))
    assert steps.repeated == (0, kill_at - saved)
    assert [row["step"] for row in steps.latest().rows] == list(range(STEPS))
    again = {row["step"]: row["loss"] for row in first[saved:]}
    assert {row["step"]: row["loss"] for row in second if row["step"] in again} == again


@pytest.mark.parametrize("time", range(10))
def test_killed_at_any_step_and_started_again_it_is_one_run(programs: Programs, tmp_path: Path, time: int) -> None:
    kill_at = random.randint(1, STEPS)
    assert programs.run(tmp_path, "--kill-at", str(kill_at)) == -9, kill_at
    assert programs.run(tmp_path) == 0, kill_at
    assert_is_one_run_of_two_attempts(tmp_path, kill_at)
    left = sorted(path.name for path in (tmp_path / "demo-output").iterdir())
    assert left == ["resumed.npz", "resumed.npz.crucible.json"]


def test_killed_again_and_again_it_is_one_run(programs: Programs, tmp_path: Path) -> None:
    kills = sorted(random.sample(range(1, STEPS + 1), 4))
    for kill_at in kills:
        assert programs.run(tmp_path, "--kill-at", str(kill_at)) == -9, kills
    assert programs.run(tmp_path) == 0, kills
    (run,) = open_store(tmp_path / ".crucible").traces()
    assert len(run.run_ids) == 1
    assert [attempt.attributes[attr.CRUCIBLE_RUN_ATTEMPT] for attempt in attempts_of(run)] == [0, 1, 2, 3, 4]
    by_id = {attempt.span_id: attempt for attempt in attempts_of(run)}
    for attempt in list(by_id.values())[1:]:
        (link,) = attempt.links
        assert link.type == "resumed_from"
        assert by_id[link.span_id].trace_id == attempt.attributes[attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID]
    assert [row["step"] for row in step_rows(run).latest().rows] == list(range(STEPS)), kills
