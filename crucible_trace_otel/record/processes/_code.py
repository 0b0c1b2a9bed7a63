"""Which version of the code runs: what the git folder around the program says, read once a process.

Files of the folder are read, never written. Whether tracked files were changed only git itself can tell: it is asked on
a thread, and a run waits 30 ms for the answer at most; one that comes later is set when the run ends.
"""

import os
import re
import stat
import subprocess
import sys
import threading
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["code_version"]

_SWITCH = "CRUCIBLE_CODE_VERSION"
_OFF = frozenset({"0", "false", "no", "off", "none"})
_WAIT_S = 0.03
_LONGEST_S = 5.0
_MOST_BYTES = 1 << 20
_MOST_PACKED = 1 << 24  # bytes of packed refs: some two hundred thousand of them
_REVISION = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_SCHEMES = frozenset({"http", "https", "ssh", "git"})
_HOST = re.compile(r"[\w.-]+(:\d+)?|\[[0-9a-fA-F:]+\](:\d+)?")
_SCP_FORM = re.compile(r"(?:[^/]*@)?([\w.-]{2,}:[^:@]+)")
_GIT_STATUS = (
    *("git", "-c", "core.fsmonitor=false", "--no-optional-locks"),
    *("status", "--porcelain=v2", "--branch", "--untracked-files=no", "--ignore-submodules=dirty"),
)


def _nothing_known() -> dict[str, Any]:
    return {}


@guarded(_nothing_known)
def code_version() -> dict[str, Any]:
    """Revision, branch, address without credentials, and whether tracked files were changed, as far as is known.

    Empty where there is no repository, or where `CRUCIBLE_CODE_VERSION=off`.
    """
    if os.environ.get(_SWITCH, "").strip().lower() in _OFF:
        return {}
    found = _found()
    if found is None:
        return {}
    head, changes = found
    return {**head, attr.CRUCIBLE_CODE_CHANGED: changes.known()}


class _Changes:
    """Whether tracked files differ from the revision: asked when the first run starts."""

    def __init__(self, top: Path) -> None:
        self._answer: bool | None = None
        self._top = top
        self._asking = threading.Thread(target=self._ask, name="crucible-code-version", daemon=True)
        with suppress(RuntimeError):  # no more threads
            self._asking.start()
            self._asking.join(_WAIT_S)

    def known(self) -> bool | None:
        """The answer, or None while there is none."""
        return self._answer

    def _ask(self) -> None:
        try:
            said = subprocess.run(  # noqa: S603 - a fixed command, without a shell
                _GIT_STATUS,
                cwd=self._top,
                env={name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                timeout=_LONGEST_S,
                check=False,
            ).stdout.splitlines()
        except (OSError, ValueError, subprocess.SubprocessError):  # no git, no permission, too slow: not known
            return
        if any(line.startswith(b"# branch.oid ") for line in said):  # not its exit code, which the program may take
            self._answer = not all(line.startswith(b"#") for line in said)


@lru_cache(maxsize=1)
def _found() -> tuple[dict[str, Any], _Changes] | None:
    for start in _places():
        for top in (start, *start.parents):
            git = _git_folder(top / ".git")
            if git is not None:
                return _head(git), _Changes(top)
    return None


def _places() -> list[Path]:
    """Where to look: the folder of the program's script, unless that is installed; then the working directory."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    installed = Path(sys.prefix).resolve()
    places = [Path(script).resolve().parent] if script else []
    return [place for place in places if installed not in (place, *place.parents)] + [Path.cwd()]


def _git_folder(found: Path) -> Path | None:
    """The git folder at `found`, or the one it names where it is a file, as in a worktree or a submodule."""
    said = _read(found)
    if said.startswith("gitdir:"):
        found = found.parent / said.removeprefix("gitdir:").strip()
    return found if _read(found / "HEAD") else None


def _head(git: Path) -> dict[str, Any]:
    shared = git / _read(git / "commondir").strip()
    head = _read(git / "HEAD").strip()
    ref = head.removeprefix("ref:").strip() if head.startswith("ref:") else None
    revision = head if ref is None else _revision_of(ref, git, shared)
    return {
        attr.VCS_REF_HEAD_REVISION: revision if _REVISION.fullmatch(revision) else None,
        attr.VCS_REF_HEAD_NAME: None if ref is None else ref.removeprefix("refs/heads/"),
        attr.VCS_REPOSITORY_URL_FULL: _address(_read(shared / "config")),
    }


def _revision_of(ref: str, git: Path, shared: Path) -> str:
    """The revision that `ref` stands at; empty where there is none yet."""
    if not ref.startswith("refs/") or ".." in ref:
        return ""
    loose = _read(git / ref) or _read(shared / ref)
    if loose:
        return loose.strip()
    packed = _read(shared / "packed-refs", _MOST_PACKED)
    found = packed.find(f" {ref}\n")
    return packed[packed.rfind("\n", 0, found) + 1 : found] if found >= 0 else ""


def _address(config: str) -> str | None:
    """The address of the remote called origin, or of the first one, as git's configuration has it."""
    remote, addresses = None, dict[str, str]()
    for line in config.splitlines():
        key, _, value = line.strip().partition("=")
        if line.strip().startswith("["):
            remote = line.strip()[8:-1].strip().strip('"') if line.strip().startswith("[remote") else None
        elif remote is not None and key.strip().lower() == "url":
            addresses.setdefault(remote, value.strip().strip('"'))
    return without_credentials(addresses.get("origin") or next(iter(addresses.values()), ""))


def without_credentials(address: str) -> str | None:
    """`address` without user, password, query and fragment; None for a path on this machine or what is no address."""
    if "://" not in address:
        form = _SCP_FORM.fullmatch(address)
        return form[1] if form else None
    try:
        parts = urlsplit(address)
    except ValueError:
        return None
    host = parts.netloc.rpartition("@")[2]
    is_plain = parts.scheme in _SCHEMES and _HOST.fullmatch(host) and "@" not in parts.path
    return f"{parts.scheme}://{host}{parts.path}" if is_plain else None


def _read(path: Path, most: int = _MOST_BYTES) -> str:
    """What a file begins with; empty where it is not there, cannot be read, or is a folder, a pipe or a device."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)  # for a pipe without a writer
    with suppress(OSError, ValueError):
        descriptor = os.open(path, flags)
        try:
            if stat.S_ISREG(os.fstat(descriptor).st_mode):
                return os.read(descriptor, most).decode("utf-8", "replace")
        finally:
            os.close(descriptor)
    return ""
