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

__all__ = ["entropy", "new_event_id", "requested_trace_id", "trace_id_of_run", "trace_id_requested"]

entropy = Random(os.urandom(32))  # noqa: S311 - ids need to be unique, not secret; os.urandom each time gives up the GIL
"""The generator behind every id of this process."""

_NO_REQUEST = nullcontext()
_requested: ContextVar[int | None] = ContextVar("crucible_requested_trace_id", default=None)


def new_event_id() -> str:
    """A fresh id for a record: 32 lower-case hex digits."""
    return f"{entropy.getrandbits(128):032x}"


def trace_id_of_run(run_id: str, attempt: int = 0, part: str = "0") -> int:
    """The trace id that a run id fixes: the same in every process, with no communication.

    It is the first 16 bytes of the SHA-256 of "crucible.trace", run id, attempt and part, with a NUL between them.
    """
    digest = sha256("\0".join(("crucible.trace", run_id, str(attempt), part)).encode("utf-8", "replace")).digest()
    return int.from_bytes(digest[:16], "big") or 1


def trace_id_requested(trace_id: int | None) -> AbstractContextManager[None]:
    """Ask the id generator that `configure()` installs to give the next trace this id, where it is not None."""
    return _NO_REQUEST if trace_id is None else _requesting(trace_id)


@contextmanager
def _requesting(trace_id: int) -> Iterator[None]:
    token = _requested.set(trace_id)
    try:
        yield
    finally:
        _requested.reset(token)


def requested_trace_id() -> int | None:
    """The trace id asked for, for an id generator to return."""
    return _requested.get()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=lambda: entropy.seed(os.urandom(32)))
