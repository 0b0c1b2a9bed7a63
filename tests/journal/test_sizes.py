"""How much each trace holds: exactly what the journal has of it, of a bounded number of traces."""

import math
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider

from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.journal.sizes import TRACES, Budget, TraceSizes

ONE, OTHER = 1, 2
SIZES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(0, 1_000), st.booleans()), max_size=50)


def holds(sizes: TraceSizes, trace_id: int, *, size: float, spans: float) -> bool:
    """Whether the trace has exactly that much."""
    budgets = (Budget(size, math.inf), Budget(size + 1, math.inf), Budget(math.inf, spans), Budget(math.inf, spans + 1))
    found = []
    for sizes.budget in budgets:
        found.append(sizes.is_full(trace_id))
    return found == [True, False, True, False]


def test_a_trace_is_counted_as_the_journal_stores_it(tmp_path: Path) -> None:
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(JournalSpanProcessor(tmp_path, progress_s=0))
    tracer = provider.get_tracer("tests")
    with tracer.start_as_current_span("outer") as outer:
        for number in range(5):
            tracer.start_span(f"inner {number}", attributes={"text": "x" * 100 * number}).end()
    tracer.start_span("of another trace").end()
    provider.shutdown()
    trace_id = outer.get_span_context().trace_id
    stored = [one for one in read_directory(tmp_path).spans if trace_id.to_bytes(16, "big") in one.span]
    assert len(stored) == 6
    size = sum(len(one.span) + len(one.resource) + len(one.scope) for one in stored)
    assert holds(TRACES, trace_id, size=size, spans=6)


@given(SIZES)
def test_what_open_spans_hold_counts_until_they_end(said: list[tuple[int, int, int, bool]]) -> None:
    sizes = TraceSizes()
    sizes.is_told = True
    ended, held = dict.fromkeys(range(4), 0), {}
    for trace_id in range(4):
        sizes.watch(trace_id)
    for trace_id, span_id, size, ends in said:
        if ends:
            sizes.add(trace_id, span_id, size)
            ended[trace_id] += size
            held.pop((trace_id, span_id), None)
        else:
            sizes.hold(trace_id, span_id, size)
            held[trace_id, span_id] = held.get((trace_id, span_id), 0) + size
    for trace_id in range(4):
        size = ended[trace_id] + sum(its for (its_trace, _), its in held.items() if its_trace == trace_id)
        spans = sum(ends for its_trace, _, _, ends in said if its_trace == trace_id)
        assert holds(sizes, trace_id, size=size, spans=spans)


def test_a_watched_trace_is_counted_however_many_others_there_are() -> None:
    sizes = TraceSizes(Budget(math.inf, 2))
    sizes.add(ONE, 1, 10)
    sizes.watch(ONE)
    sizes.add(OTHER, 1, 10)
    for number in range(10_000):
        sizes.add(number + 10, 1, 10)
    for trace_id in (ONE, OTHER):
        sizes.add(trace_id, 2, 10)
    assert (sizes.is_full(ONE), sizes.is_full(OTHER)) == (True, False)
    assert len(sizes._others) <= 1_024
    sizes.unwatch(ONE)
    assert sizes.is_full(ONE)


def test_nothing_is_full_where_nobody_tells_what_ended() -> None:
    sizes = TraceSizes(Budget(1, 1))
    sizes.watch(ONE)
    sizes.hold(ONE, 1, 1_000)
    assert not sizes.is_full(ONE)
