"""Processes that share a run: one tree, though none of them has heard of another."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ParentBased, TraceIdRatioBased

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.sizes import TRACES, Budget
from crucible_trace_otel.record._ids import ids_of_run, trace_id_of_run
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.processes._process import use_process_rank
from crucible_trace_otel.record.runs import _resuming
from crucible_trace_otel.sdk._ids import RunIdGenerator
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

RANK = attr.CRUCIBLE_DISTRIBUTED_RANK
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def kept() -> Iterator[Recording]:
    """What processes record, all of them into one place."""
    recording = Recording(id_generator=RunIdGenerator())
    use_tracer_provider(recording.provider)
    yield recording
    recording.provider.shutdown()


def become(rank: int, world_size: int | None = 4, **more: str) -> None:
    """From now on this process is that rank, and has recorded nothing so far."""
    _resuming._begun.clear()
    _resuming._claimed.clear()
    use_process_rank(crucible.ProcessRank(rank, world_size, **more))  # type: ignore[arg-type]


def train(run_id: str | None = None, *, epochs: int = 1) -> crucible.TrainingRun:
    with crucible.training_run("digits", run_id=run_id) as run:
        for epoch in run.epochs(epochs):
            epoch.record_step(loss=0.5)
    return run


def by_id(spans: list[ReadableSpan]) -> dict[int, ReadableSpan]:
    found = {span.context.span_id: span for span in spans}
    assert len(found) == len(spans)
    return found


def of_rank(rank: int) -> dict[str, int]:
    return {RANK: rank}


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2)])
def test_ranks_of_a_run_are_one_tree_in_whichever_order_they_come(kept: Recording, order: tuple[int, ...]) -> None:
    for rank in order:
        become(rank, 3)
        train("job-17")
    epochs = {rank: node("epoch", "epoch 0", attributes=of_rank(rank), events=["steps_recorded"]) for rank in range(3)}
    tree = kept.tree(RANK)
    workers = sorted(tree.inside, key=lambda inside: inside.attributes[RANK])
    assert tree.name == "training_run"
    assert tree.attributes == of_rank(0)
    assert workers == [
        epochs[0],
        node("worker", "digits", epochs[1], attributes=of_rank(1)),
        node("worker", "digits", epochs[2], attributes=of_rank(2)),
    ]
    run = kept.one("training_run").context
    assert (run.trace_id, run.span_id) == ids_of_run("job-17")


def test_a_worker_says_who_it_is_and_does_all_a_run_does(kept: Recording, tmp_path: Path) -> None:
    become(3, 8, local_rank=1, node_rank=1, launcher="torchrun", backend="gloo")  # type: ignore[arg-type]
    with crucible.training_run("digits", run_id="r", hyperparameters={"lr": 1}, seed=7) as run:
        run.record_step(loss=0.5)
        run.save_checkpoint(tmp_path / "c", write=lambda path: path.write_text("c"))
        run.stop_early("enough")
    assert run.rank == crucible.ProcessRank(3, 8, 1, 1, "torchrun", "gloo")
    worker = said(kept.one("worker"))
    expected = {
        attr.CRUCIBLE_DISTRIBUTED_RANK: 3,
        attr.CRUCIBLE_DISTRIBUTED_LOCAL_RANK: 1,
        attr.CRUCIBLE_DISTRIBUTED_NODE_RANK: 1,
        attr.CRUCIBLE_DISTRIBUTED_WORLD_SIZE: 8,
        attr.CRUCIBLE_DISTRIBUTED_LAUNCHER: "torchrun",
        attr.CRUCIBLE_DISTRIBUTED_BACKEND: "gloo",
        attr.CRUCIBLE_RUN_ID: "r",
        attr.CRUCIBLE_RUN_NAME: "digits",
        attr.CRUCIBLE_RUN_STATE: "completed",
        attr.CRUCIBLE_TRAINING_SEED: 7,
        attr.CRUCIBLE_RUN_VERDICT: "stopped early (enough); loss 0.5 at step 0",
    }
    assert {key: worker[key] for key in expected} == expected
    assert {span.name for span in kept.spans if said(span)[RANK] == 3} == {"worker", "checkpoint_save"}


def test_everything_of_a_process_with_a_rank_says_it(kept: Recording) -> None:
    become(2)
    with crucible.pipeline("p") as pipeline, pipeline.stage("s"):
        pass
    with crucible.reasoning_chain("c") as chain:
        chain.form_hypothesis("h")
    assert {said(span)[RANK] for span in kept.spans} == {2}


def test_one_process_alone_is_no_worker(kept: Recording) -> None:
    become(0, 1)
    train("r")
    train("r")
    first, second = kept.named("training_run")
    assert first.context.span_id not in (second.context.span_id, ids_of_run("r").span_id)
    assert said(first)[RANK] == 0


def test_a_parent_that_is_handed_down_wins_and_a_link_joins(kept: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    for rank in (0, 1):
        become(rank, 2)
        with crucible.training_run("digits", run_id="r"):
            pass
    run, worker = kept.one("training_run"), kept.one("worker")
    assert {f"{span.context.trace_id:032x}-{span.parent.span_id:016x}" for span in (run, worker)} == {PARENT[3:-3]}
    assert kept.trees() == [
        node("training_run", "digits"),
        node("worker", "digits", links=["rank_of: elsewhere"]),
    ]
    (link,) = worker.links
    assert (link.context.trace_id, link.context.span_id) == (run.context.trace_id, run.context.span_id)


def test_what_encloses_a_run_in_its_own_process_wins(kept: Recording) -> None:
    become(1)
    with crucible.pipeline("nightly"), crucible.training_run("digits", run_id="r"):
        pass
    assert kept.trees() == [node("pipeline nightly", "nightly", node("worker", "digits"))]


def test_a_run_inside_a_run_is_linked_to_that_of_rank_0(kept: Recording) -> None:
    for rank in (0, 1):
        become(rank, 2)
        with crucible.training_run("outer", run_id="o"), crucible.training_run("inner", run_id="i"):
            pass
    of_first, of_second = kept.tree().inside
    assert of_first == node("training_run", "inner")
    assert of_second.inside[0].name == "worker"
    (link,) = next(span for span in kept.named("worker") if said(span)[attr.CRUCIBLE_ABOUT] == "inner").links
    inner = next(span for span in kept.named("training_run") if said(span)[attr.CRUCIBLE_ABOUT] == "inner")
    assert link.context.span_id == inner.context.span_id
    assert link.context.trace_id == inner.context.trace_id


@pytest.mark.parametrize("rank", [0, 1])
def test_two_runs_of_one_id_in_a_process_are_never_one_span(kept: Recording, rank: int) -> None:
    become(rank, 2)
    train("r")
    train("r")
    with crucible.training_run("twice", run_id="r"), crucible.training_run("at once", run_id="r"):
        pass
    assert len(by_id(kept.spans)) == len(kept.spans) == 6
    assert {span.context.trace_id for span in kept.spans} == {trace_id_of_run("r")}


def test_the_launcher_names_the_first_run_of_a_process_and_counts_the_others(
    kept: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    for rank in (0, 1):
        become(rank, 2)
        assert [(run.run_id, run.attempt) for run in (train(), train(), train())] == [
            ("job", 1),
            ("job-2", 1),
            ("job-3", 1),
        ]
    assert sorted(tree.name for tree in kept.trees()) == ["training_run"] * 3
    assert sorted(span.context.trace_id for span in kept.named("worker")) == sorted(
        trace_id_of_run(run_id, 1) for run_id in ("job", "job-2", "job-3")
    )


def test_ranks_of_a_run_that_nothing_names_record_one_each(
    kept: Recording, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "none")
    for rank in (0, 1):
        become(rank, 2)
        train()
    assert [tree.name for tree in kept.trees()] == ["training_run"] * 2
    assert len({span.context.trace_id for span in kept.spans}) == 2
    (warning,) = warned
    assert warning == (
        "This process is one of 2, and nothing names the run they share, so that each records a run of its own: "
        "set CRUCIBLE_RUN_ID, or give run_id=, the same on every rank."
    )


def test_a_run_id_in_the_environment_is_that_of_a_process_alone_too(
    kept: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CRUCIBLE_RUN_ID", "tonight")
    assert train().run_id == "tonight"
    assert {span.context.trace_id for span in kept.spans} == {trace_id_of_run("tonight")}


def test_a_very_long_run_id_ends_in_its_digest_on_every_rank(kept: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["x" * 100_000, "x" * 100_000, "x" * 100_001]
    ids = []
    for rank, run_id in enumerate(given):
        become(rank)
        monkeypatch.setenv("CRUCIBLE_RUN_ID", run_id)
        ids += [train().run_id, train(run_id).run_id]
    assert (ids[0], ids[2], ids[4]) == (ids[1], ids[3], ids[5])
    assert ids[0] == ids[2] != ids[4]
    assert {len(run_id) for run_id in ids} == {256}
    assert said(kept.named("worker")[0])[attr.CRUCIBLE_RUN_ID] == ids[0]


def test_ranks_that_resume_from_a_checkpoint_go_on_together(kept: Recording, tmp_path: Path) -> None:
    become(0, 2)
    with crucible.training_run("digits", run_id="r") as run:
        run.record_step(loss=0.5)
        run.save_checkpoint(tmp_path / "c", write=lambda path: path.write_text("c")).digest(10)
    for rank in (1, 0):
        become(rank, 2)
        with crucible.training_run("digits", resume_from=tmp_path / "c") as again:
            assert (again.run_id, again.attempt, again.next_step) == ("r", 1, 1)
    _, second = (tree for tree in kept.trees() if tree.name == "training_run")
    assert [inside.name for inside in second.inside] == ["worker"]


def test_what_contradicts_itself_is_marked(kept: Recording, monkeypatch: pytest.MonkeyPatch, warned: list[str]) -> None:
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "SLURM_PROCID": "0", "SLURM_NTASKS": "2"}.items():
        monkeypatch.setenv(name, value)
    train("r")
    worker = said(kept.one("worker"))
    assert worker[RANK] == 1
    assert worker[attr.CRUCIBLE_REPAIRED_KEYS] == (RANK,)
    assert worker[attr.CRUCIBLE_REPAIRED_REASONS] == ("contradiction",)
    assert len(warned) == 1


@pytest.mark.parametrize("sampler", [ALWAYS_OFF, ParentBased(TraceIdRatioBased(0.5))])
def test_ranks_are_sampled_alike(sampler: object) -> None:
    taken = []
    for number in range(40):
        found = []
        for rank in (0, 1):
            recording = Recording(id_generator=RunIdGenerator(), sampler=sampler)
            use_tracer_provider(recording.provider)
            become(rank, 2)
            train(f"run-{number}")
            found.append(bool(recording.spans))
        assert found[0] == found[1]
        taken += found
    assert any(taken) == (sampler is not ALWAYS_OFF)
    assert not all(taken)


def test_a_rank_has_its_share_of_the_trace_and_parts_of_its_own(kept: Recording, tmp_path: Path) -> None:
    kept.provider.add_span_processor(JournalSpanProcessor(tmp_path, progress_s=0))
    TRACES.budget = Budget(math.inf, 8)
    become(3, 4)
    with crucible.training_run("digits", run_id="r") as run:
        for number in range(11):
            run.record_validation(accuracy=number / 10)
    parts = kept.named("run_part")
    assert [said(span)[attr.CRUCIBLE_RUN_PART] for span in parts] == ["3/1", "3/2"]
    assert [span.context.trace_id for span in parts] == [trace_id_of_run("r", 0, part) for part in ("3/1", "3/2")]
    inside = [span.context.trace_id for span in kept.named("validation_run")]
    assert [inside.count(trace_id) for trace_id in dict.fromkeys(inside)] == [2, 8, 1]  # 8 spans shared by 4
    assert {said(span)[RANK] for span in kept.spans} == {3}


def test_collectives_of_a_name_are_numbered_alike_on_every_rank(kept: Recording) -> None:
    def numbers() -> list[tuple[str, str, int]]:
        keys = (attr.CRUCIBLE_COLLECTIVE_NAME, attr.CRUCIBLE_COLLECTIVE_SEQUENCE)
        found = [
            (span.name, *(said(span)[key] for key in keys))
            for span in kept.spans
            if span.name in ("barrier", "collective")
        ]
        kept.exporter.clear()
        return found

    found = []
    for rank in (0, 1):
        become(rank, 2)
        for _ in range(2):
            with crucible.training_run("digits", run_id="r") as run:
                for epoch in run.epochs(2):
                    with epoch.collective("all_reduce", size=8):
                        pass
                    with run.barrier(), epoch.barrier("end"):
                        pass
                with crucible.collective("all_reduce"):
                    pass
        found.append(numbers())
    assert found[0] == found[1]
    assert found[0][: len(found[0]) // 2] == [
        *(("collective", "all_reduce", 0), ("barrier", "barrier", 0), ("barrier", "end", 0)),
        *(("collective", "all_reduce", 1), ("barrier", "barrier", 1), ("barrier", "end", 1)),
        ("collective", "all_reduce", 2),
    ]


def test_a_collective_says_what_it_moves_and_where_in_the_run(kept: Recording) -> None:
    with crucible.training_run("digits") as run, run.epoch(3) as epoch:
        epoch.record_step(loss=0.5)
        with epoch.collective("all_reduce", size=1024, participants=4, backend="gloo") as collective:
            collective.record_wait(0.25)
        with run.barrier("before saving", participants=4):
            pass
    assert kept.tree() == node(
        "training_run",
        "digits",
        node(
            "epoch",
            "epoch 3",
            node("collective", "all_reduce"),
            node("barrier", "before saving"),
            events=["steps_recorded"],
        ),
    )
    told = said(kept.one("collective"))
    assert {key: told[key] for key in told if "collective" in key or "index" in key or "backend" in key} == {
        attr.CRUCIBLE_COLLECTIVE_NAME: "all_reduce",
        attr.CRUCIBLE_COLLECTIVE_SEQUENCE: 0,
        attr.CRUCIBLE_COLLECTIVE_SIZE: 1024,
        attr.CRUCIBLE_COLLECTIVE_PARTICIPANT_COUNT: 4,
        attr.CRUCIBLE_COLLECTIVE_WAIT: 0.25,
        attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 3,
        attr.CRUCIBLE_TRAINING_STEP_INDEX: 0,
        attr.CRUCIBLE_DISTRIBUTED_BACKEND: "gloo",
    }
    barrier = kept.one("barrier")
    assert 0 < said(barrier)[attr.CRUCIBLE_COLLECTIVE_WAIT] <= (barrier.end_time - barrier.start_time) / 1e9


@pytest.mark.parametrize("wrong", [-1.0, math.nan, math.inf])
def test_a_wait_that_cannot_be_is_marked_and_left_out(kept: Recording, wrong: float) -> None:
    with crucible.collective("all_reduce") as collective:
        collective.record_wait(wrong)
    told = said(kept.one("collective"))
    assert attr.CRUCIBLE_COLLECTIVE_WAIT not in told
    assert told[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_COLLECTIVE_WAIT,)


@pytest.mark.parametrize("wrong", ["long", None, [1], 10**400])
def test_a_wait_that_is_no_number_is_left_out_with_a_warning(kept: Recording, warned: list[str], wrong: object) -> None:
    with crucible.collective("all_reduce") as collective:
        collective.record_wait(wrong)  # type: ignore[arg-type]
    assert attr.CRUCIBLE_COLLECTIVE_WAIT not in said(kept.one("collective"))
    assert len(warned) == 1
    assert warned[0].startswith("Collective.record_wait() was not recorded: ")


def test_a_barrier_that_fails_waited_until_then(kept: Recording) -> None:
    with pytest.raises(TimeoutError), crucible.barrier():
        raise TimeoutError("rank 3 did not come")
    assert kept.tree().error == "TimeoutError: rank 3 did not come"
    assert said(kept.one("barrier"))[attr.CRUCIBLE_COLLECTIVE_WAIT] > 0


def test_aggregated_gradients_are_rows(kept: Recording) -> None:
    with crucible.training_run("digits") as run, run.epoch(0) as epoch:
        for step in range(3):
            epoch.record_step(loss=0.5)
            epoch.aggregate_gradients(1.5, size=64, wait=0.125 * step, overlap=0.5)
        run.aggregate_gradients(2.0, participants=4, step=7)
    rows = kept.rows("gradients_aggregated")
    assert [{name: row[name] for name in row if name != "time_ns"} for row in rows] == [
        {"step": 7, "norm": 2.0, "participants": 4},
        *({"step": step, "norm": 1.5, "size": 64, "wait": 0.125 * step, "overlap": 0.5} for step in range(3)),
    ]
    assert kept.tree() == node(
        "training_run",
        "digits",
        node("epoch", "epoch 0", events=["steps_recorded", "gradients_aggregated"]),
        events=["gradients_aggregated"],
    )


def test_a_straggler_is_an_event_of_who_noticed_it(kept: Recording, warned: list[str]) -> None:
    with crucible.training_run("digits") as run, run.epoch(0) as epoch:
        epoch.record_step(loss=0.5)
        epoch.detect_straggler(3, wait=2, node_rank=1)
        run.detect_straggler(2, step=9, reason="its disk is slow")
        run.detect_straggler("three")  # type: ignore[arg-type]
    by_epoch, by_run = (
        dict(event.attributes or {})
        for span in reversed(kept.spans)
        for event in span.events
        if event.name == "straggler_detected"
    )
    assert by_epoch == {
        attr.CRUCIBLE_ABOUT: "rank 3 is behind",
        RANK: 3,
        attr.CRUCIBLE_DISTRIBUTED_NODE_RANK: 1,
        attr.CRUCIBLE_TRAINING_STEP_INDEX: 0,
        attr.CRUCIBLE_COLLECTIVE_WAIT: 2.0,
    }
    assert by_run == {
        attr.CRUCIBLE_ABOUT: "its disk is slow",
        RANK: 2,
        attr.CRUCIBLE_TRAINING_STEP_INDEX: 9,
    }
    assert len(warned) == 1
