"""The life of a model over several processes, none of which knows the trace of another but by digest."""

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType, RunState
from crucible_trace_otel.trace.spans import Trace, TraceEvent
from tests.trace.builders import START_NS, TraceBuilder

A, B = "a" * 64, "b" * 64
RUN = {attr.CRUCIBLE_RUN_ID: "r-1", attr.CRUCIBLE_RUN_NAME: "digits", attr.CRUCIBLE_DATASET_NAME: "uci-digits"}
INTERRUPTED = {**RUN, attr.CRUCIBLE_RUN_ATTEMPT: 0, attr.CRUCIBLE_RUN_STATE: RunState.INTERRUPTED}
COMPLETED = {**RUN, attr.CRUCIBLE_RUN_ATTEMPT: 1, attr.CRUCIBLE_RUN_STATE: RunState.COMPLETED}


def saved(path: str, sha256: str, **more: str) -> dict[str, str]:
    named = {getattr(attr, f"CRUCIBLE_MODEL_{key.upper()}"): value for key, value in more.items()}
    return {attr.CRUCIBLE_MODEL_PATH: path, attr.CRUCIBLE_MODEL_SHA256: sha256, **named}


def trained(number: int = 1) -> tuple[Trace, Trace]:
    """A decision and two attempts at the run that rests on it, of which the second saves the model."""
    build = TraceBuilder(number)
    pipeline = build.add(spans.PIPELINE, "nightly", at=0, lasts=5, name="pipeline nightly")
    chain = build.add(spans.REASONING_CHAIN, "which model?", pipeline, 0.1, 0.1)
    reasons = {attr.CRUCIBLE_DECISION_REASONING: "ten classes"}
    chosen = build.add(spans.HYPOTHESIS_FORMED, "softmax is enough", chain, 0.11, attributes=reasons)
    against = {attr.CRUCIBLE_DECISION_REASONING: "too slow"}
    build.add(spans.ALTERNATIVE_REJECTED, "a network", chain, 0.12, attributes=against)
    first = build.add(
        spans.TRAINING_RUN, "digits", pipeline, 1, 2, attributes=INTERRUPTED, causes=[(LinkType.DEPENDS_ON, chosen)]
    )
    epoch = build.add(spans.EPOCH, "epoch 0", first, 1.1, 1, attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 0})
    build.add(spans.VALIDATION_RUN, "accuracy 0.8", epoch, 1.9)
    checkpoint = {attr.CRUCIBLE_CHECKPOINT_PATH: "0.npz", attr.CRUCIBLE_CHECKPOINT_SHA256: A}
    build.add(spans.CHECKPOINT_SAVE, "0.npz", epoch, 1.95, attributes=checkpoint)

    again = TraceBuilder(number + 1)
    second = again.add(spans.TRAINING_RUN, "digits", at=10, lasts=3, attributes=COMPLETED)
    again.add(spans.CHECKPOINT_LOAD, "0.npz", second, 10.1, attributes=checkpoint)
    model = saved("digits.npz", B, name="softmax", version="1")
    again.add(spans.MODEL_SAVE, "digits.npz", second, 12, 0.01, attributes=model)
    return build.trace(), again.trace()


def served(
    number: int = 3,
    at: float = 20,
    sha256: str | None = B,
    path: str = "/srv/digits.npz",
    environment: str = "production",
) -> Trace:
    """A deployment that loads a model, with four answers of which one failed, and what became of it."""
    build = TraceBuilder(number)
    named = {attr.DEPLOYMENT_NAME: "digits-api", attr.DEPLOYMENT_ENVIRONMENT_NAME: environment}
    promoted = {attr.CRUCIBLE_ABOUT: "all traffic", attr.CRUCIBLE_DEPLOYMENT_TRAFFIC_SHARE: 1.0}
    deployment = build.add(
        spans.DEPLOYMENT,
        "digits-api",
        at=at,
        lasts=9,
        attributes=named,
        events=(TraceEvent(events.CANARY_PROMOTED, START_NS + round((at + 2) * 1e9), promoted),),
    )
    loaded = {attr.CRUCIBLE_MODEL_PATH: path} | ({} if sha256 is None else {attr.CRUCIBLE_MODEL_SHA256: sha256})
    build.add(spans.MODEL_LOAD, path, deployment, at + 1, 0.01, attributes=loaded)
    for index in range(4):
        build.add(spans.INFERENCE, "read", deployment, at + 3 + index, 0.5, status="error" if index == 3 else "unset")
    failed = build.spans[-1]
    reason = {attr.CRUCIBLE_DEPLOYMENT_REASON: "an answer failed"}
    build.add(
        events.DEPLOYMENT_ROLLBACK, "back to 0", deployment, at + 8, attributes=reason, causes=[("caused_by", failed)]
    )
    return build.trace()


def judged(about: Trace, number: int = 4, at: float = 90) -> Trace:
    """Feedback on the first two answers of a deployment, days later."""
    answers = [span for span in about.spans if span.operation == spans.INFERENCE]
    build = TraceBuilder(number)
    for answer, score in zip(answers, (1.0, 0.5), strict=False):
        given = {attr.CRUCIBLE_FEEDBACK_SCORE: score, attr.CRUCIBLE_FEEDBACK_LABEL: "right"}
        build.add(spans.FEEDBACK, "right", at=at, attributes=given, causes=[(LinkType.FEEDBACK_ON, answer)])
    return build.trace()


def life() -> tuple[Trace, ...]:
    """All of it, in order of time."""
    deployment = served()
    return (*trained(), deployment, judged(deployment))
