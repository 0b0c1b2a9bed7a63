"""A thread that does what is due each second, in the process that records."""

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

from crucible_trace_otel.errors import warn_once

__all__ = ["Ticker"]

_SECOND = 1.0
_tickers: "weakref.WeakSet[Ticker]" = weakref.WeakSet()


class Ticker:
    """Calls functions each second on a daemon thread.

    The thread is started by the first `start()`, and by the first one after a fork in the child. It ends with the
    process, or with the ticker.

    Args:
        due: Called in turn; one that raises is reported once and called again the next time.
    """

    def __init__(self, *due: Callable[[], object]) -> None:
        self._due = list(due)
        self._thread: threading.Thread | None = None
        self._now = threading.Event()
        self._stopped = False
        _tickers.add(self)

    def add(self, due: Callable[[], object]) -> None:
        """Call `due` each second too."""
        self._due.append(due)

    @property
    def is_running(self) -> bool:
        """Whether it has begun in this process."""
        return self._thread is not None

    def start(self) -> None:
        """Begin, unless it has begun in this process. Never raises."""
        if self._thread is not None or self._stopped:
            return
        self._thread = threading.Thread(target=_run, args=(weakref.ref(self),), name="crucible-journal", daemon=True)
        try:
            self._thread.start()
        except RuntimeError:  # Python 3.12 starts none once the interpreter is shutting down; or there are too many
            self._thread = None

    def at_once(self) -> None:
        """Do what is due without waiting for the second to pass."""
        self._now.set()

    def stop(self, timeout: float = _SECOND) -> None:
        """End after what is being done now, for which it waits so long; `start()` does nothing until `resume()`."""
        thread, self._thread, self._stopped = self._thread, None, True
        self._now.set()
        if thread is not None and thread is not threading.current_thread():
            with suppress(RuntimeError):  # one that could not be started
                thread.join(timeout)

    def resume(self) -> None:
        """Be ready to start again."""
        self._stopped = False

    def tick(self) -> None:
        """Do what is due. Never raises."""
        for due in self._due:
            _do(due)

    def waits_on(self) -> threading.Event | None:
        """What the thread that asks is to wait on; None where it is to end."""
        return None if self._stopped or self._thread is not threading.current_thread() else self._now

    def forget(self) -> None:
        """In a forked child, where the thread is not."""
        self._thread = None
        self._now = threading.Event()


def _do(due: Callable[[], object]) -> None:
    try:
        due()
    except Exception as error:  # noqa: BLE001 - one that fails must not keep the others from being done
        name = getattr(due, "__qualname__", "a task")
        warn_once(f"each second {name}", f"{name} failed: {type(error).__name__}: {error}", exc_info=True)


def _run(ticker: "weakref.ref[Ticker]") -> None:
    while (found := ticker()) is not None and (now := found.waits_on()) is not None:
        del found  # so that a ticker nobody holds any more can go
        now.wait(_SECOND)
        now.clear()
        found = ticker()
        if found is None or found.waits_on() is None:
            return
        found.tick()


def _forget_all() -> None:
    for ticker in list(_tickers):
        ticker.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
