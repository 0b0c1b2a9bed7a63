"""The lines of training and of inferences of `make bench`, in a small form: each runs, and all is read back."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.journal.process import environment

ROOT = Path(__file__).parents[1]
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads memory from /proc")


def rows_of(page: str) -> dict[str, list[str]]:
    """The cells of all tables, by the first of the row, without its numbers."""
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in page.splitlines() if line[:2] == "| "]
    return {re.sub(r"[\d,]+ steps", "N steps", row[0]): row[1:] for row in rows}


def made_by(options: list[str], directory: Path) -> dict[str, list[str]]:
    """The rows that a run of the benchmark prints, each of which the page has too."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "run.py"), *options],
        cwd=directory,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    made = rows_of(done.stdout)
    page = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
    assert not made.keys() - rows_of(page).keys()
    assert list(directory.iterdir()) == []
    return made


def test_every_line_of_training_runs_and_is_in_the_page(tmp_path: Path) -> None:
    options = ["--training", "--rounds", "1", "--steps", "500", "--many", "5000", "--paced", "5"]
    made = made_by(options, tmp_path)
    assert made["step: `record_step` with 6 numbers"][-1] == "500 of 500 (plain SDK: 500)"
    assert [made[row][0] for row in made if "SIGKILL" in row] == ["500 steps", "500 steps"]
    assert made["step: `record_reward` with 5 more numbers"][-1] == "500 of 500"
    assert made["N steps: read back"][0] == "5,000 steps"


def test_every_line_of_inferences_runs_and_is_in_the_page(tmp_path: Path) -> None:
    made = made_by(["--serving", "--rounds", "1"], tmp_path)
    assert made["inference, recorded"][-1] == "2,000 of 2,000"
    assert {row for row in made if row.startswith("inference")} == {
        "inference, recorded",
        "inference, not among those that are recorded",
    }
