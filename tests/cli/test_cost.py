"""`crucible-trace cost`."""

import json
from decimal import Decimal

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from tests.cli.running import crucible_trace

PRICES = '{"version": "1", "currency": "USD", "prices": [{"model": "n", "input": 1, "output": 2}]}'


@pytest.fixture
def asked(tmp_path):
    """Two runs of one experiment; the second has a call of another instrumentation too."""
    used = {"input": 1500, "output": 100}
    with crucible.configure(journal=tmp_path / "j", ship="off"):
        for name, amount in (("one", "0.1"), ("two", "0.2")):
            with crucible.pipeline(name) as pipeline, crucible.reasoning_chain("why") as chain:
                pipeline.set({attr.CRUCIBLE_EXPERIMENT_ID: "e1"})
                chain.form_hypothesis("h", usage=used, model="m", provider="p", cost=amount, currency="USD")
                crucible.record_llm_call("n", usage={"input": 10, "output": 5})
        with crucible.pipeline("none"):
            pass
    return str(tmp_path / "j")


def lines(result):
    assert result.exit_code == 0, result.output
    return [line.split() for line in result.stdout.splitlines()]


def test_sums_of_a_run_by_model_operation_and_decision(asked):
    assert lines(crucible_trace("cost", "two", "--journal", asked)) == [
        ["CALLS", "INPUT", "CACHED", "OUTPUT", "REASONING", "COST", "UNKNOWN"],
        ["total", "2", "1,510", "0", "105", "0", "0.2", "USD", "1"],
        ["model", "n", "1", "10", "0", "5", "0", "1"],
        ["model", "p/m", "1", "1,500", "0", "100", "0", "0.2", "USD"],
        ["pipeline", "two", "2", "1,510", "0", "105", "0", "0.2", "USD", "1"],
        ["reasoning_chain", '"why"', "2", "1,510", "0", "105", "0", "0.2", "USD", "1"],
        ["hypothesis_formed", '"h"', "1", "1,500", "0", "100", "0", "0.2", "USD"],
    ]


@pytest.mark.parametrize("which", [["--all"], ["--experiment", "e1"]])
def test_several_runs_are_added_up_exactly(asked, which):
    result = crucible_trace("cost", *which, "--json", "--journal", asked)
    told = json.loads(result.stdout, parse_float=Decimal)
    assert told["total"] == {
        "calls": 4,
        "input_tokens": 3020,
        "output_tokens": 210,
        "cached_tokens": 0,
        "cache_write_tokens": 0,
        "reasoning_tokens": 0,
        "uncounted_calls": 0,
        "unpriced_calls": 2,
        "costs": {"USD": "0.3"},
    }
    assert [call["costs"] for call in told["calls"]] == [{"USD": "0.1"}, {}, {"USD": "0.2"}, {}]
    assert len(told["operations"]) == 4


def test_a_table_prices_what_has_no_cost(asked, tmp_path):
    (tmp_path / "p.json").write_text(PRICES)
    told = lines(crucible_trace("cost", "two", "--prices", tmp_path / "p.json", "--journal", asked))
    assert told[1] == ["total", "2", "1,510", "0", "105", "0", "0.20002", "USD"]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["none"], 1, "No call of a language model is recorded in 'none'.\n"),
        (["nobody"], 1, "No trace in "),
        (["--experiment", "e2"], 1, "belongs to an experiment 'e2'.\n"),
        (["--prices", "no.json"], 2, "The price table no.json cannot be read: No such file or directory.\n"),
        (["--all", "--experiment", "e1"], 2, "Take one of --all and --experiment.\n"),
    ],
)
def test_what_cannot_be_told_is_said(asked, arguments, code, said):
    result = crucible_trace("cost", *arguments, "--journal", asked)
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in result.stderr
