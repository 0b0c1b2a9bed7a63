"""What belongs to the process: no provider, a parent's trace, a sampler that says no, a fork, a second process."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

import crucible_trace_otel as crucible
from crucible_trace_otel.record import _operation, _tracer
from crucible_trace_otel.record._ids import trace_id_of_run
from crucible_trace_otel.record.steps import _windows
from tests.record.reading import Recording, node
from tests.record.scenario import RESULTS, run_scenario

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace.sampling import Sampler

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def cleaned(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[object]]:
    """The attributes that were computed."""
    calls: list[object] = []
    for module in (_operation, _windows):
        monkeypatch.setattr(module, "clean", lambda given, *_: calls.append(given) or {})
    return calls  # type: ignore[return-value]


def test_without_a_provider_nothing_happens(tmp_path: Path, cleaned: list[object], warned: list[str]) -> None:
    threads = threading.active_count()
    assert run_scenario(tmp_path) == RESULTS
    assert cleaned == []
    assert all(said.endswith((" marked.", " are left out.")) for said in warned), "but of values that cannot be"
    assert threading.active_count() == threads
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "state"]  # what the program asked for
    with crucible.stage("s") as stage, crucible.training_run("r") as run:
        assert not trace_api.get_current_span().get_span_context().is_valid
        assert run.save_checkpoint(tmp_path / "b").digest().sha256 is None
    assert (stage.event_id, stage.is_recording) == ("", False)


def test_a_provider_set_up_later_is_used() -> None:
    with crucible.stage("before"):
        pass
    recording = Recording()
    trace_api.set_tracer_provider(recording.provider)
    with crucible.stage("after"):
        pass
    assert recording.trees() == [node("stage after", "after")]


@pytest.mark.parametrize("sampler", [None, ALWAYS_OFF])
def test_steps_and_validations_of_a_run_that_is_not_recorded_are_passed_over_in_silence(
    warned: list[str], sampler: Sampler | None
) -> None:
    if sampler is not None:
        recording = Recording(sampler=sampler)
        _tracer.use_tracer_provider(recording.provider)
    run = crucible.training_run("r")
    before = run.step_recorder("loss")
    with run, run.epoch(0) as epoch:
        within = epoch.step_recorder("loss")
        for record in (before, within, lambda value: epoch.record_step(loss=value)):
            record(0.5)
        validation = epoch.record_validation(accuracy=1)
    within(0.25)
    assert not validation.span_context.is_valid
    assert validation.operation_name == "validation_run"
    assert run.next_step == 0
    assert warned == []


def test_a_recorder_made_before_its_epoch_begins_records_in_it(recorded: Recording) -> None:
    with crucible.training_run("r") as run:
        epoch = run.epoch(0)
        record = epoch.step_recorder("loss")
        record(0.5)  # it has not begun
        with epoch:
            record(0.25)
    assert [row["loss"] for row in recorded.rows()] == [0.25]


def test_what_is_sampled_out_costs_nothing_and_keeps_the_trace(
    tmp_path: Path, cleaned: list[object], warned: list[str]
) -> None:
    recording = Recording(sampler=ALWAYS_OFF)
    _tracer.use_tracer_provider(recording.provider)
    with crucible.pipeline("p") as outer, crucible.stage("s") as inner:
        assert inner.span_context.trace_id == outer.span_context.trace_id
        assert run_scenario(tmp_path) == RESULTS
    assert recording.spans == []
    assert not any("not recorded" in text for text in warned)


def test_a_parent_process_hands_its_trace_down(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACEPARENT", PARENT)
    with crucible.training_run("r", run_id="id"), crucible.stage("s"):
        pass
    run, stage = recorded.spans
    assert (f"{run.context.trace_id:032x}", f"{run.parent.span_id:016x}") == tuple(PARENT.split("-")[1:3])  # type: ignore[union-attr]
    assert stage.parent == run.context
    with recorded.foreign.start_as_current_span("nearer"), crucible.stage("below"):
        pass
    assert recorded.one("stage below").parent == recorded.one("nearer").context


@pytest.mark.parametrize("given", ["", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01", "x" * 100_000])
def test_a_parent_that_is_none_is_ignored(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch, warned: list[str], given: str
) -> None:
    monkeypatch.setenv("TRACEPARENT", given)
    with crucible.stage("s"):
        pass
    assert recorded.one("stage s").parent is None
    assert warned == []


def python(program: str, *arguments: str) -> list[str]:
    """The words a program printed, run in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_a_run_id_is_the_same_trace_in_two_processes() -> None:
    program = """
        import random
        from tests.record.reading import Recording
        import crucible_trace_otel as crucible
        from crucible_trace_otel.record._tracer import use_tracer_provider
        from crucible_trace_otel.sdk._ids import id_generator
        random.seed(1)
        recorded = Recording(id_generator=id_generator())
        use_tracer_provider(recorded.provider)
        with crucible.training_run("r", run_id="job-17") as run:
            print(f"{run.span_context.trace_id:032x}", f"{run.span_context.span_id:016x}", run.event_id)
    """
    one, other = python(program), python(program)
    assert one[0] == other[0] == f"{trace_id_of_run('job-17'):032x}"
    assert one[1] != other[1]
    assert one[2] != other[2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_forked_child_has_ids_and_digests_of_its_own(tmp_path: Path) -> None:
    program = """
        import os, sys, warnings
        warnings.simplefilter("ignore")
        from tests.record.reading import Recording
        import crucible_trace_otel as crucible
        from crucible_trace_otel.record._tracer import use_tracer_provider
        from crucible_trace_otel.sdk._ids import id_generator
        use_tracer_provider(Recording(id_generator=id_generator()).provider)
        path = sys.argv[1] + "/file"
        open(path, "w").write("x")
        with crucible.training_run("r") as run:
            assert run.save_checkpoint(path).digest(10).sha256
            child = os.fork()
            with crucible.stage("s") as stage:
                sha256 = run.save_checkpoint(path).digest(10).sha256
                os.write(1, f"{stage.event_id} {stage.span_context.span_id} {sha256}\\n".encode())
            if child == 0:
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
    """
    words = python(program, str(tmp_path))
    (event_id, span_id, sha256), (other_event_id, other_span_id, other_sha256) = words[:3], words[3:]
    assert event_id != other_event_id
    assert span_id != other_span_id
    assert sha256 == other_sha256 != "None"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize("call", [lambda run: run.stop_early("enough"), lambda run: run.phase("forward")])
def test_what_a_forked_child_cannot_keep_on_its_parents_operations_is_said(
    recorded: Recording, warned: list[str], call: Callable[[crucible.TrainingRun], object]
) -> None:
    read, write = os.pipe()
    with crucible.training_run("r") as run:
        child = os.fork()
        if not child:
            run.record_step(loss=1.0)
            call(run)
            os.write(write, "\n".join(warned).encode())
            os._exit(0)
        os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as said:
        assert said.read() == (
            "training_run 'r' was begun before a fork, by another process: what this one records on it, but for steps, "
            "is not kept."
        )
    assert not warned
