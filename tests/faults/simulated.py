"""Processes that record, all of them inside this one: each with its own journal and locks, and its own death."""

from __future__ import annotations

import copy
import itertools
import os
import time
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator

from crucible_trace_otel.journal import liveness, opening, processor, segment, writer
from crucible_trace_otel.journal.liveness import Life, identity
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.reader import span_ids
from crucible_trace_otel.journal.records import RecordType
from crucible_trace_otel.journal.ticking import Ticker
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from tests.faults.disk import Disk, Killed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

KINDS = ("plain", "run", "large", "poison")
_FIRST_PID = 2_000_000_000  # no system has such a process
_MEMORY = 2_000


class _Numbered(IdGenerator):
    """The same ids in each run."""

    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def generate_span_id(self) -> int:
        return 1 << 56 | next(self._numbers)

    def generate_trace_id(self) -> int:
        return 1 << 120 | next(self._numbers)


class _StillTicker(Ticker):
    """Does what is due when it is told to, and has no thread."""

    def start(self) -> None:
        pass


class World:
    """One machine: a directory, a disk, a clock, and the processes on it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.patch = pytest.MonkeyPatch()
        self.disk = Disk(self.patch)
        self.clock_ns = 1_000_000_000_000
        self.processes: list[Process] = []
        self.owner: dict[bytes, Process] = {}
        """Which process started a span, by the span's id."""
        self.ids = _Numbered()
        self.living: set[int] = set()
        self.here = identity()
        self.acting: Process | None = None
        self.patch.setattr(segment, "identity", lambda: self.acting.note if self.acting else self.here)
        real = liveness._life_of_pid
        self.patch.setattr(liveness, "_life_of_pid", lambda note: self._life(note["pid"], lambda: real(note)))
        self.patch.setattr(opening, "monotonic_ns", lambda: self.clock_ns)
        self.patch.setattr(processor, "Ticker", _StillTicker)
        self.patch.setattr(writer, "_MOST_WAITING", _MEMORY)

    def _life(self, pid: int, otherwise: Callable[[], Life]) -> Life:
        if pid < _FIRST_PID:
            return otherwise()
        return Life.ALIVE if pid in self.living else Life.DEAD

    @property
    def alive(self) -> list[Process]:
        """The processes that live."""
        return [process for process in self.processes if process.is_alive]

    def is_alive(self, prefix: str) -> bool:
        """Whether the writer with that prefix lives."""
        return any(process.prefix == prefix for process in self.alive)

    def end(self) -> None:
        """Everything stops."""
        for process in self.alive:
            process.kill()
        self.patch.undo()


