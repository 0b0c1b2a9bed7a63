"""A run of three ranks, each on a machine, with a journal and with a clock of its own; all send to one Collector."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING

from crucible_trace_otel.store import open_store
from crucible_trace_otel.trace.runs import join_runs
from crucible_trace_otel.trace.spans import group_into_traces, without_markers
from crucible_trace_otel.trace.stragglers import stragglers
from tests.backends.collector import REPOSITORY, SHIPPED_FILES, Collector
from tests.backends.demo import JOURNAL, finish, nobody_sends, read_back
from tests.backends.namespaces import Machines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from crucible_trace_otel.trace.clocks import ClockOffset
    from tests.backends.sink import Sink

RANKS, SLOW, EPOCHS, STEPS = 3, 1, 8, 5
SKEWS = {0: (5.0, 0.0), 1: (-400.0, 0.02), 2: (0.75, 0.0)}
"""By how many seconds each clock is ahead, and by how many more each second."""


@contextmanager
def meeting_place(address: str) -> Iterator[int]:
    """The port where each of the ranks waits until all have come."""
    with socket.create_server((address, 0)) as server:
        server.settimeout(60)

        def serve() -> None:
            with suppress(OSError), ExitStack() as opened:  # one that has died ends it for all
                ranks = [opened.enter_context(server.accept()[0]) for _ in range(RANKS)]
                while all(rank.recv(1) for rank in ranks):
                    for rank in ranks:
                        rank.sendall(b".")

        threading.Thread(target=serve, name="meeting-place", daemon=True).start()
        yield server.getsockname()[1]


def start_all(machines: Machines, folder: Path, endpoint: str, port: int, since: int) -> list[str]:
    """Run all ranks; what they printed."""
    processes = []
    for rank, (offset, drift) in SKEWS.items():
        place = folder / f"rank-{rank}"
        place.mkdir()
        its = {
            "RANK": str(rank),
            "WORLD_SIZE": str(RANKS),
            "LOCAL_RANK": "0",
            "GROUP_RANK": str(rank),
            "RUN": "apart",
            "WORK": "0.02" if rank == SLOW else "0.002",
            "MEETING": f"{machines.address}:{port}",
            "SKEW": f"{offset} {drift} {since}",
            "PYTHONPATH": str(REPOSITORY),
            "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf",
            "CRUCIBLE_SHIP_LINGER": "60",
            "CRUCIBLE_CONSOLE": "0",
        }
        program = [sys.executable, str(REPOSITORY / "tests/backends/rank.py")]
        processes.append(machines.start(f"node-{rank}", program, place, {**os.environ, **its}))
    return [finish(process) for process in processes]


def ahead_of_rank_0(clock: ClockOffset, since: int) -> float:
    """By how much the clock really is ahead, at the time of the estimate."""
    offset, drift = SKEWS[clock.rank]
    base, _ = SKEWS[0]
    return offset - base + drift * ((clock.at_ns - since) / 1e9 - base)


def test_ranks_on_machines_of_their_own_are_one_run_whose_straggler_is_named(
    collector: Path, sink: Sink, tmp_path: Path
) -> None:
    shipped = SHIPPED_FILES[0]
    since = time.time_ns()
    folders = [tmp_path / f"rank-{rank}" for rank in range(RANKS)]
    with Machines() as machines, meeting_place(machines.address) as port:
        endpoints = {"otlp_grpc/jaeger": sink.grpc_endpoint}
        with Collector(collector, shipped, tmp_path, endpoints, machines.address) as running:
            start_all(machines, tmp_path, running.endpoint("http/protobuf"), port, since)
            (stored,) = open_store(*(folder / JOURNAL for folder in folders)).traces()
            assert sink.wait_for_spans(len(stored.spans)), running.log
        assert all(map(nobody_sends, folders))
    (arrived,) = join_runs(group_into_traces(without_markers([read_back(each) for each in sink.received()])))
    assert [(root.operation, root.about) for root in arrived.roots] == [("training_run", "in namespaces")]
    assert [one.operation for one in arrived.children[arrived.roots[0].span_id]].count("worker") == RANKS - 1
    assert {span.span_id for span in arrived.spans} == {span.span_id for span in stored.spans}

    report = stragglers(arrived)
    assert report == stragglers(stored)
    assert [(rank.rank, rank.node, rank.steps) for rank in report.ranks] == [
        (rank, f"node-{rank}", EPOCHS * STEPS) for rank in range(RANKS)
    ]
    assert report.straggler is not None
    assert (report.straggler.rank, report.world_size, report.unknown) == (SLOW, RANKS, ())
    assert report.meetings == EPOCHS * (STEPS + 1)
    for clock in report.clocks[1:]:
        assert clock.bound_s is not None
        assert clock.offset_s is not None
        assert abs(clock.offset_s - ahead_of_rank_0(clock, since)) <= clock.bound_s + 0.02
