"""The checkpoints of a run: saved with a sidecar beside them, loaded, deleted."""

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from operator import index
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.record._digests import FileDigest
from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._files import FileOperation, Origin, StoredFile, as_text, saved_at
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._links import LinkTargets
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.record._sidecar import FAR, Sidecar
from crucible_trace_otel.record._sidecar_files import complete_sidecar, read_sidecar, remove_sidecar, write_sidecar
from crucible_trace_otel.record._steps import Training
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans

if TYPE_CHECKING:
    from crucible_trace_otel.record.training import TrainingRun

__all__ = ["CheckpointLoad", "CheckpointSave", "Checkpoints"]


class _CheckpointFile(FileOperation):
    path_key = attr.CRUCIBLE_CHECKPOINT_PATH
    size_key = attr.CRUCIBLE_CHECKPOINT_SIZE
    sha256_key = attr.CRUCIBLE_CHECKPOINT_SHA256
    changed_key = attr.CRUCIBLE_CHECKPOINT_CHANGED
    mismatch_key = attr.CRUCIBLE_CHECKPOINT_DIGEST_MISMATCH


class CheckpointSave(_CheckpointFile):
    """Writing a checkpoint."""

    operation_name = spans.CHECKPOINT_SAVE
    saves = True

    def __init__(
        self,
        path: str | os.PathLike[str],
        attributes: Mapping[str, Any],
        metrics: Any,
        depends_on: LinkTargets | None,
        run: "TrainingRun",
        *,
        has_sidecar: bool,
    ) -> None:
        named = metric_attributes(metrics, attr.CRUCIBLE_CHECKPOINT_METRIC_TEMPLATE)
        super().__init__(path, {**attributes, **named}, depends_on, run)
        self._run = run
        self._metrics = metrics
        self._has_sidecar = has_sidecar

    @guarded(lambda *_: nothing)
    def _written(self, at_ns: int) -> Callable[[FileDigest], None]:
        """Leave the sidecar at once, for the process may be killed; it gets its digest when that is known."""
        if not self._path:
            return nothing
        if not self._has_sidecar:
            remove_sidecar(self._path)
            return nothing
        sidecar = self._sidecar(at_ns)
        if not write_sidecar(
            self._path, sidecar, "has no sidecar, so that no other process can go on from it as this run"
        ):
            remove_sidecar(self._path)  # one of an earlier checkpoint would say what is not so
            return nothing

        def complete(_: FileDigest) -> None:
            if self._digest.sha256 is not None:
                complete_sidecar(self._path, sidecar, self._digest)

        return complete

    def _sidecar(self, at_ns: int) -> Sidecar:
        run = self._run
        moment = datetime.fromtimestamp(at_ns / 1e9, timezone.utc)
        best = self._given.get(attr.CRUCIBLE_CHECKPOINT_BEST)
        return Sidecar(
            run_id=run.run_id,
            run_name=run.about,
            attempt=run.attempt,
            attempts=run.attempt + 1,
            run_trace_id=f"{run.span_context.trace_id:032x}",
            run_span_id=f"{run.span_context.span_id:016x}",
            run_event_id=run.event_id,
            trace_id=f"{self.span_context.trace_id:032x}",
            span_id=f"{self.span_context.span_id:016x}",
            event_id=self.event_id,
            saved_at=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            step=_count(self._given.get(attr.CRUCIBLE_CHECKPOINT_STEP)),
            epoch=_count(self._given.get(attr.CRUCIBLE_CHECKPOINT_EPOCH)),
            best=None if best is None else bool(best),
            metrics=_numbers(self._metrics),
        )


class CheckpointLoad(_CheckpointFile):
    """Reading a checkpoint."""

    operation_name = spans.CHECKPOINT_LOAD
    saves = False

    def _origin(self) -> Origin | None:
        """As this process saved it, or, where the sidecar says that another did since, as that one."""
        known = super()._origin()
        sidecar = read_sidecar(self._path) if self._path else None
        if sidecar is None or (known is not None and known.saving.event_id == sidecar.event_id):
            return known
        self.set(_said_by(sidecar))
        return Origin(sidecar.saving(self._path), lambda: sidecar.digest)


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
        attributes = {
            attr.CRUCIBLE_CHECKPOINT_STEP: run._last_step if step is None else step,
            attr.CRUCIBLE_CHECKPOINT_EPOCH: run._last_epoch if epoch is None else epoch,
            attr.CRUCIBLE_CHECKPOINT_BEST: best,
        }
        return CheckpointSave(path, attributes, metrics, depends_on, run, has_sidecar=bool(sidecar)).perform(write)

    @forgiving
    def load_checkpoint(self, path: str | os.PathLike[str], *, read: Callable[[Any], Any] | None = None) -> StoredFile:
        """Record that a checkpoint was loaded, linked to its saving: in this process, or as its sidecar says.

        What is there is digested on another thread. Where it is not what was saved, the record says so
        (`crucible.checkpoint.digest_mismatch`), and one warning.

        Args:
            path: Its file or directory.
            read: Called with `path` to read it; the result is the returned object's `.value`.
        """
        return CheckpointLoad(path, {}, within=self).perform(read)

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


def _count(given: Any) -> int | None:
    """`given` where it is a number of steps or epochs; what a sidecar cannot hold is left out."""
    try:
        number = index(given)
    except TypeError:
        return None
    return number if 0 <= number < FAR else None


@guarded(lambda _: dict[str, float]())
def _numbers(metrics: Any) -> dict[str, float]:
    """Of the metrics those that are numbers."""
    found: dict[str, float] = {}
    for name, value in metrics.items() if isinstance(metrics, Mapping) else ():
        number = value.item() if hasattr(value, "item") and getattr(value, "shape", None) == () else value
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            found[printable(name)] = float(number)
    return found
