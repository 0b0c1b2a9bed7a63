"""P1: whatever breaks inside, the program that records does not notice: no exception, few words, and it recovers."""

from __future__ import annotations

import inspect
import sys
import threading
import time
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from opentelemetry import trace as trace_api
from opentelemetry.proto.trace.v1.trace_pb2 import Span

import crucible_trace_otel as crucible
from crucible_trace_otel import journal, sdk, ship
from crucible_trace_otel.journal import ticking
from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.sdk import _providers
from crucible_trace_otel.ship.destination import Destination
from crucible_trace_otel.ship.log import log_of
from crucible_trace_otel.ship.loop import Shipper, ship_once
from tests.faults.collector import Misbehaving
from tests.ship_process.recording import write_segment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import ModuleType

READERS = ("accounting", "facts", "kept", "limit", "messages", "progress", "recovery", "restoring", "reader")
CONFIGURING = ("_settings", "_variables", "_providers", "_importable", "_quiet", "_sender", "_upkeep")
"""Modules that are not run while something is recorded into a journal that is sent."""
CALLED = {
    *("configure", "flush", "shutdown", "Handle.__init__", "Handle.flush", "Handle.shutdown"),
    *("Switch.__init__", "Switch.on_start", "Switch.on_end", "Recorder.on_start", "Recorder.on_end"),
    *("JournalSpanProcessor.on_start", "JournalSpanProcessor.on_end", "JournalSpanProcessor.end_again"),
    *("Ticker.tick", "Ticker.waits_on", "_do", "_run", "_safely"),
    *("RunIdGenerator.generate_span_id", "RunIdGenerator.generate_trace_id", "RunIdGenerator.is_trace_id_random"),
    *("ship_once", "Shipper.__init__", "Shipper.run", "Watch.__init__", "Watch.start", "Watch._run", "Watch.stop"),
    *(
        "SegmentWriter.close",
        "Report.__init__",
        "HttpTransport.close",
        "ShipperLog.__init__",
        "ShipperLog.say",
        "Lease.__init__",
        "Lease.release",
        "place_of",
        "_secrets_of",
    ),
}
"""What is called from outside, or does nothing but catch what is broken below it."""


class Internal(NamedTuple):
    label: str
    owner: Any
    name: str
    found: Any


def functions(package: ModuleType, without: tuple[str, ...] = ()) -> Iterator[Internal]:
    """Each function, method and property of the modules of a package."""
    for info in iter_modules(package.__path__, f"{package.__name__}."):
        short = info.name.rpartition(".")[2]
        if short in (*without, "__main__"):
            continue
        module = __import__(info.name, fromlist=["_"])
        for name, found in vars(module).items():
            if getattr(found, "__module__", None) != module.__name__ or name in CALLED:
                continue
            if inspect.isclass(found):
                for inner, method in vars(found).items():
                    is_ours = inspect.isfunction(method) and (not inner.startswith("__") or inner == "__init__")
                    if (is_ours or isinstance(method, property)) and f"{name}.{inner}" not in CALLED:
                        yield Internal(f"{short}.{name}.{inner}", found, inner, method)
            elif inspect.isfunction(found) or hasattr(found, "cache_clear"):
                yield Internal(f"{short}.{name}", module, name, found)


def break_it(patch: pytest.MonkeyPatch, internal: Internal) -> list[str]:
    """Make it raise wherever it is bound; what is returned grows with each call of it."""
    hits: list[str] = []

    def fail(*_: Any, **__: Any) -> Any:
        hits.append(internal.label)
        raise RuntimeError(f"broken {internal.label}")

    patch.setattr(internal.owner, internal.name, property(fail) if isinstance(internal.found, property) else fail)
    if inspect.ismodule(internal.owner):
        for module in [module for name, module in sys.modules.items() if name.startswith("crucible_trace_otel")]:
            if vars(module).get(internal.name) is internal.found:
                patch.setattr(module, internal.name, fail)
    return hits


def each(internals: list[Internal]) -> Callable[[Any], Any]:
    return pytest.mark.parametrize("internal", internals, ids=[internal.label for internal in internals])


RECORDING = [*functions(journal, READERS), *functions(sdk, CONFIGURING)]
SENDING = [*functions(ship, ("launch", "thread", "grpc", "reduction")), *functions(journal, ("limit", "kept"))]
RESULTS = [0, 1, "plain", True]


def program() -> list[Any]:
    """Some of everything that the journal keeps."""
    results: list[Any] = []
    with crucible.pipeline("p") as pipeline, crucible.training_run("r") as run:
        for epoch in run.epochs(2):
            for _ in range(70):
                epoch.record_step(loss=0.5)
            epoch.record_step(note="words")
            epoch.record_gradient(1.0)
            results.append(epoch.index)
        record = run.step_recorder("loss", "tokens")
        for _ in range(70):
            record(0.5, 1)
        with pipeline.stage("s"):
            pass
    tracer = trace_api.get_tracer("somebody.else", "1.0")
    with tracer.start_as_current_span("plain", attributes={"bad": "\ud800", "many": [1, 2.5]}) as span:
        span.add_event("event", {"k": "v" * 300})
        with tracer.start_as_current_span("inner", links=[trace_api.Link(span.get_span_context())]) as inner:
            inner.set_status(trace_api.StatusCode.ERROR, "it failed")
        results.append("plain")
    results.append(not trace_api.get_current_span().get_span_context().is_valid)
    return results


ENDED = {"pipeline p", "training_run", "epoch", "stage s", "plain", "inner"}


@pytest.fixture
def handle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[crucible.Handle]:
    """A journal that is to be sent, and a thread that looks after it all the time."""
    monkeypatch.setattr(ticking, "_SECOND", 0.002)
    yield crucible.configure(
        service_name="s", journal=tmp_path / "journal", endpoint="http://127.0.0.1:9", ship="off", console=False
    )
    sdk.shutdown(0)
    sdk._current.clear()
    _providers._switches.clear()
    _providers._own.clear()


@each(RECORDING)
def test_p01_whatever_is_broken_inside_recording_goes_on_and_recovers(
    handle: crucible.Handle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str], internal: Internal
) -> None:
    with monkeypatch.context() as patch:
        break_it(patch, internal)
        assert program() == RESULTS
        assert not handle.flush(0)
        assert not handle.shutdown(0)
    assert len(warned) == len(set(warned))
    assert len(warned) <= 12, warned
    crucible.stage("after").start().stop()
    report = handle.flush(0)
    stored = [Span.FromString(span.span).name for span in read_directory(tmp_path / "journal").spans]
    assert "stage after" in stored
    missing = ENDED - set(stored)
    assert report.lost >= len(missing), missing


@pytest.fixture(scope="module")
def collector() -> Iterator[Misbehaving]:
    with Misbehaving("ok", keep_bodies=False) as taking:
        yield taking


@each(SENDING)
def test_p01_whatever_is_broken_where_it_is_sent_nothing_is_raised_and_it_is_sent_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, collector: Misbehaving, internal: Internal
) -> None:
    write_segment(tmp_path, 3)
    destination = Destination(f"{collector.http_endpoint}/v1/traces")
    before = collector.count()
    shipper = Shipper(tmp_path, destination)
    with monkeypatch.context() as patch:
        break_it(patch, internal)
        shipper.run(threading.Event(), until=time.monotonic() + 0.02)
    if log_of(tmp_path).exists():
        assert len(log_of(tmp_path).read_text().splitlines()) <= 3
    if collector.count() == before:
        assert ship_once(tmp_path, destination, 10)
    assert collector.count() == before + 3
