"""What a collector can do to a request; by gRPC an HTTP status becomes the code that the protocol pairs with it.

ok                     all taken
503                    any HTTP status; 3xx point to a login page
503 retry-after=2      with Retry-After in seconds (gRPC: RetryInfo)
503 retry-date=2       the same, as a date so many seconds ahead
RESOURCE_EXHAUSTED     any gRPC code; retry-info=2 adds RetryInfo; by HTTP as the status that is paired with it
partial 3              taken but 3 (the last ones of the request), as the answer says
warn                   all taken, and the answer holds a message all the same
empty                  all taken, the answer has no body
html, garbage          200 with a login page; 200 with bytes that are no answer; nothing taken
cut, lost              all taken, then the connection breaks in the middle of the answer, or before it
reset                  the connection is reset, nothing taken
tarpit                 never an answer, nothing taken
slow 2                 all taken, the answer comes after so many seconds
limit 5000             413 / RESOURCE_EXHAUSTED for a request over so many bytes (unpacked), else ok
poison NAME            400 / INVALID_ARGUMENT for a request with a span of that name, else ok
"""

from __future__ import annotations

from dataclasses import dataclass, field

import grpc
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

from tests.backends.sink import unpack

REFUSAL = "the collector's own words"  # what each refusal says

TAKE_NOTHING = ("html", "garbage", "reset", "tarpit")

_CODES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "UNIMPLEMENTED",
    413: "RESOURCE_EXHAUSTED",
    429: "UNAVAILABLE",
    499: "CANCELLED",
    500: "INTERNAL",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_STATUSES = {name: status for status, name in _CODES.items()} | {"UNAVAILABLE": 503}


@dataclass(frozen=True, slots=True)
class Behaviour:
    """One line of the table above, read."""

    kind: str
    number: float = 0
    name: str = ""
    options: dict[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, text: str) -> Behaviour:
        """What `text` asks for."""
        kind, _, rest = text.partition(" ")
        if kind == "poison":
            return cls(kind, name=rest)
        words = rest.split()
        options = {key: float(value) for key, _, value in (word.partition("=") for word in words if "=" in word)}
        numbers = [float(word) for word in words if "=" not in word]
        return cls(kind, numbers[0] if numbers else 0, options=options)

    def status(self, request: ExportTraceServiceRequest, size: int) -> int:
        """The HTTP status a request gets."""
        if self.kind == "limit":
            return 413 if size > self.number else 200
        if self.kind == "poison":
            return 400 if any(each.span.name == self.name for each in unpack(request)) else 200
        if self.kind.isdigit():
            return int(self.kind)
        return _STATUSES.get(self.kind, 500) if self.kind.isupper() else 200

    def code(self, status: int) -> grpc.StatusCode:
        """The gRPC code that stands for `status`."""
        name = self.kind if self.kind.isupper() else _CODES.get(status, "UNKNOWN")
        return grpc.StatusCode[name]

    def answer(self) -> bytes:
        """The body of a success."""
        if self.kind == "garbage":
            return b"\xff\xfe not an answer"
        answer = ExportTraceServiceResponse()
        if self.kind == "partial":
            answer.partial_success.rejected_spans = int(self.number)
        if self.kind in ("partial", "warn"):
            answer.partial_success.error_message = REFUSAL
        return b"" if self.kind == "empty" else answer.SerializeToString()

    def details(self, code: grpc.StatusCode) -> tuple[tuple[str, bytes], ...]:
        """The trailing metadata of a refusal by gRPC: how long to wait, where it says so."""
        seconds = next(iter(self.options.values()), None)
        if seconds is None:
            return ()
        status = Status(code=code.value[0], message=REFUSAL)
        packed = Any()
        packed.Pack(RetryInfo(retry_delay=Duration(seconds=int(seconds), nanos=int(seconds % 1 * 1e9))))
        status.details.append(packed)
        return (("grpc-status-details-bin", status.SerializeToString()),)
