"""A/B tests: what is computed from observations is what SciPy computes, and what cannot be is said."""

from __future__ import annotations

import math
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import crucible_trace_otel as crucible
from crucible_trace_otel.record.serving import _statistics
from crucible_trace_otel.record.serving._statistics import Sample, compared, trials_of
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.record.reading import Recording

numbers = st.lists(st.floats(-1e6, 1e6, allow_subnormal=False), min_size=2, max_size=30)
counts = st.tuples(st.integers(0, 200), st.integers(0, 200)).map(lambda two: (min(two), max(two)))


def sample_of(values: Any) -> Sample:
    sample = Sample()
    sample.add(values)
    return sample


@pytest.fixture
def no_scipy(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "scipy", None)
    _statistics._scipy_stats.cache_clear()
    yield
    _statistics._scipy_stats.cache_clear()


@given(numbers, st.integers(0, 30))
def test_sums_are_those_of_all_observations_however_they_come(values: list[float], cut: int) -> None:
    parts = Sample()
    parts.add(np.array(values[:cut]))
    parts.add(iter(values[cut:]))
    scale = max(map(abs, values)) or 1.0
    assert parts.count == len(values)
    assert parts.mean == pytest.approx(np.mean(values), abs=1e-9 * scale)
    assert parts.variance == pytest.approx(np.var(values, ddof=1), rel=1e-6, abs=1e-9 * scale**2)


@given(numbers, numbers)
def test_means_are_compared_as_scipy_does(control: list[float], candidate: list[float]) -> None:
    judged = compared(sample_of(control), sample_of(candidate), 0.9)
    if "test" not in judged or np.std(control + candidate) < 1e-6 * max(map(abs, control + candidate)):
        return  # no spread: SciPy says NaN
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that values are nearly the same
        expected = stats.ttest_ind(candidate, control, equal_var=False)
    assert judged["p_value"] == pytest.approx(expected.pvalue, rel=1e-4, abs=1e-12)
    low, high = expected.confidence_interval(0.9)
    assert judged["interval"] == pytest.approx((low, high), rel=1e-4, abs=1e-6)


@given(counts, counts)
def test_shares_are_compared_within_what_they_can_be(control: tuple[int, int], candidate: tuple[int, int]) -> None:
    first, second = trials_of(*control), trials_of(*candidate)
    judged = compared(first, second, 0.95)
    if not (control[1] and candidate[1]):
        assert judged == {}
        return
    low, high = judged["interval"]
    assert -1 - 1e-9 <= low <= second.mean - first.mean + 1e-9
    assert second.mean - first.mean - 1e-9 <= high <= 1 + 1e-9
    assert 0 <= judged["p_value"] <= 1 + 1e-9


def test_shares_are_compared_as_in_the_textbook() -> None:
    judged = compared(trials_of(100, 1000), trials_of(150, 1000), 0.95)
    table = [[100, 150], [900, 850]]
    assert judged["test"] == "two-proportion z"
    assert judged["p_value"] == pytest.approx(stats.chi2_contingency(table, correction=False).pvalue)
    few = compared(trials_of(1, 10), trials_of(5, 10), 0.95)
    assert few["test"] == "Fisher's exact"
    assert few["p_value"] == pytest.approx(stats.fisher_exact([[1, 5], [9, 5]]).pvalue)


def test_observations_counts_and_summaries_come_to_the_same(recorded: Recording) -> None:
    values = [0.0, 1.0, 1.0, 0.0, 2.0]
    with crucible.a_b_test("of numbers") as numbers_test:
        numbers_test.record_arm("a", values)
        numbers_test.record_arm("b", size=5, mean=np.mean(values), deviation=np.std(values, ddof=1))
    first, second = numbers_test._arms.values()
    assert (first.count, first.mean) == (second.count, second.mean)
    assert first.squares == pytest.approx(second.squares)
    with crucible.a_b_test("of trials") as trials_test:
        trials_test.record_arm("a", [True, False, True])
        trials_test.record_arm("a", np.array([True, False]))
        trials_test.record_arm("b", successes=3, trials=5)
    assert trials_test._arms["a"].successes == trials_test._arms["b"].successes == 3
    assert trials_test.result.means == pytest.approx((0.6, 0.6))


