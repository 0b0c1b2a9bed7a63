"""The example of a canary: a version that is better is promoted, one that is worse is taken back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import crucible_trace_otel as crucible
from tests.journal.process import environment

ROOT = Path(__file__).parents[2]


def test_the_second_version_is_promoted_and_the_third_taken_back(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, str(ROOT / "examples" / "deployment_canary.py")],
        cwd=tmp_path,
        env=environment(CRUCIBLE_JOURNAL=str(tmp_path / "j")),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("version 2 serves") == 2
    trace = crucible.open_store(tmp_path / "j").latest()
    statuses = [
        (span.attributes["crucible.deployment.target.version"], span.attributes["deployment.status"])
        for span in trace.spans
        if span.operation == "deployment"
    ]
    assert sorted(statuses) == [("1", "succeeded"), ("2", "succeeded"), ("3", "failed")]
    (rollback,) = [span for span in trace.spans if span.operation == "deployment_rollback"]
    assert rollback.attributes["crucible.deployment.target.version"] == "2"
    assert sum(span.operation == "inference" for span in trace.spans) < 300
