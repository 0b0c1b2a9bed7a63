"""The example that runs a plan with a stage that is not enabled and one that fails."""

import os
import re
import subprocess
import sys
from pathlib import Path

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr

ROOT = Path(__file__).parents[2]

PRINTED = """
digits-softmax: failed in gate; 3 of 6 stages ran, 1 skipped, 1 not reached

  load      ran
  augment   skipped
  train     ran
  evaluate  ran
  gate      failed        ValueError: accuracy 0.953 is under 0.999
  publish   not reached

Runs of this very plan (<sha>) in the journal: 1
"""


def test_the_plan_is_told_beside_what_ran(tmp_path):
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "CRUCIBLE_"))}
    environment["CRUCIBLE_JOURNAL"] = str(tmp_path / "j")
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "experiment_plan.py")]
    ran = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")
    printed = re.sub(r" +[\d.]+ ms", "", re.sub(r"\(\w{12}\)", "(<sha>)", ran.stdout))
    printed = re.sub(r"accuracy 0\.\d+", "accuracy 0.953", printed)
    assert re.sub(r" +", " ", printed.strip()) == re.sub(r" +", " ", PRINTED.strip())
    plan = crucible.read_plan(ROOT / "examples" / "experiment_plan.json")
    assert plan.problems() == ()
    trace = crucible.open_store(tmp_path / "j").latest()
    (experiment,) = trace.roots
    assert experiment.attributes[attr.CRUCIBLE_EXPERIMENT_PLAN_SHA256] == plan.sha256
    (run,) = [span for span in trace.spans if span.operation == "training_run"]
    assert trace.by_id[run.parent_id].name == "stage train"
    assert [path.name for path in tmp_path.iterdir()] == ["j"]
