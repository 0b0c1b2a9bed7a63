"""Watches the writers of a journal: which live, what they have written; sees to the ends of those that die.

It runs on a thread of its own, so that a collector that does not answer holds up neither the ends of dead runs nor what
the disk must keep.
"""

import math
import os
import select
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crucible_trace_otel.journal.layout import KEPT, prefix_of, ring_of, segment_of
from crucible_trace_otel.journal.limit import enforce
from crucible_trace_otel.journal.liveness import SILENT_S, Life, host_name, is_locked, life_of, pidfd_of
from crucible_trace_otel.journal.reader import note_of, segments_in
from crucible_trace_otel.journal.recovery import may_be_open, recover
from crucible_trace_otel.ship.lease import Lease
from crucible_trace_otel.ship.log import ShipperLog, place_of
from crucible_trace_otel.ship.syncing import Syncing

__all__ = ["Seen", "Watch"]

_SLICE_S = 0.2
_SECOND_S = 1.0
_LIMIT_S = 0.2  # a program that writes flat out fills a segment in half a second
_UNTOUCHED_S = 30.0
_LET_GO = 2
_A_WHILE_S = 0.3
_LIST_S = 10.0
_UNSURE_S = 2.0  # the time of a directory is no finer than a clock tick, or a second
_watches: "weakref.WeakSet[Watch]" = weakref.WeakSet()


@dataclass(frozen=True, slots=True)
class Seen:
    """What the directory held at one look."""

    segments: Mapping[Path, bool] = field(default_factory=dict)
    """Those to be sent, in order; whether their writer may still append to them."""
    is_anyone_alive: bool = True
    """Whether a process of this host writes here, or has asked for this sender and lives."""
    is_behind: bool = False
    """Whether there are dead writers that are not seen to yet."""


@dataclass(slots=True)
class _Writer:
    """What is known about one process."""

    newest: Path
    note: Mapping[str, Any]
    pidfd: int | None = None
    life: Life = Life.UNKNOWN
    is_closed: bool = False
    """Whether its death was seen and what it left open was ended."""
    looks_free: int = 0
    """At how many looks in a row nobody had the lock of its newest segment."""
    touched: tuple[int, float] = (-1, 0.0)
    """Its newest file's time, and since when, on the monotonic clock, that has not changed."""


