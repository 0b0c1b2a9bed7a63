"""What a collector's answer means for the spans that were sent: taken, later, never, or not like this.

The rules are those of the OTLP specification, with one more: an answer that no collector gives (a redirect, a login
page) never counts as success.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from enum import Enum
from typing import Any, Final

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.wire import fields

__all__ = [
    "LONGEST_WAIT_S",
    "Answer",
    "Outcome",
    "cannot_send",
    "connection_failed",
    "grpc_answer",
    "http_answer",
    "taken",
]

LONGEST_WAIT_S: Final = 3600.0
"""No server is waited for longer than this, whatever it asks for."""

_LONGEST_WORDS = 300
_TRY_LATER = frozenset({429, 502, 503, 504})
_PAUSE = frozenset({401, 403, 404, 405, 407})
_BAD_REQUEST, _TOO_LARGE = 400, 413
_GRPC_TRY_LATER = frozenset({"UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "DATA_LOSS"})
_GRPC_PAUSE = frozenset({"UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"})
_UNREADABLE = re.compile("unmarshal|deserializ|protobuf|proto:", re.IGNORECASE)
_RETRY_INFO = b"type.googleapis.com/google.rpc.RetryInfo"


class Outcome(Enum):
    """What must become of the spans of a request."""

    TAKEN = "taken"
    """They have arrived, less those the answer counts as rejected."""
    RETRY = "retry"
    """The same request later."""
    PAUSED = "paused"
    """Nothing more to this destination for a while: it is the wrong one, or does not let us in."""
    REFUSED = "refused"
    """Never this request again."""
    TOO_LARGE = "too large"
    """The same spans in smaller requests."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, read."""

    outcome: Outcome
    rejected: int = 0
    """Spans of a taken request that the collector did not keep."""
    retry_after_s: float | None = None
    """How long it asks to wait; at most an hour."""
    said: str = ""
    """What it was, in one short line, with the server's own words; no secret of ours."""
    may_be_one: bool = False
    """Whether a refusal may be about a single span of the request."""


def taken(body: bytes) -> Answer:
    """What an ExportTraceServiceResponse says.

    Raises:
        FormatError: The bytes are none.
    """
    rejected, said = 0, ""
    for number, _, value in fields(body):
        if number != 1 or not isinstance(value, bytes):
            continue
        for inner, _, content in fields(value):
            if inner == 1 and isinstance(content, int):
                rejected = content if content < 1 << 63 else 0
            elif inner == 2 and isinstance(content, bytes):  # noqa: PLR2004 - error_message
                said = _line(content)
    return Answer(Outcome.TAKEN, rejected, said=f"rejected {rejected}: {said}" if rejected else said)


def http_answer(status: int, headers: Mapping[str, str], body: bytes) -> Answer:
    """What an HTTP answer means; never raises.

    Args:
        status: Its status code.
        headers: Its headers, their names in lower case.
        body: All of its body.
    """
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if 200 <= status < 300:  # noqa: PLR2004
        return _success(status, kind, body)
    said = f"HTTP {status}{_words(kind, body)}"
    if 300 <= status < 400:  # noqa: PLR2004
        said = f"HTTP {status}, a redirect to {_place(headers.get('location', 'nowhere'))}"
        return Answer(Outcome.PAUSED, said=said)
    if status in _TRY_LATER:
        return Answer(Outcome.RETRY, retry_after_s=_retry_after(headers.get("retry-after", "")), said=said)
    if status in _PAUSE:
        return Answer(Outcome.PAUSED, said=said)
    if status == _TOO_LARGE:
        return Answer(Outcome.TOO_LARGE, said=said)
    return Answer(Outcome.REFUSED, said=said, may_be_one=status == _BAD_REQUEST)


def grpc_answer(code: str, said: str, status_details: bytes | None) -> Answer:
    """What a gRPC status other than OK means; never raises.

    Args:
        code: The name of the code, such as `UNAVAILABLE`.
        said: The server's message.
        status_details: Its `grpc-status-details-bin`, a google.rpc.Status message.
    """
    words = _line(said.encode("utf-8", "replace"))
    said = f"gRPC {code}: {words}" if words else f"gRPC {code}"
    wait = _retry_info(status_details or b"")
    if code in _GRPC_TRY_LATER or (code == "RESOURCE_EXHAUSTED" and wait is not None):
        return Answer(Outcome.RETRY, retry_after_s=wait, said=said)
    if code == "RESOURCE_EXHAUSTED":
        return Answer(Outcome.TOO_LARGE, said=said)
    if code in _GRPC_PAUSE:
        return Answer(Outcome.PAUSED, said=said)
    # grpc-go, so the Collector, and grpcio answer INTERNAL to a request with one span that they cannot read.
    is_unreadable = code == "INTERNAL" and _UNREADABLE.search(words) is not None
    return Answer(Outcome.REFUSED, said=said, may_be_one=code == "INVALID_ARGUMENT" or is_unreadable)


