"""What an argument of a recording call cannot be: kept where it can be, marked in the record, and warned about once."""

import math
import re
from functools import lru_cache
from typing import Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._values import Repairs, one_line
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["as_number", "as_sha256", "count_in", "digest_in", "member_in", "number_in", "share_in", "unexpected"]

_SHA256 = re.compile("[0-9a-f]{64}")


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
    share = as_number(given)
    if share is None or not 0.0 <= share <= 1.0:
        unexpected(repairs, key, given, "is a number from 0 to 1", is_kept=share is not None)
    return share


def number_in(repairs: Repairs, key: str, given: Any) -> float | None:
    """A finite number, as a double; anything else is left out."""
    if given is None:
        return None
    number = as_number(given)
    if number is not None and math.isfinite(number):
        return number
    unexpected(repairs, key, given, "is a finite number", is_kept=False)
    return None


def count_in(repairs: Repairs, key: str, given: Any) -> int | None:
    """A count, 0 or more; a negative one stands as it was given, what is no whole number is left out."""
    if given is None:
        return None
    number = as_number(given)
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
    digest = as_sha256(given)
    if digest is None:
        unexpected(repairs, key, given, "is a SHA-256 of 64 hexadecimal digits")
    return digest or given


def as_sha256(given: Any) -> str | None:
    """A SHA-256 in lower-case hexadecimal digits, without a prefix `sha256:`; None for what is none."""
    digest = given.lower().removeprefix("sha256:") if isinstance(given, str) else ""
    return digest if _SHA256.fullmatch(digest) else None


def as_number(given: Any) -> float | None:
    """`given` as a double, NaN and infinity too; None for what is no number."""
    try:
        return float(given)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its __float__ may do anything
        let_through(error)
        return None
