"""The record format of a segment file: what one append writes. See docs/journal-format.md.

    magic 4 | version 1 | type 1 | reserved 2 | payload length 4 | CRC32 4 | payload

All integers are little-endian. The CRC32 (zlib's) covers version to length and the payload, so that neither a
flipped length nor a flipped payload passes.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from zlib import crc32

__all__ = ["MAGIC", "VERSION", "Damage", "Record", "RecordType", "frame", "scan"]

MAGIC = b"\xabCr\x1a"  # bytes that no UTF-8 text and no short protobuf field contains in this order
VERSION = 1

_CHECKED = struct.Struct("<BBHI")  # version, type, reserved, payload length
_CRC = struct.Struct("<I")
_HEADER_SIZE = len(MAGIC) + _CHECKED.size + _CRC.size
_PATIENCE = 64
_PATIENCE_AT_LEAST = 64 << 20
_SHORT = 4096


class RecordType(IntEnum):
    """What the payload of a record holds."""

    RESOURCE = 1
    """u32 number, then an OTLP ResourceSpans message without scopes; spans of this file refer to the number."""
    SCOPE = 2
    """u32 number, then an OTLP ScopeSpans message without spans."""
    SPAN = 3
    """u32 resource number, u32 scope number, then an OTLP Span message."""


@dataclass(frozen=True, slots=True)
class Record:
    """One intact record."""

    version: int
    type: int
    payload: bytes


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


def scan(data: bytes) -> Iterator[Record | Damage]:
    """Every intact record of a segment in order, and every run of bytes between them that is none.

    After damage it goes on at the next intact record, so one bad byte costs one record. A file made to look like
    the beginnings of many long records would be checked again and again: once 64 times its size was checked in vain,
    only records up to 4 KiB are found.
    """
    position, damaged_from = 0, -1
    patience = max(_PATIENCE * len(data), _PATIENCE_AT_LEAST)
    while position < len(data):
        record, end = _read_at(data, position, len(data) if patience > 0 else _SHORT)
        if record is None:
            patience -= end - position
            if damaged_from < 0:
                damaged_from = position
            position = data.find(MAGIC, position + 1)
            if position < 0:
                break
            continue
        if damaged_from >= 0:
            yield Damage(damaged_from, position - damaged_from, torn=False)
            damaged_from = -1
        yield record
        position = end
    if damaged_from >= 0:
        yield Damage(damaged_from, len(data) - damaged_from, _is_unfinished(data, damaged_from))


def _read_at(data: bytes, position: int, longest: int) -> tuple[Record | None, int]:
    """The intact record of at most `longest` bytes that starts at `position`, or None; and up to where was checked."""
    body = position + _HEADER_SIZE
    if not data.startswith(MAGIC, position) or body > len(data):
        return None, position
    checked = data[position + len(MAGIC) : body - _CRC.size]
    version, record_type, _, length = _CHECKED.unpack(checked)
    end = body + length
    if end > len(data) or length > longest:
        return None, position
    payload = data[body:end]
    if crc32(payload, crc32(checked)) != _CRC.unpack_from(data, body - _CRC.size)[0]:
        return None, end
    return Record(version, record_type, payload), end


def _is_unfinished(data: bytes, position: int) -> bool:
    """Whether the bytes at `position` are the beginning of a record that the file ends within."""
    if not MAGIC.startswith(data[position : position + len(MAGIC)]):
        return False
    body = position + _HEADER_SIZE
    if body > len(data):
        return True
    length = _CHECKED.unpack_from(data, position + len(MAGIC))[3]
    return bool(body + length > len(data))
