"""A collector that takes everything, as a process.

POST keeps a body. GET / tells how many different spans have come, GET /taken gives all that has; both begin anew.
"""

import sys
import zlib
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

bodies: list[tuple[str, bytes]] = []


class Handler(BaseHTTPRequestHandler):
    """Keeps bodies as they come: nothing is decoded while something is measured."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Keep a request."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        bodies.append((self.headers.get("Content-Encoding", ""), body))
        self._answer(b"")

    def do_GET(self) -> None:
        """Give what has come, and begin anew."""
        kept = bodies[:]
        del bodies[: len(kept)]
        # Requests one after another are one request, of all their spans.
        taken = b"".join(zlib.decompress(body, 47) if encoding else body for encoding, body in kept)
        self._answer(taken if self.path == "/taken" else str(_different_spans(taken)).encode())

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _different_spans(taken: bytes) -> int:
    request = ExportTraceServiceRequest.FromString(taken)
    scopes = [scope for resource in request.resource_spans for scope in resource.scope_spans]
    return len({span.span_id for scope in scopes for span in scope.spans})


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()
