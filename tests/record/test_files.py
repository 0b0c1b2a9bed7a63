"""Checkpoints and models on disk, and what serves them."""

from __future__ import annotations

import io
import threading
import weakref
from collections import deque
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.files import _digests
from crucible_trace_otel.record.files._digests import FileDigest
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

RESULT = attr.CRUCIBLE_OPERATION_RESULT
WORDS = b"weights"
DIGEST = sha256(WORDS).hexdigest()


@pytest.fixture(autouse=True)
def _every_file_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the files of these tests take the thread."""
    monkeypatch.setattr(_digests, "_SMALL", -1)


def test_a_small_file_is_digested_at_once(recorded: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_digests, "_SMALL", 1 << 16)
    with crucible.training_run("r") as run:
        stored = run.save_checkpoint(tmp_path / "a", write=write)
        assert stored.digest(0).sha256 == DIGEST
        assert [span.name for span in recorded.spans] == ["checkpoint_save"]


def write(path: Any) -> str:
    Path(path).write_bytes(WORDS)
    return "written"


def read(path: Any) -> bytes:
    return Path(path).read_bytes()


def digests_done() -> None:
    assert _digests.drain(5)


def test_a_checkpoint_that_is_written_and_read(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with crucible.training_run("r") as run:
        run.record_step(loss=1.0)
        validation = run.record_validation(accuracy=0.5)
        saved = run.save_checkpoint(path, write=write, epoch=0, best=True, metrics={"a": 1}, depends_on=validation)
        loaded = run.load_checkpoint(str(path), read=read)
    assert (saved.value, loaded.value) == ("written", WORDS)
    assert saved.digest(5) == loaded.digest(5) == FileDigest(len(WORDS), DIGEST)
    digests_done()
    shown = [
        attr.CRUCIBLE_CHECKPOINT_PATH,
        attr.CRUCIBLE_CHECKPOINT_SIZE,
        attr.CRUCIBLE_CHECKPOINT_SHA256,
        attr.CRUCIBLE_CHECKPOINT_STEP,
        attr.CRUCIBLE_CHECKPOINT_EPOCH,
        attr.CRUCIBLE_CHECKPOINT_BEST,
        attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH,
        f"{attr.CRUCIBLE_CHECKPOINT_METRIC_TEMPLATE}.a",
        RESULT,
    ]
    file = dict(zip(shown, (str(path), len(WORDS), DIGEST), strict=False)) | {RESULT: "success"}
    assert recorded.tree(*shown).inside == [
        node("validation_run", "accuracy 0.5"),
        node(
            "checkpoint_save",
            str(path)[:120],
            attributes={**file, **dict(zip(shown[3:6], (0, 0, True), strict=True)), shown[7]: 1.0},
            links=["depends_on: validation_run: accuracy 0.5"],
        ),
        node("checkpoint_load", str(path)[:120], attributes=file, links=[f"produced_by: checkpoint_save: {path}"]),
    ]


def test_a_file_operation_ends_when_the_file_is_written(recorded: Recording, tmp_path: Path) -> None:
    go_on = threading.Event()
    blocked = _digests.digest_later(tmp_path, lambda _: bool(go_on.wait(5)))
    with crucible.training_run("r") as run:
        run.save_checkpoint(tmp_path / "a", write=write)
        run.record_validation(a=1.0)
    go_on.set()
    assert blocked.wait(5)
    digests_done()
    _, saved, validated = recorded.spans
    assert saved.name == "checkpoint_save"
    assert saved.end_time < validated.start_time  # type: ignore[operator]


def test_an_exception_of_write_goes_on(recorded: Recording, tmp_path: Path) -> None:
    error = OSError("disk full")

    def fail(_: object) -> None:
        raise error

    with crucible.training_run("r") as run:
        with pytest.raises(OSError, match="disk full") as caught:
            run.save_checkpoint(tmp_path / "a", write=fail)
        with pytest.raises(KeyboardInterrupt):
            run.save_model(tmp_path / "a", write=lambda _: (_ for _ in ()).throw(KeyboardInterrupt()))
    assert caught.value is error
    assert [(inner.name, inner.error, inner.events) for inner in recorded.tree().inside] == [
        ("checkpoint_save", "OSError: disk full", ["exception"]),
        ("model_save", "interrupted from the keyboard", ["exception"]),
    ]


def test_a_missing_file_has_no_digest(recorded: Recording, warned: list[str], tmp_path: Path) -> None:
    with crucible.training_run("r") as run:
        assert run.save_checkpoint(tmp_path / "never").digest(5) == FileDigest()
    digests_done()
    assert len(warned) == 1
    assert str(tmp_path / "never") in warned[0]
    assert attr.CRUCIBLE_CHECKPOINT_SHA256 not in said(recorded.one("checkpoint_save"))


def test_a_file_that_changes_while_it_is_digested(
    recorded: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"

    def sha256_of_a_moving_file() -> Any:
        with path.open("ab") as file:
            file.write(b"more")
        return sha256()

    monkeypatch.setattr(_digests, "sha256", sha256_of_a_moving_file)
    with crucible.training_run("r") as run:
        assert run.save_checkpoint(path, write=write).digest(5) == FileDigest(len(WORDS) + 4, changed=True)
    digests_done()
    attributes = said(recorded.one("checkpoint_save"))
    assert attributes[attr.CRUCIBLE_CHECKPOINT_CHANGED] is True
    assert attr.CRUCIBLE_CHECKPOINT_SHA256 not in attributes


def test_a_file_that_is_not_what_was_saved(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "a"
    with crucible.training_run("r") as run:
        run.save_checkpoint(path, write=write).digest(5)
        path.write_bytes(b"something else")
        run.load_checkpoint(path)
    digests_done()
    attributes = said(recorded.one("checkpoint_load"))
    assert attributes[attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH] is True
    assert attributes[attr.CRUCIBLE_CHECKPOINT_SHA256] == sha256(b"something else").hexdigest()


@pytest.mark.parametrize(
    "path", [io.BytesIO(b"x"), "nul\0byte", b"bytes/path", 7.5, None], ids=lambda path: repr(path)[:9]
)
def test_a_path_that_is_none(recorded: Recording, warned: list[str], path: Any) -> None:
    with crucible.training_run("r") as run, crucible.deployment("d") as deployment:
        stored = [
            run.save_checkpoint(path),
            run.load_checkpoint(path, read=lambda given: given),
            run.save_model(path),
            deployment.load_model(path),
        ]
    assert [file.digest(5) for file in stored] == [FileDigest()] * 4
    assert stored[1].value is path
    digests_done()
    (tree,) = recorded.trees()
    assert [inner.name for inner in tree.inside[0].inside] == [
        "checkpoint_save",
        "checkpoint_load",
        "model_save",
        "model_load",
    ]
    assert warned


def test_a_thread_that_cannot_be_started(
    recorded: Recording, warned: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_thread(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    for name, empty in (("_worker", None), ("_jobs", deque()), ("_wake", threading.Condition())):
        monkeypatch.setattr(_digests, name, empty)
    with crucible.training_run("r") as run:
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", no_thread)
            stored = run.save_checkpoint(tmp_path / "a", write=write)
        assert stored.digest(5) == FileDigest()
        assert run.save_checkpoint(tmp_path / "b", write=write).digest(5).sha256 == DIGEST
    digests_done()
    assert [inner.name for inner in recorded.tree().inside] == ["checkpoint_save"] * 2


def test_a_model_from_its_run_to_its_use(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "model"
    with crucible.pipeline("p"):
        with crucible.training_run("r", model="softmax") as run:
            saved = run.save_model(path, write=write, version="3")
        with crucible.deployment("api", environment="staging", version="3") as deployment:
            assert deployment.load_model(path, read=read).value == WORDS
            digests_done()
            with crucible.stage("serve"), crucible.inference("one image", batch_size=32):
                pass
        with deployment.inference("late", depends_on=saved):
            pass
        with crucible.inference():
            pass
    digests_done()
    shown = (
        attr.CRUCIBLE_MODEL_NAME,
        attr.CRUCIBLE_MODEL_VERSION,
        attr.CRUCIBLE_MODEL_SHA256,
        attr.DEPLOYMENT_NAME,
        attr.DEPLOYMENT_ENVIRONMENT_NAME,
        attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION,
        attr.CRUCIBLE_INFERENCE_BATCH_SIZE,
    )
    model = f"model_save: {path}"
    served = {shown[0]: "softmax", shown[1]: "3", shown[3]: "api"}
    assert recorded.tree(*shown).inside == [
        node(
            "training_run",
            "r",
            node(
                "model_save",
                str(path),
                attributes={shown[0]: "softmax", shown[1]: "3", attr.CRUCIBLE_MODEL_SHA256: DIGEST},
            ),
            attributes={shown[0]: "softmax"},
        ),
        node(
            "deployment",
            "api",
            node("model_load", str(path), attributes={shown[2]: DIGEST}, links=[f"produced_by: {model}"]),
            node(
                "stage serve",
                "serve",
                node("inference", "one image", attributes={**served, shown[6]: 32}, links=[f"serves: {model}"]),
            ),
            attributes={**served, shown[2]: DIGEST, shown[4]: "staging", shown[5]: "3"},
            links=[f"serves: {model}", "deployed_from: training_run: r"],
        ),
        node("inference", "late", attributes=served, links=[f"depends_on: {model}", f"serves: {model}"]),
        node("inference", "inference"),
    ]


def test_a_deployment_is_told_what_it_serves(recorded: Recording, tmp_path: Path) -> None:
    with crucible.training_run("r") as run:
        saved = run.save_model(tmp_path / "m", write=write)
    with crucible.deployment("api", model=saved) as deployment:
        deployment.load_model(tmp_path / "m")
    digests_done()
    assert recorded.trees()[1].links == [f"serves: model_save: {tmp_path / 'm'}", "deployed_from: training_run: r"]


def test_digests_are_drained_and_given_up(tmp_path: Path) -> None:
    started, go_on, found = threading.Event(), threading.Event(), []

    def slow(_: FileDigest) -> None:
        if not started.is_set():
            started.set()
            go_on.wait(5)

    _digests.digest_later(tmp_path, slow)
    assert started.wait(5)
    last = _digests.digest_later(tmp_path, found.append)
    assert not _digests.drain(0.01)
    _digests.give_up()
    assert last.wait(5)
    assert found == [FileDigest()]
    go_on.set()
    digests_done()


def test_a_bad_job_does_not_end_the_digests(warned: list[str], tmp_path: Path) -> None:
    class SilentError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def bad(_: FileDigest) -> None:
        raise SilentError

    assert _digests.digest_later("nul\0byte", bad).wait(5)
    write(tmp_path / "a")
    found: list[FileDigest] = []
    assert _digests.digest_later(tmp_path / "a", found.append).wait(5)
    assert found == [FileDigest(len(WORDS), DIGEST)]
    assert any("was not recorded" in text for text in warned)


def test_what_a_writer_returned_is_not_kept_alive(recorded: Recording, tmp_path: Path) -> None:
    class Large:
        pass

    with crucible.training_run("r") as run:
        stored = run.save_checkpoint(tmp_path / "a", write=lambda path: (write(path), Large())[1])
        returned = weakref.ref(stored.value)
        stored.digest(5)
        del stored
    assert returned() is None
    digests_done()
    assert run.load_checkpoint(tmp_path / "a").digest(5).sha256 == DIGEST
