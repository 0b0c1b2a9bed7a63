import random

from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.trace.spans import Trace, TraceLink, group_into_traces
from tests.trace.builders import digits

SPANS = (*digits(1).spans, *digits(2).spans)


@given(st.randoms(use_true_random=False))
def test_the_order_in_which_spans_are_stored_does_not_matter(order: random.Random):
    shuffled = list(SPANS)
    order.shuffle(shuffled)
    assert group_into_traces(shuffled) == (digits(1), digits(2))


def test_a_span_stored_twice_appears_once():
    assert group_into_traces([*SPANS, *SPANS]) == (digits(1), digits(2))


def test_a_trace_is_named_after_its_root():
    trace = digits()
    assert (trace.name, trace.is_complete, trace.run_ids) == ("digits", True, ("run-1",))
    assert [root.name for root in trace.roots] == ["pipeline digits"]


def test_an_unfinished_trace_is_told_by_its_orphans():
    trace = digits(finished=False)
    assert not trace.is_complete
    assert [root.name for root in trace.roots] == [
        "stage load",
        "reasoning_chain",
        "stage train",
        "model_load",
        "inference",
    ]


def test_nothing_stored_is_a_trace_without_a_name():
    assert (Trace("a" * 32, ()).name, TraceLink("a" * 32, "b" * 16).type) == ("a" * 32, "")
