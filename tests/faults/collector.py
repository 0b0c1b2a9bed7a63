"""A loopback collector that misbehaves on demand, over HTTP and gRPC, in this process or in one of its own.

    with Misbehaving("503 retry-after=1", "503", "ok") as collector:     # one entry a request, the last for all others
        ... send to collector.http_endpoint + "/v1/traces", or to collector.grpc_endpoint ...
        collector.behave("partial 3")                                    # from now on
        collector.requests()     # every request: body, spans, headers, when, what was done to it, whether it was taken
        collector.spans()        # the spans that were taken, repeated deliveries included; span_ids() says each once

    with CollectorProcess("ok") as collector: ...       # the same calls; spans come as (trace id, span id, name) there

`close()` frees both ports; a new one with `http_port=` and `grpc_port=` is the same collector come back. To be refused
connections, send to a closed one, or to a port of `free_ports()` in tests/backends/process.py.

What can be asked for is in tests/faults/behaviours.py.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import ssl
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import grpc
from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.backends.sink import MESSAGE_LIMIT, ReceivedSpan, unpack
from tests.faults.behaviours import REFUSAL, TAKE_NOTHING, Behaviour

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    from typing_extensions import Self

PROTOBUF = "application/x-protobuf"
UNREADABLE = 0  # instead of a status
_METHOD = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came in."""

    at: float
    """Seconds on the monotonic clock."""
    protocol: str
    path: str
    headers: dict[str, str]
    """Names in lower case (gRPC: the metadata)."""
    body: bytes
    """Unpacked."""
    packed: int
    """Bytes that came over the wire (HTTP)."""
    spans: list[ReceivedSpan]
    behaviour: str
    taken: int
    """How many of its spans the collector keeps."""


@dataclass(frozen=True, slots=True)
class Tls:
    """What the collector proves itself with, and whose clients it lets in (None: everybody's); PEM files."""

    certificate: Path
    key: Path
    clients: Path | None = None

    def context(self) -> ssl.SSLContext:
        """For the HTTP server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate, self.key)
        if self.clients:
            context.load_verify_locations(self.clients)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def credentials(self) -> grpc.ServerCredentials:
        """For the gRPC server."""
        pair = (self.key.read_bytes(), self.certificate.read_bytes())
        clients = self.clients.read_bytes() if self.clients else None
        return grpc.ssl_server_credentials([pair], clients, require_client_auth=bool(clients))


class Misbehaving:
    """The collector; a context manager. With `tls` it speaks TLS on both ports."""

    def __init__(
        self,
        *script: str,
        http_port: int = 0,
        grpc_port: int = 0,
        tls: Tls | None = None,
        keep_bodies: bool = True,
    ) -> None:
        self._arrived = threading.Condition()
        self._script: list[str] = []
        self._requests: list[Request] = []
        self._taken: set[tuple[bytes, bytes]] = set()
        self._keep_bodies = keep_bodies
        self.connections = 0
        self.closing = threading.Event()
        self.behave(*script)
        self._http = _HttpServer(("127.0.0.1", http_port), self)
        if tls:
            self._http.socket = tls.context().wrap_socket(
                self._http.socket, server_side=True, do_handshake_on_connect=False
            )
        self._http_thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, name="collector-http", daemon=True
        )
        options = [("grpc.so_reuseport", 0), ("grpc.max_receive_message_length", MESSAGE_LIMIT)]
        self._grpc = grpc.server(ThreadPoolExecutor(max_workers=8), options=options)
        self._grpc.add_generic_rpc_handlers((_grpc_handler(self),))
        self.http_port: int = self._http.server_address[1]
        address, scheme = f"127.0.0.1:{grpc_port}", "http"
        if tls:
            self.grpc_port: int = self._grpc.add_secure_port(address, tls.credentials())
            scheme = "https"
        else:
            self.grpc_port = self._grpc.add_insecure_port(address)
        self._scheme = scheme
        self.http_endpoint = f"{scheme}://127.0.0.1:{self.http_port}"
        self.grpc_endpoint = f"127.0.0.1:{self.grpc_port}"
        self._http_thread.start()
        self._grpc.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening, drop every connection, answer nobody any more; what was received stays readable."""
        self.closing.set()
        self._http.shutdown()
        self._http.server_close()
        self._http.drop_connections()
        self._http_thread.join()
        self._grpc.stop(grace=0).wait()

    def drop_connections(self) -> None:
        """Close every idle or busy HTTP connection, as a restarted collector or an impatient proxy does."""
        self._http.drop_connections()

    def endpoint(self, protocol: str) -> str:
        """Where a sender of `protocol` ("http/protobuf", with its path, or "grpc") must send to."""
        if protocol == "grpc":
            return f"{self._scheme}://{self.grpc_endpoint}"
        return f"{self.http_endpoint}/v1/traces"

    def behave(self, *script: str) -> None:
        """Meet the next requests with `script`, one entry each; the last one stays. Nothing is "ok"."""
        with self._arrived:
            self._script = list(script or ("ok",))

    def requests(self) -> list[Request]:
        """Every request so far, in the order of arrival."""
        with self._arrived:
            return list(self._requests)

    def received(self) -> list[ReceivedSpan]:
        """The spans that were taken, with resource and scope, repeated deliveries included."""
        return [span for request in self.requests() for span in request.spans[: request.taken]]

    def spans(self) -> list[Span]:
        """The spans that were taken, repeated deliveries included."""
        return [received.span for received in self.received()]

    def names(self) -> list[str]:
        """The names of the spans that were taken, in the order of arrival."""
        return [span.name for span in self.spans()]

    def span_ids(self) -> set[tuple[bytes, bytes]]:
        """Trace id and span id of each span that was taken."""
        with self._arrived:
            return set(self._taken)

    def count(self) -> int:
        """How many different spans were taken."""
        with self._arrived:
            return len(self._taken)

    def wait(self, enough: Callable[[Misbehaving], bool], *, seconds: float = 30.0) -> bool:
        """Wait until `enough(collector)` holds, asking at each arrival; False when the time ran out."""
        deadline = time.monotonic() + seconds
        while not enough(self):
            with self._arrived:
                left = deadline - time.monotonic()
                if left <= 0:
                    return False
                self._arrived.wait(min(left, 0.1))
        return True

    def wait_for_spans(self, count: int, *, seconds: float = 30.0) -> bool:
        """Wait until `count` different spans were taken; False when the time ran out."""
        return self.wait(lambda collector: collector.count() >= count, seconds=seconds)

    def wait_for_requests(self, count: int, *, seconds: float = 30.0) -> bool:
        """Wait until `count` requests came in; False when the time ran out."""
        return self.wait(lambda collector: len(collector.requests()) >= count, seconds=seconds)

    def meet(
        self, protocol: str, path: str, headers: dict[str, str], body: bytes, packed: int
    ) -> tuple[Behaviour, int, int]:
        """Record one request; what it meets, the HTTP status it gets, and how many of its spans are taken."""
        try:
            request, readable = ExportTraceServiceRequest.FromString(body), True
        except DecodeError:
            request, readable = ExportTraceServiceRequest(), False
        spans = unpack(request)
        with self._arrived:
            text = self._script.pop(0) if len(self._script) > 1 else self._script[0]
            behaviour = Behaviour.of(text)
            status = behaviour.status(request, len(body)) if readable else UNREADABLE
            taken = 0 if status != 200 or behaviour.kind in TAKE_NOTHING else len(spans)
            if behaviour.kind == "partial":
                taken = max(0, taken - int(behaviour.number))
            self._taken.update((each.span.trace_id, each.span.span_id) for each in spans[:taken])
            kept = body if self._keep_bodies else b""
            self._requests.append(Request(time.monotonic(), protocol, path, headers, kept, packed, spans, text, taken))
            self._arrived.notify_all()
        return behaviour, status, taken


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, address: tuple[str, int], collector: Misbehaving) -> None:
        self.collector = collector
        self._open: set[socket.socket] = set()
        self.resets: set[socket.socket] = set()
        super().__init__(address, _HttpHandler)

    def process_request(self, request, client_address) -> None:
        self.collector.connections += 1
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request) -> None:
        self._open.discard(request)
        if request in self.resets:
            self.resets.discard(request)
            self.close_request(request)  # without the polite end: the peer gets a reset
        else:
            super().shutdown_request(request)

    def drop_connections(self) -> None:
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # gone already
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request, client_address) -> None:
        """Say nothing of clients that went away."""


