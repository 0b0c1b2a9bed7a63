"""Weaknesses of measuring and pricing that are not there."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, said


class Hostile:
    """Raises whatever is done with it."""

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(name)

    def __float__(self) -> float:
        raise RuntimeError("float")

    def __repr__(self) -> str:
        raise RuntimeError("repr")


BAD = [None, "fast", -1, float("nan"), float("inf"), True, [1], {"a": 1}, b"1", 10**400, Hostile()]


@pytest.mark.parametrize("bad", BAD, ids=lambda bad: type(bad).__name__)
def test_c3_one_bad_measurement_never_stops_other_recordings(recorded: Recording, bad: Any) -> None:
    good = {"usage": {"input": 1, "output": 2}, "cost": "0.5", "currency": "USD"}
    with crucible.stage("s"), crucible.reasoning_chain("c") as chain:
        chain.form_hypothesis("before", latency=1, **good)
        chain.form_hypothesis("bad", usage=bad, latency=bad, time_to_first_token=bad, cost=bad, model="m")
        crucible.record_llm_call("m", usage={"input": bad, "output": bad}, latency=bad, prices=bad)
        with crucible.llm_call("m") as call:
            call.record_usage(bad, latency=bad)
        chain.form_hypothesis("after", latency=1, **good)
    found = said(recorded.one("stage s"))
    assert found[attr.CRUCIBLE_OPERATION_RESULT] == "success"
    assert found[attr.CRUCIBLE_USAGE_TOTAL_CALL_COUNT] == 5
    assert found[attr.CRUCIBLE_USAGE_TOTAL_INPUT_TOKENS] == 2
    assert found[attr.CRUCIBLE_USAGE_TOTAL_UNPRICED_COUNT] == 3
    assert found[attr.CRUCIBLE_USAGE_TOTAL_COSTS] == ("1 USD",)
    last = said(recorded.named("hypothesis_formed")[-1])
    assert (last[attr.CRUCIBLE_LLM_LATENCY], last[attr.CRUCIBLE_COST_EXACT]) == (1.0, "0.5")


def test_c6_the_price_of_an_unknown_model_is_unknown(recorded: Recording) -> None:
    table = crucible.PriceTable("1", "USD", (crucible.Price("gpt-4", "openai", Decimal(10), Decimal(30)),))
    used = {"input": 1000, "output": 1000}
    with crucible.stage("s"):
        crucible.record_llm_call("gpt-4", provider="openai", usage=used, prices=table)
        crucible.record_llm_call("gpt-4-turbo", provider="openai", usage=used, prices=table)
        crucible.record_llm_call("gpt-4", provider="azure", usage=used, prices=table)
        crucible.record_llm_call("gpt-4", usage=used, prices=table)
        crucible.record_llm_call("gpt-4", provider="openai", usage={**used, "cached": 10}, prices=table)
    assert [said(span).get(attr.CRUCIBLE_COST_EXACT) for span in recorded.named("llm_call")] == ["0.04", *[None] * 4]
    found = said(recorded.one("stage s"))
    assert found[attr.CRUCIBLE_USAGE_TOTAL_UNPRICED_COUNT] == 4
    assert found[attr.CRUCIBLE_USAGE_TOTAL_COSTS] == ("0.04 USD",)
    assert found[attr.CRUCIBLE_USAGE_TOTAL_INPUT_TOKENS] == 5000
