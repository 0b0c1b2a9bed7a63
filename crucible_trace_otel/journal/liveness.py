"""Who writes a segment, and whether that process still lives.

A pid alone says little: it is used again, and it means nothing in another container or on another machine. A process is
known by its pid, its start time, the boot of its kernel and its pid namespace, the program by where its stack lies,
which `exec` changes. Where those cannot be compared, the lock on its newest segment decides, and where there are no
locks, how long ago it touched that segment.
"""

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from enum import Enum
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from crucible_trace_otel.journal import files

__all__ = ["SILENT_S", "Life", "host_name", "identity", "is_locked", "is_of_this_host", "life_of", "pidfd_of"]

SILENT_S: Final = 60.0
"""A writer of which nothing else is known is dead once its segment was left alone for so long; 10 s is usual."""
_MOST_PID = 1 << 31


class Life(Enum):
    """Whether a writer lives."""

    ALIVE = "alive"
    DEAD = "dead"
    UNKNOWN = "unknown"
    """It cannot be told yet."""


def identity() -> dict[str, Any]:
    """Who this process is, for the first record of each of its segments; what the system does not tell is None.

    `started` is in clock ticks since the boot; `program` differs once another one has been executed in the process.
    """
    fields = _stat_fields("self")
    return {"pid": os.getpid(), "started": _start_in(fields), "program": _program_in(fields), **_place()}


def is_of_this_host(note: Mapping[str, Any]) -> bool:
    """Whether the writer runs, or ran, on this machine: under its name, or under its kernel in another container."""
    place = _place()
    return note.get("host") == place["host"] or _is_known(note, place, "boot")


def life_of(note: Mapping[str, Any], newest_segment: Path) -> Life:
    """Whether the writer of a segment lives; never raises.

    Args:
        note: What `identity` returned in the writer.
        newest_segment: Its newest segment, the one it holds locked.
    """
    place = _place()
    if _sees_pid(note, place):
        seen = _life_of_pid(note)
        if seen is not Life.UNKNOWN:
            return seen
    locked = is_locked(newest_segment)
    if locked:
        return Life.ALIVE
    same_kernel = _is_known(note, place, "boot") or (note.get("boot") is None and note.get("host") == place["host"])
    if locked is not None and same_kernel:
        return Life.DEAD  # locks of one kernel are exact; another machine's may not be seen at all
    try:
        touched = newest_segment.stat().st_mtime
    except OSError:
        return Life.UNKNOWN
    if note.get("host") == place["host"] and not same_kernel and touched < _booted_at():
        return Life.DEAD  # written before this machine started, not by another machine of the same name
    return Life.DEAD if time.time() - touched > SILENT_S else Life.UNKNOWN


def pidfd_of(note: Mapping[str, Any]) -> int | None:
    """A descriptor that becomes readable when the writer ends; None where it is dead or cannot be seen.

    The caller closes it.
    """
    if not hasattr(os, "pidfd_open") or note.get("started") is None or not _sees_pid(note, _place()):
        return None
    try:
        fd: int = os.pidfd_open(note["pid"])
    except OSError:
        return None
    # From here on the pid cannot become another process's unseen.
    if _life_of_pid(note) is Life.ALIVE:
        return fd
    os.close(fd)
    return None


@lru_cache(maxsize=1)
def host_name() -> str:
    """The name of this machine, asked of the system: no socket is touched."""
    return os.uname().nodename if hasattr(os, "uname") else platform.node()


@lru_cache(maxsize=1)
def _boot() -> str | None:
    return _read("/proc/sys/kernel/random/boot_id")


def _place() -> dict[str, Any]:
    try:
        namespace: str | None = os.readlink("/proc/self/ns/pid")  # noqa: PTH115 - a name, not a path
    except OSError:
        namespace = None
    return {"boot": _boot(), "host": host_name(), "pid_namespace": namespace}


def _is_known(note: Mapping[str, Any], place: Mapping[str, Any], what: str) -> bool:
    return place[what] is not None and note.get(what) == place[what]


def _sees_pid(note: Mapping[str, Any], place: Mapping[str, Any]) -> bool:
    pid = note.get("pid")
    same = all(note.get(what) == place[what] for what in ("boot", "pid_namespace"))
    if place["boot"] is None:  # not Linux: one machine is one space of pids
        same = same and note.get("host") == place["host"]
    return os.name == "posix" and same and type(pid) is int and 0 < pid < _MOST_PID


def _life_of_pid(note: Mapping[str, Any]) -> Life:
    """Whether the process of that pid is the writer; UNKNOWN where a pid is all that can be compared."""
    pid, started = note["pid"], note.get("started")
    fields = _stat_fields(str(pid))  # once: the process may be gone the next time
    now = _start_in(fields)
    if now is not None and started is not None:
        is_same = now == started and not _runs_another(note, fields)
        return Life.ALIVE if is_same and not _is_zombie(pid, fields) else Life.DEAD
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return Life.DEAD
    except OSError:
        pass
    return Life.UNKNOWN


def _runs_another(note: Mapping[str, Any], fields: list[str]) -> bool:
    """Whether a process has executed another program since; not known of a process of another user."""
    program = _program_in(fields)
    return program is not None and note.get("program") is not None and note["program"] != program


def _program_in(fields: list[str]) -> str | None:
    """A digest of where the stack lies, at random for each program; the place itself is nobody else's business."""
    stack = fields[25] if len(fields) > 25 else "0"  # noqa: PLR2004 - field 28 of all; 0 where it may not be read
    return None if stack == "0" else sha256(f"{fields[19]} {stack}".encode()).hexdigest()[:8]


def _start_in(fields: list[str]) -> int | None:
    return int(fields[19]) if len(fields) > 19 and fields[19].isdigit() else None  # noqa: PLR2004 - field 22 of all


def _is_zombie(pid: int, fields: list[str]) -> bool:
    """Whether the process has ended and only its parent has not asked for its exit code yet."""
    if fields[0] not in {"Z", "X"}:
        return False
    with suppress(OSError):  # a main thread that ended before the others looks the same
        return len(os.listdir(f"/proc/{pid}/task")) <= 1  # noqa: PTH208
    return True


def _stat_fields(process: str) -> list[str]:
    """The fields of a process's status behind its name, which may hold anything; empty where it is not to be seen."""
    return (_read(f"/proc/{process}/stat") or "").rpartition(")")[2].split()


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text("utf-8", "replace").strip()
    except OSError:
        return None


def _booted_at() -> float:
    """When this machine started, on the wall clock; never, where the system does not say."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)


def is_locked(segment: Path) -> bool | None:
    """Whether a process holds the segment's lock; None where that cannot be told."""
    try:
        fd = files.open_regular(segment)
    except OSError:
        return None
    try:
        taken = files.try_lock(fd)
    finally:
        files.let_go(fd)
    return None if taken is None else not taken
