"""What a training run saves: with a sidecar beside it, by which other processes know the run again."""

import os
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from operator import index
from typing import TYPE_CHECKING, Any, ClassVar

from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._links import Linkable, Links, LinkTargets
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.files._digests import FileDigest
from crucible_trace_otel.record.files._files import FileOperation, ModelFile
from crucible_trace_otel.record.files._sidecar import FAR, LONGEST, Sidecar
from crucible_trace_otel.record.files._sidecar_files import complete_sidecar, remove_sidecar, write_sidecar
from crucible_trace_otel.semconv import spans

if TYPE_CHECKING:
    from crucible_trace_otel.record.training import TrainingRun

__all__ = ["ModelSave", "RunSave"]


class RunSave(FileOperation):
    """Writing a file of a training run.

    Args:
        path: Its file or directory.
        attributes: Convention attributes that are known before it starts.
        of: The run whose it is.
        said: What the sidecar says beside the run; None where there is to be no sidecar.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """

    saves = True
    _of: "TrainingRun"
    without_sidecar: ClassVar[str]
    """What one warning says of the file where the sidecar cannot be written."""

    def __init__(
        self,
        path: str | os.PathLike[str],
        attributes: Mapping[str, Any],
        *,
        of: "TrainingRun",
        said: Mapping[str, Any] | None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        super().__init__(path, attributes, of=of, depends_on=depends_on, links=links)
        self._said = said

    @property
    def made_by(self) -> Linkable:
        """The run it is of."""
        return self._of

    @guarded(lambda *_: nothing)
    def _written(self, at_ns: int) -> Callable[[FileDigest], None]:
        """Leave the sidecar at once, for the process may be killed; it gets its digest when that is known."""
        if not self._path:
            return nothing
        if self._said is None:
            remove_sidecar(self._path)
            return nothing
        sidecar = self._sidecar(at_ns, self._said)
        if not write_sidecar(self._path, sidecar, self.without_sidecar):
            remove_sidecar(self._path)  # one of an earlier file would say what is not so
            return nothing

        def complete(_: FileDigest) -> None:
            if self._digest.sha256 is not None:
                complete_sidecar(self._path, sidecar, self._digest)

        return complete

    def _sidecar(self, at_ns: int, said: Mapping[str, Any]) -> Sidecar:
        run = self._of
        moment = datetime.fromtimestamp(at_ns / 1e9, timezone.utc)
        best = said.get("best")
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
            saved_by=self.operation_name,
            saved_at=moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            model_name=_text(said.get("model_name")),
            model_version=_text(said.get("model_version")),
            step=_count(said.get("step")),
            epoch=_count(said.get("epoch")),
            best=None if best is None else bool(best),
            metrics=_numbers(said.get("metrics")),
        )


class ModelSave(ModelFile, RunSave):
    """Writing a model."""

    operation_name = spans.MODEL_SAVE
    without_sidecar = "has no sidecar, so that a deployment in another process does not know the run that made it"


def _text(given: Any) -> str | None:
    """`given` as a sidecar holds it."""
    return None if given is None else printable(given)[:LONGEST] or None


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
