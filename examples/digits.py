"""The main job: from a hypothesis to a model that serves, on the UCI handwritten digits, in one trace.

    python examples/digits.py

The data set comes with scikit-learn. Checkpoints go to demo-output/, the trace to .crucible/; set
OTEL_EXPORTER_OTLP_ENDPOINT to have another process send it to a collector too. Kill it half way, and
`crucible-trace show` tells how far it came.
"""

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from softmax import Array, Network, batches

import crucible_trace_otel as crucible
from crucible_trace_otel.renderers.why import causal_chain

OUTPUT = Path("demo-output")
EPOCHS, BATCH, PATIENCE, SEED = 40, 32, 4, 7
NEXT = """
Look closer:
  {command} show                          the run, why its model exists, its loss
  {command} lineage digits-reader         from the data set to the answers, with every digest
  {command} steps                         every training step, as CSV
  {command} render --format mermaid       a diagram to paste into Markdown
  {command} status                        what became of every span
Send it to Jaeger as well:
  docker compose up -d
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318 make demo      then open http://127.0.0.1:16686"""
HYPERPARAMETERS = {"learning_rate": 0.2, "decay": 1e-4, "batch_size": BATCH, "patience": PATIENCE}
CANDIDATES = {"softmax regression": 0, "one hidden layer": 32}
"""Name of each to its hidden units."""


@dataclass(frozen=True)
class Split:
    """The examples, 64 brightnesses each, and their digits."""

    train: tuple[Array, Array]
    validation: tuple[Array, Array]
    test: tuple[Array, Array]


@crucible.stage("load")
def load() -> tuple[Array, Array]:
    """1,797 images of 8 x 8 pixels."""
    digits = load_digits()
    return digits.data, digits.target


@crucible.stage("split", config={"train": 0.6, "validation": 0.2, "test": 0.2, "seed": SEED})
def split(x: Array, y: Array) -> Split:
    """60 % to train on, 20 % to choose by, 20 % kept for the end."""
    x_train, x_rest, y_train, y_rest = train_test_split(x, y, test_size=0.4, random_state=SEED, stratify=y)
    x_validation, x_test, y_validation, y_test = train_test_split(
        x_rest, y_rest, test_size=0.5, random_state=SEED, stratify=y_rest
    )
    return Split((x_train, y_train), (x_validation, y_validation), (x_test, y_test))


@crucible.stage("scale")
def scale(data: Split) -> Split:
    """Each pixel to mean 0 and deviation 1 over the training examples."""
    mean, deviation = data.train[0].mean(axis=0), data.train[0].std(axis=0) + 1e-6
    return Split(*(((x - mean) / deviation, y) for x, y in (data.train, data.validation, data.test)))


def choose(data: Split) -> tuple[str, crucible.Decision]:
    """Choose the model from what the candidates reach on the validation examples after three epochs."""
    with crucible.reasoning_chain("which model reads the digits?") as chain:
        guess = "softmax regression"
        hypothesis = chain.form_hypothesis(
            f"{guess} reads the digits best",
            reasoning="the digits are centred and of one size, so single pixels say much",
            alternatives=[name for name in CANDIDATES if name != guess] + ["nearest class mean"],
            confidence=0.5,
        )
        measured = {name: briefly_trained(data, name).accuracy(*data.validation) for name in CANDIDATES}
        winner = max(measured, key=lambda name: measured[name])
        for name, accuracy in {**measured, "nearest class mean": nearest_mean_accuracy(data)}.items():
            if name != winner:
                chain.reject_alternative(
                    name,
                    reasoning=f"it reads {accuracy:.1%} of the validation images, {winner} {measured[winner]:.1%}",
                    parent=hypothesis,
                    metadata={"accuracy": accuracy},
                )
        size = Network(64, 10, hidden=CANDIDATES[winner]).size_bytes
        fits = chain.evaluate_constraint(
            "the weights stay under 64 KiB",
            satisfied=size < 64 * 1024,
            reasoning=f"{size} bytes",
            depends_on=hypothesis,
        )
        if winner == guess:
            return winner, chain.update_confidence(
                hypothesis, measured[winner], reasoning="measured after three epochs", depends_on=fits
            )
        return winner, chain.form_hypothesis(
            f"{winner} reads the digits best",
            reasoning="measured after three epochs",
            confidence=measured[winner],
            depends_on=fits,
            links={"overturns": hypothesis},
        )


def nearest_mean_accuracy(data: Split) -> float:
    """What the simplest candidate reaches."""
    x, y = data.train
    means = np.stack([x[y == digit].mean(axis=0) for digit in range(10)])
    x_validation, y_validation = data.validation
    distances = ((x_validation[:, None, :] - means[None]) ** 2).sum(axis=2)
    return float((distances.argmin(axis=1) == y_validation).mean())


def briefly_trained(data: Split, name: str) -> Network:
    """A candidate after three epochs."""
    network, random = Network(64, 10, hidden=CANDIDATES[name], seed=SEED), np.random.default_rng(SEED)
    for _ in range(3):
        for x, y in batches(*data.train, BATCH, random):
            network.train_on(x, y, HYPERPARAMETERS["learning_rate"], HYPERPARAMETERS["decay"])
    return network


