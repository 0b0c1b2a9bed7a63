"""Every recorded span counted once: sent, refused, held, stored or lost.

    recorded = stored + sent + held + refused + lost

Nothing is kept for it: each count is made from the segments, what lies in them about lost spans, and their acks.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Final

from crucible_trace_otel.errors import FormatError, StoreError
from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.acks import Acks, is_span
from crucible_trace_otel.journal.facts import end_of, facts_of, trace_of
from crucible_trace_otel.journal.kept import lost_in, segments_that_count
from crucible_trace_otel.journal.layout import ACKS, LEASE
from crucible_trace_otel.journal.reader import no_journal_at, read_records
from crucible_trace_otel.journal.records import VERSION, AckState, Damage, Record, RecordType, read_json, read_span
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["Accounting", "RunAccount", "account", "examine", "resend"]

_RUN_ID: Final = attr.CRUCIBLE_RUN_ID.encode()
_SHORTEST_ID = 6
_TRIES = 5


@dataclass(slots=True)
class RunAccount:
    """What became of the spans of one trace."""

    trace_id: str
    """Empty for lost spans of which only the number is known."""
    name: str = ""
    """What its root is about, or else the root's name; empty while the root is not recorded."""
    run_id: str = ""
    stored: int = 0
    """On this disk, and not to be sent."""
    withheld: int = 0
    """Those of the stored ones that are sent elsewhere, but not of this process: `CRUCIBLE_EXPORT_RANKS`."""
    sent: int = 0
    """Taken by the collector."""
    held: int = 0
    """On this disk, still to be sent."""
    refused: int = 0
    """Turned down by the collector; on this disk."""
    lost: int = 0
    """Neither sent nor on this disk."""
    said: str = ""
    """The collector's words when it last turned something down; untrusted text."""
    waiting_since_ns: int = 0
    """When the oldest held span ended, nanoseconds since 1970; 0 where none is held."""

    @property
    def recorded(self) -> int:
        """All of them."""
        return self.stored + self.sent + self.held + self.refused + self.lost


@dataclass(slots=True)
class Accounting:
    """What became of all spans of a journal directory."""

    has_destination: bool
    """Whether somebody has sent from this directory, or tries to."""
    runs: dict[str, RunAccount] = field(default_factory=dict)
    """By trace id, in the order they were recorded."""
    damaged: int = 0
    """Runs of bytes that are no record; what was in them is not counted."""
    torn: int = 0
    """Segments that end within a record: normal where a process was killed, or is writing right now."""
    unreadable: list[str] = field(default_factory=list)
    """One sentence for each file that could not be opened."""
    said: str = ""
    """What the collector said when it last turned something down; untrusted text."""

    def run(self, trace_id: str) -> RunAccount:
        """The account of a trace."""
        return self.runs.setdefault(trace_id, RunAccount(trace_id))

    def total(self) -> RunAccount:
        """All runs as one."""
        return replace(_together([*self.runs.values()]), trace_id="", name="", run_id="", said=self.said)

    def by_run(self) -> list[RunAccount]:
        """The traces of one run id, those of its attempts and its parts, as one account."""
        together: dict[str, list[RunAccount]] = {}
        for trace_id, run in self.runs.items():
            together.setdefault(f"run {run.run_id}" if run.run_id else trace_id, []).append(run)
        return [_together(runs) for runs in together.values()]

    def answering_to(self, run: str) -> set[str]:
        """The ids of the traces that are meant by a trace id or 6 digits of its beginning, a run id or a name."""
        exact = {one.trace_id for one in self.runs.values() if run and run in (one.trace_id, one.run_id, one.name)}
        beginning = [key for key in self.runs if len(run) >= _SHORTEST_ID and key.startswith(run.lower())]
        return exact or (set(beginning) if len(beginning) == 1 else set())


def _together(runs: Sequence[RunAccount]) -> RunAccount:
    """Several accounts as one, with the ids and the first name of the first of them."""
    first = runs[0] if runs else RunAccount("")
    return RunAccount(
        first.trace_id,
        next((run.name for run in runs if run.name), ""),
        first.run_id,
        stored=sum(run.stored for run in runs),
        withheld=sum(run.withheld for run in runs),
        sent=sum(run.sent for run in runs),
        held=sum(run.held for run in runs),
        refused=sum(run.refused for run in runs),
        lost=sum(run.lost for run in runs),
        said=next((run.said for run in reversed(runs) if run.said), ""),
        waiting_since_ns=min((run.waiting_since_ns for run in runs if run.waiting_since_ns), default=0),
    )


def account(directory: Path) -> list[RunAccount]:
    """What became of the spans of each trace in the journal `directory`, the oldest trace first.

    Raises:
        StoreError: It is no directory, or cannot be listed.
    """
    return list(examine(directory).runs.values())


