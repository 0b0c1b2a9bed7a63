"""A training that is killed and goes on: one run of two attempts, on the UCI handwritten digits.

    python examples/training_resume.py --kill-at 120
    python examples/training_resume.py

The first ends itself by SIGKILL after 120 steps; the second goes on from the last checkpoint in demo-output/, wherever
that was copied to. No server takes part: beside the checkpoint lies a small file that says which run saved it.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from softmax import Array, Network, batches

import crucible_trace_otel as crucible

OUTPUT = Path("demo-output")
CHECKPOINT = OUTPUT / "resume.npz"
EPOCHS, BATCH, SEED = 5, 32, 7
HYPERPARAMETERS = {"learning_rate": 0.2, "decay": 1e-4, "batch_size": BATCH}


def examples() -> tuple[Array, Array]:
    """1,797 images of 8 x 8 pixels, each pixel from 0 to 1, and their digits."""
    digits = load_digits()
    return digits.data / 16.0, digits.target


def save(network: Network, path: Path) -> None:
    """Write the weights so that a kill leaves the old ones or the new ones, whole."""
    whole = path.with_name("part.npz")
    network.save(whole)
    whole.replace(path)


def train(kill_at: int | None) -> str:
    """Train from the start, or from the checkpoint where there is one; returns the id of the run."""
    x, y = examples()
    network = Network(64, 10, seed=SEED)
    with crucible.training_run(
        "resume",
        hyperparameters=HYPERPARAMETERS,
        dataset="uci-digits",
        model="softmax regression",
        resume_from=CHECKPOINT,
    ) as run:
        if CHECKPOINT.exists():
            network = run.load_checkpoint(CHECKPOINT, read=Network.load).value
            print(f"attempt {run.attempt} goes on with step {run.next_step}, epoch {run.next_epoch}")
        else:  # a run that is killed in its first epoch keeps its name, too
            run.save_checkpoint(CHECKPOINT, write=lambda path: save(network, path))
        for epoch in run.epochs(range(run.next_epoch, EPOCHS)):
            random = np.random.default_rng([SEED, epoch.index])  # an epoch that is done again is the same again
            for images, labels in batches(x, y, BATCH, random):
                loss, _ = network.train_on(images, labels, HYPERPARAMETERS["learning_rate"], HYPERPARAMETERS["decay"])
                epoch.record_step(loss=loss)
                if run.next_step == kill_at:
                    os.kill(os.getpid(), signal.SIGKILL)
            epoch.record_validation(accuracy=network.accuracy(x, y))
            run.save_checkpoint(CHECKPOINT, write=lambda path: save(network, path))
        run.save_model(OUTPUT / "resumed.npz", write=network.save)
        run.delete_checkpoint(CHECKPOINT, remove=Path.unlink, reason="the run is complete")
    return run.run_id


def report(run_id: str) -> None:
    """Say what the run consists of, as it is read back."""
    store = crucible.open_store(os.environ.get("CRUCIBLE_JOURNAL", ".crucible"))
    steps = crucible.step_rows(store.get(run_id))
    latest = steps.latest().rows
    attempts = f"{len(steps.attempts)} {'attempt' if len(steps.attempts) == 1 else 'attempts'}"
    print(
        f"run {run_id}: {attempts}, {len(latest)} steps, loss {latest[0]['loss']:.3g} to "
        f"{latest[-1]['loss']:.3g}; {sum(steps.repeated)} steps were done again after a checkpoint"
    )
    print(f"Look closer: {Path(sys.executable).parent / 'crucible-trace'} show {run_id}")


def main() -> None:
    """Train, and say what is known of the run; or be killed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kill-at", type=int, metavar="STEPS", help="end by SIGKILL after that many steps of the run")
    arguments = parser.parse_args()
    OUTPUT.mkdir(exist_ok=True)
    with crucible.configure(service_name="resume-demo"):
        run_id = train(arguments.kill_at)
    report(run_id)


if __name__ == "__main__":
    main()
