"""Open spans that pass from one file or set-up to the next: none is closed that its process ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

import crucible_trace_otel as crucible
from crucible_trace_otel.journal import recovery
from crucible_trace_otel.journal.liveness import Life
from crucible_trace_otel.journal.recovery import recover_dead
from crucible_trace_otel.journal.segment import SegmentWriter
from tests.journal.otlp import segments

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_p10_a_run_that_a_second_configure_takes_over_is_not_interrupted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    crucible.configure(journal=tmp_path)
    run = crucible.training_run("across").start()
    crucible.configure(journal=tmp_path)
    run.stop()
    crucible.shutdown()
    monkeypatch.setattr(recovery, "life_of", lambda *_: Life.DEAD)
    assert recover_dead(tmp_path) == {}
    (span,) = (span for span in crucible.open_store(tmp_path).latest().spans if span.name == "training_run")
    assert span.attributes["crucible.run.state"] == "completed"


def test_p28_a_file_has_its_name_only_when_it_repeats_what_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    segment = SegmentWriter(tmp_path, lambda: [(b"resource", b"scope", b"open one")])
    segment.append_span(b"resource", b"scope", b"first")
    segment._full_at = segment._look_at = 1
    with monkeypatch.context() as broken:
        broken.setattr("crucible_trace_otel.journal.files.rename", _full)
        segment.append_span(b"resource", b"scope", b"second")
    assert len(segments(tmp_path)) == 1  # it goes on in the old one
    segment._full_at = segment._look_at = 1
    segment.append_span(b"resource", b"scope", b"third")
    _, second = segments(tmp_path)
    assert b"open one" in second.read_bytes()


def test_open_spans_larger_than_a_file_do_not_turn_it_over_again_and_again(tmp_path: Path) -> None:
    large = b"x" * (9 << 20)
    segment = SegmentWriter(tmp_path, lambda: [(b"resource", b"scope", large)])
    segment.append_span(b"resource", b"scope", b"first")
    segment._full_at = segment._look_at = 1
    for _ in range(20):
        segment.append_span(b"resource", b"scope", b"small")
    assert len(segments(tmp_path)) == 2


def _full(*_: object) -> None:
    raise OSError(28, "No space left on device")
