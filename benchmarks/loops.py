"""Training loops as processes of their own: what is left of one that is killed, what is sent, what a long one takes.

`python benchmarks/loops.py record JOURNAL STEPS ENDPOINT END` is such a loop, `python benchmarks/loops.py read JOURNAL`
reads it back.
"""

import json
import os
import random
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import TracerProvider
from sending import sink

import crucible_trace_otel as crucible
from crucible_trace_otel.trace.otlp import decode_span
from crucible_trace_otel.trace.steps import StepRows, step_rows

__all__ = ["Figure", "loops"]

STEPS, MANY, EPOCHS = 10_000, 1_000_000, 10
RUN = "benchmark"
LONGEST_S = 120.0


class Figure(NamedTuple):
    """Something that is no ratio."""

    what: str
    figure: float
    unit: str
    plain: float | None = None
    """The same of the plain SDK."""

    def row(self) -> dict[str, object]:
        """As it is printed and stored."""
        return {**self._asdict(), "figure": round(self.figure, 2), "plain": self.plain and round(self.plain, 2)}


def loops(directory: Path, steps: int = STEPS, many: int = MANY) -> list[Figure]:
    """All of them; journals are made in `directory`.

    Raises:
        ValueError: A step is not read back.
    """
    return [*_killed(directory, steps), *_sent(directory, steps), *_long(directory, many)]


def _killed(directory: Path, steps: int) -> Iterator[Figure]:
    """Loops that SIGKILL ends once all steps have returned: with nobody who sends, and with somebody who goes on."""
    killed = f"{steps:,} steps, then SIGKILL: read back"
    _record(directory / "killed", steps, "", "killed")
    rows = step_rows(crucible.open_store(directory / "killed").get(RUN))
    yield Figure(f"{killed} from the journal", _complete(rows.series["step"].values, steps), "steps")
    with sink() as port:
        _record(directory / "recovered", steps, f"http://127.0.0.1:{port}", "killed")
        found: set[int] = set()
        until = time.monotonic() + LONGEST_S
        while len(found) < steps and time.monotonic() < until:
            found.update(_steps_in(_taken(port)))
            time.sleep(0.1)
    yield Figure(f"{killed} from the wire after recovery", _complete(sorted(found), steps), "steps")


def _sent(directory: Path, steps: int) -> Iterator[Figure]:
    """What a step takes on the wire before compression, its share of spans and statistics included."""
    plain = len(_plain_events(steps).SerializeToString()) / steps
    for end, form in (("ended", "the default form"), ("compact", "WindowPolicy(compact=True)")):
        with sink() as port:
            _record(directory / end, steps, f"http://127.0.0.1:{port}", end)
            taken = _taken(port)
        _complete(sorted(_steps_in(taken)), steps)
        yield Figure(f"a step on the wire, {form}, before compression", len(taken) / steps, "bytes", plain)


def _long(directory: Path, steps: int) -> Iterator[Figure]:
    """A long run: whether memory grows while it is recorded, and what reading it back takes in another process."""
    recorded = _record(directory / "long", steps, "", "ended")
    yield Figure(f"{steps:,} steps: memory grown by while recording", recorded["grown_mib"], "MiB")
    read = _program("read", str(directory / "long"))
    yield Figure(f"{steps:,} steps: read back", _complete(range(read["steps"]), steps), "steps")
    yield Figure(f"{steps:,} steps: read back as one run in", read["seconds"], "s")
    yield Figure(f"{steps:,} steps: peak memory of the process that reads", read["peak_mib"], "MiB")


def _record(journal: Path, steps: int, endpoint: str, end: str) -> dict[str, Any]:
    return _program("record", str(journal), str(steps), endpoint, end, code=-signal.SIGKILL if end == "killed" else 0)


