"""What calls of language models took, read back: each once, whoever told of it, exactly."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import crucible_trace_otel as crucible
from crucible_trace_otel.record._model_calls import use_prices
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.trace.spans import Trace, TraceLink
from tests.trace.builders import TraceBuilder

THOUGHT_IN = {attr.CRUCIBLE_LINK_TYPE: "thought_in"}
TABLE = crucible.PriceTable("t", "USD", (crucible.Price("m", "p", Decimal(1), Decimal(2), cached=Decimal("0.1")),))


def chat(read: Any = 100, wrote: Any = 10, **more: Any) -> dict[str, Any]:
    """The attributes of another instrumentation's span."""
    return {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "p",
        "gen_ai.request.model": "m",
        "gen_ai.usage.input_tokens": read,
        "gen_ai.usage.output_tokens": wrote,
        **more,
    }


def own(exact: str | None = None, currency: str = "USD", **more: Any) -> dict[str, Any]:
    """The attributes of a call of ours."""
    priced = {attr.CRUCIBLE_COST_EXACT: exact, attr.CRUCIBLE_COST_CURRENCY: currency} if exact else {}
    return {
        attr.CRUCIBLE_COST_UNKNOWN_COUNT: 0 if exact else 1,
        attr.GEN_AI_USAGE_INPUT_TOKENS: 1,
        attr.GEN_AI_USAGE_OUTPUT_TOKENS: 1,
        **priced,
        **more,
    }


def agent() -> tuple[TraceBuilder, dict[str, Any]]:
    """A chain with an agent of another instrumentation and decisions taken in its calls."""
    build = TraceBuilder()
    made: dict[str, Any] = {}
    made["pipeline"] = build.add(spans.PIPELINE, "p", lasts=9)
    made["chain"] = build.add(spans.REASONING_CHAIN, "c", made["pipeline"], 1, 5)
    around = build.add(None, parent=made["chain"], at=1.1, lasts=2, name="invoke_agent", attributes=chat(200, 20))
    made["first"] = build.add(None, parent=around, at=1.2, lasts=0.5, name="chat m", attributes=chat())
    made["second"] = build.add(None, parent=around, at=1.8, lasts=0.5, name="chat m", attributes=chat())
    link = {"links": (TraceLink(made["first"].trace_id, made["first"].span_id, THOUGHT_IN),)}
    made["thought"] = build.add(spans.HYPOTHESIS_FORMED, "h", made["chain"], 4, attributes=own("5"), **link)
    made["alone"] = build.add(spans.HYPOTHESIS_FORMED, "i", made["chain"], 5, attributes=own("0.1"))
    build.add(spans.HYPOTHESIS_FORMED, "no call", made["chain"], 5.5)
    build.add(spans.STAGE, "no call either", made["pipeline"], 7, 1)
    return build, made


def test_each_call_counts_once_whoever_tells_of_it() -> None:
    build, made = agent()
    used = crucible.usage(build.trace())
    assert [call.span for call in used.calls] == [made["first"], made["second"], made["alone"]]
    assert (used.total.calls, used.total.input, used.total.output) == (3, 201, 21)
    assert (used.total.costs, used.total.unpriced) == ({"USD": Decimal("0.1")}, 2)


def test_sums_by_operation_model_and_decision() -> None:
    build, made = agent()
    used = crucible.usage(build.trace())
    assert used.inside("reasoning_chain") == ((made["chain"], used.total),)
    assert used.inside("pipeline") == ((made["pipeline"], used.total),)
    assert used.inside("stage") == ()
    by_decision = {span.about: (spent.calls, spent.input) for span, spent in used.by_decision()}
    assert by_decision == {"h": (1, 100), "i": (1, 1)}
    assert {model: spent.calls for model, spent in used.by_model().items()} == {("", ""): 1, ("p", "m"): 2}


def test_a_table_prices_what_was_recorded_without_a_cost() -> None:
    build, _ = agent()
    build.add(None, name="chat n", at=8, attributes=chat(**{"gen_ai.request.model": "n"}))
    used = crucible.usage(build.trace(), prices=TABLE)
    assert (used.total.amounts, used.total.unpriced) == (("0.10024 USD",), 1)


