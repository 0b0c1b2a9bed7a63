"""Reading back what was recorded.

with open_store() as store:
    print(store.latest().name)
"""

import os

from crucible_trace_otel.store.journal import JournalStore

__all__ = ["JournalStore", "open_store"]


def open_store(path: str | os.PathLike[str] = ".crucible", *more: str | os.PathLike[str]) -> JournalStore:
    """Open the traces recorded at `path` for reading, also while a run is still being recorded there.

    Args:
        path: A journal directory: what `configure(journal=...)` was given.
        more: Others, such as those of the other processes of a run: what they hold of one trace is one trace, and
            what several of them hold is there once.

    Returns:
        A store with `.traces()`, `.latest()` and `.get(run)`; it may be used in a `with` block.

    Raises:
        StoreError: A path does not exist or holds no journal; the message names it and the way out.
            Damaged records do not raise: the store counts them in `.damaged`, `.torn` and `.unreadable`.
    """
    return JournalStore(path, *more)
