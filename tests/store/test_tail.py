"""A journal that is watched: every record once, while it grows, in files that come and go."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.errors import StoreError
from crucible_trace_otel.journal.records import RecordType, frame
from crucible_trace_otel.store.tail import JournalTail
from tests.store.stored import write
from tests.trace.builders import TraceBuilder, digits


def names(look) -> list[str]:
    return [span.about for span in look.spans]


def test_what_was_there_is_not_met_and_what_comes_is_met_once(tmp_path):
    write(tmp_path, [digits()])
    tail = JournalTail(tmp_path)
    assert names(tail.look()) == []
    build = TraceBuilder(7)
    build.add("stage", "new")
    write(tmp_path, [build.trace()])
    assert names(tail.look()) == ["new"]
    assert names(tail.look()) == []


@settings(max_examples=20)
@given(cuts=st.lists(st.integers(0, 2_000), max_size=6))
def test_a_file_that_grows_by_pieces_of_records_gives_each_record_once(tmp_path_factory, cuts):
    folder = tmp_path_factory.mktemp("tail")
    build = TraceBuilder()
    for number in range(5):
        build.add("stage", f"stage {number}")
    (source,) = write(folder / "source", [build.trace()]).glob("*.segment")
    data = source.read_bytes() + b"\xab garbage" + frame(RecordType.SPAN, bytes(8) + b"\xff")
    (folder / "j").mkdir()
    segment = folder / "j" / source.name
    segment.touch()
    tail = JournalTail(folder / "j")
    met: list[str] = []
    done = 0
    for cut in [*sorted(min(cut, len(data)) for cut in cuts), len(data)]:
        with segment.open("ab") as file:
            file.write(data[done:cut])
        done = cut
        met += names(tail.look())
    assert met == [f"stage {number}" for number in range(5)]
    segment.unlink()
    assert names(tail.look()) == []


def test_what_runs_is_met_with_the_windows_that_are_open(tmp_path):
    with crucible.configure(journal=tmp_path, ship="off"), crucible.training_run("r") as run:
        tail = JournalTail(tmp_path)
        with run.epoch(0) as epoch:
            for step in range(3):
                epoch.record_step(loss=1.0 - step / 4)
            look = tail.look()
            assert [(span.about, span.is_running) for span in look.spans if span.operation == "epoch"] == [
                ("epoch 0", True)
            ]
            (window,) = look.windows
            assert window.span_id == f"{epoch.span_context.span_id:016x}"
            assert window.event.attributes["crucible.window.last_step"] == 2
            assert len(tail.look().windows) == 1  # still open
        ended = tail.look()
        assert [span.about for span in ended.spans if not span.is_running] == ["epoch 0"]
    assert not tail.look().has_died


def test_a_journal_that_was_taken_away_is_an_error(tmp_path):
    tail = JournalTail(write(tmp_path / "j", [digits()]))
    (tmp_path / "j").rename(tmp_path / "elsewhere")
    with pytest.raises(StoreError):
        tail.look()


@pytest.mark.parametrize("seen_before", [True, False])
def test_a_process_that_dies_is_told_once(tmp_path, seen_before):
    write(tmp_path, [digits()])  # by this process, which lives
    code = (
        "import sys, crucible_trace_otel as crucible; crucible.configure(journal=sys.argv[1], ship='off');"
        "run = crucible.training_run('r').start(); print(flush=True); sys.stdin.read()"
    )
    tail = JournalTail(tmp_path)
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        if seen_before:
            tail = JournalTail(tmp_path)
            assert not tail.look().has_died
        process.kill()
    assert tail.look().has_died
    assert not tail.look().has_died
