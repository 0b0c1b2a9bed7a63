"""`configure()` in a process with a rank: given by hand, on the resource, and with a provider of somebody else."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.id_generator import IdGenerator

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.accounting import examine
from crucible_trace_otel.record._ids import ids_of_run
from crucible_trace_otel.semconv import attributes as attr

if TYPE_CHECKING:
    from tests.backends.sink import Sink


class Counting(IdGenerator):
    """Ids that somebody else chose."""

    last = 0

    def generate_span_id(self) -> int:
        self.last += 1
        return self.last

    def generate_trace_id(self) -> int:
        return 2**100 + self.generate_span_id()


def recorded_resource(**configured: object) -> dict[str, object]:
    crucible.configure(journal=False, **configured)  # type: ignore[arg-type]
    with crucible.training_run("digits", run_id="r") as run:
        pass
    return dict(run.span.resource.attributes)  # type: ignore[attr-defined]


def test_a_rank_by_hand_is_said_by_the_resource_and_by_each_span() -> None:
    rank = crucible.ProcessRank(3, 8, node_rank=1, launcher="my own")
    resource = recorded_resource(rank=rank)
    assert {key: value for key, value in resource.items() if "distributed" in key or "host" in key} == {
        attr.CRUCIBLE_DISTRIBUTED_RANK: 3,
        attr.CRUCIBLE_DISTRIBUTED_WORLD_SIZE: 8,
        attr.CRUCIBLE_DISTRIBUTED_NODE_RANK: 1,
        attr.CRUCIBLE_DISTRIBUTED_LAUNCHER: "my own",
        attr.HOST_NAME: socket.gethostname(),
    }
    with crucible.stage("s") as stage:
        assert stage.span.attributes[attr.CRUCIBLE_DISTRIBUTED_RANK] == 3  # type: ignore[attr-defined]


def test_what_somebody_says_of_the_machine_counts_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "host.name=from-the-variable")
    rank = crucible.ProcessRank(0, 2)
    assert recorded_resource(rank=rank)[attr.HOST_NAME] == "from-the-variable"
    named = recorded_resource(rank=rank, resource_attributes={"host.name": "given"})
    assert named[attr.HOST_NAME] == "given"


def test_a_launcher_is_believed_unless_it_is_said_that_it_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert recorded_resource()[attr.CRUCIBLE_DISTRIBUTED_RANK] == 1
    assert recorded_resource(rank=crucible.ProcessRank(0, 1))[attr.CRUCIBLE_DISTRIBUTED_RANK] == 0
    assert attr.CRUCIBLE_DISTRIBUTED_RANK not in recorded_resource(rank=False)
    assert attr.HOST_NAME not in recorded_resource(rank=False)
    with crucible.training_run("digits", run_id="r") as run:
        assert run.rank is None
        assert run.operation_name == "training_run"
    assert recorded_resource()[attr.CRUCIBLE_DISTRIBUTED_RANK] == 1


@pytest.mark.parametrize("wrong", [3, "3", True, (3, 8)])
def test_a_rank_that_is_none_is_refused_and_the_way_out_is_named(wrong: object) -> None:
    with pytest.raises(crucible.ConfigurationError, match=r"crucible.ProcessRank\(3, world_size=8\)"):
        crucible.configure(journal=False, rank=wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("generator", [None, Counting()])
def test_ranks_join_with_a_provider_of_somebody_else_too(generator: IdGenerator | None) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(id_generator=generator, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    for rank in (0, 1):
        crucible.configure(journal=False, tracer_provider=provider, rank=crucible.ProcessRank(rank, 2))
        with crucible.training_run("digits", run_id="joined"):
            pass
    run, worker = exporter.get_finished_spans()
    assert (run.context.trace_id, run.context.span_id) == ids_of_run("joined")
    assert worker.parent is not None
    assert (worker.parent.trace_id, worker.parent.span_id) == ids_of_run("joined")
    if generator is not None:
        assert worker.context.span_id == generator.last  # type: ignore[attr-defined]
    with provider.get_tracer("theirs").start_as_current_span("theirs") as theirs:
        assert theirs.get_span_context().trace_id != run.context.trace_id


@pytest.mark.parametrize("choice", ["one", "node", "all", "nonsense"])
def test_a_rank_that_is_not_sent_is_kept_and_its_errors_are_sent(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, warned: list[str], choice: str
) -> None:
    monkeypatch.setenv("CRUCIBLE_EXPORT_RANKS", choice)
    handle = crucible.configure(
        service_name="trainer",
        journal="j",
        endpoint=f"http://127.0.0.1:{sink.http_port}",
        ship="thread",
        rank=crucible.ProcessRank(1, 2, local_rank=1),
    )
    with crucible.training_run("digits", run_id="r") as run:
        for epoch in run.epochs(3):
            epoch.record_step(loss=0.5)
        with pytest.raises(ValueError, match="boom"), crucible.stage("fails"):
            raise ValueError("boom")
    report = handle.flush(30)
    assert report
    withheld = {"epoch"} if choice in ("one", "node") else set()
    kept = [span.name for trace in crucible.open_store("j").traces() for span in trace.spans]
    assert sorted(kept) == ["epoch", "epoch", "epoch", "stage fails", "worker"]
    sent = {span.name for span in sink.spans()}
    assert sent == {"epoch", "stage fails", "worker", "worker_started"} - withheld
    assert report.withheld == 3 * len(withheld)
    assert report.acknowledged + report.withheld == report.recorded
    (account,) = examine(Path("j")).by_run()
    assert (account.stored, account.sent, account.held) == (report.withheld, report.acknowledged, 0)
    crucible.shutdown()
    assert bool(warned) == (choice == "nonsense")
