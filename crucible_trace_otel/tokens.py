"""Tokens and money of calls of language models: values that are checked once and add up exactly.

    usage = crucible.TokenUsage(input=1200, output=300, cached=1000)
    usage = crucible.TokenUsage.of(response)      # as OpenAI's and Anthropic's libraries answer

What is not known is None, never zero. Money is a `Decimal` throughout; sums of it are exact in whatever order.
"""

import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from decimal import Context, Decimal, DivisionByZero, Inexact, InvalidOperation, Overflow
from typing import Any, Final

from crucible_trace_otel._interruption import let_through

__all__ = ["EXACT", "MISSING", "TokenUsage", "UsageSum", "in_digits", "money"]

EXACT: Final = Context(prec=128, traps=[Inexact, InvalidOperation, Overflow, DivisionByZero])
"""Arithmetic that is exact or fails: within the bounds of `money()` the sum of 10^18 amounts has fewer digits."""

MISSING: Final = object()
_LEAST_EXPONENT, _LARGEST_EXPONENT = -40, 50
_COUNTS = range(2**63)
_LONGEST = 1_000  # bits of an integer, characters of a text: an amount has fewer
_LONGEST_TOLD = 80
_PARTS_OF_INPUT = ("cached", "cache_write")
_CACHED = (
    "cached",
    "cache_read_input_tokens",
    "prompt_tokens_details.cached_tokens",
    "input_tokens_details.cached_tokens",
)
_WRITTEN = (
    *("cache_write", "cache_creation_input_tokens"),
    *("prompt_tokens_details.cache_write_tokens", "input_tokens_details.cache_write_tokens"),
)
_THOUGHT = (
    *("reasoning", "completion_tokens_details.reasoning_tokens", "output_tokens_details.reasoning_tokens"),
    "output_tokens_details.thinking_tokens",
)
_BESIDE_INPUT = ("cache_read_input_tokens", "cache_creation_input_tokens")


@dataclass(frozen=True)
class TokenUsage:
    """The tokens of one call of a language model, counted as the GenAI convention of OpenTelemetry counts.

    There `gen_ai.usage.input_tokens` includes all kinds of input, what came from a cache and what was put into one
    too, and `gen_ai.usage.output_tokens` includes the tokens of thinking (open-telemetry/semantic-conventions-genai,
    `docs/gen-ai/gen-ai-spans.md`). So `cached`, `cache_write` and `reasoning` are parts of the other two, not more.

    Never raises: what is no count of tokens (negative, no integer), or a part larger than the whole, is named in
    `refused`, is not known instead, and a call with such a count has no known cost.

    Args:
        input: Tokens that the model read, all of them.
        output: Tokens that it wrote, all of them.
        cached: Of those it read, the ones that came from a cache.
        cache_write: Of those it read, the ones that were put into a cache.
        reasoning: Of those it wrote, the ones it used for thinking.
    """

    input: int | None = None
    output: int | None = None
    cached: int | None = None
    cache_write: int | None = None
    reasoning: int | None = None
    refused: tuple[str, ...] = ()
    """What was given and is no count, each `name: value`."""

    def __post_init__(self) -> None:
        before = self.refused if isinstance(self.refused, (tuple, list)) else (self.refused,)
        refused = [each if isinstance(each, str) else _told(each) for each in before]
        for name in _KINDS:
            given = getattr(self, name)
            count = _count(given)
            if count is None and given is not None:
                refused.append(f"{name}: {_told(given)}")
            object.__setattr__(self, name, count)
        for whole, parts in (("input", _PARTS_OF_INPUT), ("output", ("reasoning",))):
            total, among = getattr(self, whole), [getattr(self, part) or 0 for part in parts]
            if total is not None and sum(among) > total:
                refused += [f"{part}: {count}" for part, count in zip(parts, among, strict=True) if count]
                for part in parts:
                    object.__setattr__(self, part, None)
        object.__setattr__(self, "refused", tuple(refused))

    @classmethod
    def of(cls, given: object) -> "TokenUsage":
        """The tokens that a library's answer tells of; never raises.

        Understood are the answers, or their `usage`, as objects or as mappings, of OpenAI (`prompt_tokens` and
        `completion_tokens`, or `input_tokens` and `output_tokens`, with their details) and of Anthropic, whose
        `input_tokens` are those beside its `cache_read_input_tokens` and `cache_creation_input_tokens`: here they
        are added up. A mapping with the names of `TokenUsage` is taken too. What says nothing of tokens has none.
        """
        if given is None or isinstance(given, cls):
            return given or cls()
        inner = _read(given, "usage")
        usage = given if inner in (MISSING, None) else inner
        read = _first(usage, "input", "prompt_tokens")
        if read is None:
            read = _first(usage, "input_tokens")
            beside = [_first(usage, name) for name in _BESIDE_INPUT]
            counts = [_count(count) for count in (read, *beside)]
            if counts[0] is not None:
                read = sum(count for count in counts if count is not None)
        wrote = _first(usage, "output", "completion_tokens", "output_tokens")
        total = _first(usage, "total_tokens")
        all_tokens, all_read = _count(total), _count(read)
        if wrote is None and all_tokens is not None and all_read is not None:
            wrote = all_tokens - all_read  # of embeddings, that write nothing
        known = {"cached": _first(usage, *_CACHED), "cache_write": _first(usage, *_WRITTEN)}
        found = cls(read, wrote, **known, reasoning=_first(usage, *_THOUGHT))
        says_nothing = found == cls()
        return cls(refused=(f"usage: {_told(given)}",)) if says_nothing and inner is MISSING else found

    @property
    def is_known(self) -> bool:
        """Whether it is known how many tokens were read and written, and nothing given was refused."""
        return self.input is not None and self.output is not None and not self.refused


