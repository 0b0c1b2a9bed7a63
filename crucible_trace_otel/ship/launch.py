"""Starts the process that sends: detached, with a few variables and, through a pipe, its settings."""

import fcntl
import json
import os
import subprocess
import sys
import time
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Final

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.log import log_of

__all__ = ["MARK", "start_process"]

MARK: Final = "CRUCIBLE_SHIPPER"
"""The environment variable by which the process is known: nothing records there."""

_SHELL = "/bin/sh"
_PASSED_ON = ("LANG", "LC_ALL", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR", "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH")
_PIPE_HOLDS = 60_000
_MOST_STARTS, _WITHIN_S = 6, 120.0
_SHELL_S = 5.0
_started: dict[Path, deque[float]] = {}


def start_process(
    directory: Path, destination: Destination, *, linger_s: float, limit_bytes: int, since: int = 0
) -> bool:
    """Start a process that sends what is in `directory`, and outlives this one; it is no child of this one.

    Several may be started at once: one of them gets the lease, the others end. One that sends elsewhere, as an older
    configuration says, leaves.

    Args:
        directory: Of the journal; made where it is missing.
        destination: Where to; goes through a pipe, never into the arguments or the environment.
        linger_s: How long it goes on trying when no writer is left.
        limit_bytes: What the journal may take on disk.
        since: When the program was configured that says so, nanoseconds on the monotonic clock.

    Returns:
        False where none can be started, or where those that were started did not stay. Never raises.
    """
    directory = Path(directory).absolute()
    settings = {
        "directory": str(directory),
        "destination": destination.to_json(),
        "linger_s": linger_s,
        "limit_bytes": limit_bytes,
        "owner": identity(),
        "since": since,
    }
    content = json.dumps(settings).encode() + b"\n"
    if not _is_python() or len(content) > _PIPE_HOLDS or _comes_again(directory):
        return False
    with suppress(Exception):
        files.make_private_directory(directory)
        return _start(directory, content)
    return False


def _start(directory: Path, content: bytes) -> bool:
    """Start it through a shell that ends at once, so that the process is nobody's child.

    Raises:
        OSError: It cannot be started.
    """
    reading, writing = map(_above_stdio, os.pipe())
    try:
        os.set_blocking(writing, False)  # the pipes of a user with many of them hold little
        if os.write(writing, content) < len(content):
            return False
        os.close(writing)
        writing = -1
        script = str(Path(__file__).with_name("__main__.py"))
        program = [sys.executable, "-I", "-S", script, "--config-fd", str(reading)]
        log = files.open_append(log_of(directory))
        try:
            shell = subprocess.Popen(  # noqa: S603 - nothing in it comes from data
                [_SHELL, "-c", '"$@" & exit 0', "sh", *program],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=log,
                cwd="/",
                env={MARK: "1", **{name: os.environ[name] for name in _PASSED_ON if name in os.environ}},
                pass_fds=(reading,),
                start_new_session=True,
            )
        finally:
            os.close(log)
        return shell.wait(_SHELL_S) == 0
    finally:
        os.close(reading)
        if writing >= 0:
            os.close(writing)


def _above_stdio(fd: int) -> int:
    """The same pipe under a number that no standard stream takes: a program may have closed its own."""
    if fd > 2:  # noqa: PLR2004
        return fd
    high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    os.close(fd)
    return high


def _is_python() -> bool:
    """Whether `sys.executable` is a Python, and not a frozen program or one that embeds it; and there is a shell."""
    if not sys.executable or getattr(sys, "frozen", False) or os.name != "posix":
        return False
    program = Path(sys.executable)
    named = any(name in program.name.lower() for name in ("python", "pypy"))
    return named and program.is_absolute() and os.access(program, os.X_OK) and os.access(_SHELL, os.X_OK)


def _comes_again(directory: Path) -> bool:
    """Whether processes for `directory` were started again and again, and so do not stay."""
    now = time.monotonic()
    starts = _started.setdefault(directory, deque(maxlen=_MOST_STARTS))
    if len(starts) == _MOST_STARTS and now - starts[0] < _WITHIN_S:
        return True
    starts.append(now)
    return False
