"""Bad input to deployments, A/B tests, feedback, rewards, calls of language models: nothing raises, blocks or lies."""

from __future__ import annotations

import itertools
import math
import sys
import threading
from inspect import signature
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record import _sums
from crucible_trace_otel.record._metrics import use_meter_provider
from crucible_trace_otel.record.serving import _statistics
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, said
from tests.record.test_metrics import Measured

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Hostile:
    """Raises whatever is asked of it."""

    def _raise(self, *_: Any) -> Any:
        raise RuntimeError("hostile")

    __float__ = __bool__ = __str__ = __repr__ = __iter__ = __len__ = __eq__ = __fspath__ = _raise  # type: ignore[assignment]
    __hash__ = None  # type: ignore[assignment]
    event_id = span_context = version = property(_raise)


class Scalar:
    """As torch's scalars: it has an `__iter__`, which raises."""

    def __float__(self) -> float:
        return 0.5

    def __iter__(self) -> Iterator[float]:
        raise TypeError("iteration over a 0-d tensor")


def ab(*arms: Any, **given: Any) -> crucible.ABResult:
    with crucible.a_b_test("t", **given) as test:
        for name, observations in zip("ab", arms, strict=True):
            test.record_arm(name, observations)
    return test.result


# ---- one bad thing loses none of the others ----


def test_a_target_that_cannot_be_read_loses_no_other_link(recorded: Recording, warned: list[str]) -> None:
    with crucible.reasoning_chain("c") as chain:
        first = chain.form_hypothesis("first")
    with crucible.deployment("d", depends_on=[Hostile(), first]):
        pass
    found = recorded.one("deployment")
    assert [link.context.span_id for link in found.links] == [first.span_context.span_id]
    assert said(found)[attr.CRUCIBLE_DEPENDENCY_UNKNOWN] == ("<unreadable Hostile>",)
    assert sum("<unreadable Hostile>" in text for text in warned) == 1


@pytest.mark.parametrize("target", [Hostile(), None, 3, object(), b"x"])
def test_feedback_on_what_is_no_record_is_kept(recorded: Recording, target: Any) -> None:
    crucible.record_feedback(target, score=1, comment="it is wrong")
    found = said(recorded.one("feedback"))
    assert found[attr.CRUCIBLE_FEEDBACK_COMMENT] == "it is wrong"
    assert found[attr.CRUCIBLE_FEEDBACK_UNLINKED] == "form"


def test_a_source_that_nobody_knows_is_marked(recorded: Recording, warned: list[str]) -> None:
    crucible.record_feedback("no token", source="an oracle")
    found = said(recorded.one("feedback"))
    assert found[attr.CRUCIBLE_FEEDBACK_SOURCE] == "an oracle"
    assert found[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_FEEDBACK_SOURCE,)


@pytest.mark.parametrize("make", [crucible.deployment, crucible.a_b_test, crucible.llm_call, crucible.training_run])
def test_a_subject_that_is_missing_or_given_twice_is_one_warning(
    recorded: Recording, warned: list[str], make: Any
) -> None:
    with make():
        pass
    name = next(iter(signature(make).parameters))
    with make("the first", **{name: "the second"}):
        pass
    assert [said(span)[attr.CRUCIBLE_ABOUT] for span in recorded.spans] == ["None", "the first"]
    assert warned == [
        f"{make.__name__}() needs {name!r}: it is recorded without.",
        f"{make.__name__}() was given {name!r} twice: the first is taken.",
    ]


def test_an_error_of_the_users_code_in_a_forgiving_call_goes_on(recorded: Recording, tmp_path: Path) -> None:
    (tmp_path / "m").write_text("m")
    calls = []

    def read(path: Path) -> None:
        calls.append(path)
        raise TypeError("the format is unknown")

    with crucible.deployment("d") as deployment, pytest.raises(TypeError, match="the format is unknown"):
        deployment.load_model(tmp_path / "m", read=read)
    assert len(calls) == 1


def test_a_failure_without_a_word_is_one(recorded: Recording) -> None:
    crucible.llm_call("m").start().fail()
    assert recorded.one("llm_call").status.description == "it failed without saying why"


def test_a_warning_about_a_huge_name_is_short(recorded: Recording, warned: list[str]) -> None:
    crucible.deployment("d", model="m" * 100_000).start().stop()
    assert recorded.one("deployment")
    assert [text for text in warned if len(text) > 2_001] == []


# ---- A/B tests ----


@pytest.mark.parametrize("direction", [np.array([1, 2]), Hostile(), "lower", [], math.nan])
def test_a_direction_that_is_none_tells_no_winner(recorded: Recording, warned: list[str], direction: Any) -> None:
    result = ab([1.0, 2.0] * 20, [3.0, 4.0] * 20, higher_is_better=direction)
    assert (result.winner, result.effect) == (None, 2.0)
    assert said(recorded.one("a_b_test"))[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_AB_HIGHER_IS_BETTER,)
    assert len(warned) == 1


