"""Checkpoints: what their sidecars say, what loading makes of it, directories, deletions, and what goes wrong."""

from __future__ import annotations

import os
import resource
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.files import _files, _manifest
from crucible_trace_otel.record.files._digests import FileDigest, drain
from crucible_trace_otel.record.files._sidecar import Sidecar
from crucible_trace_otel.record.files._sidecar_files import read_sidecar, write_sidecar
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import Iterator

WORDS = b"weights"
DIGEST = sha256(WORDS).hexdigest()
MISMATCH = attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH


def write(path: Any) -> None:
    Path(path).write_bytes(WORDS)


def found(path: Path) -> Sidecar:
    """The sidecar of `path`, once all that is left to do is done."""
    assert drain(5)
    sidecar = read_sidecar(str(path))
    assert sidecar is not None
    return sidecar


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def as_another_process() -> None:
    """Forget what this one saved."""
    assert drain(5)
    _files._saved.clear()


@contextmanager
def no_room() -> Iterator[None]:
    """No file of more than 100 bytes, as on a disk that fills up. Not a fixture: what reports the test needs room."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_sidecar_says_who_saved_the_checkpoint_and_what_it_holds(recorded: Recording, tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "a.npz"
    with crucible.training_run("digits", run_id="job-17") as run:
        for epoch in run.epochs(2):
            epoch.record_step(loss=1.0)
            epoch.record_step(loss=0.5)
            metrics = {"loss": numpy.float32(0.5), "nan": float("nan"), "kept": 3, "text": "good", "flag": True}
            run.save_checkpoint(path, write=write, best=epoch.index == 1, metrics=metrics)
    save = recorded.named("checkpoint_save")[1]
    training = recorded.one("training_run")
    sidecar = found(path)
    assert {name: sidecar.metrics[name] for name in ("loss", "kept")} == {"loss": 0.5, "kept": 3.0}
    assert sorted(sidecar.metrics) == ["kept", "loss", "nan"]
    assert replace(sidecar, metrics={}, saved_at="") == Sidecar(
        run_id="job-17",
        run_name="digits",
        attempt=0,
        attempts=1,
        run_trace_id=f"{training.context.trace_id:032x}",
        run_span_id=f"{training.context.span_id:016x}",
        run_event_id=said(training)[attr.CRUCIBLE_EVENT_ID],
        trace_id=f"{save.context.trace_id:032x}",
        span_id=f"{save.context.span_id:016x}",
        event_id=said(save)[attr.CRUCIBLE_EVENT_ID],
        saved_at="",
        step=3,
        epoch=1,
        best=True,
        size=len(WORDS),
        sha256=DIGEST,
    )
    assert (said(save)[attr.CRUCIBLE_CHECKPOINT_STEP], said(save)[attr.CRUCIBLE_CHECKPOINT_EPOCH]) == (3, 1)


def test_it_is_there_when_the_call_returns(recorded: Recording, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with crucible.training_run("r") as run:
        run.save_checkpoint(large, write=lambda path: path.write_bytes(b"\0" * 2_000_000))
        sidecar = read_sidecar(str(large))
    assert sidecar is not None
    assert sidecar.run_id == run.run_id


def test_what_a_sidecar_cannot_hold_is_left_out(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        run.save_checkpoint(path, write=write, step=-1, epoch="three", metrics=["loss"])  # type: ignore[arg-type]
    sidecar = found(path)
    assert (sidecar.step, sidecar.epoch, sidecar.metrics) == (None, None, {})
    assert said(recorded.one("checkpoint_save"))[attr.CRUCIBLE_CHECKPOINT_EPOCH] == "three"


def test_without_a_sidecar_an_older_one_goes(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        run.save_checkpoint(path, write=write)
        found(path)
        run.save_checkpoint(path, write=write, sidecar=False)
    assert drain(5)
    assert names(tmp_path) == ["a"]


def test_a_checkpoint_that_is_no_path_touches_no_sidecar(
    recorded: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "here").mkdir()
    (tmp_path / "here.crucible.json").write_text("of the folder the program runs in")
    monkeypatch.chdir(tmp_path / "here")
    with crucible.training_run("r") as run:
        for sidecar in (True, False):
            run.save_checkpoint(None, sidecar=sidecar)  # type: ignore[arg-type]
        run.delete_checkpoint(None)  # type: ignore[arg-type]
    assert drain(5)
    assert names(tmp_path) == ["here", "here.crucible.json"]


def test_without_a_provider_no_sidecar_is_written(tmp_path: Path) -> None:
    with crucible.training_run("r") as run:
        run.save_checkpoint(tmp_path / "a", write=write)
    assert names(tmp_path) == ["a"]


@pytest.mark.parametrize("name", ["a" * 250, "a/b"], ids=["a name without room for more", "a folder that is not there"])
def test_a_sidecar_that_cannot_be_written_is_one_warning(
    recorded: Recording, warned: list[str], tmp_path: Path, name: str
) -> None:
    with crucible.training_run("r") as run:
        for _ in range(2):
            run.save_checkpoint(tmp_path / name, write=write if "/" not in name else None)
    assert drain(5)
    assert len(warned) == 1
    assert len(recorded.named("checkpoint_save")) == 2


def test_a_disk_that_is_full_when_the_sidecar_comes(recorded: Recording, warned: list[str], tmp_path: Path) -> None:
    path = tmp_path / "a"
    (tmp_path / "a.crucible.json").write_text("{}")
    with no_room(), crucible.training_run("r") as run:
        run.save_checkpoint(path, write=write)
        assert drain(5)
    assert len(warned) == 1
    assert "has no sidecar" in warned[0]
    assert "File too large" in warned[0]
    assert names(tmp_path) == ["a"]
    assert said(recorded.one("checkpoint_save"))[attr.CRUCIBLE_CHECKPOINT_SHA256] == DIGEST


def test_a_disk_that_fills_while_the_checkpoint_is_written(
    recorded: Recording, warned: list[str], tmp_path: Path
) -> None:
    with crucible.training_run("r") as run:
        with no_room(), pytest.raises(OSError, match="File too large"):
            run.save_checkpoint(tmp_path / "a", write=lambda path: path.write_bytes(b"\0" * 1_000))
        run.record_step(loss=1.0)
    assert recorded.tree() == node(
        "training_run",
        "r",
        node(
            "checkpoint_save",
            str(tmp_path / "a")[:120],
            error="OSError: [Errno 27] File too large",
            events=["exception"],
        ),
        events=["steps_recorded"],
    )
    assert warned == []
    assert not (tmp_path / "a.crucible.json").exists()


def test_loading_is_linked_to_a_saving_of_another_process(tmp_path: Path) -> None:
    path = tmp_path / "a"
    first = Recording()
    use_tracer_provider(first.provider)
    with crucible.training_run("first") as run:
        run.record_step(loss=1.0)
        run.save_checkpoint(path, write=write, epoch=4, best=True)
    as_another_process()
    second = Recording()
    use_tracer_provider(second.provider)
    with crucible.training_run("second") as run:
        assert run.load_checkpoint(path).digest(5) == FileDigest(len(WORDS), DIGEST)
    loaded, saved = second.one("checkpoint_load"), first.one("checkpoint_save")
    (link,) = loaded.links
    assert (link.context.trace_id, link.context.span_id) == (saved.context.trace_id, saved.context.span_id)
    assert dict(link.attributes or {}) == {
        attr.CRUCIBLE_LINK_TYPE: "produced_by",
        attr.CRUCIBLE_LINK_EVENT_ID: said(saved)[attr.CRUCIBLE_EVENT_ID],
    }
    attributes = said(loaded)
    assert attributes[attr.CRUCIBLE_DEPENDENCY_NAMES] == (f"produced_by: checkpoint_save: {path}"[:120],)
    assert MISMATCH not in attributes
    named = (attr.CRUCIBLE_CHECKPOINT_STEP, attr.CRUCIBLE_CHECKPOINT_EPOCH, attr.CRUCIBLE_CHECKPOINT_BEST)
    assert [attributes[name] for name in named] == [0, 4, True]


def test_a_checkpoint_of_another_process_that_is_not_what_was_saved(
    recorded: Recording, warned: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        run.save_checkpoint(path, write=write)
        as_another_process()
        path.write_bytes(b"other!!")
        assert run.load_checkpoint(path, read=Path.read_bytes).value == b"other!!"
    assert drain(5)
    assert said(recorded.one("checkpoint_load"))[MISMATCH] is True
    assert warned == [f"{path} is not what was saved there: its digest differs."]


def test_a_checkpoint_that_another_process_saved_since_is_linked_to_that(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        run.save_checkpoint(path, write=write)
        other = replace(found(path), event_id="e" * 32, span_id="f" * 16, sha256=sha256(b"other").hexdigest())
        path.write_bytes(b"other")
        write_sidecar(str(path), other, "-")
        run.load_checkpoint(path)
    assert drain(5)
    loaded = recorded.one("checkpoint_load")
    assert [f"{link.context.span_id:016x}" for link in loaded.links] == ["f" * 16]
    assert MISMATCH not in said(loaded)


def test_a_sidecar_that_cannot_be_used_costs_the_link_only(
    recorded: Recording, warned: list[str], tmp_path: Path
) -> None:
    path = tmp_path / "a"
    write(path)
    (tmp_path / "a.crucible.json").write_text('{"version": 99}')
    with crucible.training_run("r") as run:
        assert run.load_checkpoint(path).digest(5).sha256 == DIGEST
    assert drain(5)
    assert len(warned) == 1
    assert recorded.tree().inside == [node("checkpoint_load", str(path)[:120])]


def test_what_was_saved_over_is_not_given_a_digest_of_what_came_later(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        first = run.save_checkpoint(path, write=lambda path: path.write_bytes(b"\0" * 2_000_000))
        second = run.save_checkpoint(path, write=lambda path: path.write_bytes(b"\1" * 2_000_000))
    assert second.digest(5).sha256 == sha256(b"\1" * 2_000_000).hexdigest()
    assert first.digest(5).sha256 in (None, sha256(b"\0" * 2_000_000).hexdigest())
    assert found(path).event_id == second.event_id


# ---- directories ----


def shards(folder: Path) -> Path:
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "b").write_bytes(b"bb")
    (folder / "a").write_bytes(b"a")
    (folder / "z").symlink_to("a")
    return folder


def test_a_directory_has_the_digest_of_its_manifest(recorded: Recording, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    with crucible.training_run("r") as run:
        saved = run.save_checkpoint(folder, write=shards)
        a, b = (sha256(content).hexdigest().encode() for content in (b"a", b"bb"))
        manifest = b"\0".join((b"a", b"1", a, b"deep/b", b"2", b, b"z", b"link", b"a", b""))
        expected = FileDigest(3, sha256(manifest).hexdigest())
        assert saved.digest(5) == expected
        (folder / "a.crucible.json").write_text("the sidecar of a shard")
        as_another_process()
        assert run.load_checkpoint(folder).digest(5) == expected
        (folder / "deep" / "b").write_bytes(b"bc")
        assert run.load_checkpoint(folder).digest(5) != expected
    assert drain(5)
    assert [said(span).get(MISMATCH) for span in recorded.named("checkpoint_load")] == [None, True]
    assert found(folder).sha256 == expected.sha256


def test_a_link_is_not_followed(recorded: Recording, tmp_path: Path) -> None:
    folder = shards(tmp_path / "sharded")
    (folder / "loop").symlink_to(folder)
    with crucible.training_run("r") as run:
        assert run.save_checkpoint(folder).digest(5).size == 3


def test_a_directory_of_too_many_files_has_no_digest(
    recorded: Recording, warned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_manifest, "_MOST_ENTRIES", 3)
    with crucible.training_run("r") as run:
        assert run.save_checkpoint(shards(tmp_path / "sharded")).digest(5) == FileDigest()
    assert drain(5)
    assert "more than 3 files" in warned[0]
    assert found(tmp_path / "sharded").sha256 is None


# ---- deletions ----


def test_a_deleted_checkpoint_is_told_with_what_was_known_of_it(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        run.record_step(loss=1.0)
        run.save_checkpoint(path, write=write, epoch=4).digest(5)
        run.delete_checkpoint(path, remove=os.remove, reason="not among the best")
    assert drain(5)
    assert names(tmp_path) == []
    (event,) = (event for event in recorded.one("training_run").events if event.name == "checkpoint_deleted")
    assert dict(event.attributes or {}) == {
        attr.CRUCIBLE_ABOUT: f"{path}: not among the best",
        attr.CRUCIBLE_CHECKPOINT_PATH: str(path),
        attr.CRUCIBLE_CHECKPOINT_STEP: 0,
        attr.CRUCIBLE_CHECKPOINT_EPOCH: 4,
        attr.CRUCIBLE_CHECKPOINT_SHA256: DIGEST,
    }


def test_one_that_another_process_saved_and_one_that_is_to_be_deleted_later(
    recorded: Recording, tmp_path: Path
) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        run.save_checkpoint(path, write=write, step=7)
        as_another_process()
        run.delete_checkpoint(str(path))
        assert found(path).step == 7
        path.unlink()
        run.delete_checkpoint(str(path))
    assert names(tmp_path) == []
    told = recorded.one("training_run").events
    assert [(event.attributes or {})[attr.CRUCIBLE_CHECKPOINT_STEP] for event in told] == [7, 7]


def test_a_checkpoint_that_cannot_be_removed_is_not_told_as_deleted(recorded: Recording, tmp_path: Path) -> None:
    with crucible.training_run("r") as run, pytest.raises(FileNotFoundError):
        run.delete_checkpoint(tmp_path / "never", remove=os.remove)
    assert recorded.tree().events == []


@pytest.mark.parametrize("path", [None, 7.5, "nul\0byte"])
def test_a_deletion_of_what_is_no_path(recorded: Recording, path: Any) -> None:
    with crucible.training_run("r") as run:
        run.delete_checkpoint(path)
    run.delete_checkpoint(path)
    assert recorded.tree().events == ["checkpoint_deleted"]
