"""A file in memory whose pages are there for good, so that storing into one never fails.

A page of a mapped file that the file system cannot provide kills the process (SIGBUS). So the whole file is allocated
before it is mapped, on file systems where an allocated page is never looked for again, and is never made shorter.
See docs/decisions/0009-the-step-ring.md.
"""

import ctypes
import mmap
import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from crucible_trace_otel.journal import files

__all__ = ["MappedFile"]

_CERTAIN = frozenset({"ext2", "ext3", "ext4", "xfs", "tmpfs", "overlay"})
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_FIXED = 0x10  # MAP_FIXED, which the mmap module does not name
_FAILED = ctypes.c_void_p(-1).value


def _c_function(name: str, *types: Any) -> Any:
    try:
        function = ctypes.PyDLL(None, use_errno=True)[name]
    except (OSError, AttributeError, TypeError):  # no Linux: the file is not mapped there
        return None
    function.argtypes = types
    function.restype = ctypes.c_void_p
    return function


_mmap = _c_function("mmap", ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long)


class MappedFile:
    """A new file of `size` zero bytes at `path`, readable by its owner only, and mapped.

    The `mmap` module keeps a descriptor of its own with a low number, which programs that close every descriptor free,
    and later closes whoever got that number. Here none is kept.

    Args:
        path: There must be nothing by that name yet.
        size: In bytes, whole pages.

    Raises:
        OSError: It cannot be made, or a store into it might fail.
    """

    def __init__(self, path: Path, size: int) -> None:
        self._address: int | None = None
        self._size = size
        if _mmap is None or not hasattr(os, "posix_fallocate") or sys.maxsize <= 1 << 32 or sys.byteorder != "little":
            raise OSError(0, "files are not mapped on this system")
        kind = _file_system(path.parent)
        if kind not in _CERTAIN:
            raise OSError(0, f"a mapped file may fail on the file system {kind}")
        fd = os.open(path, _FLAGS, 0o600)
        try:
            os.fchmod(fd, 0o600)
            os.posix_fallocate(fd, 0, size)
            self._map(None, mmap.MAP_SHARED, fd)
        except BaseException:
            with suppress(OSError):
                files.unlink(path)
            raise
        finally:
            os.close(fd)
        self.memory = memoryview((ctypes.c_char * size).from_address(self._address or 0)).cast("B")
        """Its bytes. They can be stored into as long as the process lives, also by a thread that is late."""

    def _map(self, address: int | None, flags: int, fd: int) -> None:
        found = _mmap(address, self._size, mmap.PROT_READ | mmap.PROT_WRITE, flags, fd, 0)
        if found == _FAILED:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
        self._address = found

    def detach(self) -> None:
        """Let go of the file: what is stored from now on goes nowhere. The addresses stay taken, without memory."""
        if self._address is not None:
            self._map(self._address, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | _FIXED, -1)


def _file_system(directory: Path) -> str:
    """The type of the file system that `directory` lies on, as Linux names it."""
    device = directory.stat().st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with suppress(OSError), Path("/proc/self/mountinfo").open(encoding="utf-8", errors="replace") as mounts:
        for line in mounts:
            before, _, after = line.partition(" - ")
            if before.split()[2] == number:
                return after.split()[0]
    return "of an unknown type"
