"""How a program ends: whichever way, what ended is kept, no run looks successful, and the exit is what it was."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from tests.journal.process import environment

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs signals as POSIX has them")

BARE = """
import os, signal, sys
{ending}
"""
RECORDING = """
import os, signal, sys
import crucible_trace_otel as crucible
crucible.configure(service_name="s")
run = crucible.training_run("digits"){start}
{enter}
    for epoch in run.epochs(3):
        for step in range(10):
            epoch.record_step(loss=1.0 / (step + 1))
        if epoch.index == 1:
            {ending}
"""
ENDINGS = {
    "exception": "raise ValueError('no data')",
    "sys.exit(3)": "sys.exit(3)",
    "sys.exit(0)": "sys.exit(0)",
    "os._exit(4)": "os._exit(4)",
    "os.abort": "os.abort()",
    "SIGTERM": "os.kill(os.getpid(), signal.SIGTERM)",
    "SIGKILL": "os.kill(os.getpid(), signal.SIGKILL)",
    "SIGHUP": "os.kill(os.getpid(), signal.SIGHUP)",
    "Ctrl-C": "os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(5)",
}
STATES = {  # where the run is entered by `with`; where it is only started, what does not end is interrupted
    "exception": "failed",
    "sys.exit(3)": "failed",
    "sys.exit(0)": "completed",
    "Ctrl-C": "cancelled",
}


def ended(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize("form", ["with", "start"])
@pytest.mark.parametrize("ending", list(ENDINGS))
def test_p11_the_end_of_a_program_is_told_and_not_changed(tmp_path: Path, ending: str, form: str) -> None:
    bare = ended(BARE.format(ending=ENDINGS[ending]), tmp_path)
    enter, start = ("with run:", "") if form == "with" else ("if True:", ".start()")
    done = ended(RECORDING.format(ending=ENDINGS[ending], enter=enter, start=start), tmp_path)
    assert done.returncode == bare.returncode
    assert done.stdout == ""
    trace = crucible.open_store(tmp_path / ".crucible").get("digits")
    (run,) = (span for span in trace.spans if span.name == "training_run")
    epochs = [span for span in trace.spans if span.name == "epoch"]
    assert len(epochs) == 2
    state = STATES.get(ending, "interrupted") if form == "with" else "interrupted"
    assert run.attributes[attr.CRUCIBLE_RUN_STATE] == state
    assert run.status == ("error" if state not in ("completed", "cancelled") else run.status)
    assert run.status != "ok"
    steps = crucible.step_rows(trace).rows
    assert len(steps) == 20
    if state == "interrupted":
        assert run.attributes[attr.CRUCIBLE_RUN_CAUSE]
        assert any(span.name == "training_run_interrupted" for span in trace.spans)


def test_p11_signals_keep_their_default_handlers(tmp_path: Path) -> None:
    code = """
import os, signal
names = [name for name in dir(signal) if name.startswith("SIG") and not name.startswith("SIG_")]
def handlers():
    return [signal.getsignal(getattr(signal, name)) for name in names if name not in ("SIGRTMIN", "SIGRTMAX")]
before, leaves = handlers(), os._exit
import crucible_trace_otel as crucible
with crucible.configure(service_name="s"), crucible.training_run("r") as run:
    run.record_step(loss=1.0)
    assert handlers() == before
    assert os._exit is leaves
"""
    done = ended(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")


def test_p35_what_was_never_ended_is_listed_at_the_end(tmp_path: Path) -> None:
    code = """
import crucible_trace_otel as crucible
crucible.configure(service_name="s")
crucible.stage("left open").start()
"""
    done = ended(code, tmp_path)
    assert done.returncode == 0
    assert "have not ended: stage left open" in done.stderr
    (span,) = (s for s in crucible.open_store(tmp_path / ".crucible").latest().spans if s.name == "stage left open")
    assert span.status == "error"
