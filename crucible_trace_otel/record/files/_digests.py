"""SHA-256 and size of what was written or read, computed by a thread of its own, off the training thread."""

import math
import os
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.files._manifest import entries_of, manifest_digest

__all__ = ["FileDigest", "digest_later", "drain", "give_up"]

_CHUNK = 1 << 20
_SMALL = 1 << 16


@dataclass(frozen=True, slots=True)
class FileDigest:
    """What is known about a file or a directory: all of it, or why not."""

    size: int | None = None
    """Bytes; of a directory, the sum over its files."""
    sha256: str | None = None
    """64 lower-case hex digits, of a directory those of its manifest.

    None where it changed while it was read, or could not be read.
    """
    changed: bool | None = None
    """True where it changed while it was read, or was saved again before."""


@dataclass(eq=False)
class _Job:
    path: str
    done: Callable[[FileDigest], None]
    afterwards: Callable[[FileDigest], None]
    finished: threading.Event
    seen: os.stat_result | None = None
    """The file as it was when this was ordered; None where there was none."""
    digest: FileDigest | None = None
    """Where it is known, and `done` was called."""
    until: float = math.inf
    """When it is given up, by `time.perf_counter()`: one huge file must not hold up those behind it."""


_jobs: deque[_Job] = deque()
_wake = threading.Condition()
_worker: threading.Thread | None = None


def digest_later(
    path: str | os.PathLike[str],
    done: Callable[[FileDigest], None],
    afterwards: Callable[[FileDigest], None] = nothing,
    *,
    until: float = math.inf,
) -> threading.Event:
    """Digest what lies at `path` and call `done` with the result; the event says when that is done.

    A file of up to 64 KiB at once, which costs less than waking the thread; anything larger on the thread. `afterwards`
    is called behind `done`, always on the thread, and not at all where the process ends before. What is not read by
    `until`, a time of `time.perf_counter()`, has no digest.
    """
    global _worker  # noqa: PLW0603 - one thread a process, started at the first file
    job = _Job(os.fspath(path), done, afterwards, threading.Event(), _seen(path), until=until)
    if job.seen is not None and job.seen.st_size <= _SMALL:
        job.digest = _digest(job.path, job.seen, job.until)
        _finish(job, job.digest)
        if afterwards is nothing:
            return job.finished
    with _wake:
        if _worker is None or not _worker.is_alive():
            worker = threading.Thread(target=_work, name="crucible-digests", daemon=True)
            worker.start()
            _worker = worker
        _jobs.append(job)
        _wake.notify_all()
    return job.finished


def _seen(path: str | os.PathLike[str]) -> os.stat_result | None:
    """The status of a regular file."""
    try:
        status = os.stat(path)  # noqa: PTH116 - a path given as text stays as it was given
    except (OSError, ValueError):
        return None
    return status if stat.S_ISREG(status.st_mode) else None


def drain(timeout: float) -> bool:
    """Wait up to `timeout` seconds until every file handed in before this call is digested; say whether it is."""
    with _wake:
        return _wake.wait_for(lambda: not _jobs, timeout)


def give_up() -> None:
    """Finish what still waits without a digest: the process ends."""
    with _wake:
        left = list(_jobs)
        _jobs.clear()
    for job in left:
        if job.digest is None:
            _finish(job, FileDigest())


def _work() -> None:
    while True:
        with _wake:
            _wake.wait_for(lambda: _jobs)
            job = _jobs[0]
        digest = job.digest or _digest(job.path, job.seen, job.until)
        with _wake:
            given_up = not _jobs or _jobs[0] is not job
        if not given_up:
            if job.digest is None:
                _finish(job, digest)
            _do(job, job.afterwards, digest)
            with _wake:
                if _jobs and _jobs[0] is job:
                    _jobs.popleft()
                _wake.notify_all()


def _finish(job: _Job, digest: FileDigest) -> None:
    _do(job, job.done, digest)
    job.finished.set()


@guarded(nothing)
def _do(job: _Job, action: Callable[[FileDigest], None], digest: FileDigest) -> None:
    try:
        action(digest)
    except Exception as error:  # noqa: BLE001 - the thread must outlive one bad job
        warn_once(
            f"digest {type(error).__name__}",
            f"The digest of {job.path} was not recorded: {printable(error)}",
            exc_info=True,
        )


@guarded(lambda *_: FileDigest())
def _digest(path: str, seen: os.stat_result | None, until: float) -> FileDigest:
    is_directory = os.path.isdir(path)  # noqa: PTH112
    return _digest_of_directory(path, until) if is_directory else _digest_of_file(path, seen, until)


def _digest_of_directory(path: str, until: float) -> FileDigest:
    try:
        entries = entries_of(path)
        size = sum(entry.size for entry in entries)
        digests = []
        for entry in entries:
            of_file = FileDigest(sha256="") if entry.target is not None else _digest_of_file(entry.path, None, until)
            if of_file.sha256 is None:
                return FileDigest(size, changed=of_file.changed)
            digests.append((entry, of_file.sha256))
        if entries_of(path) != entries:
            return FileDigest(size, changed=True)
    except (OSError, ValueError) as error:
        return _without(path, error)
    return FileDigest(size, manifest_digest(digests))


def _digest_of_file(path: str, seen: os.stat_result | None, until: float) -> FileDigest:
    """What lies there; `changed` where it is not what was `seen` when this was ordered: it is being saved again."""
    try:
        # Not blocking, for a pipe without a writer would hold up every later digest.
        with os.fdopen(
            os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)), "rb"
        ) as file:
            before = os.fstat(file.fileno())
            if not stat.S_ISREG(before.st_mode):
                return _without(path, "it is no regular file")
            digest, size = sha256(), 0
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
                size += len(chunk)
                if size > before.st_size:  # it grows, and may do so for ever
                    return FileDigest(size, changed=True)
                if time.perf_counter() > until:
                    return FileDigest(before.st_size)
            after = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError) as error:  # a ValueError: no file system has such a name
        return _without(path, error)
    if _identity(before) != _identity(after) or (seen is not None and _identity(before) != _identity(seen)):
        return FileDigest(size=after.st_size, changed=True)
    return FileDigest(size=after.st_size, sha256=digest.hexdigest())


def _without(path: str, reason: object) -> FileDigest:
    warn_once(f"digest {path}", f"The file {path} has no digest in the trace: {reason}.")
    return FileDigest()


def _identity(status: os.stat_result) -> tuple[Any, ...]:
    return status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns


def _forget() -> None:
    """In a forked child: the thread and what waits for it belong to the parent."""
    global _worker, _wake  # noqa: PLW0603
    _worker = None
    _wake = threading.Condition()
    for job in _jobs:
        job.finished.set()
    _jobs.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
