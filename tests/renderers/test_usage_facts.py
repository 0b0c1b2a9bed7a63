"""What an operation's line says of the calls of language models in it."""

import pytest

from crucible_trace_otel.renderers.words import tell
from crucible_trace_otel.semconv import attributes as attr

TOTAL = {
    attr.CRUCIBLE_USAGE_TOTAL_CALL_COUNT: 1200,
    attr.CRUCIBLE_USAGE_TOTAL_COSTS: ("0.5 EUR", "1.25 USD"),
    attr.CRUCIBLE_USAGE_TOTAL_UNPRICED_COUNT: 3,
}
CALL = {
    attr.GEN_AI_USAGE_INPUT_TOKENS: 1200,
    attr.GEN_AI_USAGE_OUTPUT_TOKENS: 0,
    attr.CRUCIBLE_COST_EXACT: "0.000012",
    attr.CRUCIBLE_COST_CURRENCY: "USD",
}


@pytest.mark.parametrize(
    ("attributes", "facts"),
    [
        (TOTAL, ("1,200 LLM calls", "0.5 EUR", "1.25 USD", "3 of unknown cost")),
        ({attr.CRUCIBLE_USAGE_TOTAL_CALL_COUNT: 1}, ("1 LLM call",)),
        (CALL, ("1,200 tokens in", "0 tokens out", "0.000012 USD")),
        ({attr.GEN_AI_USAGE_INPUT_TOKENS: "many", attr.CRUCIBLE_COST_EXACT: "\x1b[31m9"}, ("[31m9",)),
        ({attr.CRUCIBLE_USAGE_TOTAL_CALL_COUNT: "x", attr.CRUCIBLE_USAGE_TOTAL_COSTS: 7}, ()),
    ],
)
def test_tokens_and_cost_are_told(attributes, facts):
    assert tell("chain", attributes, 1.0, None).facts == facts
