"""Both ways to a collector, over real sockets: what is sent, what an answer becomes, what a lost connection becomes."""

import gzip
import http.server
import socket
import subprocess
import sys
import threading
import time
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from crucible_trace_otel.ship import answers
from crucible_trace_otel.ship.answers import Answer, Outcome
from crucible_trace_otel.ship.batches import request_body
from crucible_trace_otel.ship.destination import Destination, transport
from tests.backends.process import free_ports
from tests.faults.behaviours import REFUSAL
from tests.faults.collector import Misbehaving
from tests.ship.certificates import self_signed
from tests.ship.spans import pieces

HTTP, GRPC = "http/protobuf", "grpc"
both = pytest.mark.parametrize("protocol", [HTTP, GRPC])
BODY = request_body(pieces("one", "two", "three"))
ALL_TAKEN = Answer(Outcome.TAKEN)


@pytest.fixture
def collector():
    with Misbehaving() as running:
        yield running


@pytest.fixture
def way(collector):
    """Make a transport to the collector, closed at the end."""
    made = []

    def to_collector(protocol, **settings):
        made.append(transport(Destination(collector.endpoint(protocol), protocol, **{"timeout_s": 5, **settings})))
        return made[-1]

    yield to_collector
    for each in made:
        each.close()


@both
@pytest.mark.parametrize("compression", ["none", "gzip", "deflate"])
def test_the_body_arrives_unchanged(collector, way, protocol, compression):
    headers = {"authorization": "Bearer token-1", "X-Tenant": "a b"} if protocol == HTTP else {"X-Tenant": "a b"}
    assert way(protocol, compression=compression, headers=headers).send(BODY) == ALL_TAKEN
    [request] = collector.requests()
    assert request.body == BODY
    assert request.headers["x-tenant"] == "a b"
    assert "crucible-trace-otel/" in request.headers["user-agent"]
    if protocol == HTTP:
        assert request.path == "/v1/traces"
        assert request.headers["authorization"] == "Bearer token-1"
        assert request.headers["content-type"] == "application/x-protobuf"
        assert request.headers.get("content-encoding", "none") == compression


@pytest.mark.parametrize("compression", ["gzip", "deflate"])
def test_compression_makes_it_smaller(collector, way, compression):
    large = request_body(pieces(*["the same name"] * 500))
    assert way(HTTP, compression=compression).send(large) == ALL_TAKEN
    [request] = collector.requests()
    assert (request.body, request.packed < len(large) / 4) == (large, True)


@both
def test_a_connection_is_kept(collector, way, protocol):
    one = way(protocol)
    assert [one.send(BODY) for _ in range(5)] == [ALL_TAKEN] * 5
    if protocol == HTTP:
        assert collector.connections == 1


@both
def test_user_and_password_of_an_endpoint_become_a_header(collector, protocol):
    endpoint = collector.endpoint(protocol).replace("://", "://me:pass%20word@")
    one = transport(Destination(endpoint, protocol))
    assert one.send(BODY) == ALL_TAKEN
    one.close()
    assert collector.requests()[0].headers["authorization"] == "Basic bWU6cGFzcyB3b3Jk"


def test_an_idle_connection_that_the_server_closed_is_made_anew(collector, way):
    one = way(HTTP)
    one.send(BODY)
    collector.drop_connections()
    time.sleep(0.05)
    assert one.send(BODY) == ALL_TAKEN
    assert collector.connections == 2


@both
def test_closed_it_connects_again(collector, way, protocol):
    one = way(protocol)
    one.close()
    assert one.send(BODY) == ALL_TAKEN
    one.close()
    one.close()
    assert one.send(BODY) == ALL_TAKEN


