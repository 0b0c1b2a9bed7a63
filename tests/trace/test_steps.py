import math
import struct
import tracemalloc
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.trace.spans import Trace, TraceEvent
from crucible_trace_otel.trace.steps import decode_window, step_rows
from tests.trace.builders import START_NS, TraceBuilder, digits, pack, window

MILLISECOND = 1_000_000


def test_every_step_comes_back_in_order_with_its_epoch():
    first, second = START_NS + 2_700 * MILLISECOND, START_NS + 4_700 * MILLISECOND
    steps = step_rows(digits())
    assert steps.rows == (
        {"epoch": 0, "step": 0, "time_ns": first - 2 * MILLISECOND, "loss": 2.0},
        {"epoch": 0, "step": 1, "time_ns": first - MILLISECOND, "loss": 1.0},
        {"epoch": 0, "step": 2, "time_ns": first, "loss": 2 / 3},
        {"epoch": 1, "step": 3, "time_ns": second - 2 * MILLISECOND, "loss": 0.5},
        {"epoch": 1, "step": 4, "time_ns": second - MILLISECOND, "loss": 0.4},
        {"epoch": 1, "step": 5, "time_ns": second, "loss": 1 / 3},
    )
    assert (len(steps), steps.missing, steps.columns) == (6, 0, ("step", "time_ns", "epoch", "loss"))


def test_a_step_segment_inside_an_epoch_knows_the_epoch():
    build = TraceBuilder()
    epoch = build.add(spans.EPOCH, attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 7})
    segment = build.add(spans.STEP_SEGMENT, parent=epoch, events=(window(0, 1, {"loss": [0.5]}),))
    row = {"step": 0, "time_ns": START_NS + 1000 * MILLISECOND, "loss": 0.5}
    assert step_rows(build.trace()).rows == ({"epoch": 7, **row},)
    assert step_rows(segment).rows == (row,)


def test_a_number_the_user_called_epoch_is_the_users():
    build = TraceBuilder()
    build.add(
        spans.EPOCH,
        attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 7},
        events=(window(0, 1, {"epoch": [0.25]}),),
    )
    assert step_rows(build.trace()).rows[0]["epoch"] == 0.25


def test_gradients_have_windows_of_their_own():
    build = TraceBuilder()
    gradients = window(0, 1, {"norm": [3.0]}, events.GRADIENT_COMPUTED)
    build.add(spans.TRAINING_RUN, events=(window(0, 1, {"loss": [1.0]}), gradients))
    assert [row["norm"] for row in step_rows(build.trace(), events.GRADIENT_COMPUTED).rows] == [3.0]


def test_a_parent_cycle_does_not_hang():
    build = TraceBuilder()
    build.add(spans.STEP_SEGMENT, parent=f"{1:08x}{1:08x}", events=(window(0, 1, {"loss": [0.5]}),))
    assert len(step_rows(build.trace()).rows) == 1


cells = {
    "i8": st.integers(-(2**63), 2**63 - 1),
    "f8": st.floats(allow_nan=False),
    "json": st.none() | st.text(st.characters(exclude_categories=["Cs"]), max_size=5) | st.booleans(),
}


