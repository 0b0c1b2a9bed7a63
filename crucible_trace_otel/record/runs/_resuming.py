"""How an attempt begins: as the first of a run, as a launcher's restart of it, or from a checkpoint of an earlier one.

Nothing is asked of a server or of a journal: the sidecar beside the checkpoint says which run it is of, and launchers
say in the environment how often they have started this program.
"""

import os
from collections import Counter
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._ids import RunIds, ids_of_run, new_event_id
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._values import one_line, printable
from crucible_trace_otel.record.files._files import as_text
from crucible_trace_otel.record.files._sidecar import Sidecar
from crucible_trace_otel.record.files._sidecar_files import read_sidecar, remove_unfinished, write_sidecar
from crucible_trace_otel.record.processes._launchers import ProcessRank, find_run_id, process_count, restart_count
from crucible_trace_otel.record.processes._process import process_rank
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events

__all__ = ["Beginning", "beginning_of", "claim", "count_begun", "tell_of_resuming"]

_LONGEST = 256

_begun: Counter[str] = Counter()
"""How many runs of this process have begun that have their id from the environment."""
_claimed: set[tuple[str, int]] = set()


@dataclass(frozen=True, slots=True)
class Beginning:
    """Where an attempt begins."""

    run_id: str
    attempt: int = 0
    path: str = ""
    """Of the checkpoint it goes on from; empty where there is none."""
    sidecar: Sidecar | None = None
    """Of that checkpoint, where it has one."""
    named_by: str = ""
    """What the environment calls the run, where the run has its id from there."""
    rank: ProcessRank | None = None
    """Of this process, where it has one."""
    is_shared: bool = False
    """Whether other processes record the same run: the ids of its first span are fixed then."""

    @property
    def ids(self) -> RunIds:
        """Of the trace that the processes of the run share, and of the span of rank 0 in it."""
        return ids_of_run(self.run_id, self.attempt)

    @property
    def is_worker(self) -> bool:
        """Whether another process records the span of the run itself."""
        return self.is_shared and self.rank is not None and self.rank.rank > 0

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
    run_id = None if given_id is None else _bounded(printable(given_id))
    path = _checkpoint(resume_from)
    sidecar = read_sidecar(path) if path else None
    rank = process_rank(anew=True)
    restarts = restart_count(os.environ)
    is_shared = rank is not None and rank.is_one_of_many
    if sidecar is None:
        named_by = _bounded(find_run_id(os.environ, rank)) if run_id is None else ""
        known = _counted(named_by) or run_id
        if known is None:
            _warn_of_nothing_shared(rank)
            return Beginning(new_event_id()[:16], path=path, rank=rank)
        return Beginning(known, restarts, path, None, named_by, rank, is_shared)
    attempt = max(sidecar.attempt + 1, sidecar.attempts, restarts)
    if run_id is not None and run_id != sidecar.run_id:
        warn_once(
            f"resume {path}",
            f"{path} is a checkpoint of the run {sidecar.run_id!r}; this is the run {run_id!r}, as run_id= says, "
            "linked to the other.",
        )
        attempt = restarts
    return Beginning(run_id or sidecar.run_id, attempt, path, sidecar, rank=rank, is_shared=is_shared)


def _bounded(run_id: str) -> str:
    """`run_id` as every span can carry it: the end of a very long one is its digest, the same in every process."""
    if len(run_id) <= _LONGEST:
        return run_id
    digest = sha256(run_id.encode("utf-8", "replace")).hexdigest()
    return f"{run_id[: _LONGEST - len(digest) - 1]}-{digest}"


def count_begun(beginning: Beginning) -> None:
    """A run has begun; one that the environment names only gave its name once, so that a second run is another one."""
    if beginning.named_by:
        _begun[beginning.named_by] += 1


def claim(beginning: Beginning) -> bool:
    """Whether this run may have the span id that its run id and attempt fix: the first of this process alone."""
    key = beginning.run_id, beginning.attempt
    is_first = key not in _claimed
    _claimed.add(key)
    return is_first


def _counted(name: str) -> str | None:
    """`name` for the first run of this process, `name-2` for the second: every rank counts alike."""
    before = _begun[name] if name else 0
    return f"{name}-{before + 1}" if before else name or None


def _warn_of_nothing_shared(rank: ProcessRank | None) -> None:
    if rank is not None and (rank.world_size or 0) > 1:
        warn_once(
            "shared run",
            f"This process is one of {rank.world_size}, and nothing names the run they share, so that each records a "
            "run of its own: set CRUCIBLE_RUN_ID, or give run_id=, the same on every rank.",
        )


@guarded(nothing)
def tell_of_resuming(run: Operation, beginning: Beginning) -> None:
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
    if sidecar is not None and sidecar.run_id == beginning.run_id and not _has_others(beginning):
        remove_unfinished(beginning.path)
        claimed = replace(sidecar, attempts=beginning.attempt + 1)
        write_sidecar(beginning.path, claimed, f"has a sidecar that does not know of attempt {beginning.attempt}")


def _has_others(beginning: Beginning) -> bool:
    rank = beginning.rank
    return max(process_count(os.environ), (rank.world_size if rank else None) or 0) > 1 or beginning.is_worker


def _checkpoint(given: Any) -> str:
    """The path of the checkpoint to go on from; empty where there is none yet."""
    if given is None:
        return ""
    path = as_text(given)
    if not path:
        warn_once("resume", f"resume_from={printable(given)[:80]!r} is no path; a first attempt begins.")
    return path if path and os.path.lexists(path) else ""
