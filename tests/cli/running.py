"""The command line, called as a function and as a program."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from crucible_trace_otel.cli import main

ROOT = Path(__file__).parents[2]


def crucible_trace(*arguments, **more):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **more)


def program(*arguments, **environment):
    """The program as a process of its own."""
    command = [sys.executable, "-m", "crucible_trace_otel.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, cwd=ROOT, env={**os.environ, **environment}, timeout=60, check=False
    )
