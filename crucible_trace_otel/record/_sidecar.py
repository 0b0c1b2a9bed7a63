"""The sidecar of a checkpoint: a small file beside it that says which run saved it, and when.

`digits.npz` has `digits.npz.crucible.json`. With it another process, on another machine and without a server, goes on
from the checkpoint as the same run, also when the one that saved it was killed. Anybody may have written what is read:
each value is looked at. The schema is described in docs/checkpoints.md.
"""

import json
import math
import os
import re
import stat
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Final

from opentelemetry.trace import SpanContext, TraceFlags

from crucible_trace_otel.errors import FormatError, warn_once
from crucible_trace_otel.record._digests import FileDigest
from crucible_trace_otel.record._ids import new_event_id
from crucible_trace_otel.record._manifest import SIDECAR
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._values import one_line, printable
from crucible_trace_otel.semconv import spans

__all__ = [
    "Sidecar",
    "complete_sidecar",
    "decode",
    "encode",
    "read_sidecar",
    "remove_sidecar",
    "remove_unfinished",
    "sidecar_path",
    "write_sidecar",
]

VERSION: Final = 1
"""Rises when an older reader would misunderstand; further names do not raise it."""
_MOST_BYTES = 64 * 1024
_LONGEST = 1_024
_FAR = 2**62
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
_writing = threading.RLock()  # a signal handler may save a checkpoint while one is saved


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What is known about a saved checkpoint."""

    run_id: str
    attempt: int
    """Of the run, the attempt that saved it."""
    attempts: int
    """How many attempts of the run are known to have begun: the number that the next one gets."""
    run_trace_id: str
    """With `run_span_id` and `run_event_id`: the `training_run` span of that attempt."""
    run_span_id: str
    run_event_id: str
    trace_id: str
    """With `span_id` and `event_id`: the `checkpoint_save` span."""
    span_id: str
    event_id: str
    saved_at: str
    """ISO 8601 in UTC."""
    run_name: str = ""
    step: int | None = None
    """The last step it holds."""
    epoch: int | None = None
    """The epoch it holds."""
    best: bool | None = None
    size: int | None = None
    """Bytes; of a directory, the sum over its files."""
    sha256: str | None = None
    """Absent until it is computed, and where it could not be."""
    metrics: Mapping[str, float] = field(default_factory=dict)

    @property
    def digest(self) -> FileDigest:
        """What the checkpoint was when it was saved."""
        return FileDigest(self.size, self.sha256)

    def saving(self, path: str) -> Recorded:
        """The span that saved the checkpoint at `path`, to link to."""
        context = _context(self.trace_id, self.span_id)
        return Recorded(self.event_id, context, spans.CHECKPOINT_SAVE, one_line(path))

    def run(self) -> Recorded:
        """The span of the attempt that saved it, to link to."""
        context = _context(self.run_trace_id, self.run_span_id)
        return Recorded(self.run_event_id, context, spans.TRAINING_RUN, one_line(self.run_name))


def encode(sidecar: Sidecar) -> bytes:
    """The content of its file.

    Raises:
        FormatError: It could not be read again, for a value that is not what it should be, or is too long.
    """
    said = {name: value for name, value in asdict(sidecar).items() if value is not None}
    said["metrics"] = {name: _said(value) for name, value in sidecar.metrics.items()}
    try:
        text = json.dumps({"version": VERSION, **said}, indent=1, ensure_ascii=False, allow_nan=False).encode("utf-8")
    except (TypeError, ValueError, RecursionError) as error:
        raise FormatError(f"A sidecar cannot hold {printable(sidecar)[:200]}: {error}") from error
    decode(text)
    return text


def decode(text: bytes) -> Sidecar:
    """What a sidecar says; names it does not know are left aside.

    Raises:
        FormatError: It is none, a later version wrote it, or a value is not what it should be.
    """
    if len(text) > _MOST_BYTES:
        raise FormatError(f"it has more than {_MOST_BYTES} bytes")
    try:
        said = json.loads(text.decode("utf-8"), parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"it is no JSON: {printable(error)[:200]}") from error
    version = said.get("version") if isinstance(said, dict) else None
    if type(version) is not int or version < 1:
        raise FormatError("it has no version")
    if version > VERSION:
        raise FormatError(f"its version {version} is newer than {VERSION}, which this version of the package reads")
    values = {}
    for name, is_right in _IS_RIGHT.items():
        value = said.get(name)
        if value is None and name in _MAY_BE_ABSENT:
            continue
        if not is_right(value):
            raise FormatError(f"its {name} cannot be {printable(value)[:80]!r}")
        values[name] = value
    values["metrics"] = {name: _number(value) for name, value in values.get("metrics", {}).items()}
    return Sidecar(**values)


def sidecar_path(path: str) -> str:
    """Where the sidecar of the checkpoint at `path` lies: beside the file itself where `path` is a link to it."""
    return os.path.realpath(path) + SIDECAR


def read_sidecar(path: str) -> Sidecar | None:
    """The sidecar of the checkpoint at `path`; None where there is none, or, with one warning, none to be used."""
    try:
        place = sidecar_path(path)
        # Not blocking, for a pipe without a writer; and what lies beside a checkpoint does not lead elsewhere.
        flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        descriptor = os.open(place, flags)
        try:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FormatError("it is no regular file")
            return decode(os.read(descriptor, _MOST_BYTES + 1))
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
    """Put `sidecar` beside the checkpoint at `path`, in the place of an older one. Never raises.

    Args:
        path: Of the checkpoint; where there is none, nothing is written.
        sidecar: What to say.
        otherwise: What one warning says of the checkpoint where it cannot be written.
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


def _context(trace_id: str, span_id: str) -> SpanContext:
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=True, trace_flags=TraceFlags(TraceFlags.SAMPLED))


def _said(value: float) -> float | str:
    """A number as JSON has it; one that is not finite, by its name."""
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return value


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= _LONGEST and printable(value) == value


def _is_hex(digits: int) -> Callable[[Any], bool]:
    pattern = re.compile(rf"[0-9a-f]{{{digits}}}")
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value)) and bool(value.strip("0"))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < _FAR


def _are_metrics(value: Any) -> bool:
    return isinstance(value, dict) and all(
        printable(name) == name and _number(number) is not None for name, number in value.items()
    )


def _number(said: Any) -> float | None:
    """What `_said` wrote, as a double; None where it is none."""
    if isinstance(said, str):
        return _NONFINITE.get(said)
    if type(said) not in (int, float):
        return None
    try:
        return float(said) if math.isfinite(said) else None
    except OverflowError:
        return None


_IS_RIGHT: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("run_id", "saved_at"), _is_text),
    "run_name": lambda value: value == "" or _is_text(value),
    **dict.fromkeys(("run_trace_id", "run_event_id", "trace_id", "event_id"), _is_hex(32)),
    **dict.fromkeys(("run_span_id", "span_id"), _is_hex(16)),
    **dict.fromkeys(("attempt", "attempts", "step", "epoch", "size"), _is_count),
    "best": lambda value: isinstance(value, bool),
    "sha256": lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)),
    "metrics": _are_metrics,
}
_MAY_BE_ABSENT = {"run_name", "step", "epoch", "best", "size", "sha256", "metrics"}


def _forget_writing() -> None:
    """In a forked child: who held the lock is not there."""
    global _writing  # noqa: PLW0603
    _writing = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_writing)
