"""What a collector answers: only what it took counts as acknowledged."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

import crucible_trace_otel as crucible

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.backends.sink import Sink

PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=3, error_message="too old")
).SerializeToString()


@contextmanager
def answering(status: int, body: bytes, **headers: str) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST  # noqa: N815 - the name that http.server looks for

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def record(number: int) -> None:
    for _ in range(number):
        with crucible.stage("s"):
            pass


@pytest.mark.parametrize(
    ("status", "body", "headers", "acknowledged", "said"),
    [
        (302, b"", {"Location": "/login"}, 0, "it answers 302 and points to /login"),
        (200, b"<html>welcome</html>", {}, 0, "something that is no OTLP"),
        (200, PARTIAL, {}, 7, "3 were rejected: too old"),
    ],
)
def test_what_was_not_taken_is_not_acknowledged(  # noqa: PLR0917
    warned: list[str], status: int, body: bytes, headers: dict[str, str], acknowledged: int, said: str
) -> None:
    with answering(status, body, **headers) as (endpoint, asked):
        handle = crucible.configure(journal="j", endpoint=endpoint)
        record(10)
        report = handle.flush(10)
        assert not report
        assert (report.recorded, report.stored, report.acknowledged) == (10, 10, acknowledged)
        handle.shutdown()
    assert asked == ["/v1/traces"]
    assert said in warned[0]
    assert warned[1].startswith(f"{10 - acknowledged} of 10 spans were not acknowledged")


def test_what_was_refused_is_not_made_up_for_by_what_came_later(sink: Sink, warned: list[str]) -> None:
    with answering(400, b"") as (endpoint, _):
        handle = crucible.configure(journal=False, endpoint=endpoint)
        record(10)
        assert not handle.flush(10)
        handle._recorder.sender._exporter.acknowledged += 100  # as if later spans had been taken meanwhile
        assert not handle.flush(10)
    assert warned


def test_a_password_in_the_address_is_not_repeated(warned: list[str]) -> None:
    with answering(400, b"") as (endpoint, _):
        handle = crucible.configure(journal=False, endpoint=endpoint.replace("//", "//user:secret@"))
        record(1)
        assert "secret" not in str(handle.flush(10).endpoint)
        handle.shutdown()
    assert warned
    assert not any("secret" in text for text in warned)
