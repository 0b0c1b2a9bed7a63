"""What a language model costs, as the user says: a table of prices, with a version, in one currency.

    table = crucible.PriceTable.read("prices.json")
    table.cost(crucible.TokenUsage(input=1200, output=300), provider="openai", model="some-model")

A price that the table does not have is not known, and so is the cost: nothing is taken from a similar model.
"""

import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timezone
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NoReturn

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.tokens import EXACT, TokenUsage, money

__all__ = ["Price", "PriceTable"]

_CURRENCY = re.compile(r"[A-Z]{3}")
_KINDS: Final = ("input", "output", "cached", "cache_write", "reasoning")
_IN_TABLE = frozenset({"version", "currency", "per", "note", "prices"})
_IN_PRICE = frozenset({"provider", "model", "from", "until", "note", *_KINDS})
_POWERS = {1: 0, 1_000: 3, 1_000_000: 6}
_LARGEST_FILE = 16 << 20
_DIGITS = 20  # before the point, and after it
_LONGEST_TOLD = 80
_LONGEST_PATH = 500
_FIRST, _LAST = date.min, date.max


@dataclass(frozen=True, slots=True)
class Price:
    """What the tokens of one model cost from one day to another, for as many tokens as the table says."""

    model: str
    provider: str | None = None
    """Who offers the model; None for anybody of whom the table has no price."""
    input: Decimal | None = None
    """Of tokens that are read and are neither `cached` nor `cache_write`."""
    output: Decimal | None = None
    """Of tokens that are written and are not `reasoning`."""
    cached: Decimal | None = None
    cache_write: Decimal | None = None
    reasoning: Decimal | None = None
    since: date = _FIRST
    """The first day it holds, in UTC (`from` in a file)."""
    until: date = _LAST
    """The first day it does not hold any more."""


