"""The right to send what one host has written: one process or thread has it, and loses it when it dies.

Who wants to send elsewhere, as a newer configuration says, takes a second lease, that of who comes next. Who has the
first one sees that, and leaves. Both are locks, so whoever is killed on the way leaves nothing behind.
"""

import json
import os
import re
import threading
import time
import weakref
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.liveness import Life, host_name, identity, life_of
from crucible_trace_otel.ship.claim import Claim

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = ["NEXT", "SENDS", "Lease", "holder_of", "is_held", "lease_of"]

SENDS: Final = "shipper"
"""The lease of who sends."""
NEXT: Final = "next"
"""The lease of who is to send next."""
_PATIENCE_S = 0.2
_POLL_S = 0.02
_LEAVING_S = 60.0  # who is asked to leave ends its request first
_BEAT_S = 10.0
_LONGEST = 64
_leases: "weakref.WeakSet[Lease]" = weakref.WeakSet()


def lease_of(directory: Path, host: str | None = None, name: str = SENDS) -> Path:
    """The file that is locked by who sends, or is to send next, what `host` (by default this one) has written."""
    place = re.sub(r"[^A-Za-z0-9._-]", "_", host or host_name())[:_LONGEST]
    return directory / f"{name}@{place}.lease"


def holder_of(directory: Path, host: str | None = None, name: str = SENDS) -> Mapping[str, Any]:
    """What the lease of a host says of who has it, also this process; empty where nobody has it.

    Its `pid`, and where it is known its `to`, an address without secrets. Never raises; waits for nothing.
    """
    path = lease_of(directory, host, name)
    holder = _written(path)
    if not holder or life_of(holder, path) is Life.DEAD:
        return {}  # without a try for the lock, which would be in the way of who takes it just now
    try:
        fd = files.open_regular(path)
    except OSError:
        return {}
    try:
        taken = files.try_lock(fd)
    finally:
        files.let_go(fd)
    return {} if taken else holder


def is_held(directory: Path, host: str | None = None) -> bool:
    """Whether somebody, also this process, has the lease of a host. Never raises; waits for nothing."""
    return bool(holder_of(directory, host))


class Lease:
    """The lease of one host for one directory.

    The kernel releases it with the death of the process. Where the file system has no locks, who holds it is written in
    the file, and has it as long as that process lives. A forked child does not hold it.

    Args:
        directory: Of the journal; made where it is missing.
        host: Whose; by default this one.
        claim: Where who has it sends; without one nobody gives way to anybody.
        name: Which of the leases of that host.
    """

    def __init__(self, directory: Path, host: str | None = None, claim: Claim | None = None, name: str = SENDS) -> None:
        self.path = lease_of(directory, host, name)
        self._claim = claim
        self._next = None if claim is None or name == NEXT else Lease(directory, host, claim, NEXT)
        self._fd: int | None = None
        self._is_locked = False
        self._beaten = 0.0
        _leases.add(self)

    def take(self, patience_s: float = _PATIENCE_S, stop: threading.Event | None = None) -> bool:
        """Try for `patience_s` seconds; whether it is held now. Never raises.

        Who has it for an older configuration, which sends elsewhere, is asked to leave, and waited for for a minute.
        Who comes for an older configuration than who is to be next does not get it.
        """
        until, has_asked = time.monotonic() + patience_s, False
        try:
            while True:
                with suppress(OSError):
                    if not self.wanted_by() and self._try():
                        return True
                if not has_asked and self._asks():
                    until, has_asked = max(until, time.monotonic() + _LEAVING_S), True
                if time.monotonic() >= until or (stop is not None and stop.is_set()):
                    return False
                time.sleep(_POLL_S)
        finally:
            if self._next is not None:
                self._next.release()

    def wanted_by(self) -> Mapping[str, Any]:
        """What is known of who wants to send elsewhere, as a newer configuration says; empty where nobody does."""
        if self._claim is None or self._next is None:
            return {}
        coming = _written(self._next.path)
        if not self._claim.gives_way_to(coming) or life_of(coming, self._next.path) is Life.DEAD:
            return {}
        return coming

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
        return self._is_locked or _is_ours(_written(self.path))

    def release(self) -> None:
        """Let others have it. Never raises."""
        fd, self._fd = self._fd, None
        if fd is None:
            return
        with suppress(Exception):  # whatever becomes of what is written there, the lock is let go
            if _is_ours(_written(self.path)):
                files.truncate(fd, 0)
        with suppress(OSError):
            if self._is_locked and fcntl is not None:  # a child that is just being started may have a copy
                fcntl.flock(fd, fcntl.LOCK_UN)
        with suppress(OSError):
            os.close(fd)

    def _asks(self) -> bool:
        """Ask who has the lease to leave, where that is due."""
        if self._claim is None or self._next is None or not self._claim.outranks(_written(self.path)):
            return False
        return self._next.take(0)

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
            said = {} if self._claim is None else self._claim.written()
            files.write_all(fd, json.dumps({**identity(), **said}).encode())
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


def _is_ours(holder: Mapping[str, Any]) -> bool:
    """Whether this process has written that."""
    return identity().items() <= holder.items()


def _lives(path: Path) -> bool:
    """Whether the process that the file names lives."""
    holder = _written(path)
    return bool(holder) and life_of(holder, path) is not Life.DEAD


def _forget_all() -> None:
    for lease in list(_leases):
        lease.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
