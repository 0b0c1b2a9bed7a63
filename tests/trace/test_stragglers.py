import json
import math
import random
from dataclasses import asdict, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_trace_otel.renderers.nested import json_value
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.trace.runs import join_runs
from crucible_trace_otel.trace.spans import Trace, group_into_traces
from crucible_trace_otel.trace.steps import step_rows
from crucible_trace_otel.trace.stragglers import stragglers
from tests.trace.builders import TraceBuilder, digits
from tests.trace.ranks import Cluster, ahead, steps_window

NODES = {0: "a", 1: "a", 2: "b", 3: "b"}


def slow(which, by=0.03, base=0.01):
    """Rank `which` takes `by` seconds longer in each step."""
    return lambda rank, step: base + by * (rank == which)


def rank_of(span):
    return span.attributes[attr.CRUCIBLE_DISTRIBUTED_RANK]


def orphaned(span, worker):
    """`span` as it is where that of the worker it belongs to is not stored: the worker's steps on a segment."""
    said = {key: value for key, value in span.attributes.items() if key != attr.CRUCIBLE_RUN_ATTEMPT}
    if span.parent_id == worker:
        return replace(span, attributes=said)
    if span.span_id != worker:
        return span
    said[attr.CRUCIBLE_OPERATION_NAME] = spans.STEP_SEGMENT
    return replace(span, span_id="f" * 16, parent_id=worker, attributes=said)


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


def test_waiting_is_also_told_by_gradients_that_were_put_together():
    cluster = trained(slow(2), together="all_reduce", nodes=NODES)
    expected = stragglers(cluster.trace())
    kept = [span for span in cluster.spans() if span.operation != spans.COLLECTIVE]
    for rank, process in cluster.processes.items():
        own = [one for one in cluster.spans() if one.operation == spans.COLLECTIVE and rank_of(one) == rank]
        waits = [one.duration_s for one in own]
        together = [(step, one.end_ns) for step, one in enumerate(own)]
        window = steps_window(together, events.GRADIENTS_AGGREGATED, wait=waits, norm=waits)
        kept = [replace(s, events=(*s.events, window)) if s.span_id == process.span_id else s for s in kept]
    (trace,) = group_into_traces(kept)
    assert stragglers(trace) == expected


def test_waiting_that_only_some_recorded_is_not_taken_off():
    cluster = trained(slow(2), together="all_reduce", barrier_every=0)
    kept = [one for one in cluster.spans() if one.operation != spans.COLLECTIVE or rank_of(one) == 0]
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
    (trace,) = group_into_traces([span for span in cluster.spans() if rank_of(span) not in (0, 3)])
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


def test_what_a_killed_rank_left_in_a_backend_is_of_the_last_attempt():
    first, second = trained(slow(1)), trained(slow(3), attempt=1, begins=50.0, together="all_reduce")
    worker = second.processes[3].span_id
    (trace,) = group_into_traces([orphaned(span, worker) for span in second.spans()])
    report = stragglers(join_runs([first.trace(), trace])[0])
    assert (report.attempt, len(report.ranks), report.straggler.rank) == (1, 4, 3)


def test_what_is_there_twice_counts_once():
    every = trained(slow(2)).spans()
    (once,), (twice,) = group_into_traces(every), group_into_traces([*every, *reversed(every)])
    assert stragglers(once) == stragglers(twice)


def test_that_two_processes_took_themselves_for_one_rank_is_said():
    cluster = trained(slow(2))
    every = cluster.spans()
    one = next(span for span in every if span.span_id == cluster.root.span_id)
    first, again = (replace(one, attributes=one.attributes | {attr.CRUCIBLE_EVENT_ID: each * 32}) for each in "ab")
    (trace,) = group_into_traces([*(span for span in every if span is not one), first, again])
    assert "2 processes took themselves for rank 0: their steps are added up." in stragglers(trace).unknown


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


ANYTHING = st.sampled_from([0, 1, 2, -1, 2**62, 2**70, 1.5, math.nan, math.inf, -3.0, "0", "", True, b"x", ("a",), {}])
SAID = st.dictionaries(
    st.sampled_from(
        [
            *(attr.CRUCIBLE_RUN_ID, attr.CRUCIBLE_RUN_ATTEMPT, attr.CRUCIBLE_RUN_STATE, attr.CRUCIBLE_CLOCK_OFFSET),
            *(attr.CRUCIBLE_DISTRIBUTED_RANK, attr.CRUCIBLE_DISTRIBUTED_WORLD_SIZE),
            *(attr.CRUCIBLE_DISTRIBUTED_NODE_RANK, attr.CRUCIBLE_TRAINING_EPOCH_INDEX),
            *(attr.CRUCIBLE_COLLECTIVE_NAME, attr.CRUCIBLE_COLLECTIVE_SEQUENCE, attr.CRUCIBLE_COLLECTIVE_WAIT),
        ]
    ),
    ANYTHING,
)
OPERATIONS = st.sampled_from([spans.TRAINING_RUN, spans.WORKER, spans.EPOCH, spans.BARRIER, spans.COLLECTIVE])
TIMES = st.integers(0, 2**64 - 1) | st.integers(0, 50)
ROWS = st.lists(
    st.tuples(st.integers(-3, 9), st.integers(-(2**63), 2**63 - 1) | st.integers(0, 50)), min_size=1, max_size=4
)
WINDOWS = ROWS.map(steps_window) | ROWS.map(
    lambda rows: steps_window(rows, events.GRADIENTS_AGGREGATED, wait=[rows[0][1] / 7] * len(rows))
)


@given(
    st.lists(st.tuples(OPERATIONS, SAID, TIMES, TIMES, st.integers(0, 8), st.lists(WINDOWS, max_size=2)), max_size=9)
)
@settings(max_examples=100, deadline=None)
def test_whatever_was_recorded_it_is_compared_or_not_and_nothing_is_raised(recorded):
    build = TraceBuilder()
    for operation, said, start, end, parent, windows in recorded:
        above = build.spans[parent] if parent < len(build.spans) else None
        span = build.add(operation, "", above, attributes=said, events=tuple(windows), resource={attr.HOST_NAME: 7})
        build.spans[-1] = replace(span, start_ns=start, end_ns=end)
    report = stragglers(Trace("0" * 32, tuple(build.spans)))
    assert report.is_comparison == bool(report.steps or report.meetings)
    assert all(one.ranks > 1 for one in report.steps)
    assert sum(rank.slowest_steps for rank in report.ranks) == len(report.steps)
    assert report.straggler is None or report.straggler in report.ranks
    json.dumps(json_value(asdict(report)))
