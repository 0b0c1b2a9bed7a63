"""A second version goes out as a canary, is compared and promoted; a third is taken back, because of what was measured.

    python examples/deployment_canary.py

Three versions of a classifier of the UCI handwritten digits, trained and saved in demo-output/. Each request asks for
one image; one inference in ten is recorded, and each that fails.
"""

import os
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from softmax import Array, Network, batches

import crucible_trace_otel as crucible
from crucible_trace_otel.renderers.why import causal_chain

OUTPUT = Path("demo-output")
SEED, BATCH, LEARNING_RATE, DECAY = 7, 32, 0.2, 1e-4
VERSIONS = {"1": (20, 0.0), "2": (400, 0.0), "3": (400, 0.9)}
"""Of each version: the steps it is trained for, and the share of wrong labels in what it is trained on."""


def images() -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Half of the 1,797 images to train on, the other half as the requests of the service; pixels from 0 to 1."""
    digits = load_digits()
    x, y = digits.data / 16.0, digits.target
    order = np.random.default_rng(SEED).permutation(len(y))
    half = len(y) // 2
    return (x[order[:half]], y[order[:half]]), (x[order[half:]], y[order[half:]])


def train(version: str, data: tuple[Array, Array]) -> crucible.StoredFile:
    """Train one version, and save it."""
    steps, share_wrong = VERSIONS[version]
    random = np.random.default_rng(SEED)
    x, y = data
    labels = np.where(random.random(len(y)) < share_wrong, random.integers(0, 10, len(y)), y)
    network = Network(64, 10, seed=SEED)
    with crucible.training_run("digits", model="softmax", dataset="uci-digits", seed=SEED) as run:
        while run.next_step < steps:
            for batch in batches(x, labels, BATCH, random):
                run.record_step(loss=network.train_on(*batch, LEARNING_RATE, DECAY)[0])
        return run.save_model(OUTPUT / f"digits-v{version}.npz", write=network.save, version=version)


def answer(deployment: crucible.Deployment, network: Network, requests: tuple[Array, Array]) -> list[bool]:
    """Answer one request after the other; whether each answer is right."""
    right = []
    for image, digit in zip(*requests, strict=True):
        with deployment.inference("read a digit", batch_size=1):
            right.append(bool(network.probabilities(image[None])[0].argmax() == digit))
    return right


def compare(
    deployment: crucible.Deployment, before: str, right: dict[str, list[bool]]
) -> tuple[crucible.ABTest, crucible.ABResult]:
    """The canary against the version that serves the rest."""
    after = str(deployment.version)
    with deployment.a_b_test(f"{before} or {after}", metric="accuracy", higher_is_better=True) as test:
        test.record_arm(before, right[before])
        test.record_arm(after, right[after])
    result = test.result
    print(
        f"version {after} against {before}: {result.means[1]:.1%} against {result.means[0]:.1%} right, "
        f"{points(result.effect)} ({result.test}, p = {result.p_value:.1e})"
    )
    return test, result


def points(share: float) -> str:
    """A difference of two percentages."""
    return f"{100 * share:+.1f} percentage points"


def release(
    version: str, previous: crucible.Deployment, networks: dict[str, Network], requests: tuple[Array, Array]
) -> crucible.Deployment:
    """Bring a version out as a canary on half of the requests, and decide by what it answers."""
    before = str(previous.version)
    path = OUTPUT / f"digits-v{version}.npz"
    with crucible.deployment(
        "digits-reader",
        environment="demo",
        version=version,
        strategy="canary",
        previous=previous,
        inference_ratio=0.1,
    ) as deployment:
        networks[version] = deployment.load_model(path, read=Network.load).value
        deployment.start_canary(0.5, reason="a new model was trained")
        (x, y), share = requests, len(requests[1]) // 2
        right = {
            before: answer(previous, networks[before], (x[:share], y[:share])),
            version: answer(deployment, networks[version], (x[share:], y[share:])),
        }
        test, result = compare(deployment, before, right)
        if result.winner == version:
            deployment.promote_canary(reason=f"{points(result.improvement)} of right answers", depends_on=test)
            return deployment
        deployment.reject_canary(reason="it is not better", depends_on=test)
        if result.winner == before:
            deployment.roll_back(previous, reason=f"{points(result.improvement)} of right answers", caused_by=test)
        return previous


def main() -> None:
    """Train, release and take back; then say why what happened."""
    OUTPUT.mkdir(exist_ok=True)
    data, requests = images()
    with crucible.configure(service_name="digits-reader"), crucible.pipeline("releases") as pipeline:
        for version in VERSIONS:
            train(version, data)
        path = OUTPUT / "digits-v1.npz"
        with crucible.deployment("digits-reader", environment="demo", version="1", inference_ratio=0.1) as serving:
            networks = {"1": serving.load_model(path, read=Network.load).value}
            serving.start_serving(replicas=1)
        for version in ("2", "3"):
            serving = release(version, serving, networks, requests)
            print(f"version {serving.version} serves")
    trace = crucible.open_store(os.environ.get("CRUCIBLE_JOURNAL", ".crucible")).get(
        f"{pipeline.span_context.trace_id:032x}"
    )
    taken_back = next(span for span in trace.spans if span.operation == "deployment_rollback")
    recorded = sum(span.operation == "inference" for span in trace.spans)
    print(f"\n{recorded} of {2 * len(requests[1])} inferences are recorded. Why version 3 was taken back:\n")
    print("\n".join(causal_chain(trace, taken_back)))


if __name__ == "__main__":
    main()