def test_what_was_computed_elsewhere_takes_the_place(recorded: Recording) -> None:
    with crucible.a_b_test("t", metric="clicks", higher_is_better=True, control="old", confidence_level=0.9) as test:
        test.record_arm("new", size=10, mean=2)
        test.record_arm("old", size=20, mean=1)
        test.record_result(effect=0.9, interval=np.array([0.5, 1.5]), p_value=0.01, test="bootstrap")
    assert test.result == crucible.ABResult(
        ("old", "new"), (20, 10), (1.0, 2.0), 0.9, (0.5, 1.5), 0.01, "bootstrap", 0.9, "new"
    )
    found = said(recorded.one("a_b_test"))
    assert {key: value for key, value in found.items() if key.startswith("crucible.ab.")} == {
        attr.CRUCIBLE_AB_METRIC: "clicks",
        attr.CRUCIBLE_AB_HIGHER_IS_BETTER: True,
        attr.CRUCIBLE_AB_ARMS: ("old", "new"),
        attr.CRUCIBLE_AB_SAMPLE_COUNTS: (20, 10),
        attr.CRUCIBLE_AB_MEANS: (1.0, 2.0),
        attr.CRUCIBLE_AB_EFFECT: 0.9,
        attr.CRUCIBLE_AB_IMPROVEMENT: 0.9,
        attr.CRUCIBLE_AB_INTERVAL: (0.5, 1.5),
        attr.CRUCIBLE_AB_CONFIDENCE_LEVEL: 0.9,
        attr.CRUCIBLE_AB_P_VALUE: 0.01,
        attr.CRUCIBLE_AB_TEST: "bootstrap",
        attr.CRUCIBLE_AB_WINNER: "new",
    }


def test_without_scipy_what_needs_no_test_is_there(recorded: Recording, no_scipy: None) -> None:
    with crucible.a_b_test("means", higher_is_better=True) as means:
        means.record_arm("a", [1.0, 2.0, 3.0])
        means.record_arm("b", [4.0, 5.0, 6.5])
    assert (means.result.effect, means.result.test, means.result.winner) == (pytest.approx(19 / 6), None, None)
    with crucible.a_b_test("shares", higher_is_better=True) as shares:
        shares.record_arm("a", successes=100, trials=1000)
        shares.record_arm("b", successes=150, trials=1000)
    assert (shares.result.test, shares.result.winner) == ("two-proportion z", "b")


def test_the_result_is_there_without_a_recorder() -> None:
    with crucible.a_b_test("t", higher_is_better=True) as test:
        test.record_arm("a", [1.0, 2.0] * 20)
        test.record_arm("b", [3.0, 4.0] * 20)
    assert test.result.winner == "b"


def test_more_arms_than_two_are_not_judged(recorded: Recording) -> None:
    with crucible.a_b_test("t", higher_is_better=True) as test:
        for arm in "abc":
            test.record_arm(arm, [1.0, 2.0])
        test.record_arm("none")
    assert test.result.counts == (2, 2, 2, 0)
    assert (test.result.effect, test.result.p_value) == (None, None)


def test_observations_that_are_no_numbers_are_counted(recorded: Recording, warned: list[str]) -> None:
    with crucible.a_b_test("t") as test:
        test.record_arm("a", [1.0, math.nan, "two", None, 2.0])
        test.record_arm("b", np.array([1.0, math.inf]))
    found = said(recorded.one("a_b_test"))
    assert found[attr.CRUCIBLE_AB_SAMPLE_COUNTS] == (2, 1)
    assert found[attr.CRUCIBLE_DROPPED_COUNT] == 4
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("given", "key"),
    [
        ({"successes": 3, "trials": 2}, attr.CRUCIBLE_AB_SAMPLE_COUNTS),
        ({"successes": 3}, attr.CRUCIBLE_AB_SAMPLE_COUNTS),
        ({"size": -1, "mean": 2}, attr.CRUCIBLE_AB_MEANS),
        ({"size": 3, "mean": math.nan}, attr.CRUCIBLE_AB_MEANS),
        ({"size": 3, "mean": 1, "deviation": -1}, attr.CRUCIBLE_AB_MEANS),
    ],
)
def test_a_sample_that_cannot_be_is_marked(
    recorded: Recording, warned: list[str], given: dict[str, Any], key: str
) -> None:
    with crucible.a_b_test("t") as test:
        test.record_arm("a", **given)
    found = said(recorded.one("a_b_test"))
    assert found[attr.CRUCIBLE_REPAIRED_KEYS] == (key,)
    assert len(warned) == 1


@pytest.mark.parametrize("result", [{"interval": [2, 1]}, {"interval": [1]}, {"p_value": 2}])
def test_a_result_that_cannot_be_is_marked(recorded: Recording, warned: list[str], result: dict[str, Any]) -> None:
    with crucible.a_b_test("t", confidence_level=0.5) as test:
        test.record_result(**result)
    assert said(recorded.one("a_b_test"))[attr.CRUCIBLE_REPAIRED_REASONS] == ("unexpected",)
    assert len(warned) == 1
