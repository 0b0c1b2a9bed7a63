"""One process or thread has the lease of a host, and loses it when it dies."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

from crucible_trace_otel.journal import files
from crucible_trace_otel.ship.lease import Lease, is_held, lease_of
from tests.ship_process.recording import ROOT, wait_for

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

_HOLD = """
import sys, time
from pathlib import Path
from crucible_trace_otel.ship.lease import Lease
lease = Lease(Path(sys.argv[1]))
print(lease.take(), flush=True)
time.sleep(60)
"""


def test_the_second_does_not_get_it_and_the_next_one_after_release_does(tmp_path: Path) -> None:
    directory = tmp_path / "journal"
    first, second = Lease(directory), Lease(directory)
    assert not is_held(directory)
    assert first.take()
    assert first.take()
    assert first.is_mine()
    assert is_held(directory)
    assert not second.take(0.05)
    first.release()
    assert not is_held(directory)
    assert second.take()
    second.release()


def test_it_is_private_and_each_host_has_its_own(tmp_path: Path) -> None:
    lease, other = Lease(tmp_path), Lease(tmp_path, "../gpu 7")
    assert lease.take()
    assert other.take()
    assert other.path.name == "shipper@.._gpu_7.lease"
    assert lease_of(tmp_path).stat().st_mode & 0o777 == 0o600
    lease.release()
    other.release()


def test_the_kernel_releases_it_with_the_death_of_the_process(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", _HOLD, str(tmp_path)], cwd=ROOT, stdout=-1) as holder:
        assert holder.stdout.readline() == b"True\n"
        assert is_held(tmp_path)
        holder.kill()
        holder.wait()
        lease = Lease(tmp_path)
        assert lease.take()
        lease.release()


def test_a_forked_child_does_not_keep_it(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    assert lease.take()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(writing)
        os.read(reading, 1)  # outlives the lease
        os._exit(0 if not lease.is_mine() else 1)
    os.close(reading)
    try:
        assert lease.is_mine()
        lease.release()
        assert not is_held(tmp_path)
    finally:
        os.close(writing)
        assert os.waitpid(child, 0)[1] == 0


def test_a_program_that_is_started_does_not_inherit_it(tmp_path: Path) -> None:
    lease = Lease(tmp_path)
    assert lease.take()
    with subprocess.Popen(["/bin/sleep", "60"], close_fds=False) as program:
        lease.release()
        held = is_held(tmp_path)
        program.kill()
    assert not held


def test_a_lease_whose_file_was_deleted_is_none(tmp_path: Path) -> None:
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert first.take()
    first.path.unlink()
    assert not first.is_mine()
    assert second.take()
    assert not first.take(0)
    second.release()


def test_without_locks_it_is_his_whose_name_stands_in_it_as_long_as_he_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "try_lock", lambda _: None)
    first, second = Lease(tmp_path), Lease(tmp_path)
    assert first.take()
    assert is_held(tmp_path)
    assert not second.take(0)
    first.release()
    assert not is_held(tmp_path)
    lease_of(tmp_path).write_text('{"pid": 1, "started": 1}')
    os.utime(lease_of(tmp_path), (1, 1))
    assert second.take()
    second.release()


def test_a_place_that_cannot_be_written_gives_no_lease_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert not Lease(tmp_path / "file").take(0)
    assert not is_held(tmp_path / "file")
    link = lease_of(tmp_path)
    link.symlink_to(tmp_path / "elsewhere")
    assert not Lease(tmp_path).take(0)
    assert not wait_for(lambda: is_held(tmp_path), seconds=0)
