"""One program that uses everything, for the tests that break the recorder under it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import crucible_trace_otel as crucible
from crucible_trace_otel.record.files import _digests

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

ERROR = ValueError("the host's own")
RESULTS = [
    "the host's own",
    "saved",
    b"weights",
    "saved",
    b"weights",
    [0, 1, 2],
    [[[1], [2]]] * 3,
    [0, 1],
    6,
    "awaited",
    [0, 1, 2],
    "the host's own",
    [0, 1],
    "ends",
    PIPELINED := [3, [0, 1], [2, 4], "read", "again"],
]
"""What the program gives, recorded or not."""


def run_scenario(folder: Path) -> list[Any]:
    """Do some of everything; the results are `RESULTS`, whatever the recorder does."""
    results: list[Any] = []
    path = folder / "a"

    def write(given: Path) -> str:
        given.write_bytes(b"weights")
        return "saved"

    with crucible.pipeline("p") as pipeline:
        with crucible.reasoning_chain("q", description="d") as chain:
            first = chain.form_hypothesis("h", confidence=0.5, alternatives=["a"], metadata={"k": object()})
            chain.reject_alternative("a", parent=first)
            chain.evaluate_constraint("c", satisfied=True, depends_on=[first, "nobody"])
            chain.apply_pattern("p")
            chain.flag_ambiguity("f")
            chain.update_confidence(first, 0.7)
        with pipeline.stage("train", depends_on=chain, config={"a": 1}) as stage:
            with crucible.training_run("r", hyperparameters={"lr": 0.1}, run_id="id") as run:
                epochs, tracked = [], []
                for epoch in run.epochs(3):
                    epochs.append(epoch.index)
                    for step in range(101):
                        epoch.record_step(loss=1.0, text="t", step=step)
                    tracked.append(_measured(run, epoch))
                    epoch.record_gradient(1.0)
                    validation = epoch.record_validation(accuracy=1)
                run.tune_hyperparameter("lr", 0.2, depends_on=validation)
                run.stop_early("enough", best_epoch=1)
                _tuned(run)
                saved = run.save_checkpoint(path, write=write, metrics={"a": 1}, depends_on=validation)
                loaded = run.load_checkpoint(path, read=lambda given: given.read_bytes())
                model = run.save_model(path, write=write)
            stage.link("depends_on", saved)
            stage.link("depends_on", stage)
        with crucible.deployment("c", model=path, strategy="odd", previous="1", inference_ratio=0) as canary:
            results.append(_served(canary, path))
        with crucible.deployment("d", model=saved, previous=canary) as deployment:
            results += [saved.value, loaded.value, model.value]
            results.append(deployment.load_model(path, read=lambda given: given.read_bytes()).value)
            with crucible.inference(batch_size=3), deployment.inference():
                pass
        results += [epochs, tracked]
    crucible.record_history("h", [{"epoch": 0, "loss": 0.5, "val_loss": 1.0}, {"epoch": 0.5, "time": 1767225600}, 3])
    results += [_broken_off(), *_decorated(), *_failing()]
    results.append([0, 1])
    crucible.stage("a").start().stop()
    crucible.stage("b").start().fail("a sentence")
    results.append("ends")
    results.append(run_pipelines(folder))
    assert _digests.drain(5)
    return results


def _served(canary: crucible.Deployment, path: Path) -> str:
    canary.start_serving(replicas=-1)
    canary.start_canary(2)
    with crucible.deployment("c", model=crucible.Model("m", sha256="x")) as other, other.inference() as inference:
        inference.record_usage({"input": 3})
        inference.link("depends_on", canary)
    with canary.a_b_test("t", higher_is_better=True) as test:
        test.record_arm("a", [True, False, None] * 20)
        test.record_arm("b", successes=30, trials=60)
        test.record_arm("b", successes=3, trials=2)
    with crucible.a_b_test("u", confidence_level=2) as test:
        test.record_arm("a", [1.0, 2.0])
        test.record_arm("b", size=3, mean=2, deviation=1)
        test.record_result(interval=[2, 1])
    canary.promote_canary(depends_on=test)
    canary.reject_canary()
    canary.roll_back(caused_by=test)
    with canary.inference():
        pass
    try:
        with canary.inference():
            raise ERROR
    except ValueError as error:
        return str(error)


def _measured(run: crucible.TrainingRun, epoch: crucible.Epoch) -> list[Any]:
    taken = []
    for batch in run.track([[1], [2]], batch_size=len, progress="rich"):
        with epoch.phase("forward"):
            taken.append(batch)
    with epoch.validation_run("held-out", dataset=crucible.Dataset("d", rows=3)) as validation:
        validation.record_metric(accuracy=1)
    return taken


def _tuned(run: crucible.TrainingRun) -> None:
    run.set_verdict("good")
    with run.tuning_study("s", objective="loss", direction="minimize") as study:
        with study.trial({"lr": {"first": 0.1}}) as trial:
            trial.complete(0.5, accuracy=1)
            trial.record_metric(size=3)
        with study.trial({"lr": 3}) as trial:
            trial.prune("too slow")


def run_pipelines(folder: Path) -> list[Any]:
    """Do everything that pipelines can; the results are `PIPELINED`."""
    failures = [OSError("no route")]

    @crucible.stage("read", digest=True)
    def read(path: Path) -> str:
        return "read"

    with crucible.pipeline("p", state=folder / "state") as pipeline:
        with pipeline.stage("clean", after="nothing has this name", config={"a": 1}) as clean:
            clean.record_input(folder / "a")
            clean.record_output({"rows": [1.0, None]}, "rows")
            clean.produce_artifact(folder / "a")
            seen = list(clean.each([0, 1], spans=1))
            doubled = list(clean.map(lambda number: number * 2, [1, 2], spans=1))
            if clean.is_unchanged:
                clean.skip("unchanged", cached=True)
        pipeline.skip_stage("publish", reason="a dry run", after="clean")
        pipeline.consume_artifact(crucible.Dataset("d", sha256="ab"))
        again = ""
        for attempt in pipeline.attempts("fetch", 3):
            with attempt:
                if failures:
                    raise failures.pop()
                again = "again"
        return [len(seen) + 1, seen, doubled, read(folder / "a"), again]


def _broken_off() -> list[int]:
    with crucible.training_run("r") as run:
        seen = []
        for epoch in run.epochs(5):
            seen.append(epoch.index)
            if epoch.index == 1:
                break
        run.record_step(loss=1)
    return seen


def _decorated() -> Iterator[Any]:
    @crucible.stage("function")
    def function(number: int) -> int:
        return number * 2

    @crucible.stage("coroutine")
    async def coroutine() -> str:
        await asyncio.sleep(0)
        return "awaited"

    @crucible.stage("generator")
    def generator() -> Iterator[int]:
        yield from range(3)

    @crucible.stage("asynchronous")
    async def asynchronous() -> AsyncIterator[int]:
        yield 0
        yield 1

    async def collected() -> list[int]:
        return [number async for number in asynchronous()]

    yield function(3)
    yield asyncio.run(coroutine())
    yield list(generator())
    assert asyncio.run(collected()) == [0, 1]
    broken = generator()
    next(broken)
    broken.close()


def _failing() -> Iterator[str]:
    caught = None
    try:
        with crucible.pipeline("p"), crucible.stage("s"):
            raise ERROR
    except ValueError as error:
        caught = error
    assert caught is ERROR
    yield str(caught)
