"""One of everything that the public calls can record."""

from __future__ import annotations

import math
import os
from decimal import Decimal

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.sizes import TRACES, Budget
from crucible_trace_otel.record.files._digests import drain
from crucible_trace_otel.record.processes._process import use_process_rank

__all__ = ["record_everything"]


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

    record_pipelines(folder)
    record_causes(folder)
    record_by_areas()


def record_causes(folder) -> None:
    """Links that lead out of what encloses the record, and the one of a run that another process started."""
    with crucible.reasoning_chain("for and against") as chain:
        claim = chain.form_hypothesis("it holds")
        for link_type in ("supports", "contradicts", "overturns"):
            chain.form_hypothesis(link_type, links={link_type: claim})
    with crucible.training_run("first") as run:
        run.save_checkpoint(folder / "weights", write=lambda path: path.write_text("w"))
        run.save_model(folder / "model", write=lambda path: path.write_text("m"), name="m")
    assert drain(10)
    (folder / "weights").write_text("others")
    (folder / "model").write_text("others")
    with crucible.training_run("first", resume_from=folder / "weights") as again:
        again.load_checkpoint(folder / "weights")
    with crucible.deployment("of two", version="1") as before:
        pass
    with crucible.deployment("of two", version="2", previous=before) as deployment:
        deployment.load_model(folder / "model")
    os.environ["TRACEPARENT"] = traceparent(run)
    for rank in (0, 1):
        use_process_rank(crucible.ProcessRank(rank, 2))
        with crucible.training_run("handed down", run_id="handed down"):
            pass
    use_process_rank(None)
    del os.environ["TRACEPARENT"]


def traceparent(operation: crucible.Operation) -> str:
    return f"00-{operation.span_context.trace_id:032x}-{operation.span_context.span_id:016x}-01"


def record_by_areas() -> None:
    record_a_plan()
    record_calls_of_language_models()
    record_a_run_of_several_traces()
    record_feedback_and_rewards()
    record_a_run_of_several_processes()


def record_a_plan() -> None:
    tries = iter([OSError("once"), ValueError("for good")])

    def train(context, options):
        raise next(tries)

    plan = {
        "id": "planned",
        "backend": {"id": "numpy"},
        "pipeline": [
            {"name": "load"},
            {"name": "augment", "enabled": False},
            {"name": "train", "after": ["load"], "retries": 1},
            {"name": "report"},
        ],
    }
    code = {"load": lambda context, options: {"rows": 3}, "train": train, "report": print}
    result = crucible.run_plan(plan, code, hypothesis="it holds", condition="baseline", errors="return")
    assert str(result.error) == "for good"
    with crucible.experiment("by hand", version="2") as experiment:
        experiment.set_verdict("good")


def record_calls_of_language_models() -> None:
    used = {"input": 9, "output": 4, "cached": 2, "cache_write": 1, "reasoning": 3}
    names = {"response_model": "m-1", "response_id": "r", "conversation_id": "c", "agent": "a", "agent_id": "1"}
    table = crucible.PriceTable("1", "USD", (crucible.Price("m", "p", *[Decimal(1)] * 5),))
    with crucible.reasoning_chain("in one currency"):
        crucible.record_llm_call("m", provider="p", usage=used, prices=table)
    with crucible.reasoning_chain("asked") as chain:
        with crucible.llm_call("m", provider="p") as call:
            call.first_token()
            call.record_usage(used, prices=table, **names)
        chain.form_hypothesis("told", thought_in=call, model="m")
        chain.apply_pattern(
            "priced", usage=used, cost="0.5", currency="EUR", latency=1, model="m", provider="p", **names
        )
        chain.flag_ambiguity("odd", usage={"input": -1}, latency="long", time_to_first_token=-1)
        crucible.record_llm_call("m", provider="p", usage=used, prices=table, latency=1, time_to_first_token=1)
        with crucible.inference("asked") as inference:
            inference.record_usage(used, model="m", provider="p", prices=table)


