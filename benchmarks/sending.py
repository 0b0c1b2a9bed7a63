"""Spans on their way to a live collector: what the program pays, what is paid in all, how long it takes, what is lost.

Each measurement is a process of its own, from a first acknowledged span on; the process that sends is counted with it.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

__all__ = ["Sent", "sending"]

HERE = Path(__file__).parent
ROUNDS = 3
SPANS = 30_000
MANY = 100_000
PACED = 1_000
LONGEST_S = 120.0
ATTRIBUTES = {
    "model": "softmax",
    "dataset": "uci-digits",
    "phase": "train",
    "step": 4711,
    "batch": 64,
    "loss": 0.1234,
    "learning_rate": 0.01,
    "converged": False,
}
WAYS = ("plain", "process", "thread")


@dataclass
class Sent:
    """What one case gave, ours to the plain SDK in each round."""

    case: str
    way: str
    each: list[dict[str, float]] = field(default_factory=list)
    reference: list[dict[str, float]] = field(default_factory=list)

    def row(self) -> dict[str, object]:
        """As it is printed and stored."""
        ratios = {
            name: [ours[name] / theirs[name] for ours, theirs in zip(self.each, self.reference, strict=True)]
            for name in ("caller_us", "total_us", "acknowledged_s")
        }
        row: dict[str, object] = {"case": self.case, "way": self.way}
        for name, values in ratios.items():
            row[name] = round(median(values), 2)
            row[f"{name}_least"], row[f"{name}_most"] = round(min(values), 2), round(max(values), 2)
        for name in ("arrived", "memory_mib", "exit_s", "p99_us"):
            row[name] = round(median(each[name] for each in self.each), 3)
        return row


def sending() -> list[Sent]:
    """Every case, in rounds: inside a round each way runs once, against the same sink."""
    results = []
    for case, spans, pace, ways in (
        ("flat out", SPANS, "", ("process", "thread")),
        ("100,000 flat out", MANY, "", ("process",)),
        ("one a millisecond", PACED, "paced", ("process",)),
        ("one a millisecond beside a busy thread", PACED, "busy", ("process",)),
    ):
        found = {way: Sent(case, way) for way in ways}
        plain = Sent(case, "plain")
        with sink() as port:
            for _ in range(ROUNDS):
                reference = measured("plain", spans, pace, port)
                plain.each.append(reference)
                plain.reference.append(reference)
                for way, sent in found.items():
                    sent.each.append(measured(way, spans, pace, port))
                    sent.reference.append(reference)
        results += [plain, *found.values()]
    return results


@contextmanager
def sink() -> Iterator[int]:
    """A collector in a process of its own; its port."""
    process = subprocess.Popen([sys.executable, HERE / "sink.py"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def sender_cpu(folder: str) -> float:
    """Seconds of CPU of the process that sends, so far; 0 where there is none."""
    for lease in Path(folder).glob("journal/*.lease"):
        with suppress(OSError, ValueError, KeyError):
            fields = Path(f"/proc/{json.loads(lease.read_text())['pid']}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return 0.0


def measured(way: str, spans: int, pace: str, port: int) -> dict[str, float]:
    """One run of a process."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [sys.executable, str(HERE / "sending.py"), way, str(spans), pace, str(port), folder]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=LONGEST_S)
        ended = time.time()
    figures: dict[str, float] = json.loads(done.stdout)
    figures["exit_s"] = ended - figures.pop("done_at")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=60) as answer:
        figures["arrived"] = int(answer.read())
    return figures


def program(way: str, spans: int, pace: str, port: int, folder: str) -> None:
    """Record `spans` spans, wait until they are acknowledged, and tell what this thread paid."""
    flush = _set_up(way, port, folder)
    from opentelemetry import trace

    if pace == "busy":
        import threading

        threading.Thread(target=_busy, daemon=True).start()
    tracer = trace.get_tracer("benchmark")
    tracer.start_span("first", attributes=ATTRIBUTES).end()
    before = _memory()
    ends: list[int] = []
    flush()
    of_all = time.process_time() + sender_cpu(folder)
    cpu, began = time.thread_time(), time.monotonic()
    for _ in range(spans):
        span = tracer.start_span("span", attributes=ATTRIBUTES)
        if pace:
            at = time.perf_counter_ns()
            span.end()
            ends.append(time.perf_counter_ns() - at)
            time.sleep(0.001)
        else:
            span.end()
    cpu = time.thread_time() - cpu
    memory = _memory()
    flush()
    acknowledged = time.monotonic() - began
    of_all = time.process_time() + sender_cpu(folder) - of_all
    ends.sort()
    figures: dict[str, Any] = {
        "spans": spans,
        "caller_us": cpu / spans * 1e6,
        "total_us": of_all / spans * 1e6,
        "acknowledged_s": acknowledged,
        "memory_mib": (memory - before) / 1024,
        "p99_us": ends[len(ends) * 99 // 100] / 1_000 if ends else 0.0,
        "done_at": time.time(),
    }
    sys.stdout.write(json.dumps(figures))
    sys.stdout.flush()


def _set_up(way: str, port: int, folder: str) -> Any:
    endpoint = f"http://127.0.0.1:{port}"
    if way != "plain":
        import crucible_trace_otel as crucible

        handle = crucible.configure(service_name="benchmark", journal=f"{folder}/journal", endpoint=endpoint, ship=way)
        return lambda: handle.flush(60)
    from opentelemetry import trace
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    provider = TracerProvider(resource=Resource.create({"service.name": "benchmark"}))
    exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider.add_span_processor(BatchSpanProcessor(exporter, max_queue_size=200_000))
    trace.set_tracer_provider(provider)
    return provider.force_flush


def _busy() -> None:
    while True:
        sum(range(1_000))


def _memory() -> int:
    """Peak resident memory of this program so far, KiB; 0 where the system does not tell."""
    status = Path("/proc/self/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM")), 0)


if __name__ == "__main__":
    program(sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), sys.argv[5])
