"""What is recorded is in the convention: every name, its type, and every attribute that is required."""

import math
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.sizes import TRACES, Budget
from crucible_trace_otel.record._digests import drain
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.semconv.catalogue import EVENTS, SPANS, find_attribute

TYPES = {
    "string": str,
    "int": int,
    "double": float,
    "boolean": bool,
    "bytes": bytes,
    "scalar": (str, int, float, bool),
}
FOREIGN_EVENTS = {"exception"}


@pytest.fixture(scope="module")
def spans(tmp_path_factory) -> Iterator[list[ReadableSpan]]:
    """One of everything that the public calls can record."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.add_span_processor(JournalSpanProcessor(tmp_path_factory.mktemp("journal")))  # it counts what traces hold
    use_tracer_provider(provider)
    try:
        record_everything(tmp_path_factory.mktemp("files"))
        assert drain(10)
        yield list(exporter.get_finished_spans())
    finally:
        use_tracer_provider(None)


def record_everything(folder) -> None:
    with crucible.pipeline("everything") as pipeline:
        with crucible.reasoning_chain("why", description="a chain with each verb") as chain:
            first = chain.form_hypothesis(
                "first",
                reasoning="r",
                alternatives=["a", "b"],
                confidence=0.5,
                code_section="a.py:1",
                spec_reference="§1",
            )
            chain.reject_alternative("b", parent=first, metadata={"cost": 3})
            chain.evaluate_constraint("small", satisfied=True, depends_on=["nothing has this id", first])
            chain.apply_pattern("cache")
            chain.flag_ambiguity("how small?", resolution="10 MB", links={"refines": first})
            chain.update_confidence(first, 0.75)
        with pipeline.stage("train", config={"seed": 1, "big": 2**80}) as stage:
            policy = crucible.WindowPolicy(rows=60, compact=True, plain_arrays=True)
            with crucible.training_run(
                "run",
                hyperparameters={"optimizer": {"lr": 1, "betas": [0.5] * 9}},
                dataset=crucible.Dataset("d", version="1", sha256="ab", size=1, rows=2, split="train"),
                model=crucible.Model("m", version="1", parameters=3, sha256="cd"),
                seed=1,
                accumulation=2,
                windows=policy,
                depends_on=first,
            ) as run:
                measure_and_tune(run)
                for epoch in run.epochs(2):
                    for step in range(150):
                        epoch.record_step(loss=math.nan if step == 7 else 1.0, learning_rate=0.1, tokens=step)
                        epoch.record_gradient(1)
                    epoch.record_step(loss=9.0, step=3)
                    epoch.skip_step("overflow")
                    epoch.process_batch(1, 32, 0.5)
                    epoch.compute_loss(0.5, "train")
                    epoch.compute_gradient(1, {"head": 1})
                    epoch.record_metric(perplexity=2)
                    epoch.record_validation(accuracy=1)
                run.tune_hyperparameter("lr", 0.5, reason="slow")
                saved = run.save_checkpoint(
                    folder / "c", write=lambda path: path.write_text("c"), epoch=1, best=True, metrics={"loss": 1}
                )
                run.load_checkpoint(folder / "c")
                with crucible.training_run("again", resume_from=folder / "c") as again:
                    again.save_checkpoint(folder, step=3)
                    again.delete_checkpoint(folder / "c", remove=lambda path: path.unlink(), reason="an older one")
                model = run.save_model(
                    folder / "m", write=lambda path: path.write_text("m"), version="1", depends_on=saved
                )
                run.stop_early("enough", best_epoch=1, best_value=1, patience=2)
            stage.link("caused_by", chain)
            chain_of_itself = crucible.stage("loop", depends_on=stage).start()
            stage.link("depends_on", chain_of_itself)
            chain_of_itself.fail("a reason")
        stage.set({"crucible.stage.index": 1})  # late, as what follows
        stage.link("depends_on", first)
        run.record_validation(accuracy=1)
        run.record_step(loss=1.0)
        run.stop_early("late")
        crucible.record_history(
            "h", [{"epoch": 0, "time": 1767225600, "loss": 1, "val_loss": 1}, {"train_runtime": 1}, 3]
        )
        deploy(model, folder / "m")
        with pytest.raises(ValueError, match="boom"), pipeline.stage("fails"):
            raise ValueError("boom")

    record_a_run_of_several_traces()


def record_a_run_of_several_traces() -> None:
    before, TRACES.budget = TRACES.budget, Budget(math.inf, 3)
    with crucible.training_run("long") as run:
        for epoch in run.epochs(5):
            epoch.record_validation(accuracy=1)
            epoch.record_step(loss=1.0)
    TRACES.budget = before


def deploy(model, path) -> None:
    with crucible.deployment("d", environment="test", version="1", model=model) as before:
        with crucible.deployment(
            "d",
            environment="test",
            version="2",
            strategy="canary",
            replicas=2,
            traffic_share=1.5,
            previous=before,
            model=crucible.Model("m", version="2", parameters=3, sha256="ab"),
            id="7",
            reason="better",
            evaluated_by=model,
            inference_ratio=0.0,
        ) as deployment:
            deployment.load_model(path)
            deployment.start_serving(replicas=2, reason="loaded")
            deployment.start_canary(0.1)
            with pytest.raises(ValueError, match="odd"), crucible.inference("one", batch_size=4) as failed:
                failed.record_tokens(input_tokens=3, output_tokens=4)
                raise ValueError("odd")
            with deployment.a_b_test("1 or 2", metric="accuracy", higher_is_better=True) as test:
                test.record_arm("1", [0.1, 0.2, math.nan])
                test.record_arm("2", [0.3, 0.5, 0.4])
                test.record_result(interval=[0.1, 0.2], winner="2")
            deployment.promote_canary(depends_on=test)
            deployment.reject_canary(reason="slow")
            deployment.roll_back(reason="wrong", caused_by=failed)
        with crucible.deployment("d", environment="test") as again, again.inference():
            pass


def measure_and_tune(run) -> None:
    with run.epoch(2) as epoch:
        for _ in run.track([1, 2], batch_size=1):
            with epoch.phase("forward"):
                pass
        with epoch.validation_run("held-out", dataset=crucible.Dataset("d", split="test")) as validation:
            validation.record_metric(accuracy=1)
    with run.tuning_study("study", objective="accuracy", direction="maximize") as study:
        with study.trial({"lr": 1}) as trial:
            trial.complete(1, loss=1)
        with study.trial({"lr": 2}) as trial:
            trial.prune("slow")


def check(attributes, required, allowed_on) -> None:
    for key, value in attributes.items():
        definition = find_attribute(key)
        assert definition is not None, f"{key} on {allowed_on} is not in the convention"
        kind = definition.type.removesuffix("[]")
        values = value if definition.type.endswith("[]") else [value]
        assert all(type(item) in (TYPES[kind] if kind == "scalar" else (TYPES[kind],)) for item in values), (
            f"{key} = {value!r}"
        )
    present = {find_attribute(key).key for key in attributes}
    missing = {key for key, level in required.items() if level == "required"} - present
    assert not missing, f"{allowed_on} lacks {missing}"


def test_every_span_and_its_attributes_are_in_the_convention(spans):
    for span in spans:
        operation = span.attributes["crucible.operation.name"]
        assert operation in SPANS
        assert span.name.split()[0] == operation
        check(span.attributes, SPANS[operation].attributes, operation)
        unlisted = {key for key in span.attributes if find_attribute(key).key not in SPANS[operation].attributes}
        assert not unlisted, f"{operation} does not list {unlisted}"


def test_every_event_and_its_attributes_are_in_the_convention(spans):
    for span in spans:
        for event in span.events:
            if event.name in FOREIGN_EVENTS:
                continue
            assert event.name in EVENTS
            assert span.attributes["crucible.operation.name"] in EVENTS[event.name].operations
            check(event.attributes, EVENTS[event.name].attributes, event.name)


def test_a_run_that_outgrows_its_trace_is_among_what_is_recorded(spans):
    assert {"run_part", "run_index"} <= {span.attributes["crucible.operation.name"] for span in spans}


def test_every_link_carries_the_attributes_of_the_convention(spans):
    links = [link for span in spans for link in span.links]
    assert links
    for link in links:
        check(link.attributes, {"crucible.link.type": "required"}, "link")
