"""SHA-256, size and schema of a value: read piece by piece, never copied, and given up when it takes too long.

Bytes, text and files have the SHA-256 that other tools give them. All else is written down in one canonical form, in
which each part carries its type: equal values have one digest, whatever the order of their keys.
"""

import os
import stat
import time
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, fields, is_dataclass
from datetime import date, timedelta
from datetime import time as clock_time
from enum import Enum
from hashlib import sha256
from typing import Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.stages import _tables
from crucible_trace_otel.record.stages._schema import schema_of

__all__ = ["WITHIN_S", "Contents", "contents_of", "too_long"]

WITHIN_S = 1.0
"""How long digesting one value may take, where nobody says otherwise."""

_CHUNK = 1 << 20
_MOST_DEPTH = 64
_PARTS_A_LOOK = 256
_AS_TEXT = frozenset({"decimal.Decimal", "fractions.Fraction", "uuid.UUID", "builtins.complex", "builtins.range"})
_MISSING = frozenset({"NAType", "NaTType"})  # what pandas has in the place of a value


@dataclass(frozen=True, slots=True)
class Contents:
    """What is known of a value."""

    sha256: str | None = None
    """64 lower-case hex digits; None where it is not known."""
    size: int | None = None
    """Bytes that were read."""
    schema: Any = None
    """What it is made of, as something JSON can write."""
    reason: str = ""
    """Why there is no digest."""


class _NoDigestError(Exception):
    """A value has no digest; the message says why."""


def contents_of(value: Any, within: float = WITHIN_S) -> Contents:
    """Digest, size and schema of `value`. Never raises: without a digest it says why.

    Args:
        value: Anything; a path is the file that lies there.
        within: Seconds that it may take.
    """
    schema = None
    try:
        schema = schema_of(value)
        digest = _Digest(within)
        digest.take_in(value)
    except _NoDigestError as error:
        return Contents(schema=schema, reason=str(error))
    except Exception as error:  # noqa: BLE001 - any object may be given, and its methods may do anything
        let_through(error)
        return Contents(schema=schema, reason=f"reading it raised {type(error).__name__}: {printable(error)}")
    return Contents(digest.hexdigest(), digest.size, schema)


def too_long(within: float) -> str:
    """Why a value that takes longer than that has no digest."""
    return f"to digest it takes longer than {within:g} s"


