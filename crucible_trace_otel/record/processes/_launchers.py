"""What launchers say in the environment: which rank this process is, which run it is part of, how often it was started.

The one list of these variables. Everything here reads a mapping; what cannot be used is left out, with one warning.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from crucible_trace_otel.errors import ConfigurationError, warn_once
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["ProcessRank", "RankFound", "find_rank", "find_run_id", "process_count", "restart_count"]

Environment = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class ProcessRank:
    """Which process of a distributed run this one is, for `configure(rank=...)`.

    Args:
        rank: Among all processes of the run, from 0.
        world_size: How many they are; None where nobody knows.
        local_rank: Among those of its machine, from 0.
        node_rank: Of the machine, from 0.
        launcher: What started the processes, such as `torchrun`.
        backend: What carries their communication, such as `nccl`.

    Raises:
        ConfigurationError: A number is none, or has more than nine digits, or the rank is not below the world size.
    """

    rank: int
    world_size: int | None = None
    local_rank: int | None = None
    node_rank: int | None = None
    launcher: str | None = None
    backend: str | None = None

    def __post_init__(self) -> None:
        lowest = {"rank": 0, "world_size": 1, "local_rank": 0, "node_rank": 0}
        for name, least in lowest.items():
            value = getattr(self, name)
            if (value is not None or name == "rank") and (type(value) is not int or value < least):
                raise ConfigurationError(f"{name}={printable(value)} must be a whole number from {least} on.")
            if value is not None and value >= 10**_LONGEST:
                raise ConfigurationError(f"{name} is no number of processes: it has more than {_LONGEST} digits.")
        if self.world_size is not None and self.rank >= self.world_size:
            raise ConfigurationError(f"rank={self.rank} must be below world_size={self.world_size}: ranks begin at 0.")

    @property
    def is_one_of_many(self) -> bool:
        """Whether other processes may share the run: unless it is known that there are none."""
        return self.world_size != 1

    def attributes(self) -> dict[str, Any]:
        """As attributes of a span or a resource."""
        return {
            attr.CRUCIBLE_DISTRIBUTED_RANK: self.rank,
            attr.CRUCIBLE_DISTRIBUTED_LOCAL_RANK: self.local_rank,
            attr.CRUCIBLE_DISTRIBUTED_NODE_RANK: self.node_rank,
            attr.CRUCIBLE_DISTRIBUTED_WORLD_SIZE: self.world_size,
            attr.CRUCIBLE_DISTRIBUTED_LAUNCHER: self.launcher,
            attr.CRUCIBLE_DISTRIBUTED_BACKEND: self.backend,
        }


class RankFound(NamedTuple):
    """What the environment says."""

    rank: ProcessRank | None = None
    is_contradicted: bool = False
    """Whether something else there says otherwise."""


class _Launcher(NamedTuple):
    """How one kind of launcher names things; of several variables the first that can be used counts."""

    name: str
    rank: str
    world_size: tuple[str, ...] = ()
    local_rank: tuple[str, ...] = ()
    node_rank: tuple[str, ...] = ()


# Innermost first: where one launcher starts another, as srun starts torchrun, the inner one's processes are the ranks.
# OMPI_COMM_WORLD_NODE_RANK is no rank of a node, but one more of the process on its node.
_LAUNCHERS = (
    _Launcher("environment", "RANK", ("WORLD_SIZE",), ("LOCAL_RANK",), ("GROUP_RANK", "NODE_RANK")),
    _Launcher("horovod", "HOROVOD_RANK", ("HOROVOD_SIZE",), ("HOROVOD_LOCAL_RANK",), ("HOROVOD_CROSS_RANK",)),
    _Launcher("openmpi", "OMPI_COMM_WORLD_RANK", ("OMPI_COMM_WORLD_SIZE",), ("OMPI_COMM_WORLD_LOCAL_RANK",)),
    _Launcher("mvapich", "MV2_COMM_WORLD_RANK", ("MV2_COMM_WORLD_SIZE",), ("MV2_COMM_WORLD_LOCAL_RANK",)),
    _Launcher("pmi", "PMI_RANK", ("PMI_SIZE",), ("MPI_LOCALRANKID", "PMI_LOCAL_RANK")),
    _Launcher("jsm", "JSM_NAMESPACE_RANK", ("JSM_NAMESPACE_SIZE",), ("JSM_NAMESPACE_LOCAL_RANK",)),
    _Launcher("slurm", "SLURM_PROCID", ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"), ("SLURM_LOCALID",), ("SLURM_NODEID",)),
    _Launcher("kubernetes", "JOB_COMPLETION_INDEX"),
)
_RUN_ID = "CRUCIBLE_RUN_ID"
_TORCHRUN = "TORCHELASTIC_RUN_ID"
_UNNAMED = "none"  # what torchrun's `--rdzv-id` is where nobody gave one
_RESTART_COUNTS = ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")
_LONGEST = 9  # digits
_STEPS_OF_SLURM = 2**31  # numbers from there on are no steps but its batch script, its interactive shell


class _Said(NamedTuple):
    """What one launcher says."""

    variable: str
    launcher: str
    rank: int
    world_size: int | None
    local_rank: int | None
    node_rank: int | None


def find_rank(environment: Environment) -> RankFound:
    """The rank of a process with this environment, by the innermost launcher that names one. Never raises."""
    said = [each for launcher in _LAUNCHERS if (each := _said_by(launcher, environment)) is not None]
    if not said:
        return RankFound()
    first, *others = said
    against = [] if first.launcher == "torchrun" else [other for other in others if _contradicts(first, other)]
    for other in against:
        _warn(
            f"{first.variable}={first.rank} and {other.variable}={other.rank} contradict each other: this process is "
            f"recorded as rank {first.rank}."
        )
    known = first.world_size is None or first.rank < first.world_size
    if not known:
        _warn(
            f"{first.variable}={first.rank} is no rank among {first.world_size} processes: the rank is recorded, "
            "their number is not."
        )
    _, launcher, rank, world_size, local_rank, node_rank = first
    found = ProcessRank(rank, world_size if known else None, local_rank, node_rank, launcher)
    return RankFound(found, bool(against) or not known)


def find_run_id(environment: Environment, rank: ProcessRank | None) -> str:
    """The id of the run that this process is part of, as the environment names it; empty where it does not.

    The job of a scheduler only counts where it has started several processes: in a shell within a job one program is
    run after another. A second step of a job is a run of its own.
    """
    given = printable(environment.get(_RUN_ID, "").strip())
    of_torchrun = printable(environment.get(_TORCHRUN, "").strip())
    if given or of_torchrun.lower() not in ("", _UNNAMED):
        return given or of_torchrun
    job = environment.get("SLURM_JOB_ID", "").strip()
    if not job or rank is None or not rank.is_one_of_many:
        return ""
    task, step = (environment.get(f"SLURM_{name}_ID", "").strip() for name in ("ARRAY_TASK", "STEP"))
    later = step.isdecimal() and int(step[:_LONGEST]) > 0 and len(step) <= _LONGEST
    return printable(f"slurm-{job}{f'_{task}' if task else ''}{f'.{step}' if later else ''}")


def restart_count(environment: Environment) -> int:
    """How often the launcher has started this program again."""
    return _largest(environment, _RESTART_COUNTS)


def process_count(environment: Environment) -> int:
    """The largest number of processes that any launcher names; 0 where none does."""
    return _largest(environment, tuple(name for launcher in _LAUNCHERS for name in launcher.world_size))


def _said_by(launcher: _Launcher, environment: Environment) -> _Said | None:
    if launcher.rank not in environment or (launcher.name == "slurm" and not _is_step_of_slurm(environment)):
        return None
    rank = _number(environment, launcher.rank)
    if rank is None:
        return None
    world_size = _first(environment, launcher.world_size, least=1)
    local_rank = _first(environment, launcher.local_rank)
    name = launcher.name
    if name == "environment" and _TORCHRUN in environment:
        name, local_rank = "torchrun", _local_rank_of_torchrun(environment, rank, world_size, local_rank)
    elif name == "environment" and "RAY_JOB_ID" in environment:
        name = "ray"
    return _Said(launcher.rank, name, rank, world_size, local_rank, _first(environment, launcher.node_rank))


def _contradicts(inner: _Said, outer: _Said) -> bool:
    """Whether two launchers that speak of the same processes differ: of other numbers, one has started the other."""
    is_same = outer.world_size is not None and inner.world_size in (None, outer.world_size)
    return is_same and outer.rank != inner.rank


def _is_step_of_slurm(environment: Environment) -> bool:
    """Whether srun has started this process: a batch script has a rank too, but is no rank of anything."""
    step = environment.get("SLURM_STEP_ID", "").strip()
    return int(step) < _STEPS_OF_SLURM if _is_number(step) else environment.get("ENVIRONMENT") != "BATCH"


def _local_rank_of_torchrun(
    environment: Environment, rank: int, world_size: int | None, said: int | None
) -> int | None:
    """Counted from the ranks where all machines have as many: with `--virtual-local-rank` each process is told 0."""
    here, machines, machine = (
        _first(environment, (name,)) for name in ("LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "GROUP_RANK")
    )
    if None in (here, machines, machine) or here * machines != world_size:  # type: ignore[operator]
        return said
    return rank - machine * here if 0 <= rank - machine * here < here else said  # type: ignore[operator]


def _first(environment: Environment, names: tuple[str, ...], *, least: int = 0) -> int | None:
    numbers = (_number(environment, name, least=least) for name in names)
    return next((number for number in numbers if number is not None), None)


def _number(environment: Environment, name: str, *, least: int = 0) -> int | None:
    """A variable as a whole number; None, with one warning, where it is none."""
    said = environment.get(name, "").strip()
    if not said:
        return None
    if _is_number(said) and len(said) <= _LONGEST and int(said) >= least:
        return int(said)
    _warn(f"{name}={printable(said)[:80]!r} is no whole number from {least} on: it is ignored.")
    return None


def _is_number(said: str) -> bool:
    return said.isascii() and said.isdecimal() and len(said) <= 2 * _LONGEST


def _largest(environment: Environment, names: tuple[str, ...]) -> int:
    said = [environment.get(name, "").strip() for name in names]
    return max((int(text) for text in said if _is_number(text) and len(text) <= _LONGEST), default=0)


def _warn(message: str) -> None:
    warn_once(f"rank {message}", message)
