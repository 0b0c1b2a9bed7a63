"""OTLP by gRPC: `grpcio` carries the stored bytes as they are, no protobuf library is loaded.

No proxy is used. `grpcio` is imported at the first request.
"""

import re
import sys
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from crucible_trace_otel._version import __version__
from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.ship.answers import Answer, Outcome, cannot_send, connection_failed, grpc_answer, taken

if TYPE_CHECKING:
    from collections.abc import Callable

    from crucible_trace_otel.ship.destination import Destination

__all__ = ["GrpcTransport"]

_EXPORT = "/opentelemetry.proto.collector.trace.v1.TraceService/Export"
_DETAILS = "grpc-status-details-bin"
_OPTIONS: Final = (
    ("grpc.primary_user_agent", f"crucible-trace-otel/{__version__}"),
    ("grpc.enable_http_proxy", 0),
    # Who sends decides when to try again; a shared channel would remember its own, growing wait.
    ("grpc.use_local_subchannel_pool", 1),
)
_DEFAULT_PORT = 4317
_HEADER_NAME = re.compile(r"[0-9a-z_.-]+")


class GrpcTransport:
    """A way to a collector by gRPC."""

    def __init__(self, destination: "Destination") -> None:
        self._destination = destination
        self._grpc: Any = None
        self._channel: Any = None
        self._export: Callable[..., bytes] | None = None
        self._options: dict[str, Any] = {}

    def send(self, body: bytes) -> Answer:
        """Send one serialized ExportTraceServiceRequest and wait for the answer; never raises."""
        answer = self._sent(body)
        if answer.outcome in (Outcome.RETRY, Outcome.PAUSED):
            self.close()
        return replace(answer, said=self._destination.without_secrets(answer.said))

    def close(self) -> None:
        """Let the connection go; a later `send()` makes a new one. Never raises."""
        channel, self._channel, self._export = self._channel, None, None
        if channel is not None:
            with suppress(Exception):
                channel.close()

    def _sent(self, body: bytes) -> Answer:
        try:
            export = self._export or self._connected()
        except ImportError as error:
            return cannot_send(f"Sending by gRPC needs the package grpcio: {error}")
        except Exception as error:  # noqa: BLE001 - what a setting can be wrong in is for grpcio to know
            return cannot_send(error)
        try:
            return taken(export(body, timeout=self._destination.timeout_s, **self._options))
        except self._grpc.RpcError as error:
            return _refusal(error)
        except Exception as error:  # noqa: BLE001 - an unreadable answer too: the spans stay and are sent later
            return connection_failed(error)

    def _connected(self) -> "Callable[..., bytes]":
        sys.path.extend(folder for folder in self._destination.paths if folder not in sys.path)
        import grpc  # noqa: PLC0415 - 25 MB that only who sends by gRPC should pay

        self._grpc = grpc
        address = self._destination.address()
        headers = {name.lower(): value for name, value in self._destination.headers.items()}
        for name, value in headers.items():
            if not (_HEADER_NAME.fullmatch(name) and value.isascii() and value.isprintable()):
                raise FormatError(f"The header {name!r} cannot be sent by gRPC.")
        if address.authorization:
            headers.setdefault("authorization", address.authorization)
        compressions = {"gzip": grpc.Compression.Gzip, "deflate": grpc.Compression.Deflate}
        compression = compressions.get(self._destination.compression, grpc.Compression.NoCompression)
        self._options = {"metadata": tuple(headers.items()), "compression": compression}
        host = f"[{address.host}]" if ":" in address.host else address.host
        target = f"{host}:{address.port or _DEFAULT_PORT}"
        if address.secure:
            self._channel = grpc.secure_channel(target, self._credentials(), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(target, _OPTIONS)
        # Without serializers the bytes go and come as they are.
        export: Callable[..., bytes] = self._channel.unary_unary(_EXPORT)
        self._export = export
        return export

    def _credentials(self) -> Any:
        one = self._destination
        authorities, key, certificate = (
            Path(file).read_bytes() if file else None
            for file in (one.certificate, one.client_key, one.client_certificate)
        )
        return self._grpc.ssl_channel_credentials(authorities, key, certificate)


def _refusal(error: Any) -> Answer:
    """What an RpcError of a call means."""
    metadata = dict(error.trailing_metadata() or ())
    return grpc_answer(error.code().name, error.details() or "", metadata.get(_DETAILS))
