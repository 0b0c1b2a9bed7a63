"""Starting a real backend for a test, on loopback and free ports, and stopping it by its own process id."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KEPT_VARIABLES = ("PATH", "HOME", "TMPDIR")


def free_ports(count: int) -> list[int]:
    """Return `count` different ports nobody listens on just now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


class BackendProcess:
    """One child process with a readiness page; `log` holds what it wrote, over all its starts."""

    def __init__(self, command: Sequence[str], *, ready_url: str, directory: Path) -> None:
        self._command = list(command)
        self._ready_url = ready_url
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None
        self.log = directory / "backend.log"

    def start(self, *, seconds: float = 30.0) -> None:
        """Start it and wait until its readiness page answers 200."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self._directory, env=_environment()
            )
        deadline = time.monotonic() + seconds
        while not _answers(self._ready_url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                raise RuntimeError(
                    f"{self._command[0]} did not become ready:\n{self.log.read_text(encoding='utf-8')[-4000:]}"
                )
            time.sleep(0.05)

    def kill(self) -> None:
        """End it as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL, seconds=10)

    def stop(self, *, seconds: float = 40.0) -> None:
        """Ask it to end and wait; a process that does not is killed."""
        self._end(signal.SIGTERM, seconds=seconds)

    def _end(self, number: signal.Signals, *, seconds: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(number)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _environment() -> Mapping[str, str]:
    """A backend must not follow the OTEL_* variables and proxies of whoever runs the tests."""
    return {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}


def _answers(url: str) -> bool:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
