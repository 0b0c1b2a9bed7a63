"""The quick forms of what `make soak` does for half an hour."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from tests.soak.checks import flood, forks, kills

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork, /proc and signals as Linux has them")


def test_p09_kills_at_random_instants_lose_nothing_that_returned(tmp_path: Path) -> None:
    kills(tmp_path / "journal", 10)


def test_p22_forks_while_threads_record_lose_nothing_and_nobody_hangs(tmp_path: Path) -> None:
    forks(tmp_path / "journal", 50)


@pytest.mark.parametrize("has_endpoint", [True, False])
def test_p06_p26_many_spans_without_a_collector_stay_within_bounds(tmp_path: Path, has_endpoint: bool) -> None:
    flood(tmp_path / "journal", 50_000, 16, say=lambda _: None, has_endpoint=has_endpoint)
