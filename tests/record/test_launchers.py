"""Which process this is: what launchers put into the environment, what of it is wrong, and what contradicts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.errors import ConfigurationError
from crucible_trace_otel.record.processes import _launchers
from crucible_trace_otel.record.processes._launchers import (
    ProcessRank,
    find_rank,
    find_run_id,
    process_count,
    restart_count,
)

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "GROUP_RANK": "1",
    "LOCAL_WORLD_SIZE": "2",
    "GROUP_WORLD_SIZE": "2",
    "TORCHELASTIC_RUN_ID": "job-7",
    "TORCHELASTIC_RESTART_COUNT": "2",
}
SRUN = {
    "SLURM_PROCID": "5",
    "SLURM_STEP_NUM_TASKS": "8",
    "SLURM_NTASKS": "8",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "2",
    "SLURM_JOB_ID": "48213",
    "SLURM_STEP_ID": "0",
}
OPENMPI = {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_LOCAL_RANK": "0"}
VARIABLES = sorted(
    {
        *(each.rank for each in _launchers._LAUNCHERS),
        *(name for each in _launchers._LAUNCHERS for names in each[2:] for name in names),
        *(
            "LOCAL_WORLD_SIZE",
            "GROUP_WORLD_SIZE",
            "TORCHELASTIC_RUN_ID",
            "SLURM_STEP_ID",
            "ENVIRONMENT",
            "SLURM_JOB_ID",
        ),
        *("SLURM_ARRAY_TASK_ID", "RAY_JOB_ID", "CRUCIBLE_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
    }
)


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        ({"RANK": "", "SLURM_PROCID": " "}, None),
        (TORCHRUN, ProcessRank(3, 4, 1, 1, "torchrun")),
        (SRUN, ProcessRank(5, 8, 1, 2, "slurm")),
        ({"SLURM_PROCID": "1", "SLURM_NTASKS": "4"}, ProcessRank(1, 4, launcher="slurm")),
        (OPENMPI, ProcessRank(1, 2, 0, launcher="openmpi")),
        ({**OPENMPI, "OMPI_COMM_WORLD_NODE_RANK": "1"}, ProcessRank(1, 2, 0, launcher="openmpi")),
        (
            {"MV2_COMM_WORLD_RANK": "1", "MV2_COMM_WORLD_SIZE": "2", "MV2_COMM_WORLD_LOCAL_RANK": "1"},
            ProcessRank(1, 2, 1, launcher="mvapich"),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "2", "MPI_LOCALRANKID": "0"}, ProcessRank(1, 2, 0, launcher="pmi")),
        (
            {"HOROVOD_RANK": "6", "HOROVOD_SIZE": "8", "HOROVOD_LOCAL_RANK": "2", "HOROVOD_CROSS_RANK": "1"},
            ProcessRank(6, 8, 2, 1, "horovod"),
        ),
        (
            {"JSM_NAMESPACE_RANK": "1", "JSM_NAMESPACE_SIZE": "2", "JSM_NAMESPACE_LOCAL_RANK": "1"},
            ProcessRank(1, 2, 1, launcher="jsm"),
        ),
        ({"JOB_COMPLETION_INDEX": "2"}, ProcessRank(2, launcher="kubernetes")),
        (
            {"RANK": "0", "WORLD_SIZE": "2", "NODE_RANK": "0", "RAY_JOB_ID": "01000000"},
            ProcessRank(0, 2, None, 0, "ray"),
        ),
        ({"RANK": " 2 ", "WORLD_SIZE": "3"}, ProcessRank(2, 3, launcher="environment")),
        ({"RANK": "1"}, ProcessRank(1, launcher="environment")),
    ],
)
def test_each_launcher_says_which_process_it_is(
    environment: dict[str, str], expected: ProcessRank | None, warned: list[str]
) -> None:
    assert find_rank(environment) == (expected, False)
    assert warned == []


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({**SRUN, "SLURM_NTASKS": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_PROCID": "0", **TORCHRUN}, 3),  # a node each
        ({**SRUN, **TORCHRUN, "WORLD_SIZE": "8", "RANK": "2"}, 2),  # it numbers by itself
        ({**SRUN, "SLURM_PROCID": "0", "SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "1", **OPENMPI}, 1),
        ({**SRUN, "RANK": "5", "WORLD_SIZE": "8"}, 5),
        ({"JOB_COMPLETION_INDEX": "0", "RANK": "5", "WORLD_SIZE": "8"}, 5),
    ],
)
def test_a_launcher_that_another_one_started_is_believed_in_silence(
    environment: dict[str, str], expected: int, warned: list[str]
) -> None:
    found, is_contradicted = find_rank(environment)
    assert found is not None
    assert (found.rank, is_contradicted, warned) == (expected, False, [])


@pytest.mark.parametrize(
    ("environment", "expected", "said"),
    [
        (
            {**SRUN, "RANK": "1", "WORLD_SIZE": "8"},
            ProcessRank(1, 8, launcher="environment"),
            "RANK=1 and SLURM_PROCID=5 contradict each other: this process is recorded as rank 1.",
        ),
        (
            {**OPENMPI, "PMI_RANK": "0", "PMI_SIZE": "2"},
            ProcessRank(1, 2, 0, launcher="openmpi"),
            "OMPI_COMM_WORLD_RANK=1 and PMI_RANK=0 contradict each other: this process is recorded as rank 1.",
        ),
        (
            {"RANK": "4", "WORLD_SIZE": "4"},
            ProcessRank(4, launcher="environment"),
            "RANK=4 is no rank among 4 processes: the rank is recorded, their number is not.",
        ),
    ],
)
def test_of_what_contradicts_the_first_is_taken_and_it_is_said_once(
    environment: dict[str, str], expected: ProcessRank, said: str, warned: list[str]
) -> None:
    assert find_rank(environment) == find_rank(environment) == (expected, True)
    assert warned == [said]


@pytest.mark.parametrize("wrong", ["three", "-1", "1.0", "٣", "1e3", "0x1", "9" * 30])
def test_a_variable_that_is_no_number_is_ignored_with_a_warning(wrong: str, warned: list[str]) -> None:
    environment = {"RANK": wrong, "WORLD_SIZE": "4", **OPENMPI, "OMPI_COMM_WORLD_LOCAL_RANK": wrong}
    assert find_rank(environment) == find_rank(environment) == (ProcessRank(1, 2, launcher="openmpi"), False)
    assert warned == [
        f"RANK={wrong!r} is no whole number from 0 on: it is ignored.",
        f"OMPI_COMM_WORLD_LOCAL_RANK={wrong!r} is no whole number from 0 on: it is ignored.",
    ]


def test_no_processes_at_all_are_no_world(warned: list[str]) -> None:
    assert find_rank({"RANK": "0", "WORLD_SIZE": "0"}).rank == ProcessRank(0, launcher="environment")
    assert warned == ["WORLD_SIZE='0' is no whole number from 1 on: it is ignored."]


def test_a_virtual_local_rank_is_not_believed() -> None:
    told_zero = {**TORCHRUN, "LOCAL_RANK": "0"}
    assert find_rank(told_zero).rank == ProcessRank(3, 4, 1, 1, "torchrun")
    unequal = {**told_zero, "WORLD_SIZE": "5"}  # machines with different numbers of processes
    assert find_rank(unequal).rank == ProcessRank(3, 5, 0, 1, "torchrun")


@pytest.mark.parametrize(
    "more", [{"ENVIRONMENT": "BATCH"}, {"SLURM_STEP_ID": "4294967291"}, {"SLURM_STEP_ID": "4294967290"}]
)
def test_a_batch_script_of_slurm_is_no_rank_of_its_job(more: dict[str, str]) -> None:
    batch = {"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "1", **more}
    assert find_rank(batch).rank is None
    assert find_rank({**batch, "SLURM_STEP_ID": "0", "ENVIRONMENT": "BATCH"}).rank is not None


@pytest.mark.parametrize(
    ("environment", "world_size", "expected"),
    [
        ({}, 4, ""),
        ({"CRUCIBLE_RUN_ID": " digits-1 "}, None, "digits-1"),
        ({"CRUCIBLE_RUN_ID": "digits-1", **TORCHRUN, **SRUN}, 4, "digits-1"),
        (TORCHRUN, 4, "job-7"),
        (TORCHRUN, 1, "job-7"),
        ({"TORCHELASTIC_RUN_ID": "none"}, 4, ""),
        ({"TORCHELASTIC_RUN_ID": "none", "SLURM_JOB_ID": "9"}, 4, "slurm-9"),
        (SRUN, 8, "slurm-48213"),
        ({**SRUN, "SLURM_STEP_ID": "2"}, 8, "slurm-48213.2"),
        ({**SRUN, "SLURM_ARRAY_TASK_ID": "17"}, 8, "slurm-48213_17"),
        (SRUN, 1, ""),  # one program after another in a shell of the job
        (SRUN, None, ""),
    ],
)
def test_a_run_is_called_as_its_launcher_calls_it(
    environment: dict[str, str], world_size: int | None, expected: str
) -> None:
    rank = None if world_size is None else ProcessRank(0, world_size)
    assert find_run_id(environment, rank) == expected


def test_counts_are_the_largest_that_is_said() -> None:
    assert (restart_count({}), process_count({})) == (0, 0)
    assert restart_count({**TORCHRUN, "SLURM_RESTART_COUNT": "x"}) == 2
    assert process_count({**TORCHRUN, **SRUN}) == 8


@pytest.mark.parametrize(
    "arguments",
    [(-1,), (1.0,), (True,), ("3",), (None,), (4, 4), (0, 0), (0, 1, -1), (0, 1, 0, "node"), (10**9,), (0, 10**400)],
    ids=range(11),
)
def test_a_rank_by_hand_is_checked(arguments: tuple[object, ...]) -> None:
    with pytest.raises(ConfigurationError, match=r"rank|world_size"):
        ProcessRank(*arguments)  # type: ignore[arg-type]


@given(st.dictionaries(st.sampled_from(VARIABLES), st.one_of(st.integers(0, 9).map(str), st.text(max_size=12))))
def test_no_environment_raises_or_gives_a_rank_that_is_none(environment: dict[str, str]) -> None:
    found, is_contradicted = find_rank(environment)
    if found is None:
        assert not is_contradicted
    else:
        assert found.rank >= 0
        assert found.world_size is None or found.rank < found.world_size
    assert isinstance(find_run_id(environment, found), str)
    assert restart_count(environment) >= 0
    assert process_count(environment) >= 0


@given(st.integers(1, 64), st.integers(1, 8), st.data())
def test_every_process_of_torchrun_is_found_where_it_is(machines: int, here: int, data: st.DataObject) -> None:
    machine, local = data.draw(st.integers(0, machines - 1)), data.draw(st.integers(0, here - 1))
    environment = {
        "RANK": f"{machine * here + local}",
        "WORLD_SIZE": f"{machines * here}",
        "GROUP_RANK": f"{machine}",
        "LOCAL_RANK": data.draw(st.sampled_from(["0", f"{local}"])),
        "LOCAL_WORLD_SIZE": f"{here}",
        "GROUP_WORLD_SIZE": f"{machines}",
        "TORCHELASTIC_RUN_ID": "x",
    }
    expected = ProcessRank(machine * here + local, machines * here, local, machine, "torchrun")
    assert find_rank(environment) == (expected, False)
