"""Running one case: a real program, a real collector, a real kill; then what is where."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.faults.cases import Case
from benchmarks.faults.ledger import Recorded, SpanId, read_ledgers
from benchmarks.faults.receiver import ROOT, Arrival, Receiver

__all__ = ["Outcome", "measure"]

_LONGEST_S = 120
_AT_ONCE_S = 0.5
"""The plain SDK holds nothing when its process has ended: what was sent is there by then."""


@dataclass
class Outcome:
    """What became of the spans of one program."""

    recorded: int
    """Spans whose `end()` returned."""
    arrived: int
    """Of those, spans that the collector took."""
    held: int = 0
    """Spans it did not take, that the journal keeps and that are still to be sent."""
    refused: int = 0
    """Spans it did not take, that the journal keeps and that the collector has turned down."""
    stored: int = 0
    """Spans in the journal, arrived or not."""
    exit_s: float | None = None
    """From the last line of the program to the end of its process; None where it was killed."""
    after_s: float | None = None
    """From the end of the process to the arrival of the last span; None where not all arrived."""
    stderr: list[str] = field(default_factory=list)
    roots: list[str] = field(default_factory=list)
    """How what was open arrived, where the program did not end well."""
    twice: int = 0
    """Spans that arrived more than once."""
    events: int | None = None
    """Steps that arrived, of a program that records some."""
    events_recorded: int = 0
    seconds: list[float] = field(default_factory=list)
    """Durations, of a program that sets the clock back."""
    flush: tuple[float, bool] | None = None
    """How long the flush took, and what it answered."""
    exit_code: int | None = None
    accounts: dict[str, int] = field(default_factory=dict)
    """What the journal's own account says, added up over its runs."""

    @property
    def lost(self) -> int:
        """Spans that are nowhere."""
        return self.recorded - self.arrived - self.held - self.refused


def measure(case: Case, variant: str) -> Outcome:
    """Run `case` with the plain SDK ("sdk"), with ours ("ours"), or unrecorded ("none")."""
    with (
        tempfile.TemporaryDirectory(prefix=f"faults-{case.name}-") as name,
        Receiver(*case.collector or ("ok",)) as receiver,
    ):
        directory = Path(name)
        if not case.is_down:
            receiver.start()
        with _stopped_afterwards(directory / "journal"):
            program = _Program(case, variant, directory, receiver)
            program.run()
            if case.then_up:
                receiver.start()
            if case.next_start:
                _Program(_second(case), variant, directory, receiver).run()
            recorded = read_ledgers(directory)
            wanted = set(recorded.ended) | (set(recorded.roots) if variant == "ours" else set())
            receiver.wait_for(wanted, case.settle_s if variant == "ours" else _AT_ONCE_S)
            taken = receiver.taken()
            outcome = _outcome(case, recorded, taken, program)
            if variant == "ours":
                _look_into_journal(directory / "journal", recorded, taken, outcome)
    return outcome


class _Program:
    """The program of a case, and what is done to it."""

    def __init__(self, case: Case, variant: str, directory: Path, receiver: Receiver) -> None:
        self.case = case
        self.directory = directory
        self.receiver = receiver
        self.stderr: list[str] = []
        self.exit_code = 0
        self.signalled_at = 0.0
        self.ended_at = 0.0
        self._asked = {
            "variant": variant,
            "protocol": case.protocol,
            "endpoint": receiver.endpoint(case.protocol),
            "program": case.program,
            "arguments": case.arguments,
        }

    def run(self) -> None:
        """Start it, do what the case says, and wait for its end."""
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "TMPDIR") if name in os.environ}
        log = self.directory / "stderr.log"
        with log.open("w+b") as stderr:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.faults.program", json.dumps(self._asked)],
                cwd=self.directory,
                env={**kept, "PYTHONPATH": str(ROOT)},
                stdin=subprocess.DEVNULL,
                stdout=stderr,
                stderr=stderr,
            )
            try:
                self._misfortune(process)
                self.exit_code = process.wait(_LONGEST_S)
            finally:
                process.kill()
                process.wait()
            self.ended_at = time.monotonic()
        self.stderr = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
        if not any(self.directory.glob("*.ledger")):
            raise RuntimeError(f"{self.case.name}: the program did not begin: {self.stderr[-3:]}")

    def _misfortune(self, process: "subprocess.Popen[bytes]") -> None:
        began = self._begun(process)
        if self.case.outage:
            goes, comes = self.case.outage
            time.sleep(max(0.0, began + goes - time.monotonic()))
            self.receiver.stop()
            time.sleep(max(0.0, began + comes - time.monotonic()))
            self.receiver.start()
        if self.case.kill:
            after, number = self.case.kill
            if number != signal.SIGKILL:
                began = self._marked("leaving", process)
            time.sleep(max(0.0, began + after - time.monotonic()))
            self.signalled_at = time.monotonic()
            process.send_signal(number)

    def _begun(self, process: "subprocess.Popen[bytes]") -> float:
        """When it had set up its recorder."""
        while process.poll() is None:
            if any(self.directory.glob("*.ledger")):
                break
            time.sleep(0.01)
        return time.monotonic()

    def _marked(self, name: str, process: "subprocess.Popen[bytes]") -> float:
        while process.poll() is None:
            marks = read_ledgers(self.directory).marks
            if name in marks:
                return marks[name]
            time.sleep(0.02)
        return time.monotonic()