class Watch:
    """Looks at `directory` each second, when names change in it, and when a writer dies.

    Args:
        directory: Of the journal.
        lease: The lease of this host.
        log: For what goes wrong.
        limit_bytes: What the journal may take.
        owner: Who asked for this sender: as good as a writer while it lives.
        wake: Called when there is something new.
    """

    def __init__(
        self,
        directory: Path,
        lease: Lease,
        log: ShipperLog,
        *,
        limit_bytes: int,
        owner: Mapping[str, Any] | None,
        wake: Callable[[], None],
    ) -> None:
        self.seen: Seen | None = None
        """The last look; None before the first."""
        self._directory = directory
        self._lease = lease
        self._log = log
        self._limit_bytes = limit_bytes
        self._wake = wake
        self._host = host_name()
        self._owner = _Writer(directory, owner) if owner else None
        self._writers: dict[str, _Writer] = {}
        self._foreign: dict[str, Lease] = {}
        self._syncing = Syncing(directory)
        self._names_at = -1
        self._changed_at = self._listed_at = -math.inf
        self._paths: list[Path] = []
        self._is_behind = False
        self._limited = -_LIMIT_S
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="crucible-watch", daemon=True)
        _watches.add(self)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; what it held is free when this returns."""
        self._stop.set()
        self._thread.join(2 * _SECOND_S)
        self.forget()
        for lease in self._foreign.values():
            lease.release()

    def forget(self) -> None:
        """Close what watches the writers; also in a forked child, which has no use for it."""
        for writer in self._known():
            self._let_go(writer)

    def is_going_on(self) -> bool:
        """Whether it runs: the lease is still held."""
        return self._thread.is_alive()

    def look(self) -> None:
        """Look once: at the names, the writers, the disk. Never raises."""
        paths = self._list()
        for writer in self._writers.values():
            if not writer.is_closed:
                self._see(writer)
        if self._owner is not None:
            self._see(self._owner)
            if any(writer.note == self._owner.note for writer in self._writers.values()):
                self._let_go(self._owner)
                self._owner = None  # from now on what it writes says whether there is more to come
        if self.seen is None:  # sending need not wait for what follows
            self._is_behind = True
            self._publish(paths)
        if self._end_the_dead():
            paths = self._list()  # with what was written now
        self._syncing.sync([path for path in paths if self._is_written(path)])
        self._publish(paths)
        self._keep_limit()

    def _publish(self, paths: list[Path]) -> None:
        """Say what was seen, to who sends."""
        is_anyone_alive = any(self._may_write(writer) for writer in self._near())
        before, self.seen = self.seen, Seen(dict(self._to_send(paths)), is_anyone_alive, self._is_behind)
        if self.seen != before:
            self._wake()

    def _list(self) -> list[Path]:
        """The segments: listed anew after each change of names, and each ten seconds whatever the directory says."""
        now = time.monotonic()
        self._names_changed()
        if now - self._changed_at < _UNSURE_S or now - self._listed_at > _LIST_S:
            self._listed_at = now
            try:
                self._paths = segments_in(self._directory)
            except OSError as error:
                self._log.say("list", f"The journal cannot be listed: {error.strerror}.")
                self._paths = []
            self._meet(self._paths)
        return self._paths

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._lease.is_mine() or self._gives_way():
                    return
                self.look()
                self._wait()
            except Exception as error:  # noqa: BLE001, PERF203 - the next second may be better
                self._log.say("look", f"Looking at the journal failed: {place_of(error)}.")
                self._stop.wait(_SECOND_S)

    def _gives_way(self) -> bool:
        """Whether another process is to send, elsewhere; says so."""
        coming = self._lease.wanted_by()
        if coming:
            self._log.say(
                "leave",
                f"Leaves: process {coming.get('pid')} sends what is recorded here to {coming.get('to')}, "
                "as a program says that was configured later.",
            )
        return bool(coming)

    def _wait(self) -> None:
        """Until a second has passed, a name has changed or a writer has died."""
        until = time.monotonic() + (0 if self._is_behind else _SECOND_S)
        while not self._stop.is_set() and (left := until - time.monotonic()) > 0:
            if self._has_died(min(left, _SLICE_S)) or self._names_changed():
                return

    def _has_died(self, seconds: float) -> bool:
        ends = select.poll() if hasattr(select, "poll") else None
        watched = [writer for writer in self._known() if writer.pidfd is not None]
        if ends is None or not watched:
            self._stop.wait(seconds)
        else:
            for writer in watched:
                ends.register(writer.pidfd or 0, select.POLLIN)
            if ends.poll(seconds * 1000):
                return True
        blind = [one for one in self._near() if one.pidfd is None and one.life is not Life.DEAD]
        return any(life_of(writer.note, writer.newest) is Life.DEAD for writer in blind)

    def _names_changed(self) -> bool:
        try:
            now = self._directory.stat().st_mtime_ns
        except OSError:
            now = 0
        if now == self._names_at:
            return False
        self._names_at, self._changed_at = now, time.monotonic()
        return True

    def _known(self) -> list[_Writer]:
        return [*self._writers.values(), *([self._owner] if self._owner else [])]

    def _near(self) -> list[_Writer]:
        """Those of this host."""
        return [writer for writer in self._known() if self._is_near(writer)]

    def _meet(self, paths: list[Path]) -> None:
        """Learn who writes."""
        newest = {prefix_of(path): path for path in paths if _is_own(path)}
        for prefix, path in newest.items():
            known = self._writers.get(prefix)
            if known is None or not known.note:
                self._writers[prefix] = _Writer(path, note_of(path))
            elif known.newest != path:
                known.newest, known.is_closed = path, False
        for prefix in self._writers.keys() - newest.keys():
            self._let_go(self._writers.pop(prefix))

    def _end_the_dead(self) -> bool:
        """End what dead writers left open, the latest first, for a while; whether anything was written."""
        until = time.monotonic() + _A_WHILE_S
        has_written = self._is_behind = False
        for prefix, writer in sorted(self._writers.items(), reverse=True):
            if writer.is_closed or writer.life is not Life.DEAD:
                continue
            if not (self._is_near(writer) or self._is_left(writer)):
                continue
            if time.monotonic() > until:
                self._is_behind = True
                break
            try:
                if self._may_have_left(prefix, writer):
                    recover(self._directory, prefix)
                    has_written = True
                writer.is_closed = True
            except Exception as error:  # noqa: BLE001 - of one writer; the others have ends too
                said = error.strerror if isinstance(error, OSError) else place_of(error)
                self._log.say("recover", f"The ends of {prefix} cannot be written yet: {said}.")
        return has_written

    def _may_have_left(self, prefix: str, writer: _Writer) -> bool:
        """Whether a dead writer may have left anything open, told from its last segments."""
        number = int(writer.newest.stem.rpartition("-")[2])
        last = (segment_of(self._directory, prefix, one) for one in range(max(number - 1, 0), number + 1))
        return ring_of(self._directory, prefix).exists() or may_be_open(last)

    def _is_near(self, writer: _Writer) -> bool:
        return writer.note.get("host") == self._host

    def _see(self, writer: _Writer) -> None:
        """Learn whether a writer lives. Its lock first: one that dies in between is not taken for one that let go."""
        writer.looks_free = writer.looks_free + 1 if is_locked(writer.newest) is False else 0
        if writer.pidfd is None and writer.life is not Life.DEAD:
            writer.pidfd = pidfd_of(writer.note)
        writer.life = life_of(writer.note, writer.newest)
        if writer.life is Life.DEAD:
            self._let_go(writer)

    def _is_left(self, writer: _Writer) -> bool:
        """Whether another host's writer was watched for long enough without a sign, and nobody there sends for it."""
        try:
            at = writer.newest.stat().st_mtime_ns
        except OSError:
            return False
        now = time.monotonic()
        if at != writer.touched[0]:
            writer.touched = at, now
        return now - writer.touched[1] > SILENT_S and self._takes_over(writer, at)

    def _takes_over(self, writer: _Writer, touched_ns: int) -> bool:
        """Whether the segments of another host's writer are ours to send: nobody there does, and it is silent."""
        if time.time() - touched_ns / 1e9 < _UNTOUCHED_S or writer.life is Life.ALIVE:
            return False
        host = str(writer.note.get("host") or "")
        if not host:
            return True
        return self._foreign.setdefault(host, Lease(self._directory, host)).take(0)

    def _to_send(self, paths: list[Path]) -> Iterator[tuple[Path, bool]]:
        for path in paths:
            writer = self._writers.get(prefix_of(path))
            if writer is None:
                yield path, False  # its own segments are gone: what is left was written by others
                continue
            if not self._is_near(writer):
                with suppress(OSError):
                    if self._takes_over(writer, path.lstat().st_mtime_ns):
                        yield path, False
                continue
            yield path, path == writer.newest and writer.life is not Life.DEAD

    def _is_written(self, path: Path) -> bool:
        """Whether a living writer of this host appends to it."""
        writer = self._writers.get(prefix_of(path))
        return writer is not None and writer.life is not Life.DEAD and self._is_near(writer)

    def _keep_limit(self) -> None:
        now = time.monotonic()
        if now - self._limited < _LIMIT_S:
            return
        self._limited = now
        try:
            gone = enforce(self._directory, self._limit_bytes, is_alive=self._may_live)
            if gone:
                self._log.say("full", f"The journal is at its limit: {len(gone)} segments went, {gone[-1]} last.")
        except OSError as error:
            self._log.say("limit", f"The journal cannot be kept under its limit: {error.strerror}.")

    def _may_write(self, writer: _Writer) -> bool:
        """Whether more may come: a process that lives, and has not let go of its segment.

        One that dies lets go a moment before it is seen to be dead, so the second look counts.
        """
        if writer.life is Life.DEAD:
            return False
        return writer is self._owner or writer.looks_free < _LET_GO

    def _may_live(self, prefix: str) -> bool:
        writer = self._writers.get(prefix)
        return writer is None or writer.life is not Life.DEAD

    @staticmethod
    def _let_go(writer: _Writer) -> None:
        fd, writer.pidfd = writer.pidfd, None
        if fd is not None:
            with suppress(OSError):
                os.close(fd)


def _is_own(path: Path) -> bool:
    """Whether the writer itself made this segment, and not who saw to it later."""
    prefix, number = prefix_of(path), path.stem.rpartition("-")[2]
    return prefix != KEPT and number.isdecimal() and path == segment_of(path.parent, prefix, int(number))


def _forget_all() -> None:
    for watch in list(_watches):
        watch.forget()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_all)
