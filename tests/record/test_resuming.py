"""A run that goes on from a checkpoint: one run of several attempts, linked, with steps that count on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._ids import trace_id_of_run
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.files import _files
from crucible_trace_otel.record.files._digests import drain
from crucible_trace_otel.record.files._sidecar_files import read_sidecar
from crucible_trace_otel.sdk._ids import id_generator
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, said

if TYPE_CHECKING:
    from collections.abc import Iterator

    from opentelemetry.sdk.trace import ReadableSpan

LAUNCHERS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT", "WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")


@pytest.fixture(autouse=True)
def _without_a_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def recorded() -> Iterator[Recording]:
    """With the ids that `configure()` gives."""
    recording = Recording(id_generator=id_generator())
    use_tracer_provider(recording.provider)
    yield recording
    recording.provider.shutdown()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a.npz"


def write(path: Path) -> None:
    path.write_bytes(b"weights")


def saved_by_an_earlier_attempt(path: Path, **given: Any) -> crucible.TrainingRun:
    """An attempt that is killed after 2 epochs of 3 steps and a checkpoint, and one more step."""
    run = crucible.training_run("digits", resume_from=path, **given).start()
    for epoch in run.epochs(range(run.next_epoch, run.next_epoch + 2)):
        for _ in range(3):
            epoch.record_step(loss=1.0)
        run.save_checkpoint(path, write=write)
    run.record_step(loss=1.0)
    run.stop()
    assert drain(5)
    _files._saved.clear()
    return run


def identity(span: ReadableSpan) -> tuple[int, Any, Any]:
    attributes = said(span)
    return span.context.trace_id, attributes[attr.CRUCIBLE_RUN_ID], attributes[attr.CRUCIBLE_RUN_ATTEMPT]


def test_the_next_attempt_is_part_of_the_run(recorded: Recording, path: Path) -> None:
    before = saved_by_an_earlier_attempt(path)
    with crucible.training_run("digits", resume_from=str(path)) as run:
        assert (run.run_id, run.attempt, run.next_step, run.next_epoch) == (before.run_id, 1, 6, 2)
        for epoch in run.epochs(range(run.next_epoch, 4)):
            epoch.record_step(loss=0.5)
    first, second = recorded.named("training_run")
    assert identity(first) == (trace_id_of_run(run.run_id, 0), run.run_id, 0)
    assert identity(second) == (trace_id_of_run(run.run_id, 1), run.run_id, 1)
    (link,) = second.links
    assert (link.context.trace_id, link.context.span_id) == (first.context.trace_id, first.context.span_id)
    assert dict(link.attributes or {}) == {
        attr.CRUCIBLE_LINK_TYPE: "resumed_from",
        attr.CRUCIBLE_LINK_EVENT_ID: before.event_id,
    }
    assert said(second)[attr.CRUCIBLE_DEPENDENCY_NAMES] == ("resumed_from: training_run: digits",)
    assert said(second)[attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID] == f"{first.context.trace_id:032x}"
    (event,) = (event for event in second.events if event.name == "training_resumed")
    assert dict(event.attributes or {}) == {
        attr.CRUCIBLE_ABOUT: f"attempt 1 from {path}"[:120],
        attr.CRUCIBLE_RUN_ATTEMPT: 1,
        attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID: f"{first.context.trace_id:032x}",
        attr.CRUCIBLE_CHECKPOINT_PATH: str(path),
        attr.CRUCIBLE_CHECKPOINT_STEP: 5,
        attr.CRUCIBLE_CHECKPOINT_EPOCH: 1,
    }
    assert sorted(row["step"] for row in recorded.rows()) == [0, 1, 2, 3, 4, 5, 6, 6, 7]


def test_where_nothing_is_there_a_first_attempt_begins(recorded: Recording, warned: list[str], path: Path) -> None:
    with crucible.training_run("digits", resume_from=path, run_id="job-17") as run:
        assert (run.run_id, run.attempt, run.next_step, run.next_epoch) == ("job-17", 0, 0, 0)
    span = recorded.one("training_run")
    assert (span.links, span.events, warned) == ((), (), [])
    assert attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID not in said(span)


def test_an_attempt_that_saves_nothing_has_used_its_number(recorded: Recording, path: Path) -> None:
    before = saved_by_an_earlier_attempt(path)
    attempts = []
    for _ in range(3):
        with crucible.training_run("digits", resume_from=path) as run:
            attempts.append((run.run_id, run.attempt, run.next_step))
    assert attempts == [(before.run_id, number, 6) for number in (1, 2, 3)]
    traces = [span.context.trace_id for span in recorded.named("training_run")]
    assert traces == [trace_id_of_run(before.run_id, number) for number in range(4)]
    assert len({span.links[0].context.span_id for span in recorded.named("training_run")[1:]}) == 1


def test_an_attempt_of_an_attempt(recorded: Recording, path: Path) -> None:
    runs = [saved_by_an_earlier_attempt(path) for _ in range(3)]
    assert [(run.run_id, run.attempt) for run in runs] == [(runs[0].run_id, number) for number in range(3)]
    sidecar = read_sidecar(str(path))
    assert sidecar is not None
    assert (sidecar.attempt, sidecar.step, sidecar.epoch) == (2, 17, 5)


def test_a_decorated_function_goes_on_with_each_call(recorded: Recording, path: Path) -> None:
    @crucible.training_run("digits", run_id="job-17", resume_from=path)
    def train() -> tuple[int, int]:
        run = crucible.current_operation()
        assert isinstance(run, crucible.TrainingRun)
        run.record_step(loss=1.0)
        run.save_checkpoint(path, write=write)
        return run.attempt, run.next_step

    assert [train(), train(), train()] == [(0, 1), (1, 2), (2, 3)]


def test_a_run_id_of_another_run_wins_and_is_warned_about_once(
    recorded: Recording, warned: list[str], path: Path
) -> None:
    before = saved_by_an_earlier_attempt(path, run_id="job-17")
    for _ in range(2):
        with crucible.training_run("digits", run_id="job-18", resume_from=path) as run:
            assert (run.run_id, run.attempt, run.next_step) == ("job-18", 0, 6)
    assert len(warned) == 1
    assert "'job-17'" in warned[0]
    assert "'job-18'" in warned[0]
    last = recorded.named("training_run")[-1]
    assert last.context.trace_id == trace_id_of_run("job-18", 0)
    assert last.links[0].context.span_id == before.span_context.span_id
    sidecar = read_sidecar(str(path))
    assert sidecar is not None
    assert sidecar.attempts == 1


def test_a_checkpoint_without_a_sidecar_begins_a_run_that_says_so(
    recorded: Recording, warned: list[str], path: Path
) -> None:
    write(path)
    with crucible.training_run("digits", resume_from=path) as run:
        assert (run.attempt, run.next_step, run.next_epoch) == (0, 0, 0)
    span = recorded.one("training_run")
    assert [event.name for event in span.events] == ["training_resumed"]
    assert (span.links, warned) == ((), [])


def test_a_sidecar_that_cannot_be_used_is_one_warning(recorded: Recording, warned: list[str], path: Path) -> None:
    write(path)
    Path(f"{path}.crucible.json").write_text('{"version": 99}')
    with crucible.training_run("digits", run_id="job-17", resume_from=path) as run:
        assert (run.run_id, run.attempt, run.next_step) == ("job-17", 0, 0)
    assert len(warned) == 1
    assert "newer" in warned[0]
    assert Path(f"{path}.crucible.json").read_text() == '{"version": 99}'


@pytest.mark.parametrize("given", [7.5, True, ["a"], "nul\0byte", ""])
def test_a_checkpoint_that_is_no_path(recorded: Recording, warned: list[str], given: Any) -> None:
    with crucible.training_run("digits", resume_from=given) as run:
        assert run.attempt == 0
    assert len(warned) <= 1
    assert recorded.tree().events == []


def test_a_claim_that_cannot_be_written_keeps_the_sidecar(
    recorded: Recording, warned: list[str], path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    resource = pytest.importorskip("resource")
    saved_by_an_earlier_attempt(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        run = crucible.training_run("digits", resume_from=path).start()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    run.stop()
    assert run.attempt == 1
    assert ["does not know of attempt 1" in text for text in warned] == [True]
    assert read_sidecar(str(path)) is not None


# ---- launchers ----


@pytest.mark.parametrize("name", LAUNCHERS[:2])
@pytest.mark.parametrize(("said_by_it", "attempt"), [("0", 0), ("2", 2), ("", 0), ("-1", 0), ("two", 0), ("9" * 50, 0)])
def test_a_launcher_says_which_attempt_of_a_named_run_it_is(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch, name: str, said_by_it: str, attempt: int
) -> None:
    monkeypatch.setenv(name, said_by_it)
    with crucible.training_run("digits", run_id="job-17") as run:
        assert run.attempt == attempt
    with crucible.training_run("digits") as run:
        assert run.attempt == 0  # its random id names no other attempt
    assert recorded.named("training_run")[0].context.trace_id == trace_id_of_run("job-17", attempt)


def test_of_the_launcher_and_the_sidecar_the_larger_number_counts(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    saved_by_an_earlier_attempt(path)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "4")
    assert crucible.training_run("digits", resume_from=path).attempt == 4
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "0")
    assert crucible.training_run("digits", resume_from=path).attempt == 1


def test_ranks_of_one_run_take_the_same_number(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch, path: Path
) -> None:
    saved_by_an_earlier_attempt(path)
    monkeypatch.setenv("WORLD_SIZE", "2")
    attempts = []
    for _ in range(2):
        with crucible.training_run("digits", resume_from=path) as run:
            attempts.append(run.attempt)
    assert attempts == [1, 1]


def test_without_a_provider_it_goes_on_from_what_was_recorded(recorded: Recording, path: Path) -> None:
    saved_by_an_earlier_attempt(path)
    use_tracer_provider(None)
    text = Path(f"{path}.crucible.json").read_text()
    with crucible.training_run("digits", resume_from=path) as run:
        assert (run.next_step, run.next_epoch) == (6, 2)
    assert Path(f"{path}.crucible.json").read_text() == text
