import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.trace.stragglers import stragglers
from tests.trace.builders import START_NS
from tests.trace.ranks import Cluster, ahead


def clocks_of(cluster, barriers=10, every=1.0, name="barrier", jitter=lambda rank: 0.0, **more):
    for step in range(barriers):
        cluster.step(step)
        for rank in range(cluster.ranks):
            cluster.true[rank] += every
        cluster.meet(name, jitter=jitter, **more)
    return stragglers(cluster.trace()).clocks


def working(rank, step):
    return 0.01 + 0.002 * ((rank + step) % 4)


@given(st.floats(-1e4, 1e4), st.sampled_from([0.0, 2e-4, -5e-4]), st.integers(0, 2**32))
@settings(max_examples=25, deadline=None)
def test_offset_and_drift_are_found_again_within_the_bound(offset, drift, seed):
    noise = random.Random(seed)
    cluster = Cluster(working, 2, clocks={1: ahead(offset, drift)})
    _, clock = clocks_of(cluster, 30, jitter=lambda rank: noise.uniform(0, 1e-4))
    true = offset + drift * (clock.at_ns - START_NS) / 1e9
    assert clock.offset_s == pytest.approx(true, abs=2e-4)
    assert abs(clock.offset_s - true) <= clock.bound_s + 1e-4 < 0.05
    assert clock.drift == pytest.approx(drift, abs=2e-5)
    assert (clock.rank, clock.reference, clock.barriers) == (1, 0, 30)
    assert clock.spread_s < 1e-4
    moment = START_NS + 20_000_000_000
    own = START_NS + round(cluster.clocks[1](20.0) * 1e9)
    assert abs(clock.common_ns(own) - moment) < 1_000_000


def test_a_barrier_that_released_one_rank_late_does_not_decide():
    late = iter([0.0] * 6 + [0.5] + [0.0] * 4)
    cluster = Cluster(working, 2, clocks={1: ahead(2.0)})
    _, clock = clocks_of(cluster, 11, jitter=lambda rank: next(late) if rank else 0.0)
    assert clock.offset_s == pytest.approx(2.0, abs=1e-3)


def test_a_few_barriers_say_an_offset_and_no_drift():
    _, clock = clocks_of(Cluster(working, 2, clocks={1: ahead(2.0, 1e-3)}), 4)
    assert (clock.drift, clock.barriers) == (0.0, 4)
    assert clock.offset_s == pytest.approx(2.0, abs=5e-3)


@given(st.lists(st.floats(0, 0.05), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_what_a_handful_of_barriers_scatter_is_no_drift(late):
    waits = iter(late)
    cluster = Cluster(working, 2, clocks={1: ahead(2.0)})
    _, clock = clocks_of(cluster, len(late), jitter=lambda rank: next(waits) if rank else 0.0)
    assert clock.drift == 0.0


def test_without_barriers_collectives_say_it_and_without_either_nothing_does():
    _, clock = clocks_of(Cluster(working, 2, clocks={1: ahead(2.0)}), name="all_reduce")
    assert clock.offset_s == pytest.approx(2.0, abs=1e-4)
    cluster = Cluster(working, 2, clocks={1: ahead(2.0)})
    cluster.step(0)
    cluster.step(1)
    report = stragglers(cluster.trace())
    assert [clock.offset_s for clock in report.clocks] == [0.0, None]
    assert report.clocks[1].common_ns(START_NS) is None
    assert any("How the clock of rank 1 and of rank 0 differ" in sentence for sentence in report.unknown)


def test_what_somebody_told_of_a_clock_is_taken():
    cluster = Cluster(working, 2, clocks={1: ahead(2.0)})
    cluster.processes[1].attributes[attr.CRUCIBLE_CLOCK_OFFSET] = 1.75
    _, clock = clocks_of(cluster)
    assert (clock.offset_s, clock.bound_s, clock.barriers) == (1.75, None, 0)


def test_a_clock_that_was_set_meanwhile_has_no_bound_and_that_is_said():
    cluster = Cluster(working, 2, clocks={1: lambda true: true + (5.0 if true > 4 else 0.0)})
    _, clock = clocks_of(cluster)
    assert clock.bound_s is None
    assert any("contradict each other" in sentence for sentence in stragglers(cluster.trace()).unknown)
