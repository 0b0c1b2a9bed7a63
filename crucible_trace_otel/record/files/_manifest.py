"""One digest of a directory, such as a checkpoint of several shards: the SHA-256 of a list of what lies in it.

The list has, for each file in the order of the bytes of its name, `name`, `size` and `sha256` (decimal and hexadecimal
digits), each followed by a NUL; for a link, `name`, `link` and where it leads. A name is relative to the directory,
with `/`. Links are not followed; sidecars, what is neither file nor link, and empty directories do not count.
"""

import os
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

__all__ = ["SIDECAR", "Entry", "TooManyFilesError", "entries_of", "manifest_digest"]

SIDECAR: Final = ".crucible.json"
"""How the name of a sidecar ends; see `_sidecar.py`."""
_MOST_ENTRIES = 100_000


class TooManyFilesError(OSError):
    """A directory holds more than anybody would call a checkpoint."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a link in a directory."""

    name: bytes
    """Relative to the directory."""
    path: str
    size: int
    identity: tuple[Any, ...]
    """What changes when the file does."""
    target: bytes | None = None
    """Where a link leads."""


def entries_of(root: str) -> list[Entry]:
    """The files and links below `root`, in the order of their names.

    Raises:
        OSError: It cannot be read, or holds more than 100,000 things.
    """
    entries: list[Entry] = []
    waiting = [root]
    seen = 0
    while waiting:
        with os.scandir(waiting.pop()) as found:
            for item in found:
                seen += 1
                if seen > _MOST_ENTRIES:
                    raise TooManyFilesError(f"it holds more than {_MOST_ENTRIES} files")
                if item.is_dir(follow_symlinks=False):
                    waiting.append(item.path)
                elif item.is_symlink() or (item.is_file(follow_symlinks=False) and SIDECAR not in item.name):
                    entries.append(_entry(root, item))
    return sorted(entries, key=lambda entry: entry.name)


def manifest_digest(digests: list[tuple[Entry, str]]) -> str:
    """The digest of a directory, 64 hex digits, from its entries and the SHA-256 of each file."""
    digest = sha256()
    for entry, of_file in digests:
        file = str(entry.size).encode(), of_file.encode()
        for part in (entry.name, *(file if entry.target is None else (b"link", entry.target))):
            digest.update(part + b"\0")
    return digest.hexdigest()


def _entry(root: str, item: "os.DirEntry[str]") -> Entry:
    status = item.stat(follow_symlinks=False)
    name = os.fsencode(os.path.relpath(item.path, root).replace(os.sep, "/"))
    identity = status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns
    target = os.fsencode(os.readlink(item.path)) if item.is_symlink() else None  # noqa: PTH115
    return Entry(name, item.path, 0 if target is not None else status.st_size, identity, target)
