"""A program that records one of everything there is in a training, then leaves long operations open and is killed.

Whatever the convention has about training is recorded here by a public call; `test_every_training_name.py` says what
is not.
"""

from __future__ import annotations

import math
import os
import signal
from pathlib import Path

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.trace.otlp import decode_span
from tests.backends.query_api import until

JOURNAL = Path(".crucible")
OPEN = {"training_run", "run_part", "epoch", "validation_run", "tuning_study", "trial"}
"""What is open at the end."""
SIGNS_OF_LIFE = {*(f"{name}_started" for name in OPEN), "progress"}
WEIGHTS = Path("weights")


def write(path: Path) -> None:
    """Any file."""
    path.write_text("weights")


def train() -> None:
    """Two epochs with every verb, a checkpoint, a study, a model."""
    with crucible.training_run(
        "everything",
        hyperparameters={"lr": 0.1},
        dataset=crucible.Dataset("digits", version="1", rows=1797, split="train"),
        model=crucible.Model("softmax", parameters=650),
        seed=1,
        windows=crucible.WindowPolicy(rows=2),
    ) as run:
        for epoch in run.epochs(2):
            measure(epoch)
        run.tune_hyperparameter("lr", 0.05, reason="the loss stands still")
        saved = run.save_checkpoint(WEIGHTS, write=write, best=True, metrics={"accuracy": 0.9})
        search(run)
        run.save_model("model", write=lambda path: write(Path(path)), version="1", depends_on=saved)
        run.stop_early("no better", best_epoch=1, best_value=0.9, patience=2)


def measure(epoch: crucible.Epoch) -> None:
    """Steps and what is recorded beside them; so many windows that some are held by a segment."""
    for number in epoch.track(range(120), batch_size=32):
        with epoch.phase("forward"):
            loss = math.nan if number == 7 else 1 / (number + 1)
        epoch.record_step(loss=loss)
    epoch.skip_step("the gradients overflowed")
    epoch.process_batch(0, 32, 0.5)
    epoch.compute_loss(0.5, "train")
    epoch.compute_gradient(2.0, {"head": 1.0})
    epoch.record_metric(perplexity=12.5)
    epoch.record_validation(accuracy=0.9)
    with epoch.validation_run("held-out", dataset="digits") as validation:
        validation.record_metric(accuracy=0.9)


def search(run: crucible.TrainingRun) -> None:
    """A study of two trials."""
    with run.tuning_study("rate", objective="accuracy", direction="maximize") as study:
        with study.trial({"lr": 0.1}) as trial:
            trial.complete(0.9, loss=0.1)
        with study.trial({"lr": 10.0}) as trial:
            trial.prune("the loss rises")


def go_on() -> None:
    """Another attempt, which removes the checkpoint it came from."""
    with crucible.training_run("everything", resume_from=WEIGHTS) as run:
        run.load_checkpoint(WEIGHTS, read=Path.read_text)
        run.delete_checkpoint(WEIGHTS, remove=os.remove, reason="it is old")


def outgrow() -> crucible.TrainingRun:
    """A run that has filled its trace, as `CRUCIBLE_TRACE_SPANS` has it, and goes on in another."""
    run = crucible.training_run("long").start()
    for epoch in run.epochs(int(os.environ["CRUCIBLE_TRACE_SPANS"])):
        epoch.record_validation(accuracy=0.5)
    return run


def leave_open() -> None:
    """Operations of each kind that can be interrupted, open until viewers are told that they run."""
    run = outgrow()
    epoch = run.epoch(9).start()
    epoch.validation_run("slow").start()
    run.tuning_study("endless").start().trial({"lr": 1.0}).start()
    told = until(names_stored, lambda names: names >= SIGNS_OF_LIFE, seconds=30)
    assert told >= SIGNS_OF_LIFE, SIGNS_OF_LIFE - told


def names_stored() -> set[str]:
    """The names of the spans in the journal."""
    stored = read_directory(JOURNAL).spans
    return {decode_span(each.resource, each.scope, each.span).name for each in stored}


if __name__ == "__main__":
    crucible.configure(service_name="whole-training", journal=JOURNAL)
    train()
    go_on()
    outgrow().stop()
    leave_open()
    assert crucible.flush(30), crucible.flush(0)
    os.kill(os.getpid(), signal.SIGKILL)
