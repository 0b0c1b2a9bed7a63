"""JSON from a file or from text, strictly: what two readers would read differently is refused."""

import json
import math
import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from crucible_trace_otel.errors import ConfigurationError, FormatError
from crucible_trace_otel.plan.paths import shown

__all__ = ["load_object"]

_MOST_BYTES = 64 << 20


def load_object(source: str | bytes | os.PathLike[str] | Mapping[str, Any]) -> Mapping[str, Any]:
    """The JSON object in `source`: a path, JSON text, or an object that was read already.

    Raises:
        ConfigurationError: The file cannot be read.
        FormatError: It holds no JSON object.
    """
    if isinstance(source, Mapping):
        return source
    text, where = _text(source)
    try:
        value = json.loads(
            text, object_pairs_hook=_without_twins, parse_constant=_no_number, parse_float=_double, parse_int=_integer
        )
    except json.JSONDecodeError as error:
        raise FormatError(f"{where} is no JSON: {error}.") from None
    except FormatError as error:
        raise FormatError(f"{where}: {error}") from None
    except RecursionError:
        raise FormatError(f"{where} is nested too deeply to be read.") from None
    if not isinstance(value, dict):
        raise FormatError(f"{where} is a JSON value but no object, {shown(value)}; put {{ }} around its fields.")
    return value


def _text(source: str | bytes | os.PathLike[str]) -> tuple[str, str]:
    """JSON text, and what it is called in messages."""
    if isinstance(source, bytes) or (isinstance(source, str) and source.lstrip("\ufeff \t\r\n").startswith("{")):
        where = "The text"
    else:
        where = str(source)
        try:
            with Path(source).open("rb") as file:
                source = file.read(_MOST_BYTES + 1)
        except (OSError, ValueError, TypeError) as error:
            reason = getattr(error, "strerror", None) or error
            said = (
                f"{shown(where)} cannot be read: {reason}; give the path of a plan, or JSON text that begins with {{."
            )
            raise ConfigurationError(said) from None
        if len(source) > _MOST_BYTES:
            raise FormatError(f"{where} has more than {_MOST_BYTES >> 20} MiB, which no plan has; give its own file.")
    try:
        return (source if isinstance(source, str) else source.decode()).removeprefix("\ufeff"), where
    except UnicodeDecodeError as error:
        raise FormatError(f"{where} is no UTF-8: {error.reason} at byte {error.start}.") from None


def _without_twins(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) < len(members):
        names = [name for name, _ in members]
        twin = next(name for name, count in Counter(names).items() if count > 1)
        raise FormatError(f"the field {shown(twin)} stands twice in one object, so that one of them would be lost.")
    return found


def _no_number(text: str) -> NoReturn:
    raise FormatError(f"{text} is no JSON number; leave it out, or write it as text.")


def _double(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise FormatError(f"the number {shown(text)} is larger than any double; write it as text.")
    return value


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise FormatError(f"the number {shown(text)} has too many digits; write it as text.") from None
