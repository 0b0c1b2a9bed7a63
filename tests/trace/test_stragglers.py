import random
from dataclasses import replace

import pytest

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.trace.runs import join_runs
from crucible_trace_otel.trace.spans import Trace, group_into_traces
from crucible_trace_otel.trace.steps import step_rows
from crucible_trace_otel.trace.stragglers import stragglers
from tests.trace.builders import digits
from tests.trace.ranks import Cluster, ahead

NODES = {0: "a", 1: "a", 2: "b", 3: "b"}


def slow(which, by=0.03, base=0.01):
    """Rank `which` takes `by` seconds longer in each step."""
    return lambda rank, step: base + by * (rank == which)


def trained(work, steps=20, together=None, barrier_every=5, **more):
    cluster = Cluster(work, **more)
    for step in range(steps):
        cluster.step(step, together=together)
        if barrier_every and (step + 1) % barrier_every == 0:
            cluster.meet()
    return cluster


@pytest.mark.parametrize("together", [None, "all_reduce"])
def test_the_slow_rank_is_named_with_what_it_cost(together):
    report = stragglers(trained(slow(2), together=together, nodes=NODES).trace())
    straggler = report.straggler
    assert (straggler.rank, straggler.node, straggler.slowest_steps, len(report.steps)) == (2, "b", 19, 19)
    assert straggler.behind_s == pytest.approx(0.03, abs=1e-4)
    assert straggler.slowdown == pytest.approx(4, abs=0.02)
    assert straggler.lost_s == pytest.approx(3 * 20 * 0.03, abs=0.01)
    assert [rank.last_arrivals for rank in report.ranks] == [0, 0, 20 if together else 4, 0]
    assert report.slow_node.node == "b"
    assert [(stretch.rank, stretch.steps) for stretch in report.stretches] == [(2, 2)] * 9 + [(2, 1)]


def test_without_what_ranks_waited_each_step_takes_all_of_them_as_long_and_that_is_said():
    cluster = trained(slow(2), together="all_reduce", barrier_every=0)
    silent = [span for span in cluster.spans() if span.operation != spans.COLLECTIVE]
    (trace,) = group_into_traces(silent)
    report = stragglers(trace)
    assert report.straggler is None
    assert len(report.steps) == 19
    assert any(sentence.startswith("No waiting inside steps is recorded") for sentence in report.unknown)


def test_waiting_that_only_some_recorded_is_not_taken_off():
    cluster = trained(slow(2), together="all_reduce", barrier_every=0)
    rank = attr.CRUCIBLE_DISTRIBUTED_RANK
    kept = [one for one in cluster.spans() if one.operation != spans.COLLECTIVE or one.attributes[rank] == 0]
    (trace,) = group_into_traces(kept)
    report = stragglers(trace)
    assert report.straggler is None
    assert report.meetings == 0


def test_a_rank_that_is_slow_now_and_then_is_named_too():
    report = stragglers(trained(lambda rank, step: 0.01 + (rank == 1 and step % 10 == 5) * 0.5, 40).trace())
    assert (report.straggler.rank, report.straggler.slowdown > 4) == (1, True)


def test_nobody_is_named_where_all_are_alike():
    noise = random.Random(7)
    report = stragglers(trained(lambda rank, step: 0.01 * noise.uniform(0.98, 1.02), 100).trace())
    assert report.straggler is None
    assert report.slow_node is None
    assert sum(rank.slowest_steps for rank in report.ranks) == len(report.steps) == 99


def test_two_equally_slow_ranks_of_a_node_are_named_as_the_node():
    report = stragglers(trained(lambda rank, step: 0.01 + 0.02 * (rank > 1), nodes=NODES).trace())
    assert report.straggler is None
    assert (report.slow_node.node, report.slow_node.ranks) == ("b", (2, 3))
    assert report.slow_node.slowdown == pytest.approx(3, abs=0.01)


def test_it_is_told_over_time_who_was_slow():
    report = stragglers(trained(lambda rank, step: 0.01 + 0.02 * (rank == (step >= 50)), 101).trace())
    assert [(stretch.first_step, stretch.last_step, stretch.rank) for stretch in report.stretches] == [
        (first, first + 9, first > 45) for first in range(1, 101, 10)
    ]


def test_a_step_that_ends_long_after_it_began_because_a_validation_came_between_is_the_epochs():
    """What a rank does between epochs is not in its steps, and shows at the barrier behind it."""
    cluster = Cluster(slow(2, 0.001), 2)
    for epoch in range(3):
        for rank, process in cluster.processes.items():
            said = {**process.attributes, attr.CRUCIBLE_TRAINING_EPOCH_INDEX: epoch}
            cluster.build.add(spans.EPOCH, f"epoch {epoch}", process, cluster.true[rank], 0.2, attributes=said)
        for step in range(4):
            cluster.step(4 * epoch + step)
        cluster.true[0] += 0.5
        cluster.meet()
    report = stragglers(cluster.trace())
    assert max(one.took_s for one in report.steps if one.step % 4) == pytest.approx(0.01, abs=1e-4)
    assert report.ranks[0].last_arrivals == 3
    assert report.ranks[0].lost_s == pytest.approx(1.5, abs=1e-3)


