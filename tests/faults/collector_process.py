"""The misbehaving collector in a process of its own, told what to do over a pipe.

As a command: `python -m tests.faults.collector_process [--http-port N] [--grpc-port N] [BEHAVIOUR ...]` prints one
line of JSON with its ports, then answers each line `["call", ...]` of its standard input with one line of JSON; it
ends with its standard input.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.faults.collector import Misbehaving

if TYPE_CHECKING:
    from typing_extensions import Self

ROOT = Path(__file__).parents[2]


class CollectorProcess:
    """A `Misbehaving` somewhere else; a context manager.

    It keeps no bodies: `spans()` gives (trace id, span id, name) in hex, `requests()` plain mappings.
    """

    def __init__(self, *script: str, http_port: int = 0, grpc_port: int = 0) -> None:
        command = [sys.executable, "-m", "tests.faults.collector_process"]
        ports = ["--http-port", str(http_port), "--grpc-port", str(grpc_port)]
        self._process = subprocess.Popen(
            [*command, *ports, "--", *script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        said = self._read()
        self.pid: int = self._process.pid
        self.http_port: int = said["http_port"]
        self.grpc_port: int = said["grpc_port"]
        self.http_endpoint = f"http://127.0.0.1:{self.http_port}"
        self.grpc_endpoint = f"127.0.0.1:{self.grpc_port}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """End it and wait; both ports are free again. What it received is gone: ask before."""
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()
        self.close()

    def endpoint(self, protocol: str) -> str:
        """Where a sender of `protocol` must send to."""
        return f"http://{self.grpc_endpoint}" if protocol == "grpc" else f"{self.http_endpoint}/v1/traces"

    def behave(self, *script: str) -> None:
        """As `Misbehaving.behave()`."""
        self._ask("behave", *script)

    def requests(self) -> list[dict[str, Any]]:
        """Each request: `at`, `protocol`, `headers`, `packed`, `behaviour`, `spans` (a number) and `taken`."""
        return self._ask("requests")

    def spans(self) -> list[tuple[str, str, str]]:
        """Trace id, span id and name of each span that was taken, repeated deliveries included."""
        return [tuple(span) for span in self._ask("spans")]

    def span_ids(self) -> set[tuple[str, str]]:
        """Trace id and span id of each span that was taken."""
        return {(trace, span) for trace, span, _ in self.spans()}

    def count(self) -> int:
        """How many different spans were taken."""
        return self._ask("count")

    def wait_for_spans(self, count: int, *, seconds: float = 30.0) -> bool:
        """Wait until `count` different spans were taken; False when the time ran out."""
        deadline = time.monotonic() + seconds
        while self.count() < count:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        return True

    def _ask(self, *call: str) -> Any:
        self._process.stdin.write(json.dumps(call) + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The collector ended with {self._process.wait(10)}.")
        return json.loads(line)


def _answer(collector: Misbehaving, call: str, *arguments: str) -> Any:
    if call == "behave":
        collector.behave(*arguments)
        return None
    if call == "spans":
        return [(span.trace_id.hex(), span.span_id.hex(), span.name) for span in collector.spans()]
    if call == "count":
        return collector.count()
    names = ("at", "protocol", "headers", "packed", "behaviour", "taken")
    return [
        {name: getattr(request, name) for name in names} | {"spans": len(request.spans)}
        for request in collector.requests()
    ]


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--http-port", type=int, default=0)
    parser.add_argument("--grpc-port", type=int, default=0)
    parser.add_argument("script", nargs="*")
    asked = parser.parse_args()
    with Misbehaving(*asked.script, http_port=asked.http_port, grpc_port=asked.grpc_port, keep_bodies=False) as served:
        print(json.dumps({"http_port": served.http_port, "grpc_port": served.grpc_port}), flush=True)
        for line in sys.stdin:
            print(json.dumps(_answer(served, *json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
