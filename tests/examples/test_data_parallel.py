import os
import re
import subprocess
import sys
from pathlib import Path

from crucible_trace_otel.store import open_store
from crucible_trace_otel.trace.stragglers import stragglers

SCRIPT = Path(__file__).parents[2] / "examples" / "data_parallel.py"


def test_four_processes_train_one_model_and_the_slow_one_is_named(tmp_path):
    journal = tmp_path / "of all ranks"
    environment = {**os.environ, "CRUCIBLE_JOURNAL": str(journal), "CRUCIBLE_CONSOLE": "0"}
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "RANK", "WORLD_SIZE"):
        environment.pop(name, None)
    finished = subprocess.run(
        [sys.executable, "-W", "error", str(SCRIPT), "--slow", "1"],
        cwd=tmp_path,
        env=environment,
        text=True,
        capture_output=True,
        check=False,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    assert re.search(r"^4 processes read 9\d\.\d% of the test images\.$", finished.stdout, re.MULTILINE)
    assert re.search(r"^rank 1 on node .* was slowest in \d\d of 60 steps, by ", finished.stdout, re.MULTILINE)
    trace = open_store(journal).latest()
    assert (len(trace.roots), len(trace.trace_ids), trace.is_complete) == (1, 1, True)
    report = stragglers(trace)
    assert (report.straggler.rank, report.world_size, report.meetings) == (1, 4, 65)
    assert report.unknown == ()
