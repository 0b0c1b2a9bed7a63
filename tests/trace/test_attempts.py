from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.trace.attempts import RunRows, merge_attempts


def rows(attempt, first, end):
    return tuple({"step": step, "time_ns": 1_000 * attempt + step, "attempt": attempt} for step in range(first, end))


def told(merged):
    return [(row["attempt"], row["step"]) for row in merged.rows]


@st.composite
def runs(draw):
    """Attempts that each go on from a checkpoint of any attempt before, or begin again."""
    attempts, lineages = [], []
    for attempt in range(draw(st.integers(1, 6))):
        begun_from = draw(st.sampled_from([None, *range(attempt)]))
        if begun_from is None or not lineages[begun_from]:
            first, lineage = 0, {}
        else:
            first = draw(st.integers(1, max(lineages[begun_from]) + 1))
            lineage = {step: by for step, by in lineages[begun_from].items() if step < first}
        end = first + draw(st.integers(0, 12))
        attempts.append(rows(attempt, first, end))
        lineages.append({**lineage, **dict.fromkeys(range(first, end), attempt)})
    return attempts


@given(runs())
def test_no_step_twice_none_missing_and_no_row_lost(attempts):
    merged = merge_attempts(attempts)
    steps = [row["step"] for row in merged.rows]
    assert steps == list(range(len(steps)))
    done_by_the_last = next((attempt for attempt in reversed(attempts) if attempt), ())
    assert merged.rows[len(merged.rows) - len(done_by_the_last) :] == done_by_the_last
    every = sorted([*merged.rows, *(row for rows in merged.redone for row in rows)], key=lambda row: row["time_ns"])
    assert every == sorted((row for attempt in attempts for row in attempt), key=lambda row: row["time_ns"])


@given(st.lists(st.tuples(st.integers(0, 10), st.integers(1, 10)), min_size=1, max_size=6))
def test_attempts_that_each_go_on_from_the_one_before(pieces):
    """As it is when each begins with the newest checkpoint: where every step comes from is known."""
    attempts, by = [], {}
    for attempt, (back, number) in enumerate(pieces):
        first = max(0, len(by) - back)
        by = {step: of for step, of in by.items() if step < first}
        by |= dict.fromkeys(range(first, first + number), attempt)
        attempts.append(rows(attempt, first, first + number))
    assert told(merge_attempts(attempts)) == [(of, step) for step, of in sorted(by.items())]


def test_what_was_done_again_is_kept_apart():
    merged = merge_attempts([rows(0, 0, 7), rows(1, 4, 9)])
    assert merged == RunRows(rows(0, 0, 4) + rows(1, 4, 9), (rows(0, 4, 7), ()))
    assert repr(merged) == "RunRows(9 rows of 2 attempts, 3 done again)"


def test_an_attempt_that_was_killed_before_a_later_one_began_further_on_led_nowhere():
    merged = merge_attempts([rows(0, 0, 10), rows(1, 5, 6), rows(2, 8, 12)])
    assert merged == RunRows(rows(0, 0, 8) + rows(2, 8, 12), (rows(0, 8, 10), rows(1, 5, 6), ()))


def test_an_attempt_without_rows_changes_nothing():
    assert merge_attempts([(), rows(1, 0, 3), ()]) == RunRows(rows(1, 0, 3), ((), (), ()))
    assert merge_attempts([]) == RunRows()


def test_a_run_that_begins_again_from_the_start_is_done_again():
    assert merge_attempts([rows(0, 0, 3), rows(1, 0, 2)]) == RunRows(rows(1, 0, 2), (rows(0, 0, 3), ()))


def test_steps_that_were_lost_leave_a_gap_and_no_other_attempt_out():
    merged = merge_attempts([rows(0, 0, 3), rows(1, 2, 5), rows(2, 8, 10)])
    assert told(merged) == [(0, 0), (0, 1), (1, 2), (1, 3), (1, 4), (2, 8), (2, 9)]


def test_two_rows_of_one_step_within_an_attempt_stay():
    first, second = rows(0, 0, 2), rows(0, 1, 2)
    assert len(merge_attempts([first + second]).rows) == 3
