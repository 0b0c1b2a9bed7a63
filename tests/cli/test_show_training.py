"""What `show` says of training: attempts, epochs, abnormal steps, checkpoints, the verdict."""

from __future__ import annotations

import json
import math

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import AbnormalKind, Result, RunState
from crucible_trace_otel.trace.spans import TraceEvent, TraceSpan
from tests.cli.running import crucible_trace
from tests.store.stored import write
from tests.trace.builders import START_NS, TraceBuilder, window

DIGEST = "0123456789abcdef" * 4


def shown(tmp_path, build: TraceBuilder, *options: str) -> str:
    found = crucible_trace("show", *options, "--journal", write(tmp_path, [build.trace()]))
    assert (found.exit_code, found.stderr) == (0, "")
    return found.stdout


def section(text: str, title: str) -> str:
    """The lines below `title`."""
    return text.partition(f"\n\n{title}\n")[2].partition("\n\n")[0].rstrip("\n")


def attempt(build: TraceBuilder, number: int, at: float, state: str, losses: list[float], **more) -> TraceSpan:
    said = {
        attr.CRUCIBLE_RUN_ID: "monday",
        attr.CRUCIBLE_RUN_ATTEMPT: number,
        attr.CRUCIBLE_RUN_STATE: state,
        **more.pop("attributes", {}),
    }
    first = more.pop("first", 0)
    steps = window(first, at + 4, {"loss": losses})
    return build.add(spans.TRAINING_RUN, "digits", at=at, lasts=5, attributes=said, events=(steps,), **more)


def epoch(build: TraceBuilder, run: TraceSpan, index: int, at: float, loss: float, **more) -> TraceSpan:
    said = {attr.CRUCIBLE_TRAINING_EPOCH_INDEX: index, attr.CRUCIBLE_TRAINING_LOSS_VALUE: loss}
    return build.add(spans.EPOCH, f"epoch {index}", run, at, 1, attributes=said, **more)


def checkpoint(build: TraceBuilder, within: TraceSpan, path: str, at: float, **said) -> TraceSpan:
    given = {attr.CRUCIBLE_CHECKPOINT_PATH: path, attr.CRUCIBLE_CHECKPOINT_SHA256: DIGEST}
    return build.add(spans.CHECKPOINT_SAVE, path, within, at, 0.01, attributes={**given, **said})


def two_attempts() -> TraceBuilder:
    """The first is killed, the second does its last two steps again."""
    build = TraceBuilder()
    killed = {attr.CRUCIBLE_TRAINING_STEP_INDEX: 3, attr.CRUCIBLE_RUN_CAUSE: "its process was killed"}
    first = attempt(build, 0, 0, RunState.INTERRUPTED, [4.0, 3.0, 2.0, 1.0], attributes=killed, status="error")
    epoch(build, first, 0, 0.5, 2.5)
    verdict = {attr.CRUCIBLE_RUN_VERDICT: "12 % of the time went into waiting for data", **_SUCCESS}
    second = attempt(build, 1, 10, RunState.COMPLETED, [0.5, 0.25, 0.125], first=2, attributes=verdict)
    build.add(spans.VALIDATION_RUN, "accuracy 0.9", epoch(build, second, 1, 11, 0.3), 11.5)
    return build


_SUCCESS = {attr.CRUCIBLE_OPERATION_RESULT: Result.SUCCESS}


def test_attempts_are_told_in_order_with_their_ends_and_what_was_done_again(tmp_path):
    told = shown(tmp_path, two_attempts())
    assert told.startswith("digits  completed\n")
    assert section(told, "Attempts").splitlines() == [
        f"  attempt 0  2026-01-01 00:00:00  5 s  {'4 steps':29}  interrupted at step 3: its process was killed",
        "  attempt 1  2026-01-01 00:00:10  5 s  3 steps, 2 of them done again  completed",
    ]
    assert "\nLoss over 7 steps, from 4 to 0.125\n" in told  # all of them, what was thrown away too
    assert section(told, "Epochs").splitlines() == [
        '  training_run "digits", attempt 0',
        "    epoch 0  loss 2.5  1 s",
        '  training_run "digits", attempt 1',
        "    epoch 1  loss 0.3  validation: accuracy 0.9  1 s",
    ]
    assert (
        '\nverdict of training_run "digits", attempt 1: 12 % of the time went into waiting for data\n'
        in told.partition("\n\n")[0] + "\n"
    )


def test_the_loss_of_an_epoch_and_that_of_its_validations_are_told_apart(tmp_path):
    build = TraceBuilder()
    inside = epoch(build, attempt(build, 0, 0, RunState.COMPLETED, [1.0]), 0, 0, 2.5)
    for at, said in ((0.5, "loss 2.7, accuracy 0.9"), (0.6, "loss 2.6")):
        build.add(spans.VALIDATION_RUN, said, inside, at)
    assert section(shown(tmp_path, build), "Epochs") == (
        "  epoch 0  loss 2.5  validation: loss 2.7, accuracy 0.9; loss 2.6  1 s"
    )


def test_runs_of_one_name_without_numbers_are_told_apart_by_their_start(tmp_path):
    build = TraceBuilder()
    for at in (0, 10):
        epoch(build, attempt(build, 0, at, RunState.COMPLETED, [1.0]), 0, at, 2.5)
    told = shown(tmp_path, build)
    assert "Attempts" not in told
    assert section(told, "Epochs").splitlines()[::2] == [
        '  training_run "digits", started 2026-01-01 00:00:00',
        '  training_run "digits", started 2026-01-01 00:00:10',
    ]


