"""Sends from within the process that records, where no process of its own can be started."""

import threading
from pathlib import Path

from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.loop import LIMIT_BYTES, Shipper

__all__ = ["ShipperThread"]

_SECOND_S = 1.0


class ShipperThread:
    """A daemon thread that sends what is in `directory` as soon as nobody else does; it begins at once.

    A forked child does not have the thread, nor the lease: `is_alive()` says so, and another one is to be made there.

    Args:
        directory: Of the journal.
        destination: Where to.
        limit_bytes: What the journal may take on disk.
        since: As for `Shipper`.
    """

    def __init__(
        self, directory: Path, destination: Destination, *, limit_bytes: int = LIMIT_BYTES, since: int = 0
    ) -> None:
        self._shipper = Shipper(directory, destination, limit_bytes=limit_bytes, owner=identity(), since=since)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crucible-shipper", daemon=True)
        self._thread.start()

    def is_alive(self) -> bool:
        """Whether it runs in this process."""
        return self._thread.is_alive()

    def stop(self, timeout: float = 0.0) -> bool:
        """End after the request that is under way, waiting up to `timeout` seconds for that; whether it has ended."""
        self._stop.set()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stop.is_set():
            self._shipper.run(self._stop)
            self._stop.wait(_SECOND_S)
