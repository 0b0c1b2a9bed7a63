"""Reasoning chains: the six verbs, what they depend on, and how sure they are."""

from __future__ import annotations

import json
import math

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.reasoning import Decision
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

CONFIDENCE = attr.CRUCIBLE_DECISION_CONFIDENCE
BEFORE = attr.CRUCIBLE_DECISION_PREVIOUS_CONFIDENCE
METADATA = attr.CRUCIBLE_DECISION_METADATA_TEMPLATE


def test_a_chain_holds_its_decisions_in_order_of_time(recorded: Recording) -> None:
    shown = (
        attr.CRUCIBLE_OPERATION_NAME,
        attr.CRUCIBLE_DECISION_TEXT,
        attr.CRUCIBLE_DECISION_REASONING,
        attr.CRUCIBLE_DECISION_ALTERNATIVES,
        CONFIDENCE,
        BEFORE,
        attr.CRUCIBLE_CONSTRAINT_SATISFIED,
        attr.CRUCIBLE_PATTERN_NAME,
        attr.CRUCIBLE_AMBIGUITY_RESOLUTION,
        attr.CRUCIBLE_DECISION_CODE_SECTION,
        attr.CRUCIBLE_DECISION_SPEC_REFERENCE,
        attr.CRUCIBLE_DEPENDENCY_NAMES,
        attr.CRUCIBLE_OPERATION_RESULT,
    )
    with crucible.reasoning_chain("choose a cache") as chain:
        lru = chain.form_hypothesis("an LRU dict", reasoning="200 keys", alternatives=["Redis"], confidence=0.6)
        small = chain.evaluate_constraint("under 10 MB", satisfied=True, depends_on=[lru], spec_reference="4.2")
        chain.reject_alternative("Redis", reasoning="a network hop", parent=lru, links={"supports": [lru, small]})
        chain.apply_pattern("cache-aside", code_section="Cache.get")
        chain.flag_ambiguity("which keys?", resolution="all of them")
        chain.update_confidence(lru, 0.9, reasoning="measured")

    def decision(operation: str, text: str, **more: object) -> dict[str, object]:
        return {attr.CRUCIBLE_OPERATION_NAME: operation, attr.CRUCIBLE_DECISION_TEXT: text, **more}

    first = "hypothesis_formed: an LRU dict"
    second = "constraint_evaluated: under 10 MB"
    assert recorded.tree(*shown) == node(
        "reasoning_chain",
        "choose a cache",
        node(
            "hypothesis_formed",
            "an LRU dict",
            attributes=decision("hypothesis_formed", "an LRU dict")
            | {
                attr.CRUCIBLE_DECISION_REASONING: "200 keys",
                attr.CRUCIBLE_DECISION_ALTERNATIVES: ("Redis",),
                CONFIDENCE: 0.6,
            },
        ),
        node(
            "constraint_evaluated",
            "under 10 MB",
            attributes=decision("constraint_evaluated", "under 10 MB")
            | {
                attr.CRUCIBLE_CONSTRAINT_SATISFIED: True,
                attr.CRUCIBLE_DECISION_SPEC_REFERENCE: "4.2",
                attr.CRUCIBLE_DEPENDENCY_NAMES: (f"depends_on: {first}",),
            },
            links=[f"depends_on: {first}"],
        ),
        node(
            "alternative_rejected",
            "Redis",
            attributes=decision("alternative_rejected", "Redis")
            | {
                attr.CRUCIBLE_DECISION_REASONING: "a network hop",
                attr.CRUCIBLE_DEPENDENCY_NAMES: (f"parent: {first}", f"supports: {first}", f"supports: {second}"),
            },
            links=[f"parent: {first}", f"supports: {first}", f"supports: {second}"],
        ),
        node(
            "pattern_applied",
            "cache-aside",
            attributes=decision("pattern_applied", "cache-aside")
            | {attr.CRUCIBLE_PATTERN_NAME: "cache-aside", attr.CRUCIBLE_DECISION_CODE_SECTION: "Cache.get"},
        ),
        node(
            "ambiguity_flagged",
            "which keys?",
            attributes=decision("ambiguity_flagged", "which keys?")
            | {attr.CRUCIBLE_AMBIGUITY_RESOLUTION: "all of them"},
        ),
        node(
            "confidence_updated",
            "an LRU dict",
            attributes=decision("confidence_updated", "an LRU dict")
            | {
                attr.CRUCIBLE_DECISION_REASONING: "measured",
                CONFIDENCE: 0.9,
                BEFORE: 0.6,
                attr.CRUCIBLE_DEPENDENCY_NAMES: (f"refines: {first}",),
            },
            links=[f"refines: {first}"],
        ),
        attributes={attr.CRUCIBLE_OPERATION_NAME: "reasoning_chain", attr.CRUCIBLE_OPERATION_RESULT: "success"},
    )


