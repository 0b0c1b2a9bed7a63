"""A store that an environment variable names: by a binary, run here with the shipped file, or by its base URL."""

from __future__ import annotations

import os
import urllib.parse
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.backends.process import BackendProcess, free_ports
from tests.backends.query_api import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.backends.sink import ReceivedSpan


@dataclass(frozen=True)
class Ports:
    """Where a store listens, on loopback."""

    query: int
    otlp: int
    internal: int
    other: int


@dataclass(frozen=True)
class Backend:
    """Where a running store is asked, where it is sent to, and by which protocol."""

    query: str
    otlp: str
    protocol: str

    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        """What it has of a trace now."""
        raise NotImplementedError

    def stored(self, trace_id: str, count: int) -> list[ReceivedSpan]:
        """What it has of a trace once that are so many spans."""
        return until(lambda: self.trace(trace_id), lambda spans: len(spans) >= count)


@contextmanager
def named_backend(
    variable: str, binary: str, directory: Path, command: Callable[[Path, Ports], tuple[list[str], str]]
) -> Iterator[tuple[str, str, str]]:
    """The fields of a `Backend` for what `variable` names; a skip where it names nothing.

    `command(directory, ports)` writes the file that the binary runs with; its arguments, and its readiness page.
    """
    named = os.environ.get(variable)
    if not named:
        pytest.skip(f"no {binary} to test with: set {variable} to its binary or to a base URL")
    if named.startswith(("http://", "https://")):
        yield named.rstrip("/"), f"http://{urllib.parse.urlsplit(named).hostname}:4318", "http/protobuf"
        return
    ports = Ports(*free_ports(4))
    arguments, ready_url = command(directory, ports)
    process = BackendProcess([named, *arguments], ready_url=ready_url, directory=directory)
    process.start(seconds=60)
    try:
        yield f"http://127.0.0.1:{ports.query}", f"127.0.0.1:{ports.otlp}", "grpc"
    finally:
        process.kill()  # a polite stop takes up to half a minute, and nothing it holds is wanted