@st.composite
def series(draw):
    count = draw(st.integers(1, 6))
    names = draw(
        st.lists(
            st.text(min_size=1, max_size=5).filter(lambda name: name not in {"step", "time_ns", "epoch"}),
            unique=True,
            max_size=4,
        )
    )
    columns = {
        "step": sorted(draw(st.lists(cells["i8"], min_size=count, max_size=count))),
        "time_ns": list(range(count)),
    }
    for name in names:
        form = draw(st.sampled_from(sorted(cells)))
        columns[name] = draw(st.lists(cells[form], min_size=count, max_size=count))
    formats, values = pack(columns)
    packed = {
        attr.CRUCIBLE_WINDOW_COUNT: count,
        attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: tuple(columns),
        attr.CRUCIBLE_WINDOW_SERIES_FORMATS: formats,
        attr.CRUCIBLE_WINDOW_SERIES_VALUES: values,
    }
    return packed, [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@given(series())
def test_what_was_packed_is_what_is_read(packed_and_rows):
    packed, rows = packed_and_rows
    assert decode_window(packed) == rows


@given(series(), st.data())
def test_a_series_that_lost_bytes_is_an_error_and_never_other_numbers(packed_and_rows, data):
    packed, _ = packed_and_rows
    values = packed[attr.CRUCIBLE_WINDOW_SERIES_VALUES]
    cut = data.draw(st.integers(0, len(values) - 1))
    with pytest.raises(FormatError):
        decode_window({**packed, attr.CRUCIBLE_WINDOW_SERIES_VALUES: values[:cut]})
    with pytest.raises(FormatError):
        decode_window({**packed, attr.CRUCIBLE_WINDOW_SERIES_VALUES: values + b"\0"})


good = window(0, 1, {"loss": [1.0, 2.0]})


@pytest.mark.parametrize(
    "damage",
    [
        {attr.CRUCIBLE_WINDOW_SERIES_VALUES: None},
        {attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: "loss"},
        {attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: ("step", "time_ns", "step")},
        {attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: ("time_ns", "step", "loss")},
        {attr.CRUCIBLE_WINDOW_SERIES_FORMATS: ("i8", "i8")},
        {attr.CRUCIBLE_WINDOW_SERIES_FORMATS: ("i8", "i8", "f4")},
        {attr.CRUCIBLE_WINDOW_SERIES_FORMATS: ("i8", "i8", "json")},
        {attr.CRUCIBLE_WINDOW_COUNT: 2**62},
        {attr.CRUCIBLE_WINDOW_COUNT: -1},
        {attr.CRUCIBLE_WINDOW_COUNT: 2.0},
        {attr.CRUCIBLE_WINDOW_COUNT: None},
    ],
)
def test_a_damaged_window_is_counted_and_the_others_are_read(damage):
    build = TraceBuilder()
    broken = replace(good, attributes={**good.attributes, **damage})
    build.add(spans.TRAINING_RUN, events=(broken, window(2, 2, {"loss": [math.pi]})))
    unfolded = step_rows(build.trace())
    assert ([row["loss"] for row in unfolded.rows], unfolded.missing) == ([math.pi], 1)


def test_attempts_that_count_from_zero_again_follow_each_other():
    build = TraceBuilder()
    for attempt in range(2):
        run = build.add(spans.TRAINING_RUN, "r", at=10 * attempt, lasts=5)
        for epoch in range(2):
            loss = 1.0 - attempt / 2 - epoch / 4
            build.add(
                spans.EPOCH, f"epoch {epoch}", run, 10 * attempt + epoch, 1,
                attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: epoch},
                events=(window(epoch, 10 * attempt + epoch + 1, {"loss": [loss]}),),
            )  # fmt: skip
    told = [(row["epoch"], row["step"], row["loss"]) for row in step_rows(build.trace()).rows]
    assert told == [(0, 0, 1.0), (1, 1, 0.75), (0, 0, 0.5), (1, 1, 0.25)]
    killed = Trace(build.trace().trace_id, tuple(s for s in build.trace().spans if s.operation == spans.EPOCH))
    assert [(row["epoch"], row["step"], row["loss"]) for row in step_rows(killed).rows] == told


def test_json_that_nests_too_deeply_is_damage():
    text = b"[" * 100_000
    formats = ("i8", "i8", "json")
    values = struct.pack("<qqI", 0, 0, len(text)) + text
    event = {
        attr.CRUCIBLE_WINDOW_COUNT: 1,
        attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: ("step", "time_ns", "x"),
        attr.CRUCIBLE_WINDOW_SERIES_FORMATS: formats,
        attr.CRUCIBLE_WINDOW_SERIES_VALUES: values,
    }
    with pytest.raises(FormatError):
        decode_window(event)


