import json
from dataclasses import replace

import pytest

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.trace.spans import group_into_traces
from tests.cli.running import crucible_trace
from tests.store.stored import write
from tests.trace.builders import digits
from tests.trace.ranks import Cluster, ahead


def recorded():
    cluster = Cluster(
        lambda rank, step: 0.01 + 0.031 * (rank == 2),
        clocks={1: ahead(-3.0), 2: ahead(250.0, 1e-3), 3: ahead(0.5)},
        nodes={0: "a", 1: "a", 2: "b", 3: "b"},
    )
    for step in range(100):
        cluster.step(step, together="all_reduce")
        if step % 10 == 9:
            cluster.meet()
    return cluster


@pytest.fixture
def journals(tmp_path):
    """One for each rank."""
    spans = recorded().spans()
    return [
        str(write(tmp_path / f"rank {rank}", group_into_traces(of_rank)))
        for rank in range(4)
        for of_rank in [[span for span in spans if span.attributes[attr.CRUCIBLE_DISTRIBUTED_RANK] == rank]]
    ]


def each(journals):
    return [argument for journal in journals for argument in ("--journal", journal)]


def test_the_straggler_is_named_plainly_from_the_journals_of_all_ranks(journals):
    told = crucible_trace("stragglers", "r", *each(journals))
    assert (told.exit_code, told.stderr) == (0, "")
    assert "rank 2 on node b was slowest in 99 of 99 steps, by 31 ms at the median; the others waited 9.3 s" in (
        told.stdout
    )
    assert "What cannot be known" not in told.stdout


def test_the_same_for_programs(journals):
    told = json.loads(crucible_trace("stragglers", "--json", *each(journals), *each(journals[:1])).stdout)
    assert (told["straggler"], told["slow_node"], len(told["steps"])) == (2, "b", 99)
    assert told["clocks"][1]["offset_s"] == pytest.approx(-3, abs=1e-4)
    assert told["clocks"][2]["drift"] == pytest.approx(1e-3, rel=0.01)


def test_one_journal_alone_is_no_comparison(journals):
    told = crucible_trace("stragglers", env={"CRUCIBLE_JOURNAL": journals[2]})
    assert (told.exit_code, told.stdout) == (1, "")
    assert told.stderr.startswith("The run has 4 ranks; nothing that ranks 0, 1 and 3 recorded is here.\n")


def test_a_path_without_a_journal_is_an_error(journals, tmp_path):
    told = crucible_trace("stragglers", *each(journals), "--journal", tmp_path / "none")
    assert (told.exit_code, told.stdout) == (2, "")
    assert str(tmp_path / "none") in told.stderr


def test_nobody_is_named_where_none_stands_out_but_who_was_last(tmp_path):
    cluster = Cluster(lambda rank, step: 0.01 + 0.0001 * ((rank + step) % 4))
    for steps in (range(20), range(0)):
        cluster.true[0] += 0.2
        cluster.meet()
        for step in steps:
            cluster.step(step)
    told = crucible_trace("stragglers", "--journal", write(tmp_path / "j", [cluster.trace()]))
    assert "no rank stands out" in told.stdout
    assert "rank 0 was last at 2 of 2 barriers and collectives; the others waited" in told.stdout


def test_a_slow_node_is_named(tmp_path):
    cluster = Cluster(lambda rank, step: 0.01 + 0.01 * (rank > 1), nodes={0: "a", 1: "a", 2: "b", 3: "b"})
    for step in range(20):
        cluster.step(step)
    told = crucible_trace("stragglers", "--journal", write(tmp_path / "j", [cluster.trace()]))
    assert "no rank alone makes the steps a tenth longer, but node b does:" in told.stdout


def test_what_a_host_is_called_cannot_move_the_cursor(tmp_path):
    spans = [replace(span, resource={attr.HOST_NAME: "\x1b[2J\nb"}) for span in recorded().spans()]
    told = crucible_trace("stragglers", "--journal", write(tmp_path / "j", group_into_traces(spans)))
    assert told.exit_code == 0
    assert "\x1b" not in told.stdout


def test_other_readers_take_several_journals_too(journals):
    assert crucible_trace("list", *each(journals)).stdout.count("\n") == 2
    assert crucible_trace("steps", *each(journals)).stdout.count("\n") == 401
    refused = crucible_trace("show", "--follow", *each(journals))
    assert (refused.exit_code, "--follow reads one journal" in refused.stderr) == (2, True)
    assert crucible_trace("stragglers", "--journal", "x", env={"COLUMNS": "80"}).exit_code == 2


def test_a_run_of_one_process_has_nothing_to_compare(tmp_path):
    told = crucible_trace("stragglers", "--json", "--journal", write(tmp_path / "j", [digits()]))
    assert told.exit_code == 1
    assert json.loads(told.stdout)["straggler"] is None


def test_show_draws_the_steps_and_tells_the_epochs_of_one_rank(tmp_path):
    cluster = recorded()
    for rank, process in cluster.processes.items():
        said = {
            attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 0,
            attr.CRUCIBLE_DISTRIBUTED_RANK: rank,
            attr.CRUCIBLE_TRAINING_LOSS_VALUE: rank / 4,
        }
        cluster.build.add(spans.EPOCH, "epoch 0", process, 100, 0.5, attributes=said)
    journal = write(tmp_path / "j", [cluster.trace()])
    shown = crucible_trace("show", "--journal", journal).stdout
    assert 'training_run "r"  1m 40s  rank 0\n' in shown
    assert 'worker "r"  1m 40s  rank 1\n' in shown
    assert shown.endswith("\nEpochs\n  epoch 0  loss 0  500 ms\n")
    whole = crucible_trace("show", "--all", "--journal", journal).stdout
    assert whole.count("epoch 0  loss") == 4
