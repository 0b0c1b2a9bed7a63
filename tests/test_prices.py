"""Token counts and price tables: what is read, what is refused, and that sums are exact in whatever order."""

from __future__ import annotations

import json
from datetime import date, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.prices import Price, PriceTable
from crucible_trace_otel.tokens import TokenUsage, UsageSum, in_digits, money

if TYPE_CHECKING:
    import random

EXAMPLE = Path(__file__).parents[1] / "examples" / "prices-example.json"
counts = st.none() | st.integers(0, 2**40)
prices = st.none() | st.decimals(0, 10**6, allow_nan=False, allow_infinity=False, places=9)
amounts = st.decimals(0, 10**9, allow_nan=False, allow_infinity=False, places=20)


# ---- tokens ----


@pytest.mark.parametrize(
    ("answer", "usage"),
    [
        ({"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21}, TokenUsage(9, 12)),
        (
            {
                "prompt_tokens": 2006,
                "completion_tokens": 300,
                "prompt_tokens_details": {"cached_tokens": 1920},
                "completion_tokens_details": {"reasoning_tokens": 200},
            },
            TokenUsage(2006, 300, 1920, None, 200),
        ),
        (
            {"input_tokens": 36, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 87},
            TokenUsage(36, 87, 0),
        ),
        (
            {
                "input_tokens": 50,
                "output_tokens": 503,
                "cache_creation_input_tokens": 248,
                "cache_read_input_tokens": 1800,
            },
            TokenUsage(2098, 503, 1800, 248),
        ),
        ({"input_tokens": 50, "output_tokens": 3, "cache_read_input_tokens": None}, TokenUsage(50, 3)),
        ({"prompt_tokens": 8, "total_tokens": 8}, TokenUsage(8, 0)),
        ({"input": 1, "output": 2, "cached": 1, "cache_write": 0, "reasoning": 2}, TokenUsage(1, 2, 1, 0, 2)),
        ({"id": "x", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}, TokenUsage(1, 2)),
        ({"usage": None}, TokenUsage()),
        (None, TokenUsage()),
    ],
)
def test_usage_is_read_from_the_answers_of_libraries(answer: Any, usage: TokenUsage) -> None:
    assert TokenUsage.of(answer) == usage
    assert TokenUsage.of(as_object(answer)) == usage


def as_object(answer: Any) -> Any:
    if isinstance(answer, dict):
        return SimpleNamespace(**{key: as_object(value) for key, value in answer.items()})
    return answer


@pytest.mark.parametrize("bad", [-1, 1.5, 3.0, "3", True, 2**63, object()])
def test_what_is_no_count_is_named_and_unknown(bad: Any) -> None:
    usage = TokenUsage(input=bad, output=2)
    assert (usage.input, usage.output, usage.is_known) == (None, 2, False)
    assert [text.partition(":")[0] for text in usage.refused] == ["input"]


def test_parts_larger_than_the_whole_are_refused() -> None:
    usage = TokenUsage(input=10, output=1, cached=8, cache_write=3, reasoning=2)
    assert usage.refused == ("cached: 8", "cache_write: 3", "reasoning: 2")
    assert (usage.input, usage.cached, usage.cache_write, usage.reasoning) == (10, None, None, None)


def test_what_says_nothing_of_tokens_is_refused() -> None:
    assert TokenUsage.of("ten").refused == ("usage: 'ten'",)
    assert TokenUsage.of({"tokens": 10}).refused == ("usage: {'tokens': 10}",)


@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.floats(),
        lambda inner: st.dictionaries(
            st.sampled_from(
                [
                    "usage",
                    "input_tokens",
                    "prompt_tokens",
                    "output_tokens",
                    "total_tokens",
                    "prompt_tokens_details",
                    "cached_tokens",
                ]
            ),
            inner,
        ),
        max_leaves=8,
    )
)
def test_reading_usage_never_raises_and_never_counts_below_zero(answer: Any) -> None:
    usage = TokenUsage.of(answer)
    assert all(count is None or count >= 0 for count in (usage.input, usage.output, usage.cached))


# ---- money ----


@pytest.mark.parametrize(
    "bad", [None, True, "x", "NaN", "Infinity", -1, Decimal("-0.1"), float("nan"), "1e60", "1e-50", []]
)
def test_what_is_no_amount_is_none(bad: Any) -> None:
    assert money(bad) is None


def test_a_float_is_taken_by_the_digits_it_is_shown_with() -> None:
    assert (money(0.1), money("0.10"), money(2)) == (Decimal("0.1"), Decimal("0.10"), Decimal(2))
    assert [in_digits(Decimal(text)) for text in ("1E+3", "0.5000", "0", "1e-20")] == [
        "1000",
        "0.5",
        "0",
        "0." + "0" * 19 + "1",
    ]


