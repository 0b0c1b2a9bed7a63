"""What is synced to the disk: segments that have grown, each until the disk has taken it."""

import os
from pathlib import Path

import pytest

from crucible_trace_otel.journal import files
from crucible_trace_otel.ship.syncing import Syncing


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The file numbers of what was synced, in order."""
    really, found = files.fdatasync, list[int]()

    def noted(fd: int) -> None:
        found.append(os.fstat(fd).st_ino)
        really(fd)

    monkeypatch.setattr(files, "fdatasync", noted)
    return found


def segments(folder: Path) -> list[Path]:
    paths = [folder / name for name in ("a-000000.seg", "b-000000.seg")]
    for path in paths:
        path.write_bytes(b"record")
    return paths


def test_only_what_has_grown_is_synced_again(tmp_path: Path, synced: list[int]) -> None:
    one, other = segments(tmp_path)
    syncing = Syncing(tmp_path)
    syncing.sync([one, other])
    syncing.sync([one, other])
    other.write_bytes(b"record and another")
    syncing.sync([one, other])
    assert synced == [one.stat().st_ino, other.stat().st_ino, other.stat().st_ino]


def test_what_is_gone_does_not_hold_up_the_others_and_comes_back_as_new(tmp_path: Path, synced: list[int]) -> None:
    one, other = segments(tmp_path)
    syncing = Syncing(tmp_path)
    one.unlink()
    syncing.sync([one, other])
    assert synced == [other.stat().st_ino]
    syncing.sync([])
    syncing.sync([other])
    assert synced == [other.stat().st_ino] * 2


def test_what_the_disk_refuses_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one, _ = segments(tmp_path)
    tried: list[int] = []

    def refuse_once(fd: int) -> None:
        tried.append(fd)
        if len(tried) == 1:
            raise OSError

    monkeypatch.setattr(files, "fdatasync", refuse_once)
    syncing = Syncing(tmp_path)
    for _ in range(3):
        syncing.sync([one])
    assert len(tried) == 2
