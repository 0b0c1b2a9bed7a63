"""The right to send what one host has written: one process or thread has it, and loses it when it dies."""

import json
import os
import re
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.liveness import Life, host_name, identity, life_of

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["Lease", "is_held", "lease_of"]

_PATIENCE_S = 0.2
_POLL_S = 0.02
_BEAT_S = 10.0
_LONGEST = 64
_leases: "weakref.WeakSet[Lease]" = weakref.WeakSet()


def lease_of(directory: Path, host: str | None = None) -> Path:
    """The file that is locked by who sends what `host` (by default this one) has written to `directory`."""
    name = re.sub(r"[^A-Za-z0-9._-]", "_", host or host_name())[:_LONGEST]
    return directory / f"shipper@{name}.lease"


def is_held(directory: Path, host: str | None = None) -> bool:
    """Whether somebody, also this process, has the lease of a host. Never raises; waits for nothing."""
    path = lease_of(directory, host)
    if not _lives(path):
        return False  # without a try for the lock, which would be in the way of who takes it just now
    try:
        fd = files.open_regular(path)
    except OSError:
        return False
    try:
        taken = files.try_lock(fd)
    finally:
        files.let_go(fd)
    return taken is not True


class Lease:
    """The lease of one host for one directory.

    The kernel releases it with the death of the process. Where the file system has no locks, who holds it is written in
    the file, and has it as long as that process lives. A forked child does not hold it.

    Args:
        directory: Of the journal; made where it is missing.
        host: Whose; by default this one.
    """

    def __init__(self, directory: Path, host: str | None = None) -> None:
        self.path = lease_of(directory, host)
        self._fd: int | None = None
        self._is_locked = False
        self._beaten = 0.0
        _leases.add(self)

    def take(self, patience_s: float = _PATIENCE_S) -> bool:
        """Try for `patience_s` seconds; whether it is held now. Never raises."""
        until = time.monotonic() + patience_s
        while True:
            with suppress(OSError):
                if self._try():
                    return True
            if time.monotonic() >= until:
                return False
            time.sleep(_POLL_S)

    def is_mine(self) -> bool:
        """Whether it is still held: somebody may have deleted the file. To be called each second or so."""
        if self._fd is None:
            return False
        try:
            here, there = os.fstat(self._fd), self.path.lstat()
            if (here.st_dev, here.st_ino) != (there.st_dev, there.st_ino):
                return False
            if time.monotonic() - self._beaten > _BEAT_S:  # what others see where they see neither pid nor lock
                self._beaten = time.monotonic()
                os.utime(self.path)
        except OSError:
            return False
        return self._is_locked or _written(self.path) == identity()

    def release(self) -> None:
        """Let others have it. Never raises."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with suppress(Exception):  # whatever becomes of what is written there, the lock is let go
            if _written(self.path) == identity():
                files.truncate(fd, 0)
        with suppress(OSError):
            if self._is_locked and fcntl is not None:  # a child that is just being started may have a copy
                fcntl.flock(fd, fcntl.LOCK_UN)
        with suppress(OSError):
            os.close(fd)

    def _try(self) -> bool:
        if self._fd is not None:
            if self.is_mine():
                return True
            self.release()
        files.make_private_directory(self.path.parent)
        fd = files.open_append(self.path)
        try:
            taken = files.try_lock(fd)
            if taken is False or (taken is None and _lives(self.path)):
                os.close(fd)
                return False
            files.truncate(fd, 0)
            files.write_all(fd, json.dumps(identity()).encode())
            self._is_locked = taken is True
            if not self._is_locked:
                time.sleep(_POLL_S)  # whoever wrote last, of those who came at the same time, has it
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd
        if self.is_mine():
            return True
        self._fd = None
        os.close(fd)
        return False

    def forget(self) -> None:
        """In a forked child: the lease is the parent's, and an inherited descriptor would outlive it."""
        fd, self._fd = self._fd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


def _written(path: Path) -> Mapping[str, Any]:
    """Who has the lease, as the file says; empty where it does not."""
    try:
        holder = json.loads(files.read_from(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return holder if isinstance(holder, dict) else {}


def _lives(path: Path) -> bool:
    """Whether the process that the file names lives."""
    holder = _written(path)
    return bool(holder) and life_of(holder, path) is not Life.DEAD


def _forget_all() -> None:
    for lease in list(_leases):
        lease.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
