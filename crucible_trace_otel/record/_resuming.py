"""How an attempt begins: as the first of a run, as a launcher's restart of it, or from a checkpoint of an earlier one.

Nothing is asked of a server or of a journal: the sidecar beside the checkpoint says which run it is of, and launchers
say in the environment how often they have started this program.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._files import as_text
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._ids import new_event_id
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._sidecar import Sidecar
from crucible_trace_otel.record._sidecar_files import read_sidecar, remove_unfinished, write_sidecar
from crucible_trace_otel.record._values import one_line, printable
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events

if TYPE_CHECKING:
    from crucible_trace_otel.record.training import TrainingRun

__all__ = ["Beginning", "beginning_of", "tell_of_resuming"]

_RESTART_COUNTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
_PROCESS_COUNTS = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
_LONGEST = 9  # digits


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where an attempt begins."""

    run_id: str
    attempt: int = 0
    path: str = ""
    """Of the checkpoint it goes on from; empty where there is none."""
    sidecar: Sidecar | None = None
    """Of that checkpoint, where it has one."""

    @property
    def next_step(self) -> int:
        """The index of its first step."""
        return 0 if self.sidecar is None or self.sidecar.step is None else self.sidecar.step + 1

    @property
    def next_epoch(self) -> int:
        """The index of its first epoch."""
        return 0 if self.sidecar is None or self.sidecar.epoch is None else self.sidecar.epoch + 1

    @property
    def earlier(self) -> Recorded | None:
        """The attempt it goes on from, to link to."""
        return None if self.sidecar is None else self.sidecar.run()

    def attributes(self) -> dict[str, Any]:
        """What the `training_run` span says of it from its start on."""
        before = None if self.sidecar is None else self.sidecar.run_trace_id
        return {attr.CRUCIBLE_RUN_ATTEMPT: self.attempt, attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID: before}


@guarded(lambda given_id, _: Beginning(new_event_id()[:16] if given_id is None else printable(given_id)))
def beginning_of(given_id: Any, resume_from: Any) -> Beginning:
    """Where an attempt begins that was given this run id (or None), and this checkpoint to go on from (or None)."""
    run_id = None if given_id is None else printable(given_id)
    path = _checkpoint(resume_from)
    sidecar = read_sidecar(path) if path else None
    restarts = _largest(_RESTART_COUNTS)
    if sidecar is None:
        if run_id is None:
            return Beginning(new_event_id()[:16], path=path)
        return Beginning(run_id, restarts, path)
    if run_id is not None and run_id != sidecar.run_id:
        warn_once(
            f"resume {path}",
            f"{path} is a checkpoint of the run {sidecar.run_id!r}; this is the run {run_id!r}, as run_id= says, "
            "linked to the other.",
        )
        return Beginning(run_id, restarts, path, sidecar)
    return Beginning(sidecar.run_id, max(sidecar.attempt + 1, sidecar.attempts, restarts), path, sidecar)


@guarded(nothing)
def tell_of_resuming(run: "TrainingRun", beginning: Beginning) -> None:
    """Say on the span of `run`, which has started, what it goes on from; and in the sidecar that it has its number."""
    sidecar = beginning.sidecar
    if not (beginning.path and run.is_recording):
        return
    told = {
        attr.CRUCIBLE_ABOUT: one_line(f"attempt {beginning.attempt} from {beginning.path}"),
        attr.CRUCIBLE_CHECKPOINT_PATH: beginning.path,
        **beginning.attributes(),
    }
    if sidecar is not None:
        told[attr.CRUCIBLE_CHECKPOINT_STEP] = sidecar.step
        told[attr.CRUCIBLE_CHECKPOINT_EPOCH] = sidecar.epoch
    emit_event(run, events.TRAINING_RESUMED, told)
    # Ranks of one run agree on its number without a word, so none of them may change what the others read.
    if sidecar is not None and sidecar.run_id == beginning.run_id and _largest(_PROCESS_COUNTS) <= 1:
        remove_unfinished(beginning.path)
        claimed = replace(sidecar, attempts=beginning.attempt + 1)
        write_sidecar(beginning.path, claimed, f"has a sidecar that does not know of attempt {beginning.attempt}")


def _checkpoint(given: Any) -> str:
    """The path of the checkpoint to go on from; empty where there is none yet."""
    if given is None:
        return ""
    path = as_text(given)
    if not path:
        warn_once("resume", f"resume_from={printable(given)[:80]!r} is no path; a first attempt begins.")
    return path if path and os.path.lexists(path) else ""


def _largest(names: tuple[str, ...], environment: Mapping[str, str] = os.environ) -> int:
    """The largest number that one of these variables has; 0 where none has any."""
    said = [environment.get(name, "").strip() for name in names]
    return max((int(text) for text in said if text.isdecimal() and len(text) <= _LONGEST), default=0)
