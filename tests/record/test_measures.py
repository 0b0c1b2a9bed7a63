"""What a run measures beside its numbers: phases, loops over a loader, validations, and the verdict over all of it."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.runs._verdict import Course, verdict
from crucible_trace_otel.record.timing._measures import Measures, Phase
from crucible_trace_otel.record.timing._tracking import Tracked
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import Iterator

SHARE = attr.CRUCIBLE_TRAINING_DATA_WAIT_SHARE
BATCHES = attr.CRUCIBLE_TRAINING_BATCH_COUNT
SAMPLES = attr.CRUCIBLE_TRAINING_SAMPLE_COUNT
THROUGHPUT = attr.CRUCIBLE_TRAINING_THROUGHPUT
VERDICT = attr.CRUCIBLE_RUN_VERDICT
EPOCHS = attr.CRUCIBLE_TRAINING_EPOCH_COUNT
ACCURACY = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.accuracy"


def count_of(span: Any, name: str) -> Any:
    return said(span).get(f"{attr.CRUCIBLE_TRAINING_PHASE_COUNT_TEMPLATE}.{name}")


def seconds_of(span: Any, name: str) -> Any:
    return said(span).get(f"{attr.CRUCIBLE_TRAINING_PHASE_DURATION_TEMPLATE}.{name}")


# ---- phases ----


def test_phases_are_summed_over_the_epoch_and_the_run(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        with run.phase("setup"):
            pass
        for epoch in run.epochs(2):
            for _ in range(3):
                with epoch.phase("step"), epoch.phase("forward"):
                    pass
    first, second = recorded.named("epoch")
    whole = recorded.one("training_run")
    assert [count_of(span, "forward") for span in (first, second, whole)] == [3, 3, 6]
    assert [count_of(span, "setup") for span in (first, second, whole)] == [None, None, 1]
    assert seconds_of(whole, "step") == pytest.approx(seconds_of(first, "step") + seconds_of(second, "step"))
    assert all(0 < seconds_of(span, "forward") < seconds_of(span, "step") for span in (first, second, whole))
    assert [span.name for span in recorded.spans] == ["training_run", "epoch", "epoch"]


def test_a_phase_in_several_threads_at_once(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        together = threading.Barrier(4)

        def work() -> None:
            together.wait()
            for _ in range(500):
                with run.phase("step"):
                    pass

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert count_of(recorded.one("training_run"), "step") == 2_000


def test_the_times_of_a_phase_do_not_depend_on_who_leaves_first() -> None:
    """Entered at 0 and 10, left at 30 and 70: ninety, whichever of the two left first."""
    clock = iter([0, 10, 30, 70])
    phase = Phase()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("crucible_trace_otel.record.timing._measures._clock", lambda: next(clock))
        phase.__enter__()
        phase.__enter__()
        phase.__exit__()
        phase.__exit__()
    assert (phase.count, phase.ns) == (2, 90)


def test_an_exception_leaves_a_phase_and_goes_on(recorded: Recording) -> None:
    error = ValueError("boom")
    with pytest.raises(ValueError, match="boom") as raised, crucible.training_run("r") as run, run.phase("step"):
        raise error
    assert raised.value is error
    assert count_of(recorded.one("training_run"), "step") == 1


def test_many_phases_push_nothing_out(recorded: Recording) -> None:
    with crucible.training_run("r", hyperparameters={f"h{i}": i for i in range(50)}) as run:
        run.record_step(**{f"number_{i}": 1.0 for i in range(30)})
        for i in range(1_100):
            with run.phase(f"phase {i}"):
                pass
    span = recorded.one("training_run")
    assert span.dropped_attributes == 0
    assert attr.CRUCIBLE_OPERATION_NAME in said(span)
    overflow = said(span)[attr.CRUCIBLE_OVERFLOW]
    assert f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}.h49" in overflow
    assert attr.CRUCIBLE_TRAINING_PHASE_DURATION_TEMPLATE in overflow


def test_a_phase_of_an_odd_name_and_one_that_is_late(recorded: Recording, warned: list[str]) -> None:
    run = crucible.training_run("r")
    with run, run.phase(7), run.phase(["no", "name"]), run.phase():  # type: ignore[arg-type, call-arg]
        pass
    with run.phase("late"):
        pass
    assert count_of(recorded.one("training_run"), "7") == 1
    assert [text.split(" ")[0] for text in warned] == ["TrainingRun.phase()", "TrainingRun.phase()", "training_run"]


def test_nothing_is_configured() -> None:
    with crucible.training_run("r") as run:
        with run.phase("forward"):
            pass
        assert list(run.track([1, 2])) == [1, 2]
        with run.validation_run("held-out") as validation, run.tuning_study("s") as study, study.trial() as trial:
            validation.record_metric(accuracy=1.0)
            trial.complete(1.0)
        run.set_verdict("good")
    assert study.best_trial is None
    assert crucible.record_history("h", [{"loss": 1.0}]).event_id == ""


# ---- loops over a loader ----


def test_a_loop_belongs_to_the_epoch_it_runs_in(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        loader = run.track([[1, 2, 3], [4, 5]], batch_size=len)
        assert len(loader) == 2
        for _ in run.epochs(2):
            assert list(loader) == [[1, 2, 3], [4, 5]]
        assert list(run.track("ab")) == ["a", "b"]
    first, second = recorded.named("epoch")
    assert [said(span)[BATCHES] for span in (first, second)] == [2, 2]
    assert [said(span)[SAMPLES] for span in (first, second)] == [5, 5]
    assert said(first)[THROUGHPUT] > 0
    whole = said(recorded.one("training_run"))
    assert whole[BATCHES] == 6
    assert SAMPLES not in whole, "of the last two batches nobody said how many samples they hold"
    assert 0 <= whole[SHARE] <= 1


def test_the_share_of_waiting(recorded: Recording) -> None:
    """Each reading of the clock is a tick later: a batch is waited for as long as it is used."""
    ticks = iter(range(0, 10**6, 10))
    with pytest.MonkeyPatch.context() as patch, crucible.training_run("r") as run:
        patch.setattr("crucible_trace_otel.record.timing._tracking._clock", lambda: next(ticks))
        for _ in run.track(range(4), batch_size=32):
            next(ticks)
            next(ticks)
    span = said(recorded.one("training_run"))
    # Waiting: 10 for the iterator, 10 each batch, 10 for the end. Use: 30 each batch.
    assert span[SHARE] == pytest.approx(60 / (60 + 4 * 30))
    assert span[attr.CRUCIBLE_TRAINING_BATCH_SIZE] == 32
    assert span[SAMPLES] == 128
    assert span[THROUGHPUT] == pytest.approx(128 / 180e-9)


def test_a_loop_that_is_left_early_counts(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        for epoch in run.epochs(2):
            held = iter(run.track(iter(range(100))))
            for batch in held:
                epoch.record_step(loss=1.0)
                if batch == 2:
                    break
    assert [said(span)[BATCHES] for span in recorded.named("epoch")] == [3, 3]
    assert said(recorded.one("training_run"))[BATCHES] == 6


def test_a_loader_that_raises_is_recorded_once_and_goes_on(recorded: Recording) -> None:
    error = OSError("no such shard")

    def loader() -> Iterator[int]:
        yield 1
        raise error

    with pytest.raises(OSError, match="shard") as raised, crucible.training_run("r") as run:
        for _ in run.epochs(1):
            for _ in run.track(loader()):
                pass
    assert raised.value is error
    assert recorded.tree() == node(
        "training_run",
        "r",
        node("epoch", "epoch 0", events=["exception"], error="OSError: no such shard"),
        error="OSError: no such shard",
    )


def test_a_loader_whose_exception_is_caught_is_recorded_too(recorded: Recording) -> None:
    def loader() -> Iterator[int]:
        yield 1
        raise OSError("no such shard")

    with crucible.training_run("r") as run, crucible.stage("read"):
        with pytest.raises(OSError, match="shard"):
            list(run.track(loader()))
        with pytest.raises(TypeError):
            iter(run.track(None))  # type: ignore[type-var]
    (stage,) = recorded.tree().inside
    assert (stage.events, stage.error) == (["exception", "exception"], None)


def test_a_loader_without_a_length(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        tracked = run.track(iter([1, 2]))
        with pytest.raises(TypeError):
            len(tracked)
        assert list(tracked) == [1, 2]


def test_a_tracked_loader_is_true_where_the_loader_is() -> None:
    run = crucible.training_run("r")
    assert [bool(run.track(loader)) for loader in ([], [1], iter([]))] == [False, True, True]


def test_a_phase_that_begins_while_those_of_an_epoch_are_summed() -> None:
    epoch, total = Measures(), Measures()
    for name in ("a", "b"):
        with epoch.phase(name):
            pass

    class Total(Measures):
        def phase(self, name: Any) -> Phase:
            epoch.phase(f"another beside {name}")
            return total.phase(name)

    Total().add(epoch)
    assert {name: phase.count for name, phase in total.phases.items()} == {"a": 1, "b": 1}


def test_batch_sizes_that_cannot_be_told(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        assert list(run.track([1, 2], batch_size=len)) == [1, 2]  # type: ignore[arg-type]
        assert list(run.track([1], batch_size="many")) == [1]  # type: ignore[arg-type]
    span = said(recorded.one("training_run"))
    assert span[BATCHES] == 3
    assert SAMPLES not in span
    assert len(warned) == 2


def test_the_digits_in_batches(recorded: Recording) -> None:
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    batches = [(images[i : i + 64], labels[i : i + 64]) for i in range(0, len(images), 64)]
    with crucible.training_run(
        "digits", dataset=crucible.Dataset("uci-digits", rows=len(images)), accumulation=4
    ) as run:
        for epoch in run.epochs(1):
            for i, (_, _) in enumerate(run.track(batches, batch_size=lambda batch: len(batch[1]))):
                if i % 4 == 3:
                    epoch.record_step(loss=1.0)
    span = said(recorded.one("training_run"))
    assert (span[SAMPLES], span[BATCHES], span[attr.CRUCIBLE_TRAINING_ACCUMULATION]) == (1797, 29, 4)
    assert len(recorded.rows()) == 7, "of 29 batches, seven full optimizer steps"


@pytest.mark.parametrize(("total", "shown"), [(None, "3/3"), (5, "3/5"), (2, "3/?")])
def test_a_bar_of_rich(recorded: Recording, capsys: pytest.CaptureFixture[str], total: int | None, shown: str) -> None:
    with crucible.training_run("digits [1]") as run:
        assert list(run.track([1, 2, 3], total=total, progress="rich")) == [1, 2, 3]
    said_on_stderr = capsys.readouterr().err
    assert "digits [1]" in said_on_stderr
    assert shown in said_on_stderr


def test_a_bar_says_which_epoch_it_goes_through(recorded: Recording, capsys: pytest.CaptureFixture[str]) -> None:
    with crucible.training_run("digits") as run:
        for _ in run.epochs(2):
            list(run.track([1, 2, 3], progress="rich"))
        list(run.track([1, 2, 3], progress="rich"))
    bars = [line for line in capsys.readouterr().err.splitlines() if "3/3" in line]
    assert [line.split(" \u2501")[0] for line in bars] == ["digits, epoch 0", "digits, epoch 1", "digits"]


def test_a_bar_without_a_total_invents_none(recorded: Recording, capsys: pytest.CaptureFixture[str]) -> None:
    with crucible.training_run("r") as run:
        assert list(run.track(iter([1, 2, 3]), progress="rich")) == [1, 2, 3]
    assert "3/?" in capsys.readouterr().err


def test_a_bar_of_tqdm(recorded: Recording, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("tqdm")
    with crucible.training_run("r") as run:
        assert list(run.track([1, 2, 3], progress="tqdm")) == [1, 2, 3]
    assert "3/3" in capsys.readouterr().err


def test_a_bar_that_nobody_knows_or_that_breaks(
    recorded: Recording, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken:
        def advance(self) -> None:
            raise RuntimeError("no terminal")

        def close(self) -> None:
            raise RuntimeError("no terminal")

    with crucible.training_run("r") as run:
        assert list(run.track([1], progress="fireworks")) == [1]
        assert list(run.track([1, 2], progress="rich", total="many")) == [1, 2]  # type: ignore[arg-type]
        monkeypatch.setattr(Tracked, "_bar", lambda *_: Broken())
        assert list(run.track([1, 2])) == [1, 2]
    assert said(recorded.one("training_run"))[BATCHES] == 5
    assert "fireworks" in warned[0]
    assert any("no terminal" in text for text in warned)


# ---- validations ----


def test_a_validation_with_a_duration_and_one_that_is_over_agree(recorded: Recording) -> None:
    shown = (
        attr.CRUCIBLE_TRAINING_EPOCH_INDEX,
        attr.CRUCIBLE_TRAINING_STEP_INDEX,
        attr.CRUCIBLE_DATASET_SPLIT,
        ACCURACY,
    )
    with crucible.training_run("r") as run, run.epoch(0) as epoch:
        epoch.record_step(loss=1.0)
        epoch.record_validation(accuracy=1)
        dataset = crucible.Dataset("uci-digits", split="test")
        with epoch.validation_run("held-out", dataset=dataset) as validation:
            validation.record_metric(accuracy=0)
            validation.record_metric(accuracy=1)
    place = {attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 0, attr.CRUCIBLE_TRAINING_STEP_INDEX: 0, ACCURACY: 1.0}
    (inner,) = recorded.tree(*shown).inside
    assert inner.inside == [
        node("validation_run", "accuracy 1", attributes=place),
        node("validation_run", "held-out", attributes={**place, attr.CRUCIBLE_DATASET_SPLIT: "test"}),
    ]


def test_a_validation_that_fails_and_one_that_is_late(recorded: Recording, warned: list[str]) -> None:
    with crucible.training_run("r") as run:
        with pytest.raises(ValueError, match="boom"), run.validation_run() as validation:
            raise ValueError("boom")
        validation.record_metric(accuracy=1.0)
        validation.record_metric(0.5)  # type: ignore[call-arg]
    (inner,) = recorded.tree(ACCURACY).inside
    assert inner == node("validation_run", "validation", events=["exception"], error="ValueError: boom")
    assert len(warned) == 2


# ---- the verdict ----


def test_a_verdict_says_what_was_measured() -> None:
    measures = Measures()
    measures.epochs, measures.batches, measures.samples, measures.abnormal = 3, 600, 19_200, 3
    measures.wait_ns, measures.body_ns = 1_000_000_000, 3_000_000_000
    forward, backward = measures.phase("forward"), measures.phase("backward")
    forward.count, forward.ns = 600, 1_000_000_000
    backward.count, backward.ns = 600, 1_500_000_000
    course = Course("completed", last_step=599, loss=0.02134)
    assert verdict(course, measures) == (
        "completed after 3 epochs; loss 0.02134 at step 599; 25% of the loop's time was spent waiting for data; "
        "slowest phase: backward, 1.5 s in all, 2.5 ms each time; 4,800 samples/s; abnormal steps: 3"
    )


@pytest.mark.parametrize(
    ("course", "expected"),
    [
        (Course("completed"), None),
        (Course("completed", stop_reason="enough"), "stopped early (enough)"),
        (Course("failed", last_step=1_411, loss=None), "failed; step 1,411"),
        (Course("cancelled", last_step=0, loss=float("nan")), "cancelled; loss nan at step 0"),
    ],
)
def test_a_verdict_says_nothing_that_is_not_known(course: Course, expected: str | None) -> None:
    assert verdict(course, Measures()) == expected


def test_a_run_has_a_verdict_and_the_users_own_wins(recorded: Recording, warned: list[str]) -> None:
    for own in (None, "good enough to serve", 7):
        with crucible.training_run("r") as run:
            for epoch in run.epochs(2):
                epoch.record_step(loss=0.5)
            if own is not None:
                run.set_verdict(own)  # type: ignore[arg-type]
    run.set_verdict("late")
    with pytest.raises(ValueError, match="boom"), crucible.training_run("r") as run:
        run.record_step(loss=0.25)
        raise ValueError("boom")
    found = [said(span)[VERDICT] for span in recorded.named("training_run")]
    assert found == [
        "completed after 2 epochs; loss 0.5 at step 1",
        "good enough to serve",
        "7",
        "failed; loss 0.25 at step 0",
    ]
    assert said(recorded.named("training_run")[0])[EPOCHS] == 2
    assert len(warned) == 1
