"""What the tests of this folder share: the Collector's binary and a sink."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.backends.collector import collector_binary
from tests.backends.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def collector() -> Path:
    """The Collector's binary, or a skip that says what to install."""
    return collector_binary()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """An OTLP receiver on loopback."""
    with Sink() as running:
        yield running