class _Digest:
    """A SHA-256 that grows piece by piece, until its time is over."""

    def __init__(self, within: float) -> None:
        self._sha256 = sha256()
        self._within = within
        self._until = time.perf_counter() + within
        self._parts = 0
        self.size = 0

    def hexdigest(self) -> str:
        """64 hex digits."""
        return self._sha256.hexdigest()

    def take_in(self, value: Any) -> None:
        """All of `value`: the content itself of bytes, text and files."""
        if isinstance(value, str):
            self._text(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._bytes(value)
        elif isinstance(value, os.PathLike):
            self._file(os.fspath(value))
        else:
            self._part(value, ())

    def _bytes(self, piece: Any) -> None:
        view = memoryview(piece)
        if not view.nbytes:
            return
        if not view.c_contiguous:
            raise _NoDigestError("its bytes do not lie side by side")
        view = view.cast("B")
        for start in range(0, len(view), _CHUNK):
            chunk = view[start : start + _CHUNK]
            self._sha256.update(chunk)
            self.size += len(chunk)
            self._look_at_clock()

    def _text(self, text: str) -> None:
        for start in range(0, len(text), _CHUNK):
            self._bytes(text[start : start + _CHUNK].encode("utf-8", "surrogatepass"))

    def _file(self, path: Any) -> None:
        # Not blocking, for a pipe without a writer would hold up the program.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        try:
            with os.fdopen(os.open(path, flags), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise _NoDigestError(f"{printable(path)} is no regular file")
                while chunk := file.read(_CHUNK):
                    self._bytes(chunk)
        except (OSError, ValueError) as error:
            raise _NoDigestError(f"{printable(path)} cannot be read: {printable(error)}") from error

    def _mark(self, text: str) -> None:
        """A part that is written down, such as a number, or what says of which type the next one is."""
        written = text.encode("utf-8", "surrogatepass")
        self._sha256.update(b"%d:%b" % (len(written), written))
        self.size += len(written)
        self._count_part()

    def _count_part(self) -> None:
        self._parts += 1
        if self._parts % _PARTS_A_LOOK == 0:
            self._look_at_clock()

    def _look_at_clock(self) -> None:
        if time.perf_counter() > self._until:
            raise _NoDigestError(too_long(self._within))

    def _part(self, value: Any, inside: tuple[int, ...]) -> None:  # noqa: C901, PLR0912 - one branch a kind of value
        """`value` with its type, inside those containers."""
        if value is None or isinstance(value, (bool, int)):
            self._mark(f"{type(value).__name__} {value if isinstance(value, bool) else _exact(value)}")
        elif isinstance(value, Enum):
            name = value.value if value.name is None else value.name  # several flags at once may have no name
            self._mark(f"enum {type(value).__qualname__} {name}")
        elif isinstance(value, float):
            self._mark(f"float {float(value).hex()}")
        elif isinstance(value, str):
            self._mark(f"str {len(value)}")
            self._text(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self._mark(f"bytes {memoryview(value).nbytes}")
            self._bytes(value)
        elif isinstance(value, os.PathLike):
            self._mark("file")
            self._mark(self._of_one(value))
        elif type(value).__name__ in _MISSING:
            self._mark(type(value).__name__)
        elif isinstance(value, (date, clock_time)):
            self._mark(f"{type(value).__name__} {value.isoformat()}")
        elif isinstance(value, timedelta) or f"{type(value).__module__}.{type(value).__name__}" in _AS_TEXT:
            self._mark(f"{type(value).__name__} {value!r}")
        elif _tables.is_array(value):
            self._array(value, inside)
        elif _tables.is_frame(value):
            self._frame(value, inside)
        elif _tables.is_arrow(value):
            _tables.write_arrow(value, self._bytes)
        else:
            self._container(value, inside)

    def _container(self, value: Any, inside: tuple[int, ...]) -> None:
        if id(value) in inside or len(inside) >= _MOST_DEPTH:
            raise _NoDigestError("it holds itself, or is nested too deeply")
        inside = (*inside, id(value))
        if is_dataclass(value) and not isinstance(value, type):
            value = {"": type(value).__qualname__} | {each.name: getattr(value, each.name) for each in fields(value)}
        if isinstance(value, Mapping):
            keys = [key for *_, key in sorted((self._of_one(key), at, key) for at, key in enumerate(value))]
            self._each("mapping", len(keys), (part for key in keys for part in (key, value[key])), inside)
        elif isinstance(value, (list, tuple)):
            self._each("list" if isinstance(value, list) else "tuple", len(value), value, inside)
        elif isinstance(value, AbstractSet):
            self._each("set", len(value), sorted(map(self._of_one, value)), inside)
        else:
            raise _NoDigestError(f"nothing is known of what a {type(value).__qualname__} holds")

    def _each(self, kind: str, length: int, parts: Iterable[Any], inside: tuple[int, ...]) -> None:
        self._mark(f"{kind} {length}")
        for part in parts:
            self._part(part, inside)

    def _of_one(self, value: Any) -> str:
        """The digest of one part alone: of a key or of a member of a set, which have no order, or of a file."""
        self._count_part()
        alone = _Digest(self._within)
        alone._until = self._until
        alone.take_in(value) if isinstance(value, os.PathLike) else alone._part(value, ())
        self.size += alone.size if isinstance(value, os.PathLike) else 0
        return alone.hexdigest()

    def _array(self, given: Any, inside: tuple[int, ...]) -> None:
        array = _tables.on_host(given)
        if array is None:
            raise _NoDigestError("it lies on an accelerator")
        self._mark(f"array {array.dtype.str} {tuple(array.shape)}")
        if array.dtype.kind == "O":
            for item in array.flat:
                self._part(item, (*inside, id(given)))
            return
        if array.dtype.hasobject:
            raise _NoDigestError("it holds Python objects")
        for piece in _tables.pieces(array, _CHUNK):
            self._bytes(piece)
        mask = getattr(array, "mask", None)
        if hasattr(mask, "tobytes"):
            self._array(mask, inside)

    def _frame(self, frame: Any, inside: tuple[int, ...]) -> None:
        columns: Iterator[tuple[Any, Any]] = _tables.columns(frame)
        self._mark(f"frame {tuple(frame.shape)}")
        for name, column in columns:
            self._part(name, inside)
            self._mark(str(column.dtype))
            values = _tables.numbers(column)
            if values is not None:
                self._array(values, inside)
                continue
            for item in _tables.items(column):
                self._part(item, inside)


def _exact(value: int | None) -> str:
    return "" if value is None else hex(value)
