import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.renderers.sparkline import sparkline
from crucible_trace_otel.renderers.words import duration, plain, quoted


def test_a_spike_in_a_thousand_steps_stays_visible():
    values = [1.0] * 500 + [100.0] + [1.0] * 499
    assert sparkline(values, 10) == ("▁▁▁▁▁█▁▁▁▁", "▁▁▁▁▁▁▁▁▁▁")


def test_what_is_not_finite_is_marked():
    assert sparkline([0.0, math.nan, 1.0, math.inf], 4, ascii_only=True) == ("_!#!", "_!#!")


def test_fewer_values_than_columns_have_a_column_each():
    assert sparkline([0.0, 7.0], 80) == ("▁█", "▁█")
    assert sparkline([], 80) == ("", "")
    assert sparkline([3.0], 80) == ("▁", "▁")


@given(st.lists(st.floats(), min_size=1), st.integers(0, 50))
def test_any_numbers_are_drawn_in_the_room_there_is(values, width):
    high, low = sparkline(values, width)
    assert len(high) == len(low) == max(1, min(width, len(values)))


@pytest.mark.parametrize(
    ("seconds", "told"),
    [(0.000412, "0.412 ms"), (0.25, "250 ms"), (12.34, "12.3 s"), (62, "1m 02s"), (7_500, "2h 05m"), (-2, "-2 s")],
)
def test_durations(seconds, told):
    assert duration(seconds) == told


@pytest.mark.parametrize(
    ("operation", "about", "told"),
    [
        ("epoch", "epoch 3", "epoch 3"),
        ("stage load", "load", "stage load"),
        ("deployment", "deployment", "deployment"),
        ("training_run", "digits", 'training_run "digits"'),
        ("GET /", "", "GET /"),
    ],
)
def test_titles_say_nothing_twice(operation, about, told):
    assert quoted(operation, about) == told


def test_a_text_becomes_one_harmless_line():
    assert plain("a\x1b[31m\n\u202eb\ud800\tc\u2028d") == "a[31m b\ufffd c d"
    assert plain("x" * 300) == "x" * 199 + "…"