def _second(case: Case) -> Case:
    return Case(case.name, case.fault, "spans", {"count": 10}, protocol=case.protocol)


def _outcome(case: Case, recorded: Recorded, taken: Mapping[SpanId, Arrival], program: _Program) -> Outcome:
    """What the program noted, against what the collector took."""
    arrived = [taken[each] for each in recorded.ended if each in taken]
    marks = recorded.marks
    was_killed = case.kill is not None and case.kill[1] == signal.SIGKILL
    all_there = len(arrived) == len(recorded.ended)
    last = max((each.at for each in arrived), default=program.ended_at)
    unexpected = int(marks.get("expected", 0)) - len(recorded.ended)
    if unexpected > 0:
        raise RuntimeError(f"{case.name}: {unexpected} spans were not recorded: {program.stderr[-3:]}")
    return Outcome(
        recorded=len(recorded.ended),
        arrived=len(arrived),
        exit_s=None
        if was_killed or "leaving" not in marks
        else program.ended_at - (program.signalled_at or marks["leaving"]),
        after_s=max(0.0, last - program.ended_at) if all_there else None,
        stderr=program.stderr,
        roots=_roots(case, recorded, taken),
        twice=sum(each.times > 1 for each in taken.values()),
        events=sum(max(each.events, each.rows) for each in arrived) if "events" in marks else None,
        events_recorded=int(marks.get("events", 0)),
        seconds=[each.seconds for each in arrived if each.name.endswith("clock")],
        flush=(marks["flush s"], bool(marks["flush answer"])) if "flush s" in marks else None,
        exit_code=program.exit_code,
    )


def _roots(case: Case, recorded: Recorded, taken: Mapping[SpanId, Arrival]) -> list[str]:
    """How each of the spans arrived that were open when the first program ended."""
    names = ("root", "operation") if case.program == "leave" else ("root",) if case.kill else ()
    found = []
    for name, each in zip(names, recorded.roots, strict=False):
        how = "gone" if each not in taken else "ERROR" if taken[each].is_error else "looks fine"
        found.append(f"{name} {how}")
    return found


def _look_into_journal(directory: Path, recorded: Recorded, taken: Mapping[SpanId, Arrival], outcome: Outcome) -> None:
    """What the collector did not take: held, refused, or, where the journal believes that it was sent, lost."""
    from crucible_trace_otel.journal.accounting import account
    from crucible_trace_otel.journal.records import AckState

    states = _states(directory)
    outcome.stored = sum(each in states for each in recorded.ended)
    missing = Counter(states[each] for each in recorded.ended if each not in taken and each in states)
    outcome.held, outcome.refused = missing[None], missing[AckState.REFUSED]
    totals: Counter[str] = Counter()
    for run in account(directory):
        for name in ("recorded", "stored", "sent", "held", "refused", "lost"):
            totals[name] += getattr(run, name)
    outcome.accounts = dict(totals)


def _states(directory: Path) -> dict[SpanId, object]:
    """What the journal says about each of its spans; None is held."""
    from crucible_trace_otel.journal.acks import Acks
    from crucible_trace_otel.journal.reader import read_segment, segments_in, span_ids

    states: dict[SpanId, object] = {}
    for segment in segments_in(directory):
        spans = read_segment(segment).spans
        acks = Acks(segment)
        acks.load()
        for stored, state in zip(spans, acks.states([each.offset for each in spans]), strict=True):
            trace, span = span_ids(stored.span)
            states[trace.hex(), span.hex()] = state
    return states


@contextmanager
def _stopped_afterwards(directory: Path) -> Iterator[None]:
    """End the shipper of `directory`, which would go on for minutes where the collector never takes anything."""
    try:
        yield
    finally:
        for pid in _holders(directory):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def _holders(directory: Path) -> list[int]:
    """The processes that have a file in `directory` open: nobody but who was started by the case."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(str(link.readlink()).startswith(f"{directory}/") for link in (process / "fd").iterdir()):
                found.append(int(process.name))
    return found
