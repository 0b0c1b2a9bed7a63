"""What the shipper says: little, bounded, and never a secret."""

from __future__ import annotations

from typing import TYPE_CHECKING

from crucible_trace_otel.ship import log as module
from crucible_trace_otel.ship.log import ShipperLog, log_of

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


class Clock:
    """A clock that is set by hand."""

    now = 1_000_000.0

    def monotonic(self) -> float:
        return self.now

    strftime = staticmethod(lambda *_: "2026-01-01T00:00:00Z")
    gmtime = staticmethod(lambda: None)


def test_p37_a_trouble_that_goes_on_is_a_line_a_minute_then_twenty_a_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    log = ShipperLog(tmp_path)

    def lines() -> int:
        return len(log_of(tmp_path).read_text().splitlines())

    for _ in range(3600):
        log.say("retry", "nobody there")
        clock.now += 1
    assert lines() == 60
    for _ in range(24 * 60):
        log.say("retry", "nobody there")
        clock.now += 60
    assert lines() <= 80
    assert log.say("other", "something else")
    assert "something else" in log_of(tmp_path).read_text()


def test_p37_a_collector_that_comes_and_goes_is_no_more_lines_than_one_that_stays_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    log = ShipperLog(tmp_path)

    def come_and_go(times: int) -> int:
        before = len(log_of(tmp_path).read_text().splitlines()) if log_of(tmp_path).exists() else 0
        for _ in range(times):
            told = {"retry"} if log.say("retry", "nobody there") else set()
            clock.now += 5
            log.end(told, "is back")
            clock.now += 5
        return len(log_of(tmp_path).read_text().splitlines()) - before

    assert 50 <= come_and_go(360) <= 60
    assert come_and_go(24 * 360) <= 20 + 2
    lines = [line.rpartition(" ")[2] for line in log_of(tmp_path).read_text().splitlines()]
    assert lines == ["there", "back"] * (len(lines) // 2)


def test_an_end_is_told_where_its_beginning_was(tmp_path: Path) -> None:
    log = ShipperLog(tmp_path)
    log.end((), "is back")
    assert not log_of(tmp_path).exists()
    assert log.say("retry", "nobody there")
    assert not log.say("retry", "nobody there")
    log.end(["retry"], "is back")
    assert len(log_of(tmp_path).read_text().splitlines()) == 2


def test_it_is_private_one_line_each_and_never_holds_a_secret(tmp_path: Path) -> None:
    log = ShipperLog(tmp_path, ["Bearer s3cret", "s3cret", "", "p\nw456"])
    log.say("a", "refused: Bearer s3cret, or s3cret\nor 'p\\nw456'\x1b[2J" + "x" * 5_000)
    text = log_of(tmp_path).read_text()
    assert "s3cret" not in text
    assert "w456" not in text
    assert text.count("\n") == 1
    assert "\x1b" not in text
    assert len(text) < 1_100
    assert log_of(tmp_path).stat().st_mode & 0o777 == 0o600


def test_it_is_turned_over_once_it_is_long(tmp_path: Path) -> None:
    log = ShipperLog(tmp_path)
    for number in range(700):
        log.say(f"kind {number}", "x" * 990)
    sizes = [path.stat().st_size for path in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert max(sizes) < module.LONGEST + 2_000


def test_a_log_that_cannot_be_written_raises_nothing(tmp_path: Path) -> None:
    ShipperLog(tmp_path / "none").say("a", "b")
