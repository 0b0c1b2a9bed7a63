"""The official OTLP exporter of a signal, made as the standard variables say, and by HTTP what reads the answers."""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.sdk._settings import COMPRESSIONS, Settings, Signal, Target
from crucible_trace_otel.sdk._variables import one_of, otlp, seconds, variable

if TYPE_CHECKING:
    from crucible_trace_otel.sdk._answers import ReadingSession

__all__ = ["WHAT", "make_exporter"]

WHAT = {"TRACES": "spans", "LOGS": "log records", "METRICS": "metrics"}
_PACKAGES = {
    "grpc": "opentelemetry.exporter.otlp.proto.grpc",
    "http/protobuf": "opentelemetry.exporter.otlp.proto.http",
}
_CLASSES = {
    "TRACES": ("trace_exporter", "OTLPSpanExporter"),
    "LOGS": ("_log_exporter", "OTLPLogExporter"),
    "METRICS": ("metric_exporter", "OTLPMetricExporter"),
}


def make_exporter(signal: Signal, target: Target, settings: Settings) -> "tuple[Any, ReadingSession | None]":
    """An exporter of `signal` to `target`; loads gRPC or requests. What is None here it reads from the variables."""
    module, name = _CLASSES[signal]
    made = getattr(import_module(f"{_PACKAGES[target.protocol]}.{module}"), name)
    compression = variable(otlp("COMPRESSION", signal), one_of(COMPRESSIONS), "none")
    common = {
        "endpoint": target.endpoint,
        "headers": settings.headers,
        "timeout": variable(otlp("TIMEOUT", signal), seconds, 10.0),
    }
    if target.protocol == "grpc":
        import grpc  # noqa: PLC0415 - 60 ms that only who sends by gRPC should pay

        known = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
        return made(**common, compression=known.get(compression, grpc.Compression.NoCompression)), None
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415

    from crucible_trace_otel.sdk._answers import ReadingSession  # noqa: PLC0415

    brings_a_session = os.environ.get(f"OTEL_PYTHON_EXPORTER_OTLP_HTTP_{signal}_CREDENTIAL_PROVIDER")
    session = None if brings_a_session else ReadingSession(WHAT[signal])
    return made(**common, compression=Compression(compression), session=session), session
