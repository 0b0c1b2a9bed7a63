"""Where sidecars lie: read without trust, written so that they are whole, completed when the digest is known."""

import os
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial

from crucible_trace_otel.errors import FormatError, warn_once
from crucible_trace_otel.record._ids import new_event_id
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.files._digests import FileDigest
from crucible_trace_otel.record.files._manifest import SIDECAR
from crucible_trace_otel.record.files._sidecar import MOST_BYTES, Sidecar, decode, encode

__all__ = ["complete_sidecar", "read_sidecar", "remove_sidecar", "remove_unfinished", "sidecar_path", "write_sidecar"]

_writing = threading.RLock()  # a signal handler may save a checkpoint while one is saved


def sidecar_path(path: str) -> str:
    """Where the sidecar of what was saved at `path` lies: beside the file itself where `path` is a link to it."""
    return os.path.realpath(path) + SIDECAR


def read_sidecar(path: str) -> Sidecar | None:
    """The sidecar of what was saved at `path`; None where there is none, or, with one warning, none to be used."""
    try:
        place = sidecar_path(path)
        # Not blocking, for a pipe without a writer; and what lies beside a checkpoint does not lead elsewhere.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(place, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FormatError("it is no regular file")
            return decode(os.read(descriptor, MOST_BYTES + 1))
        finally:
            os.close(descriptor)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        said = f"{printable(path)}{SIDECAR} is left aside: {printable(error)}."
        warn_once(f"sidecar {said}", said)
        return None


def write_sidecar(
    path: str,
    sidecar: Sidecar,
    otherwise: str,
    *,
    still: Callable[[], bool] = lambda: True,
    is_durable: bool = False,
) -> bool:
    """Put `sidecar` beside what was saved at `path`, in the place of an older one. Never raises.

    Args:
        path: Of the checkpoint or model; where there is none, nothing is written.
        sidecar: What to say.
        otherwise: What one warning says of that where it cannot be written.
        still: Whether it is still to be written, asked when all is ready.
        is_durable: Whether it must outlast a power cut; it outlasts the process in any case.

    Returns:
        Whether it is there.
    """
    try:
        return _write(path, encode(sidecar), still, is_durable=is_durable)
    except FileNotFoundError:
        return False
    except (OSError, ValueError) as error:
        warn_once(f"sidecar {path}: {otherwise}", f"{printable(path)} {otherwise}: {printable(error)}.")
        return False


def complete_sidecar(path: str, saved: Sidecar, digest: FileDigest) -> None:
    """Add the digest to the sidecar that was left for `saved`, if that is still there, durably. Never raises."""
    for _ in range(3):  # meanwhile an attempt may take its number from it
        left = read_sidecar(path)
        if left is None or left.event_id != saved.event_id:
            return
        completed = replace(left, size=digest.size, sha256=digest.sha256)
        unchanged = partial(_says, path, left)
        if write_sidecar(path, completed, "has a sidecar without its digest", still=unchanged, is_durable=True):
            return


def remove_sidecar(path: str) -> None:
    """Remove the sidecar of the checkpoint at `path`, if there is one. Never raises."""
    remove_unfinished(path)
    with suppress(OSError, ValueError), _writing:
        os.unlink(sidecar_path(path))  # noqa: PTH108 - a path given as text stays as it was given


def remove_unfinished(path: str) -> None:
    """Remove what a process that was killed while it wrote that sidecar has left of it. Never raises."""
    with suppress(OSError, ValueError):
        folder, name = os.path.split(sidecar_path(path))
        with os.scandir(folder) as found:
            left = [item.path for item in found if item.name.startswith(f"{name}.") and item.name.endswith(".tmp")]
        for unfinished in left:
            os.unlink(unfinished)  # noqa: PTH108


def _write(path: str, text: bytes, still: Callable[[], bool], *, is_durable: bool) -> bool:
    """Write a temporary file, and give it the name once it is whole. Who may read the checkpoint may read it."""
    mode = os.stat(path).st_mode  # noqa: PTH116 - a path given as text stays as it was given
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return False
    place = sidecar_path(path)
    temporary = f"{place}.{new_event_id()[:12]}.tmp"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
    try:
        with os.fdopen(os.open(temporary, flags, stat.S_IMODE(mode) & 0o666), "wb") as file:
            file.write(text)
            file.flush()
            if is_durable:
                os.fsync(file.fileno())
        with _writing:  # between the look and the renaming this process writes no other
            if not still():
                return False
            os.replace(temporary, place)  # noqa: PTH105
    finally:
        with suppress(OSError):
            os.unlink(temporary)  # noqa: PTH108
    if is_durable:
        _sync_directory(os.path.dirname(place))  # noqa: PTH120
    return True


def _says(path: str, sidecar: Sidecar) -> bool:
    """Whether the sidecar at `path` is that one."""
    found = read_sidecar(path)
    return found is not None and (found.event_id, found.attempts) == (sidecar.event_id, sidecar.attempts)


def _sync_directory(path: str) -> None:
    with suppress(OSError):  # not every file system can
        directory = os.open(path, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def _forget_writing() -> None:
    """In a forked child: who held the lock is not there."""
    global _writing  # noqa: PLW0603
    _writing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_writing)
