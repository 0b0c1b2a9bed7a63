"""Ids of records and runs: from the operating system's entropy, or fixed by a run id.

The SDK's default generator draws from the global `random`, so `random.seed(42)` in a training script gives every run
the same ids, and each span disturbs the user's random numbers. Nothing here touches `random`'s state.
"""

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from hashlib import sha256
from random import Random
from typing import NamedTuple

__all__ = [
    "ANY_IDS",
    "RunIds",
    "entropy",
    "ids_of_run",
    "ids_requested",
    "new_event_id",
    "requested_span_id",
    "requested_trace_id",
    "trace_id_of_run",
]

entropy = Random(os.urandom(32))  # noqa: S311 - ids need to be unique, not secret; os.urandom each time gives up the GIL
"""The generator behind every id of this process."""


def new_event_id() -> str:
    """A fresh id for a record: 32 lower-case hex digits."""
    return entropy.randbytes(16).hex()


class RunIds(NamedTuple):
    """The ids that a run fixes; None for an id that is to be random."""

    trace_id: int | None = None
    span_id: int | None = None


def ids_of_run(run_id: str, attempt: int = 0, part: str = "0") -> RunIds:
    """The ids that a run id fixes: the same in every process, with no communication.

    They are the first 16 bytes, and the 8 after them, of the SHA-256 of "crucible.trace", run id, attempt and part,
    with a NUL between them.
    """
    digest = sha256("\0".join(("crucible.trace", run_id, str(attempt), part)).encode("utf-8", "replace")).digest()
    return RunIds(int.from_bytes(digest[:16], "big") or 1, int.from_bytes(digest[16:24], "big") or 1)


def trace_id_of_run(run_id: str, attempt: int = 0, part: str = "0") -> int:
    """The trace id alone."""
    return ids_of_run(run_id, attempt, part).trace_id or 1


ANY_IDS = RunIds()
"""All of them random."""
_NO_REQUEST = nullcontext()
_requested: ContextVar[RunIds] = ContextVar("crucible_requested_ids", default=ANY_IDS)


def ids_requested(ids: RunIds) -> AbstractContextManager[None]:
    """Ask the id generator that `configure()` installs to give the next span, and a trace it begins, these ids."""
    return _NO_REQUEST if ids == ANY_IDS else _requesting(ids)


@contextmanager
def _requesting(ids: RunIds) -> Iterator[None]:
    token = _requested.set(ids)
    try:
        yield
    finally:
        _requested.reset(token)


def requested_trace_id() -> int | None:
    """The trace id asked for, for an id generator to return."""
    return _requested.get().trace_id


def requested_span_id() -> int | None:
    """The span id asked for, for an id generator to return: once, for whatever else starts meanwhile has its own."""
    trace_id, span_id = _requested.get()
    if span_id is not None:
        _requested.set(RunIds(trace_id))
    return span_id


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: entropy.seed(os.urandom(32)))
