"""Four processes train one model on the UCI handwritten digits; one of them is slow, and the report says which.

    python examples/data_parallel.py

Each process has a part of the images, and the same weights: after each batch they average their gradients, over
sockets on this machine, and so does every one wait for the slowest. They share a run by its id alone. Here they share
a journal too, .crucible/; with one each, `crucible-trace stragglers` takes `--journal` for each of them.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from softmax import Array, Network

import crucible_trace_otel as crucible

RANKS, EPOCHS, STEPS, BATCH, SEED = 4, 5, 12, 32, 7
HYPERPARAMETERS = {"learning_rate": 0.5, "decay": 1e-4, "batch_size": BATCH, "hidden": 256}
MUCH = 24
"""How many times as large the batches of the slow rank are."""


class Group:
    """The processes of the run, each connected with rank 0, which adds up what all send and sends it back."""

    def __init__(self, rank: int, size: int, port: int, listening: int | None) -> None:
        self.rank, self.size = rank, size
        if listening is None:
            self.others = [Connection(socket.create_connection(("127.0.0.1", port)).detach())]
        else:
            with socket.socket(fileno=listening) as server:
                server.settimeout(60)
                self.others = [Connection(server.accept()[0].detach()) for _ in range(size - 1)]

    def mean(self, values: Array) -> tuple[Array, float]:
        """The mean over all processes, and how many seconds this one waited for the others."""
        if self.rank:
            (root,) = self.others
            root.send_bytes(values.tobytes())
            began = time.perf_counter()
            return np.frombuffer(root.recv_bytes()), time.perf_counter() - began
        began = time.perf_counter()
        received = [other.recv_bytes() for other in self.others]
        waited = time.perf_counter() - began
        mean = (values + sum(map(np.frombuffer, received))) / self.size
        for other in self.others:
            other.send_bytes(mean.tobytes())
        return mean, waited

    def wait(self) -> None:
        """Wait until all processes have come here."""
        self.mean(np.zeros(1))


def train(group: Group, run_id: str, data: Path, batch: int) -> float:
    """Train as one of the processes; returns the accuracy on images that none has trained on."""
    with np.load(data) as stored:
        x, y, x_test, y_test = (stored[name] for name in ("x", "y", "x_test", "y_test"))
    mine = slice(group.rank, None, group.size)
    x, y = x[mine], y[mine]
    network = Network(64, 10, hidden=HYPERPARAMETERS["hidden"], seed=SEED)  # the same weights in each process
    random = np.random.default_rng(SEED + group.rank)
    with crucible.training_run(
        "data parallel", run_id=run_id, hyperparameters=HYPERPARAMETERS, dataset="uci-digits", model="perceptron"
    ) as run:
        for epoch in run.epochs(EPOCHS):
            for _ in range(STEPS):
                chosen = random.integers(len(y), size=batch)
                loss, gradients = network.gradients(x[chosen], y[chosen], HYPERPARAMETERS["decay"])
                sent = np.concatenate([each.ravel() for each in gradients])
                mean, waited = group.mean(sent)
                norm = float(np.linalg.norm(mean))
                epoch.aggregate_gradients(norm, size=sent.nbytes, wait=waited, participants=group.size)
                network.descend(shaped(mean, gradients), HYPERPARAMETERS["learning_rate"])
                epoch.record_step(loss=loss, samples=batch)
            with epoch.barrier():
                group.wait()
            if group.rank == 0:
                epoch.record_validation(accuracy=network.accuracy(x_test, y_test))
    return network.accuracy(x_test, y_test)


def shaped(values: Array, like: list[Array]) -> list[Array]:
    """The numbers of `values` in arrays of the shapes of `like`."""
    ends = np.cumsum([each.size for each in like])[:-1]
    return [part.reshape(each.shape) for part, each in zip(np.split(values, ends), like, strict=True)]


def store_digits(path: Path) -> None:
    """1,797 images of 8 x 8 pixels, each pixel from 0 to 1, and their digits; every fifth to test on."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    x, y = digits.data / 16.0, digits.target
    tests = np.arange(len(y)) % 5 == 0
    np.savez(path, x=x[~tests], y=y[~tests], x_test=x[tests], y_test=y[tests])


def launch(slow: int) -> str:
    """Start a process for each rank, as torchrun would, and wait for them; returns the id of their run."""
    run_id = f"data-parallel-{uuid.uuid4().hex[:8]}"
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        data = Path(folder) / "digits.npz"
        store_digits(data)
        shared = {"WORLD_SIZE": str(RANKS), "MASTER_PORT": str(server.getsockname()[1])}
        shared |= {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--run", run_id, "--data", str(data), "--slow", str(slow)]
        processes = []
        try:
            for rank in range(RANKS):
                its = {**os.environ, **shared, "RANK": str(rank), "LOCAL_RANK": str(rank)}
                more = [] if rank else ["--listening", str(server.fileno())]
                passed = () if rank else (server.fileno(),)
                processes.append(subprocess.Popen([*command, *more], env=its, pass_fds=passed))
            server.close()
            if failed := [rank for rank, process in enumerate(processes) if process.wait()]:
                sys.exit(f"Ranks that have failed: {failed}.")
        finally:
            for process in processes:
                process.kill()
                process.wait()
    return run_id


def work(run_id: str, data: Path, slow: int, listening: int | None) -> None:
    """Be one of the processes."""
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    group = Group(rank, size, int(os.environ["MASTER_PORT"]), listening)
    crucible.configure(service_name="data-parallel")
    accuracy = train(group, run_id, data, BATCH * MUCH if rank == slow else BATCH)
    if rank == 0:
        print(f"{size} processes read {accuracy:.1%} of the test images.\n")


def main() -> None:
    """Train, and say who was slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--slow", type=int, default=2, metavar="RANK", help="which one works on larger batches")
    parser.add_argument("--run", help=argparse.SUPPRESS)
    parser.add_argument("--data", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--listening", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run is not None:
        work(arguments.run, arguments.data, arguments.slow, arguments.listening)
        return
    run_id = launch(arguments.slow)
    sys.exit(
        subprocess.run([sys.executable, "-m", "crucible_trace_otel.cli", "stragglers", run_id], check=False).returncode
    )


if __name__ == "__main__":
    main()