def test_a_rank_that_died_half_way_is_compared_as_far_as_it_came():
    cluster = Cluster(slow(2))
    for step in range(20):
        if step == 10:
            cluster.stop(3)
        cluster.step(step)
        cluster.meet()
    dead = cluster.processes[3].span_id
    interrupted = [
        replace(span, attributes={**span.attributes, attr.CRUCIBLE_RUN_STATE: RunState.INTERRUPTED})
        if span.span_id == dead
        else span
        for span in cluster.spans()
    ]
    (trace,) = group_into_traces(interrupted)
    report = stragglers(trace)
    assert (report.straggler.rank, report.ranks[3].last_step, report.ranks[3].is_interrupted) == (2, 9, True)
    assert [one.ranks for one in report.steps] == [4] * 9 + [3] * 10
    assert "Rank 3 recorded steps until 9, others until 19: its process died." in report.unknown


def test_a_rank_of_which_nothing_is_here_is_named_as_missing():
    cluster = trained(slow(2))
    rank = attr.CRUCIBLE_DISTRIBUTED_RANK
    (trace,) = group_into_traces([span for span in cluster.spans() if span.attributes[rank] not in (0, 3)])
    report = stragglers(trace)
    assert report.straggler.rank == 2
    assert "The run has 4 ranks; nothing that ranks 0 and 3 recorded is here." in report.unknown
    assert {clock.reference for clock in report.clocks} == {1}


@pytest.mark.parametrize("trace", [digits(), trained(slow(0), ranks=1).trace(), Trace("0" * 32, ())])
def test_one_rank_alone_is_no_comparison(trace):
    report = stragglers(trace)
    assert (report.is_comparison, report.straggler, report.slow_node) == (False, None, None)


def test_the_last_attempt_that_can_be_compared_is_told():
    first, second = trained(slow(1)), trained(slow(3), attempt=1, begins=50.0)
    report = stragglers(join_runs([first.trace(), second.trace()])[0])
    assert (report.attempt, report.straggler.rank, len(report.steps)) == (1, 3, 19)
    alone = Cluster(slow(0), 1, attempt=1, begins=50.0)
    alone.step(20)
    report = stragglers(join_runs([first.trace(), alone.trace()])[0])
    assert (report.attempt, report.straggler.rank) == (0, 1)


def test_what_is_there_twice_counts_once():
    every = trained(slow(2)).spans()
    (once,), (twice,) = group_into_traces(every), group_into_traces([*every, *reversed(every)])
    assert stragglers(once) == stragglers(twice)


def test_a_clock_that_was_set_back_costs_one_step():
    cluster = trained(slow(2), barrier_every=0)
    cluster.rows[1] = [(step, time_ns - (step >= 10) * 3_600_000_000_000) for step, time_ns in cluster.rows[1]]
    report = stragglers(cluster.trace())
    assert [one.ranks for one in report.steps if one.ranks != 4] == [3]
    assert report.straggler.rank == 2


def test_a_broadcast_is_left_before_others_come_and_says_nothing():
    cluster = Cluster(slow(2))
    for step in range(3):
        cluster.step(step)
        cluster.meet("broadcast")
    assert stragglers(cluster.trace()).meetings == 0


def test_a_recorded_wait_is_believed_more_than_the_length_of_the_operation():
    cluster = Cluster(slow(2), 2)
    cluster.step(0)
    cluster.meet(**{attr.CRUCIBLE_COLLECTIVE_WAIT: 0.25})
    assert [rank.waited_s for rank in stragglers(cluster.trace()).ranks] == [0.25, 0.25]


def test_the_rows_of_ranks_are_kept_apart():
    cluster = trained(slow(2), 3, ranks=2)
    steps = step_rows(cluster.trace())
    assert [(one.rank, list(one.rows)) for one in steps.attempts] == [(0, [0, 1, 2]), (1, [3, 4, 5])]
    assert list(steps.series["step"].values) == [0, 1, 2, 0, 1, 2]
    assert steps.latest() is steps


def test_skewed_clocks_change_nothing_but_the_clocks():
    straight = stragglers(trained(slow(2)).trace())
    skewed = stragglers(trained(slow(2), clocks={1: ahead(-400.0), 2: ahead(3.5), 3: ahead(1e6)}).trace())
    assert skewed.straggler.rank == 2
    assert skewed.straggler.lost_s == pytest.approx(straight.straggler.lost_s, abs=1e-3)
    assert [one.rank for one in skewed.steps] == [one.rank for one in straight.steps]
