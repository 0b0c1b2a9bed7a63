"""A program that is replaced by another, in the same process, has ended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.journal import liveness
from crucible_trace_otel.journal.liveness import Life, identity, life_of, pidfd_of
from crucible_trace_otel.journal.reader import note_of, segments_in
from crucible_trace_otel.journal.recovery import recover_dead
from tests.ship_process.recording import ROOT, wait_for

_RANDOM = Path("/proc/sys/kernel/randomize_va_space")
pytestmark = pytest.mark.skipif(
    not _RANDOM.exists() or _RANDOM.read_text().strip() == "0", reason="a program is told by where its stack lies"
)
_PROGRAM = """
import os, sys
import crucible_trace_otel as crucible
crucible.configure(service_name="s", journal=sys.argv[1])
pipeline = crucible.pipeline("p").start()
print("open", flush=True)
sys.stdin.readline()
os.execv(sys.executable, [sys.executable, "-c", "import sys; print('another', flush=True); sys.stdin.readline()"])
"""


def test_what_it_left_open_is_closed_while_the_process_lives_on(tmp_path: Path) -> None:
    command = [sys.executable, "-c", _PROGRAM, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdin=-1, stdout=-1, text=True) as process:
        try:
            assert process.stdout.readline() == "open\n"
            (segment,) = segments_in(tmp_path)
            note = note_of(segment)
            assert life_of(note, segment) is Life.ALIVE
            assert not recover_dead(tmp_path)
            process.stdin.write("\n")
            process.stdin.flush()
            assert process.stdout.readline() == "another\n"
            assert wait_for(lambda: life_of(note, segment) is Life.DEAD)
            assert pidfd_of(note) is None
            assert recover_dead(tmp_path)
            assert process.poll() is None
        finally:
            process.kill()
    (root,) = (span for span in crucible.open_store(tmp_path).latest().spans if span.name == "pipeline p")
    assert root.attributes["crucible.run.state"] == "interrupted"


def test_where_the_place_may_not_be_read_the_start_time_decides(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = identity()
    assert note["program"] is not None
    read = liveness._stat_fields
    monkeypatch.setattr(liveness, "_stat_fields", lambda process: [*read(process)[:25], "0"])
    assert life_of(note, tmp_path) is Life.ALIVE
    assert identity()["program"] is None
    monkeypatch.undo()
    assert life_of({**note, "program": None}, tmp_path) is Life.ALIVE
    assert life_of({**note, "program": "00000000"}, tmp_path) is Life.DEAD
