"""Running a script in a process of its own, with nothing of the caller's OpenTelemetry settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]


def environment(**more: str) -> dict[str, str]:
    """What a script needs to run, and `more`."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
    return {**kept, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error", **more}


def start(code: str, cwd: Path, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """A process that runs `code`."""
    return subprocess.Popen(
        [sys.executable, "-c", dedent(code), *arguments],
        cwd=cwd,
        env=environment(**variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, cwd: Path, *arguments: str, seconds: float = 60, **variables: str) -> tuple[str, str]:
    """What `code` printed and what it complained about; it must end well."""
    process = start(code, cwd, *arguments, **variables)
    try:
        out, complaints = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        raise
    assert process.returncode == 0, complaints
    return out, complaints
