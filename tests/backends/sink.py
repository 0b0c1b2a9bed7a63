"""A loopback OTLP receiver: keeps every span, metric and log record, by HTTP and by gRPC, exactly as decoded."""

from __future__ import annotations

import gzip
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest, ExportLogsServiceResponse
from opentelemetry.proto.collector.logs.v1.logs_service_pb2_grpc import (
    LogsServiceServicer,
    add_LogsServiceServicer_to_server,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2_grpc import (
    MetricsServiceServicer,
    add_MetricsServiceServicer_to_server,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2_grpc import (
    TraceServiceServicer,
    add_TraceServiceServicer_to_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.proto.common.v1.common_pb2 import InstrumentationScope
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord
    from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric
    from opentelemetry.proto.resource.v1.resource_pb2 import Resource
    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    from typing_extensions import Self

MESSAGE_LIMIT = 24 * 1024 * 1024  # as collector-config/jaeger.yaml and tempo.yaml have it


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """One span as it came over the wire, with what it was filed under."""

    resource: Resource
    scope: InstrumentationScope
    span: Span
    resource_schema_url: str = ""
    scope_schema_url: str = ""


def unpack(request: ExportTraceServiceRequest) -> list[ReceivedSpan]:
    """Return the spans of one export request, each with its resource and scope."""
    return [
        ReceivedSpan(group.resource, scoped.scope, span, group.schema_url, scoped.schema_url)
        for group in request.resource_spans
        for scoped in group.scope_spans
        for span in scoped.spans
    ]


class Sink:
    """The receiver; a context manager. Port 0 lets the system choose; `close()` frees both, as an outage does."""

    def __init__(self, *, http_port: int = 0, grpc_port: int = 0, host: str = "127.0.0.1") -> None:
        self._arrived = threading.Condition()
        self._spans: list[ReceivedSpan] = []
        self._metrics: list[Metric] = []
        self._logs: list[LogRecord] = []
        self._headers: list[dict[str, str]] = []
        self._http = _HttpServer((host, http_port), self)
        self._http_thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.05}, name="sink-http", daemon=True
        )
        # Without SO_REUSEPORT two sinks cannot share a port by accident and each see a part.
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MESSAGE_LIMIT)]
        self._grpc = grpc.server(ThreadPoolExecutor(max_workers=4), options=options)
        add_TraceServiceServicer_to_server(_Traces(self), self._grpc)
        add_MetricsServiceServicer_to_server(_Metrics(self), self._grpc)
        add_LogsServiceServicer_to_server(_Logs(self), self._grpc)
        self.http_port: int = self._http.server_address[1]
        self.grpc_port: int = self._grpc.add_insecure_port(f"{host}:{grpc_port}")
        self.http_endpoint = f"http://{host}:{self.http_port}"
        self.grpc_endpoint = f"{host}:{self.grpc_port}"
        self._http_thread.start()
        self._grpc.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening on both ports; what was received stays readable."""
        self._http.shutdown()
        self._http.server_close()
        self._http_thread.join()
        self._grpc.stop(grace=0).wait()

    def endpoint(self, protocol: str) -> str:
        """Return where an OTLP exporter of `protocol` ("http/protobuf" or "grpc") must send to."""
        return self.grpc_endpoint if protocol == "grpc" else self.http_endpoint

    def received(self) -> list[ReceivedSpan]:
        """Return everything received so far, in the order of arrival, repeated deliveries included."""
        with self._arrived:
            return list(self._spans)

    def spans(self) -> list[Span]:
        """Return the received spans alone."""
        return [received.span for received in self.received()]

    def headers(self) -> list[dict[str, str]]:
        """Return the headers of each HTTP request, their names in lower case."""
        with self._arrived:
            return list(self._headers)

    def keep_headers(self, headers: dict[str, str]) -> None:
        """Keep the headers of one HTTP request."""
        with self._arrived:
            self._headers.append(headers)

    def metrics(self) -> list[Metric]:
        """Return the received metrics."""
        with self._arrived:
            return list(self._metrics)

    def logs(self) -> list[LogRecord]:
        """Return the received log records."""
        with self._arrived:
            return list(self._logs)

    def wait(self, enough: Callable[[Sink], bool], *, seconds: float = 30.0) -> bool:
        """Wait until `enough(sink)` holds, asking at each arrival; False when the time ran out."""
        deadline = time.monotonic() + seconds
        while not enough(self):
            with self._arrived:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._arrived.wait(min(left, 0.2))
        return True

    def wait_for_spans(self, count: int, *, seconds: float = 30.0) -> bool:
        """Wait until `count` different spans have arrived; False when the time ran out."""
        return self.wait(lambda sink: len({(s.trace_id, s.span_id) for s in sink.spans()}) >= count, seconds=seconds)

    def keep_traces(self, request: ExportTraceServiceRequest) -> None:
        """Store what one trace request carries."""
        with self._arrived:
            self._spans.extend(unpack(request))
            self._arrived.notify_all()

    def keep_metrics(self, request: ExportMetricsServiceRequest) -> None:
        """Store what one metrics request carries."""
        with self._arrived:
            self._metrics.extend(
                metric
                for group in request.resource_metrics
                for scoped in group.scope_metrics
                for metric in scoped.metrics
            )
            self._arrived.notify_all()

    def keep_logs(self, request: ExportLogsServiceRequest) -> None:
        """Store what one logs request carries."""
        with self._arrived:
            self._logs.extend(
                record
                for group in request.resource_logs
                for scoped in group.scope_logs
                for record in scoped.log_records
            )
            self._arrived.notify_all()


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], sink: Sink) -> None:
        self.sink = sink
        super().__init__(address, _HttpHandler)


class _HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _HttpServer

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.server.sink.keep_headers({name.lower(): value for name, value in self.headers.items()})
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        if self.path.endswith("/v1/traces"):
            self.server.sink.keep_traces(ExportTraceServiceRequest.FromString(body))
            self._answer(200, ExportTraceServiceResponse().SerializeToString())
        elif self.path.endswith("/v1/metrics"):
            self.server.sink.keep_metrics(ExportMetricsServiceRequest.FromString(body))
            self._answer(200, ExportMetricsServiceResponse().SerializeToString())
        elif self.path.endswith("/v1/logs"):
            self.server.sink.keep_logs(ExportLogsServiceRequest.FromString(body))
            self._answer(200, ExportLogsServiceResponse().SerializeToString())
        else:
            self._answer(404, b"")

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: a test reads what arrived, not the access log."""


class _Traces(TraceServiceServicer):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def Export(  # noqa: N802 - the name is the protocol's
        self, request: ExportTraceServiceRequest, context: grpc.ServicerContext
    ) -> ExportTraceServiceResponse:
        self._sink.keep_traces(request)
        return ExportTraceServiceResponse()


class _Metrics(MetricsServiceServicer):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def Export(  # noqa: N802
        self, request: ExportMetricsServiceRequest, context: grpc.ServicerContext
    ) -> ExportMetricsServiceResponse:
        self._sink.keep_metrics(request)
        return ExportMetricsServiceResponse()


class _Logs(LogsServiceServicer):
    def __init__(self, sink: Sink) -> None:
        self._sink = sink

    def Export(  # noqa: N802
        self, request: ExportLogsServiceRequest, context: grpc.ServicerContext
    ) -> ExportLogsServiceResponse:
        self._sink.keep_logs(request)
        return ExportLogsServiceResponse()