@pytest.mark.parametrize("direction", [True, 1, np.True_])
def test_a_direction_may_be_any_truth(direction: Any) -> None:
    assert ab([1.0, 2.0] * 20, [3.0, 4.0] * 20, higher_is_better=direction).winner == "b"


def test_a_control_that_was_never_recorded_is_marked_and_nothing_is_judged(
    recorded: Recording, warned: list[str]
) -> None:
    result = ab([1.0, 2.0], [3.0, 4.0], control="A", higher_is_better=True)
    assert (result.arms, result.effect, result.p_value) == (("a", "b"), None, None)
    assert said(recorded.one("a_b_test"))[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_AB_ARMS,)


@pytest.mark.parametrize(
    ("observations", "count"),
    [
        ([1, Hostile(), 3], 2),
        ({True: 40, False: 60}, 0),
        (b"abc", 0),
        (np.ma.masked_array([1.0, 2.0, 1000.0], mask=[False, False, True]), 2),
        (np.array([1 + 2j, 2]), 0),
        (np.array([1, "two", None], dtype=object), 1),
        (np.array(2.0), 1),
        (Scalar(), 1),
    ],
)
def test_what_is_no_observation_is_not_taken_for_one(recorded: Recording, observations: Any, count: int) -> None:
    assert ab(observations, [1.0]).counts == (count, 1)


def test_observations_that_break_off_are_all_left_out(recorded: Recording, warned: list[str]) -> None:
    def broken() -> Iterator[float]:
        yield 1.0
        raise OSError("the file is gone")

    with crucible.a_b_test("t") as test:
        test.record_arm("a", broken())
        test.record_arm("a", [3.0])
    assert (test.result.counts, test.result.means) == ((1,), (3.0,))
    assert len(warned) == 1


def test_observations_without_an_end_are_cut_and_marked(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_statistics, "_MOST_AT_ONCE", 1_000)
    assert ab(itertools.repeat(1.0), [2.0]).counts == (1_000, 1)
    assert "ten million" in said(recorded.one("a_b_test"))[attr.CRUCIBLE_DROPPED_REASON]


def test_arms_beyond_a_hundred_are_counted(recorded: Recording, warned: list[str]) -> None:
    with crucible.a_b_test("t") as test:
        for arm in range(103):
            test.record_arm(str(arm), 1.0)
    assert len(test.result.arms) == 100
    assert said(recorded.one("a_b_test"))[attr.CRUCIBLE_DROPPED_COUNT] == 3


@pytest.mark.parametrize("level", [1 - 2**-53, 1, math.nan, None, Hostile()])
def test_a_level_that_cannot_be_loses_no_arm(recorded: Recording, level: Any) -> None:
    result = ab([True] * 30 + [False] * 30, [True] * 40 + [False] * 20, confidence_level=level)
    assert (result.counts, result.test) == ((60, 60), "two-proportion z")
    assert said(recorded.one("a_b_test"))[attr.CRUCIBLE_AB_CONFIDENCE_LEVEL] == 0.95


@pytest.mark.parametrize(
    "given", [{"effect": "large"}, {"effect": math.nan}, {"effect": Hostile()}, {"interval": "ab"}, {"interval": 3}]
)
def test_one_value_that_cannot_be_loses_no_other(recorded: Recording, warned: list[str], given: dict[str, Any]) -> None:
    with crucible.a_b_test("t", higher_is_better=True) as test:
        test.record_arm("a", [1.0, 2.0])
        test.record_arm("b", [3.0, 4.0])
        test.record_result(p_value=0.25, test="by hand", **given)
    assert (test.result.test, test.result.p_value, test.result.effect) == ("by hand", 0.25, 2.0)
    assert len(warned) == 1
    assert warned[0].endswith("is left out, and the record marked.")


def test_a_p_value_below_zero_is_marked_and_decides_nothing(recorded: Recording, warned: list[str]) -> None:
    with crucible.a_b_test("t", higher_is_better=True) as test:
        test.record_arm("a", [1.0, 2.0])
        test.record_arm("b", [3.0, 4.0])
        test.record_result(p_value=-3)
    assert (test.result.p_value, test.result.winner) == (-3.0, None)


def test_rare_events_among_very_many_trials_hold_nothing_up() -> None:
    with crucible.a_b_test("t", higher_is_better=True) as test:
        test.record_arm("a", successes=1, trials=10**18)
        test.record_arm("b", successes=2, trials=10**18)
    assert test.result.interval is not None
    assert (test.result.test, test.result.p_value) == (None, None)


