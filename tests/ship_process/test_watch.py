"""Who watches the writers does not leave before the ends of those that died are written, whenever that was."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.ship.lease import Lease
from crucible_trace_otel.ship.log import ShipperLog
from crucible_trace_otel.ship.watch import Watch
from tests.ship_process.recording import Recorder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="kills a process")


class Interrupted(Watch):
    """A watch to which something happens between its look at the writers and what it says of them."""

    meanwhile: Callable[[], object] | None = None

    def _end_the_dead(self) -> bool:
        happens, self.meanwhile = self.meanwhile, None
        if happens is not None:
            happens()
        return super()._end_the_dead()


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Interrupted]:
    """It has the lease of the directory, and looks when it is told to."""
    lease = Lease(tmp_path)
    assert lease.take(1.0)
    found = Interrupted(tmp_path, lease, ShipperLog(tmp_path, ()), limit_bytes=1 << 40, owner=None, wake=lambda: None)
    yield found
    found.forget()
    lease.release()


def anyone_after_a_look(watch: Watch) -> bool:
    """Whether it says, looking once more, that somebody writes or has to be seen to."""
    watch._listed_at = -math.inf
    watch.look()
    assert watch.seen is not None
    return watch.seen.is_anyone_alive or watch.seen.is_behind


def test_one_that_dies_during_a_look_is_seen_to_at_the_next(watch: Interrupted, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.do("open training_run")
        assert anyone_after_a_look(watch)
        watch.meanwhile = recorder.kill
        assert anyone_after_a_look(watch)
    assert not list(tmp_path.glob("*-recovered.segment"))
    assert not anyone_after_a_look(watch)
    assert list(tmp_path.glob("*-recovered.segment"))


def test_one_that_has_let_go_and_lives_holds_nobody_up(watch: Interrupted, tmp_path: Path) -> None:
    with Recorder(tmp_path) as recorder:
        recorder.do("spans 1")
        assert anyone_after_a_look(watch)
        recorder.do("close")
        assert anyone_after_a_look(watch)
        assert not anyone_after_a_look(watch)