_KINDS: Final = tuple(each.name for each in fields(TokenUsage) if each.name != "refused")


@dataclass(frozen=True)
class UsageSum:
    """The tokens and the cost of some calls; sums are exact, and what is not known is counted, not guessed."""

    calls: int = 0
    input: int = 0
    """Tokens read, those of `cached` and `cache_write` too."""
    output: int = 0
    """Tokens written, those of `reasoning` too."""
    cached: int = 0
    cache_write: int = 0
    reasoning: int = 0
    uncounted: int = 0
    """Calls of which it is not known how many tokens they read and wrote; what is known of them is in the sums."""
    unpriced: int = 0
    """Calls whose cost is not known; it is in no amount."""
    costs: Mapping[str, Decimal] = field(default_factory=dict)
    """Currency to the sum of the known costs in it: those of several currencies are never added up."""

    @classmethod
    def of_call(cls, usage: TokenUsage, cost: Decimal | None, currency: str | None) -> "UsageSum":
        """The sum of one call."""
        tokens = {name: getattr(usage, name) or 0 for name in _KINDS}
        costs = {} if cost is None else {currency or "": cost}
        return cls(1, **tokens, uncounted=int(not usage.is_known), unpriced=int(cost is None), costs=costs)

    def __add__(self, other: "UsageSum") -> "UsageSum":
        if not isinstance(other, UsageSum):
            return NotImplemented
        costs = dict(self.costs)
        for currency, amount in other.costs.items():
            costs[currency] = EXACT.add(costs[currency], amount) if currency in costs else amount
        counts = {name: getattr(self, name) + getattr(other, name) for name in _COUNTED}
        return UsageSum(**counts, costs=costs)

    def __bool__(self) -> bool:
        return self.calls > 0

    @property
    def amounts(self) -> tuple[str, ...]:
        """Each cost in exact digits with its currency, such as `0.0132 USD`, by currency."""
        return tuple(f"{in_digits(amount)} {currency}".strip() for currency, amount in sorted(self.costs.items()))


_COUNTED: Final = tuple(each.name for each in fields(UsageSum) if each.name != "costs")


def money(given: object) -> Decimal | None:
    """`given` as an amount: from zero to below 10^51, with at most 40 decimals; None where it is none.

    A float is taken by the digits it is shown with: 0.1 is a tenth.
    """
    if isinstance(given, bool) or not isinstance(given, (Decimal, int, float, str)):
        return None
    size = given.bit_length() if isinstance(given, int) else len(given) if isinstance(given, str) else 0
    if size > _LONGEST:
        return None  # to read it would take long
    try:
        amount = Decimal(repr(float(given)) if isinstance(given, float) else given)
    except (InvalidOperation, ValueError):
        return None
    exponent = amount.as_tuple().exponent
    if not isinstance(exponent, int) or amount.is_signed() or (amount and amount.adjusted() > _LARGEST_EXPONENT):
        return None  # not finite, negative, too large
    return Decimal(0) if not amount else amount if exponent >= _LEAST_EXPONENT else None


def in_digits(amount: Decimal) -> str:
    """`amount` as exact decimal digits without an exponent and without zeros at the end."""
    return f"{amount.normalize(EXACT):f}"


def _count(given: object) -> int | None:
    if given is None or isinstance(given, bool):
        return None
    try:
        count = operator.index(given)  # type: ignore[arg-type]
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        return None
    return count if count in _COUNTS else None


def _first(usage: object, *names: str) -> Any:
    """The first of `names` that `usage` tells, by a dot those inside of others; None where it tells none."""
    for found in _each(usage, names):
        if found is not None and found is not MISSING:
            return found
    return None


def _each(usage: object, names: tuple[str, ...]) -> Iterator[Any]:
    for name in names:
        here: Any = usage
        for part in name.split("."):
            here = _read(here, part)
        yield here


def _read(holder: object, name: str) -> Any:
    """`holder[name]` of a mapping, else `holder.name`; `MISSING` where there is none."""
    try:
        return holder.get(name, MISSING) if isinstance(holder, Mapping) else getattr(holder, name, MISSING)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        return MISSING


def _told(given: object) -> str:
    try:
        return repr(given)[:_LONGEST_TOLD]
    except Exception as error:  # noqa: BLE001 - any object may be given, and its __repr__ may do anything
        let_through(error)
        return f"<unprintable {type(given).__qualname__}>"
