"""The example that draws a loss curve, on recorded runs."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import pytest

import crucible_trace_otel as crucible

ROOT = Path(__file__).parents[2]
PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    with crucible.configure(journal=tmp_path / "j", ship="off"):
        for _ in range(2):
            with crucible.training_run("cost in $ and \\frac", run_id="$monday$") as run:
                for step in range(300):
                    run.record_step(loss=math.nan if step == 100 else 1 / (step + 1))
                    if step % 10 == 0:
                        run.record_step(step=step, val_loss=0.5, note="x")
        with crucible.pipeline("no training"):
            pass
    return tmp_path


def plot(folder: Path, *arguments: str, code: str = "pass") -> subprocess.CompletedProcess[str]:
    script = ROOT / "examples" / "plot_loss.py"
    run = f"import sys, runpy; sys.path.insert(0, {str(script.parent)!r}); {code}; sys.argv[0] = 'plot_loss.py'; "
    run += f"runpy.run_path({str(script)!r}, run_name='__main__')"
    command = [sys.executable, "-W", "error", "-c", run, *arguments, "--journal", str(folder / "j")]
    return subprocess.run(command, cwd=folder, text=True, capture_output=True, check=False)


@pytest.mark.parametrize("options", [[], ["--column", "val_loss"]])
def test_the_curve_is_drawn(recorded, options):
    drawn = plot(recorded, "$monday$", "--output", "curve.png", *options)
    assert (drawn.returncode, drawn.stderr) == (0, "")
    assert drawn.stdout.endswith(" are drawn in curve.png.\n")
    assert (recorded / "curve.png").read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["no training"], "no training has no numbers to draw."),
        (["$monday$", "--column", "note"], "has no number 'note'."),
        (["nobody"], "No trace in "),
    ],
)
def test_what_cannot_be_drawn_is_said(recorded, arguments, said):
    refused = plot(recorded, *arguments)
    assert refused.returncode == 1
    assert said in refused.stderr
    assert "Traceback" not in refused.stderr
    assert [path.name for path in recorded.iterdir()] == ["j"]


def test_without_matplotlib_the_extra_is_named(recorded):
    refused = plot(recorded, "$monday$", code="sys.modules['matplotlib'] = None")
    assert refused.returncode == 1
    assert "pip install 'crucible_trace_otel[plot]'" in refused.stderr
