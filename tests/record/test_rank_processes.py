"""Four real processes of one run, each with a journal of its own; one of them is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.record._ids import ids_of_run
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.store import open_store
from crucible_trace_otel.trace.spans import group_into_traces, without_markers

if TYPE_CHECKING:
    from crucible_trace_otel.trace.spans import Trace, TraceSpan

ROOT = Path(__file__).parents[2]
WORLD = 4
PROGRAM = """
import os, signal, sys
import crucible_trace_otel as crucible

journal, killed = sys.argv[1:]
crucible.configure(service_name="trainer", journal=journal)
with crucible.training_run("digits", hyperparameters={"lr": 0.1}) as run:
    for epoch in run.epochs(2):
        for step in range(5):
            epoch.record_step(loss=1.0)
            epoch.aggregate_gradients(1.0, size=8)
        if epoch.index == 1 and os.environ["RANK"] == killed:
            os.kill(os.getpid(), signal.SIGKILL)
        with epoch.barrier("epoch end", participants=4):
            pass
"""


def start(journals: Path, rank: int, killed: int) -> subprocess.Popen[bytes]:
    own = {"RANK": str(rank), "WORLD_SIZE": str(WORLD), "CRUCIBLE_RUN_ID": "job-17"}
    environment = {**os.environ, **own, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-c", PROGRAM, str(journals / str(rank)), str(killed)], env=environment)


def read_all(journals: Path) -> Trace:
    """What all journals hold, as one trace."""
    found = [span for journal in journals.iterdir() for trace in open_store(journal).traces() for span in trace.spans]
    (trace,) = group_into_traces(without_markers(found))
    return trace


def tree(trace: Trace, span: TraceSpan) -> tuple[object, ...]:
    """A span with its rank and state, and what lies inside it, by rank and time."""
    inside = [one for one in trace.spans if one.parent_id == span.span_id]
    inside.sort(key=lambda one: (one.attributes[attr.CRUCIBLE_DISTRIBUTED_RANK], one.start_ns))
    said = span.attributes
    return (
        *(span.operation, said[attr.CRUCIBLE_DISTRIBUTED_RANK], said.get(attr.CRUCIBLE_RUN_STATE, "")),
        [tree(trace, one) for one in inside],
    )


def of_rank(rank: int, *, is_killed: bool) -> list[tuple[object, ...]]:
    """What a rank has recorded inside its run."""
    whole = ("epoch", rank, "", [("barrier", rank, "", [])])
    if not is_killed:
        return [whole, whole]
    of_run, of_epoch = (
        (f"{name}_interrupted", rank, "interrupted", []) for name in ("worker" if rank else "training_run", "epoch")
    )
    return [whole, ("epoch", rank, "interrupted", [of_epoch]), of_run]


@pytest.mark.skipif(os.name != "posix", reason="there are no signals that kill")
@pytest.mark.parametrize("killed", [2, 0])
def test_processes_of_a_run_are_one_tree_though_one_is_killed(tmp_path: Path, killed: int) -> None:
    processes = [start(tmp_path, rank, killed) for rank in range(WORLD)]
    codes = [process.wait(60) for process in processes]
    assert codes == [-signal.SIGKILL if rank == killed else 0 for rank in range(WORLD)]

    trace = read_all(tmp_path)
    states = ["interrupted" if rank == killed else "completed" for rank in range(WORLD)]
    workers = [("worker", rank, states[rank], of_rank(rank, is_killed=rank == killed)) for rank in range(1, WORLD)]
    (root,) = trace.roots
    found = tree(trace, root)
    assert found == ("training_run", 0, states[0], [*of_rank(0, is_killed=killed == 0), *workers])
    assert (int(trace.trace_id, 16), int(root.span_id, 16)) == ids_of_run("job-17")
    assert {span.resource.get(attr.HOST_NAME) for span in trace.spans} == {os.uname().nodename}
