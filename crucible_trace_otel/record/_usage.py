"""What one call of a language model took: checked, priced, and as attributes.

Loaded with the first call that is recorded: it brings `decimal` with it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.prices import PriceTable
from crucible_trace_otel.record._unexpected import as_number
from crucible_trace_otel.record._values import Repairs, one_line
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RepairReason
from crucible_trace_otel.tokens import TokenUsage, UsageSum, in_digits, money

__all__ = ["Charge", "attributes_of", "charged"]

_TOKENS = {
    "input": attr.GEN_AI_USAGE_INPUT_TOKENS,
    "output": attr.GEN_AI_USAGE_OUTPUT_TOKENS,
    "cached": attr.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS,
    "cache_write": attr.GEN_AI_USAGE_CACHE_WRITE_INPUT_TOKENS,
    "reasoning": attr.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS,
}
_TOTALS = {
    "calls": attr.CRUCIBLE_USAGE_TOTAL_CALL_COUNT,
    "input": attr.CRUCIBLE_USAGE_TOTAL_INPUT_TOKENS,
    "output": attr.CRUCIBLE_USAGE_TOTAL_OUTPUT_TOKENS,
    "cached": attr.CRUCIBLE_USAGE_TOTAL_CACHE_READ_INPUT_TOKENS,
    "cache_write": attr.CRUCIBLE_USAGE_TOTAL_CACHE_WRITE_INPUT_TOKENS,
    "reasoning": attr.CRUCIBLE_USAGE_TOTAL_REASONING_OUTPUT_TOKENS,
    "uncounted": attr.CRUCIBLE_USAGE_TOTAL_UNCOUNTED_COUNT,
    "unpriced": attr.CRUCIBLE_USAGE_TOTAL_UNPRICED_COUNT,
}
_ALWAYS = ("calls", "input", "output", "uncounted", "unpriced")
_NAMES = {
    "model": attr.GEN_AI_REQUEST_MODEL,
    "provider": attr.GEN_AI_PROVIDER_NAME,
    "response_model": attr.GEN_AI_RESPONSE_MODEL,
    "response_id": attr.GEN_AI_RESPONSE_ID,
    "conversation_id": attr.GEN_AI_CONVERSATION_ID,
    "agent": attr.GEN_AI_AGENT_NAME,
    "agent_id": attr.GEN_AI_AGENT_ID,
}
_MOST_REFUSED = 10


@dataclass(slots=True)
class Charge:
    """A call of a language model."""

    names: dict[str, str]
    """Model, provider, ...: what was said of whose call it was."""
    is_call: bool
    """Whether anything was said of what it took; else it is only told which model thought something."""
    usage: TokenUsage = field(default_factory=TokenUsage)
    cost: Decimal | None = None
    currency: str | None = None
    table_version: str | None = None
    latency: float | None = None
    """Seconds; None where it is not known."""
    first_token: float | None = None
    refused: list[str] = field(default_factory=list)
    repairs: Repairs = field(default_factory=dict)

    @property
    def sum(self) -> UsageSum:
        """The sum of this one call."""
        return UsageSum.of_call(self.usage, self.cost, self.currency)

    @property
    def attributes(self) -> dict[str, Any]:
        """As attributes of the span of the call, or of the decision that was taken in it."""
        named: dict[str, Any] = {_NAMES[name]: value for name, value in self.names.items()}
        if not self.is_call:
            return named
        is_priced = self.cost is not None
        return named | {
            **{key: getattr(self.usage, name) for name, key in _TOKENS.items()},
            attr.CRUCIBLE_LLM_LATENCY: self.latency,
            attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK: self.first_token,
            attr.CRUCIBLE_COST_AMOUNT: float(self.cost) if self.cost is not None else None,
            attr.CRUCIBLE_COST_EXACT: in_digits(self.cost) if self.cost is not None else None,
            attr.CRUCIBLE_COST_CURRENCY: self.currency if is_priced else None,
            attr.CRUCIBLE_COST_PRICE_TABLE_VERSION: self.table_version,
            attr.CRUCIBLE_COST_UNKNOWN_COUNT: 0 if is_priced else 1,
            attr.CRUCIBLE_LLM_REFUSED: self.refused[:_MOST_REFUSED] or None,
        }

    def refuse(self, key: str, told: str) -> None:
        """Mark what was given for the attribute `key` and is no measurement; it stays unknown. Said once."""
        self.refused.append(told)
        self.repairs[key] = RepairReason.MEASUREMENT
        name = told.partition(":")[0]
        wanted = "price table" if name == "prices" else "count, duration or amount from zero up"
        warn_once(
            f"measurement {name}",
            f"{told} is no {wanted}: it is kept as {attr.CRUCIBLE_LLM_REFUSED} and counts as unknown.",
        )


def charged(details: Mapping[str, Any], prices: PriceTable | None) -> Charge:
    """The call that the keywords of a recording call tell of; never raises for any value of theirs.

    Args:
        details: As `CallDetails` has them.
        prices: What it is priced by, where the call brings no table of its own.
    """
    names = {name: one_line(details[name]) for name in _NAMES if details.get(name) is not None}
    is_call = any(name in details for name in ("usage", "cost", "latency", "time_to_first_token"))
    charge = Charge(names, is_call)
    if not is_call:
        return charge
    charge.usage = TokenUsage.of(details.get("usage"))
    for told in charge.usage.refused:
        name = told.partition(":")[0]
        charge.refuse(_TOKENS.get(name, _TOKENS["input"]), f"usage.{told}" if name in _TOKENS else told)
    charge.latency = _seconds(charge, details, "latency", attr.CRUCIBLE_LLM_LATENCY)
    charge.first_token = _seconds(charge, details, "time_to_first_token", attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    own = details.get("prices")
    if own is not None:
        prices = own if isinstance(own, PriceTable) else None
        if prices is None:
            charge.refuse(attr.CRUCIBLE_COST_AMOUNT, f"prices: {one_line(own)}")
    _price(charge, details, prices)
    return charge


def attributes_of(total: UsageSum) -> dict[str, Any]:
    """A sum as attributes of the operation it was made in: parts of the tokens only where there are any."""
    counts = {name: getattr(total, name) for name in _TOTALS}
    attributes: dict[str, Any] = {_TOTALS[name]: count for name, count in counts.items() if count or name in _ALWAYS}
    attributes[attr.CRUCIBLE_USAGE_TOTAL_COSTS] = total.amounts or None
    if len(total.costs) == 1:
        ((currency, amount),) = total.costs.items()
        attributes[attr.CRUCIBLE_USAGE_TOTAL_COST] = float(amount)
        attributes[attr.CRUCIBLE_USAGE_TOTAL_CURRENCY] = currency
    return attributes


def _duration(given: object) -> float | None:
    """`given` as a duration in seconds from zero up; None where it is none."""
    found = None if isinstance(given, (bool, str, bytes)) else as_number(given)
    return found if found is not None and math.isfinite(found) and found >= 0 else None


def _seconds(charge: Charge, details: Mapping[str, Any], name: str, key: str) -> float | None:
    given = details.get(name)
    found = _duration(given)
    if found is None and given is not None:
        charge.refuse(key, f"{name}: {one_line(given)}")
    return found


def _price(charge: Charge, details: Mapping[str, Any], table: PriceTable | None) -> None:
    """Find what it cost: the amount that was given, or else by the table; otherwise it stays unknown."""
    given = details.get("cost")
    if given is not None:
        amount, currency = money(given), details.get("currency", table.currency if table else None)
        if amount is None or not isinstance(currency, str) or not currency:
            said = one_line(given) if amount is None else f"{one_line(given)} without a currency"
            charge.refuse(attr.CRUCIBLE_COST_AMOUNT, f"cost: {said}")
        else:
            charge.cost, charge.currency = amount, currency
        return
    if table is None:
        return
    names = charge.names
    models = (names.get("response_model"), names.get("model"))
    charge.cost = table.cost_of_first(charge.usage, models, provider=names.get("provider"))
    charge.currency, charge.table_version = table.currency, table.version
