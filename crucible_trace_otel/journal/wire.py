"""Protobuf's wire format: the fields of a message, read and written with the standard library alone.

The format is documented at https://protobuf.dev/programming-guides/encoding/.
"""

import struct
from collections.abc import Iterator
from typing import Final

from crucible_trace_otel.errors import FormatError

__all__ = ["bytes_field", "double_field", "fields", "fixed64_field", "read_varint", "varint", "varint_field"]

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
_SIZES: Final = {_FIXED64: 8, _FIXED32: 4}
_MOST_BYTES = 10  # of a varint
_ONE_BYTE: Final = tuple(bytes((number,)) for number in range(128))
_DOUBLE = struct.Struct("<d")


def varint(number: int) -> bytes:
    """`number`, 0 or more and below 2**64, as a varint."""
    if number < len(_ONE_BYTE):
        return _ONE_BYTE[number]
    groups = bytearray()
    while number >= 128:  # noqa: PLR2004 - seven bits a byte
        groups.append(number & 127 | 128)
        number >>= 7
    groups.append(number)
    return bytes(groups)


def bytes_field(number: int, value: bytes) -> bytes:
    """A length-delimited field: bytes, UTF-8 text or a message."""
    return b"".join((varint(number << 3 | _LENGTH), varint(len(value)), value))


def varint_field(number: int, value: int) -> bytes:
    """A field of an integer, enum or bool; a negative integer takes ten bytes, as protobuf has it."""
    return varint(number << 3 | _VARINT) + varint(value & 0xFFFFFFFFFFFFFFFF)


def fixed64_field(number: int, value: int) -> bytes:
    """A field of a fixed64, such as OTLP's times."""
    return varint(number << 3 | _FIXED64) + value.to_bytes(8, "little")


def double_field(number: int, value: float) -> bytes:
    """A field of a double."""
    return varint(number << 3 | _FIXED64) + _DOUBLE.pack(value)


def read_varint(message: bytes, position: int) -> tuple[int, int]:
    """The varint at `position`, and the position behind it.

    Raises:
        FormatError: There is none.
    """
    value = shift = 0
    for at in range(position, min(len(message), position + _MOST_BYTES)):
        byte = message[at]
        value |= (byte & 127) << shift
        if byte < 128:  # noqa: PLR2004
            return value, at + 1
        shift += 7
    raise FormatError(f"No number ends at byte {position} of a message of {len(message)}.")


def fields(message: bytes) -> Iterator[tuple[int, int, int | bytes]]:
    """The fields of a message in their order: number, wire type, and value.

    The value is an int for a varint (unsigned) and the raw bytes for everything else.

    Raises:
        FormatError: The bytes are no message.
    """
    position = 0
    while position < len(message):
        tag, position = read_varint(message, position)
        kind = tag & 7
        if kind == _VARINT:
            value, position = read_varint(message, position)
            yield tag >> 3, kind, value
            continue
        if kind == _LENGTH:
            size, position = read_varint(message, position)
        elif kind in _SIZES:
            size = _SIZES[kind]
        else:
            raise FormatError(f"A field of the unknown wire type {kind}.")
        end = position + size
        if end > len(message):
            raise FormatError(f"A field of {size} bytes in a message with {len(message) - position} left.")
        yield tag >> 3, kind, message[position:end]
        position = end
