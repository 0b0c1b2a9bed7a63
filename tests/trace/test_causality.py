from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.causality import CausalStep, causal_links, causes
from crucible_trace_otel.trace.spans import TraceLink
from tests.trace.builders import TraceBuilder, digits


def told(steps: tuple[CausalStep, ...]) -> list[str]:
    return [
        f"{'  ' * step.depth}{step.holder.operation} {step.type} {step.name}{' (above)' if step.repeated else ''}"
        f"{'' if step.target else ' (elsewhere)'}"
        for step in steps
    ]


def find(trace, operation):
    return next(span for span in trace.spans if span.operation == operation)


def test_a_deployment_rests_on_the_decision_behind_the_run_that_saved_its_model():
    trace = digits()
    assert told(causes(trace, find(trace, spans.DEPLOYMENT))) == [
        "model_load serves model_save: digits.npz",
        "  training_run depends_on hypothesis_formed: softmax is enough",
    ]


def test_a_cycle_ends_where_it_began():
    build = TraceBuilder()
    first = build.add(spans.HYPOTHESIS_FORMED, "a")
    second = build.add(spans.HYPOTHESIS_FORMED, "b", causes=[(LinkType.DEPENDS_ON, first)])
    build.spans[0] = first = TraceBuilder().add(
        spans.HYPOTHESIS_FORMED, "a", causes=[(LinkType.DEPENDS_ON, second), (LinkType.REFINES, first)]
    )
    assert told(causes(build.trace(), first)) == [
        "hypothesis_formed depends_on hypothesis_formed: b",
        "  hypothesis_formed depends_on hypothesis_formed: a (above)",
        "hypothesis_formed refines hypothesis_formed: a (above)",
    ]


def test_a_cause_in_another_trace_is_found_when_that_trace_is_given():
    training = digits(1)
    build = TraceBuilder(2)
    load = build.add(spans.MODEL_LOAD, "digits.npz", causes=[(LinkType.SERVES, find(training, spans.MODEL_SAVE))])
    assert told(causes(build.trace(), load)) == ["model_load serves model_save: digits.npz (elsewhere)"]
    assert told(causes((training, build.trace()), load)) == [
        "model_load serves model_save: digits.npz",
        "  training_run depends_on hypothesis_formed: softmax is enough",
    ]


def test_a_cause_that_only_the_attributes_name_counts():
    build = TraceBuilder()
    cause = build.add(spans.HYPOTHESIS_FORMED, "a")
    mirrored = {
        attr.CRUCIBLE_DEPENDENCY_TYPES: (LinkType.DEPENDS_ON, LinkType.CAUSED_BY),
        attr.CRUCIBLE_DEPENDENCY_SPAN_IDS: (cause.span_id, "f" * 16),
        attr.CRUCIBLE_DEPENDENCY_NAMES: ("depends_on: hypothesis_formed: a", "caused_by: epoch: epoch 3"),
    }
    effect = build.add(spans.DEPLOYMENT, "d", attributes=mirrored)
    assert told(causes(build.trace(), effect)) == [
        "deployment depends_on hypothesis_formed: a",
        "deployment caused_by epoch: epoch 3 (elsewhere)",
    ]


def test_foreign_links_and_damaged_mirrors_are_read_as_far_as_they_go():
    build = TraceBuilder()
    odd = {attr.CRUCIBLE_DEPENDENCY_TYPES: "depends_on", attr.CRUCIBLE_DEPENDENCY_SPAN_IDS: 5}
    span = build.add(None, links=(TraceLink("a" * 32, "b" * 16),), attributes=odd)
    assert told(causes(build.trace(), span)) == ["span  span bbbbbbbbbbbbbbbb (elsewhere)"]
    assert causes((), span)[0].holder is span
    assert causal_links(span)[0].name == ""


def test_a_long_chain_of_causes_is_followed_to_its_end():
    build = TraceBuilder()
    last = build.add(spans.HYPOTHESIS_FORMED, "0")
    for number in range(1, 5_000):
        last = build.add(spans.HYPOTHESIS_FORMED, str(number), causes=[(LinkType.DEPENDS_ON, last)])
    assert [step.depth for step in causes(build.trace(), last)] == list(range(4_999))