def test_a_decision_says_who_it_is(recorded: Recording) -> None:
    with crucible.reasoning_chain("q") as chain:
        decision = chain.form_hypothesis("h", confidence=1)
    span = recorded.one("hypothesis_formed")
    assert decision == Decision(
        said(span)[attr.CRUCIBLE_EVENT_ID], span.get_span_context(), "hypothesis_formed", "h", 1.0
    )
    assert len(decision.event_id) == 32
    assert decision.event_id != chain.event_id


def test_the_mirror_of_links_is_parallel(recorded: Recording) -> None:
    with crucible.reasoning_chain("q") as chain:
        one = chain.form_hypothesis("one")
        two = chain.form_hypothesis("two", depends_on=one.event_id, links={"contradicts": one.span_context})
    span = recorded.spans[-1]
    assert two.span_context == span.context
    assert {key: said(span)[key] for key in said(span) if "dependency" in key} == {
        attr.CRUCIBLE_DEPENDENCY_NAMES: ("depends_on: hypothesis_formed: one", "contradicts: span"),
        attr.CRUCIBLE_DEPENDENCY_TYPES: ("depends_on", "contradicts"),
        attr.CRUCIBLE_DEPENDENCY_SPAN_IDS: (f"{one.span_context.span_id:016x}",) * 2,
    }
    assert [dict(link.attributes or {}) for link in span.links] == [
        {attr.CRUCIBLE_LINK_TYPE: "depends_on", attr.CRUCIBLE_LINK_EVENT_ID: one.event_id},
        {attr.CRUCIBLE_LINK_TYPE: "contradicts"},
    ]


@pytest.mark.parametrize("target", ["no such id", 42, object], ids=str)
def test_an_unknown_target_is_named_and_warned_about_once(
    recorded: Recording, warned: list[str], target: object
) -> None:
    with crucible.reasoning_chain("q") as chain:
        for _ in range(3):
            chain.form_hypothesis("h", depends_on=[target])  # type: ignore[list-item]
    assert len(warned) == 1
    assert "nothing recorded in this process" in warned[0]
    for span in recorded.named("hypothesis_formed"):
        assert said(span)[attr.CRUCIBLE_DEPENDENCY_UNKNOWN] == (str(target),)
        assert not span.links


def test_operations_that_depend_on_each_other_are_marked(recorded: Recording, warned: list[str]) -> None:
    with crucible.pipeline("p") as pipeline, pipeline.stage("a") as a, pipeline.stage("b") as b:
        a.link("depends_on", b)
        b.link("depends_on", a)
        b.link("caused_by", a)
    assert len(warned) == 1
    assert "depends on itself" in warned[0]
    assert attr.CRUCIBLE_DEPENDENCY_CYCLE not in said(recorded.one("stage a"))
    assert said(recorded.one("stage b"))[attr.CRUCIBLE_DEPENDENCY_CYCLE] == (b.event_id, a.event_id, b.event_id)
    assert recorded.tree().inside[0].links == ["depends_on: stage b: b"]


def test_a_cycle_closed_against_a_dependency_given_at_the_start_is_marked(
    recorded: Recording, warned: list[str]
) -> None:
    with crucible.pipeline("p") as pipeline, pipeline.stage("a") as a:
        with pipeline.stage("b", depends_on=a) as b:
            pass
        with crucible.reasoning_chain("q") as chain:
            decision = chain.form_hypothesis("h", depends_on=b)
        a.link("depends_on", decision)
    assert len(warned) == 1
    cycle = (a.event_id, decision.event_id, b.event_id, a.event_id)
    assert said(recorded.one("stage a"))[attr.CRUCIBLE_DEPENDENCY_CYCLE] == cycle


def test_an_operation_may_not_rest_on_itself(recorded: Recording, warned: list[str]) -> None:
    with crucible.stage("a") as a:
        a.link("depends_on", a)
    assert said(recorded.one("stage a"))[attr.CRUCIBLE_DEPENDENCY_CYCLE] == (a.event_id, a.event_id)
    assert len(warned) == 1


class Unwilling:
    def __float__(self) -> float:
        raise RuntimeError("no number")

    def __str__(self) -> str:
        return "unwilling"