@dataclass(frozen=True)
class PriceTable:
    """Prices of models, as its user supplies them.

    Args:
        version: Which table it is; recorded with each cost.
        currency: Of all its prices, as in ISO 4217.
        prices: The prices.
        per: For how many tokens they are: 1,000,000, 1,000 or 1.

    Raises:
        FormatError: One sentence with the place of what cannot be used: no version or currency, a negative price or
            one that is no number, two prices of a model whose days overlap.
    """

    version: str
    currency: str
    prices: tuple[Price, ...]
    per: int = 1_000_000

    def __post_init__(self) -> None:
        if not isinstance(self.version, str) or not self.version.strip():
            _refuse("version", self.version, "is no text that names this table, such as its date")
        if not isinstance(self.currency, str) or not _CURRENCY.fullmatch(self.currency):
            _refuse("currency", self.currency, "is no currency of ISO 4217, such as USD")
        if type(self.per) is not int or self.per not in _POWERS:
            _refuse("per", self.per, "is not for how many tokens the prices are: 1000000, 1000 or 1")
        if isinstance(self.prices, (str, bytes)) or not isinstance(self.prices, Iterable):
            _refuse("prices", self.prices, "is no list of prices")
        object.__setattr__(self, "prices", tuple(self.prices))
        found: dict[tuple[str | None, str], list[tuple[Price, int]]] = {}
        for number, price in enumerate(self.prices):
            _check(price, f"prices[{number}]")
            found.setdefault((price.provider, price.model), []).append((price, number))
        for same in found.values():
            same.sort(key=lambda pair: pair[0].since)
            for (one, first), (other, second) in pairwise(same):
                if other.since < one.until:
                    place = f"prices[{max(first, second)}]"
                    _refuse(place, other.model, f"has days in common with prices[{min(first, second)}]")
        object.__setattr__(self, "_found", {key: [price for price, _ in same] for key, same in found.items()})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> "PriceTable":
        """The table in a JSON file.

            {"version": "2026-11-01", "currency": "USD", "per": 1000000, "prices": [
                {"provider": "example", "model": "m", "input": 1, "output": 4.50, "from": "2026-01-01"}]}

        Of a price, `model` is required; `provider`, the five prices (`input`, `output`, `cached`, `cache_write`,
        `reasoning`), `from`, `until` and `note` may be left out, of the table `per` and `note`. Numbers are read as
        they stand, never through a float.

        Raises:
            FormatError: It cannot be read or used: one sentence with the file and the place in it.
        """
        try:
            with Path(path).open("rb") as file:
                data = file.read(_LARGEST_FILE + 1)
        except (OSError, TypeError, ValueError) as error:
            why = getattr(error, "strerror", None) or error
            raise FormatError(f"The price table {_named(path)} cannot be read: {why}.") from error
        if len(data) > _LARGEST_FILE:
            raise FormatError(f"The price table {_named(path)} is larger than 16 MiB; no price table is.")
        try:
            return cls.parse(data.decode("utf-8-sig"))
        except UnicodeDecodeError as error:
            raise FormatError(f"The price table {_named(path)} is no text in UTF-8.") from error
        except FormatError as error:
            raise FormatError(f"The price table {_named(path)}: {error}") from error

    @classmethod
    def parse(cls, text: str) -> "PriceTable":
        """The table in a JSON text: see `read`.

        Raises:
            FormatError: It cannot be used: one sentence with the place in it.
        """
        if not isinstance(text, str):
            _refuse("the table", type(text).__name__, "is no text")
        try:
            table = json.loads(
                text,
                parse_float=_number,
                parse_int=_number,
                parse_constant=_not_a_number,
                object_pairs_hook=_without_twins,
            )
        except FormatError:
            raise
        except (ValueError, RecursionError) as error:
            raise FormatError(f"it is not JSON: {error}.") from error
        return _table(cls, table)

    def price(self, *, model: str | None, provider: str | None = None, on: date | None = None) -> Price | None:
        """The price of `model` on a day; None where the table has none.

        Args:
            model: Its name, exactly.
            provider: Who offers it; where that is not told, only a price that names no provider is found.
            on: The day, in UTC; today where it is not told.
        """
        day = on or datetime.now(timezone.utc).date()
        for key in dict.fromkeys(((provider, model), (None, model))):
            same = self._of(key)
            if same:  # a gap in the days of a provider's price is not filled by that of another
                return next((price for price in same if price.since <= day < price.until), None)
        return None

    def cost(
        self, usage: TokenUsage, *, model: str | None, provider: str | None = None, on: date | None = None
    ) -> Decimal | None:
        """What a call costs, exactly, in the table's currency; None where any price or count it takes is not known.

        Args:
            usage: Its tokens. Where a part of them (`cached`, `cache_write`, `reasoning`) is not told, it is none.
            model: See `price`.
            provider: See `price`.
            on: See `price`.
        """
        price = self.price(model=model, provider=provider, on=on)
        if price is None or not usage.is_known:
            return None
        cached, written, thought = usage.cached or 0, usage.cache_write or 0, usage.reasoning or 0
        counts = {
            "input": (usage.input or 0) - cached - written,
            "output": (usage.output or 0) - thought,
            "cached": cached,
            "cache_write": written,
            "reasoning": thought,
        }
        total = Decimal(0)
        for kind, count in counts.items():
            each = getattr(price, kind)
            if count and each is None:
                return None
            if count:
                total = EXACT.add(total, EXACT.multiply(each, Decimal(count)))
        return EXACT.scaleb(total, -_POWERS[self.per])

    def cost_of_first(
        self, usage: TokenUsage, models: Iterable[str | None], *, provider: str | None = None, on: date | None = None
    ) -> Decimal | None:
        """What a call costs by the price of the first of `models` that the table has one of; None as for `cost`.

        Args:
            usage: See `cost`.
            models: The names a call has: the model that answered, then the one that was asked for.
            provider: See `price`.
            on: See `price`.
        """
        for model in models:
            if model and self.price(model=model, provider=provider, on=on) is not None:
                return self.cost(usage, model=model, provider=provider, on=on)
        return None

    def _of(self, key: tuple[str | None, str | None]) -> Sequence[Price]:
        found: Mapping[Any, Sequence[Price]] = vars(self)["_found"]
        return found.get(key, ())


