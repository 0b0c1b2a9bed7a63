"""The programs of the fault table: the same code, recorded by the plain SDK or by ours.

    python -m benchmarks.faults.program '{"variant": "ours", "protocol": ..., "endpoint": ..., "program": "spans", ...}'

runs in the folder of its case: its ledger and the journal lie there. The recorder's clock is `time.time_ns`, which
`clock_back` sets back, so it is replaced before anything of OpenTelemetry is imported.
"""

import asyncio
import json
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

_real_time_ns = time.time_ns
_clock_offset = [0]
time.time_ns = lambda: _real_time_ns() + _clock_offset[0]

from opentelemetry import context as context_api  # noqa: E402
from opentelemetry import propagate, trace  # noqa: E402

from benchmarks.faults.ledger import Ledger  # noqa: E402

_HERE = Path()
_ASKED = json.loads(sys.argv[1]) if len(sys.argv) > 1 and sys.argv[1].startswith("{") else {}
_HOUR_NS = 3_600_000_000_000


def set_up(variant: str, endpoint: str, protocol: str) -> None:
    """Have spans of the global tracer recorded by `variant` and sent to `endpoint`; by "none" nothing is."""
    if variant == "none":
        return
    if variant == "ours":
        import crucible_trace_otel as crucible

        crucible.configure(service_name="program", journal=_HERE / "journal", endpoint=endpoint, protocol=protocol)
        return
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter

        exporter: Any = GrpcExporter(endpoint=endpoint, insecure=True)
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

        exporter = OTLPSpanExporter(endpoint=f"{endpoint}/v1/traces")
    provider = TracerProvider(resource=Resource.create({"service.name": "program"}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    trace.set_tracer_provider(provider)


class Programs:
    """Each method is one program; the ledger knows what it recorded."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.tracer = trace.get_tracer("faults")

    @contextmanager
    def root(self) -> Iterator[trace.Span]:
        """The span that everything else lies in."""
        with self.tracer.start_as_current_span("root") as span:
            self.ledger.root(span)
            yield span
        self.ledger.ended(span)

    def child(self, **attributes: Any) -> None:
        """One span that ends at once."""
        span = self.tracer.start_span("child", attributes=attributes)
        span.end()
        self.ledger.ended(span)

    def children(self, count: int, rate: float = 0, size: int = 0) -> None:
        """`count` spans, `rate` a second (0: as fast as it goes), each with a text of `size` characters."""
        began = time.monotonic()
        for number in range(count):
            if rate:
                time.sleep(max(0.0, began + number / rate - time.monotonic()))
            self.child(number=number, text="x" * size)

    def spans(self, count: int, rate: float = 0, size: int = 0) -> None:
        """A root with children, and the end of the program."""
        with self.root():
            self.children(count, rate, size)

    def flush(self, count: int) -> None:
        """Spans, then a flush that should take a second at most."""
        self.spans(count)
        began = time.monotonic()
        answer = trace.get_tracer_provider().force_flush(1_000)  # type: ignore[attr-defined]
        self.ledger.mark("flush s", time.monotonic() - began)
        self.ledger.mark("flush answer", float(answer))

    def leave(self, how: str, count: int = 200) -> None:
        """Two seconds of spans, then the end of the program in the middle of their root and an operation of ours."""
        with self.root(), self._operation():
            self.children(count, rate=100)
            self.ledger.mark("leaving")
            if how == "exception":
                raise RuntimeError("the program's own error")
            if how == "sys.exit":
                sys.exit(3)
            if how == "os._exit":
                os._exit(3)
            time.sleep(60)  # for a signal

    @contextmanager
    def _operation(self) -> Iterator[None]:
        if _ASKED["variant"] != "ours":
            yield
            return
        import crucible_trace_otel as crucible

        with crucible.pipeline("operation") as pipeline:
            self.ledger.root(pipeline.span)
            yield
        self.ledger.ended(pipeline.span)

    def fork(self, kind: str, workers: int = 4, count: int = 50) -> None:
        """Workers, forked inside the root, each with spans of its own."""
        with self.root():
            if kind == "os.fork":
                workers, count = 1, 100
                pid = os.fork()
                if pid == 0:
                    self.children(count)
                    os._exit(0)
                os.waitpid(pid, 0)
            elif kind == "spawn":
                self._spawn(workers, count)
            else:
                self._fork_processes(workers, count, is_loader=kind == "loader")
        self.ledger.mark("expected", workers * count + 1)

    def _spawn(self, workers: int, count: int) -> None:
        carrier: dict[str, str] = {}
        propagate.inject(carrier)
        context = multiprocessing.get_context("spawn")
        processes = [context.Process(target=spawned, args=(_ASKED, carrier, count)) for _ in range(workers)]
        _run(processes)

    def _fork_processes(self, workers: int, count: int, *, is_loader: bool) -> None:
        """Plain workers, or those of a data loader: daemons that take work from a queue until they are told to end."""
        context = multiprocessing.get_context("fork")
        queue: Any = context.SimpleQueue()
        for _ in range(workers * count if is_loader else 0):
            queue.put(1)
        for _ in range(workers if is_loader else 0):
            queue.put(0)

        def load() -> None:
            while queue.get():
                self.children(1)

        work: Callable[[], None] = load if is_loader else lambda: self.children(count)
        _run([context.Process(target=work, daemon=is_loader) for _ in range(workers)])

    def threads(self, workers: int, count: int) -> None:
        """Many threads at once, as fast as they go."""
        with self.root():
            here = context_api.get_current()

            def work() -> None:
                context_api.attach(here)
                self.children(count)

            running = [threading.Thread(target=work) for _ in range(workers)]
            for thread in running:
                thread.start()
            for thread in running:
                thread.join()

    def tasks(self, workers: int, count: int) -> None:
        """Many asyncio tasks at once."""

        async def work() -> None:
            for _ in range(count):
                with self.tracer.start_as_current_span("child") as span:
                    await asyncio.sleep(0.001)
                self.ledger.ended(span)

        async def all_of_them() -> None:
            await asyncio.gather(*(work() for _ in range(workers)))

        with self.root():
            asyncio.run(all_of_them())

    def clock_back(self) -> None:
        """The system's clock goes back an hour inside a span, and inside an operation of ours."""
        self._set_back(self.tracer.start_as_current_span("clock"))
        if _ASKED["variant"] == "ours":
            import crucible_trace_otel as crucible

            self._set_back(crucible.stage("clock"))

    def _set_back(self, spanning: Any) -> None:
        with spanning as opened:
            time.sleep(0.2)
            _clock_offset[0] -= _HOUR_NS
        self.ledger.ended(getattr(opened, "span", opened))

    def poison(self, what: str, good: int = 20) -> None:
        """One span that cannot be encoded as it is, after good ones."""
        self.children(good)
        with suppress(ValueError), self.tracer.start_as_current_span("bad \ud800" if what == "name" else "bad") as span:
            if what == "event name":
                span.add_event("bad \ud800")
            if what == "time":
                span.add_event("bad", timestamp=time.time())  # type: ignore[arg-type]  # seconds, a float: a common slip
            if what == "exception":
                raise ValueError("no such file: caf\udce9.csv")
        self.ledger.ended(span)

    def big(self, size: int) -> None:
        """One span with a long text, after small ones."""
        self.children(20)
        self.children(1, size=size)

    def events(self, count: int) -> None:
        """Many steps of one training run: by `add_event`, or in our own words."""
        if _ASKED["variant"] == "ours":
            import crucible_trace_otel as crucible

            with crucible.training_run("steps") as run:
                for number in range(count):
                    run.record_step(loss=1.0 / (1 + number), learning_rate=0.1)
            self.ledger.ended(run.span)
        else:
            with self.tracer.start_as_current_span("steps") as span:
                for number in range(count):
                    span.add_event("step", {"step": number, "loss": 1.0 / (1 + number), "learning_rate": 0.1})
            self.ledger.ended(span)
        self.ledger.mark("events", count)


def _run(processes: list[Any]) -> None:
    for process in processes:
        process.start()
    for process in processes:
        process.join()


def spawned(asked: dict[str, Any], carrier: dict[str, str], count: int) -> None:
    """The work of a spawned worker, which begins with nothing."""
    set_up(asked["variant"], asked["endpoint"], asked["protocol"])
    context_api.attach(propagate.extract(carrier))
    Programs(Ledger(_HERE)).children(count)


def main() -> None:
    """Run what was asked for."""
    set_up(_ASKED["variant"], _ASKED["endpoint"], _ASKED["protocol"])
    ledger = Ledger(_HERE)
    getattr(Programs(ledger), _ASKED["program"])(**_ASKED["arguments"])
    ledger.mark("leaving")


if __name__ == "__main__":
    main()
