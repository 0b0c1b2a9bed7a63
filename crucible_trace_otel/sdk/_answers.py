"""Reading what a collector answers by HTTP: the official exporter takes a redirect or a partial success for success."""

from typing import Any

import requests
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from crucible_trace_otel.errors import warn_once

__all__ = ["ReadingSession"]

_ALL = 1 << 62
_LONGEST = 300
_TAKEN_FOR_SUCCESS = (2, 3)  # hundreds of a status, by the exporter
_REDIRECT = 3


class ReadingSession(requests.Session):
    """A session that follows no redirect and knows how much of its last request was not taken.

    Args:
        what: It sends: `spans`.
    """

    def __init__(self, what: str = "spans") -> None:
        super().__init__()
        self._what = what
        self.rejected = 0
        """What the last answer says was not taken; very many where it is no answer of a collector."""

    def request(self, method: Any, url: Any, *arguments: Any, **options: Any) -> requests.Response:
        """Send as `requests` does, and read the answer."""
        response = super().request(method, url, *arguments, **{**options, "allow_redirects": False})
        self.rejected, said = _read(response)
        if self.rejected:
            warn_once(f"answer {url!r} {said}", f"{response.url} did not take all {self._what}: {said[:_LONGEST]}")
        return response


def _read(response: requests.Response) -> tuple[int, str]:
    """How much an answer with a success status did not take, and why: the answers to all signals are alike."""
    kind = response.status_code // 100
    if kind not in _TAKEN_FOR_SUCCESS:
        return 0, ""
    if kind == _REDIRECT:
        return _ALL, f"it answers {response.status_code} and points to {response.headers.get('Location', 'nowhere')}"
    try:
        partial = ExportTraceServiceResponse.FromString(response.content).partial_success
    except DecodeError:
        return _ALL, f"it answers {response.status_code} with something that is no OTLP; is it a collector?"
    return max(0, partial.rejected_spans), f"{partial.rejected_spans} were rejected: {partial.error_message}"
