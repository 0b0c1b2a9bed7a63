"""The checkpoints of a run: saved with a sidecar beside them, loaded, deleted."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._links import LinkTargets
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.files._files import FileOperation, StoredFile, as_text, saved_at
from crucible_trace_otel.record.files._sidecar import Sidecar
from crucible_trace_otel.record.files._sidecar_files import read_sidecar, remove_sidecar
from crucible_trace_otel.record.runs._saving import RunSave
from crucible_trace_otel.record.runs._training import Training
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans

__all__ = ["CheckpointLoad", "CheckpointSave", "Checkpoints"]


class _CheckpointFile(FileOperation):
    path_key = attr.CRUCIBLE_CHECKPOINT_PATH
    size_key = attr.CRUCIBLE_CHECKPOINT_SIZE
    sha256_key = attr.CRUCIBLE_CHECKPOINT_SHA256
    changed_key = attr.CRUCIBLE_CHECKPOINT_CHANGED
    mismatch_key = attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH


class CheckpointSave(_CheckpointFile, RunSave):
    """Writing a checkpoint."""

    operation_name = spans.CHECKPOINT_SAVE
    without_sidecar = "has no sidecar, so that no other process can go on from it as this run"


class CheckpointLoad(_CheckpointFile):
    """Reading a checkpoint."""

    operation_name = spans.CHECKPOINT_LOAD
    saves = False

    def _said_by(self, sidecar: Sidecar) -> dict[str, Any]:
        return _said_by(sidecar)


class Checkpoints(Training):
    """What a training run does with its checkpoints."""

    @forgiving
    def save_checkpoint(
        self,
        path: str | os.PathLike[str],
        *,
        write: Callable[[Any], Any] | None = None,
        step: int | None = None,
        epoch: int | None = None,
        best: bool | None = None,
        metrics: Mapping[str, Any] | None = None,
        depends_on: LinkTargets | None = None,
        sidecar: bool = True,
    ) -> StoredFile:
        """Record a checkpoint with its size, SHA-256 and the time it took; the digest is computed on another thread.

        A small file `<path>.crucible.json` beside it lets `training_run(resume_from=path)` go on from it as the same
        run, wherever that is. Where it cannot be written, one warning says so, and the checkpoint is recorded all the
        same.

        Args:
            path: Its file, or its directory where it has several files.
            write: Called with `path` to write it. Without it, it was written before this call.
            step: The last step it holds; the last recorded one when not given.
            epoch: The epoch it holds; the one that began last when not given.
            best: Whether it is the best so far.
            metrics: What it reached, by name.
            depends_on: Records it rests on, such as a validation.
            sidecar: Whether the file beside it is written; without, one of an earlier checkpoint there is removed.

        Returns:
            What later records can depend on. An exception of `write` is recorded and goes on unchanged.
        """
        run = self._run
        step = run._last_step if step is None else step
        epoch = run._last_epoch if epoch is None else epoch
        attributes = {
            attr.CRUCIBLE_CHECKPOINT_STEP: step,
            attr.CRUCIBLE_CHECKPOINT_EPOCH: epoch,
            attr.CRUCIBLE_CHECKPOINT_BEST: best,
            **metric_attributes(metrics, attr.CRUCIBLE_CHECKPOINT_METRIC_TEMPLATE),
        }
        said = {"step": step, "epoch": epoch, "best": best, "metrics": metrics} if sidecar else None
        return CheckpointSave(path, attributes, of=run, said=said, depends_on=depends_on).perform(write)

    @forgiving
    def load_checkpoint(self, path: str | os.PathLike[str], *, read: Callable[[Any], Any] | None = None) -> StoredFile:
        """Record that a checkpoint was loaded, linked to its saving: in this process, or as its sidecar says.

        What is there is digested on another thread. Where it is not what was saved, the record says so
        (`crucible.checkpoint.digest_mismatch`), and one warning.

        Args:
            path: Its file or directory.
            read: Called with `path` to read it; the result is the returned object's `.value`.
        """
        return CheckpointLoad(path, {}, of=self).perform(read)

    @forgiving
    def delete_checkpoint(
        self, path: str | os.PathLike[str], *, remove: Callable[[Any], Any] | None = None, reason: str | None = None
    ) -> None:
        """Record that a checkpoint was deleted. Once it is gone, its sidecar is removed.

        Args:
            path: Its file or directory.
            remove: Called with `path` to remove it, such as `os.remove`; an exception of it goes on unchanged, and
                nothing is recorded. Without it, it was removed before this call, or will be.
            reason: Why, in a few words.
        """
        known = self._known_of(path)
        if remove is not None:
            remove(path)
        self._tell_of_deletion(path, reason, known)

    @guarded(lambda *_: {})
    def _known_of(self, path: Any) -> dict[str, Any]:
        """What is known of the checkpoint at `path`, as attributes."""
        text = as_text(path)
        saved = saved_at(text)
        if isinstance(saved, CheckpointSave):
            return {**saved._given, attr.CRUCIBLE_CHECKPOINT_SHA256: saved._digest.sha256}
        sidecar = read_sidecar(text) if text else None
        return {} if sidecar is None else {**_said_by(sidecar), attr.CRUCIBLE_CHECKPOINT_SHA256: sidecar.sha256}

    @guarded(nothing)
    def _tell_of_deletion(self, path: Any, reason: str | None, known: Mapping[str, Any]) -> None:
        text = as_text(path)
        if text and not os.path.lexists(text):
            remove_sidecar(text)
        if is_kept(self):
            about = printable(path) if reason is None else f"{printable(path)}: {printable(reason)}"
            emit_event(
                self,
                events.CHECKPOINT_DELETED,
                {**known, attr.CRUCIBLE_ABOUT: about, attr.CRUCIBLE_CHECKPOINT_PATH: path},
            )


def _said_by(sidecar: Sidecar) -> dict[str, Any]:
    """Where in the training a checkpoint was saved, as attributes."""
    return {
        attr.CRUCIBLE_CHECKPOINT_STEP: sidecar.step,
        attr.CRUCIBLE_CHECKPOINT_EPOCH: sidecar.epoch,
        attr.CRUCIBLE_CHECKPOINT_BEST: sidecar.best,
    }