def test_answers_of_one_id_are_one_call() -> None:
    build = TraceBuilder()
    same = {attr.GEN_AI_RESPONSE_ID: "r1"}
    for at in range(3):
        build.add(spans.HYPOTHESIS_FORMED, "h", at=at, attributes=own("1", **same))
    build.add(None, name="chat", at=4, attributes=chat(**same))
    build.add(spans.LLM_CALL, "m", at=5, attributes=own("2", **{attr.GEN_AI_RESPONSE_ID: "r2"}))
    assert crucible.usage(build.trace()).total.costs == {"USD": Decimal(3)}


def test_a_call_that_tells_nothing_is_a_call_of_unknown_size() -> None:
    build = TraceBuilder()
    build.add(None, name="chat", attributes={"gen_ai.operation.name": "chat"})
    build.add(None, name="tool", at=1, attributes={"gen_ai.operation.name": "execute_tool"})
    build.add(spans.LLM_CALL, "killed", at=2)
    build.add(None, name="odd", at=3, attributes=chat("many", -1))
    total = crucible.usage(build.trace()).total
    assert (total.calls, total.uncounted, total.unpriced, total.input) == (3, 3, 3, 0)


def test_older_names_are_understood() -> None:
    build = TraceBuilder()
    older = {"gen_ai.system": "p", "gen_ai.usage.prompt_tokens": 5, "gen_ai.usage.completion_tokens": 2}
    build.add(None, name="x", attributes={**older, "gen_ai.usage.cache_creation.input_tokens": 3})
    (call,) = crucible.usage(build.trace()).calls
    assert (call.provider, call.usage) == ("p", crucible.TokenUsage(5, 2, cache_write=3))


def test_several_traces_are_added_up_and_currencies_are_not() -> None:
    traces: list[Trace] = []
    for number, (exact, currency) in enumerate((("0.1", "USD"), ("0.2", "USD"), ("0.3", "EUR")), 1):
        build = TraceBuilder(number)
        build.add(spans.LLM_CALL, "m", attributes=own(exact, currency))
        traces.append(build.trace())
    assert crucible.usage(traces).total.amounts == ("0.3 EUR", "0.3 USD")


def test_hostile_attributes_are_unknown() -> None:
    build = TraceBuilder()
    for at, exact in enumerate(("NaN", "-1", "1e999999999", "x", 7)):
        build.add(spans.LLM_CALL, "m", at=at, attributes=own("1", **{attr.CRUCIBLE_COST_EXACT: exact}))
    total = crucible.usage(build.trace()).total
    assert (total.calls, total.unpriced, total.costs) == (5, 5, {})


def test_what_is_read_is_what_the_recorder_summed_up(tmp_path: Any) -> None:
    handle = crucible.configure(journal=tmp_path / "j", ship="off", prices=TABLE)
    with handle, crucible.pipeline("p"), crucible.reasoning_chain("c") as chain:
        with crucible.llm_call("m", provider="p") as call:
            call.record_usage({"input": 10, "output": 3, "cached": 4})
        chain.form_hypothesis("h", thought_in=call, usage={"input": 10, "output": 3})
        chain.apply_pattern("q", usage={"input": -1, "output": 3}, latency=-1)
        crucible.record_llm_call("m", usage={"input": 2, "output": 2}, cost="1.5", currency="EUR", latency="no")
    use_prices(None)
    trace = crucible.open_store(tmp_path / "j").latest()
    total = crucible.usage(trace).total
    told = trace.roots[0].attributes
    assert (total.calls, total.uncounted, total.unpriced) == (3, 1, 1)
    assert total.amounts == ("1.5 EUR", "0.0000124 USD") == told[attr.CRUCIBLE_USAGE_TOTAL_COSTS]
    assert (
        (total.input, total.output, total.cached)
        == (12, 8, 4)
        == (
            told[attr.CRUCIBLE_USAGE_TOTAL_INPUT_TOKENS],
            told[attr.CRUCIBLE_USAGE_TOTAL_OUTPUT_TOKENS],
            told[attr.CRUCIBLE_USAGE_TOTAL_CACHE_READ_INPUT_TOKENS],
        )
    )
    assert total.uncounted == told[attr.CRUCIBLE_USAGE_TOTAL_UNCOUNTED_COUNT]
