"""What must be in a journal, at a collector and on a reader's screen, kept beside them; and whether it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.accounting import examine
from crucible_trace_otel.journal.acks import Acks, is_span
from crucible_trace_otel.journal.kept import lost_in, replaced, segments_that_count
from crucible_trace_otel.journal.layout import KEPT, prefix_of, recovered_of
from crucible_trace_otel.journal.reader import span_ids
from crucible_trace_otel.journal.records import AckState, Record, RecordType, read_json, read_span, scan
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.store.journal import JournalStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from tests.faults.simulated import Process, World
    from tests.faults.simulated_sending import Collector


@dataclass
class Found:
    """What the files hold."""

    spans: dict[bytes, tuple[Path, bytes]] = field(default_factory=dict)
    """By span id where it lies and the message."""
    opened: set[bytes] = field(default_factory=set)
    states: dict[bytes, AckState | None] = field(default_factory=dict)
    lost: int = 0
    """Spans that records say are lost."""
    unreadable: set[str] = field(default_factory=set)
    """Prefixes of which a file does not say who wrote it."""


class Ledger:
    """What became of each span, as far as those who did it to them know."""

    def __init__(self, world: World, collector: Collector) -> None:
        self.world = world
        self.collector = collector
        self.damaged: set[bytes] = set()
        """Spans whose record was spoilt."""
        self.unopened: set[bytes] = set()
        """Spans whose `open` record was."""
        self.removed: set[bytes] = set()
        """Taken by the size limit when they had been sent."""
        self.dropped: set[bytes] = set()
        """Taken by it before."""
        self.was_resent = False
        """Whether what was taken for rejected was sent again, and so perhaps not what was."""
        self.untold = 0
        """Lost spans of which the record was spoilt."""

    def read(self) -> Found:
        """What is there now."""
        with self.world.disk.healthy():
            return self._read()

    def _read(self) -> Found:
        found = Found()
        if not self.world.directory.is_dir():
            return found
        for path in segments_that_count(self.world.directory):
            acks = Acks(path)
            acks.load()
            records = [one for one in scan(path.read_bytes()) if isinstance(one, Record)]
            if not records or records[0].type != RecordType.NOTE:
                found.unreadable.add(prefix_of(path))
            spans = [one for one in records if is_span(one)]
            for one, state in zip(spans, acks.states([one.offset for one in spans]), strict=True):
                span_id = _id(one)
                assert span_id not in found.spans, f"{span_id.hex()} is in {path.name} and {found.spans[span_id][0]}"
                found.spans[span_id] = path, read_span(one.payload)[2]
                found.states[span_id] = state
            found.opened |= {_id(one) for one in records if one.type == RecordType.OPEN}
            found.lost += sum(map(_lost, records))
        return found

    @property
    def lost(self) -> int:
        """How many spans the journal must call lost."""
        return sum(one.told for one in self.world.processes) + len(self.dropped) - self.untold

    def was_spoilt(self, records: Iterable[Record]) -> None:
        """Somebody has damaged these records."""
        for one in records:
            if is_span(one):
                self.damaged.add(_id(one))
            elif one.type == RecordType.OPEN:
                self.unopened.add(_id(one))
            self.untold += _lost(one)

    def was_limited(self, before: Found) -> None:
        """The size limit was seen to."""
        gone = before.spans.keys() - self.read().spans.keys()
        sent = {span_id for span_id in gone if before.states[span_id] is AckState.SENT}
        self.removed |= sent
        self.dropped |= gone - sent
        self._has_arrived(sent)

    def was_killed(self, process: Process, before: Found) -> None:
        """A process died in the middle of something: what that had stored is in its files, returned or not."""
        after = self.read()
        process.told += after.lost - before.lost
        for span_id in [one for one in process.open if one in after.spans]:
            process.ended[span_id] = Span.FromString(after.spans[span_id][1]).end_time_unix_nano
            del process.open[span_id]

    def check(self) -> None:
        """Everything that holds whatever happened."""
        found = self.read()
        self._nothing_is_missing(found)
        self._nothing_is_made_up(found)
        if self.world.directory.is_dir():
            self._adds_up(found)
        if found.spans or found.opened:
            self._is_shown(found)
        self._has_arrived({span_id for span_id, state in found.states.items() if state is AckState.SENT})
        self._arrived_unchanged(found)

    def _elsewhere(self, process: Process) -> set[bytes]:
        """Ended spans of a process that need not be in its files."""
        return process.waiting | process.gone | self.damaged | self.removed | self.dropped

    def _nothing_is_missing(self, found: Found) -> None:
        for process in self.world.processes:
            missing = process.ended.keys() - found.spans.keys() - self._elsewhere(process)
            assert len(missing) <= process.journal.lost, f"{len(missing)} spans are nowhere: {_names(missing)}"
            if process.is_alive:
                assert process.journal.recorded == len(process.ended) + process.journal.markers

    def _nothing_is_made_up(self, found: Found) -> None:
        for span_id, (path, message) in found.spans.items():
            process = self.world.owner.get(span_id)
            name = Span.FromString(message).name
            if path == recovered_of(path.parent, prefix_of(path)):
                assert not self.world.is_alive(prefix_of(path)), f"{name} of a living process was ended"
                if process is not None and prefix_of(path) == process.prefix:
                    assert not self._has_ended(process, span_id), f"{name} had an end"
            elif process is not None and prefix_of(path) != KEPT:
                assert span_id in process.ended, f"{name} has not ended"
            else:
                assert process is not None or name.endswith(("_started", "_interrupted")) or name == "progress", name

    def _has_ended(self, process: Process, span_id: bytes) -> bool:
        """Whether it did, and more is left of that than what it had in memory."""
        told = process.gone | self.damaged
        return span_id in process.ended and span_id not in told and not process.journal.lost

    def _adds_up(self, found: Found) -> None:
        total = examine(self.world.directory).total()
        assert total.recorded == total.stored + total.sent + total.held + total.refused + total.lost
        states = list(found.states.values())
        assert (total.sent, total.refused) == (states.count(AckState.SENT), states.count(AckState.REFUSED))
        assert total.stored + total.held == states.count(None)
        assert (total.lost, found.lost) == (self.lost, self.lost)

    def _is_shown(self, found: Found) -> None:
        every = [span for trace in JournalStore(self.world.directory).traces() for span in trace.spans]
        shown = {bytes.fromhex(span.span_id): span for span in every}
        assert len(shown) == len(every)
        if not any((self.world.directory / name).exists() for name in replaced(self.world.directory)):
            assert not shown.keys() & (self.removed | self.dropped), "shown, and gone"
        for process in self.world.processes:
            for span_id, end_ns in process.ended.items():
                if span_id in found.spans and self._has_ended(process, span_id):
                    assert shown[span_id].end_ns == end_ns, f"{span_id.hex()} of {process.prefix} is shown otherwise"
            for span_id in process.open.keys() & (found.opened | shown.keys()):
                if span_id in shown and prefix_of_note(process, found):
                    was_interrupted = attr.CRUCIBLE_RUN_CAUSE in shown[span_id].attributes
                    assert was_interrupted is not process.is_alive, f"{span_id.hex()} of {process.prefix}"
                assert span_id in shown, f"{span_id.hex()} is open, and not shown"

    def _has_arrived(self, sent: set[bytes]) -> None:
        """The collector has what it acknowledged; of some requests it is known only how much of them."""
        got, unsure = self.collector.got.keys(), self.collector.unsure
        assert sent - unsure <= got, f"{_names(sent - unsure - got)} never arrived"
        if not self.was_resent:
            assert len(sent & unsure) <= len(got & unsure)

    def _arrived_unchanged(self, found: Found) -> None:
        for span_id, copies in self.collector.got.items():
            if span_id not in self.damaged | self.collector.reduced:
                assert len(copies) == 1, f"{span_id.hex()} was sent in {len(copies)} forms"
                assert span_id not in found.spans or found.spans[span_id][1] in copies

    def check_end(self) -> None:
        """Everything was healthy for long enough: nobody lives, and all that can be sent was."""
        self.check()
        found = self.read()
        for span_id, state in found.states.items():
            assert state is not None, f"{span_id.hex()} in {found.spans[span_id][0].name} is held for ever"
        for process in self.world.processes:
            left = process.open.keys() & found.opened - found.spans.keys()
            assert not left, f"{_names(left)} of {process.prefix} have no end"


def prefix_of_note(process: Process, found: Found) -> bool:
    """Whether the files of a process say whose they are."""
    return process.prefix not in found.unreadable


def spoilt(path: Path, changed: range) -> Iterator[Record]:
    """The records of a file that have bytes in a range."""
    for one in scan(path.read_bytes()):
        if isinstance(one, Record) and one.offset < changed.stop and changed.start < one.end:
            yield one


def _id(record: Record) -> bytes:
    return span_ids(read_span(record.payload)[2])[1]


def _lost(record: Record) -> int:
    if record.type != RecordType.GAP:
        return 0
    try:
        return sum(lost_in(read_json(record.payload)).values())
    except FormatError:
        return 0


def _names(ids: Iterable[bytes]) -> str:
    return ", ".join(sorted(one.hex() for one in ids))
