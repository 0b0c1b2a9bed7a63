"""The record format of a segment file: what one append writes. See docs/journal-format.md.

    magic 4 | version 1 | type 1 | reserved 2 | payload length 4 | CRC32 4 | payload

All integers are little-endian. The CRC32 (zlib's) covers version to length and the payload, so that neither a
flipped length nor a flipped payload passes.
"""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any
from zlib import crc32

from crucible_trace_otel.errors import FormatError

__all__ = [
    "HANDED_OVER",
    "MAGIC",
    "VERSION",
    "AckState",
    "Damage",
    "Record",
    "RecordType",
    "ack_payload",
    "frame",
    "json_payload",
    "read_ack",
    "read_json",
    "read_span",
    "read_steps",
    "scan",
    "span_frame",
    "span_payload",
    "steps_payload",
]

HANDED_OVER = "handed over"
"""How a file was closed whose open spans another file of the same process goes on with."""

MAGIC = b"\xabCr\x1a"  # bytes that no UTF-8 text and no short protobuf field contains in this order
VERSION = 1

_CHECKED = struct.Struct("<BBHI")  # version, type, reserved, payload length
_CRC = struct.Struct("<I")
_AFTER_MAGIC = struct.Struct(_CHECKED.format + "I")
_HEADER_SIZE = len(MAGIC) + _CHECKED.size + _CRC.size
_PATIENCE = 64
_PATIENCE_AT_LEAST = 64 << 20
_SHORT = 4096
_REFERENCES = struct.Struct("<II")
_SPAN_HEAD = struct.Struct("<BBHIII")
_STEPS = struct.Struct("<Q16s8s")
_ACK = struct.Struct("<BQQII")


class RecordType(IntEnum):
    """What the payload of a record holds."""

    RESOURCE = 1
    """u32 number, then an OTLP ResourceSpans message without scopes; spans of this file refer to the number."""
    SCOPE = 2
    """u32 number, then an OTLP ScopeSpans message without spans."""
    SPAN = 3
    """u32 resource number, u32 scope number, then an OTLP Span message."""
    OPEN = 4
    """As SPAN, of a span that has not ended: the message has no end. A later one of the same span replaces it."""
    CLOSED = 5
    """JSON: the writer has closed its file, and how: `{"how": "exit", "error": "ValueError"}`."""
    STEPS = 6
    """u64 window number, 16 bytes trace id, 8 bytes span id, then an OTLP Span.Event message: a closed window."""
    GAP = 7
    """JSON: what could not be stored: `{"spans": 3, "from": ns, "to": ns, "why": "...", "traces": {hex id: 3}}`."""
    NOTE = 8
    """JSON: the first record of a segment, who writes it: `{"pid": .., "started": .., "boot": .., "host": ..}`."""
    ACK = 9
    """In an acks file: u8 state, u64 first offset, u64 end offset, u32 spans, u32 refused, then UTF-8 text."""


class AckState(IntEnum):
    """What became of the records of a range of a segment; a later record of the same range replaces it."""

    SENT = 1
    """The collector acknowledged them, less those it counted as refused."""
    REFUSED = 2
    """The collector turned all of them down for good."""
    RESEND = 3
    """They are to be sent again."""
    WITHHELD = 4
    """They stay here: they are of a rank that is not to be sent."""


@dataclass(slots=True)
class Record:
    """One intact record. Not frozen: that would double the time to make one, and one is made for each stored span."""

    version: int
    type: int
    payload: bytes
    offset: int = field(default=0, compare=False)
    """Where it begins in its file."""
    end: int = field(default=0, compare=False)
    """Where the next one begins."""


@dataclass(frozen=True, slots=True)
class Damage:
    """A run of bytes that are no intact record."""

    offset: int
    size: int
    torn: bool
    """Whether it is an unfinished record at the very end: what a killed or still writing process leaves."""


def frame(record_type: int, payload: bytes) -> bytes:
    """The bytes of one record around `payload`."""
    checked = _CHECKED.pack(VERSION, record_type, 0, len(payload))
    return b"".join((MAGIC, checked, _CRC.pack(crc32(payload, crc32(checked))), payload))


def span_frame(kind: RecordType, resource: int, scope: int, span: bytes) -> bytes:
    """`frame(kind, span_payload(resource, scope, span))`, in a third of the time: it is made for every span."""
    head = _SPAN_HEAD.pack(VERSION, kind, 0, len(span) + _REFERENCES.size, resource, scope)
    checksum = _CRC.pack(crc32(span, crc32(head)))
    return b"".join((MAGIC, head[: _CHECKED.size], checksum, head[_CHECKED.size :], span))


