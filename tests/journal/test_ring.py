"""The step ring: what is in it can be read whatever happened to it; what is no ring holds nothing."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crucible_trace_otel.journal import mapping
from crucible_trace_otel.journal.layout import ring_of
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.journal.ring import OpenWindow, StepRing, open_windows, window_event
from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.journal.series import described, event_message
from crucible_trace_otel.journal.slots import KeptWindow, Slot, WindowHead, next_number, row_form
from crucible_trace_otel.journal.wire import fields

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="needs posix_fallocate")


def head(columns: tuple[str, ...] = ("loss", "tokens"), kinds: str = "dq") -> WindowHead:
    return WindowHead(next_number(), b"t" * 16, b"s" * 8, "steps_recorded", columns, kinds)


def fill(slot: Slot, kinds: str, rows: int) -> None:
    form = row_form(kinds)
    for row in range(rows):
        offset = slot.first + row * form.size
        form.pack_into(slot.memory, offset, row, 10**18 + row, *[row] * len(kinds), slot.tag + offset)


def opened(directory: Path) -> tuple[StepRing, Path]:
    segments = SegmentWriter(directory)
    return StepRing(segments), ring_of(directory, segments.prefix)


def test_an_open_window_is_read_as_it_is(tmp_path: Path) -> None:
    ring, path = opened(tmp_path / "j")
    first, second = head(), head(("\u00e9",), "q")
    slots = [ring.slot(first), ring.slot(second)]
    assert None not in slots
    fill(slots[0], "dq", 3)
    assert open_windows(path) == (
        OpenWindow(*first[:5], tuple((row, 10**18 + row, float(row), row) for row in range(3))),
        OpenWindow(*second[:5], ()),
    )
    assert (stat.S_IMODE(path.stat().st_mode), path.stat().st_size) == (0o600, 1 << 18)
    assert path.stat().st_blocks * 512 >= 1 << 18
    ring.free(slots[0])
    assert [window.number for window in open_windows(path)] == [second.number]
    ring.close()
    assert not path.exists()


def test_a_window_of_a_killed_process_looks_like_one_that_was_closed(tmp_path: Path) -> None:
    ring, path = opened(tmp_path / "j")
    slot = ring.slot(head())
    assert slot is not None
    fill(slot, "dq", 5)
    (window,) = open_windows(path)
    columns = {"step": range(5), "time_ns": [10**18 + row for row in range(5)], "loss": [0.0, 1.0, 2.0, 3.0, 4.0]}
    attributes = described({**columns, "tokens": list(range(5))}, "end").attributes
    assert window_event(window) == event_message("steps_recorded", 10**18 + 4, attributes)
    assert window_event(window._replace(rows=())) is None
    ring.close()


def test_seventeen_windows_and_rows_that_are_too_wide_find_no_room(tmp_path: Path) -> None:
    ring, _ = opened(tmp_path / "j")
    assert ring.slot(head(tuple(map(str, range(200))), "d" * 200)) is None
    slots = [ring.slot(head()) for _ in range(17)]
    assert [slot is None for slot in slots] == [False] * 16 + [True]
    ring.free(slots[3])
    again = ring.slot(head())
    assert again is not None
    assert again.first == slots[3].first
    ring.close()


def test_closing_stores_what_is_open_and_rows_may_go_on(tmp_path: Path) -> None:
    ring, path = opened(tmp_path / "j")
    slot = ring.slot(head())
    assert slot is not None
    fill(slot, "dq", 2)
    ring.close()
    assert not path.exists()
    fill(slot, "dq", 4)
    ring.keep(KeptWindow(slot.number, b"t" * 16, b"s" * 8, "steps_recorded", 1, {"a": 1}))
    ring.free(slot)
    steps = read_directory(tmp_path / "j").steps
    assert [step.window for step in steps] == [slot.number] * 2
    assert [list(fields(step.event))[1][2] for step in steps] == [b"steps_recorded"] * 2


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.integers(0, (1 << 15) - 1), st.integers(0, 255)), min_size=1, max_size=60))
def test_damage_gives_no_row_that_was_not_recorded(tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    ring, path = opened(tmp_path / "j")
    for _ in range(2):
        slot = ring.slot(head())
        assert slot is not None
        fill(slot, "dq", 90)
    data = bytearray(path.read_bytes())
    for at, byte in damage:
        data[at] = byte
    path.write_bytes(data)
    for window in open_windows(path):
        assert len(window.rows) <= 100
        window_event(window)
    ring.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_what_is_no_ring_holds_none(tmp_path: Path, noise: bytes) -> None:
    path = tmp_path / "x.ring"
    path.write_bytes(noise)
    assert open_windows(path) == ()
    path.write_bytes((noise * ((1 << 18) // max(len(noise), 1) + 1))[: 1 << 18])
    assert open_windows(path) == ()


def test_a_link_or_a_pipe_is_not_opened(tmp_path: Path) -> None:
    ring, path = opened(tmp_path / "j")
    slot = ring.slot(head())
    assert slot is not None
    fill(slot, "dq", 1)
    (tmp_path / "link.ring").symlink_to(path)
    os.mkfifo(tmp_path / "pipe.ring")
    names = ("link.ring", "pipe.ring", "nowhere.ring")
    assert [open_windows(tmp_path / name) for name in names] == [()] * 3
    ring.close()


def test_a_name_that_is_taken_is_not_written_to(tmp_path: Path, warned: list[str]) -> None:
    ring, path = opened(tmp_path)
    (tmp_path / "mine").write_text("mine")
    path.symlink_to(tmp_path / "mine")
    assert ring.slot(head()) is None
    assert ring.slot(head()) is None
    assert (tmp_path / "mine").read_text() == "mine"
    assert len(warned) == 1


def test_a_file_system_nobody_knows_is_not_trusted(
    tmp_path: Path, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mapping, "_CERTAIN", frozenset())
    ring, path = opened(tmp_path)
    assert ring.slot(head()) is None
    assert not path.exists()
    assert "each second" in warned[0]
    assert "file system" in warned[0]
