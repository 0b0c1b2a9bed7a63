"""A program that records one of everything there is, then leaves long operations open and is killed.

Whatever the convention has is recorded here by a public call; `test_every_name.py` says what is not.
"""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.journal.sizes import TRACES, Budget
from crucible_trace_otel.record.processes._process import use_process_rank
from crucible_trace_otel.trace.otlp import decode_span
from tests.backends.query_api import until
from tests.semconv.everything import record_everything

JOURNAL = Path(".crucible")
OPEN = {
    *("experiment", "pipeline", "stage", "reasoning_chain", "deployment", "episode", "worker"),
    *("training_run", "run_part", "epoch", "validation_run", "tuning_study", "trial"),
}
"""What is open at the end: one of each that is long."""
SIGNS_OF_LIFE = {*(f"{name}_started" for name in OPEN), "progress"}


def leave_open() -> None:
    """Operations of each kind that can be interrupted, open until viewers are told that they run."""
    crucible.experiment("endless").start()
    crucible.pipeline("nightly").start().stage("slow").start()
    crucible.reasoning_chain("why").start()
    crucible.deployment("serves").start()
    use_process_rank(crucible.ProcessRank(1, 2))
    crucible.training_run("shared", run_id="open").start()
    use_process_rank(None)
    run = outgrow()
    epoch = run.epoch(9).start()
    epoch.validation_run("slow").start()
    epoch.episode().start()
    run.tuning_study("endless").start().trial({"lr": 1.0}).start()
    told = until(names_stored, lambda names: names >= SIGNS_OF_LIFE, seconds=30)
    assert told >= SIGNS_OF_LIFE, SIGNS_OF_LIFE - told


def outgrow() -> crucible.TrainingRun:
    """A run that has filled its trace and goes on in another."""
    before, TRACES.budget = TRACES.budget, Budget(math.inf, 3)
    run = crucible.training_run("long").start()
    for epoch in run.epochs(4):
        epoch.record_validation(accuracy=0.5)
    TRACES.budget = before
    return run


def names_stored() -> set[str]:
    """The operations of the spans in the journal."""
    stored = read_directory(JOURNAL).spans
    return {decode_span(each.resource, each.scope, each.span).operation for each in stored}


if __name__ == "__main__":
    crucible.configure(service_name="whole", journal=JOURNAL)
    Path("files").mkdir()
    record_everything(Path("files"))
    leave_open()
    assert crucible.flush(30), crucible.flush(0)
    os.kill(os.getpid(), signal.SIGKILL)
