"""Asking a backend over HTTP, and reading the OTLP it answers with."""

from __future__ import annotations

import base64
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from typing import TYPE_CHECKING, Any, TypeVar

from google.protobuf.json_format import ParseDict
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.backends.sink import ReceivedSpan, unpack

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
IDENTIFIERS = ("traceId", "spanId", "parentSpanId")


def get(url: str, *, accept: str = "application/json", **parameters: str) -> bytes | None:
    """Return the body of the answer, or None where the backend says 404."""
    full = f"{url}?{urllib.parse.urlencode(parameters)}" if parameters else url
    request = urllib.request.Request(full, headers={"Accept": accept})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=30) as answer:
            return bytes(answer.read())
    except urllib.error.HTTPError as error:
        with error:
            if error.code == 404:
                return None
            raise AssertionError(f"{error.code} for {full}: {error.read()[:500]!r}") from None


def get_json(url: str, **parameters: str) -> Any:
    """Return the decoded answer, or None where the backend says 404."""
    body = get(url, **parameters)
    return None if body is None else json.loads(body)


def until(ask: Callable[[], T], enough: Callable[[T], bool], *, seconds: float = 60.0) -> T:
    """Ask again until the answer is enough or the time is over; return the last answer either way."""
    deadline = time.monotonic() + seconds
    while True:
        answer = ask()
        if enough(answer) or time.monotonic() > deadline:
            return answer
        time.sleep(0.5)


def spans_of_otlp_json(document: dict[str, Any]) -> list[ReceivedSpan]:
    """Return the spans of an OTLP JSON document, whose ids are hexadecimal where protobuf's own JSON has base64."""
    return unpack(ParseDict(_with_base64_ids(document), ExportTraceServiceRequest(), ignore_unknown_fields=True))


def _with_base64_ids(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: base64.b64encode(bytes.fromhex(each)).decode() if key in IDENTIFIERS else _with_base64_ids(each)
            for key, each in value.items()
        }
    return [_with_base64_ids(each) for each in value] if isinstance(value, list) else value
