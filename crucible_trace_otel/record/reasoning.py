"""Reasoning chains: what was considered, what was rejected, and why.

with crucible.reasoning_chain("choose a cache") as chain:
    lru = chain.form_hypothesis("an LRU dict is enough", reasoning="200 keys", alternatives=["Redis"], confidence=0.6)
    chain.reject_alternative("Redis", reasoning="a network hop for 200 keys", parent=lru)
    chain.update_confidence(lru, 0.9, reasoning="measured")
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN_CONTEXT

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import forgiving, guarded
from crucible_trace_otel.record._links import Links, LinkTarget, LinkTargets, links_with
from crucible_trace_otel.record._model_calls import (
    CALL_DETAILS,
    CallDetails,
    charge_of,
    count_decision,
    thinking_span,
)
from crucible_trace_otel.record._moments import record_moment
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._unexpected import as_number
from crucible_trace_otel.record._values import marks, one_line, printable, with_template
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType

if TYPE_CHECKING:
    from opentelemetry.trace import Span
    from typing_extensions import Unpack

__all__ = ["Decision", "DecisionDetails", "ReasoningChain", "reasoning_chain"]


@dataclass(frozen=True, repr=False)
class Decision(Recorded):
    """A recorded decision; later records name it in `parent=`, `depends_on=` and `links=`."""

    confidence: float | None = None
    """From 0 to 1; None where it is not known."""


class DecisionDetails(CallDetails, total=False):
    """What every verb of a chain takes by keyword, beside its `confidence` from 0 to 1 (None: not known).

    Of the call of a language model that the decision was taken in, it takes what `CallDetails` has. A keyword that is
    not here is kept as metadata.
    """

    thought_in: "LinkTarget | Span"
    """The span of that call, or its record: linked as such, and what it took is not counted a second time."""

    reasoning: str
    """Why."""
    alternatives: Sequence[str]
    """What else was considered."""
    parent: LinkTarget
    """The decision this one grew out of."""
    depends_on: LinkTargets
    """What it rests on."""
    links: Links
    """Other causal links: link type to its target or targets."""
    code_section: str
    """The code it is about."""
    spec_reference: str
    """The part of a specification it is about."""
    metadata: Mapping[str, Any]
    """Whatever else belongs to it, by name."""


def _not_recorded(*_: Any, **__: Any) -> Decision:
    """The fallback of a verb that could not record: something that may be passed on like a decision."""
    return Decision("", INVALID_SPAN_CONTEXT, "", "")


class ReasoningChain(Operation):
    """A line of reasoning. Its decisions are its children, in order of time."""

    operation_name = spans.REASONING_CHAIN

    def __init__(
        self,
        name: object,
        *,
        description: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        attributes = {attr.CRUCIBLE_CHAIN_NAME: name, attr.CRUCIBLE_CHAIN_DESCRIPTION: description}
        super().__init__(name, attributes=attributes, depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        self._confidences: dict[str, float] = {}  # what an earlier decision's confidence has become

    @guarded(_not_recorded)
    def form_hypothesis(
        self, hypothesis: str, *, confidence: float | None = None, **details: "Unpack[DecisionDetails]"
    ) -> Decision:
        """Record a hypothesis: something held to be true until it is tested."""
        return self._decide(spans.HYPOTHESIS_FORMED, hypothesis, {}, confidence, details)

    @guarded(_not_recorded)
    def reject_alternative(
        self, alternative: str, *, confidence: float | None = None, **details: "Unpack[DecisionDetails]"
    ) -> Decision:
        """Record that an alternative was rejected."""
        return self._decide(spans.ALTERNATIVE_REJECTED, alternative, {}, confidence, details)

    @guarded(_not_recorded)
    def evaluate_constraint(
        self,
        constraint: str,
        *,
        satisfied: bool | None = None,
        confidence: float | None = None,
        **details: "Unpack[DecisionDetails]",
    ) -> Decision:
        """Record that a constraint was evaluated, and whether it is satisfied (None: not known)."""
        given = {attr.CRUCIBLE_CONSTRAINT_SATISFIED: satisfied}
        return self._decide(spans.CONSTRAINT_EVALUATED, constraint, given, confidence, details)

    @guarded(_not_recorded)
    def apply_pattern(
        self, pattern: str, *, confidence: float | None = None, **details: "Unpack[DecisionDetails]"
    ) -> Decision:
        """Record that a known pattern was applied."""
        return self._decide(spans.PATTERN_APPLIED, pattern, {attr.CRUCIBLE_PATTERN_NAME: pattern}, confidence, details)

    @guarded(_not_recorded)
    def flag_ambiguity(
        self,
        ambiguity: str,
        *,
        resolution: str | None = None,
        confidence: float | None = None,
        **details: "Unpack[DecisionDetails]",
    ) -> Decision:
        """Record something that can be read in more than one way, and how it was resolved, if it was."""
        given = {attr.CRUCIBLE_AMBIGUITY_RESOLUTION: resolution}
        return self._decide(spans.AMBIGUITY_FLAGGED, ambiguity, given, confidence, details)

    @guarded(_not_recorded)
    def update_confidence(
        self, decision: LinkTarget, confidence: float, **details: "Unpack[DecisionDetails]"
    ) -> Decision:
        """Record that the confidence in an earlier decision changed.

        Args:
            decision: The decision, which this record is linked to as `refines`.
            confidence: The new confidence, from 0 to 1.
            **details: As for every verb.
        """
        event_id = decision if isinstance(decision, str) else getattr(decision, "event_id", "")
        before = self._confidences.get(event_id, getattr(decision, "confidence", None))
        given = {attr.CRUCIBLE_DECISION_PREVIOUS_CONFIDENCE: before}
        linked: DecisionDetails = {**details, "links": links_with({LinkType.REFINES: decision}, details.get("links"))}
        about = getattr(decision, "about", event_id)
        recorded = self._decide(spans.CONFIDENCE_UPDATED, about, given, confidence, linked)
        if recorded.confidence is not None:
            self._confidences[event_id] = recorded.confidence
        return recorded

    def _decide(
        self, name: str, text: str, given: Mapping[str, Any], confidence: Any, details: Mapping[str, Any]
    ) -> Decision:
        known = dict(details)
        causes = {key: known.pop(key, None) for key in ("parent", "depends_on", "links")}
        call = {key: known.pop(key) for key in CALL_DETAILS & known.keys()}
        thought_in = known.pop("thought_in", None)
        if thought_in is not None:
            causes["links"] = links_with({LinkType.THOUGHT_IN: thinking_span(thought_in)}, causes["links"])
        certain, refused = _confidence(confidence)
        attributes = {
            attr.CRUCIBLE_DECISION_TEXT: text,
            attr.CRUCIBLE_DECISION_REASONING: known.pop("reasoning", None),
            attr.CRUCIBLE_DECISION_ALTERNATIVES: known.pop("alternatives", None),
            attr.CRUCIBLE_DECISION_CONFIDENCE: certain,
            attr.CRUCIBLE_DECISION_CODE_SECTION: known.pop("code_section", None),
            attr.CRUCIBLE_DECISION_SPEC_REFERENCE: known.pop("spec_reference", None),
            **given,
        }
        metadata = known.pop("metadata", None)
        named = {**(metadata if isinstance(metadata, Mapping) else {"metadata": metadata}), **known, **refused}
        attributes |= with_template(attr.CRUCIBLE_DECISION_METADATA_TEMPLATE, named)
        charge = charge_of(call) if call else None
        if charge is not None:
            attributes |= {**charge.attributes, **marks(charge.repairs)}
        recorded = record_moment(self, name, text, attributes, **causes)
        if charge is not None:
            count_decision(self, recorded, charge, thought_in)
        return Decision(recorded.event_id, recorded.span_context, recorded.operation_name, recorded.about, certain)


@forgiving
def reasoning_chain(
    name: str,
    *,
    description: str | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> ReasoningChain:
    """A line of reasoning, to be used in `with`, as a decorator, or by `start()` and `stop()`.

    Args:
        name: The question it answers.
        description: More about it.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return ReasoningChain(name, description=description, depends_on=depends_on, links=links)


def _confidence(given: Any) -> tuple[float | None, dict[str, Any]]:
    """A confidence from 0 to 1; what is none is kept beside it as metadata, and the confidence stays unknown."""
    if given is None:
        return None, {}
    confidence = as_number(given)
    if confidence is None:
        said = one_line(given)
        warn_once(f"confidence {said}", f"A confidence is a number from 0 to 1: {said!r} is kept as metadata only.")
        return None, {"confidence_given": printable(given)}
    if 0.0 <= confidence <= 1.0:
        return confidence, {}
    warn_once(f"confidence {confidence}", f"A confidence goes from 0 to 1: {confidence} is kept as metadata only.")
    return None, {"confidence_given": confidence}