def _program(*arguments: str, code: int = 0) -> dict[str, Any]:
    """What this file as a program says in JSON; it must end with `code`."""
    done = subprocess.run(
        [sys.executable, __file__, *arguments], stdout=subprocess.PIPE, timeout=LONGEST_S, check=False
    )
    if done.returncode != code:
        raise ValueError(f"a training loop ended with {done.returncode} instead of {code}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def _complete(found: Any, steps: int) -> int:
    if list(found) != list(range(steps)):
        raise ValueError(f"{steps:,} steps recorded, {len(found):,} read back, {len(set(found)):,} of them different")
    return steps


def _taken(port: int) -> bytes:
    """What has come since the last time, as one request."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/taken", timeout=60) as answer:
        body: bytes = answer.read()
    return body


def _steps_in(taken: bytes) -> set[int]:
    """Which steps the spans of a request hold."""
    found: set[int] = set()
    for resource in ExportTraceServiceRequest.FromString(taken).resource_spans:
        for scope in resource.scope_spans:
            for span in scope.spans:
                decoded = decode_span(b"", b"", span.SerializeToString())
                found.update(step_rows(decoded).series["step"].values)
    return found


def _plain_events(steps: int) -> ExportTraceServiceRequest:
    """The same numbers as events on spans of the plain SDK, a hundred on each, so that none is dropped."""
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("benchmark")
    spans: list[Any] = []
    for step, numbers in enumerate(_numbers(steps)):
        if step % 100 == 0:
            spans.append(tracer.start_span("epoch"))
        spans[-1].add_event("step", {"step": step, **numbers})
    for span in spans:
        span.end()
    request = encode_spans(spans)
    return ExportTraceServiceRequest.FromString(request.SerializeToString())


def _numbers(steps: int) -> Iterator[dict[str, float]]:
    """Six numbers a step, as training has them: four that vary, a rate that falls now and then, a count."""
    noise = random.Random(0).gauss
    for step in range(steps):
        loss = 2 / (1 + step / steps * 10) + noise(0, 0.05)
        rate = 0.1 * 0.5 ** (step * EPOCHS // steps)
        accuracy, norm, seconds = 1 - loss / 3, 1 + abs(noise(0, 0.3)), 0.02 + abs(noise(0, 0.001))
        yield {"loss": loss, "accuracy": accuracy, "rate": rate, "norm": norm, "tokens": 4096, "seconds": seconds}


def record(journal: str, steps: int, endpoint: str, end: str) -> None:
    """Record so many steps, tell how memory grew, then end, by SIGKILL where `end` says so."""
    handle = crucible.configure(service_name=RUN, journal=journal, endpoint=endpoint or None)
    policy = crucible.WindowPolicy(compact=end == "compact")
    memory: list[float] = []
    numbers = _numbers(steps)
    with crucible.training_run(RUN, run_id=RUN, windows=policy) as run:
        for epoch in run.epochs(EPOCHS):
            for step in range(steps // EPOCHS):
                epoch.record_step(**next(numbers))
                if step % 10_000 == 0 and epoch.index:  # the first epoch fills caches
                    memory.append(_memory_mib("VmRSS"))
            if epoch.index == EPOCHS - 1:
                memory.append(_memory_mib("VmRSS"))
                sys.stdout.write(json.dumps({"grown_mib": max(memory) - memory[0]}))
                sys.stdout.flush()
                if end == "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
    if endpoint and not handle.flush(60):
        sys.exit("not all was sent")


def read(journal: str) -> None:
    """Read the run back, and tell how long that took and what it needed."""
    began = time.monotonic()
    rows: StepRows = step_rows(crucible.open_store(journal).get(RUN))
    seconds = time.monotonic() - began
    peak = _memory_mib("VmHWM")
    in_order = sum(1 for step, found in enumerate(rows.series["step"].values) if step == found)
    sys.stdout.write(json.dumps({"seconds": seconds, "peak_mib": peak, "steps": in_order}))


def _memory_mib(name: str) -> float:
    """Resident memory of this process, now or at its peak; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(name)), 0.0)


if __name__ == "__main__":
    if sys.argv[1] == "record":
        record(sys.argv[2], int(sys.argv[3]), sys.argv[4], sys.argv[5])
    else:
        read(sys.argv[2])
