"""What sends from memory has in common: what was taken is counted, and waiting ends when it was told to."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.sdk._exporters import WHAT, make_exporter
from crucible_trace_otel.sdk._quiet import speaking_for
from crucible_trace_otel.sdk._settings import Settings, Signal, Target

if TYPE_CHECKING:
    from crucible_trace_otel.sdk._answers import ReadingSession

__all__ = ["Closing", "Counting", "within"]


class Counting:
    """An exporter, of any signal, that knows how much was acknowledged, and can be made to stop trying.

    Args:
        signal: What it sends.
        target: Where.
        settings: With what headers.
    """

    def __init__(self, signal: Signal, target: Target, settings: Settings) -> None:
        self.endpoint = _without_password(target.endpoint)
        self.what = WHAT[signal]
        self.closed = False
        self.acknowledged = 0
        self.refused = 0
        self._make = partial(make_exporter, signal, target, settings)
        self._keeps_connection = target.protocol == "grpc"  # which sees to forks itself
        self._exporter: Any
        self._session: ReadingSession | None
        self._exporter, self._session = self._make()

    @property
    def _preferred_temporality(self) -> Any:
        return self._exporter._preferred_temporality  # noqa: SLF001 - how a reader learns of it

    @property
    def _preferred_aggregation(self) -> Any:
        return self._exporter._preferred_aggregation  # noqa: SLF001

    def export(self, batch: Any, **options: Any) -> Any:
        """Send `batch`: a sequence, or one that counts as one."""
        size = len(batch) if hasattr(batch, "__len__") else 1
        result = None
        try:
            if not self.closed:
                with speaking_for(self):
                    result = self._exporter.export(batch, **options)
        finally:
            taken = 0
            if getattr(result, "name", "") == "SUCCESS":
                taken = max(0, size - (self._session.rejected if self._session else 0))
            self.acknowledged += taken
            self.refused += size - taken
        return result

    def forget(self) -> None:
        """In a forked child: count anew, and send by an exporter whose connection is not the parent's."""
        self.acknowledged = self.refused = 0
        if not self._keeps_connection:
            self._exporter, self._session = self._make()

    def give_up(self) -> None:
        """Interrupt the exporter's retries; what it holds is not sent."""
        self.closed = True
        with suppress(Exception):
            self._exporter.shutdown()

    def force_flush(self, timeout_millis: float = 0) -> bool:  # noqa: ARG002 - as the SDK calls it
        """Nothing waits here."""
        return True

    def shutdown(self, **_: Any) -> None:
        """Take no more."""
        if not self.closed:
            self.closed = True
            self._exporter.shutdown()


class Closing:
    """Has a thread ready that ends something: Python 3.12 starts none once the interpreter is shutting down.

    Args:
        close: Ends it, by sending what is left.
        give_up: Interrupts that.
    """

    def __init__(self, close: Callable[[], object], give_up: Callable[[], object]) -> None:
        self._close, self._give_up = close, give_up
        self._begun, self._done = threading.Event(), threading.Event()
        threading.Thread(target=self._run, name="crucible-close", daemon=True).start()

    def begin(self) -> None:
        """End it, without waiting."""
        self._begun.set()

    def end(self, timeout: float) -> None:
        """End it, and wait for that up to `timeout` seconds; then give up what is left."""
        self.begin()
        if not self._done.wait(timeout):
            self._give_up()

    def again(self) -> "Closing":
        """The same in a forked child, where the thread is gone; one that had begun is over there."""
        return self if self._begun.is_set() else Closing(self._close, self._give_up)

    def _run(self) -> None:
        self._begun.wait()
        with suppress(Exception):
            self._close()
        self._done.set()


def within(seconds: float, work: Callable[[], object]) -> bool:
    """Whether `work`, done by a thread that may be left behind, was done within `seconds`. Never raises."""

    def quietly() -> None:
        with suppress(Exception):
            work()

    thread = threading.Thread(target=quietly, name="crucible-wait", daemon=True)
    until = time.monotonic() + seconds
    try:
        thread.start()
    except RuntimeError:  # Python 3.12 starts none once the interpreter is shutting down
        return False
    thread.join(max(0.0, until - time.monotonic()))
    return not thread.is_alive()


def _without_password(address: str) -> str:
    scheme, separator, rest = address.rpartition("://")
    return f"{scheme}{separator}{rest.rpartition('@')[2]}"
