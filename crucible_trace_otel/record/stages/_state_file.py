"""The state of a resumable pipeline: a file that is read without trust and written so that it is whole.

    {"version": 1, "stages": {"nightly/clean": {"inputs": "9f86…", "outputs": [["clean.csv", "2c26…"]], …}}}

What cannot be read is no state, never an error; it is moved aside before another is written in its place, for it may be
something else that nobody wants to lose. What cannot be written is taken away, for an old state says what is not so any
more; where that is forbidden too, nothing is remembered.
"""

import json
import os
import stat
import threading
from contextlib import suppress
from typing import Any, Final

from crucible_trace_otel.errors import FormatError, warn_once
from crucible_trace_otel.record._ids import new_event_id
from crucible_trace_otel.record._values import printable

__all__ = ["StateFile"]

_VERSION: Final = 1
_MOST_BYTES: Final = 4 << 20
_MOST_ENTRIES: Final = 1_000
_Identity = tuple[int, int, int] | None


class StateFile:
    """What a pipeline remembers of its stages, by key: text that is there again in the next process."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = os.path.realpath(os.fspath(path))
        self._lock = threading.RLock()
        self._own: set[str] = set()
        self._is_foreign = False
        """Whether what lies there is no state of ours."""
        self._identity = _identity(self._path)
        self._entries = self._read()

    def get(self, key: str) -> str | None:
        """What was put under `key`; None where there is nothing."""
        with self._lock:
            return self._entries.get(key)

    def put(self, key: str, text: str | None) -> None:
        """Put `text` under `key`, or take away what is there, and write the file.

        Raises:
            OSError: An old state lies there that can neither be written nor taken away.
        """
        with self._lock:
            if text is None and key not in self._entries:
                return
            if _identity(self._path) != self._identity:
                said = f"{self._path} was written by somebody else meanwhile: only what this pipeline did counts."
                warn_once(f"state {self._path} written", said)
                self._entries = {own: self._entries[own] for own in self._entries if own in self._own}
            self._entries.pop(key, None)
            self._own.add(key)
            if text is not None:
                self._entries[key] = text
            while len(self._entries) > _MOST_ENTRIES:
                self._entries.pop(next(iter(self._entries)))
            self._write()

    def _read(self) -> dict[str, str]:
        try:
            # Not blocking, for a pipe without a writer would hold up the program.
            flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(self._path, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise FormatError("it is no regular file")
                return _decoded(file.read(_MOST_BYTES + 1))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, RecursionError) as error:
            self._is_foreign = not isinstance(error, OSError) and bool(self._identity and self._identity[1])
            said = f"The state of the pipeline in {self._path} is left aside, every stage is new: {printable(error)}."
            warn_once(f"state {self._path}", said)
            return {}

    def _write(self) -> None:
        temporary = f"{self._path}.{new_event_id()[:12]}.tmp"
        try:
            if not _may_be_replaced(self._path):
                return  # which was said when it was read
            if self._is_foreign:
                os.rename(self._path, f"{temporary[:-4]}.aside")  # noqa: PTH104 - a path given as text stays as it was
                self._is_foreign = False
            stages = {key: json.loads(entry) for key, entry in self._entries.items()}
            text = json.dumps({"version": _VERSION, "stages": stages})
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
                file.write(text.encode())
            os.replace(temporary, self._path)  # noqa: PTH105 - a path given as text stays as it was given
        except (OSError, ValueError, RecursionError) as error:
            with suppress(OSError):
                os.unlink(temporary)  # noqa: PTH108
            said = f"The state of the pipeline cannot be written to {self._path}: {printable(error)}."
            warn_once(f"state {self._path} unwritten", said)
            if not self._is_foreign:
                self._forget()
        finally:
            self._identity = _identity(self._path)

    def _forget(self) -> None:
        """Take away a state that is not so any more; where that is forbidden, empty it.

        Raises:
            OSError: That is forbidden too.
        """
        try:
            os.unlink(self._path)  # noqa: PTH108
        except (FileNotFoundError, NotADirectoryError):
            pass
        except OSError:
            os.truncate(self._path, 0)


def _decoded(text: bytes) -> dict[str, str]:
    """The entries of a state file.

    Raises:
        FormatError: It is none.
        ValueError: It is no JSON.
        RecursionError: It is JSON of a depth that nobody writes.
    """
    if len(text) > _MOST_BYTES:
        raise FormatError(f"it has more than {_MOST_BYTES} bytes")
    said = json.loads(text)
    stages = said.get("stages") if isinstance(said, dict) and said.get("version") == _VERSION else None
    if not isinstance(stages, dict) or len(stages) > _MOST_ENTRIES:
        raise FormatError("it is no state of a pipeline of this version")
    return {key: json.dumps(entry) for key, entry in stages.items()}


def _may_be_replaced(path: str) -> bool:
    """Whether nothing lies there, or a file: not a pipe, a device, a directory."""
    try:
        return stat.S_ISREG(os.stat(path).st_mode)  # noqa: PTH116
    except FileNotFoundError:
        return True


def _identity(path: str) -> _Identity:
    try:
        status: Any = os.stat(path)  # noqa: PTH116
    except (OSError, ValueError):
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
