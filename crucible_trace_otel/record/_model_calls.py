"""Operations and decisions that are calls of a language model: tokens, latency, cost; summed up around them."""

import time
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypedDict

from opentelemetry.trace import NonRecordingSpan, Span

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._links import LinkTargets
from crucible_trace_otel.record._metrics import measure_call
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._sums import add_to
from crucible_trace_otel.semconv import attributes as attr

if TYPE_CHECKING:
    from decimal import Decimal

    from typing_extensions import Unpack

    from crucible_trace_otel.prices import PriceTable
    from crucible_trace_otel.record._failure import Outcome
    from crucible_trace_otel.record._usage import Charge
    from crucible_trace_otel.tokens import TokenUsage

__all__ = [
    "CALL_DETAILS",
    "AnswerDetails",
    "CallDetails",
    "ModelCall",
    "charge_of",
    "count_decision",
    "thinking_span",
    "use_prices",
]

_prices: "list[PriceTable]" = []


class AnswerDetails(TypedDict, total=False):
    """What is known of a call of a language model once it is over, beside whose it was and its tokens."""

    response_model: str
    """The model that answered, where it has another name."""
    response_id: str
    """The answer's id; records with one id are one call."""
    conversation_id: str
    agent: str
    """The name of the agent that called."""
    agent_id: str
    latency: float
    """Seconds from the request to the end of the answer."""
    time_to_first_token: float
    """Seconds from the request to the first token."""
    cost: "Decimal | int | str | float"
    """What it cost; without it, that is found by the price table."""
    currency: str
    """Of `cost`, as in ISO 4217; that of the price table where nobody says."""
    prices: "PriceTable"
    """What it is priced by, instead of the table that `configure(prices=)` was given."""


class CallDetails(AnswerDetails, total=False):
    """What a record takes by keyword of the call of a language model that it was taken in.

    What is no count, duration or amount is marked, counts as unknown, and is one warning.
    """

    usage: "TokenUsage | Mapping[str, Any] | object"
    """Its tokens: a `TokenUsage`, or whatever `TokenUsage.of` understands, such as the answer of a library."""
    model: str
    """The model that was asked."""
    provider: str
    """Who offers it."""


CALL_DETAILS = CallDetails.__optional_keys__


def use_prices(table: "PriceTable | None") -> None:
    """Price calls by `table` from now on; by none when None."""
    _prices[:] = [] if table is None else [table]


def charge_of(details: Mapping[str, Any]) -> "Charge":
    """The call that the keywords of a recording call tell of, priced by the table in use."""
    for name in details.keys() - CALL_DETAILS:
        warn_once(f"call {name}", f"Of a call of a language model nothing is called {name!r}: it was left out.")
    from crucible_trace_otel.record._usage import charged  # noqa: PLC0415 - loaded when needed

    return charged(details, _prices[0] if _prices else None)


def thinking_span(given: Any) -> LinkTargets:
    """What `thought_in=` names, as a link takes it: OpenTelemetry's own spans tell their context by a method."""
    target: LinkTargets = given.get_span_context() if isinstance(given, Span) else given
    return target


@guarded(nothing)
def count_decision(chain: Operation, decision: Recorded, charge: "Charge", thought_in: object) -> None:
    """Add what a decision took to its chain, unless that is the call it was taken in, which is counted itself.

    Args:
        chain: What the decision was recorded in.
        decision: Its record.
        charge: What it says of the call.
        thought_in: The span or record of that call; whoever recorded it measures it too.
    """
    is_counted = isinstance(thought_in, ModelCall) and thought_in._counts()
    if not charge.is_call or is_counted or not decision.span_context.trace_flags.sampled:
        return
    add_to(chain, charge.sum)
    if thought_in is None:
        measure_call(NonRecordingSpan(decision.span_context), charge.attributes, charge.latency, charge.first_token)


class ModelCall(Operation):
    """An operation that may be a call of a language model."""

    _when_started = (*Operation._when_started, "_charge", "_first_token_ns", "_details")
    _charge: "Charge | None" = None
    _first_token_ns = 0
    _details: Mapping[str, Any] = MappingProxyType({})

    @guarded(nothing)
    def record_usage(
        self,
        usage: Any = None,
        *,
        model: str | None = None,
        provider: str | None = None,
        **details: "Unpack[AnswerDetails]",
    ) -> None:
        """Record what the call took; said again, what is new takes the place of what was said before.

        Args:
            usage: The tokens: a `TokenUsage`, or what `TokenUsage.of` understands, such as a library's answer.
            model: The model that was asked.
            provider: Who offers it.
            **details: `latency` and `time_to_first_token` in seconds, `cost`, `response_id`, ...: `AnswerDetails`.
        """
        known = {"usage": usage, "model": model, "provider": provider, **details}
        told = {name: value for name, value in known.items() if value is not None}
        if self.ended:
            self.set(charge_of({"usage": None, **told}).attributes)
            return
        self._details = {"usage": None, **self._details, **told}
        if self.is_recording:
            self.set(self._charged())

    def _charged(self) -> dict[str, Any]:
        """What is told of the call so far, as attributes."""
        charge = self._charge = charge_of(self._details)
        self._repairs |= charge.repairs
        return dict(charge.attributes)

    @guarded(nothing)
    def first_token(self) -> None:
        """Say that the first token of the answer is here, at once; only the first call counts."""
        if not self._first_token_ns and not self.ended:
            self._first_token_ns = time.perf_counter_ns()
            self.set({attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: self._to_first_token()})

    def _state(self, outcome: "Outcome") -> dict[str, Any]:
        self._account(outcome)
        return super()._state(outcome)

    @guarded(nothing)
    def _account(self, outcome: "Outcome") -> None:
        """Add the call to what is around it, unless calls inside it were: then those are what it took."""
        charge = self._charge
        if charge is None or self._spent is not None:
            return
        add_to(self.outer, charge.sum)
        seconds = (self._now_ns() - self._started_at) / 1e9 if charge.latency is None else charge.latency
        first = self._to_first_token() if charge.first_token is None else charge.first_token
        known = {**self._given, **charge.attributes, attr.ERROR_TYPE: outcome.error_type}
        measure_call(self.span, known, seconds, first)

    def _counts(self) -> bool:
        """Whether it is a call: a decision that was taken in it says nothing new of tokens."""
        return self._charge is not None

    def _to_first_token(self) -> float | None:
        if not self._first_token_ns or not self._started_at:
            return None
        return max(self._first_token_ns + self._clock_offset - self._started_at, 0) / 1e9
