"""Calls of language models: what they took, what it cost, and the sums around them."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._metrics import use_meter_provider
from crucible_trace_otel.record._model_calls import use_prices
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said
from tests.record.test_metrics import Measured, series

TOTAL = "crucible.usage.total."
TABLE = crucible.PriceTable(
    "t1",
    "USD",
    (
        crucible.Price("m", "p", Decimal("1.10"), Decimal(4), cached=Decimal("0.1"), reasoning=Decimal(4)),
        crucible.Price("n", None, Decimal(1), Decimal(1)),
    ),
)
USED = crucible.TokenUsage(input=1000, output=100, cached=900, reasoning=10)
COST = "0.0006"  # (100 * 1.10 + 900 * 0.1 + 90 * 4 + 10 * 4) / 10**6


@pytest.fixture(autouse=True)
def _priced() -> None:
    use_prices(TABLE)


def totals(span: Any) -> dict[str, Any]:
    """The roll-up of a span, without its prefix."""
    return {key.removeprefix(TOTAL): value for key, value in said(span).items() if key.startswith(TOTAL)}


def test_a_call_tells_what_it_took_and_what_that_costs(recorded: Recording) -> None:
    with crucible.llm_call("m", provider="p", about="which cache?") as call:
        call.first_token()
        call.first_token()
        call.record_usage(USED, response_id="r1", response_model="m-2026", agent="a", conversation_id="c")
    span = recorded.one("llm_call")
    attributes = said(span)
    first = attributes.pop(attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK)
    assert 0 <= first <= (span.end_time - span.start_time) / 1e9
    assert attributes == {
        attr.CRUCIBLE_OPERATION_NAME: "llm_call",
        attr.CRUCIBLE_ABOUT: "which cache?",
        attr.CRUCIBLE_EVENT_ID: call.event_id,
        attr.CRUCIBLE_OPERATION_RESULT: "success",
        attr.GEN_AI_REQUEST_MODEL: "m",
        attr.GEN_AI_PROVIDER_NAME: "p",
        attr.GEN_AI_RESPONSE_MODEL: "m-2026",
        attr.GEN_AI_RESPONSE_ID: "r1",
        attr.GEN_AI_AGENT_NAME: "a",
        attr.GEN_AI_CONVERSATION_ID: "c",
        attr.GEN_AI_USAGE_INPUT_TOKENS: 1000,
        attr.GEN_AI_USAGE_OUTPUT_TOKENS: 100,
        attr.GEN_AI_USAGE_CACHE_READ_INPUT_TOKENS: 900,
        attr.GEN_AI_USAGE_REASONING_OUTPUT_TOKENS: 10,
        attr.CRUCIBLE_COST_AMOUNT: 0.0006,
        attr.CRUCIBLE_COST_EXACT: COST,
        attr.CRUCIBLE_COST_CURRENCY: "USD",
        attr.CRUCIBLE_COST_PRICE_TABLE_VERSION: "t1",
        attr.CRUCIBLE_COST_UNKNOWN_COUNT: 0,
    }


def test_sums_go_up_the_tree_and_are_named_unlike_what_single_calls_say(recorded: Recording) -> None:
    with crucible.pipeline("p"), crucible.stage("s"), crucible.reasoning_chain("c") as chain:
        call = crucible.record_llm_call("m", provider="p", usage=USED, latency=1.5)
        chain.form_hypothesis("first", thought_in=call)
        chain.form_hypothesis("second", usage={"input": 5, "output": 1}, model="unheard of")
    shown = (TOTAL + "call.count", TOTAL + "input_tokens", TOTAL + "unpriced.count", TOTAL + "costs")
    total = dict(zip(shown, (2, 1005, 1, (f"{COST} USD",)), strict=True))
    assert recorded.tree(*shown) == node(
        "pipeline p",
        "p",
        node(
            "stage s",
            "s",
            node(
                "reasoning_chain",
                "c",
                node("llm_call", "m"),
                node("hypothesis_formed", "first", links=["thought_in: llm_call: m"]),
                node("hypothesis_formed", "second"),
                attributes=total,
            ),
            attributes=total,
        ),
        attributes=total,
    )
    assert said(recorded.one("llm_call"))[attr.CRUCIBLE_LLM_LATENCY] == 1.5
    assert totals(recorded.one("pipeline p")) == {
        "call.count": 2,
        "input_tokens": 1005,
        "output_tokens": 101,
        "cache_read.input_tokens": 900,
        "reasoning.output_tokens": 10,
        "uncounted.count": 0,
        "unpriced.count": 1,
        "costs": (f"{COST} USD",),
        "cost": 0.0006,
        "currency": "USD",
    }


def test_a_decision_whose_call_is_recorded_is_not_counted_again(recorded: Recording) -> None:
    measured = Measured()
    use_meter_provider(measured.provider)
    with crucible.reasoning_chain("c") as chain:
        with crucible.llm_call("m", provider="p") as call:
            call.record_usage(USED)
            chain.form_hypothesis("inside", usage=USED, model="m", provider="p", thought_in=call)
        foreign = recorded.foreign.start_span("chat")
        chain.form_hypothesis("foreign", usage=USED, model="m", provider="p", thought_in=foreign)
        foreign.end()
    assert totals(recorded.one("reasoning_chain"))["call.count"] == 2
    named = recorded.named("hypothesis_formed")
    assert [link.context for span in named for link in span.links] == [call.span_context, foreign.get_span_context()]
    whose = {"gen_ai__provider__name": "p", "gen_ai__request__model": "m"}
    assert measured.values()[series("crucible.llm.call.tokens", gen_ai__token__type="input", **whose)] == 1000


def test_an_inference_is_a_call_where_its_usage_is_recorded(recorded: Recording) -> None:
    with crucible.deployment("d") as deployment:
        with deployment.inference("plain"):
            pass
        with deployment.inference("asked") as asked:
            asked.record_usage({"prompt_tokens": 5, "completion_tokens": 2}, model="n")
        with deployment.inference("an agent") as agent:
            crucible.record_llm_call("n", usage={"input": 1, "output": 1})
            agent.record_usage({"input": 1, "output": 1}, model="n")
    assert totals(recorded.one("deployment"))["call.count"] == 2
    assert totals(recorded.one("deployment"))["input_tokens"] == 6
    assert [totals(span).get("call.count") for span in recorded.named("inference")] == [None, None, 1]


def test_currencies_are_never_added_up(recorded: Recording) -> None:
    with crucible.stage("s"):
        for amount, currency in (("0.1", "EUR"), (Decimal("0.2"), "EUR"), (1, "USD"), (0.1, "USD")):
            crucible.record_llm_call("x", usage={"input": 1, "output": 1}, cost=amount, currency=currency)
    found = totals(recorded.one("stage s"))
    assert found["costs"] == ("0.3 EUR", "1.1 USD")
    assert found.keys().isdisjoint({"cost", "currency"})


def test_what_nobody_told_is_unknown_and_counted(recorded: Recording) -> None:
    with crucible.stage("s"):
        with crucible.llm_call("m", provider="p"):
            pass
        crucible.record_llm_call("m", provider="p", usage={"input": 3})
        crucible.record_llm_call("m", provider="p", usage={"input": 3, "output": 1, "cache_write": 2})
    found = totals(recorded.one("stage s"))
    assert (found["call.count"], found["uncounted.count"], found["unpriced.count"]) == (3, 2, 3)
    assert found["input_tokens"] == 6
    assert "costs" not in found
    assert [said(span)[attr.CRUCIBLE_COST_UNKNOWN_COUNT] for span in recorded.named("llm_call")] == [1, 1, 1]


def test_a_negative_duration_is_unknown_marked_and_said_once(recorded: Recording, warned: list[str]) -> None:
    with crucible.reasoning_chain("c") as chain:
        for _ in range(3):
            chain.form_hypothesis("h", usage=USED, model="m", provider="p", latency=-1.5)
    attributes = said(recorded.named("hypothesis_formed")[0])
    assert attr.CRUCIBLE_LLM_LATENCY not in attributes
    assert attributes[attr.CRUCIBLE_LLM_REFUSED] == ("latency: -1.5",)
    assert attributes[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_LLM_LATENCY,)
    assert attributes[attr.CRUCIBLE_REPAIRED_REASONS] == ("measurement",)
    assert totals(recorded.one("reasoning_chain"))["costs"] == ("0.0018 USD",)
    assert len(warned) == 1


def test_a_misspelt_keyword_is_one_warning(recorded: Recording, warned: list[str]) -> None:
    crucible.record_llm_call("m", provider="p", usage=USED, latncy=1)
    assert said(recorded.one("llm_call"))[attr.CRUCIBLE_COST_EXACT] == COST
    assert warned == ["Of a call of a language model nothing is called 'latncy': it was left out."]


def test_usage_that_is_said_again_takes_the_place_of_what_was_said(recorded: Recording) -> None:
    with crucible.stage("s"), crucible.llm_call("m", provider="p") as call:
        call.record_usage(None, response_id="r")
        call.record_usage(USED)
    assert totals(recorded.one("stage s"))["costs"] == (f"{COST} USD",)
    attributes = said(recorded.one("llm_call"))
    assert attributes[attr.CRUCIBLE_COST_UNKNOWN_COUNT] == 0
    assert attributes[attr.GEN_AI_RESPONSE_ID] == "r"


def test_a_failed_call_is_a_call(recorded: Recording) -> None:
    with pytest.raises(TimeoutError), crucible.stage("s"), crucible.llm_call("m"):
        raise TimeoutError("no answer")
    assert totals(recorded.one("stage s"))["uncounted.count"] == 1


def test_many_threads_add_to_one_sum(recorded: Recording) -> None:
    with crucible.reasoning_chain("c") as chain:

        def think() -> None:
            for _ in range(50):
                chain.form_hypothesis("h", usage={"input": 1, "output": 1}, cost="0.1", currency="USD")

        threads = [threading.Thread(target=think) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert totals(recorded.one("reasoning_chain"))["costs"] == ("20 USD",)
    assert totals(recorded.one("reasoning_chain"))["call.count"] == 200


def test_what_comes_late_is_in_the_sum_of_what_goes_on(recorded: Recording, warned: list[str]) -> None:
    with crucible.pipeline("p"):
        with crucible.reasoning_chain("c") as chain:
            pass
        chain.form_hypothesis("late", usage=USED, model="m", provider="p")
    assert totals(recorded.one("reasoning_chain")) == {}
    assert totals(recorded.one("pipeline p"))["call.count"] == 1


def test_a_decorated_function_is_a_call_each_time(recorded: Recording) -> None:
    @crucible.llm_call("n")
    def ask() -> None:
        crucible.current_operation().record_usage({"input": 1, "output": 1})

    with crucible.stage("s"):
        ask()
        ask()
    assert totals(recorded.one("stage s"))["costs"] == ("0.000004 USD",)


def test_calls_are_measured(recorded: Recording) -> None:
    measured = Measured()
    use_meter_provider(measured.provider)
    with crucible.reasoning_chain("c") as chain:
        crucible.record_llm_call("m", provider="p", usage=USED, latency=2, time_to_first_token=0.5)
        chain.form_hypothesis("h", usage=USED, model="m", provider="p")
    whose = {"gen_ai__provider__name": "p", "gen_ai__request__model": "m"}
    assert measured.values() == {
        series("crucible.llm.call.duration", **whose): 1,
        series("crucible.llm.call.time_to_first_token", **whose): 1,
        series("crucible.llm.call.tokens", gen_ai__token__type="input", **whose): 2000,
        series("crucible.llm.call.tokens", gen_ai__token__type="output", **whose): 200,
        series("crucible.cost", crucible__cost__currency="USD", **whose): 0.0012,
    }


def test_without_a_provider_nothing_is_recorded_and_nothing_raises() -> None:
    with crucible.llm_call("m") as call:
        call.first_token()
        call.record_usage(USED)
    crucible.record_llm_call("m", usage=object())
    with crucible.reasoning_chain("c") as chain:
        assert chain.form_hypothesis("h", usage=USED, thought_in=call).confidence is None


def test_what_is_no_price_table_prices_nothing(recorded: Recording, warned: list[str]) -> None:
    crucible.record_llm_call("m", provider="p", usage=USED, prices="prices.json")
    attributes = said(recorded.one("llm_call"))
    assert attributes[attr.CRUCIBLE_COST_UNKNOWN_COUNT] == 1
    assert attributes[attr.CRUCIBLE_LLM_REFUSED] == ("prices: prices.json",)
    assert len(warned) == 1
