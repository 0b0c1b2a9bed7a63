"""A value or a file that a stage reads or makes: what is known of it now, or soon where a thread still reads it."""

import math
import os
import stat
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from typing import Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._unexpected import as_sha256
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.files._digests import FileDigest, digest_later
from crucible_trace_otel.record.files._files import StoredFile, as_text
from crucible_trace_otel.record.stages._contents import WITHIN_S, Contents, contents_of, too_long
from crucible_trace_otel.record.stages._schema import schema_of

__all__ = ["Datum", "datum_of", "known_datum", "path_of", "seconds_of"]

_LONGEST_PATH = 4_096
_FAR = 2**62


class Datum:
    """What is known of one input, output or artifact."""

    def __init__(self, within: float = WITHIN_S, path: str = "") -> None:
        self.path = path
        """Where it lies; empty for a value."""
        self.within = within
        self.until = time.perf_counter() + within
        """By when it is given up."""
        self._contents: Contents | None = None
        self._is_known = threading.Event()
        self._waiting: list[Callable[[], None]] = []

    def know(self, contents: Contents) -> None:
        """Know that now."""
        self._contents = contents
        self._is_known.set()
        self._call()

    def when_known(self, call: Callable[[], None]) -> None:
        """Call that once it is known: now, or then on the thread that reads it."""
        self._waiting.append(call)
        if self.is_known:
            self._call()

    def _call(self) -> None:
        while self._waiting:
            with suppress(IndexError):  # the other thread was faster
                self._waiting.pop()()

    @property
    def is_known(self) -> bool:
        """Whether nobody reads it any more."""
        return self._is_known.is_set()

    def contents(self) -> Contents:
        """What is known, waiting as long as digesting it may take from when it was given."""
        self._is_known.wait(min(max(self.until - time.perf_counter(), 0.0), threading.TIMEOUT_MAX))
        return self._contents or Contents(reason=too_long(self.within))


def datum_of(value: Any, within: float) -> Datum:
    """What is known of `value`: files are read on another thread.

    Args:
        value: Anything; a path, or a text that names a file that is there, is what lies there.
        within: Seconds that digesting it may take.
    """
    path = path_of(value)
    datum = Datum(within, path)
    if not path:
        datum.know(contents_of(value, within))
        return datum
    schema = schema_of(Path(path))

    def read(digest: FileDigest) -> None:
        reason = "" if digest.sha256 else "it changed while it was read" if digest.changed else "it cannot be read"
        if reason and not digest.changed and time.perf_counter() > datum.until:
            reason = too_long(within)
        datum.know(Contents(digest.sha256, digest.size, schema, reason))

    digest_later(path, read, until=datum.until)
    return datum


def known_datum(sha256: Any, size: Any, path: str = "") -> Datum:
    """What is known by hand of something that is not read."""
    datum = Datum(path=path)
    digest = None if sha256 is None else _sha256_of(sha256)
    reason = "" if digest else "its digest was not given" if sha256 is None else "the digest that was given is none"
    whole = isinstance(size, Integral) and 0 <= int(size) < _FAR
    datum.know(Contents(digest, int(size) if whole else None, None, reason))
    return datum


def path_of(value: Any) -> str:
    """The path that `value` is, or names: a path object, or the text of one where a file lies there; else empty."""
    if isinstance(value, (os.PathLike, StoredFile)):
        return as_text(value.path if isinstance(value, StoredFile) else value)
    if isinstance(value, str) and 0 < len(value) <= _LONGEST_PATH and "\n" not in value:
        with suppress(OSError, ValueError):
            if stat.S_ISREG(os.stat(value).st_mode):  # noqa: PTH116 - a path given as text stays as it was given
                return value
    return ""


def _sha256_of(given: Any) -> str | None:
    """A SHA-256 that was given by hand, in lower case; None, with one warning, for what is none."""
    digest = as_sha256(given)
    if digest is None:
        said = printable(given)[:80]
        warn_once(f"sha256 {said}", f"sha256={said!r} is left out: a SHA-256 has 64 hexadecimal digits.")
    return digest


@guarded(lambda _: WITHIN_S)
def seconds_of(given: Any) -> float:
    """How long digesting may take, as it was given; the usual time, with one warning, for what is no such number."""
    if given is True:
        return WITHIN_S
    if isinstance(given, (int, float)) and not math.isnan(given) and given >= 0:
        return float(given)
    said = f"{printable(given)} is no number of seconds for a digest: it may take {WITHIN_S:g} s."
    warn_once(f"within {printable(given)}", said)
    return WITHIN_S
