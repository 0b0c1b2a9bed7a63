"""The main job, as a process, and what the lineage of its deployed model says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import crucible_trace_otel as crucible
from tests.cli.running import crucible_trace

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    environment = {**os.environ, "CRUCIBLE_SHIP": "off", "CRUCIBLE_CONSOLE": "0"}
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "CRUCIBLE_JOURNAL"):
        environment.pop(name, None)
    command = [sys.executable, str(ROOT / "examples" / "digits.py")]
    finished = subprocess.run(command, cwd=folder, env=environment, text=True, capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert "crucible-trace lineage digits-reader" in finished.stdout
    return folder / ".crucible"


def test_the_lineage_of_the_deployed_model_names_the_decision_the_run_the_checkpoint_and_its_digest(journal):
    (trace,) = crucible.open_store(journal).traces()
    story = crucible.lineage(trace, "digits-reader")
    (run,), (checkpoint,) = story.of("training_run"), story.of("checkpoint_save")
    (chosen,) = (edge.cause for edge in story.edges_of(run) if edge.type == "depends_on")
    told = crucible_trace("lineage", "digits-reader", "--journal", journal).stdout.splitlines()
    told = [line.strip() for line in told]
    assert any(line.startswith(f'{chosen.operation} "{chosen.about}"') for line in told)
    assert f'↳ depends_on {chosen.operation} "{chosen.about}"  (link)' in told
    assert any(line.startswith('training_run "digits"') and run.attributes["crucible.run.id"] in line for line in told)
    digest = checkpoint.attributes["crucible.checkpoint.sha256"]
    assert any(line.startswith(f'checkpoint_save "{checkpoint.about}"') and digest in line for line in told)
    assert '↳ serves model_save "demo-output/digits.npz"  (link, same digest)' in told
    assert [(one.count, one.failed) for one in story.inferences] == [(6, 0)]


def test_the_digest_of_the_deployed_model_leads_to_the_same_run(journal):
    (trace,) = crucible.open_store(journal).traces()
    (load,) = (span for span in trace.spans if span.operation == "model_load")
    by_digest = crucible.lineage(trace, load.attributes["crucible.model.sha256"][:12])
    by_name = crucible.lineage(trace, "digits-reader")
    assert by_digest.of("training_run") == by_name.of("training_run")
    assert by_digest.of("deployment") == by_name.of("deployment")
