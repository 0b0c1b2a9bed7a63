"""Inferences: what each says, which of them are recorded, and that those that fail are."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

import crucible_trace_otel as crucible
from crucible_trace_otel.record._ids import entropy
from crucible_trace_otel.record._metrics import use_meter_provider
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from pathlib import Path

RATIO = attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO


def test_each_inference_says_what_is_served(recorded: Recording, tmp_path: Path) -> None:
    with crucible.training_run("r", model="softmax") as run:
        saved = run.save_model(tmp_path / "m", write=lambda path: path.write_text("w"), version="3")
    with crucible.deployment("api", model=saved) as deployment, deployment.inference("one", batch_size=8) as one:
        one.record_usage({"input": 3, "output": 4})
    first, second = recorded.one("inference"), None
    assert said(first) == {
        attr.CRUCIBLE_OPERATION_NAME: "inference",
        attr.CRUCIBLE_ABOUT: "one",
        attr.CRUCIBLE_EVENT_ID: one.event_id,
        attr.DEPLOYMENT_NAME: "api",
        attr.CRUCIBLE_MODEL_NAME: "softmax",
        attr.CRUCIBLE_MODEL_VERSION: "3",
        attr.CRUCIBLE_INFERENCE_BATCH_SIZE: 8,
        attr.GEN_AI_USAGE_INPUT_TOKENS: 3,
        attr.GEN_AI_USAGE_OUTPUT_TOKENS: 4,
        attr.CRUCIBLE_COST_UNKNOWN_COUNT: 1,
        attr.CRUCIBLE_DEPENDENCY_NAMES: (f"serves: model_save: {tmp_path}/m",),
        attr.CRUCIBLE_DEPENDENCY_SPAN_IDS: (f"{saved.span_context.span_id:016x}",),
        attr.CRUCIBLE_DEPENDENCY_TYPES: ("serves",),
        attr.CRUCIBLE_OPERATION_RESULT: "success",
    }
    with deployment.inference("one", batch_size=8, depends_on=run):  # with causes of its own: not the short way
        pass
    second = recorded.named("inference")[1]
    differing = {
        attr.CRUCIBLE_EVENT_ID,
        *(key for key in said(first) if "dependency" in key or "gen_ai" in key or "cost" in key),
    }
    assert said(second).keys() | differing == said(first).keys() | differing
    assert {key: value for key, value in said(second).items() if key not in differing} == {
        key: value for key, value in said(first).items() if key not in differing
    }


def test_an_inference_lies_where_any_operation_would(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline, crucible.deployment("api") as deployment:
        with deployment.inference("inside"), crucible.stage("s"), crucible.inference("deeper"):
            pass
        with recorded.foreign.start_as_current_span("request"), deployment.inference("of a request"):
            pass
        worker = threading.Thread(target=lambda: deployment.inference("in a thread").start().stop())
        worker.start()
        worker.join()
    with recorded.foreign.start_as_current_span("request"), deployment.inference("later"):
        pass
    with deployment.inference("last"):
        pass
    assert not trace_api.get_current_span().get_span_context().is_valid
    deployed, request, last = recorded.trees()
    assert deployed.inside == [
        node(
            "deployment",
            "api",
            node("inference", "inside", node("stage s", "s", node("inference", "deeper"))),
            node("request", None, node("inference", "of a request")),
            node("inference", "in a thread"),
        )
    ]
    assert request == node("request", None, node("inference", "later"))
    assert last == node("inference", "last")
    assert pipeline.event_id


def test_the_context_of_an_inference_is_left_wherever_it_was_taken(recorded: Recording) -> None:
    with crucible.deployment("api") as deployment:
        with deployment.inference() as inference:
            inside = context_api.get_current()
        context_api.attach(inside)  # as a callback that runs later does
        with crucible.stage("after"):
            pass
    del inference
    assert recorded.tree().inside == [node("inference", "inference"), node("stage after", "after")]


def test_a_link_of_one_inference_is_not_that_of_the_next(recorded: Recording) -> None:
    with crucible.stage("s") as stage:
        pass
    with crucible.deployment("api") as deployment:
        for target in (stage, None):
            with deployment.inference() as inference:
                if target is not None:
                    inference.link("depends_on", target)
    first, second = recorded.named("inference")
    assert (len(first.links), len(second.links)) == (1, 0)


def test_a_share_of_the_inferences_is_recorded(recorded: Recording) -> None:
    entropy.seed(7)
    with crucible.deployment("api", inference_ratio=0.1) as deployment:
        for _ in range(2_000):
            with deployment.inference(batch_size=1):
                pass
    entropy.seed()
    spans = recorded.named("inference")
    assert 150 < len(spans) < 250
    assert {said(span)[RATIO] for span in spans} == {0.1}
    assert said(recorded.one("deployment"))[RATIO] == 0.1


def test_of_those_that_are_not_recorded_the_failing_ones_are(recorded: Recording) -> None:
    with crucible.deployment("api", inference_ratio=0.0) as deployment:
        with deployment.inference() as silent:
            silent.record_usage({"input": 1})
        with suppress(ValueError), deployment.inference("odd", batch_size=2) as failed, crucible.stage("inside"):
            failed.record_usage({"input": 3})
            raise ValueError("odd")
        deployment.inference("by a sentence").start().fail("no answer")
        with pytest.raises(GeneratorExit), deployment.inference():
            raise GeneratorExit
    assert not silent.span_context.is_valid
    odd, sentence = recorded.named("inference")
    assert [said(span)[RATIO] for span in (odd, sentence)] == [1.0, 1.0]
    assert said(odd)[attr.CRUCIBLE_INFERENCE_BATCH_SIZE] == 2
    assert said(odd)[attr.GEN_AI_USAGE_INPUT_TOKENS] == 3
    assert odd.status.description == "ValueError: odd"
    inside = recorded.one("stage inside")
    assert odd.start_time <= inside.start_time
    assert odd.end_time >= inside.end_time


def test_a_decorated_function_is_drawn_anew_at_each_call(recorded: Recording) -> None:
    entropy.seed(7)
    with crucible.deployment("api", inference_ratio=0.5) as deployment:

        @deployment.inference("predict")
        def predict(number: int) -> int:
            return number + 1

        assert [predict(number) for number in range(200)] == list(range(1, 201))
    entropy.seed()
    assert 70 < len(recorded.named("inference")) < 130


def test_the_metric_says_what_share_it_counts(recorded: Recording) -> None:
    reader = InMemoryMetricReader()
    provider = MeterProvider([reader], shutdown_on_exit=False)
    use_meter_provider(provider)
    entropy.seed(7)
    with crucible.deployment("api", inference_ratio=0.5) as deployment:
        for number in range(100):
            with suppress(ValueError), deployment.inference():
                if number < 10:
                    raise ValueError
    entropy.seed()
    (metric,) = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
    provider.shutdown()
    counts = {point.attributes[RATIO]: point.count for point in metric.data.data_points}
    assert counts[1.0] == 10
    assert counts[0.5] == len(recorded.named("inference")) - 10
    assert {point.attributes[attr.DEPLOYMENT_NAME] for point in metric.data.data_points} == {"api"}