def examine(directory: Path) -> Accounting:
    """The same, and what could not be read.

    Raises:
        StoreError: It is no directory, or cannot be listed.
    """
    if not directory.is_dir():
        raise no_journal_at(directory)
    try:
        segments = segments_that_count(directory)
        for _ in range(_TRIES):
            found, counted = _counted(directory, segments), segments
            segments = segments_that_count(directory)
            if set(counted) <= set(segments):
                break  # nothing went to the size limit meanwhile: that would be counted twice, or not at all
    except OSError as error:
        raise StoreError(f"No journal at {directory}: {error.strerror or error}.") from error
    return found


def _counted(directory: Path, segments: Iterable[Path]) -> Accounting:
    """What `segments` say together.

    Raises:
        OSError: The directory cannot be listed.
    """
    found = Accounting(any(path.name.endswith((ACKS, LEASE)) for path in files.listdir(directory)))
    for segment in segments:
        try:
            _count(segment, found)
        except (OSError, MemoryError) as error:  # noqa: PERF203 - each file has its own trouble
            found.unreadable.append(f"{segment.name}: {getattr(error, 'strerror', None) or error}")
    found.runs = {trace_id: run for trace_id, run in found.runs.items() if run.recorded}
    return found


def resend(directory: Path, states: Iterable[AckState] = (AckState.REFUSED,), *, run: str | None = None) -> int:
    """Have spans sent, again or after all, by whoever sends next; how many that are.

    Args:
        directory: Of the journal.
        states: What became of those that are meant: they were REFUSED, SENT or WITHHELD.
        run: A trace id, run id or name; None for all.

    Raises:
        StoreError: The directory cannot be listed.
    """
    found = examine(directory)
    wanted = None if run is None else found.answering_to(run)
    meant = frozenset(states)
    return sum(_mark(segment, meant, wanted) for segment in segments_that_count(directory))


def _mark(segment: Path, states: frozenset[AckState], wanted: set[str] | None) -> int:
    """Mark the spans of a segment that are in one of `states`, of the traces `wanted`."""
    acks = Acks(segment)
    acks.load()
    if not acks.ranges:
        return 0
    try:
        spans = [record for record in read_records(segment) if isinstance(record, Record) and is_span(record)]
    except (OSError, MemoryError):
        return 0
    found = acks.states([span.offset for span in spans])
    chosen = [
        state in states and (wanted is None or trace_of(read_span(span.payload)[2])[0] in wanted)
        for span, state in zip(spans, found, strict=True)
    ]
    for is_chosen, group in groupby(zip(spans, chosen, strict=True), key=itemgetter(1)):
        together = [span for span, _ in group]
        if is_chosen:  # spans that follow each other are one record
            acks.add(AckState.RESEND, together[0].offset, together[-1].end, len(together))
    return sum(chosen)


def _count(segment: Path, found: Accounting) -> None:
    """Add what is in one segment.

    Raises:
        OSError: It cannot be read.
    """
    acks = Acks(segment)
    acks.load()
    spans: list[tuple[int, bytes]] = []
    for record in read_records(segment):
        if isinstance(record, Damage):
            found.torn += record.torn
            found.damaged += not record.torn
        elif is_span(record):
            spans.append((record.offset, read_span(record.payload)[2]))
        elif record.version == VERSION and record.type in (RecordType.GAP, RecordType.OPEN):
            _note(record, found)
    waiting: dict[str, bytes] = {}
    for (offset, span), state in zip(spans, acks.states([offset for offset, _ in spans]), strict=True):
        run = _run_of(span, found)
        if state is AckState.SENT:
            run.sent += 1
        elif state is AckState.REFUSED:
            run.refused += 1
            answer = acks.range_at(offset)
            run.said = (answer.said if answer else "") or run.said
            found.said = run.said or found.said
        elif found.has_destination and state is not AckState.WITHHELD:
            run.held += 1
            waiting.setdefault(run.trace_id, span)
        else:
            run.stored += 1
            run.withheld += state is AckState.WITHHELD
    for trace_id, span in waiting.items():
        run, since = found.run(trace_id), end_of(span)
        run.waiting_since_ns = min(run.waiting_since_ns or since, since)


def _note(record: Record, found: Accounting) -> None:
    """Take in what is said about lost spans, or an open span, which may name its run."""
    try:
        if record.type == RecordType.OPEN:
            _run_of(read_span(record.payload)[2], found)
            return
        for trace_id, count in lost_in(read_json(record.payload)).items():
            found.run(trace_id).lost += count
    except FormatError:
        found.damaged += 1


def _run_of(span: bytes, found: Accounting) -> RunAccount:
    """The account that a span belongs to; it gets its name, where this span tells it."""
    trace_id, is_root = trace_of(span)
    run = found.run(trace_id)
    if (is_root and not run.name) or (not run.run_id and _RUN_ID in span):
        facts = facts_of(span)
        run.run_id = run.run_id or facts.run_id
        run.name = run.name or (is_root and (facts.about or facts.name)) or ""
    return run
