"""The programs that `make soak` kills, forks and floods. Each tells over its standard output what has returned.

python -m tests.soak.programs killed|forking|flooding|growing DIRECTORY NUMBER
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import struct
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from opentelemetry import trace

import crucible_trace_otel as crucible

FRAME = struct.Struct("<c16s8sq")  # shorter than PIPE_BUF: the kernel never cuts or mixes one
SPAN, STEP = b"e", b"s"
WORKERS = 4
EPOCH_SPANS, STEPS_A_SPAN = 500, 10
_HANG_S = 30
_LONGEST_FLUSH_S = 600


def tell_span(span: trace.Span) -> None:
    """The `end()` of `span` has returned."""
    context = span.get_span_context()
    os.write(1, FRAME.pack(SPAN, context.trace_id.to_bytes(16, "big"), context.span_id.to_bytes(8, "big"), 0))


def tell_step(number: int) -> None:
    """A `record_step(number=number)` has returned."""
    os.write(1, FRAME.pack(STEP, bytes(16), bytes(8), number))


class Work:
    """Records spans and steps; no number is given twice, by any process or thread."""

    def __init__(self) -> None:
        self._number = random.SystemRandom().getrandbits(38) << 24
        self._tracer = trace.get_tracer("soak")

    def steps(self, run: crucible.TrainingRun, count: int) -> None:
        for _ in range(count):
            self._number += 1
            run.record_step(loss=0.5, number=self._number)
            tell_step(self._number)

    def span(self) -> None:
        span = self._tracer.start_span("soaked", attributes={"filler": "x" * 100})
        span.end()
        tell_span(span)

    def go_on(self, until: threading.Event) -> None:
        """Until told, or killed."""
        with crucible.training_run("soak") as run:
            while not until.is_set():
                self.steps(run, random.randrange(1, 30))
                self.span()
                time.sleep(random.random() * 0.003)
        tell_span(run.span)


def killed(directory: Path, rounds: int) -> None:
    """So often: a program with four forked workers, killed at a random instant; at times before it has begun."""
    _ = crucible.configure  # what that imports is imported once, before the forks
    for number in range(rounds):
        begun, begins = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.setsid()
            _program(directory, begins)
        if number % 4:
            select.select([begun], [], [], _HANG_S)
        time.sleep(random.random() * 0.25)
        if number % 3 == 2:  # the program goes, its workers find nobody
            os.kill(pid, signal.SIGKILL)
            time.sleep(random.random() * 0.05)
        try:
            os.killpg(pid, signal.SIGKILL)
        except ProcessLookupError:  # it was so early that it has no group of its own yet
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(begun)
        os.close(begins)


def _program(directory: Path, begins: int) -> None:
    crucible.configure(service_name="soak", journal=directory)
    for _ in range(WORKERS):
        if os.fork() == 0:
            break
    os.write(begins, b"1")
    Work().go_on(threading.Event())


def forking(directory: Path, forks: int) -> None:
    """So many forks, also of forks, while four threads record."""
    crucible.configure(service_name="soak", journal=directory)
    enough = threading.Event()
    threads = [threading.Thread(target=Work().go_on, args=(enough,)) for _ in range(WORKERS)]
    for thread in threads:
        thread.start()
    for number in range(forks):
        pid = os.fork()
        if pid == 0:
            _child(has_child=number % 10 == 0)
        _wait_for(pid)
    enough.set()
    for thread in threads:
        thread.join()


def _child(*, has_child: bool) -> None:
    try:
        if has_child:
            pid = os.fork()
            if pid == 0:
                _child(has_child=False)
            _wait_for(pid)
        work = Work()
        with crucible.training_run("child") as run:
            work.steps(run, 3)
        tell_span(run.span)
        work.span()
        os._exit(0)
    finally:
        os._exit(1)


def _wait_for(pid: int) -> None:
    until = time.monotonic() + _HANG_S
    while True:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            break
        if time.monotonic() > until:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            raise RuntimeError(f"A forked child hangs: process {pid}.")
        time.sleep(0.0005)
    if status:
        raise RuntimeError(f"A forked child ended with status {status}.")


def flooding(directory: Path, spans: int) -> None:
    """So many spans, as fast as they go; a line of JSON about this process at each twentieth."""
    crucible.configure(service_name="soak", journal=directory)
    tracer = trace.get_tracer("soak")
    for number in range(spans):
        if number % max(1, spans // 20) == 0:
            tell_state(directory, number)
        span = tracer.start_span("flood", attributes={"number": number, "filler": "x" * 500})
        span.end()
    tell_state(directory, spans)


def growing(directory: Path, spans: int) -> None:
    """A training run of so many spans and ten times as many steps; it waits until all of it is taken."""
    recording = crucible.configure(service_name="soak", journal=directory)
    with crucible.training_run("long", run_id="long") as run:
        for epoch in run.epochs(-(-spans // EPOCH_SPANS)):
            record = epoch.step_recorder("loss", "learning_rate", "norm")
            for number in range(min(EPOCH_SPANS, spans - epoch.index * EPOCH_SPANS)):
                for step in range(STEPS_A_SPAN):
                    record(1 / (1 + step), 0.1, 0.5)
                epoch.record_validation(accuracy=number / EPOCH_SPANS)
    if not recording.flush(_LONGEST_FLUSH_S):
        sys.exit("not all was taken")


def tell_state(directory: Path, spans: int) -> None:
    """What this process takes by now."""
    kilobytes = next(
        line.split()[1] for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")
    )
    state = {
        "spans": spans,
        "mib": int(kilobytes) / 1024,
        "threads": sum(1 for _ in Path("/proc/self/task").iterdir()),
        "descriptors": sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1,
        "disk_mib": disk_mib(directory),
        "at": time.monotonic(),
    }
    print(json.dumps(state), flush=True)


def disk_mib(directory: Path) -> float:
    """What the files in `directory` hold."""
    size = 0
    for path in directory.iterdir():
        with suppress(FileNotFoundError):  # deleted, or renamed, in this moment
            size += path.stat().st_size
    return size / (1 << 20)


if __name__ == "__main__":
    {"killed": killed, "forking": forking, "flooding": flooding, "growing": growing}[sys.argv[1]](
        Path(sys.argv[2]), int(sys.argv[3])
    )