@both
@pytest.mark.parametrize(
    ("behaviour", "expected"),
    [
        ("partial 2", Answer(Outcome.TAKEN, rejected=2, said=f"rejected 2: {REFUSAL}")),
        ("warn", Answer(Outcome.TAKEN, said=REFUSAL)),
        ("empty", ALL_TAKEN),
        ("slow 0.05", ALL_TAKEN),
        ("400", Answer(Outcome.REFUSED, said=f"{{400}}: {REFUSAL}", may_be_one=True)),
        ("401", Answer(Outcome.PAUSED, said=f"{{401}}: {REFUSAL}")),
        ("403", Answer(Outcome.PAUSED, said=f"{{403}}: {REFUSAL}")),
        ("404", Answer(Outcome.PAUSED, said=f"{{404}}: {REFUSAL}")),
        ("413", Answer(Outcome.TOO_LARGE, said=f"{{413}}: {REFUSAL}")),
        ("500", Answer(Outcome.REFUSED, said=f"{{500}}: {REFUSAL}")),
        ("503", Answer(Outcome.RETRY, said=f"{{503}}: {REFUSAL}")),
        ("503 retry-after=2", Answer(Outcome.RETRY, retry_after_s=2, said=f"{{503}}: {REFUSAL}")),
        ("429 retry-after=7200", Answer(Outcome.RETRY, retry_after_s=3600, said=f"{{429}}: {REFUSAL}")),
    ],
)
def test_an_answer_over_the_wire(collector, way, protocol, behaviour, expected):
    names = {
        "400": "INVALID_ARGUMENT",
        "401": "UNAUTHENTICATED",
        "403": "PERMISSION_DENIED",
        "404": "UNIMPLEMENTED",
        "413": "RESOURCE_EXHAUSTED",
        "429": "UNAVAILABLE",
        "500": "INTERNAL",
        "503": "UNAVAILABLE",
    }
    collector.behave(behaviour)
    said = expected.said
    for status, code in names.items():
        said = said.replace(f"{{{status}}}", f"HTTP {status}" if protocol == HTTP else f"gRPC {code}")
    one = way(protocol)
    assert one.send(BODY) == one.send(BODY) == replace(expected, said=said)


@both
@pytest.mark.parametrize("behaviour", ["garbage", "cut", "lost", "reset", "503", "502", "504"])
def test_what_may_pass_is_for_later_and_then_taken(collector, way, protocol, behaviour):
    collector.behave(behaviour, "ok")
    one = way(protocol)
    answer = one.send(BODY)
    assert answer.outcome is Outcome.RETRY
    assert answer.said
    assert one.send(BODY) == ALL_TAKEN
    assert {request.body for request in collector.requests()} == {BODY}


@both
def test_a_collector_that_never_answers_is_given_up_in_time(collector, way, protocol):
    collector.behave("tarpit")
    before = time.monotonic()
    assert way(protocol, timeout_s=0.2).send(BODY).outcome is Outcome.RETRY
    assert time.monotonic() - before < 5


@both
def test_nobody_there_is_for_later_and_found_when_back(protocol):
    http_port, grpc_port = free_ports(2)
    port = grpc_port if protocol == GRPC else http_port
    one = transport(Destination(f"http://127.0.0.1:{port}/v1/traces", protocol))
    assert [one.send(BODY).outcome for _ in range(3)] == [Outcome.RETRY] * 3
    with Misbehaving(http_port=http_port, grpc_port=grpc_port):
        assert one.send(BODY) == ALL_TAKEN
    assert one.send(BODY).outcome is Outcome.RETRY
    one.close()


@both
def test_a_name_that_nobody_knows_is_for_later(protocol):
    one = transport(Destination("http://nowhere.invalid:4318/v1/traces", protocol, timeout_s=3))
    assert one.send(BODY).outcome is Outcome.RETRY
    one.close()


def test_no_redirect_is_followed(collector, way):
    collector.behave("302")
    answer = way(HTTP).send(BODY)
    assert answer.outcome is Outcome.PAUSED
    assert answer.said == f"HTTP 302, a redirect to {collector.http_endpoint}/login"
    assert len(collector.requests()) == 1


def test_a_login_page_is_no_collector(collector, way):
    collector.behave("html")
    answer = way(HTTP).send(BODY)
    assert (answer.outcome, answer.said) == (Outcome.PAUSED, "HTTP 200 with text/html; is it a collector?")


@both
def test_no_proxy_is_used(way, protocol, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_ports(1)[0]}")
    assert way(protocol).send(BODY) == ALL_TAKEN


@both
def test_a_header_that_cannot_be_sent_pauses_and_is_not_shown(way, protocol):
    answer = way(protocol, headers={"X-Key": "secret\r\nX-More: secret"}).send(BODY)
    assert answer.outcome is Outcome.PAUSED
    assert "header" in answer.said
    assert "secret" not in answer.said


