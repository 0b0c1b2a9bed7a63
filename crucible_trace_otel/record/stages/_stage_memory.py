"""What a resumable pipeline remembers of its stages: what went in when each was last complete.

A stage is taken out of the memory when it starts and put back when it has ended well, or was skipped: whatever happens
in between, no earlier result passes for one of now. It works in the same way where nothing is recorded.
"""

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

from opentelemetry.trace import SpanContext, TraceFlags

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._links import Linkable
from crucible_trace_otel.record._recorded import Recorded
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.stages._contents import contents_of
from crucible_trace_otel.record.stages._data import Datum, datum_of
from crucible_trace_otel.record.stages._state_file import StateFile
from crucible_trace_otel.semconv import spans

__all__ = ["Complete", "StageCache", "StageMemory", "complete", "memory_of"]

_MOST_OUTPUTS = 1_000
_LONGEST = 4_096
_LONGEST_NAME = 120
_MOST_SECONDS = 86_400.0


class StageCache(Protocol):
    """Where a pipeline may remember its stages: what `cache=` takes."""

    def get(self, key: str) -> str | None:
        """What was put under `key`; None where there is nothing."""

    def put(self, key: str, text: str | None) -> None:
        """Put `text` under `key`; None takes away what is there."""


@dataclass(frozen=True, slots=True)
class Complete:
    """A stage as it was when it was last complete."""

    inputs: str
    """The SHA-256 of its configuration and of the names, digests and schemas of its inputs."""
    outputs: tuple[tuple[str, str], ...] = ()
    """Path and SHA-256 of each file it made."""
    within: float = 1.0
    """Seconds that digesting these may take."""
    name: str = ""
    event_id: str = ""
    trace_id: str = ""
    span_id: str = ""

    def are_outputs_there(self) -> bool:
        """Whether each file that it made lies there as it was."""
        found = [(datum_of(Path(path), self.within), digest) for path, digest in self.outputs]
        return all(datum.contents().sha256 == digest for datum, digest in found)

    @property
    def execution(self) -> Recorded | None:
        """The span of it, to link to; None where it was not recorded."""
        if not self.event_id:
            return None
        context = SpanContext(int(self.trace_id, 16), int(self.span_id, 16), is_remote=True, trace_flags=TraceFlags(1))
        return Recorded(self.event_id, context, spans.STAGE, self.name)


def complete(
    stage: Linkable, config: Any, inputs: Mapping[str, Datum], outputs: Mapping[str, Datum]
) -> Complete | None:
    """A stage as it is now; None where not all that went in, and all files that came out, have a digest."""
    settings = contents_of(config)
    known = {given: datum.contents() for given, datum in inputs.items()}
    files = [(datum.path, datum.contents().sha256) for datum in outputs.values() if datum.path]
    digests = [settings.sha256, *(each.sha256 for each in known.values()), *(digest for _, digest in files)]
    if not inputs or not all(digests) or len(files) > _MOST_OUTPUTS:
        return None
    told = [settings.sha256, sorted((given, each.sha256, json.dumps(each.schema)) for given, each in known.items())]
    context = stage.span_context
    is_recorded = bool(stage.event_id) and context.is_valid
    return Complete(
        sha256(json.dumps(told).encode()).hexdigest(),
        tuple((path, digest or "") for path, digest in files),
        min(max((datum.within for datum in (*inputs.values(), *outputs.values())), default=1.0), _MOST_SECONDS),
        stage.about,
        stage.event_id if is_recorded else "",
        f"{context.trace_id:032x}" if is_recorded else "",
        f"{context.span_id:016x}" if is_recorded else "",
    )


def _not_remembered(*_: Any, **__: Any) -> tuple[str, Complete | None]:
    return "", None


class StageMemory:
    """The memory of one execution of a pipeline."""

    def __init__(self, cache: StageCache, pipeline: object) -> None:
        self._cache = cache
        self._pipeline = _part(pipeline)
        self._started: dict[str, int] = {}

    @guarded(_not_remembered)
    def take_out(self, given: object, *, is_first: bool) -> tuple[str, Complete | None]:
        """Where a stage that starts now is remembered, and as what: by its name, and how many had that before.

        Args:
            given: The name of the stage.
            is_first: Whether it is no further attempt.
        """
        name = _part(given)
        number = self._started.get(name, 0) + is_first
        self._started[name] = number
        key = f"{self._pipeline}/{name}" + (f"#{number}" if number > 1 else "")
        text = self._cache.get(key)
        if text is None:
            return key, None
        self._cache.put(key, None)
        found = _decoded(text)
        if found is None:
            warn_once(f"state {key}", f"What is remembered of the stage {key!r} is left aside: it is of no use.")
        return key, found

    @guarded(nothing)
    def put_back(self, key: str, known: Complete) -> None:
        """Remember a stage that has ended."""
        if key:
            self._cache.put(key, json.dumps(asdict(known)))


def _part(given: object) -> str:
    """A name as a part of a key: no two pairs of names have the same."""
    name = printable(given)
    if len(name) > _LONGEST_NAME:
        name = f"{name[:_LONGEST_NAME]}… {sha256(name.encode()).hexdigest()}"
    return name.replace("%", "%25").replace("/", "%2F").replace("#", "%23")


def _no_memory(*_: Any) -> StageMemory | None:
    return None


@guarded(_no_memory)
def memory_of(state: Any, cache: Any, pipeline: object) -> StageMemory | None:
    """The memory that the arguments of a pipeline name; None where they name none."""
    if cache is not None and callable(getattr(cache, "get", None)) and callable(getattr(cache, "put", None)):
        return StageMemory(cache, pipeline)
    if cache is not None:
        warn_once(f"cache {printable(cache)}", f"cache={printable(cache)} is left out: it has no get() and put().")
    return None if state is None else StageMemory(StateFile(state), pipeline)


def _decoded(text: Any) -> Complete | None:
    """What a text says, which anybody may have written; None where it is not what it should be."""
    try:
        said = json.loads(text) if isinstance(text, str) else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(said, dict) or not all(_IS_RIGHT[key](said.get(key)) for key in _IS_RIGHT):
        return None
    ids = [said[key] for key in ("event_id", "trace_id", "span_id")]
    if any(ids) and not all(int(each or "0", 16) for each in ids):
        return None
    outputs = tuple((path, digest) for path, digest in said["outputs"])
    return Complete(**{key: said[key] for key in _IS_RIGHT} | {"outputs": outputs})


def _is_hex(length: int, *, or_empty: bool = False) -> Callable[[Any], bool]:
    pattern = re.compile(rf"[0-9a-f]{{{length}}}" + ("|" if or_empty else ""))
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _are_outputs(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) <= _MOST_OUTPUTS
        and all(isinstance(each, list) and list(map(type, each)) == [str, str] for each in value)
        and all(0 < len(path) <= _LONGEST and "\0" not in path and _is_hex(64)(digest) for path, digest in value)
    )


_IS_RIGHT: Mapping[str, Callable[[Any], bool]] = {
    "inputs": _is_hex(64),
    "outputs": _are_outputs,
    "within": lambda value: type(value) in (int, float) and 0 <= value <= _MOST_SECONDS,
    "name": lambda value: isinstance(value, str) and len(value) <= _LONGEST,
    "event_id": _is_hex(32, or_empty=True),
    "trace_id": _is_hex(32, or_empty=True),
    "span_id": _is_hex(16, or_empty=True),
}
