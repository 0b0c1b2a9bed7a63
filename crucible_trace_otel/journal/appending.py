"""Appending to a file without handing over the interpreter's lock.

`os.write` and `os.fstat` release the GIL; beside one busy Python thread the caller then waits up to 5 ms to get it
back, for a write that takes 2 us. docs/decisions/0008-an-append-keeps-the-gil.md has the figures and the other ways.
"""

import ctypes
import os

from crucible_trace_otel.journal import files

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

__all__ = ["AppendedFile", "waits_of_this_thread"]

_STAT_SIZE = 512  # more than any system's `struct stat`
_HEAD = 24  # device, inode and number of names lie in here on Linux; what else does is constant too


def _c_function(name: str) -> "ctypes._FuncPointer | None":
    try:
        return ctypes.PyDLL(None)[name] if os.name == "posix" else None
    except (OSError, AttributeError):  # no such symbol: glibc before 2.33 has no fstat
        return None


_write = _c_function("write")
_fstat = _c_function("fstat")
if _write is not None:
    _write.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t)
    _write.restype = ctypes.c_ssize_t
if _fstat is not None:
    _fstat.argtypes = (ctypes.c_int, ctypes.c_void_p)


def waits_of_this_thread() -> int:
    """How often this thread has given up the processor by itself, as it does to wait for a disk; 0 where unknown."""
    if resource is None or not hasattr(resource, "RUSAGE_THREAD"):
        return 0
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw


class AppendedFile:
    """A descriptor opened for appending that is looked at before it is trusted.

    Daemonizers close every descriptor they find, and the number may then be that of a file of the user's.

    Args:
        fd: The descriptor; it is this object's from now on.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        status = os.fstat(fd)
        self._identity = status.st_dev, status.st_ino
        self._has_name = status.st_nlink > 0  # some file systems do not count names
        self._stat = ctypes.create_string_buffer(_STAT_SIZE)
        self._head = (ctypes.c_char * _HEAD).from_buffer(self._stat)
        self._address = ctypes.addressof(self._stat)
        self._known = self._look()

    def is_there(self) -> bool:
        """Whether the descriptor still is that file, and the file still has a name."""
        if self._known is not None and self._look() == self._known:
            return True
        status = self._status()
        if status is None or (self._has_name and status.st_nlink == 0):
            return False
        self._known = self._look()
        return True

    def append(self, data: bytes, keeps_gil: bool = True) -> None:  # noqa: FBT001, FBT002 - by position it is quicker
        """Append `data` with one system call.

        Args:
            data: A whole record.
            keeps_gil: False for a thread that other threads must not wait for, on a slow disk.

        Raises:
            OSError: A part of it may have been written.
        """
        written = _write(self.fd, data, len(data)) if keeps_gil and _write is not None else 0
        if written != len(data):  # a full disk writes a part; the call that follows says why it is not all
            files.write_all(self.fd, data[max(written, 0) :])

    def close(self) -> None:
        """Close the descriptor, unless it has become that of another file."""
        if self._status() is not None:
            os.close(self.fd)

    def _look(self) -> bytes | None:
        """The beginning of the file's `struct stat`; None where it cannot be had without releasing the GIL."""
        if _fstat is None or _fstat(self.fd, self._address):
            return None
        return self._head.raw

    def _status(self) -> os.stat_result | None:
        """The file's status; None where the descriptor is another file's now, or nobody's."""
        try:
            status = os.fstat(self.fd)
        except OSError:
            return None
        return status if (status.st_dev, status.st_ino) == self._identity else None