@both
def test_tls_with_certificates_of_both_sides(tmp_path, protocol):
    server, client = self_signed(tmp_path, "server"), self_signed(tmp_path, "client")
    with Misbehaving(tls=replace(server, clients=client.certificate)) as collector:
        alone = Destination(collector.endpoint(protocol), protocol, certificate=str(server.certificate), timeout_s=2)
        proven = replace(alone, client_key=str(client.key), client_certificate=str(client.certificate))
        untrusting = replace(proven, certificate=None)
        missing = replace(proven, certificate=str(tmp_path / "missing.pem"))
        outcomes = []
        for destination in (proven, alone, untrusting, missing):
            one = transport(destination)
            outcomes.append(one.send(BODY).outcome)
            one.close()
    assert outcomes == [Outcome.TAKEN, Outcome.RETRY, Outcome.RETRY, Outcome.PAUSED]
    assert collector.names() == ["one", "two", "three"]


class _Rude(http.server.BaseHTTPRequestHandler):
    """Answers as the server's `rude` says: quotes what it got, or never ends."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.rude == "quoting":
            self.send_response(400)
            self.end_headers()
            self.wfile.write(f"bad key {self.headers['Authorization']} / {self.headers['X-Key']}".encode())
            return
        self.send_response(200)
        self.end_headers()
        try:
            while not self.server.ended.wait(0.02 if self.server.rude == "dripping" else 0):
                self.wfile.write(b"\0" if self.server.rude == "dripping" else bytes(4096))
        except OSError:
            pass

    def log_message(self, *_):
        pass


@pytest.fixture
def rude():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Rude) as server:
        server.daemon_threads, server.block_on_close = True, False
        server.ended = threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield server
        server.ended.set()
        server.shutdown()
        thread.join()


def test_a_server_that_quotes_our_headers_shows_none(rude):
    rude.rude = "quoting"
    headers = {"X-Key": "secret-1", "Authorization": "Bearer secret-2"}
    one = transport(Destination(f"http://127.0.0.1:{rude.server_port}/", headers=headers))
    assert one.send(BODY).said == "HTTP 400: bad key *** / ***"
    one.close()


@pytest.mark.parametrize(("rude_in", "outcome"), [("dripping", Outcome.RETRY), ("flooding", Outcome.RETRY)])
def test_an_answer_without_end_is_given_up(rude, rude_in, outcome):
    rude.rude = rude_in
    one = transport(Destination(f"http://127.0.0.1:{rude.server_port}/", timeout_s=0.3))
    before = time.monotonic()
    assert one.send(BODY).outcome is outcome
    assert time.monotonic() - before < 5
    one.close()


def test_a_refusal_before_the_body_was_read_is_heard():
    """As some proxies do with what is too large: they answer after the headers and read no further."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def refuse():
            connection, _ = listening.accept()
            connection.recv(4096)
            connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
            connection.shutdown(socket.SHUT_WR)
            heard.wait(5)
            connection.close()

        heard = threading.Event()
        thread = threading.Thread(target=refuse)
        thread.start()
        one = transport(Destination(f"http://127.0.0.1:{listening.getsockname()[1]}/", timeout_s=0.5))
        answer = one.send(bytes(64 << 20))
        heard.set()
        thread.join()
        one.close()
    assert answer.outcome is Outcome.TOO_LARGE


def test_packed_bodies_are_those_of_the_standard():
    from crucible_trace_otel.ship.http import _COMPRESSIONS

    assert gzip.decompress(_COMPRESSIONS["gzip"](BODY)) == zlib.decompress(_COMPRESSIONS["deflate"](BODY)) == BODY
    assert _COMPRESSIONS["gzip"](BODY) == _COMPRESSIONS["gzip"](BODY)
    assert len(ExportTraceServiceRequest.FromString(BODY).resource_spans) == 1


def test_sending_loads_the_standard_library_alone(collector):
    # The package itself loads the OpenTelemetry API; the process that ships enters below it.
    code = """
import sys, types
package = types.ModuleType("crucible_trace_otel")
package.__path__ = [sys.argv[2]]
sys.modules[package.__name__] = package
from crucible_trace_otel.ship.batches import batches, deliver, request_body
from crucible_trace_otel.ship.destination import Destination, transport
print(transport(Destination(sys.argv[1])).send(b"").outcome.name)
foreign = {"opentelemetry", "google", "grpc", "requests", "click", "typing_extensions", "rich"}
assert not foreign & {name.partition(".")[0] for name in sys.modules}, sorted(sys.modules)
"""
    package = Path(answers.__file__).parents[1]
    said = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code, collector.endpoint(HTTP), package],
        check=True,
        capture_output=True,
        text=True,
    )
    assert said.stdout.strip() == "TAKEN"
