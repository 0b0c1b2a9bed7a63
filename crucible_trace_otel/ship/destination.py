"""Where stored spans are sent, and how: everything a transport is made from, in one value that fits through a pipe."""

import json
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Final, Protocol
from urllib.parse import unquote, urlsplit

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.ship.answers import Answer

__all__ = ["TEXT_LIMIT", "Address", "Destination", "Transport", "transport"]

_KINDS: Final[Mapping[str, Any]] = MappingProxyType(
    {
        "endpoint": str,
        "protocol": str,
        "headers": dict,
        "timeout_s": (int, float),
        "compression": str,
        "certificate": (str, type(None)),
        "client_key": (str, type(None)),
        "client_certificate": (str, type(None)),
        "text_limit": int,
        "ranks": str,
        "paths": list,
    }
)
_SCHEMES = ("http", "https")
_SHORTEST_SECRET = 4
TEXT_LIMIT: Final = 2_048
"""Bytes of a text that Grafana Tempo keeps, unless it is told otherwise."""


class Transport(Protocol):
    """A way to a collector."""

    def send(self, body: bytes) -> Answer:
        """Send one serialized ExportTraceServiceRequest and wait for the answer; never raises."""

    def close(self) -> None:
        """Let the connection go; a later `send()` makes a new one. Never raises."""


@dataclass(frozen=True, slots=True)
class Address:
    """An endpoint taken apart."""

    secure: bool
    host: str
    port: int | None
    target: str
    """Path and query."""
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    @property
    def authorization(self) -> str | None:
        """The Authorization header for its user and password."""
        if not (self.user or self.password):
            return None
        return f"Basic {b64encode(f'{self.user}:{self.password}'.encode()).decode()}"


@dataclass(frozen=True, slots=True, repr=False)
class Destination:
    """Where to send. Its text forms, `to_json()` apart, show neither headers nor passwords."""

    endpoint: str
    """By HTTP the whole URL, path included; by gRPC `https://host:port`, or without TLS `http://host:port`."""
    protocol: str = "http/protobuf"
    """`http/protobuf` or `grpc`."""
    headers: Mapping[str, str] = field(default_factory=dict)
    timeout_s: float = 10.0
    """For one request, answer included."""
    compression: str = "none"
    """`none`, `gzip` or `deflate`."""
    certificate: str | None = None
    """PEM file with the authorities to trust; the system's where None."""
    client_key: str | None = None
    """PEM file with the private key of the client's certificate."""
    client_certificate: str | None = None
    """PEM file that proves the client to the collector."""
    text_limit: int = TEXT_LIMIT
    """Bytes of a text that are sent: of a longer one its beginning, its length and SHA-256. 0 for all of it."""
    ranks: str = "all"
    """Of which processes of a run spans are sent: see `RankChoice`."""
    paths: tuple[str, ...] = ()
    """Folders to look for the package `grpc` in, after those of `sys.path`."""

    def __repr__(self) -> str:
        return f"Destination({self.shown!r}, {self.protocol!r})"

    @property
    def shown(self) -> str:
        """The endpoint as it may be printed: without user, password, query and fragment."""
        scheme, separator, rest = self.endpoint.rpartition("://")
        host, slash, path = rest.partition("#")[0].partition("?")[0].partition("/")
        return f"{scheme}{separator}{host.rpartition('@')[2]}{slash}{path}"

    def address(self) -> Address:
        """The endpoint taken apart; without a scheme it is one without TLS.

        Raises:
            FormatError: It has no host, or no port that is a number.
        """
        text = self.endpoint if "://" in self.endpoint else f"http://{self.endpoint}"
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise FormatError(f"{self.shown} is no address of a collector.") from error
        if not host or parts.scheme not in _SCHEMES:
            raise FormatError(f"{self.shown} is no http:// or https:// address of a collector.")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        credentials = [unquote(part or "") for part in (parts.username, parts.password)]
        return Address(parts.scheme == "https", host, port, target, *credentials)

    def without_secrets(self, text: str) -> str:
        """`text` with headers and passwords taken out: some servers quote a request in their answer."""
        try:
            address = self.address()
            ours = [address.password, address.authorization or "", *self.headers.values()]
        except FormatError:
            ours = list(self.headers.values())
        ours += [secret.rpartition(" ")[2] for secret in ours]  # the token of `Bearer <token>`
        for secret in sorted(ours, key=len, reverse=True):
            text = text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
            for length in range(len(secret) - 1, _SHORTEST_SECRET - 1, -1):
                if text.endswith(secret[:length]):  # a long answer is cut, perhaps in the middle of it
                    text = f"{text[:-length]}***"
        return text

    def to_json(self) -> str:
        """All of it, secrets too, as `from_json()` reads it: for a pipe, not for a log."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Destination":
        """What `to_json()` wrote.

        Raises:
            FormatError: It did not write this. The message does not repeat the text.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError):
            content = None
        if not (isinstance(content, dict) and "endpoint" in content and all(_fits(*pair) for pair in content.items())):
            raise FormatError("These are no settings of a destination.")
        return cls(**{**content, "paths": tuple(content.get("paths", ()))})


def _fits(key: str, value: object) -> bool:
    inner = [*value, *value.values()] if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, _KINDS.get(key, ())) and all(isinstance(each, str) for each in inner)


def transport(destination: Destination) -> Transport:
    """A way to `destination`; nothing is connected, and no gRPC loaded, before the first request. Never raises."""
    if destination.protocol == "grpc":
        from crucible_trace_otel.ship.grpc import GrpcTransport  # noqa: PLC0415 - only who needs it

        return GrpcTransport(destination)
    from crucible_trace_otel.ship.http import HttpTransport  # noqa: PLC0415

    return HttpTransport(destination)
