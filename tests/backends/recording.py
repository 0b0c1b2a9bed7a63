"""Recording a rich set of spans to an OTLP endpoint, and what the wire must carry for them."""

from __future__ import annotations

import struct
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as GrpcExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as HttpExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

from tests.backends.sink import ReceivedSpan, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AnyValue

PROTOCOLS = ("http/protobuf", "grpc")
SERVICE = "backend-tests"
ADDED_ON_THE_WAY = ("redaction.", "@jaeger@")


def exporter(endpoint: str, protocol: str) -> SpanExporter:
    """Return the official OTLP exporter for `protocol`, with compression, as people switch it on."""
    if protocol == "grpc":
        from grpc import Compression

        return GrpcExporter(endpoint=endpoint, insecure=True, compression=Compression.Gzip)
    from opentelemetry.exporter.otlp.proto.http import Compression as HttpCompression

    return HttpExporter(endpoint=f"{endpoint}/v1/traces", compression=HttpCompression.Gzip)


def record(
    endpoint: str, protocol: str, emit: Callable[[Tracer], None] | None = None, *, batch: int = 512
) -> list[ReceivedSpan]:
    """Send what `emit(tracer)` records (default: `everything`) and return what must arrive, by the official encoder."""
    memory = InMemorySpanExporter()
    resource = Resource.create({"service.name": SERVICE, "service.version": "1.2.3", "crucible.run.id": "r-1"})
    provider = TracerProvider(resource=resource, span_limits=SpanLimits(max_events=1024), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(memory))
    provider.add_span_processor(
        BatchSpanProcessor(exporter(endpoint, protocol), schedule_delay_millis=100, max_export_batch_size=batch)
    )
    tracer = provider.get_tracer(
        "tests.backends", "0.1", schema_url="https://example.org/schemas/1.0.0", attributes={"scope.attribute": "kept"}
    )
    (emit or everything)(tracer)
    provider.force_flush()
    provider.shutdown()
    return unpack(encode_spans(memory.get_finished_spans()))


def everything(tracer: Tracer) -> None:
    """Record one trace that uses each thing a span can hold, down to the awkward values."""
    with tracer.start_as_current_span("pipeline digits", kind=SpanKind.INTERNAL) as root:
        root.set_attribute("crucible.operation.name", "pipeline")
        with tracer.start_as_current_span("stage train", kind=SpanKind.PRODUCER) as stage:
            stage.set_attributes(_attributes_of_every_kind())
            with tracer.start_as_current_span("training_run") as run:
                run.set_attribute("crucible.run.id", "r-1")
                for first in range(0, 300, 100):
                    run.add_event("steps_recorded", _window(first))
                run.set_status(Status(StatusCode.ERROR, "the loss is not a number"))
        link = Link(stage.get_span_context(), {"crucible.link.type": "depends_on", "weight": 0.5, "ranks": [0, 1]})
        with tracer.start_as_current_span("deployment", kind=SpanKind.CLIENT, links=[link]) as deployment:
            deployment.add_event("an event without attributes")
            deployment.set_status(Status(StatusCode.OK))
            deployment.set_attribute("crucible.operation.result", "success")
            deployment.set_attribute("crucible.dependency.names", ["depends_on: stage: split"])
    with tracer.start_as_current_span("another trace", links=[Link(root.get_span_context())]):
        pass


def many(count: int, text: str = "") -> Callable[[Tracer], None]:
    """Return an emitter of `count` small spans in one trace, each carrying `text`."""

    def emit(tracer: Tracer) -> None:
        with tracer.start_as_current_span("training_run"):
            for index in range(count - 1):
                tracer.start_span("epoch", attributes={"crucible.training.epoch.index": index, "text": text}).end()

    return emit


def huge(megabytes: int) -> Callable[[Tracer], None]:
    """Return an emitter of one trace with a span of so many megabytes, in events, between two small ones."""

    def emit(tracer: Tracer) -> None:
        with tracer.start_as_current_span("training_run"):
            tracer.start_span("before").end()
            with tracer.start_as_current_span("huge") as span:
                for _ in range(megabytes * 20):
                    span.add_event("steps_recorded", {"crucible.window.series.values": bytes(50_000)})
            tracer.start_span("after").end()

    return emit


def comparable(received: ReceivedSpan, *, exact: bool = True) -> bytes:
    """Return the span with everything around it as bytes that ignore what a Collector may change.

    That is the order of attributes, and those it adds itself; Jaeger too, to a span asked for before its parent came.
    NaN is equal to itself here. `exact=False` is for a store, which drops schema URLs and may order events its own way.
    """
    copy = ReceivedSpan(
        type(received.resource).FromString(received.resource.SerializeToString()),
        type(received.scope).FromString(received.scope.SerializeToString()),
        type(received.span).FromString(received.span.SerializeToString()),
    )
    if not exact:
        events = sorted(copy.span.events, key=lambda event: (event.time_unix_nano, event.name))
        del copy.span.events[:]
        copy.span.events.extend(events)
    holders: tuple[Any, ...] = (copy.resource, copy.scope, copy.span, *copy.span.events, *copy.span.links)
    for holder in holders:
        kept = sorted((a for a in holder.attributes if not a.key.startswith(ADDED_ON_THE_WAY)), key=lambda a: a.key)
        del holder.attributes[:]
        holder.attributes.extend(kept)
    parts = (copy.resource, copy.scope, copy.span)
    urls = f"{received.resource_schema_url}|{received.scope_schema_url}".encode() if exact else b""
    return b"\0".join([*(part.SerializeToString(deterministic=True) for part in parts), urls])


def differences(expected: list[ReceivedSpan], arrived: list[ReceivedSpan], *, exact: bool = True) -> list[str]:
    """Return a line for each span that is missing, changed or not expected; a repeated delivery is no difference."""
    wanted = {comparable(span, exact=exact): span for span in expected}
    got = {comparable(span, exact=exact): span for span in arrived}
    missing = [f"missing or changed: {wanted[key].span}" for key in wanted.keys() - got.keys()]
    return missing + [f"not expected: {got[key].span}" for key in got.keys() - wanted.keys()]


def _attributes_of_every_kind() -> dict[str, AnyValue]:
    return {
        "string": "grün ≥ 3 \U0001f600",
        "string.empty": "",
        "string.long": "x" * 60_000,
        "bool.true": True,
        "bool.false": False,
        "int": -(2**63),
        "int.zero": 0,
        "float": 0.1,
        "float.zero": 0.0,
        "float.nan": float("nan"),
        "float.infinite": float("-inf"),
        "bytes": bytes(range(256)),
        "strings": ["a", "", "c"],
        "ints": [1, 2, 3],
        "floats": [0.5, float("nan")],
        "bools": [True, False],
        "empty": [],
    }


def _window(first: int) -> dict[str, AnyValue]:
    values = struct.pack("<100q", *range(first, first + 100)) + struct.pack("<100d", *[1 / (i + 1) for i in range(100)])
    return {
        "crucible.window.first_step": first,
        "crucible.window.count": 100,
        "crucible.window.series.columns": ["step", "loss"],
        "crucible.window.series.formats": ["i8", "f8"],
        "crucible.window.series.values": values,
        "recorded.at": time.time(),
    }
