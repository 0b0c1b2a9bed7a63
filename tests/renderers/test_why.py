from crucible_trace_otel.renderers.why import causal_chain, outcome_of
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType
from tests.trace.builders import TraceBuilder

BECAUSE = attr.CRUCIBLE_DECISION_REASONING


def chosen(rejections: int) -> TraceBuilder:
    """A question answered, a model trained for the answer, and served."""
    build = TraceBuilder()
    chain = build.add(spans.REASONING_CHAIN, "which model?", lasts=1)
    softmax = build.add(
        spans.HYPOTHESIS_FORMED, "softmax is enough", chain, 0.1, attributes={BECAUSE: "strokes are\nlocal"}
    )
    for number in range(rejections):
        said = {BECAUSE: f"it reads {number} %"} if number else {}
        build.add(spans.ALTERNATIVE_REJECTED, f"model {number}", chain, 0.2 + number / 100, attributes=said)
    build.add(spans.ALTERNATIVE_REJECTED, "in no chain", at=0.5)
    sure = build.add(
        spans.CONFIDENCE_UPDATED, "softmax is enough", chain, 0.9,
        attributes={BECAUSE: "measured"}, causes=[(LinkType.REFINES, softmax)],
    )  # fmt: skip
    run = build.add(spans.TRAINING_RUN, "digits", at=1, lasts=1, causes=[(LinkType.DEPENDS_ON, sure)])
    saved = build.add(spans.MODEL_SAVE, "digits.npz", run, 1.5)
    deployment = build.add(
        spans.DEPLOYMENT, "digits", at=3, causes=[(LinkType.SERVES, saved), (LinkType.DEPENDS_ON, sure)]
    )
    build.add(spans.MODEL_LOAD, "digits.npz", deployment, 3, causes=[(LinkType.SERVES, saved)])
    return build


def told(build: TraceBuilder) -> list[str]:
    trace = build.trace()
    outcome = outcome_of(trace)
    assert outcome is not None
    assert outcome.operation == spans.DEPLOYMENT
    return causal_chain(iter([trace]), outcome)


def test_the_chain_says_why_and_what_was_rejected():
    assert (
        "\n".join(told(chosen(2)))
        == """\
↳ serves model_save "digits.npz"
  ↳ depends_on confidence_updated "softmax is enough"  (through training_run "digits")
      because measured
    ↳ refines hypothesis_formed "softmax is enough"
        because strokes are local
↳ depends_on confidence_updated "softmax is enough"  (above)
rejected "model 0"
rejected "model 1": it reads 1 %"""
    )


def test_many_rejections_are_counted():
    lines = told(chosen(15))
    assert lines[-2:] == ['rejected "model 11": it reads 11 %', "… 3 more rejected"]


def test_a_link_to_a_chain_lists_what_that_rejected():
    build = TraceBuilder()
    chain = build.add(spans.REASONING_CHAIN, "which model?", lasts=1)
    build.add(spans.ALTERNATIVE_REJECTED, "trees", chain, 0.2, attributes={BECAUSE: "slow"})
    build.add(spans.DEPLOYMENT, "digits", at=3, causes=[(LinkType.DEPENDS_ON, chain)])
    assert told(build) == ['↳ depends_on reasoning_chain "which model?"', 'rejected "trees": slow']


def test_a_deployment_is_called_with_its_version():
    build = TraceBuilder()
    old = build.add(spans.DEPLOYMENT, "api", attributes={attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION: "1"})
    new = build.add(spans.DEPLOYMENT, "api", at=1, causes=[(LinkType.REPLACES, old)])
    assert causal_chain(build.trace(), new) == ['↳ replaces deployment "api" version 1']
