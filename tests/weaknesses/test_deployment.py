"""What other recorders of comparisons and of inferences get wrong: the sign of an effect, and what an exception is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.trace import StatusCode

import crucible_trace_otel as crucible
from crucible_trace_otel.record._metrics import use_meter_provider
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import said

if TYPE_CHECKING:
    from tests.record.reading import Recording

FAST, SLOW = [0.10, 0.11, 0.12, 0.10, 0.11] * 20, [0.20, 0.21, 0.22, 0.20, 0.21] * 20


@pytest.mark.parametrize(("candidate", "winner"), [(SLOW, "control"), (FAST, None)])
def test_c2_a_slowdown_is_never_an_improvement(recorded: Recording, candidate: list[float], winner: str | None) -> None:
    with crucible.a_b_test("latency of two versions", metric="latency", higher_is_better=False) as test:
        test.record_arm("control", FAST)
        test.record_arm("candidate", candidate)
    found = said(recorded.one("a_b_test"))
    slowdown = sum(candidate) / len(candidate) - sum(FAST) / len(FAST)
    assert found[attr.CRUCIBLE_AB_EFFECT] == pytest.approx(slowdown)
    assert found[attr.CRUCIBLE_AB_IMPROVEMENT] == pytest.approx(-slowdown)
    assert found.get(attr.CRUCIBLE_AB_WINNER) == winner


def test_c2_where_nobody_said_what_is_better_nothing_is_called_so(recorded: Recording) -> None:
    with crucible.a_b_test("two versions") as test:
        test.record_arm("control", FAST)
        test.record_arm("candidate", SLOW)
    assert not {attr.CRUCIBLE_AB_IMPROVEMENT, attr.CRUCIBLE_AB_WINNER} & said(recorded.one("a_b_test")).keys()


def test_c2_a_difference_is_judged_by_a_test(recorded: Recording) -> None:
    """The same difference of the means: sure from many observations, chance from few."""
    results = []
    for times in (1, 100):
        with crucible.a_b_test("two versions", higher_is_better=True) as test:
            test.record_arm("control", [0.0, 1.0, 2.0] * times)
            test.record_arm("candidate", [0.5, 1.5, 2.5] * times)
        results.append(test.result)
    few, many = results
    assert (few.effect, many.effect) == (pytest.approx(0.5), pytest.approx(0.5))
    assert (few.winner, many.winner) == (None, "candidate")
    assert few.p_value > 0.5
    assert many.p_value < 0.001
    assert few.test == many.test == "Welch's t"


@pytest.mark.parametrize("ratio", [None, 0.0])
def test_c4_an_exception_in_an_inference_is_a_failure(recorded: Recording, ratio: float | None) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    use_meter_provider(provider)
    with (
        crucible.deployment("api", inference_ratio=ratio) as deployment,
        pytest.raises(ValueError, match="a bad row"),
        deployment.inference(batch_size=2),
    ):
        raise ValueError("a bad row")
    (metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    provider.shutdown()
    span = recorded.one("inference")
    assert span.status.status_code is StatusCode.ERROR
    assert said(span)[attr.ERROR_TYPE] == "ValueError"
    assert said(span)[attr.CRUCIBLE_OPERATION_RESULT] == "error"
    assert [event.name for event in span.events] == ["exception"]
    (point,) = metric.data.data_points
    assert point.count == 1
    assert point.attributes[attr.ERROR_TYPE] == "ValueError"
