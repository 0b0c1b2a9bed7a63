"""What must hold after the programs of `programs.py`: each check runs one and raises where something is missing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from crucible_trace_otel import open_store
from crucible_trace_otel.journal.accounting import account
from crucible_trace_otel.journal.reader import read_directory, span_ids
from crucible_trace_otel.journal.recovery import recover_dead
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.trace.steps import decode_window
from tests.backends.limited_sink import TempoSink, run_recorded_in
from tests.backends.process import free_ports
from tests.journal.process import environment
from tests.soak.programs import FRAME, SPAN, STEPS_A_SPAN

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from crucible_trace_otel.trace.spans import Trace

ROOT = Path(__file__).parents[2]
_LONGEST_S = 3_600
_SEGMENT_MIB = 8


@dataclass(frozen=True)
class Told:
    """What a program said had returned."""

    spans: set[tuple[str, str]]
    steps: set[int]


def kills(directory: Path, rounds: int) -> str:
    """Programs with four forked workers, killed: what had returned is there, once; what was open has an end."""
    told = _told("killed", directory, rounds)
    recover_dead(directory)
    content = read_directory(directory)
    assert not content.damaged, f"{content.damaged} damaged stretches"
    assert not content.open, f"{len(content.open)} spans have no end"
    return f"{rounds} kills: {_compare(directory, told)}"


def forks(directory: Path, number: int) -> str:
    """Forks while threads record: nobody hangs, and what had returned is there, once."""
    told = _told("forking", directory, number)
    content = read_directory(directory)
    assert (content.damaged, content.torn) == (0, 0)
    return f"{number} forks: {_compare(directory, told)}"


def flood(
    directory: Path, spans: int, limit_mib: int, say: Callable[[str], None] = print, *, has_endpoint: bool = True
) -> str:
    """Spans into a small journal, and no collector there: memory, threads, descriptors and disk stay small."""
    variables = {"CRUCIBLE_JOURNAL_LIMIT": str(limit_mib << 20)}
    if has_endpoint:
        variables["OTEL_EXPORTER_OTLP_ENDPOINT"] = f"http://127.0.0.1:{free_ports(1)[0]}"
    states: list[dict[str, Any]] = []
    try:
        for line in _lines("flooding", directory, spans, variables):
            states.append(json.loads(line))
            say(", ".join(f"{name} {value:,.0f}" for name, value in states[-1].items() if name != "at"))
        _check_flood(states, limit_mib, has_shipper=has_endpoint)
    finally:
        _end_shippers(directory)
    totals = _totals(directory)
    assert totals["recorded"] == spans, totals
    assert totals["recorded"] == sum(totals[name] for name in ("stored", "sent", "held", "refused", "lost")), totals
    worst = {name: max(state[name] for state in states) for name in ("mib", "threads", "descriptors", "disk_mib")}
    rate = spans / (states[-1]["at"] - states[0]["at"])
    described = ", ".join(f"at most {value:,.0f} {name}" for name, value in worst.items())
    return f"{spans:,} spans, {rate:,.0f} a second, limit {limit_mib} MiB: {described}; {totals}"


def growth(directory: Path, spans: int) -> str:
    """One run of so many spans and ten times as many steps, into a backend that drops what is too large for a trace."""
    with TempoSink() as sink:
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.http_endpoint, "CRUCIBLE_SHIP": "thread"}
        with _running("growing", directory, spans, variables) as process:
            process.communicate(timeout=_LONGEST_S)
            assert process.returncode == 0, f"the program ended with {process.returncode}"
        lost = {"dropped": sink.dropped, "cut": sink.cut, "too large": sink.too_large}
        assert not any(lost.values()), lost
        sent = run_recorded_in(sink.traces(), "long")
        largest = max(sink.sizes.values())
    kept = open_store(directory).get("long")
    for trace in (kept, sent):
        assert sum(span.operation == operations.VALIDATION_RUN for span in trace.spans) == spans
        found = Counter(row["step"] for row in _rows(trace))
        assert found == Counter(range(spans * STEPS_A_SPAN)), f"{found.total():,} steps"
    assert [(one.span_id, one.parent_id) for one in kept.spans] == [(one.span_id, one.parent_id) for one in sent.spans]
    size = f"{len(kept.trace_ids)} traces, the largest of {largest / 1e6:.1f} MB"
    return f"a run of {len(kept.spans):,} spans and {spans * STEPS_A_SPAN:,} steps: {size}, 0 lost"


def _rows(trace: Trace) -> Iterator[dict[str, Any]]:
    for span in trace.spans:
        for event in span.events:
            if attr.CRUCIBLE_WINDOW_COUNT in event.attributes:
                yield from decode_window(event.attributes)


def _check_flood(states: list[dict[str, Any]], limit_mib: int, *, has_shipper: bool) -> None:
    """Where nobody sends, the program itself condenses what has to go: that takes room, and at full speed it lags."""
    grows_mib, segments = (16, 1) if has_shipper else (96, 5)
    settled = states[2:]
    assert settled[-1]["mib"] - settled[0]["mib"] <= grows_mib, f"memory grows: {settled[0]} {settled[-1]}"
    assert max(state["threads"] for state in states) <= 3
    assert max(state["descriptors"] for state in states) <= 3 + 8  # beside standard input, output and error
    largest = max(state["disk_mib"] for state in states)
    assert largest <= limit_mib + segments * _SEGMENT_MIB, f"{largest:.0f} MiB, the limit is {limit_mib}"


def _totals(directory: Path) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for run in account(directory):
        for name in ("recorded", "stored", "sent", "held", "refused", "lost"):
            totals[name] += getattr(run, name)
    return {name: totals[name] for name in ("recorded", "stored", "sent", "held", "refused", "lost")}


def _told(program: str, directory: Path, number: int) -> Told:
    told = Told(set(), set())
    with _running(program, directory, number, {}) as process:
        data, _ = process.communicate(timeout=_LONGEST_S)
        assert process.returncode == 0, f"the program ended with {process.returncode}"
    for kind, trace, span, step in FRAME.iter_unpack(data[: len(data) // FRAME.size * FRAME.size]):
        if kind == SPAN:
            told.spans.add((trace.hex(), span.hex()))
        else:
            told.steps.add(step)
    return told


def _lines(program: str, directory: Path, number: int, variables: dict[str, str]) -> Iterator[str]:
    with _running(program, directory, number, variables) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield line.decode()
        assert process.wait(60) == 0, f"the program ended with {process.returncode}"


def _running(program: str, directory: Path, number: int, variables: dict[str, str]) -> subprocess.Popen[bytes]:
    shutil.rmtree(directory, ignore_errors=True)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.soak.programs", program, str(directory), str(number)],
        cwd=ROOT,
        env=environment(PYTHONWARNINGS="ignore", **variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )


def _compare(directory: Path, told: Told) -> str:
    """What was told is in the store, and nothing is in it twice."""
    stored = Counter((span.trace_id, span.span_id) for trace in open_store(directory).traces() for span in trace.spans)
    raw = Counter(span_ids(span.span) for span in read_directory(directory).spans)
    steps = Counter(_steps(directory))
    assert told.spans, "the program said nothing"
    assert told.steps
    missing = told.spans - stored.keys()
    assert not missing, f"{len(missing)} of {len(told.spans)} ended spans are lost: {sorted(missing)[:3]}"
    lost = told.steps - steps.keys()
    assert not lost, f"{len(lost)} of {len(told.steps)} steps are lost: {sorted(lost)[:3]}"
    for name, counted in (("spans", stored), ("records of spans", raw), ("steps", steps)):
        twice = [each for each, count in counted.items() if count > 1]
        assert not twice, f"{len(twice)} {name} are there more than once: {twice[:3]}"
    return f"{len(told.spans):,} spans and {len(told.steps):,} steps had returned, 0 lost, 0 twice"


def _steps(directory: Path) -> Iterator[int]:
    for trace in open_store(directory).traces():
        yield from (row["number"] for row in _rows(trace))


def _end_shippers(directory: Path) -> None:
    """End the process that would go on sending: it is who has a file of `directory` open."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            links = [str(link.readlink()) for link in (process / "fd").iterdir()]
        except OSError:
            continue
        if any(link.startswith(f"{directory}/") for link in links) and int(process.name) != os.getpid():
            os.kill(int(process.name), signal.SIGKILL)