@given(st.lists(st.tuples(amounts, st.sampled_from(["USD", "EUR"])), max_size=30), st.randoms())
def test_sums_are_exact_in_whatever_order(spent: list[tuple[Decimal, str]], order: random.Random) -> None:
    shuffled = spent.copy()
    order.shuffle(shuffled)
    sums = [sum((UsageSum.of_call(TokenUsage(1, 1), *each) for each in some), UsageSum()) for some in (spent, shuffled)]
    halves = sum((UsageSum.of_call(TokenUsage(1, 1), *each) for each in spent[::2]), UsageSum()) + sum(
        (UsageSum.of_call(TokenUsage(1, 1), *each) for each in spent[1::2]), UsageSum()
    )
    assert sums[0] == sums[1] == halves
    for currency in ("USD", "EUR"):
        exact = sum((Fraction(amount) for amount, of in spent if of == currency), Fraction(0))
        assert Fraction(sums[0].costs.get(currency, Decimal(0))) == exact


# ---- tables ----


def table(**changes: Any) -> dict[str, Any]:
    first = {"provider": "p", "model": "m", "input": 1, "output": 2}
    return {"version": "1", "currency": "USD", "prices": [first], **changes}


def price(**changes: Any) -> dict[str, Any]:
    return table(prices=[{"model": "m", "input": 1, **changes}])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (table(version=""), "version: '' is no text"),
        ({"currency": "USD", "prices": []}, "version: '' is no text"),
        (table(version=3), "version: 3 is no text"),
        ({"version": "1", "prices": []}, "currency: '' is no currency"),
        (table(currency="usd"), "currency: 'usd' is no currency"),
        (table(per=7), "per: 7 is not for how many tokens"),
        (table(prices={}), "prices: 'dict' is no list"),
        ({"version": "1", "currency": "USD"}, "prices: None is no list"),
        (table(price=1), "price: 'price' is not known here"),
        ([], "the table: 'list' is no JSON object"),
        (table(prices=[1]), "prices[0]: 'Decimal' is no JSON object"),
        (price(input=-1), "prices[0].input: -1 is no price"),
        (price(input="1"), "prices[0].input: '1' is no price"),
        (price(input=True), "prices[0].input: True is no price"),
        ('{"version": "1", "currency": "USD", "prices": [{"model": "m", "input": NaN}]}', "'NaN' is no price"),
        ('{"version": "1", "currency": "USD", "prices": [{"model": "m", "input": 1e99}]}', "1E+99 is no price"),
        ('{"version": "1", "version": "2"}', "version: 'version' stands twice"),
        (price(model=""), "prices[0].model: '' is no name"),
        (price(provider=3), "prices[0].provider: 3 is no name"),
        (price(inptu=1), "prices[0].inptu: 'inptu' is not known here"),
        (price(**{"from": "yesterday"}), "prices[0].from: 'yesterday' is no day"),
        (price(**{"from": "2026-02-01", "until": "2026-02-01"}), "prices[0].until: '2026-02-01' is not after"),
        (
            table(prices=[{"model": "m"}, {"model": "n"}, {"model": "m"}]),
            "prices[2]: 'm' has days in common with prices[0]",
        ),
        (
            table(prices=[{"model": "m", "from": "2026-01-01"}, {"model": "m", "until": "2026-01-02"}]),
            "prices[1]: 'm' has days in common with prices[0]",
        ),
        ("{", "it is not JSON"),
        ("[" * 100_000, "it is not JSON"),
        ('{"version": 1e99999999999999999999}', "is none that can be read"),
    ],
)
def test_a_table_that_cannot_be_used_is_one_sentence_with_the_place(tmp_path: Path, text: Any, said: str) -> None:
    path = tmp_path / "prices.json"
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    with pytest.raises(crucible.FormatError) as refused:
        PriceTable.read(path)
    assert str(refused.value).startswith(f"The price table {path}: ")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(crucible.FormatError, match="cannot be read: No such file"):
        PriceTable.read(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(crucible.FormatError, match="is no text in UTF-8"):
        PriceTable.read(tmp_path / "latin.json")


def test_configure_takes_a_table_a_file_or_the_variable(tmp_path: Path, monkeypatch: Any, warned: list[str]) -> None:
    with pytest.raises(crucible.ConfigurationError, match=r"prices='none.json'.*cannot be read"):
        crucible.configure(journal=False, prices="none.json")
    used = {"input": 1_000_000, "output": 0}
    found = []
    monkeypatch.setenv("CRUCIBLE_PRICES", str(EXAMPLE))
    given = PriceTable("own", "EUR", (Price("words", "example", Decimal(7)),))
    for prices in (None, given, EXAMPLE):
        with crucible.configure(journal=False, prices=prices):
            call = crucible.record_llm_call("words", provider="example", usage=used)
        found.append(call._charge.cost)
    assert found == [Decimal("0.5"), 7, Decimal("0.5")]
    monkeypatch.setenv("CRUCIBLE_PRICES", "none.json")
    with crucible.configure(journal=False):
        assert crucible.record_llm_call("words", provider="example", usage=used)._charge.cost is None
    assert [said for said in warned if said.startswith("The variable CRUCIBLE_PRICES: ")] != []


def test_the_example_table_says_that_it_is_one() -> None:
    example = PriceTable.read(EXAMPLE)
    assert example.version.startswith("example")
    assert {price.provider for price in example.prices} == {"example"}
    usage = TokenUsage(input=1000, output=10, cached=100)
    old = example.cost(usage, provider="example", model="words", on=date(2025, 12, 31))
    new = example.cost(usage, provider="example", model="words", on=date(2026, 1, 1))
    assert (old, new) == (Decimal("0.00095"), Decimal("0.000475"))


def test_gaps_are_unknown() -> None:
    found = PriceTable.parse(
        json.dumps(
            table(
                prices=[
                    {"provider": "p", "model": "m", "input": 1, "output": 2, "until": "2026-01-01"},
                    {"model": "m", "input": 9, "output": 9},
                ]
            )
        )
    )
    usage = TokenUsage(1, 1)
    day = date(2025, 1, 1)
    assert found.cost(usage, provider="p", model="m", on=day) == Decimal("0.000003")
    assert found.cost(usage, provider="p", model="m", on=date(2026, 1, 1)) is None  # a gap in time
    assert found.cost(usage, provider="q", model="m", on=day) == Decimal("0.000018")  # a price of anybody's
    assert found.cost(usage, model="m", on=day) == Decimal("0.000018")
    assert found.cost(usage, provider="p", model="m-2", on=day) is None
    assert found.cost(TokenUsage(1, 1, cached=1), provider="p", model="m", on=day) is None
    assert found.cost(TokenUsage(1), provider="p", model="m", on=day) is None
    assert found.cost(TokenUsage(0, 0, cached=0), provider="p", model="m", on=day) == 0


@given(
    st.lists(st.tuples(*[prices] * 5), min_size=1, max_size=4),
    st.tuples(*[counts] * 5),
    st.sampled_from([1, 1000, 10**6]),
)
def test_a_cost_is_exactly_counts_times_prices(rows: list[tuple[Any, ...]], used: tuple[Any, ...], per: int) -> None:
    kinds = ("input", "output", "cached", "cache_write", "reasoning")
    listed = [
        f'{{"model": "m{number}"'
        + "".join(f', "{kind}": {each:f}' for kind, each in zip(kinds, row, strict=True) if each is not None)
        + "}"
        for number, row in enumerate(rows)
    ]
    parsed = PriceTable.parse(f'{{"version": "1", "currency": "USD", "per": {per}, "prices": [{", ".join(listed)}]}}')
    assert [tuple(getattr(one, kind) for kind in kinds) for one in parsed.prices] == rows
    usage = TokenUsage(*used)
    cost = parsed.cost(usage, model="m0")
    if not usage.is_known:
        assert cost is None
        return
    cached, written, thought = usage.cached or 0, usage.cache_write or 0, usage.reasoning or 0
    taken = (usage.input - cached - written, usage.output - thought, cached, written, thought)
    if any(count and each is None for count, each in zip(taken, rows[0], strict=True)):
        assert cost is None
    else:
        exact = sum(
            (count * Fraction(each) for count, each in zip(taken, rows[0], strict=True) if each is not None),
            Fraction(0),
        )
        assert Fraction(cost) * per == exact


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")))
def test_no_text_is_anything_but_a_table_or_refused(text: str) -> None:
    try:
        PriceTable.parse(text)
    except crucible.FormatError as refused:
        said = str(refused)
    else:
        return
    assert len(said) < 400


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PriceTable("1", "USD", None), "prices: None is no list of prices"),  # type: ignore[arg-type]
        (lambda: PriceTable("1", "USD", "m"), "prices: 'm' is no list of prices"),  # type: ignore[arg-type]
        (lambda: PriceTable("1", "USD", (Price("m", since=None),)), "prices[0].since: None is no day"),  # type: ignore[arg-type]
        (lambda: PriceTable("1", "USD", (Price("m", until="2026"),)), "prices[0].until: '2026' is no day"),  # type: ignore[arg-type]
        (lambda: PriceTable("1", "USD", (Price("m", since=datetime(2026, 1, 1)),)), "prices[0].since: "),  # noqa: DTZ001
        (lambda: PriceTable.parse(None), "the table: 'NoneType' is no text"),  # type: ignore[arg-type]
        (lambda: PriceTable.parse(b"{}"), "the table: 'bytes' is no text"),  # type: ignore[arg-type]
        (lambda: PriceTable.read("\ud800"), "The price table \\ud800 cannot be read"),
        (lambda: PriceTable.read("x" * 10**6), "xxx... cannot be read: File name too long"),
    ],
)
def test_what_is_no_table_is_one_sentence_that_any_terminal_shows(make: Any, said: str) -> None:
    with pytest.raises(crucible.FormatError) as refused:
        make()
    assert said in str(refused.value)
    assert len(str(refused.value).encode()) < 1_000
