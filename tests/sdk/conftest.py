"""An environment without OpenTelemetry settings, an empty working folder, and nothing configured afterwards."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel import sdk
from crucible_trace_otel.sdk import _providers
from tests.backends.sink import Sink

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(autouse=True)
def _nothing_configured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in os.environ:
        if name.startswith(("OTEL_", "CRUCIBLE_")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    yield
    sdk.shutdown(0.5)
    sdk._current.clear()
    _providers._switches.clear()
    _providers._own.clear()


@pytest.fixture
def sink() -> Iterator[Sink]:
    """A real OTLP receiver on loopback."""
    with Sink() as receiver:
        yield receiver
