"""The file operations of the journal and of the process that sends it: what may fail has its name here."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

__all__ = [
    "fdatasync",
    "fsync_directory",
    "is_high",
    "let_go",
    "listdir",
    "make_private_directory",
    "open_append",
    "open_regular",
    "read_from",
    "rename",
    "truncate",
    "try_lock",
    "unlink",
    "write_all",
    "written_whole",
]

_MUCH = 1 << 26
_ONLY_HERE = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_HIGH = (1_000, 500)
"""Numbers from which on descriptors that stay open lie: files that are opened later get low ones."""


def open_append(path: Path, *, exclusive: bool = False) -> int:
    """A descriptor that appends to `path`, made where it is missing, readable by its owner only.

    Args:
        path: The file; a symbolic link is not followed.
        exclusive: Whether it must not be there yet.

    Raises:
        OSError: It cannot be opened, or is no regular file.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | _ONLY_HERE
    fd = os.open(path, flags | os.O_EXCL if exclusive else flags, 0o600)
    try:
        _require_regular(os.fstat(fd))
        if hasattr(os, "fchmod"):
            os.fchmod(fd, 0o600)
        return _moved_up(fd)
    except BaseException:
        os.close(fd)
        raise


def _moved_up(fd: int) -> int:
    if fcntl is None:
        return fd
    for lowest in _HIGH:
        with suppress(OSError):  # fewer descriptors than that are allowed
            high = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)
            os.close(fd)
            return high
    return fd


def is_high(fd: int) -> bool:
    """Whether nobody who opens a file by chance gets this descriptor once it was closed behind our back."""
    return fd >= min(_HIGH)


def open_regular(path: Path) -> int:
    """A descriptor that reads `path`: a link, a pipe or a device in its place is not opened.

    Raises:
        OSError: It cannot be opened, is no regular file, or is a sparse one of enormous size.
    """
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | _ONLY_HERE)
    try:
        _require_regular(os.fstat(fd))
    except BaseException:
        os.close(fd)
        raise
    return fd


def _require_regular(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(0, "not a regular file")
    if status.st_size > _MUCH and getattr(status, "st_blocks", status.st_size) * 512 < status.st_size // 2:
        raise OSError(0, "a sparse file, which no writer of ours makes")


def read_from(path: Path, start: int = 0) -> bytes:
    """The bytes of a regular file from offset `start` on.

    Raises:
        OSError: It cannot be read, or is no regular file.
    """
    with os.fdopen(open_regular(path), "rb") as file:
        file.seek(start)
        return file.read()


def write_all(fd: int, data: bytes) -> None:
    """Append `data` whole.

    Raises:
        OSError: A part of it may have been written.
    """
    written = os.write(fd, data)
    while written < len(data):
        written += os.write(fd, data[written:])


@contextmanager
def written_whole(path: Path) -> Iterator[Any]:
    """A binary file that appears under the name `path` at the end of the block, all of it or nothing.

    Raises:
        OSError: It could not be written; no file is left.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.new")
    with suppress(OSError):
        unlink(unfinished)
    fd = open_append(unfinished, exclusive=True)
    try:
        with os.fdopen(fd, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        rename(unfinished, path)
    except BaseException:
        with suppress(OSError):
            unlink(unfinished)
        raise
    fsync_directory(path.parent)


def truncate(fd: int, size: int) -> None:
    """Cut a file to `size` bytes."""
    os.ftruncate(fd, size)


def fdatasync(fd: int) -> None:
    """Have the disk keep what was written; survives a power cut."""
    (os.fdatasync if hasattr(os, "fdatasync") else os.fsync)(fd)


def fsync_directory(directory: Path) -> None:
    """Have the disk keep names made, changed or removed in `directory`, where the system offers that."""
    with suppress(OSError):
        fd = os.open(directory, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def rename(old: Path, new: Path) -> None:
    """Give a file another name, at once and whole."""
    os.replace(old, new)  # noqa: PTH105 - the operations that tests make fail stand here by their system's names


def unlink(path: Path) -> None:
    """Remove a name."""
    os.unlink(path)  # noqa: PTH108


def listdir(directory: Path) -> list[Path]:
    """What is in `directory`, sorted by name."""
    return sorted(directory / name for name in os.listdir(directory))  # noqa: PTH208


def try_lock(fd: int) -> bool | None:
    """Whether this descriptor now has the file's exclusive `flock`; None where the file system has no locks.

    The kernel releases it when the last copy of the descriptor is closed, or its process dies.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def let_go(fd: int) -> None:
    """Release a descriptor's lock and close it: a child that was forked meanwhile shares the lock. Never raises."""
    with suppress(OSError):
        if fcntl is not None:
            fcntl.flock(fd, fcntl.LOCK_UN)
    with suppress(OSError):
        os.close(fd)


def make_private_directory(directory: Path) -> None:
    """Make `directory` with its parents; what is made here is readable by its owner only, what is there stays.

    Raises:
        OSError: It cannot be made, or something that is no directory has its name.
    """
    if not directory.is_dir():
        if directory.parent != directory:
            make_private_directory(directory.parent)
        directory.mkdir(mode=0o700, exist_ok=True)  # another process may make it at the same time
        directory.chmod(0o700)