def test_attempts_for_programs(tmp_path):
    training = json.loads(shown(tmp_path, two_attempts(), "--json"))["training"]
    assert training["attempts"] == [
        {"span_id": "0000000100000001", "number": 0, "state": "interrupted", "steps": 4, "repeated": 0},
        {"span_id": "0000000100000003", "number": 1, "state": "completed", "steps": 3, "repeated": 2},
    ]
    assert training["verdicts"] == ["12 % of the time went into waiting for data"]
    assert [one["validations"] for one in training["epochs"]] == [[], [{}]]


def test_checkpoints_are_told_with_digest_and_the_best_one(tmp_path):
    build = TraceBuilder()
    deleted = TraceEvent(events.CHECKPOINT_DELETED, START_NS + 4 * 10**9, {attr.CRUCIBLE_CHECKPOINT_PATH: "a.pt"})
    run = attempt(build, 0, 0, RunState.COMPLETED, [1.0])
    build.spans[0] = run = TraceBuilder().add(
        spans.TRAINING_RUN, "digits", lasts=5, attributes=run.attributes, events=(*run.events, deleted)
    )
    best = {attr.CRUCIBLE_CHECKPOINT_BEST: True}
    checkpoint(build, run, "a.pt", 1, **best, **{attr.CRUCIBLE_CHECKPOINT_STEP: 10})
    inside = epoch(build, run, 3, 2, 0.5)
    checkpoint(
        build, inside, "b.pt", 2, **best, **{attr.CRUCIBLE_CHECKPOINT_STEP: 20, attr.CRUCIBLE_CHECKPOINT_SIZE: 7}
    )
    checkpoint(build, run, "c.pt", 3, **{attr.CRUCIBLE_CHECKPOINT_SHA256: ""})
    assert section(shown(tmp_path, build), "Checkpoints").splitlines() == [
        "  step 10           a.pt       sha256 01234567  best so far, deleted",
        "  step 20, epoch 3  b.pt  7 B  sha256 01234567  best",
        "                    c.pt",
    ]


def abnormal(step: int, kind: str, column: str, value: float, expected: float | None = None) -> TraceEvent:
    said = {
        attr.CRUCIBLE_TRAINING_STEP_INDEX: step,
        attr.CRUCIBLE_ABNORMAL_KIND: kind,
        attr.CRUCIBLE_ABNORMAL_COLUMN: column,
        attr.CRUCIBLE_ABNORMAL_VALUE: value,
    }
    if expected is not None:
        said[attr.CRUCIBLE_ABNORMAL_EXPECTED] = expected
    return TraceEvent(events.STEP_ABNORMAL, START_NS + step * 1_000_000, said)


def test_abnormal_steps_are_named(tmp_path):
    build = TraceBuilder()
    run = attempt(build, 0, 0, RunState.COMPLETED, [1.0])
    found = (abnormal(7, AbnormalKind.SPIKE, "loss", 812.5, 0.43), abnormal(3, AbnormalKind.NAN, "loss", math.nan))
    epoch(build, run, 2, 1, 0.5, events=found)
    assert section(shown(tmp_path, build), "Abnormal steps").splitlines() == [
        "  step 3, epoch 2  nan    loss nan",
        "  step 7, epoch 2  spike  loss 812.5, expected 0.43",
    ]
    (first, _) = json.loads(shown(tmp_path / "json", build, "--json"))["training"]["abnormal_steps"]
    assert first == {"step": 3, "epoch": 2, "kind": "nan", "column": "loss", "value": "NaN", "expected": None}


def test_of_many_the_first_abnormal_steps_and_the_last_epochs_are_told(tmp_path):
    build = TraceBuilder()
    found = [abnormal(step, AbnormalKind.SLOW if step % 2 else AbnormalKind.NAN, "loss", 1.0) for step in range(1_025)]
    run = attempt(build, 0, 0, RunState.COMPLETED, [1.0])
    epoch(build, run, 0, 0, 0.5, events=tuple(found))
    for index in range(1, 1_030):
        epoch(build, run, index, index, 0.5)
    told = shown(tmp_path, build)
    abnormal_told = section(told, "Abnormal steps").splitlines()
    assert len(abnormal_told) == 21
    assert abnormal_told[-1] == "  … 1,005 more: 503 nan, 502 slow"
    epochs_told = section(told, "Epochs").splitlines()
    assert (len(epochs_told), epochs_told[0]) == (21, "  … 1,010 earlier ones")
    assert epochs_told[-1] == "  epoch 1029  loss 0.5  1 s"
    every = shown(tmp_path / "all", build, "--all")
    assert len(section(every, "Abnormal steps").splitlines()) == 1_025
    assert len(section(every, "Epochs").splitlines()) == 1_030


def test_a_spike_among_many_steps_shows_in_the_curve(tmp_path):
    build = TraceBuilder()
    losses = [1.0] * 5_000
    losses[2_500] = 9.0
    attempt(build, 0, 0, RunState.COMPLETED, losses)
    curve = section(shown(tmp_path, build), "Loss over 5,000 steps, from 1 to 1").splitlines()
    assert curve[0].count("█") == 1
    assert curve[0].endswith(" 9")
    assert curve[1].strip("min ▁") == "1"
