"""Resumable pipelines: what was complete and is unchanged is known again, and nothing else ever is."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.stages import _state_file
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.store import open_store
from tests.record.reading import Recording, said

if TYPE_CHECKING:
    from pathlib import Path


class Nightly:
    """A pipeline of one stage, from one file to another, that reuses what is unchanged."""

    def __init__(self, folder: Path, **memory: Any) -> None:
        self.source, self.target, self.state = folder / "raw", folder / "clean", folder / "state.json"
        self.source.write_text("rows")
        self.memory = memory or {"state": self.state}
        self.config = {"drop": 1}

    def run(self, *, fails: bool = False) -> bool:
        """Run it; whether the stage was reused."""
        with (
            crucible.pipeline("nightly", **self.memory) as nightly,
            nightly.stage("clean", config=self.config) as clean,
        ):
            clean.record_input(self.source)
            reused = clean.is_unchanged
            if reused:
                clean.skip("unchanged", cached=True)
            else:
                self.target.write_text(f"clean {self.source.read_text()}")
                if fails:
                    raise OSError("no space")
                clean.record_output(self.target)
        return reused


@pytest.fixture
def nightly(tmp_path: Path) -> Nightly:
    return Nightly(tmp_path)


def test_an_unchanged_stage_is_known_again_and_linked(recorded: Recording, nightly: Nightly) -> None:
    assert [nightly.run(), nightly.run(), nightly.run()] == [False, True, True]
    ran, *cached = recorded.named("stage clean")
    for span in cached:
        assert said(span)[attr.CRUCIBLE_OPERATION_RESULT] == "skip"
        assert said(span)[attr.CRUCIBLE_STAGE_CACHED] is True
        (link,) = span.links
        assert (link.context.trace_id, link.context.span_id) == (ran.context.trace_id, ran.context.span_id)
        assert said(span)[attr.CRUCIBLE_DEPENDENCY_NAMES] == ("produced_by: stage: clean",)
    assert attr.CRUCIBLE_STAGE_CACHED not in said(ran)


def test_it_works_in_the_same_way_where_nothing_is_recorded(nightly: Nightly) -> None:
    assert [nightly.run(), nightly.run()] == [False, True]
    nightly.source.write_text("other")
    assert [nightly.run(), nightly.run()] == [False, True]


def change_input(nightly: Nightly) -> None:
    nightly.source.write_text("ROWS")


def change_configuration(nightly: Nightly) -> None:
    nightly.config = {"drop": 2}


def change_output(nightly: Nightly) -> None:
    nightly.target.write_text("by hand")


def remove_output(nightly: Nightly) -> None:
    nightly.target.unlink()


def remove_state(nightly: Nightly) -> None:
    nightly.state.unlink()


@pytest.mark.parametrize("change", [change_input, change_configuration, change_output, remove_output, remove_state])
def test_whatever_changes_it_is_run_again(recorded: Recording, nightly: Nightly, change: Any) -> None:
    assert [nightly.run(), nightly.run()] == [False, True]
    change(nightly)
    assert [nightly.run(), nightly.run()] == [False, True]


def test_what_failed_in_between_is_run_again_with_the_old_input_too(recorded: Recording, nightly: Nightly) -> None:
    nightly.run()
    nightly.source.write_text("other")
    with pytest.raises(OSError, match="no space"):
        nightly.run(fails=True)
    nightly.source.write_text("rows")
    assert [nightly.run(), nightly.run()] == [False, True]


def test_a_run_without_a_recorder_is_not_overlooked(recorded: Recording, tmp_path: Path) -> None:
    made: list[str] = []

    def run(rows: str) -> bool:
        with crucible.pipeline("p", state=tmp_path / "state") as pipeline, pipeline.stage("load") as load:
            load.record_input(rows)
            unchanged = load.is_unchanged
            load.skip("unchanged", cached=True) if unchanged else made.append(rows)
        return unchanged

    assert [run("a"), run("a")] == [False, True]
    use_tracer_provider(None)
    assert run("b") is False
    use_tracer_provider(recorded.provider)
    assert run("a") is False
    assert made == ["a", "b", "a"]


def test_without_digests_of_all_inputs_nothing_is_unchanged(recorded: Recording, tmp_path: Path) -> None:
    def run(*inputs: Any, config: Any = None) -> bool:
        with crucible.pipeline("p", state=tmp_path / "s") as pipeline, pipeline.stage("s", config=config) as stage:
            for value in inputs:
                stage.record_input(value)
            return stage.is_unchanged

    for given_inputs, config in [((), None), ((object(),), None), ((1, object()), None), ((1,), {"x": object()})]:
        assert [run(*given_inputs, config=config) for _ in range(2)] == [False, False]
    assert [run(1), run(1)] == [False, True]


def test_stages_of_one_name_are_told_apart_by_their_number(recorded: Recording, tmp_path: Path) -> None:
    def run(*rows: int) -> list[bool]:
        found = []
        with crucible.pipeline("p", state=tmp_path / "state.json") as pipeline:
            for row in rows:
                for attempt in pipeline.attempts("load", 2):
                    with attempt as load:
                        load.record_input(row)
                        found.append(load.is_unchanged)
                        if load.attempt == 0 and row == 3:
                            raise OSError("no route")
        return found

    assert run(1, 2, 3) == [False, False, False, False]
    assert run(1, 3, 2) == [True, False, False, False]


def test_a_skipped_stage_stays_as_it_was(recorded: Recording, nightly: Nightly) -> None:
    nightly.run()
    with crucible.pipeline("nightly", state=nightly.state) as pipeline:
        pipeline.skip_stage("clean", reason="not today")
    assert nightly.run() is True


def test_a_cache_of_the_programs_own(recorded: Recording, tmp_path: Path, warned: list[str]) -> None:
    class Cache(dict[str, Any]):
        def put(self, key: str, text: str | None) -> None:
            self[key] = text

    cache = Cache()
    nightly = Nightly(tmp_path, cache=cache)
    assert [nightly.run(), nightly.run()] == [False, True]
    assert list(cache) == ["nightly/clean"]
    for broken in ("no JSON", b"bytes", "[" * 100_000, {}, json.dumps({"inputs": "0" * 64})):
        cache["nightly/clean"] = broken
        assert [nightly.run(), nightly.run()] == [False, True]
    assert any("is left aside" in warning for warning in warned)


class BrokenCache:
    def get(self, key: str) -> str | None:
        raise RuntimeError("no cache")

    put = get  # type: ignore[assignment]


@pytest.mark.parametrize("cache", [BrokenCache(), object(), 7])
def test_a_cache_that_cannot_be_used(recorded: Recording, tmp_path: Path, warned: list[str], cache: Any) -> None:
    nightly = Nightly(tmp_path, cache=cache)
    assert [nightly.run(), nightly.run()] == [False, False]
    assert len(warned) == 1


ENTRY = {
    "inputs": "0" * 64,
    "outputs": [["x", "0" * 64]],
    "within": 1.0,
    "name": "clean",
    "event_id": "1" * 32,
    "trace_id": "1" * 32,
    "span_id": "1" * 16,
}


def state_of(**changed: Any) -> bytes:
    return json.dumps({"version": 1, "stages": {"nightly/clean": {**ENTRY, **changed}}}).encode()


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"version": 2, "stages": {}}',
        b'{"version": 1, "stages": []}',
        b'{"version": 1, "stages": {"nightly/clean": 7}}',
        b"[" * 100_000,
        b'{"version": 1, "stages": {"nightly/clean": ' + b"[" * 90_000,
        b" " * (5 << 20),
        state_of(inputs="0"),
        state_of(outputs=[["x\0", "0" * 64]]),
        state_of(outputs=[["x"]]),
        state_of(outputs=[[1, "0" * 64]]),
        state_of(within=-1),
        state_of(within=float("inf")),
        state_of(within=True),
        state_of(name=7),
        state_of(trace_id="0" * 32),
        state_of(span_id=""),
    ],
    ids=range(20),
)
def test_a_broken_state_is_an_empty_one(recorded: Recording, nightly: Nightly, warned: list[str], text: bytes) -> None:
    nightly.state.write_bytes(text)
    assert [nightly.run(), nightly.run()] == [False, True]
    assert len(warned) == 1


@given(st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_state_is_never_a_wrong_one(recorded: Recording, tmp_path: Path, data: st.DataObject) -> None:
    nightly = Nightly(tmp_path)
    nightly.state.unlink(missing_ok=True)
    nightly.run()
    text = bytearray(nightly.state.read_bytes())
    at = data.draw(st.integers(0, len(text) - 1))
    text[at : data.draw(st.integers(at, len(text)))] = data.draw(st.binary(max_size=8))
    nightly.state.write_bytes(bytes(text))
    nightly.source.write_text("other")
    assert nightly.run() is False


def test_a_state_that_is_no_file_or_cannot_be_written(recorded: Recording, tmp_path: Path, warned: list[str]) -> None:
    nightly = Nightly(tmp_path, state=tmp_path)
    assert [nightly.run(), nightly.run()] == [False, False]
    missing = Nightly(tmp_path, state=tmp_path / "no folder" / "state.json")
    assert [missing.run(), missing.run()] == [False, False]
    os.mkfifo(tmp_path / "pipe")
    assert Nightly(tmp_path, state=tmp_path / "pipe").run() is False
    assert warned


def test_a_state_that_can_be_written_no_more_is_taken_away(
    recorded: Recording, nightly: Nightly, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    nightly.run()
    monkeypatch.setattr(_state_file.os, "replace", full)
    nightly.source.write_text("other")
    nightly.run()
    monkeypatch.undo()
    nightly.source.write_text("rows")
    assert nightly.run() is False
    assert len(warned) == 1


def test_nothing_is_remembered_where_an_old_state_can_neither_be_written_nor_taken_away(
    recorded: Recording, nightly: Nightly, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    def forbidden(*_: Any) -> None:
        raise PermissionError(13, "Permission denied")

    nightly.run()
    for name in ("replace", "unlink", "truncate"):
        monkeypatch.setattr(_state_file.os, name, forbidden)
    assert nightly.run() is False
    assert "cannot be written" in warned[0]


def test_what_is_no_state_is_moved_aside_before_one_is_written(recorded: Recording, nightly: Nightly) -> None:
    nightly.state.write_text("precious,rows\n")
    assert [nightly.run(), nightly.run()] == [False, True]
    (aside,) = nightly.state.parent.glob("state.json.*")
    assert (aside.suffix, aside.read_text()) == (".aside", "precious,rows\n")


def test_a_pipe_or_a_device_is_never_replaced(recorded: Recording, tmp_path: Path, warned: list[str]) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert [Nightly(tmp_path, state=tmp_path / "pipe").run() for _ in range(2)] == [False, False]
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    assert len(warned) == 1


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (("a/b", "c"), ("a", "b/c")),
        (("p", "x" * 200 + "1"), ("p", "x" * 200 + "2")),
        (("p" * 200 + "1", "s"), ("p" * 200 + "2", "s")),
        (("p", "a b"), ("p", "a  b")),
        (("p", "%2F"), ("p", "/")),
    ],
)
def test_stages_of_other_names_are_other_stages(recorded: Recording, tmp_path: Path, one: Any, other: Any) -> None:
    def run(pipeline_name: str, stage_name: str) -> bool:
        with (
            crucible.pipeline(pipeline_name, state=tmp_path / "state") as pipeline,
            pipeline.stage(stage_name) as stage,
        ):
            stage.record_input(1)
            return stage.is_unchanged

    assert [run(*one), run(*one), run(*other)] == [False, True, False]


def test_the_second_of_a_name_is_not_one_that_is_called_so(recorded: Recording, tmp_path: Path) -> None:
    def run(*names: str) -> list[bool]:
        found = []
        with crucible.pipeline("p", state=tmp_path / "state") as pipeline:
            for name in names:
                with pipeline.stage(name) as stage:
                    stage.record_input(1)
                    found.append(stage.is_unchanged)
        return found

    assert run("a", "a") == [False, False]
    assert run("a#2") == [False]


def test_two_executions_at_once_trust_only_themselves(recorded: Recording, tmp_path: Path, warned: list[str]) -> None:
    def stage(pipeline: crucible.Pipeline, name: str, value: int) -> bool:
        with pipeline.stage(name) as made:
            made.record_input(value)
            return made.is_unchanged

    state = tmp_path / "state.json"
    with crucible.pipeline("p", state=state) as earlier:
        assert not stage(earlier, "a", 1)
        assert not stage(earlier, "b", 1)
    with crucible.pipeline("p", state=state) as one, crucible.pipeline("p", state=state) as other:
        assert not stage(one, "a", 2)
        assert not stage(other, "b", 2)
    with crucible.pipeline("p", state=state) as later:
        assert not stage(later, "a", 1)
        assert stage(later, "b", 2)
    assert len(warned) == 1


def test_a_state_is_bounded(recorded: Recording, tmp_path: Path) -> None:
    state = _state_file.StateFile(tmp_path / "state.json")
    state._entries = {str(number): "1" for number in range(1_000)}
    state.put("new", "1")
    assert len(json.loads((tmp_path / "state.json").read_text())["stages"]) == 1_000
    assert state.get("new") == "1"
    assert state.get("0") is None
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_child_completes_nothing_of_its_parent(recorded: Recording, tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    with crucible.pipeline("p", state=state) as pipeline:
        stage = pipeline.stage("s").start()
        stage.record_input(1)
        child = os.fork()
        if child == 0:
            stage.stop()
            os._exit(0)
        os.waitpid(child, 0)
        assert not state.exists()
        stage.stop()
    assert state.exists()


KILLED = """
import os, sys
import crucible_trace_otel as crucible
crucible.configure(service_name="nightly", journal="journal", ship="off")
with crucible.pipeline("nightly", state="state.json") as nightly:
    for name in ("load", "clean", "train"):
        with nightly.stage(name) as stage:
            stage.record_input(name)
            if stage.is_unchanged:
                stage.skip("unchanged", cached=True)
            else:
                print(name, flush=True)
                if name == sys.argv[1]:
                    os.kill(os.getpid(), 9)
"""


def test_a_killed_pipeline_goes_on_where_it_was(tmp_path: Path) -> None:
    def run(killed_in: str) -> tuple[int, list[str]]:
        command = [sys.executable, "-c", KILLED, killed_in]
        finished = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        return finished.returncode, finished.stdout.split()

    assert run("clean") == (-9, ["load", "clean"])
    assert run("train") == (-9, ["clean", "train"])
    assert run("") == (0, ["train"])
    assert run("") == (0, [])
    last = open_store(tmp_path / "journal").latest()
    stages = [span for span in last.spans if span.operation == "stage"]
    assert [span.attributes[attr.CRUCIBLE_STAGE_CACHED] for span in stages] == [True] * 3
    assert [span.links[0].type for span in stages] == ["produced_by"] * 3
