"""What counting and keeping read of a serialized OTLP Span: which trace it is of, and what it is about."""

from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.messages import text_of
from crucible_trace_otel.journal.wire import fields
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["Facts", "end_of", "facts_of", "may_have_failed", "trace_of"]

# Field numbers of opentelemetry-proto's trace/v1/trace.proto.
_TRACE_ID, _PARENT, _NAME, _END, _ATTRIBUTE, _STATUS = 1, 4, 5, 8, 9, 15
_STATUS_CODE, _ERROR = 3, 2
_KEY, _VALUE = 1, 2
# The usual beginning of a span: tag and length of each id, or the tag of the name.
_TRACE_FIRST, _THEN_SPAN, _THEN_PARENT, _THEN_NAME = b"\x0a\x10", b"\x12\x08", b"\x22\x08", b"\x2a"
_SAYS_ERROR: Final = bytes((_STATUS_CODE << 3, _ERROR))
_TOLD: Final = {key.encode(): key for key in (attr.CRUCIBLE_ABOUT, attr.CRUCIBLE_OPERATION_NAME, attr.CRUCIBLE_RUN_ID)}


@dataclass(slots=True)
class Facts:
    """What one span says about itself; empty where it does not, or is damaged."""

    name: str = ""
    end_ns: int = 0
    has_failed: bool = False
    operation: str = ""
    about: str = ""
    run_id: str = ""


def trace_of(span: bytes) -> tuple[str, bool]:
    """The trace id as hex digits, and whether the span has no parent; of a damaged one what is whole. Never raises."""
    if span[:2] == _TRACE_FIRST and span[18:20] == _THEN_SPAN and span[28:29] == _THEN_NAME:
        return span[2:18].hex(), True
    if span[:2] == _TRACE_FIRST and span[18:20] == _THEN_SPAN and span[28:30] == _THEN_PARENT and any(span[30:38]):
        return span[2:18].hex(), False
    trace_id = b""
    with suppress(FormatError):
        for number, _, value in fields(span):
            if number > _PARENT:
                break
            if number == _TRACE_ID and isinstance(value, bytes):
                trace_id = value
            elif number == _PARENT and isinstance(value, bytes) and any(value):
                return trace_id.hex(), False
    return trace_id.hex(), True


def end_of(span: bytes) -> int:
    """When the span ended, nanoseconds since 1970; 0 where it does not say. Never raises."""
    with suppress(FormatError):
        for number, _, value in fields(span):
            if number == _END and isinstance(value, bytes):
                return int.from_bytes(value, "little")
            if number > _END:  # what another encoder may write first
                return facts_of(span).end_ns
    return 0


def may_have_failed(span: bytes) -> bool:
    """False where the status cannot be an error, told without taking the span apart."""
    return _SAYS_ERROR in span


def facts_of(span: bytes) -> Facts:
    """The facts of a span. Never raises."""
    facts = Facts()
    with suppress(FormatError):
        for number, _, value in fields(span):
            if not isinstance(value, bytes):
                continue
            if number == _NAME:
                facts.name = value.decode("utf-8", "replace")
            elif number == _END:
                facts.end_ns = int.from_bytes(value, "little")
            elif number == _ATTRIBUTE:
                _tell(value, facts)
            elif number == _STATUS:
                facts.has_failed = any(part == _STATUS_CODE and code == _ERROR for part, _, code in fields(value))
    return facts


def _tell(pair: bytes, facts: Facts) -> None:
    """Take in one attribute, where it is one of those that are asked for.

    Raises:
        FormatError: It is no message.
    """
    raw = {number: value for number, _, value in fields(pair) if isinstance(value, bytes)}
    match _TOLD.get(raw.get(_KEY, b"")):
        case attr.CRUCIBLE_ABOUT:
            facts.about = text_of(raw.get(_VALUE))
        case attr.CRUCIBLE_OPERATION_NAME:
            facts.operation = text_of(raw.get(_VALUE))
        case attr.CRUCIBLE_RUN_ID:
            facts.run_id = text_of(raw.get(_VALUE))
