"""The traces of one run as one: parts put back, attempts in their order, and nothing joined that only looks alike."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.causality import causes
from crucible_trace_otel.trace.otlp import to_otlp_json
from crucible_trace_otel.trace.runs import join_runs
from crucible_trace_otel.trace.spans import Trace, TraceSpan, group_into_traces
from crucible_trace_otel.trace.steps import step_rows
from tests.trace.builders import TraceBuilder
from tests.trace.parts import in_parts, part_of, run_of, within


def shape(trace: Trace) -> list[str]:
    """Each span under its parent, in order of the tree."""
    said: list[str] = []
    waiting = [(0, root) for root in reversed(trace.roots)]
    while waiting:
        depth, span = waiting.pop()
        said.append(f"{'  ' * depth}{span.operation} {span.about}")
        waiting += [(depth + 1, child) for child in reversed(trace.children.get(span.span_id, ()))]
    return said


WHOLE = [
    "training_run digits",
    "  epoch epoch 0",
    "    step_segment epoch 0, part 2",
    "  run_part part 0/1",
    "  epoch epoch 1",
    "  run_part part 0/2",
    "  epoch epoch 2",
]


@pytest.mark.parametrize("seed", range(6))
def test_the_parts_of_a_run_are_one_trace_in_whatever_order_they_come(seed: int) -> None:
    traces = in_parts()
    random.Random(seed).shuffle(traces)
    (joined,) = join_runs(traces)
    assert shape(joined) == WHOLE
    assert joined.trace_id == f"{1:032x}"
    assert joined.trace_ids == tuple(f"{number:032x}" for number in (1, 2, 3))
    assert joined.run_ids == ("r",)
    assert (joined.name, len(joined.roots), joined.is_complete) == ("digits", 1, True)
    assert [(row["step"], row["epoch"]) for row in step_rows(joined).rows] == [(0, 0), (1, 0), (2, 0), (3, 0)]


def test_every_span_says_where_it_was_recorded() -> None:
    traces = in_parts()
    (joined,) = join_runs(traces)
    recorded = {span.span_id: span for trace in traces for span in trace.spans}
    for span in joined.spans:
        was = recorded[span.span_id]
        assert replace(span, parent_id=was.parent_id, moved_from=None) == was
    groups = to_otlp_json(joined)["resourceSpans"][0]["scopeSpans"][0]["spans"]
    assert {one["spanId"]: one.get("parentSpanId") for one in groups} == {
        span_id: span.parent_id for span_id, span in recorded.items()
    }


def test_what_reads_a_trace_reads_a_run_of_several() -> None:
    (joined,) = join_runs(in_parts())
    lines = render(joined, "tree").splitlines()
    assert lines[0].startswith('training_run "digits"')
    assert "4 steps" in lines[0]
    assert any("↳ continues" in line and "another trace" not in line for line in lines)
    part = next(span for span in joined.spans if span.about == "part 0/2")
    assert [step.name for step in causes([joined], part)] == ["run_part: part 0/1", "training_run: digits"]
    epoch = next(span for span in joined.spans if span.about == "epoch 2")
    assert causes([joined], epoch) == ()
    assert "another trace" not in render(joined, "mermaid")


def test_parts_without_the_first_stay_together_and_others_without_theirs_apart() -> None:
    _, second, third = in_parts()
    (joined,) = join_runs([third, second])
    assert joined.trace_id == second.trace_id
    assert shape(joined)[0] == "run_part part 0/1"
    first, _, third = in_parts()
    (joined,) = join_runs([third, first])
    assert shape(joined) == [WHOLE[0], WHOLE[1], WHOLE[5], WHOLE[6]]


def attempts(*numbers: int, run_id: str = "r", linked: bool = False) -> list[Trace]:
    """A trace for each attempt, a minute after the one before."""
    builds: list[TraceBuilder] = []
    for position, number in enumerate(numbers):
        build = TraceBuilder(10 + position)
        causes = [(LinkType.RESUMED_FROM, builds[-1].spans[0])] if linked and builds else []
        run_of(build, run_id, number, at=60 * position, causes=causes)
        builds.append(build)
    return [build.trace() for build in builds]


def test_attempts_of_a_run_are_one_trace() -> None:
    (joined,) = join_runs(attempts(0, 1, 2)[::-1])
    assert joined.trace_id == f"{10:032x}"
    assert [span.attributes[attr.CRUCIBLE_RUN_ATTEMPT] for span in joined.roots] == [0, 1, 2]


def test_the_first_attempt_is_the_first_whatever_clocks_say() -> None:
    (joined,) = join_runs(attempts(2, 1, 0))
    assert joined.trace_id == f"{12:032x}"


def test_a_run_inside_a_part_of_another_has_parts_of_its_own() -> None:
    first, second, third = (TraceBuilder(number) for number in (1, 2, 3))
    outer = run_of(first, "outer", 1)
    part = part_of(second, 5, outer, outer, 1)
    said = {attr.CRUCIBLE_RUN_ID: "inner", attr.CRUCIBLE_RUN_ATTEMPT: 0}
    inner = second.add(spans.TRAINING_RUN, "inner", part, 1.1, 3, attributes=within(outer, **said))
    its = part_of(third, 1, inner, inner, 2)
    third.add(spans.EPOCH, "epoch 0", its, 2.1, 1, attributes=within(inner))
    (joined,) = join_runs([third.trace(), second.trace(), first.trace()])
    assert shape(joined) == [
        "training_run digits",
        "  run_part part 0/5",
        "  training_run inner",
        "    run_part part 0/1",
        "    epoch epoch 0",
    ]


def test_traces_that_have_one_number_are_joined_by_a_link_only() -> None:
    assert len(join_runs(attempts(0, 0))) == 2
    assert len(join_runs(attempts(0, 0, 1))) == 3
    assert len(join_runs(attempts(0, 0, linked=True))) == 1


def test_a_name_joins_nothing_and_neither_does_a_link_to_another_run() -> None:
    one, other = attempts(0, run_id="one"), TraceBuilder(2)
    run_of(other, "other", 1, causes=[(LinkType.RESUMED_FROM, one[0].spans[0])])
    assert {trace.trace_id for trace in join_runs([*one, other.trace()])} == {one[0].trace_id, f"{2:032x}"}


def test_traces_stand_in_the_order_in_which_their_last_attempt_began() -> None:
    first, second = attempts(0, 1)
    between = TraceBuilder(3)
    between.add(spans.PIPELINE, "between", None, 30, 1)
    assert [trace.name for trace in join_runs([first, second, between.trace()])] == ["between", "digits"]
    long = in_parts(20, "long")  # a part is no attempt
    late = TraceBuilder(30)
    late.add(spans.PIPELINE, "late", None, 2, 1)
    assert [trace.name for trace in join_runs([*long, late.trace()])] == ["digits", "late"]


def test_a_part_that_names_the_trace_of_another_run_is_not_let_in() -> None:
    other = TraceBuilder(1)
    run = run_of(other, "other")
    build = TraceBuilder(2)
    part_of(build, 1, run, run, 1, **{attr.CRUCIBLE_RUN_ID: "r"})
    assert len(join_runs([other.trace(), build.trace()])) == 2


def test_a_trace_that_repeats_a_span_id_of_its_run_is_left_alone() -> None:
    first, second = attempts(0, 1)
    copied = replace(second.spans[0], span_id=first.spans[0].span_id)
    assert len(join_runs([first, Trace(second.trace_id, (copied,))])) == 2


SPANS = st.builds(
    TraceSpan,
    trace_id=st.sampled_from([f"{number:032x}" for number in range(5)]),
    span_id=st.sampled_from([f"{number:016x}" for number in range(12)]),
    parent_id=st.none() | st.sampled_from([f"{number:016x}" for number in range(12)]),
    name=st.just("span"),
    start_ns=st.integers(0, 50),
    end_ns=st.integers(50, 99),
    attributes=st.fixed_dictionaries(
        {},
        optional={
            attr.CRUCIBLE_OPERATION_NAME: st.sampled_from([spans.TRAINING_RUN, spans.RUN_PART, spans.EPOCH]),
            attr.CRUCIBLE_RUN_ID: st.sampled_from(["a", "b", "", 7, ("a",)]),
            attr.CRUCIBLE_RUN_ATTEMPT: st.sampled_from([0, 1, -1, 2**70, "0", True, 1.5]),
            attr.CRUCIBLE_RUN_PART: st.sampled_from(["0/1", "0/2", "1/1", "", "/", "0/²", "0/" + "9" * 400, 3]),
            attr.CRUCIBLE_RUN_FIRST_TRACE_ID: st.sampled_from([f"{number:032x}" for number in range(6)]) | st.text(),
            attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID: st.sampled_from([f"{number:016x}" for number in range(13)])
            | st.sampled_from([7, ("x",), b"\xff", None]),
        },
    ),
)


@settings(max_examples=300)
@given(st.lists(SPANS, max_size=25), st.randoms(use_true_random=False))
def test_whatever_spans_say_none_is_lost_and_the_order_of_traces_does_not_matter(
    every: list[TraceSpan], shuffled: random.Random
) -> None:
    traces = list(group_into_traces(every))
    joined = join_runs(traces)
    there = [(span.trace_id, span.span_id) for trace in joined for span in trace.spans]
    assert sorted(there) == sorted((span.trace_id, span.span_id) for trace in traces for span in trace.spans)
    assert len({trace_id for trace in joined for trace_id in trace.trace_ids}) == len(traces)
    shuffled.shuffle(traces)
    assert join_runs(traces) == joined
    for trace in joined:
        assert len(trace.by_id) == len(trace.spans)
        for span in trace.spans:  # no circle through several traces
            seen, here = set(), span
            while here is not None and here.span_id not in seen:
                seen.add(here.span_id)
                here = trace.by_id.get(here.parent_id or "")
            assert here is None or len({trace.by_id[one].trace_id for one in _circle(trace, here)}) == 1


def _circle(trace: Trace, span: TraceSpan) -> list[str]:
    found = [span.span_id]
    here = trace.by_id[span.parent_id or ""]
    while here.span_id != span.span_id:
        found.append(here.span_id)
        here = trace.by_id[here.parent_id or ""]
    return found
