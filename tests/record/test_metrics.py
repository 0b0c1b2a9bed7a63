"""Moving numbers as metrics: names, units, values and attributes of the registry; once a window, never once a step."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.metrics import Counter, Histogram, Meter, MeterProvider, NoOpMeterProvider
from opentelemetry.sdk.metrics import MeterProvider as SdkMeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.series import described
from crucible_trace_otel.record import _metrics
from crucible_trace_otel.record._metrics import WindowMeter, use_meter_provider
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.record.files._digests import drain
from crucible_trace_otel.semconv import events, metrics
from crucible_trace_otel.semconv.catalogue import METRICS, find_attribute
from tests.record.reading import Recording

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Series = dict[tuple[str, frozenset[tuple[str, Any]]], Any]
KINDS = {"Sum": "counter", "Gauge": "gauge", "Histogram": "histogram"}


class Measured:
    """A meter provider of its own, and what was measured through it."""

    def __init__(self) -> None:
        self._reader = InMemoryMetricReader()
        self.provider = SdkMeterProvider([self._reader], shutdown_on_exit=False)

    def metrics(self) -> dict[str, Any]:
        """Each metric by its name."""
        data = self._reader.get_metrics_data()
        groups = data.resource_metrics if data else []
        return {each.name: each for group in groups for scoped in group.scope_metrics for each in scoped.metrics}

    def points(self) -> dict[tuple[str, frozenset[Any]], Any]:
        """Each point by the name of its metric and its attributes."""
        return {
            (name, frozenset(point.attributes.items())): point
            for name, metric in self.metrics().items()
            for point in metric.data.data_points
        }

    def values(self) -> Series:
        """The value of each counter and gauge, and the count of each histogram."""
        return {key: getattr(point, "value", getattr(point, "count", None)) for key, point in self.points().items()}


def series(name: str, **attributes: Any) -> tuple[str, frozenset[tuple[str, Any]]]:
    return name, frozenset((key.replace("__", "."), value) for key, value in attributes.items())


@pytest.fixture
def measured() -> Iterator[Measured]:
    measuring = Measured()
    use_meter_provider(measuring.provider)
    yield measuring
    measuring.provider.shutdown()


def train(folder: Path) -> None:
    with crucible.pipeline("p") as pipeline, pipeline.stage("fit"), crucible.training_run("r") as run:
        for epoch in run.epochs(2):
            for step in range(250):
                epoch.record_step(
                    loss=1 / (250 * epoch.index + step + 1), learning_rate=0.1, samples=32, tokens=100, accuracy=0.5
                )
            epoch.record_gradient(2)
            epoch.record_validation(accuracy=0.75)
        run.save_checkpoint(folder / "c", write=lambda path: path.write_bytes(b"12345"))
        run.load_checkpoint(folder / "c")
    with crucible.deployment("d"), crucible.inference("i"):
        pass
    with pytest.raises(ValueError, match="boom"), crucible.stage("fails"):
        raise ValueError("boom")
    assert drain(10)


def test_a_run_is_measured_as_the_registry_says(recorded: Recording, measured: Measured, tmp_path: Path) -> None:
    train(tmp_path)
    named = {"crucible__metric__name": "accuracy"}
    success = {"crucible__operation__result": "success"}
    saved, loaded = ({"crucible__operation__name": f"checkpoint_{verb}"} for verb in ("save", "load"))
    values = measured.values()
    steps = values.pop(series(metrics.CRUCIBLE_TRAINING_STEP_DURATION))
    assert 0 < steps <= 2 * 249  # of so fast steps not each is measured
    assert values == {
        series(metrics.CRUCIBLE_TRAINING_LOSS): 1 / 500,
        series(metrics.CRUCIBLE_TRAINING_LEARNING_RATE): 0.1,
        series(metrics.CRUCIBLE_TRAINING_GRADIENT_NORM): 2.0,
        series(metrics.CRUCIBLE_TRAINING_METRIC, **named, crucible__operation__name="training_run"): 0.5,
        series(metrics.CRUCIBLE_TRAINING_METRIC, **named, crucible__operation__name="validation_run"): 0.75,
        series(metrics.CRUCIBLE_TRAINING_STEPS): 500,
        series(metrics.CRUCIBLE_TRAINING_SAMPLES): 500 * 32,
        series(metrics.CRUCIBLE_TRAINING_TOKENS): 500 * 100,
        series(metrics.CRUCIBLE_TRAINING_EPOCH_DURATION, **success): 2,
        series(metrics.CRUCIBLE_TRAINING_RUN_DURATION, **success): 1,
        series(metrics.CRUCIBLE_CHECKPOINT_DURATION, **saved): 1,
        series(metrics.CRUCIBLE_CHECKPOINT_DURATION, **loaded): 1,
        series(metrics.CRUCIBLE_CHECKPOINT_IO, **saved): 5,
        series(metrics.CRUCIBLE_CHECKPOINT_IO, **loaded): 5,
        series(metrics.CRUCIBLE_INFERENCE_DURATION, deployment__name="d"): 1,
        series(metrics.CRUCIBLE_STAGE_DURATION, **success, crucible__stage__name="fit"): 1,
        series(
            metrics.CRUCIBLE_STAGE_DURATION,
            crucible__stage__name="fails",
            crucible__operation__result="error",
            error__type="ValueError",
        ): 1,
    }


def test_everything_measured_is_in_the_convention(recorded: Recording, measured: Measured, tmp_path: Path) -> None:
    train(tmp_path)
    found = measured.metrics()
    assert found
    for name, metric in found.items():
        definition = METRICS[name]
        assert (metric.unit, metric.description) == (definition.unit, definition.brief)
        assert KINDS[type(metric.data).__name__] == definition.instrument
        required = {key for key, level in definition.attributes.items() if level == "required"}
        for point in metric.data.data_points:
            assert required <= set(point.attributes) <= set(definition.attributes)
            assert all(find_attribute(key) for key in point.attributes)
            value = getattr(point, "value", getattr(point, "sum", None))
            assert type(value) is {"int": int, "double": float}[definition.value_type]


def test_exemplars_point_to_the_span_of_the_window(recorded: Recording, measured: Measured) -> None:
    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        for _ in range(10):
            epoch.record_step(loss=1.0)
    points = measured.points()
    loss = points[series(metrics.CRUCIBLE_TRAINING_LOSS)]
    steps = points[series(metrics.CRUCIBLE_TRAINING_STEP_DURATION)]
    assert {exemplar.span_id for exemplar in loss.exemplars} == {epoch.span_context.span_id}
    assert {exemplar.trace_id for exemplar in steps.exemplars} == {epoch.span_context.trace_id}


def test_durations_of_operations_are_those_of_their_spans(recorded: Recording, measured: Measured) -> None:
    with crucible.stage("s"):
        pass
    span = recorded.one("stage s")
    (point,) = measured.metrics()[metrics.CRUCIBLE_STAGE_DURATION].data.data_points
    assert point.sum == pytest.approx((span.end_time - span.start_time) / 1e9)
    assert (point.explicit_bounds[0], point.explicit_bounds[-1]) == (0.001, 43_200)  # seconds, up to half a day


def close_window(rows: list[tuple[int, int]], *earlier: list[tuple[int, int]], **columns: list[Any]) -> Measured:
    """What windows of these steps and times are measured as, the earlier ones first."""
    measuring = Measured()
    use_meter_provider(measuring.provider)
    span = Recording().foreign.start_span("holder")
    meter = WindowMeter()
    for window in (*earlier, rows):
        found = {"step": [step for step, _ in window], "time_ns": [at for _, at in window]}
        if window is rows:
            found |= columns
        meter.measure(events.STEPS_RECORDED, found, described(found, "count").numbers, span)
    return measuring


MS = 1_000_000


def test_the_first_step_of_a_window_lasts_from_the_last_of_the_one_before() -> None:
    measuring = close_window([(2, 30 * MS), (3, 40 * MS)], [(0, 10 * MS), (1, 20 * MS)])
    (point,) = measuring.metrics()[metrics.CRUCIBLE_TRAINING_STEP_DURATION].data.data_points
    assert (point.count, point.sum) == (3, pytest.approx(0.03))


def test_steps_between_two_rows_share_the_time_between_them() -> None:
    (point,) = (
        close_window([(0, 0), (10, 100 * MS)]).metrics()[metrics.CRUCIBLE_TRAINING_STEP_DURATION].data.data_points
    )
    assert (point.count, point.sum) == (1, pytest.approx(0.01))


def test_steps_that_go_backwards_have_no_duration() -> None:
    assert metrics.CRUCIBLE_TRAINING_STEP_DURATION not in close_window([(5, 0), (4, 9 * MS), (4, 18 * MS)]).metrics()


def test_of_fast_steps_not_each_is_measured_and_each_is_counted() -> None:
    values = close_window([(step, 10_000 * step) for step in range(200)]).values()
    assert values[series(metrics.CRUCIBLE_TRAINING_STEPS)] == 200
    assert 1 <= values[series(metrics.CRUCIBLE_TRAINING_STEP_DURATION)] <= 10


@given(st.lists(st.tuples(st.integers(-(2**63), 2**63 - 1), st.integers(0, 2**63 - 1)), min_size=1, max_size=20))
def test_no_steps_and_no_times_are_too_strange(rows: list[tuple[int, int]]) -> None:
    values = close_window(rows, rows).values()
    assert values[series(metrics.CRUCIBLE_TRAINING_STEPS)] == 2 * len(rows)


def test_a_loss_that_is_not_finite_leaves_the_gauge_as_it_was(measured: Measured, recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        run.record_step(loss=0.5)
        with run.epoch(0) as epoch:
            epoch.record_step(loss=math.nan, tokens=math.inf)
    assert measured.values()[series(metrics.CRUCIBLE_TRAINING_LOSS)] == 0.5


def test_no_more_than_twenty_numbers_of_a_window_become_series() -> None:
    columns = {f"number {index}": [1.0, 2.0] for index in range(50)}
    names = [name for name, _ in close_window([(0, 0), (1, 9 * MS)], **columns).values()]
    assert names.count(metrics.CRUCIBLE_TRAINING_METRIC) == 20


def test_an_abnormal_step_is_counted_by_its_kind(recorded: Recording, measured: Measured) -> None:
    with crucible.training_run("r") as run:
        for kind in ("nan", "spike", "nan"):
            emit_event(run, events.STEP_ABNORMAL, {"crucible.abnormal.kind": kind, "crucible.training.step.index": 1})
    values = measured.values()
    assert values[series(metrics.CRUCIBLE_TRAINING_ABNORMAL_STEPS, crucible__abnormal__kind="nan")] == 2
    assert values[series(metrics.CRUCIBLE_TRAINING_ABNORMAL_STEPS, crucible__abnormal__kind="spike")] == 1


def test_kinds_of_loss_are_told_apart(measured: Measured) -> None:
    found = {"step": [0], "time_ns": [0], "loss.kl": [0.25], "loss": [1.0]}
    numbers = described(found, "count").numbers
    WindowMeter().measure(events.LOSS_COMPUTED, found, numbers, Recording().foreign.start_span("holder"))
    assert measured.values() == {
        series(metrics.CRUCIBLE_TRAINING_LOSS): 1.0,
        series(metrics.CRUCIBLE_TRAINING_LOSS, crucible__training__loss__kind="kl"): 0.25,
    }


def test_what_is_not_recorded_is_not_measured(measured: Measured, tmp_path: Path) -> None:
    train(tmp_path)
    assert measured.values() == {}


def test_the_global_provider_measures_once_it_is_set(
    recorded: Recording, measured: Measured, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_meter_provider(None)
    with crucible.stage("before"):
        pass
    monkeypatch.setattr("opentelemetry.metrics._internal._METER_PROVIDER", measured.provider)
    with crucible.stage("after"):
        pass
    assert set(measured.values()) == {
        series(metrics.CRUCIBLE_STAGE_DURATION, crucible__stage__name="after", crucible__operation__result="success")
    }


class Broken(MeterProvider):
    """One that raises at once, or whose instruments do."""

    def __init__(self, *, at_once: bool) -> None:
        self._at_once = at_once

    def get_meter(self, name: str, *_: Any, **__: Any) -> Meter:
        if self._at_once:
            raise OSError("no meter")
        meter = NoOpMeterProvider().get_meter(name)
        meter.create_histogram = self._raise  # type: ignore[method-assign]
        meter.create_counter = self._raise  # type: ignore[method-assign]
        meter.create_gauge = self._raise  # type: ignore[method-assign]
        return meter

    def _raise(self, *_: Any, **__: Any) -> Counter | Histogram:
        raise OSError("no instrument")


@pytest.mark.parametrize("at_once", [True, False])
def test_a_broken_provider_costs_measurements_only(
    recorded: Recording, warned: list[str], tmp_path: Path, at_once: bool
) -> None:
    use_meter_provider(Broken(at_once=at_once))
    train(tmp_path)
    assert len(recorded.rows()) == 500
    assert len(recorded.spans) == 12
    assert warned
    assert all("The program goes on" in line for line in warned)
    _metrics._meters_of.cache_clear()


def test_rewards_returns_and_feedback_are_measured(recorded: Recording, measured: Measured) -> None:
    for reward in (1, 2):
        with crucible.episode() as episode:
            episode.record_reward(0.5)
            episode.record_reward(reward)
    crucible.record_feedback(episode, score=4)
    crucible.record_feedback(episode, label="good")
    crucible.record_evaluation(episode, "tone", score=0.5)
    assert measured.values() == {
        series(metrics.CRUCIBLE_REWARD): 2.0,
        series(metrics.CRUCIBLE_EPISODE_RETURN, crucible__operation__result="success"): 2,
        series(metrics.CRUCIBLE_FEEDBACK_SCORE, crucible__feedback__source="human"): 1,
        series(metrics.CRUCIBLE_FEEDBACK_SCORE, crucible__feedback__source="automatic"): 1,
    }
    assert measured.metrics()[metrics.CRUCIBLE_EPISODE_RETURN].data.data_points[0].sum == 4.0
