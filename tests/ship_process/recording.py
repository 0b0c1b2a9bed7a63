"""A process that writes to a journal as told over its standard input; by SIGKILL it ends like any other.

`python -m tests.ship_process.recording DIRECTORY` answers each line with `ok`:

    spans 10        ten spans that have ended
    open fit        a span that has started, of the operation training_run
    close           close the segment, as at the end of a program
"""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from crucible_trace_otel.journal.layout import segment_of
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.journal.records import RecordType, frame, json_payload, span_payload
from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.journal.wire import bytes_field, fixed64_field
from crucible_trace_otel.semconv import attributes as attr

if TYPE_CHECKING:
    from collections.abc import Callable

    from typing_extensions import Self
ROOT = Path(__file__).parents[2]
RESOURCE = bytes_field(1, bytes_field(1, bytes_field(1, b"service.name") + bytes_field(2, bytes_field(1, b"trainer"))))
SCOPE = bytes_field(1, bytes_field(1, b"test"))
_numbers = itertools.count(1)


def span(number: int, name: str = "step", *, operation: str = "", ended: bool = True, size: int = 0) -> bytes:
    """A serialized OTLP Span; its number is in its id."""
    now = time.time_ns()
    said = {attr.CRUCIBLE_OPERATION_NAME: operation, "filling": "v" * size}
    attributes = (
        bytes_field(9, bytes_field(1, key.encode()) + bytes_field(2, bytes_field(1, value.encode())))
        for key, value in said.items()
        if value
    )
    parts = (
        bytes_field(1, b"\1" * 16),
        bytes_field(2, os.getpid().to_bytes(4, "big") + number.to_bytes(4, "big")),
        bytes_field(5, name.encode()),
        fixed64_field(7, now),
        fixed64_field(8, now) if ended else b"",
        *attributes,
    )
    return b"".join(parts)


def write_segment(
    directory: Path,
    spans: int,
    *,
    writer: str = "20260101T000000-1-00000000",
    number: int = 0,
    size: int = 0,
    **note: object,
) -> Path:
    """A segment as a process that is gone has left it; `note` is what it said about itself, beside this process."""
    directory.mkdir(mode=0o700, exist_ok=True)
    path = segment_of(directory, writer, number)
    records = [
        frame(RecordType.NOTE, json_payload({**identity(), "pid": 1, "started": 1, **note})),
        frame(RecordType.RESOURCE, bytes(4) + RESOURCE),
        frame(RecordType.SCOPE, bytes(4) + SCOPE),
    ]
    records += [frame(RecordType.SPAN, span_payload(0, 0, span(next(_numbers), size=size))) for _ in range(spans)]
    path.write_bytes(b"".join(records))
    return path


class Recorder:
    """Such a process; a context manager that kills it."""

    def __init__(self, directory: Path) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.ship_process.recording", str(directory)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.kill()

    def do(self, command: str) -> None:
        """Have it do something, and wait until it has."""
        self._process.stdin.write(f"{command}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "ok\n"

    def kill(self, number: int = signal.SIGKILL) -> None:
        """End it."""
        self._process.send_signal(number)
        self._process.wait(10)
        for pipe in (self._process.stdin, self._process.stdout):
            with suppress(OSError):
                pipe.close()


def wait_for(condition: Callable[[], object], *, seconds: float = 10.0) -> bool:
    """Whether `condition()` becomes true in time."""
    until = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > until:
            return False
        time.sleep(0.01)
    return True


def main() -> None:
    """Do as told."""
    writer = SegmentWriter(Path(sys.argv[1]))
    for line in sys.stdin:
        command, _, rest = line.strip().partition(" ")
        if command == "spans":
            for _ in range(int(rest)):
                writer.append_span(RESOURCE, SCOPE, span(next(_numbers)))
        elif command == "open":
            message = span(next(_numbers), rest, operation="training_run", ended=False)
            writer.append_span(RESOURCE, SCOPE, message, RecordType.OPEN)
        elif command == "close":
            writer.close({"how": "exit"})
        print("ok", flush=True)


if __name__ == "__main__":
    main()
