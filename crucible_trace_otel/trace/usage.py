"""What calls of language models took: every call of stored traces once, added up exactly.

    used = crucible.usage(trace)
    print(used.total.output, used.total.amounts, used.total.unpriced)
    for chain, spent in used.inside("reasoning_chain"):
        print(chain.about, spent.amounts)

A call is told by a span of another instrumentation (`gen_ai.*`), by one of ours, or by a decision that was taken in
it. Where several tell of one call, one counts: of spans that lie in one another the innermost; not a decision whose
call (`thought_in`) is told by its own span; of those with one `gen_ai.response.id` the first.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from decimal import Decimal, InvalidOperation
from functools import cached_property
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.tokens import TokenUsage, UsageSum, money
from crucible_trace_otel.trace.spans import DECISIONS, Key, Trace, TraceSpan, enclosing, in_order, key_of

if TYPE_CHECKING:
    from crucible_trace_otel.prices import PriceTable

__all__ = ["Call", "Usage", "usage"]

# What the GenAI convention calls, and has called, these things.
_INPUT = (attr.GEN_AI_USAGE_INPUT_TOKENS, "gen_ai.usage.prompt_tokens")
_OUTPUT = (attr.GEN_AI_USAGE_OUTPUT_TOKENS, "gen_ai.usage.completion_tokens")
_CACHED = (attr.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS, "gen_ai.usage.cache_read_input_tokens")
_WRITTEN = (
    *(attr.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS, "gen_ai.usage.cache_creation.input_tokens"),
    "gen_ai.usage.cache_creation_input_tokens",
)
_THOUGHT = (attr.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS, "gen_ai.usage.reasoning_tokens")
_PROVIDER = (attr.GEN_AI_PROVIDER_NAME, "gen_ai.system")
_OPERATION = "gen_ai.operation.name"
_CALLING = frozenset({"chat", "generate_content", "text_completion", "embeddings"})


@dataclass(frozen=True)
class Call:
    """One call of a language model."""

    span: TraceSpan
    """What tells of it: a span of another instrumentation, or one of ours."""
    model: str
    """The model that was asked, or else the one that answered; empty where nobody says."""
    provider: str
    usage: TokenUsage
    cost: Decimal | None
    """None where it is not known."""
    currency: str
    """Of the cost; empty where that is not known."""
    latency_s: float | None
    time_to_first_token_s: float | None
    decision: TraceSpan | None
    """The one decision that was taken in it; None where there is none, or are several."""

    @property
    def sum(self) -> UsageSum:
        """The sum of this one call."""
        return UsageSum.of_call(self.usage, self.cost, self.currency)


@dataclass(frozen=True)
class Usage:
    """The calls of language models in some traces."""

    calls: tuple[Call, ...]
    """Each once, in order of their start."""
    spans: Mapping[Key, TraceSpan]
    """Every span of the traces by its trace id and span id."""

    @property
    def total(self) -> UsageSum:
        """The sum of all calls."""
        return sum((call.sum for call in self.calls), UsageSum())

    def inside(self, operation: str) -> tuple[tuple[TraceSpan, UsageSum], ...]:
        """Each span of `operation` with the sum of the calls inside it, those that have any, in order of their start.

        Args:
            operation: The convention's name, such as `reasoning_chain`, `stage`, `training_run` or `experiment`.
                Operations of one name that lie in each other hold the inner one's calls each.
        """
        inside = {key: calls for key, calls in self._around.items() if self.spans[key].operation == operation}
        sums = _added_up((key, call.sum) for key, calls in inside.items() for call in calls)
        return tuple((span, sums[key_of(span)]) for span in in_order(self.spans[key] for key in sums))

    def by_decision(self) -> tuple[tuple[TraceSpan, UsageSum], ...]:
        """Each decision that alone was taken in a call, with the sum of its calls."""
        sums = _added_up((key_of(call.decision), call.sum) for call in self.calls if call.decision is not None)
        return tuple((span, sums[key_of(span)]) for span in in_order(self.spans[key] for key in sums))

    def by_model(self) -> dict[tuple[str, str], UsageSum]:
        """Provider and model, each empty where nobody says, to the sum of their calls."""
        sums = _added_up(((call.provider, call.model), call.sum) for call in self.calls)
        return dict(sorted(sums.items()))

    @cached_property
    def _around(self) -> dict[Key, list[Call]]:
        """Each span to the calls that it encloses, or is."""
        found: dict[Key, list[Call]] = {}
        by_id = {span.span_id: span for span in self.spans.values()}
        for call in self.calls:
            for span in enclosing(call.span, by_id.get):
                found.setdefault(key_of(span), []).append(call)
        return found


def usage(traces: Trace | Iterable[Trace], *, prices: "PriceTable | None" = None) -> Usage:
    """The calls of language models that `traces` tell of, each counted once.

    Args:
        traces: One trace, or those of several runs, of an experiment, of a whole journal.
        prices: What calls are priced by whose cost was not recorded, such as those of other instrumentations, each as
            of the day it began.

    Returns:
        The calls, and their sums by operation, decision and model. Costs are exact; those of several currencies are
        not added up; calls without a known cost, or without known tokens, are counted as such.
    """
    spans = [span for trace in ([traces] if isinstance(traces, Trace) else traces) for span in trace.spans]
    every = {key_of(span): span for span in in_order(spans)}
    telling = _counted(every)
    thinkers: dict[Key, list[TraceSpan]] = {}
    for span in every.values():
        if span.operation in DECISIONS and key_of(span) not in telling:
            for key in _thought_in(span):
                thinkers.setdefault(key, []).append(span)
    calls = []
    for key, span in telling.items():
        thought = [span] if span.operation in DECISIONS else thinkers.get(key, [])
        calls.append(_call(span, thought[0] if len(thought) == 1 else None, prices))
    return Usage(tuple(calls), every)


def _added_up(parts: Iterable[tuple[tuple[str, str], UsageSum]]) -> dict[tuple[str, str], UsageSum]:
    """The sum of the parts of each key."""
    sums: dict[tuple[str, str], UsageSum] = {}
    for key, part in parts:
        sums[key] = sums.get(key, UsageSum()) + part
    return sums


def _counted(every: Mapping[Key, TraceSpan]) -> dict[Key, TraceSpan]:
    """Those spans that count as calls."""
    telling = {key: span for key, span in every.items() if _tells(span)}
    by_id = {span.span_id: span for span in every.values()}
    doubled: set[Key] = set()
    for key, span in telling.items():
        for around in list(enclosing(span, by_id.get))[1:]:
            doubled.add(key_of(around))
        if any(target in telling for target in _thought_in(span)):
            doubled.add(key)
    counted: dict[Key, TraceSpan] = {}
    answers: set[str] = set()
    for key, span in telling.items():
        answer = str(span.attributes.get(attr.GEN_AI_RESPONSE_ID, ""))
        if key not in doubled and answer not in answers:
            counted[key] = span
            answers |= {answer} - {""}
    return counted


def _tells(span: TraceSpan) -> bool:
    """Whether `span` tells what a call took, or that there was one."""
    told = span.attributes
    if span.is_ours:
        return attr.CRUCIBLE_COST_UNKNOWN_COUNT in told or span.operation == operations.LLM_CALL
    return any(key in told for key in (*_INPUT, *_OUTPUT)) or told.get(_OPERATION) in _CALLING


def _thought_in(span: TraceSpan) -> Sequence[Key]:
    return [(link.trace_id, link.span_id) for link in span.links if link.type == LinkType.THOUGHT_IN]


def _call(span: TraceSpan, decision: TraceSpan | None, prices: "PriceTable | None") -> Call:
    told = span.attributes
    tokens = TokenUsage(
        _first(told, _INPUT),
        _first(told, _OUTPUT),
        _first(told, _CACHED),
        _first(told, _WRITTEN),
        _first(told, _THOUGHT),
        refused=_refused(told),
    )
    provider = str(_first(told, _PROVIDER) or "")
    asked, answered = (str(told.get(key, "")) for key in (attr.GEN_AI_REQUEST_MODEL, attr.GEN_AI_RESPONSE_MODEL))
    cost, currency = _recorded_cost(told)
    if cost is None and prices is not None:
        day = datetime.fromtimestamp(span.start_ns / 1e9, timezone.utc).date()
        cost = prices.cost_of_first(tokens, (answered, asked), provider=provider or None, on=day)
        currency = "" if cost is None else prices.currency
    latency = _number(told.get(attr.CRUCIBLE_LLM_LATENCY))
    if latency is None and span.operation not in DECISIONS:  # which are recorded at once
        latency = span.duration_s
    return Call(
        span,
        asked or answered,
        provider,
        tokens,
        cost,
        currency,
        latency_s=latency,
        time_to_first_token_s=_number(told.get(attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)),
        decision=decision,
    )


def _recorded_cost(told: Mapping[str, Any]) -> tuple[Decimal | None, str]:
    """What was recorded as its cost, exactly; None where it was not known then."""
    exact, currency = told.get(attr.CRUCIBLE_COST_EXACT), told.get(attr.CRUCIBLE_COST_CURRENCY)
    try:
        amount = money(exact) if isinstance(exact, str) else None
    except InvalidOperation:
        amount = None
    return (None, "") if amount is None or not isinstance(currency, str) else (amount, currency)


def _first(told: Mapping[str, Any], keys: Iterable[str]) -> Any:
    return next((told[key] for key in keys if key in told), None)


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _refused(told: Mapping[str, Any]) -> tuple[str, ...]:
    """What was given as its tokens and is no count."""
    refused = told.get(attr.CRUCIBLE_LLM_REFUSED)
    texts = map(str, refused) if isinstance(refused, (tuple, list)) else ()
    return tuple(text for text in texts if text.startswith("usage"))