def connection_failed(error: BaseException) -> Answer:
    """What an error of the connection means: the same request later."""
    return Answer(Outcome.RETRY, said=_line(f"{type(error).__name__}: {error}".encode("utf-8", "replace")))


def cannot_send(why: object) -> Answer:
    """What a setting means that no request can be made from."""
    return Answer(Outcome.PAUSED, said=_line(str(why).encode("utf-8", "replace")))


def _success(status: int, kind: str, body: bytes) -> Answer:
    try:
        if "protobuf" in kind or kind in ("", "application/octet-stream"):
            return taken(body)
        if kind == "application/json":
            return _taken_in_json(body)
    except FormatError as error:
        return Answer(Outcome.RETRY, said=f"HTTP {status} with an answer that cannot be read: {error}")
    if not body and "html" not in kind:
        return Answer(Outcome.TAKEN)
    return Answer(Outcome.PAUSED, said=f"HTTP {status} with {_line(kind.encode())}; is it a collector?")


def _taken_in_json(body: bytes) -> Answer:
    """What an answer says from a collector that speaks JSON only."""
    try:
        partial: Any = json.loads(body or b"{}").get("partialSuccess") or {}
        rejected, said = int(partial.get("rejectedSpans", 0)), str(partial.get("errorMessage", ""))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise FormatError("no OTLP in it") from error
    return Answer(Outcome.TAKEN, max(0, rejected), said=_line(said.encode("utf-8", "replace")))


def _words(kind: str, body: bytes) -> str:
    """The server's message: a google.rpc.Status, or its first plain words."""
    message = body
    if "protobuf" in kind:
        try:
            message = b"".join(value for number, _, value in fields(body) if number == 2 and isinstance(value, bytes))  # noqa: PLR2004
        except FormatError:
            return ""
    elif "html" in kind:
        return ", a web page"
    words = _line(message)
    return f": {words}" if words else ""


def _line(text: bytes) -> str:
    """The beginning of `text` as one printable line."""
    shown = text[: 4 * _LONGEST_WORDS].decode("utf-8", "replace")
    return " ".join("".join(sign if sign.isprintable() else " " for sign in shown).split())[:_LONGEST_WORDS]


def _place(location: str) -> str:
    """A redirect's target without what may be secret in it."""
    scheme, separator, rest = location.partition("?")[0].rpartition("://")
    return _line(f"{scheme}{separator}{rest.rpartition('@')[2]}".encode("utf-8", "replace"))


def _retry_after(text: str) -> float | None:
    """The wait that Retry-After asks for, in seconds or as a date."""
    try:
        seconds = float(text)
    except ValueError:
        try:
            date = parsedate_to_datetime(text)
        except (ValueError, TypeError, IndexError, OverflowError):
            return None
        date = date if date.tzinfo else date.replace(tzinfo=timezone.utc)
        seconds = (date - datetime.now(timezone.utc)).total_seconds()
    return _bounded(seconds)


def _retry_info(status: bytes) -> float | None:
    """The wait that a google.rpc.RetryInfo among the details of a google.rpc.Status asks for."""
    try:
        for number, _, detail in fields(status):
            if number != 3 or not isinstance(detail, bytes):  # noqa: PLR2004 - Status.details
                continue
            content = {inner: value for inner, _, value in fields(detail)}
            if content.get(1) == _RETRY_INFO:
                return _retry_delay(content.get(2, b""))
    except FormatError:
        return None
    return None


def _retry_delay(retry_info: int | bytes) -> float | None:
    seconds = 0.0
    for number, _, duration in fields(retry_info if isinstance(retry_info, bytes) else b""):
        if number == 1 and isinstance(duration, bytes):
            parts = {inner: value for inner, _, value in fields(duration) if isinstance(value, int)}
            seconds = parts.get(1, 0) + parts.get(2, 0) / 1e9
            if parts.get(1, 0) >= 1 << 63:  # a negative one
                seconds = 0.0
    return _bounded(seconds)


def _bounded(seconds: float) -> float | None:
    """`seconds` between 0 and an hour; None where it is not a number."""
    return None if seconds != seconds else min(max(0.0, seconds), LONGEST_WAIT_S)  # noqa: PLR0124 - NaN
