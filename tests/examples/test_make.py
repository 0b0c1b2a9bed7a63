"""`make examples` runs every one, and fails where one fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def make(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Without preparing anything: with the Python of the tests."""
    (tmp_path / ".plot").touch()
    (tmp_path / ".demo").touch()
    command = ["make", "-C", str(ROOT), "examples", f"VENV={tmp_path}", f"BIN={Path(sys.executable).parent}"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_every_example_is_run(tmp_path: Path) -> None:
    dry = make(tmp_path, "--dry-run")
    assert (dry.returncode, dry.stderr) == (0, "")
    parts = {"softmax.py"}  # what others import
    missing = [
        script.name for script in (ROOT / "examples").glob("*.py") if f"examples/{script.name}" not in dry.stdout
    ]
    assert set(missing) == parts


def test_one_that_fails_ends_it(tmp_path: Path) -> None:
    failed = make(tmp_path, f"EXAMPLES={tmp_path}/none.py {tmp_path}/later.py")
    assert failed.returncode != 0
    assert f"== {tmp_path}/none.py" in failed.stdout
    assert "later.py" not in failed.stdout