@pytest.mark.parametrize(
    ("given", "kept", "refused"),
    [
        (None, None, None),
        (0, 0.0, None),
        (1, 1.0, None),
        ("0.5", 0.5, None),
        (1.01, None, 1.01),
        (-1, None, -1.0),
        (math.inf, None, math.inf),
        ("sure", None, "sure"),
        ([0.5], None, "[0.5]"),
        (10**400, None, str(10**400)),
        (Unwilling(), None, "unwilling"),
    ],
    ids=str,
)
def test_a_confidence_is_from_0_to_1_or_unknown(
    recorded: Recording, given: object, kept: float | None, refused: object
) -> None:
    with crucible.reasoning_chain("q") as chain:
        decision = chain.form_hypothesis("h", confidence=given)  # type: ignore[arg-type]
    attributes = said(recorded.one("hypothesis_formed"))
    assert decision.confidence == attributes.get(CONFIDENCE) == kept
    assert attributes.get(f"{METADATA}.confidence_given") == refused


def test_nan_is_no_confidence(recorded: Recording) -> None:
    with crucible.reasoning_chain("q") as chain:
        assert chain.form_hypothesis("h", confidence=math.nan).confidence is None
    assert math.isnan(said(recorded.one("hypothesis_formed"))[f"{METADATA}.confidence_given"])


def test_each_update_names_the_confidence_before_it(recorded: Recording) -> None:
    with crucible.reasoning_chain("q") as chain:
        sure = chain.form_hypothesis("sure", confidence=0.5)
        unsure = chain.form_hypothesis("unsure")
        chain.update_confidence(sure, 0.6)
        chain.update_confidence(sure, 7)
        chain.update_confidence(sure.event_id, 0.8)
        chain.update_confidence(unsure, 0.1)
        chain.update_confidence(unsure, 0.2)
    updates = [said(span) for span in recorded.named("confidence_updated")]
    assert [(update.get(BEFORE), update.get(CONFIDENCE)) for update in updates] == [
        (0.5, 0.6),
        (0.6, None),
        (0.6, 0.8),
        (None, 0.1),
        (0.1, 0.2),
    ]


def test_keywords_nobody_knows_are_metadata(recorded: Recording) -> None:
    with crucible.reasoning_chain("q") as chain:
        chain.form_hypothesis("h", metadata={"team": "cache", 3: {"x": [1, None]}}, ticket=17)  # type: ignore[call-arg]
        chain.form_hypothesis("h", metadata=["a", "b"])  # type: ignore[arg-type]
    first, second = (
        {key: value for key, value in said(span).items() if METADATA in key} for span in recorded.spans[1:]
    )
    assert first == {f"{METADATA}.team": "cache", f"{METADATA}.3": '{"x": [1, null]}', f"{METADATA}.ticket": 17}
    assert second == {f"{METADATA}.metadata": ("a", "b")}


def test_much_metadata_is_kept_together(recorded: Recording) -> None:
    with crucible.reasoning_chain("q") as chain:
        chain.form_hypothesis("h", metadata={f"k{i}": i for i in range(500)})
    attributes = said(recorded.one("hypothesis_formed"))
    rest = json.loads(attributes[attr.CRUCIBLE_OVERFLOW])
    kept = {key: value for key, value in attributes.items() if key.startswith(METADATA)}
    assert kept | rest == {f"{METADATA}.k{i}": i for i in range(500)}
    assert recorded.one("hypothesis_formed").dropped_attributes == 0


@pytest.mark.parametrize(
    "verb",
    ["form_hypothesis", "reject_alternative", "evaluate_constraint", "apply_pattern", "flag_ambiguity"],
)
def test_a_call_that_is_wrong_is_warned_about_and_goes_on(recorded: Recording, warned: list[str], verb: str) -> None:
    with crucible.reasoning_chain("q") as chain:
        decision = getattr(chain, verb)("text", 0.5, "too many positions")
        assert isinstance(decision, Decision)
        getattr(chain, verb)()
        chain.update_confidence("only one argument")  # type: ignore[call-arg]
        chain.form_hypothesis("h", depends_on=decision)
    assert [text.split(" was not recorded")[0] for text in warned[:3]] == [
        f"ReasoningChain.{verb}()",
        f"ReasoningChain.{verb}()",
        "ReasoningChain.update_confidence()",
    ]
    assert [inner.name for inner in recorded.tree().inside] == ["hypothesis_formed"]
