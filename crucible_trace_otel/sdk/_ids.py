"""The id generator that `configure()` installs."""

import os

from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.util._importlib_metadata import entry_points

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._ids import entropy, requested_span_id, requested_trace_id

__all__ = ["RunIdGenerator", "id_generator"]


class RunIdGenerator(IdGenerator):
    """Ids from the operating system's entropy, and the ids that a run id asks for.

    It neither follows `random.seed` nor draws from the user's random numbers, and a forked child draws its own.

    Args:
        inner: A generator the user chose, which gives every id that no run id asks for.
    """

    def __init__(self, inner: IdGenerator | None = None) -> None:
        self._inner = inner

    def generate_span_id(self) -> int:
        """The span id asked for by a run, or a random one that is not zero."""
        requested = requested_span_id()
        if requested is not None:
            return requested
        if self._inner is not None:
            return self._inner.generate_span_id()
        return entropy.getrandbits(64) or 1

    def generate_trace_id(self) -> int:
        """The trace id asked for by a run, or a random one."""
        requested = requested_trace_id()
        if requested is not None:
            return requested
        if self._inner is not None:
            return self._inner.generate_trace_id()
        return entropy.getrandbits(128) or 1

    def is_trace_id_random(self) -> bool:
        """Whether the id just generated is random, as W3C's flag says to other processes."""
        if requested_trace_id() is not None:
            return False
        return True if self._inner is None else self._inner.is_trace_id_random()


def id_generator() -> RunIdGenerator:
    """Ours, around the one that `OTEL_PYTHON_ID_GENERATOR` names where it names another than the default."""
    name = os.environ.get("OTEL_PYTHON_ID_GENERATOR", "").strip()
    if name in ("", "random"):
        return RunIdGenerator()
    try:
        (entry_point,) = entry_points(group="opentelemetry_id_generator", name=name)
        return RunIdGenerator(entry_point.load()())
    except Exception as error:  # noqa: BLE001 - the code of another package runs here
        warn_once(
            f"id generator {name}", f"OTEL_PYTHON_ID_GENERATOR={name!r} cannot be used ({error}); random ids are used."
        )
        return RunIdGenerator()
