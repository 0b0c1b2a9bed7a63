"""One text for one JSON value, by RFC 8785 (JSON Canonicalization Scheme): what is hashed.

Members are sorted by the UTF-16 units of their names, numbers are written as ECMAScript writes doubles, and there is no
space between anything.
"""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.plan.paths import shown, within

__all__ = ["canonical_json", "canonical_sha256"]

_MOST_DIGITS = 21  # of a number that ECMAScript writes without an exponent


def canonical_sha256(value: Any) -> str:
    """The SHA-256 of the canonical form of `value`, hexadecimal.

    Raises:
        FormatError: As for `canonical_json`.
    """
    return sha256(canonical_json(value)).hexdigest()


def canonical_json(value: Any) -> bytes:
    """The canonical form of a JSON value, in UTF-8.

    Args:
        value: What `json.loads` gives; any mapping, list or tuple in it.

    Raises:
        FormatError: Something in it has no canonical form: no JSON value, a number that no double holds, text that no
            Unicode encoding can carry, names that are no text. The message says where.
    """
    try:
        return _canonical(value, "").encode()
    except RecursionError:
        raise FormatError("The value is nested too deeply to have a canonical form.") from None


def _canonical(value: Any, path: str) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, int):
        return _integer(value, path)
    if isinstance(value, float):
        return _double(value, path)
    if isinstance(value, Mapping):
        members = {_text(name, path): (name, item) for name, item in value.items()}
        in_order = sorted(members.items(), key=lambda member: member[1][0].encode("utf-16-be"))
        return "{" + ",".join(f"{text}:{_canonical(item, within(path, name))}" for text, (name, item) in in_order) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_canonical(item, within(path, at)) for at, item in enumerate(value)) + "]"
    raise FormatError(f"{_said(path)}{shown(value)} is no JSON value; give text, a number, a list or an object.")


def _text(value: Any, path: str) -> str:
    try:
        value.encode()
    except AttributeError:
        raise FormatError(f"{_said(path)}the name {shown(value)} is no text, as JSON wants it.") from None
    except UnicodeEncodeError:
        raise FormatError(f"{_said(path)}{shown(value)} holds half a character, which UTF-8 cannot carry.") from None
    return json.dumps(value, ensure_ascii=False)


def _integer(value: int, path: str) -> str:
    """`value`, which must be what its double is written as: two plans never get one hash by rounding."""
    try:
        text = _double(float(value), path)
        if text == f"{int(value):d}":
            return text
    except OverflowError:
        pass
    raise FormatError(f"{_said(path)}{shown(value)} is no number that a double holds; write it as text to keep it.")


def _double(value: float, path: str) -> str:
    if not math.isfinite(value):
        raise FormatError(f"{_said(path)}{value} is no JSON number; leave it out, or write it as text.")
    if value == 0:
        return "0"
    mantissa, _, exponent = float.__repr__(abs(float(value))).partition("e")
    whole, _, fraction = mantissa.partition(".")
    padded = (whole + fraction).rstrip("0")
    digits = padded.lstrip("0")
    point = len(whole) + int(exponent or 0) - (len(padded) - len(digits))  # the value is 0.digits x 10^point
    return "-" * (value < 0) + _written(digits, point)


def _written(digits: str, point: int) -> str:
    """ECMAScript's Number::toString of 0.digits x 10^point."""
    if len(digits) <= point <= _MOST_DIGITS:
        return digits.ljust(point, "0")
    if 0 < point <= _MOST_DIGITS:
        return f"{digits[:point]}.{digits[point:]}"
    if -6 < point <= 0:  # noqa: PLR2004 - as ECMAScript has it
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"


def _said(path: str) -> str:
    return f"{path}: " if path else ""