def test_a_broken_scipy_is_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken(ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise ValueError("numpy.dtype size changed, may indicate binary incompatibility")

    monkeypatch.setitem(sys.modules, "scipy", Broken("scipy"))
    _statistics._scipy_stats.cache_clear()
    try:
        result = ab([1.0, 2.0, 3.0], [4.0, 5.0, 6.5])
    finally:
        _statistics._scipy_stats.cache_clear()
    assert (result.counts, result.effect, result.p_value) == ((3, 3), pytest.approx(19 / 6), None)


def test_observations_from_many_threads_are_all_counted() -> None:
    test = crucible.a_b_test("t").start()

    def observe() -> None:
        for number in range(2_000):
            test.record_arm("a", 1.0)
            test.record_arm("b", number % 2 == 0)

    threads = [threading.Thread(target=observe) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert test.result.counts == (8_000, 8_000)
    assert test.result.means == pytest.approx((1.0, 0.5))


def test_observations_after_the_end_are_warned_about(recorded: Recording, warned: list[str]) -> None:
    with crucible.a_b_test("t") as test:
        test.record_arm("a", 1.0)
    test.record_arm("a", 2.0)
    assert warned == ["a_b_test 't' has ended: what is recorded on it afterwards is not kept."]


# ---- rewards ----


@pytest.mark.parametrize("given", [((1.0,), {"reward": 2.0}), ((1.0, 2.0), {})])
def test_a_reward_given_twice_is_one_warning(
    recorded: Recording, warned: list[str], given: tuple[tuple[float, ...], dict[str, float]]
) -> None:
    with crucible.episode() as episode:
        episode.record_reward(*given[0], **given[1])
        episode.record_reward(3.0)
    assert said(recorded.one("episode"))[attr.CRUCIBLE_EPISODE_RETURN] == 3.0
    assert len(warned) == 1


def test_a_reward_by_its_name_and_none_at_all(recorded: Recording) -> None:
    with crucible.episode() as episode:
        episode.record_reward(reward=2.0, value=1.0)  # type: ignore[call-arg]
        episode.record_reward()
    assert said(recorded.one("episode"))[attr.CRUCIBLE_EPISODE_RETURN] == 2.0


# ---- calls of language models ----


def within_seconds(function: Any) -> bool:
    """Whether `function` comes back: in a thread of its own, so that one that does not ends no test run."""
    thread = threading.Thread(target=function, daemon=True)
    thread.start()
    thread.join(20)
    return not thread.is_alive()


def test_a_signal_handler_may_record_while_a_sum_is_made(recorded: Recording) -> None:
    def interrupted() -> None:
        with _sums._lock:  # as the thread that a handler interrupts holds it
            crucible.record_llm_call("m", usage={"input": 1, "output": 1})

    assert within_seconds(interrupted)
    assert recorded.one("llm_call")


@pytest.mark.parametrize("cost", [10**1_000_000, "9" * 10_000_000], ids=["integer", "text"])
def test_an_amount_of_a_million_digits_holds_nothing_up(recorded: Recording, cost: Any) -> None:
    assert within_seconds(lambda: crucible.record_llm_call("m", usage={"input": 1}, cost=cost, currency="USD"))
    assert said(recorded.one("llm_call"))[attr.CRUCIBLE_COST_UNKNOWN_COUNT] == 1


def test_the_first_token_of_an_inference_that_is_recorded_because_it_fails(recorded: Recording) -> None:
    measured = Measured()
    use_meter_provider(measured.provider)
    deployment = crucible.deployment("d", inference_ratio=0.0).start()
    with pytest.raises(ValueError, match="no"), deployment.inference() as inference:
        inference.first_token()
        inference.record_usage({"input": 1, "output": 2})
        raise ValueError("no")
    deployment.stop()
    (waited,) = [point for (name, _), point in measured.points().items() if name.endswith("time_to_first_token")]
    told = said(recorded.one("inference"))[attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK]
    assert 0 <= told < 60
    assert waited.sum == told


@pytest.mark.parametrize("refused", [None, 5, "abc", Hostile(), np.array([1, 2]), itertools.repeat(1), [Hostile()]])
def test_usage_of_anything_is_made(refused: Any) -> None:
    assert not crucible.TokenUsage(1, 1, refused=refused).is_known


def test_counts_of_numpy_are_counts_and_truths_are_none() -> None:
    of = crucible.TokenUsage.of
    assert of({"input_tokens": np.int64(10), "cache_read_input_tokens": np.int64(5), "output_tokens": 1}).input == 15
    assert of({"input_tokens": True, "output_tokens": 1}).input is None


def test_what_becomes_of_a_deployment_is_read_back(tmp_path: Path) -> None:
    with (
        crucible.configure(journal=tmp_path / "j", ship="off"),
        crucible.deployment("d") as deployment,
    ):
        deployment.start_canary(0.05)
        deployment.start_serving()
        deployment.reject_canary(reason="it is slower")
    store = crucible.open_store(tmp_path / "j")
    became = ["canary_started", "serving_started", "canary_rejected"]
    assert [span.operation for span in store.latest().spans] == ["deployment", *became]
    assert [change.name for change in crucible.lineage(store.traces(), "d").changes] == became
