"""OTLP by HTTP/protobuf over one connection that is kept; the standard library alone.

No redirect is followed and no proxy used.
"""

import gzip
import http.client
import re
import selectors
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Final
from urllib.parse import quote

from crucible_trace_otel._version import __version__
from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.ship.answers import Answer, cannot_send, connection_failed, http_answer

if TYPE_CHECKING:
    from crucible_trace_otel.ship.destination import Address, Destination

__all__ = ["HttpTransport"]

_LONGEST_ANSWER = 1 << 16
_HEADER_NAME = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_OF_THE_REQUEST = frozenset({"connection", "content-encoding", "content-length", "content-type", "transfer-encoding"})
_AS_WRITTEN = "!#$%&'()*+,/:;=?@[]~"
_COMPRESSIONS: Final[Mapping[str, Callable[[bytes], bytes]]] = MappingProxyType(
    # Level 1: this is on a machine that trains. No time of day in it: equal bodies stay equal.
    {"gzip": lambda body: gzip.compress(body, 1, mtime=0), "deflate": lambda body: zlib.compress(body, 1)}
)


class HttpTransport:
    """A way to a collector by HTTP."""

    def __init__(self, destination: "Destination") -> None:
        self._destination = destination
        self._request: _Request | None = None
        self._connection: http.client.HTTPConnection | None = None

    def send(self, body: bytes) -> Answer:
        """Send one serialized ExportTraceServiceRequest and wait for the answer; never raises."""
        try:
            self._request = self._request or _Request.to(self._destination)
            answer = self._exchange(self._request, body)
        except FormatError as error:
            answer = cannot_send(error)
        except Exception as error:  # noqa: BLE001 - whatever it is, the spans stay and are sent later
            self.close()
            answer = connection_failed(error)
        return replace(answer, said=self._destination.without_secrets(answer.said))

    def close(self) -> None:
        """Let the connection go; a later `send()` makes a new one. Never raises."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):
                connection.close()

    def _exchange(self, request: "_Request", body: bytes) -> Answer:
        if self._connection is not None and _has_something_to_read(self._connection):
            self.close()  # the server has ended it, or says what nobody asked for
        self._connection = connection = self._connection or request.connection(self._destination.timeout_s)
        until = time.monotonic() + self._destination.timeout_s
        packed = _COMPRESSIONS.get(self._destination.compression, bytes)(body)
        with _cut_off_at(connection, until + self._destination.timeout_s):
            return self._ask(connection, request, packed, until)

    def _ask(self, connection: http.client.HTTPConnection, request: "_Request", packed: bytes, until: float) -> Answer:
        try:
            connection.request("POST", request.target, packed, request.headers)
        except (ConnectionError, TimeoutError):
            # Who refuses a large body may have answered without reading all of it.
            if not _has_something_to_read(connection):
                raise
            answer = self._answer(connection.getresponse(), until)
            self.close()
            return answer
        return self._answer(connection.getresponse(), until)

    def _answer(self, response: http.client.HTTPResponse, until: float) -> Answer:
        body, is_whole = _body(response, until)
        if is_whole:
            response.close()  # the answer alone: the connection is for the next request
        else:
            self.close()
        headers = {name.lower(): value for name, value in response.getheaders()}
        return http_answer(response.status, headers, body)


@contextmanager
def _cut_off_at(connection: http.client.HTTPConnection, until: float) -> Iterator[None]:
    """Break an exchange off in the end: each read has a time limit, but there is none to how many a server asks for."""

    def cut_off() -> None:
        with suppress(OSError, AttributeError):
            connection.sock.shutdown(socket.SHUT_RDWR)

    timer = threading.Timer(max(0.0, until - time.monotonic()), cut_off)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@dataclass(frozen=True, slots=True)
class _Request:
    """What is the same in each request to a destination."""

    address: "Address"
    target: str
    headers: Mapping[str, str | bytes]
    tls: ssl.SSLContext | None

    @classmethod
    def to(cls, destination: "Destination") -> "_Request":
        address = destination.address()
        headers: dict[str, str | bytes] = {"user-agent": f"crucible-trace-otel/{__version__}"}
        if address.authorization:
            headers["authorization"] = address.authorization
        for name, value in destination.headers.items():
            if not _HEADER_NAME.fullmatch(name) or any(sign in value for sign in "\r\n\0"):
                raise FormatError(f"The header {name!r} cannot be sent.")
            if name.lower() not in _OF_THE_REQUEST:
                headers[name.lower()] = value.encode("utf-8", "replace")
        headers["content-type"] = "application/x-protobuf"
        if destination.compression in _COMPRESSIONS:
            headers["content-encoding"] = destination.compression
        tls = _tls(destination) if address.secure else None
        return cls(address, quote(address.target, safe=_AS_WRITTEN), headers, tls)

    def connection(self, timeout_s: float) -> http.client.HTTPConnection:
        if self.tls is None:
            return http.client.HTTPConnection(self.address.host, self.address.port, timeout=timeout_s)
        return http.client.HTTPSConnection(self.address.host, self.address.port, timeout=timeout_s, context=self.tls)


def _tls(destination: "Destination") -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=destination.certificate)
    except OSError as error:
        raise FormatError(f"The certificates in {destination.certificate} cannot be used: {error}") from error
    if destination.client_certificate:
        try:
            context.load_cert_chain(destination.client_certificate, destination.client_key, password="")
        except OSError as error:
            raise FormatError(f"{destination.client_certificate} cannot be used as client: {error}") from error
    return context


def _has_something_to_read(connection: http.client.HTTPConnection) -> bool:
    """Whether the server has sent bytes or closed the connection."""
    if connection.sock is None:
        return False  # it connects anew by itself
    with selectors.DefaultSelector() as selector:
        selector.register(connection.sock, selectors.EVENT_READ)
        return bool(selector.select(0))


def _body(response: http.client.HTTPResponse, until: float) -> tuple[bytes, bool]:
    """The body as far as an answer of a collector can be long, and whether that is all of it.

    A server that answers a byte at a time is given up at `until`, of the monotonic clock.

    Raises:
        http.client.IncompleteRead: It ends before it should.
        TimeoutError: It did not end in time.
    """
    expected, body = response.length, bytearray()
    while len(body) <= _LONGEST_ANSWER:
        if expected is not None and len(body) >= expected:
            return bytes(body), True
        left = _LONGEST_ANSWER + 1 - len(body)
        chunk = response.read1(left if expected is None else min(left, expected - len(body)))
        if not chunk:
            if expected is not None:
                raise http.client.IncompleteRead(bytes(body), expected - len(body))
            return bytes(body), True
        body += chunk
        if time.monotonic() > until:
            raise TimeoutError("the answer did not end in time")
    return bytes(body), False