def compressed(data: bytes, count: int, form: str = "f8z", claimed: int | None = None) -> dict[str, object]:
    small = zlib.compress(data)
    steps = struct.pack(f"<{2 * min(count, 1000)}q", *range(2 * min(count, 1000)))
    length = len(small) if claimed is None else claimed
    return {
        attr.CRUCIBLE_WINDOW_COUNT: count,
        attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: ("step", "time_ns", "x"),
        attr.CRUCIBLE_WINDOW_SERIES_FORMATS: ("i8", "i8", form),
        attr.CRUCIBLE_WINDOW_SERIES_VALUES: steps + struct.pack("<I", length) + small,
    }


def test_compressed_columns_are_read():
    assert [row["x"] for row in decode_window(compressed(struct.pack("<2d", 0.5, math.inf), 2))] == [0.5, math.inf]
    rows = decode_window(compressed(struct.pack("<4q", 2**63 - 1, 1, -1, -(2**63)), 4, "i8z"))
    assert [row["x"] for row in rows] == [2**63 - 1, -(2**63), 2**63 - 1, -1]


@pytest.mark.parametrize(
    "damage",
    [
        compressed(bytes(16), 3),
        compressed(bytes(24), 2),
        compressed(bytes(50_000_000), 2),
        compressed(bytes(50_000_000), 2**22),
        compressed(bytes(16), 2, claimed=3),
        compressed(bytes(16), 2, claimed=2**32 - 1),
        compressed(bytes(16), 2) | {attr.CRUCIBLE_WINDOW_SERIES_VALUES: bytes(32)},
        compressed(bytes(16), 2) | {attr.CRUCIBLE_WINDOW_SERIES_VALUES: bytes(32) + b"\5\0\0\0xxxxx"},
        compressed(bytes(16), 2, "f4z"),
        compressed(bytes(16), 2) | {attr.CRUCIBLE_WINDOW_COUNT: 2**62},
    ],
    ids=["short", "long", "bomb", "large", "cut", "beyond", "absent", "noise", "unknown", "count"],
)
def test_a_compressed_column_that_is_damaged_is_an_error_and_inflates_no_further(damage):
    tracemalloc.start()
    with pytest.raises(FormatError):
        decode_window(damage)
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()


def test_a_trace_without_windows_has_no_rows():
    build = TraceBuilder()
    build.add(spans.EPOCH, events=(TraceEvent("note", 1),))
    steps = step_rows(build.trace())
    assert (list(steps.rows), len(steps), steps.missing, steps.columns) == ([], 0, 0, ("step", "time_ns"))
    assert (steps.to_csv(), steps.latest().columns) == ("", ("step", "time_ns"))


def test_episodes_follow_each_other_and_are_not_mixed_with_the_steps_around_them():
    build = TraceBuilder()
    run = build.add(spans.TRAINING_RUN, "r", lasts=9, attributes={attr.CRUCIBLE_RUN_ID: "r"})
    epoch = build.add(spans.EPOCH, "epoch 2", run, lasts=9, attributes={attr.CRUCIBLE_TRAINING_EPOCH_INDEX: 2})
    for index in (4, 5):
        rewards = [window(step, index + step, {"reward": [float(index)]}, events.REWARD_RECEIVED) for step in (0, 1)]
        named = {attr.CRUCIBLE_EPISODE_INDEX: index}
        episode = build.add(spans.EPISODE, "e", epoch, index, 1, attributes=named, events=(rewards[0],))
        build.add(spans.STEP_SEGMENT, "part 1", episode, index, 1, events=(rewards[1],))
    found = step_rows(build.trace(), events.REWARD_RECEIVED)
    assert found.columns == ("step", "time_ns", "epoch", "episode", "reward")
    rows = [(row["epoch"], row["episode"], row["step"], row["reward"]) for row in found.rows]
    assert rows == [(2, 4, 0, 4.0), (2, 4, 1, 4.0), (2, 5, 0, 5.0), (2, 5, 1, 5.0)]
    assert len(found.latest()) == 4