def record_pipelines(folder) -> None:
    assert crucible.stage("abs", digest=True)(lambda number: -number)(3) == -3
    for _ in range(2):
        with crucible.pipeline("nightly", state=folder / "state.json") as pipeline:
            with pipeline.stage("clean", config={"drop": 1}) as stage:
                stage.record_input(folder / "state.json", "state", sha256="ab")
                stage.record_input({"rows": [1, 2]}, "rows")
                stage.record_output(object())
                stage.produce_artifact(b"x" * 100, name="rows")
            with pipeline.stage("each") as stage:
                assert list(stage.each(range(3), spans=2)) == list(stage.map(abs, range(3))) == [0, 1, 2]
            with pipeline.stage("known", after=["clean", "nothing has this name"]) as stage:
                stage.record_input(b"unchanged")
                stage.record_output(b"output")
                stage.consume_artifact(b"x" * 100, name="rows")
                if stage.is_unchanged:
                    stage.skip("unchanged", cached=True)
            for attempt in pipeline.attempts("fetch", 2):
                with attempt as stage:
                    if stage.attempt == 0:
                        raise OSError("no route")
            pipeline.skip_stage("publish", reason="a dry run", after="clean")
            pipeline.consume_artifact(crucible.Dataset("d", version="1", sha256="cd", size=1, rows=2, split="test"))
            pipeline.produce_artifact(folder / "state.json")
            pipeline.produce_artifact(crucible.Model("m", version="1", parameters=3, sha256="0" * 64), size=9)


def record_a_run_of_several_traces() -> None:
    before, TRACES.budget = TRACES.budget, Budget(math.inf, 3)
    with crucible.training_run("long") as run:
        for epoch in run.epochs(5):
            epoch.record_validation(accuracy=1)
            epoch.record_step(loss=1.0)
    TRACES.budget = before


def record_feedback_and_rewards() -> None:
    with crucible.training_run("rewards") as run, run.epoch(0) as epoch:
        with epoch.episode(policy_version="1", rewarded_by=run, windows=crucible.WindowPolicy(rows=10)) as episode:
            record = episode.reward_recorder("action")
            for step in range(700):
                record(math.nan if step == 7 else 1, step)
            episode.record_reward(1, step=3, note="x")
        episode.record_reward(1.0)  # late
        with crucible.episode(), crucible.inference("acts") as inference:
            crucible.record_evaluation(inference, "relevance", score=1, label="pass", explanation="e", response_id="r")
        drawn = run.sample_experience(32, buffer_size=64, priorities=[1, 2], sampled_from=episode)
        with run.policy_update("2", samples=32, sampled_from=drawn) as update:
            update.record_metric(loss=1, learning_rate=1, gradient_norm=1, kl=1, entropy=1, clip_fraction=1)
            update.apply_online_update("3", model="m", policy_version="2", samples=4)
        epoch.update_policy("3", kl=1)
    with crucible.deployment("serves") as deployment:
        deployment.apply_online_update("2", samples=3)
    crucible.record_feedback(inference.feedback_token(), score=1, label="good", comment="c")
    crucible.record_feedback("no token", score="bad")
    crucible.record_evaluation(drawn, "late", score=1)


def record_a_run_of_several_processes() -> None:
    for rank in (0, 1):
        use_process_rank(
            crucible.ProcessRank(rank, 2, local_rank=rank, node_rank=0, launcher="torchrun", backend="gloo")
        )
        with crucible.training_run("shared", run_id="shared") as run:
            run.record_step(loss=1.0)
            run.record_validation(accuracy=1)
            run.stop_early("enough")
            with run.collective("all_reduce", size=8, participants=2) as collective:
                collective.record_wait(1)
            with run.epoch(0) as epoch:
                epoch.record_step(loss=1.0)
                epoch.aggregate_gradients(1, size=8, wait=1, participants=2)
                epoch.detect_straggler(1, wait=1, node_rank=0)
                with epoch.barrier(participants=2):
                    pass
    use_process_rank(None)
    with crucible.collective("broadcast") as collective:
        collective.record_wait(-1)
    with crucible.barrier():
        pass


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
                failed.record_usage({"input": 3, "output": 4})
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
