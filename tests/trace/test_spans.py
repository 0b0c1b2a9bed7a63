import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.trace.spans import Trace, TraceLink, group_into_traces
from crucible_trace_otel.trace.steps import step_rows
from tests.trace.builders import TraceBuilder, digits

SPANS = (*digits(1).spans, *digits(2).spans)


@given(st.randoms(use_true_random=False))
def test_the_order_in_which_spans_are_stored_does_not_matter(order: random.Random):
    shuffled = list(SPANS)
    order.shuffle(shuffled)
    assert group_into_traces(shuffled) == (digits(1), digits(2))


def test_a_span_stored_twice_appears_once():
    assert group_into_traces([*SPANS, *SPANS]) == (digits(1), digits(2))


def test_of_two_processes_that_took_themselves_for_rank_0_none_is_lost():
    build = TraceBuilder()
    named = [{attr.CRUCIBLE_EVENT_ID: digit * 32} for digit in "ab"]
    first = build.add(spans.TRAINING_RUN, "digits", attributes=named[0], status="error")
    again = replace(first, attributes=first.attributes | named[1], start_ns=first.start_ns + 5, status="unset")
    (trace,) = group_into_traces([first, first, again, again])
    assert [(span.span_id, span.status) for span in trace.spans] == [(first.span_id, "error"), ("b" * 16, "unset")]


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


def test_a_trace_whose_root_is_not_stored_is_named_after_its_run():
    assert digits(finished=False).name == "run run-1"


def test_an_unfinished_trace_without_a_run_is_named_after_what_there_is():
    build = TraceBuilder()
    build.add(spans.STAGE, "load", "000000010000000f", name="stage load")
    build.add(spans.REASONING_CHAIN, "why?", "000000010000000f", 1)
    assert build.trace().name == "why?"
    assert Trace("a" * 32, build.trace().spans[:1]).name == "load"


@pytest.mark.parametrize(
    ("operation", "about", "named"),
    [(spans.PIPELINE, "digits", "digits"), (spans.STAGE, "load", "load"), (None, "", "POST /train")],
)
def test_a_trace_that_another_instrumentation_began_is_named_after_ours(operation, about, named):
    build = TraceBuilder()
    root = build.add(None, name="POST /train", lasts=9)
    query = build.add(None, name="SELECT", parent=root, lasts=1)
    outer = build.add(operation, about, query, 1, 5)
    build.add(operation, "inside", outer, 2, 1)
    assert build.trace().name == named
    assert build.trace().is_ours is (operation is not None)


def test_spans_that_are_each_others_parents_do_not_hang_the_name():
    build = TraceBuilder()
    build.add(None, name="GET /")
    build.add(spans.STAGE, "a", "0000000100000003")
    build.add(None, name="b", parent="0000000100000002")
    build.add(None, name="c", parent="0000000100000004")
    build.add(spans.STAGE, "itself", "0000000100000004", 1)
    assert build.trace().name == "itself"


def test_values_are_shown_in_a_few_words():
    trace = digits()
    epoch = next(span for span in trace.spans if span.operation == spans.EPOCH)
    assert repr(trace) == "Trace('digits', 16 spans, 00000000…)"
    assert repr(trace.spans[0]) == "TraceSpan('pipeline digits' 'digits', 9 s, 0000000100000001)"
    assert repr(epoch) == "TraceSpan('epoch' 'epoch 0', 1.5 s, 0000000100000009)"
    assert repr(epoch.events[0]) == "TraceEvent('steps_recorded', 10 attributes)"
    assert repr(step_rows(trace)) == "StepRows(6 rows of step, time_ns, epoch, loss, 0 windows missing)"
    assert repr(TraceBuilder().add(None, name="x" * 10_000)) == f"TraceSpan('{'x' * 59}…', 0 s, 0000000100000001)"
