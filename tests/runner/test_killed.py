"""A process that is killed in the middle of a plan: what ran, what was interrupted, what was not reached."""

import os
import signal
import subprocess
import sys

import crucible_trace_otel as crucible
from tests.cli.running import crucible_trace

PROGRAM = """
import os, signal, time
import crucible_trace_otel as crucible

def train(context, options):
    while not any(span.operation == "stage" and span.is_running for span in crucible.open_store("j").latest().spans):
        time.sleep(0.05)  # what is open is written down once it is a second old
    os.kill(os.getpid(), signal.SIGKILL)

plan = {"id": "e", "backend": {"id": "b"}, "pipeline": [{"name": "load"}, {"name": "train"}, {"name": "publish"}]}
crucible.configure(journal="j", ship="off")
crucible.run_plan(plan, {"load": lambda context, options: None, "train": train, "publish": print})
"""


def test_a_killed_run_tells_how_far_it_came(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CRUCIBLE_"))}
    command = [sys.executable, "-W", "error", "-c", PROGRAM]
    killed = subprocess.run(command, cwd=tmp_path, env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert crucible_trace("recover", "--journal", tmp_path / "j").exit_code == 0
    stages = crucible.planned_stages(crucible.open_store(tmp_path / "j").latest())
    assert [(stage.name, stage.state) for stage in stages] == [
        ("load", "ran"),
        ("train", "interrupted"),
        ("publish", "not_reached"),
    ]
