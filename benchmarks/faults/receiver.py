"""The collector of the fault table, in a process of its own, so that it takes no time from the program that sends.

It is the misbehaving collector of the tests; beside that process stands `Receiver`, which starts it, takes it down for
an outage, brings it back on the same port, and knows what all of them have taken.
"""

import json
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.backends.process import free_ports
from tests.faults.collector import Misbehaving

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Arrival", "Receiver"]

ROOT = Path(__file__).parents[2]
_ROWS = "crucible.window.count"


@dataclass
class Arrival:
    """One span, as it arrived first."""

    at: float
    """Seconds on the monotonic clock."""
    name: str
    is_error: bool
    seconds: float
    """Its duration, as sent."""
    events: int
    rows: int
    """Steps in the windows it holds."""
    times: int = 1
    """How often it arrived."""


class Receiver:
    """A collector on ports of its own. `script` is what it does, as `tests/faults/collector.py` says."""

    def __init__(self, *script: str) -> None:
        self.http_port, self.grpc_port = free_ports(2)
        self._script = script
        self._process: subprocess.Popen[str] | None = None
        self._before: dict[tuple[str, str], Arrival] = {}

    def __enter__(self) -> "Self":
        return self

    def __exit__(self, *exception: object) -> None:
        self.stop()

    def endpoint(self, protocol: str) -> str:
        """Where a program must send to."""
        return f"http://127.0.0.1:{self.grpc_port if protocol == 'grpc' else self.http_port}"

    def start(self) -> None:
        """Listen."""
        command = [sys.executable, "-m", "benchmarks.faults.receiver", str(self.http_port), str(self.grpc_port)]
        self._process = subprocess.Popen(
            [*command, *self._script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._answer()

    def stop(self) -> None:
        """Listen no more; what was taken stays known."""
        if self._process is None:
            return
        self._before = self.taken()
        process, self._process = self._process, None
        process.kill()
        process.communicate()

    def count(self) -> int:
        """How many different spans the running collector has taken."""
        return self._ask("count") if self._process else 0

    def taken(self) -> dict[tuple[str, str], Arrival]:
        """What was taken so far, by trace id and span id."""
        known = dict(self._before)
        for trace, span, arrival in self._ask("taken") if self._process else ():
            _add(known, (trace, span), Arrival(**arrival))
        return known

    def wait_for(self, ids: Iterable[tuple[str, str]], seconds: float) -> bool:
        """Wait until every one of `ids` was taken."""
        wanted, least, deadline = set(ids), 0, time.monotonic() + seconds
        while True:
            now = self.count()
            if now > least or not wanted:
                least = now
                if wanted <= self.taken().keys():
                    return True
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)

    def _ask(self, question: str) -> Any:
        assert self._process is not None
        assert self._process.stdin is not None
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process is not None
        assert self._process.stdout is not None
        return json.loads(self._process.stdout.readline())


def _add(known: dict[tuple[str, str], Arrival], key: tuple[str, str], arrival: Arrival) -> None:
    if key in known:
        known[key].times += arrival.times
    else:
        known[key] = arrival


class _Collected:
    """What one collector has taken; each request is looked at once."""

    def __init__(self, collector: Misbehaving) -> None:
        self._collector = collector
        self._read = 0
        self._known: dict[tuple[str, str], Arrival] = {}

    def now(self) -> dict[tuple[str, str], Arrival]:
        requests = self._collector.requests()
        for request in requests[self._read :]:
            for received in request.spans[: request.taken]:
                span = received.span
                _add(self._known, (span.trace_id.hex(), span.span_id.hex()), _arrival(span, request.at))
        self._read = len(requests)
        return self._known


def _arrival(span: Span, at: float) -> Arrival:
    rows = [each.value.int_value for event in span.events for each in event.attributes if each.key == _ROWS]
    seconds = (span.end_time_unix_nano - span.start_time_unix_nano) / 1e9
    return Arrival(
        at, span.name, span.status.code == span.status.STATUS_CODE_ERROR, seconds, len(span.events), sum(rows)
    )


def main() -> None:
    """Serve, and answer on standard output, until standard input ends."""
    http_port, grpc_port, *script = sys.argv[1:]
    with Misbehaving(*script, http_port=int(http_port), grpc_port=int(grpc_port), keep_bodies=False) as collector:
        collected = _Collected(collector)
        print(json.dumps("ready"), flush=True)
        for line in sys.stdin:
            known = collected.now()
            answer = [[*key, vars(each)] for key, each in known.items()] if line.strip() == "taken" else len(known)
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