class _HttpHandler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _HttpServer

    def do_POST(self) -> None:
        wire = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        unpacked = {"gzip": gzip.decompress, "deflate": zlib.decompress}.get(
            self.headers.get("Content-Encoding", ""), bytes
        )
        collector = self.server.collector
        headers = {name.lower(): value for name, value in self.headers.items()}
        behaviour, status, _ = collector.meet("http/protobuf", self.path, headers, unpacked(wire), len(wire))
        if behaviour.kind == "tarpit":
            collector.closing.wait()
        elif behaviour.kind == "reset":
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.server.resets.add(self.connection)
        if behaviour.kind in ("tarpit", "reset", "lost"):
            self.close_connection = True
            return
        if behaviour.kind == "slow":
            collector.closing.wait(behaviour.number)
        self._answer(behaviour, status or 400)

    def do_GET(self) -> None:
        """The login page, for who follows a redirect there."""
        self._answer(Behaviour("html"), 200)

    def _answer(self, behaviour: Behaviour, status: int) -> None:
        self.send_response(status)
        kind, body = PROTOBUF, behaviour.answer()
        if behaviour.kind == "html":
            kind, body = "text/html; charset=utf-8", b"<html>Please log in</html>"
        elif 300 <= status < 400:
            self.send_header("Location", f"{self.server.collector.http_endpoint}/login")
            body = b""
        elif status != 200:
            body = Status(code=3, message=REFUSAL).SerializeToString()
        if "retry-after" in behaviour.options:
            self.send_header("Retry-After", f"{behaviour.options['retry-after']:g}")
        if "retry-date" in behaviour.options:
            self.send_header("Retry-After", formatdate(time.time() + behaviour.options["retry-date"], usegmt=True))
        missing = 100 if behaviour.kind == "cut" else 0
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = self.close_connection or bool(missing)

    def log_message(self, *_: object) -> None:
        """Say nothing: a test reads what arrived, not the access log."""


def _grpc_handler(collector: Misbehaving) -> grpc.GenericRpcHandler:
    def export(body: bytes, context: grpc.ServicerContext) -> bytes:
        headers = {key: value for key, value in context.invocation_metadata() if isinstance(value, str)}
        behaviour, status, _ = collector.meet("grpc", _METHOD, headers, body, len(body))
        if behaviour.kind == "tarpit":
            collector.closing.wait()
        if behaviour.kind == "slow":
            collector.closing.wait(behaviour.number)
        if behaviour.kind in ("reset", "cut", "lost", "tarpit"):
            context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        if status == UNREADABLE:
            context.abort(grpc.StatusCode.INTERNAL, "grpc: error unmarshalling request")  # as the Collector has it
        if status != 200:
            code = behaviour.code(status)
            context.set_trailing_metadata(behaviour.details(code))
            context.abort(code, REFUSAL)
        return behaviour.answer()

    method = grpc.unary_unary_rpc_method_handler(export)
    service, _, name = _METHOD[1:].partition("/")
    return grpc.method_handlers_generic_handler(service, {name: method})