def train(data: Split, name: str, decision: crucible.Decision) -> crucible.StoredFile:
    """Train until the validation loss has not improved for four epochs; keep the best epoch."""
    network, random = Network(64, 10, hidden=CANDIDATES[name], seed=SEED), np.random.default_rng(SEED)
    best_loss, best_epoch = float("inf"), -1
    dataset = crucible.Dataset("uci-digits", rows=len(data.train[1]), split="train")
    with crucible.training_run(
        "digits", hyperparameters=HYPERPARAMETERS, dataset=dataset, model=name, seed=SEED, depends_on=decision
    ) as run:
        learning_rate = HYPERPARAMETERS["learning_rate"]
        for epoch in run.epochs(EPOCHS):
            for x, y in run.track(batches(*data.train, BATCH, random), batch_size=lambda batch: len(batch[1])):
                loss, norm = network.train_on(x, y, learning_rate, HYPERPARAMETERS["decay"])
                epoch.record_step(loss=loss, learning_rate=learning_rate)
                epoch.record_gradient(norm)
            validation_loss = network.loss(*data.validation)
            epoch.record_validation(loss=validation_loss, accuracy=network.accuracy(*data.validation))
            if validation_loss < best_loss - 1e-3:
                best_loss, best_epoch = validation_loss, epoch.index
                path = OUTPUT / f"digits-{epoch.index:02d}.npz"
                best = run.save_checkpoint(
                    path, write=network.save, epoch=epoch.index, best=True, metrics={"loss": best_loss}
                )
            elif epoch.index - best_epoch >= PATIENCE:
                run.stop_early(
                    f"no better validation loss for {PATIENCE} epochs",
                    best_epoch=best_epoch,
                    best_value=best_loss,
                    patience=PATIENCE,
                )
                break
        network = run.load_checkpoint(best.path, read=Network.load).value
        return run.save_model(OUTPUT / "digits.npz", write=network.save, version="1", depends_on=best)


def judge(data: Split, model: crucible.StoredFile, decision: crucible.Decision) -> crucible.Decision:
    """Whether the decision for this model holds on images that nothing was chosen by."""
    accuracy = Network.load(model.path).accuracy(*data.test)
    with crucible.reasoning_chain("does the choice hold?", depends_on=model) as chain:
        return chain.update_confidence(
            decision, accuracy, reasoning=f"{accuracy:.1%} of the test images are read right", depends_on=model
        )


def serve(data: Split, model: crucible.StoredFile, judgement: crucible.Decision) -> float:
    """Load the model as a service would and let it read the test images."""
    with crucible.deployment("digits-reader", environment="demo", model=model, depends_on=judgement) as deployment:
        network = deployment.load_model(model.path, read=Network.load).value
        deployment.start_serving(reason="the choice holds", depends_on=judgement)
        x, y = data.test
        right = 0
        for start in range(0, len(y), 64):
            with deployment.inference("read digits", batch_size=len(y[start : start + 64])):
                right += int(
                    (network.probabilities(x[start : start + 64]).argmax(axis=1) == y[start : start + 64]).sum()
                )
        return right / len(y)


def run_pipeline(digits: crucible.Pipeline) -> float:
    """Every stage, in order."""
    data = scale(split(*load()))
    with digits.stage("choose"):
        name, decision = choose(data)
    with digits.stage("train"):
        model = train(data, name, decision)
    with digits.stage("evaluate"):
        judgement = judge(data, model, decision)
    with digits.stage("serve"):
        return serve(data, model, judgement)


def main() -> None:
    """Record the job, then say what became of it and where it can be seen."""
    OUTPUT.mkdir(exist_ok=True)
    os.environ.setdefault("CRUCIBLE_CONSOLE", "1")
    with crucible.configure(service_name="digits-demo") as recording:
        with crucible.pipeline("digits") as digits:
            accuracy = run_pipeline(digits)
        recording.shutdown()
        report = recording.flush(2.0)  # another process sends; wait a moment to tell what has arrived
    journal = os.environ.get("CRUCIBLE_JOURNAL", ".crucible")
    trace = crucible.open_store(journal).get(f"{digits.span_context.trace_id:032x}")
    served = next(span for span in trace.spans if span.operation == "deployment")
    print(f"\nThe model reads {accuracy:.1%} of the test images. Why this one is served:\n")
    print("\n".join(causal_chain(trace, served)))
    print(f"\n{report.stored} of {report.recorded} spans are in {journal}/ on this disk.")
    if report.endpoint:
        print(f"{report.acknowledged} of {report.recorded} are acknowledged by {report.endpoint} so far.")
    on_path = shutil.which("crucible-trace")
    print(
        NEXT.format(
            command="crucible-trace" if on_path else os.path.relpath(Path(sys.executable).with_name("crucible-trace"))
        )
    )


if __name__ == "__main__":
    main()
