"""`python benchmarks/appending.py`: what an append of 600 bytes takes beside one busy Python thread, four ways.

Prints a table; docs/decisions/0008-an-append-keeps-the-gil.md rests on it.
"""

import mmap
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import quantiles

from crucible_trace_otel.journal.appending import AppendedFile
from crucible_trace_otel.journal.files import open_append

RECORD = os.urandom(600)
PACED = 2_000
FLAT_OUT = 20_000


def released(directory: Path) -> Callable[[], object]:
    """`os.write`, which hands the GIL over."""
    fd = open_append(directory / "released")
    return lambda: os.write(fd, RECORD)


def kept(directory: Path) -> Callable[[], object]:
    """`write` of the C library, called with the GIL held."""
    file = AppendedFile(open_append(directory / "kept"))
    return lambda: file.append(RECORD)


def looked_at(directory: Path) -> Callable[[], object]:
    """The same behind a look at whether the descriptor still is that file."""
    file = AppendedFile(open_append(directory / "looked"))
    return lambda: file.is_there() and file.append(RECORD)


def mapped(directory: Path) -> Callable[[], object]:
    """A slice of a preallocated mapping."""
    fd = os.open(directory / "mapped", os.O_RDWR | os.O_CREAT, 0o600)
    size = len(RECORD) * (PACED + FLAT_OUT) * 2
    os.posix_fallocate(fd, 0, size)
    memory = mmap.mmap(fd, size)
    ends = iter(range(len(RECORD), size + 1, len(RECORD)))

    def append() -> None:
        end = next(ends)
        memory[end - len(RECORD) : end] = RECORD

    return append


def paced(append: Callable[[], object]) -> tuple[float, float]:
    """Median and 99th percentile in microseconds, one append a millisecond."""
    took = []
    for _ in range(PACED):
        time.sleep(0.001)
        began = time.perf_counter_ns()
        append()
        took.append((time.perf_counter_ns() - began) / 1_000)
    percentiles = quantiles(took, n=100)
    return percentiles[49], percentiles[98]


def flat_out(append: Callable[[], object]) -> float:
    """Microseconds of this thread's CPU for each."""
    began = time.thread_time_ns()
    for _ in range(FLAT_OUT):
        append()
    return (time.thread_time_ns() - began) / FLAT_OUT / 1_000


def main() -> None:
    """Measure and print."""
    stop = threading.Event()

    def busy() -> None:
        while not stop.is_set():
            sum(range(1_000))

    print("| append | flat out alone, us CPU | beside a busy thread: flat out, us CPU | paced, p50 us | p99 us |")
    print("| --- | ---: | ---: | ---: | ---: |")
    for make in (released, kept, looked_at, mapped):
        with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as directory:
            append = make(Path(directory))
            alone = flat_out(append)
            stop.clear()
            thread = threading.Thread(target=busy)
            thread.start()
            middle, most = paced(append)
            beside = flat_out(append)
            stop.set()
            thread.join()
        print(f"| {make.__doc__} | {alone:.2f} | {beside:.2f} | {middle:.1f} | {most:.1f} |")


if __name__ == "__main__":
    main()
