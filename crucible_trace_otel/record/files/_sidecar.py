"""The sidecar of a checkpoint or model: a small file beside it that says which run saved it, and when.

`digits.npz` has `digits.npz.crucible.json`. With it another process, on another machine and without a server, goes on
from the checkpoint as the same run, also when the one that saved it was killed, and a deployment of the model is linked
to the run that made it. Anybody may have written what is read:
each value is looked at. The schema is described in docs/checkpoints.md.
"""

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from opentelemetry.trace import SpanContext, TraceFlags

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._values import one_line, printable
from crucible_trace_otel.record.files._digests import FileDigest
from crucible_trace_otel.semconv import spans

__all__ = ["FAR", "LONGEST", "MOST_BYTES", "Sidecar", "decode", "encode"]

VERSION: Final = 1
"""Rises when an older reader would misunderstand; further names do not raise it."""
MOST_BYTES: Final = 64 * 1024
LONGEST: Final = 1_024
"""Characters of a text that it may hold."""
FAR: Final = 2**62
"""Above every number of steps, epochs or bytes that it may hold."""
_NONFINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True, slots=True, kw_only=True)
class Sidecar:
    """What is known about a saved checkpoint or model."""

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
    """With `span_id` and `event_id`: the `checkpoint_save` or `model_save` span."""
    span_id: str
    event_id: str
    saved_at: str
    """ISO 8601 in UTC."""
    saved_by: str = spans.CHECKPOINT_SAVE
    """The name of that span's operation."""
    run_name: str = ""
    model_name: str | None = None
    model_version: str | None = None
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
        """What was saved."""
        return FileDigest(self.size, self.sha256)

    def saving(self, path: str) -> Recorded:
        """The span that saved what lies at `path`, to link to."""
        context = _context(self.trace_id, self.span_id)
        return Recorded(self.event_id, context, self.saved_by, one_line(path))

    def run(self) -> Recorded:
        """The span of the attempt that saved it, to link to."""
        context = _context(self.run_trace_id, self.run_span_id)
        return Recorded(self.run_event_id, context, spans.TRAINING_RUN, one_line(self.run_name))


def encode(sidecar: Sidecar) -> bytes:
    """The content of its file.

    Raises:
        FormatError: It could not be read again, for a value that is not what it should be, or is too long.
    """
    said = {name: getattr(sidecar, name) for name in _IS_RIGHT if getattr(sidecar, name) is not None}
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
    if len(text) > MOST_BYTES:
        raise FormatError(f"it has more than {MOST_BYTES} bytes")
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
    return isinstance(value, str) and 0 < len(value) <= LONGEST and printable(value) == value


def _is_hex(digits: int) -> Callable[[Any], bool]:
    pattern = re.compile(rf"[0-9a-f]{{{digits}}}")
    return lambda value: isinstance(value, str) and bool(pattern.fullmatch(value)) and bool(value.strip("0"))


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < FAR


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
    "saved_by": lambda value: value in (spans.CHECKPOINT_SAVE, spans.MODEL_SAVE),
    "run_name": lambda value: value == "" or _is_text(value),
    **dict.fromkeys(("model_name", "model_version"), _is_text),
    **dict.fromkeys(("run_trace_id", "run_event_id", "trace_id", "event_id"), _is_hex(32)),
    **dict.fromkeys(("run_span_id", "span_id"), _is_hex(16)),
    **dict.fromkeys(("attempt", "attempts", "step", "epoch", "size"), _is_count),
    "best": lambda value: isinstance(value, bool),
    "sha256": lambda value: isinstance(value, str) and bool(re.fullmatch("[0-9a-f]{64}", value)),
    "metrics": _are_metrics,
}
_MAY_BE_ABSENT = {
    *("saved_by", "run_name", "model_name", "model_version", "step", "epoch", "best", "size", "sha256", "metrics"),
}