class Process:
    """One that records.

    Args:
        world: Where.
        is_seen: Whether others can see its pid; they cannot in another container, where only its lock tells.
        journal: What a fork has inherited.
    """

    def __init__(self, world: World, *, is_seen: bool = True, journal: JournalSpanProcessor | None = None) -> None:
        self.world = world
        number = len(world.processes)
        self.pid = _FIRST_PID + number
        self.note = {**world.here, "pid": self.pid, "started": number}
        self.is_seen = is_seen
        if not is_seen:
            self.note["pid_namespace"] = "pid:[1]"
        self.is_alive = True
        self.open: dict[bytes, Span] = {}
        self.ended: dict[bytes, int] = {}
        """Spans whose `end()` has returned, and the time of their end."""
        self.gone: set[bytes] = set()
        """Those of them that were in memory only when it died."""
        self.told = 0
        """Lost spans that its files speak of."""
        self.journal = journal or JournalSpanProcessor(world.directory, sync=1e-9, progress_s=5)
        self.journal.writer.segments._prefix = f"20261124T093015-{self.pid}-{number:08x}"
        resource = Resource({"service.name": f"process {number % 2}"})
        provider = TracerProvider(resource=resource, id_generator=world.ids, shutdown_on_exit=False)
        provider.add_span_processor(self.journal)
        self._tracers = {kind: provider.get_tracer("crucible_trace_otel" if kind == "run" else "t") for kind in KINDS}
        world.processes.append(self)
        world.living.add(self.pid)

    @property
    def prefix(self) -> str:
        """What the names of its files begin with."""
        return self.journal.writer.segments.prefix

    @property
    def waiting(self) -> set[bytes]:
        """Ids of spans that are in its memory only."""
        waits = self.journal.writer._waiting if self.is_alive else ()
        return {span_ids(content[2])[1] for kind, content in waits if kind == RecordType.SPAN}

    def act(self, call: Callable[[], Any]) -> None:
        """Have it do something; it may die of it."""
        self.world.acting = self
        try:
            call()
        finally:
            self.world.acting = None
        self._learn()

    def _learn(self) -> None:
        self.told = self.journal.lost - sum(self.journal.writer._lost_of.values())

    def do(self, what: str, how: Any) -> None:
        """One of the following, chosen by name; nothing where nothing is open for it."""
        if what == "start":
            self.start(how, next(iter(self.open), None))
        elif what == "record":
            self.record(*how)
        elif what == "tick":
            self.tick(how)
        elif what == "rotate":
            self.rotate()
        elif self.open:
            span_id = list(self.open)[how % len(self.open)]
            if what == "end":
                self.end(span_id)
            else:
                self.open[span_id].set_attribute("changed", self.world.clock_ns)

    def start(self, kind: str = "plain", parent: bytes | None = None) -> bytes:
        """Start a span; its id."""
        attributes: dict[str, Any] = {attr.CRUCIBLE_OPERATION_NAME: operations.TRAINING_RUN} if kind == "run" else {}
        if kind == "large":
            attributes["filling"] = "x" * 2_000
        around = self.open.get(parent) if parent else None
        context = trace_api.set_span_in_context(around, Context()) if around else Context()
        span = self._tracers[kind].start_span(kind, context, attributes=attributes)
        span_id = span.get_span_context().span_id.to_bytes(8, "big")
        self.open[span_id] = span
        self.world.owner[span_id] = self
        return span_id

    def end(self, span_id: bytes) -> None:
        """End it."""
        span = self.open[span_id]
        span.end()
        del self.open[span_id]
        self.ended[span_id] = span.end_time

    def record(self, kind: str, number: int) -> None:
        """Spans that start and end, inside one that is open."""
        for _ in range(number):
            self.end(self.start(kind, next(iter(self.open), None)))

    def tick(self, seconds: float) -> None:
        """Time passes; what is due each second is done once."""
        self.world.clock_ns += int(seconds * 1e9)
        self.journal.ticker.tick()

    def rotate(self) -> None:
        """Go on in another file with the next record."""
        segments = self.journal.writer.segments
        segments._full_at = segments._look_at = 1

    def exit(self) -> None:
        """The program ends as it should."""
        self.journal.close("exit")

    def kill(self) -> None:
        """It is no more: nothing is closed as it should, and the kernel lets go of its locks."""
        self.is_alive = False
        self.gone |= {span_id for span_id in self._in_memory() if span_id in self.ended}
        self.world.living.discard(self.pid)
        segments = self.journal.writer.segments
        file, segments._file = segments._file, None
        segments._waiting.clear()
        if file is not None:
            file.close()

    def _in_memory(self) -> set[bytes]:
        return {span_ids(found[2])[1] for kind, found in self.journal.writer._waiting if kind == RecordType.SPAN}

    def dies_within(self, number: int, part: int, call: Callable[[], Any]) -> bool:
        """Do something, and be killed at file operation `number` of it; whether it came that far."""
        disk = self.world.disk
        disk.kill_at(number, part)
        try:
            self.act(call)
        except Killed:
            pass
        finally:
            was_killed = disk.revive()
        if was_killed:
            self.kill()
        return was_killed

    def fork(self) -> Process:
        """A child: everything is copied, descriptors share their locks; then what is to be done after a fork is."""
        journal = copy.copy(self.journal)
        journal.open, journal.ticker, journal.writer = map(copy.copy, (journal.open, journal.ticker, journal.writer))
        segments = journal.writer.segments = copy.copy(journal.writer.segments)
        segments._still_open, journal.writer._wake = journal.open.still_open, journal.ticker.at_once
        journal.ticker._due = [journal.writer.tick, journal._keep_open]
        if segments._file is not None:
            segments._file = copy.copy(segments._file)
            segments._file.fd = os.dup(segments._file.fd)
        for part in (segments, journal.writer, journal.ticker, journal):
            part.forget()
        child = Process(self.world, is_seen=self.is_seen, journal=journal)
        for span in self.open.values():  # a child may end what it has inherited; that is not its to record
            child.act(lambda span=span: journal.on_end(_ended(span)))
        return child


def _ended(span: Span) -> ReadableSpan:
    """A copy that has ended."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=span.attributes,
        instrumentation_scope=span.instrumentation_scope,
        start_time=span.start_time,
        end_time=time.time_ns(),
    )
