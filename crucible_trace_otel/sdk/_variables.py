"""Reading environment variables: one that cannot be used is a warning and its default, never an exception."""

import math
import os
from collections.abc import Callable
from typing import Any, TypeVar

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.journal.writer import Sync

__all__ = [
    "OFF",
    "amount",
    "amount_or_off",
    "limit",
    "one_of",
    "otlp",
    "positive",
    "seconds",
    "seconds_or_off",
    "switch",
    "sync",
    "variable",
]

OFF = frozenset({"", "0", "false", "no", "off", "none"})
T = TypeVar("T")
_UNITS = {"k": 10, "m": 20, "g": 30, "t": 40}


def otlp(setting: str, signal: str = "TRACES") -> str:
    """The name of the OTLP variable that counts for a signal: its own where it is set, else the general one."""
    own = f"OTEL_EXPORTER_OTLP_{signal}_{setting}"
    return own if os.environ.get(own, "").strip() else f"OTEL_EXPORTER_OTLP_{setting}"


def variable(name: str, read: Callable[[str], Any], default: T) -> T:
    """A variable's value; its default, with a warning, where it cannot be used."""
    said = os.environ.get(name, "").strip()
    if not said:
        return default
    try:
        value: T = read(said)
    except ValueError as error:
        warn_once(
            f"{name}={said}", f"{name}={said!r} cannot be used ({error}); {default or 'the default'} is used instead."
        )
        return default
    return value


def limit(said: str) -> int | None:
    """A number of things, 0 too."""
    if not said.isdecimal():
        raise ValueError("it must be a whole number, 0 or more")
    return int(said)


def positive(said: str) -> int:
    """A whole number above 0."""
    if not said.isdecimal() or int(said) == 0:
        raise ValueError("it must be a whole number above 0")
    return int(said)


def seconds(said: str) -> float:
    """A time above 0."""
    number = float(said)
    if not (math.isfinite(number) and number > 0):
        raise ValueError("it must be a number of seconds above 0")
    return number


def switch(said: str) -> bool:
    """On or off."""
    return said.lower() not in OFF


def one_of(choices: tuple[T, ...]) -> Callable[[str], Any]:
    """One of `choices`, in capitals too."""

    def read(said: str) -> T:
        for choice in choices:
            if said.lower() == choice:
                return choice
        raise ValueError(f"it must be one of {', '.join(map(str, choices))}")

    return read


def amount(said: str) -> int:
    """Bytes: a whole number, or one with a unit, such as `512M` or `2G`."""
    number = said.lower().removesuffix("ib").removesuffix("b")
    shift = _UNITS.get(number[-1:], 0)
    return positive(number[:-1] if shift else number) << shift


def amount_or_off(said: str) -> int:
    """An amount; 0 where it is switched off."""
    return 0 if said.lower() in OFF else amount(said)


def seconds_or_off(said: str) -> float:
    """A number of seconds; 0 where it is switched off."""
    return 0.0 if said.lower() in OFF else seconds(said)


def sync(said: str) -> Sync:
    """`always`, `off`, or each so many seconds."""
    if said.lower() == "always":
        return "always"
    return seconds_or_off(said) or "off"
