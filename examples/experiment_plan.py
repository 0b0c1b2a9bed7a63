"""An experiment by plan, on the UCI handwritten digits: what was planned beside what ran.

    python examples/experiment_plan.py

The plan lies beside this file. One of its stages is not enabled, and the gate before the last one asks for more than a
linear model reaches, so that the run fails there. The trace goes to .crucible/ (or CRUCIBLE_JOURNAL).
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from softmax import Network, batches

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv.attributes import CRUCIBLE_EXPERIMENT_PLAN_SHA256

PLAN = Path(__file__).with_suffix(".json")
SEED = 7


def load(context: dict[str, Any], options: dict[str, Any]) -> dict[str, int]:
    """1,797 images of 8 x 8 pixels, some of them kept for the end."""
    digits = load_digits()
    train_x, test_x, train_y, test_y = train_test_split(
        digits.data / 16.0, digits.target, test_size=options["test_share"], random_state=SEED, stratify=digits.target
    )
    context["data"] = train_x, train_y, test_x, test_y
    return {"train_rows": len(train_y), "test_rows": len(test_y)}


class Train:
    """A stage that says which options it takes: they are checked before anything starts."""

    def describe(self, options: Mapping[str, Any]) -> Mapping[str, Any]:  # noqa: ARG002 - some ask what they are told
        """Each option and its type."""
        types = {"epochs": "integer", "batch_size": "integer", "learning_rate": "float", "decay": "float"}
        return {"required": ["epochs", "learning_rate"], "types": types, "defaults": {"batch_size": 32, "decay": 1e-4}}

    def run(self, context: dict[str, Any], options: dict[str, Any]) -> dict[str, float]:
        """Train, and keep the model in the context."""
        x, y, *_ = context["data"]
        network, random = Network(64, 10, seed=SEED), np.random.default_rng(SEED)
        loss = float("nan")
        with crucible.training_run("softmax", hyperparameters=options, dataset="uci-digits", seed=SEED) as run:
            for epoch in run.epochs(options["epochs"]):
                for batch_x, batch_y in batches(x, y, options["batch_size"], random):
                    loss, _ = network.train_on(batch_x, batch_y, options["learning_rate"], options["decay"])
                    epoch.record_step(loss=loss)
        context["network"] = network
        return {"loss": loss}


def evaluate(context: dict[str, Any], _: dict[str, Any]) -> dict[str, float]:
    """How many of the images that nothing was trained on are read right."""
    *_, x, y = context["data"]
    return {"accuracy": context["network"].accuracy(x, y)}


def gate(context: dict[str, Any], options: dict[str, Any]) -> None:
    """Let only a model through that is good enough."""
    accuracy = context["evaluate"]["accuracy"]
    if accuracy < options["least_accuracy"]:
        raise ValueError(f"accuracy {accuracy:.3f} is under {options['least_accuracy']}")


def publish(context: dict[str, Any], options: dict[str, Any]) -> None:
    """Hand the model on; with this plan it is never reached."""
    print(f"published to {options['to']}: {context['network']}")


STAGES = {"load": load, "augment": load, "train": Train(), "evaluate": evaluate, "gate": gate, "publish": publish}


def main() -> None:
    """Run the plan, then say what was planned beside what ran."""
    plan = crucible.read_plan(PLAN)
    with crucible.configure(service_name="experiment-plan"):
        result = crucible.run_plan(plan, STAGES, hypothesis="a linear model is enough", errors="return")
    store = crucible.open_store(os.environ.get("CRUCIBLE_JOURNAL", ".crucible"))
    print(f"{plan.id}: {result.verdict}\n")
    for stage in crucible.planned_stages(store.get(result.trace_id)):
        took = f"{stage.duration_s * 1000:8.1f} ms" if stage.attempts else " " * 11
        print(f"  {stage.name:9} {stage.state.replace('_', ' '):12} {took}  {stage.error}".rstrip())
    runs = [
        trace
        for trace in store.traces()
        if any(span.attributes.get(CRUCIBLE_EXPERIMENT_PLAN_SHA256) == plan.sha256 for span in trace.roots)
    ]
    print(f"\nRuns of this very plan ({plan.sha256[:12]}) in the journal: {len(runs)}")


if __name__ == "__main__":
    main()
