import json

import pytest

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType, Result, RunState
from tests.cli.running import crucible_trace
from tests.store.stored import write
from tests.trace.builders import START_NS, TraceBuilder, digits


def test_list(journal):
    listed = crucible_trace("list", "--journal", journal)
    assert (listed.exit_code, listed.stderr) == (0, "")
    assert (
        listed.stdout
        == """\
NAME       RUN    STARTED              TOOK   SPANS  STATE
digits     run-1  2026-01-01 00:00:00  9 s    16     completed, 1 failed inference
run run-2  run-2  2026-01-01 00:00:00  8.4 s  14     unfinished
"""
    )


def test_list_as_json(journal):
    listed = crucible_trace("list", "--json", env={"CRUCIBLE_JOURNAL": journal})
    assert json.loads(listed.stdout)[0] == {
        "name": "digits",
        "run_id": "run-1",
        "trace_id": f"{1:032x}",
        "start_ns": START_NS,
        "duration_s": 9.0,
        "spans": 16,
        "state": "completed",
        "failed_operations": 1,
        "last_step": None,
        "last_loss": None,
    }


@pytest.mark.parametrize(
    ("attributes", "status", "state"),
    [
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.SUCCESS}, "unset", "completed"),
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.ERROR}, "error", "failed"),
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.TIMEOUT}, "error", "failed"),
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.CANCELLATION}, "unset", "cancelled"),
        ({attr.CRUCIBLE_RUN_STATE: RunState.INTERRUPTED}, "error", "interrupted"),
        ({}, "error", "failed"),
        ({}, "unset", "completed"),
    ],
)
def test_the_state_of_a_run(tmp_path, attributes, status, state):
    build = TraceBuilder()
    build.add(spans.TRAINING_RUN, "r", attributes=attributes, status=status)
    listed = crucible_trace("list", "--json", "--journal", write(tmp_path, [build.trace()]))
    assert json.loads(listed.stdout)[0]["state"] == state


def test_what_failed_inside_a_completed_run_is_said(tmp_path):
    build = TraceBuilder()
    pipeline = build.add(spans.PIPELINE, "p", lasts=9)
    failed = {"status": "error", "attributes": {attr.CRUCIBLE_OPERATION_RESULT: Result.ERROR}}
    stage = build.add(spans.STAGE, "a", pipeline, 1, **failed)
    build.add(spans.TRAINING_RUN, "inside", stage, 1, **failed)
    build.add(None, name="GET /", parent=pipeline, at=2, status="error")
    left = {attr.CRUCIBLE_OPERATION_RESULT: Result.CANCELLATION}
    build.add(spans.STAGE, "b", pipeline, 3, status="error", attributes=left)
    write(tmp_path, [build.trace()])
    listed = crucible_trace("list", "--journal", tmp_path)
    assert listed.stdout.splitlines()[1].split("  ")[-1] == "completed, 1 failed stage"
    build.add(spans.INFERENCE, "c", pipeline, 4, **failed)
    build.add(spans.INFERENCE, "d", pipeline, 5, **failed)
    write(tmp_path, [build.trace()])
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith("  completed, 3 failed operations\n")
    assert json.loads(crucible_trace("list", "--json", "--journal", tmp_path).stdout)[0]["failed_operations"] == 3


def test_a_stage_that_was_tried_again_counts_as_its_last_attempt(tmp_path):
    build = TraceBuilder()
    pipeline = build.add(spans.PIPELINE, "p", lasts=9)
    failed = {"status": "error", "attributes": {attr.CRUCIBLE_OPERATION_RESULT: Result.ERROR}}
    stages = [build.add(spans.STAGE, "a", pipeline, 1, **failed)]
    for at, said in ((2, failed), (3, {})):
        build.add(spans.TRAINING_RUN, "inside", stages[-1], at - 0.5, **failed)
        stages.append(build.add(spans.STAGE, "a", pipeline, at, causes=[(LinkType.RETRIED_FROM, stages[-1])], **said))
        shown = crucible_trace("list", "--journal", write(tmp_path / str(at), [build.trace()])).stdout
        assert shown.endswith("  completed, 1 failed stage\n" if said else "  completed\n")


def attempts(*results: str) -> TraceBuilder:
    """One run, tried several times."""
    build = TraceBuilder()
    for number, result in enumerate(results):
        told = {attr.CRUCIBLE_RUN_ID: "run-1", attr.CRUCIBLE_OPERATION_RESULT: result}
        run = build.add(spans.TRAINING_RUN, "r", at=10 * number, lasts=5, attributes=told)
        build.add(spans.EPOCH, "epoch 0", run, 10 * number, 1, attributes=told)
    return build


@pytest.mark.parametrize(
    ("results", "state"),
    [
        ((Result.ERROR, Result.SUCCESS), "completed"),
        ((Result.SUCCESS, Result.CANCELLATION), "cancelled"),
        ((Result.ERROR, Result.SUCCESS, Result.ERROR), "failed"),
    ],
)
def test_the_state_of_several_attempts_is_that_of_the_last(tmp_path, results, state):
    write(tmp_path, [attempts(*results).trace()])
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith(f"  {state}\n")


def test_a_last_attempt_that_goes_on_is_unfinished(tmp_path):
    build = attempts(Result.ERROR)
    told = {attr.CRUCIBLE_RUN_ID: "run-1"}
    build.add(spans.EPOCH, "epoch 0", "00000001000000ff", 10, 1, attributes=told)
    write(tmp_path, [build.trace()])
    assert crucible_trace("list", "--journal", tmp_path).stdout.endswith("  unfinished\n")


def test_traces_of_other_instrumentations_are_listed_when_asked_for(tmp_path):
    build = TraceBuilder(9)
    build.add(None, name="GET /health", at=60, lasts=1)
    write(tmp_path, [build.trace()])
    without = crucible_trace("list", "--journal", tmp_path)
    said = f"{tmp_path} holds only spans of other instrumentations: --all lists their traces.\n"
    assert (without.exit_code, without.stdout, without.stderr) == (1, "", said)
    shown = crucible_trace("show", "--journal", tmp_path)
    assert (shown.exit_code, shown.stdout) == (1, "")
    assert shown.stderr.endswith(": `crucible-trace list --all` shows their traces.\n")
    write(tmp_path, [digits()])
    assert [line.split()[0] for line in crucible_trace("list", "--journal", tmp_path).stdout.splitlines()] == [
        "NAME",
        "digits",
    ]
    every = crucible_trace("list", "--all", "--journal", tmp_path).stdout
    assert every.splitlines()[-1].split() == ["GET", "/health", "2026-01-01", "00:01:00", "1", "s", "1", "completed"]


def test_single_inferences_and_feedback_are_counted_where_there_are_runs(tmp_path):
    asides = []
    for number, name in enumerate((spans.INFERENCE, spans.FEEDBACK), 50):
        build = TraceBuilder(number)
        build.add(name, "an answer", at=number)
        asides.append(build.trace())
    alone = crucible_trace("list", "--journal", write(tmp_path / "alone", asides))
    assert (len(alone.stdout.splitlines()), alone.stderr) == (3, "")
    journal = write(tmp_path, [digits(), *asides])
    listed = crucible_trace("list", "--journal", journal)
    assert [line.split()[0] for line in listed.stdout.splitlines()] == ["NAME", "digits"]
    assert listed.stderr == "2 traces of single inferences and feedback: --all lists them.\n"
    assert crucible_trace("show", "--journal", journal).stdout.startswith("digits  ")
    every = crucible_trace("list", "--all", "--journal", journal)
    assert (len(every.stdout.splitlines()), every.stderr) == (4, "")