def scan(data: bytes, start: int = 0) -> Iterator[Record | Damage]:
    """Every intact record of a segment in order, and every run of bytes between them that is none.

    `data` is what was read from offset `start` of the file on; the offsets of records and damage are those in the file.

    After damage it goes on at the next intact record, so one bad byte costs one record. A file made to look like
    the beginnings of many long records would be checked again and again: once 64 times its size was checked in vain,
    only records up to 4 KiB are found.
    """
    position, damaged_from = 0, -1
    patience = max(_PATIENCE * len(data), _PATIENCE_AT_LEAST)
    while position < len(data):
        record, end = _read_at(data, position, len(data) if patience > 0 else _SHORT, start)
        if record is None:
            patience -= end - position
            if damaged_from < 0:
                damaged_from = position
            position = data.find(MAGIC, position + 1)
            if position < 0:
                break
            continue
        if damaged_from >= 0:
            yield Damage(start + damaged_from, position - damaged_from, torn=False)
            damaged_from = -1
        yield record
        position = end
    if damaged_from >= 0:
        yield Damage(start + damaged_from, len(data) - damaged_from, _is_unfinished(data, damaged_from))


def _read_at(data: bytes, position: int, longest: int, start: int) -> tuple[Record | None, int]:
    """The intact record of at most `longest` bytes that starts at `position`, or None; and up to where was checked."""
    body = position + _HEADER_SIZE
    if body > len(data) or not data.startswith(MAGIC, position):
        return None, position
    version, record_type, _, length, expected = _AFTER_MAGIC.unpack_from(data, position + len(MAGIC))
    end = body + length
    if end > len(data) or length > longest:
        return None, position
    payload = data[body:end]
    if crc32(payload, crc32(data[position + len(MAGIC) : body - _CRC.size])) != expected:
        return None, end
    return Record(version, record_type, payload, start + position, start + end), end


def _is_unfinished(data: bytes, position: int) -> bool:
    """Whether the bytes at `position` are the beginning of a record that the file ends within."""
    if not MAGIC.startswith(data[position : position + len(MAGIC)]):
        return False
    body = position + _HEADER_SIZE
    if body > len(data):
        return True
    length = _CHECKED.unpack_from(data, position + len(MAGIC))[3]
    return bool(body + length > len(data))


def span_payload(resource: int, scope: int, span: bytes) -> bytes:
    """The payload of SPAN and OPEN."""
    return _REFERENCES.pack(resource, scope) + span


def read_span(payload: bytes) -> tuple[int, int, bytes]:
    """The resource's number, the scope's number and the message of a SPAN or OPEN record.

    Raises:
        FormatError: The payload is too short.
    """
    resource, scope = _unpacked(_REFERENCES, payload)
    return resource, scope, payload[_REFERENCES.size :]


def steps_payload(window: int, trace_id: bytes, span_id: bytes, event: bytes) -> bytes:
    """The payload of STEPS: a closed window, and the span whose event it is."""
    return _STEPS.pack(window, trace_id, span_id) + event


def read_steps(payload: bytes) -> tuple[int, bytes, bytes, bytes]:
    """The window's number, the trace id, the span id and the event of a STEPS record.

    Raises:
        FormatError: The payload is too short.
    """
    window, trace_id, span_id = _unpacked(_STEPS, payload)
    return window, trace_id, span_id, payload[_STEPS.size :]


def json_payload(content: Mapping[str, Any]) -> bytes:
    """The payload of CLOSED, GAP and NOTE."""
    return json.dumps(content, separators=(",", ":")).encode()


def read_json(payload: bytes) -> dict[str, Any]:
    """The content of a CLOSED, GAP or NOTE record.

    Raises:
        FormatError: The payload is no JSON object.
    """
    try:
        content = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"A record of {len(payload)} bytes is no JSON: {error}") from error
    if not isinstance(content, dict):
        raise FormatError("A record's JSON is no object.")
    return content


def ack_payload(  # noqa: PLR0917 - the fields of the record, in their order
    state: AckState, first: int, end: int, spans: int, refused: int = 0, said: str = ""
) -> bytes:
    """The payload of ACK: what became of the `spans` in the records from offset `first` to `end`, and the answer."""
    return _ACK.pack(state, first, end, spans, refused) + said.encode("utf-8", "replace")


def read_ack(payload: bytes) -> tuple[AckState, int, int, int, int, str]:
    """State, first offset, end offset, spans, refused and the collector's words of an ACK record.

    Raises:
        FormatError: The payload is none.
    """
    state, first, end, spans, refused = _unpacked(_ACK, payload)
    if state not in set(AckState):
        raise FormatError(f"An acknowledgement of the unknown state {state}.")
    return AckState(state), first, end, spans, refused, payload[_ACK.size :].decode("utf-8", "replace")


def _unpacked(form: struct.Struct, payload: bytes) -> tuple[Any, ...]:
    if len(payload) < form.size:
        raise FormatError(f"A record of {len(payload)} bytes, which needs {form.size}.")
    return form.unpack_from(payload)