def _named(path: object) -> str:
    """A path as a sentence can have it: no terminal or log file chokes on it."""
    said = str(path).encode("utf-8", "backslashreplace").decode()
    return said if len(said) <= _LONGEST_PATH else f"{said[:_LONGEST_PATH]}..."


def _refuse(place: str, value: object, why: str) -> NoReturn:
    said = str(value) if isinstance(value, Decimal) else repr(value)
    raise FormatError(f"{place}: {said[:_LONGEST_TOLD]} {why}.")


def _is_price(amount: object) -> bool:
    """Whether it is a decimal number from zero up, within what a cost can be exact with."""
    if not isinstance(amount, Decimal) or money(amount) is None:
        return False
    exponent = amount.as_tuple().exponent
    return not amount or (isinstance(exponent, int) and exponent >= -_DIGITS and amount.adjusted() <= _DIGITS)


def _check(price: Price, place: str) -> None:
    if not isinstance(price, Price):
        _refuse(place, price, "is no price")
    if not isinstance(price.model, str) or not price.model:
        _refuse(f"{place}.model", price.model, "is no name of a model")
    if price.provider is not None and (not isinstance(price.provider, str) or not price.provider):
        _refuse(f"{place}.provider", price.provider, "is no name of a provider")
    for kind in _KINDS:
        amount = getattr(price, kind)
        if amount is not None and not _is_price(amount):
            _refuse(f"{place}.{kind}", amount, "is no price: a decimal number from zero up")
    for name in ("since", "until"):
        if type(getattr(price, name)) is not date:
            _refuse(f"{place}.{name}", getattr(price, name), "is no day: a `datetime.date`")
    if not price.since < price.until:
        _refuse(f"{place}.until", price.until.isoformat(), f"is not after the first day, {price.since.isoformat()}")


def _table(cls: type[PriceTable], given: Any) -> PriceTable:
    if not isinstance(given, dict):
        _refuse("the table", type(given).__name__, "is no JSON object")
    _only(given, _IN_TABLE, "")
    prices = given.get("prices")
    if not isinstance(prices, list):
        _refuse("prices", None if prices is None else type(prices).__name__, "is no list of prices")
    per = given.get("per", 1_000_000)
    per = int(per) if isinstance(per, Decimal) and per in _POWERS else per
    entries = tuple(_price(entry, f"prices[{number}]") for number, entry in enumerate(prices))
    return cls(given.get("version", ""), given.get("currency", ""), entries, per)


def _price(given: Any, place: str) -> Price:
    if not isinstance(given, dict):
        _refuse(place, type(given).__name__, "is no JSON object")
    _only(given, _IN_PRICE, f"{place}.")
    amounts = {kind: given.get(kind) for kind in _KINDS}
    return Price(
        given.get("model", ""),
        given.get("provider"),
        since=_day(given, "from", place, _FIRST),
        until=_day(given, "until", place, _LAST),
        **amounts,
    )


def _only(given: Mapping[str, Any], known: Iterable[str], place: str) -> None:
    """Refuse what is not understood: a misspelt price would be a gap that nobody sees."""
    for name in given:
        if name not in known:
            _refuse(f"{place}{name}", name, f"is not known here; it takes {', '.join(sorted(known))}")


def _day(given: Mapping[str, Any], name: str, place: str, by_default: date) -> date:
    said = given.get(name)
    if said is None:
        return by_default
    try:
        return date.fromisoformat(said)
    except (TypeError, ValueError):
        _refuse(f"{place}.{name}", said, "is no day, such as 2026-11-01")


def _number(digits: str) -> Decimal:
    try:
        return Decimal(digits)
    except ArithmeticError:
        _refuse("a number", digits[:40], "is none that can be read")


def _not_a_number(name: str) -> NoReturn:
    _refuse("a number", name, "is no price")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            _refuse(name, name, "stands twice in one object")
        found[name] = value
    return found
