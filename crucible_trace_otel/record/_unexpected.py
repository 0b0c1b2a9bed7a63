"""What an argument of a recording call cannot be: kept where it can be, marked in the record, and warned about once."""

import math
from functools import lru_cache
from typing import Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._values import Repairs, one_line
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["count_in", "digest_in", "member_in", "number_in", "share_in", "unexpected"]

_SHA256_DIGITS = 64


def unexpected(repairs: Repairs, key: str, given: Any, should_be: str, *, is_kept: bool = True) -> None:
    """Mark `key` in `repairs`, and say once what is wrong with the value that was given for it."""
    repairs[key] = RepairReason.UNEXPECTED
    said = one_line(given)
    became = "recorded as it was given, and marked" if is_kept else "left out, and the record marked"
    warn_once(f"unexpected {key} {said}", f"{key} {should_be}: {said!r} is {became}.")


def share_in(repairs: Repairs, key: str, given: Any) -> float | None:
    """A share from 0 to 1, as a double; another number stands as it was given, what is none is left out."""
    if given is None:
        return None
    share = _number(given)
    if share is None or not 0.0 <= share <= 1.0:
        unexpected(repairs, key, given, "is a number from 0 to 1", is_kept=share is not None)
    return share


def number_in(repairs: Repairs, key: str, given: Any) -> float | None:
    """A finite number, as a double; anything else is left out."""
    if given is None:
        return None
    number = _number(given)
    if number is not None and math.isfinite(number):
        return number
    unexpected(repairs, key, given, "is a finite number", is_kept=False)
    return None


def count_in(repairs: Repairs, key: str, given: Any) -> int | None:
    """A count, 0 or more; a negative one stands as it was given, what is no whole number is left out."""
    if given is None:
        return None
    number = _number(given)
    is_whole = number is not None and math.isfinite(number) and number == int(number)
    if number is None or not is_whole or number < 0:
        unexpected(repairs, key, given, "is a whole number, 0 or more", is_kept=is_whole)
    return int(number) if number is not None and is_whole else None


def member_in(repairs: Repairs, key: str, given: Any, enum: type) -> Any:
    """One of a value set of the convention; anything else stands as it was given."""
    if given is not None and given not in _members(enum):
        unexpected(repairs, key, given, f"is one of {', '.join(_members(enum))}")
    return given


@lru_cache(maxsize=16)
def _members(enum: type) -> tuple[str, ...]:
    return tuple(value for name, value in vars(enum).items() if name.isupper())


def digest_in(repairs: Repairs, key: str, given: Any) -> Any:
    """A SHA-256 in lower-case hexadecimal digits, without a prefix `sha256:`; anything else stands as it was given."""
    if not isinstance(given, str):
        return given
    digest = given.lower().removeprefix("sha256:")
    if len(digest) == _SHA256_DIGITS and not digest.strip("0123456789abcdef"):
        return digest
    unexpected(repairs, key, given, "is a SHA-256 of 64 hexadecimal digits")
    return given


def _number(given: Any) -> float | None:
    try:
        return float(given)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its __float__ may do anything
        let_through(error)
        return None
