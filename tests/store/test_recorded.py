"""What the recorder really wrote, read back: also while it still writes, and after it was killed."""

import subprocess
import sys
from pathlib import Path

import crucible_trace_otel as crucible
from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.store import open_store
from crucible_trace_otel.trace.causality import causes
from crucible_trace_otel.trace.steps import step_rows

ROOT = Path(__file__).parents[2]

PROGRAM = """
import os, sys
import crucible_trace_otel as crucible
from crucible_trace_otel import open_store

journal = sys.argv[1]
crucible.configure(service_name="tests", journal=journal, console=False)
with crucible.pipeline("digits"):
    with crucible.reasoning_chain("which model?") as chain:
        choice = chain.form_hypothesis("softmax is enough", confidence=0.6)
    with crucible.training_run("softmax", run_id="run-7", depends_on=[choice]) as run:
        for epoch in run.epochs(2):
            for step in range(150):
                epoch.record_step(loss=1 / (1 + step), note="odd" if step == 3 else "even", count=step)
                epoch.record_gradient(2.5)
            epoch.record_validation(accuracy=0.5)
            print(len(open_store(journal).latest().spans), flush=True)
        if sys.argv[2] == "kill":
            os._exit(9)
"""


def recorded(directory, end):
    command = [sys.executable, "-c", PROGRAM, str(directory), end]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_recorded_run_is_read_back_whole(tmp_path):
    done = recorded(tmp_path / "journal", "well")
    assert (done.returncode, done.stderr) == (0, "")
    # Read by the recording program itself at the end of each epoch's body, with the pipeline, run and epoch still open.
    assert [int(line) for line in done.stdout.split()] == [6, 8]
    store = open_store(tmp_path / "journal")
    trace = store.get("run-7")
    assert trace == store.get("softmax") == store.latest()
    steps = step_rows(trace)
    assert (len(steps.rows), steps.missing) == (300, 0)
    assert steps.columns == ("step", "time_ns", "epoch", "loss", "note", "count")
    assert [row["step"] for row in steps.rows] == list(range(300))
    assert [row["epoch"] for row in steps.rows] == [0] * 150 + [1] * 150
    row = {key: value for key, value in steps.rows[153].items() if key != "time_ns"}
    assert row == {"epoch": 1, "step": 153, "loss": 0.25, "note": "odd", "count": 3}
    assert [row["norm"] for row in step_rows(trace, events.GRADIENT_COMPUTED).rows] == [2.5] * 300
    epoch = next(span for span in trace.spans if span.operation == spans.EPOCH)
    assert [step.name for step in causes(trace, epoch)] == ["hypothesis_formed: softmax is enough"]


def test_a_killed_run_is_there_with_every_operation_and_says_that_it_was_interrupted(tmp_path):
    done = recorded(tmp_path / "journal", "kill")
    assert done.returncode == 9
    store = open_store(tmp_path / "journal")
    trace = store.latest()
    assert (trace.name, trace.is_complete, store.damaged, store.torn) == ("digits", True, 0, 0)
    assert len(step_rows(trace).rows) == 300
    assert store.get("run-7") == trace
    assert render(trace, "tree").splitlines()[0].partition("  ✗ ")[2].startswith("interrupted: its process was killed")


def test_what_became_of_a_deployment_is_read_back_though_its_names_end_as_marks_do(tmp_path):
    with (
        crucible.configure(service_name="tests", journal=tmp_path, ship="off"),
        crucible.deployment("api", version="2") as api,
    ):
        api.start_serving(replicas=2)
        api.start_canary(0.1)
        api.reject_canary()
    trace = open_store(tmp_path).latest()
    became = ["serving_started", "canary_started", "canary_rejected"]
    assert [span.operation for span in trace.spans] == [spans.DEPLOYMENT, *became]
    assert [change.name for change in crucible.lineage(trace, "api").changes] == became
