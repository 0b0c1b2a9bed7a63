"""One sentence about a collector that does not take what is sent, instead of the exporters' line for each attempt."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from crucible_trace_otel.errors import warn_once

__all__ = ["Speaker", "speaking_for"]

_EXPORTERS = (
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "opentelemetry.exporter.otlp.proto.http._log_exporter",
    "opentelemetry.exporter.otlp.proto.http.metric_exporter",
    "opentelemetry.exporter.otlp.proto.grpc.exporter",
)
_LONGEST = 300
_sending = threading.local()


class Speaker(Protocol):
    """Who sends."""

    endpoint: str
    what: str
    closed: bool


class _OneSentence(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        """Leave out what an exporter of ours says; those of the user, on other threads, speak for themselves."""
        speaker: Speaker | None = getattr(_sending, "speaker", None)
        if speaker is None:
            return True
        if not speaker.closed:  # what is given up at the end is told in numbers
            said = " ".join(record.getMessage().split())[:_LONGEST]
            what = f"{speaker.endpoint} did not take {speaker.what} at the first try: {said}"
            warn_once(f"sending {speaker.endpoint}", what)
        return False


@contextmanager
def speaking_for(speaker: Speaker) -> Iterator[None]:
    """While `speaker` sends on this thread, say what its exporter says once."""
    _sending.speaker = speaker
    try:
        yield
    finally:
        _sending.speaker = None


for _name in _EXPORTERS:
    logging.getLogger(_name).addFilter(_OneSentence())
