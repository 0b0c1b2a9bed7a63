"""What a field of a plan may hold. A check returns what is wrong with a value, or None.

No check sees None: whether a field may be missing is said by its type.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, TypeAlias

from crucible_trace_otel.plan.paths import shown

__all__ = [
    "Check",
    "Count",
    "Each",
    "Flag",
    "Name",
    "Number",
    "Numbers",
    "Object",
    "Objects",
    "Positive",
    "Share",
    "Text",
    "Texts",
    "Time",
    "Whole",
    "each_one_of",
    "number",
    "object_",
    "one_of",
    "text",
    "version",
    "whole",
]

Check: TypeAlias = Callable[[Any], str | None]

_TIME = re.compile(r"\d{4}-\d\d-\d\d([Tt ]\d\d:\d\d(:\d\d(\.\d+)?)?([Zz]|[+-]\d\d:?\d\d)?)?")
_VERSION = re.compile(r"\d+\.\d+\.\d+")


def text(value: Any) -> str | None:
    """Text."""
    return None if isinstance(value, str) else f"must be text, not {shown(value)}"


def name(value: Any) -> str | None:
    """Text that is not empty."""
    return "must not be empty" if isinstance(value, str) and not value else text(value)


def version(value: Any) -> str | None:
    """Text that begins with a semantic version."""
    if isinstance(value, str) and _VERSION.match(value):
        return None
    return f"must begin with a version such as 1.0.0, not {shown(value)}"


def time(value: Any) -> str | None:
    """A date, or a date and time, of ISO 8601."""
    if isinstance(value, str) and _TIME.fullmatch(value):
        return None
    return f"must be a time such as 2026-01-31T12:00:00Z, not {shown(value)}"


def flag(value: Any) -> str | None:
    """A boolean."""
    return None if isinstance(value, bool) else f"must be true or false, not {shown(value)}"


def object_(value: Any) -> str | None:
    """A JSON object."""
    return None if isinstance(value, Mapping) else f"must be an object, not {shown(value)}"


def number(at_least: float | None = None, at_most: float | None = None, above: float | None = None) -> Check:
    """A number within bounds."""

    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            return f"must be a number, not {shown(value)}"
        return _out_of_bounds(value, at_least, at_most, above)

    return check


def whole(at_least: int | None = None) -> Check:
    """An integer within bounds."""

    def check(value: Any) -> str | None:
        if isinstance(value, bool) or not isinstance(value, int):
            return f"must be a whole number, not {shown(value)}"
        return _out_of_bounds(value, at_least, None, None)

    return check


def one_of(*allowed: str) -> Check:
    """One of some words."""

    def check(value: Any) -> str | None:
        return (
            None
            if isinstance(value, str) and value in allowed
            else f"must be one of {', '.join(allowed)}; not {shown(value)}"
        )

    return check


@dataclass(frozen=True, slots=True)
class Each:
    """A list; who checks a field passes each item to `item`."""

    item: Check

    def __call__(self, value: Any) -> str | None:
        """What is wrong with it as a list."""
        if isinstance(value, str) or not isinstance(value, Sequence):
            return f"must be a list, not {shown(value)}"
        return None


def each_one_of(*allowed: str) -> Each:
    """A list of some words."""
    return Each(one_of(*allowed))


def _out_of_bounds(value: float, at_least: float | None, at_most: float | None, above: float | None) -> str | None:
    if above is not None and not value > above:
        return f"must be above {above}, not {shown(value)}"
    if at_least is not None and not value >= at_least:
        return f"must be at least {at_least}, not {shown(value)}"
    if at_most is not None and not value <= at_most:
        return f"must be at most {at_most}, not {shown(value)}"
    return None


Name: TypeAlias = Annotated[str, name]
"""A required text."""
Text: TypeAlias = Annotated[str | None, text]
Texts: TypeAlias = Annotated[Sequence[str] | None, Each(text)]
Time: TypeAlias = Annotated[str | None, time]
"""Text, as it was written: a time that is parsed and written again has another spelling."""
Flag: TypeAlias = Annotated[bool | None, flag]
Whole: TypeAlias = Annotated[int | None, whole()]
Count: TypeAlias = Annotated[int | None, whole(at_least=0)]
Positive: TypeAlias = Annotated[int | None, whole(at_least=1)]
Number: TypeAlias = Annotated[float | None, number()]
Numbers: TypeAlias = Annotated[Mapping[str, float] | None, object_]
Share: TypeAlias = Annotated[float | None, number(at_least=0, at_most=1)]
"""A number from 0 to 1."""
Object: TypeAlias = Annotated[Mapping[str, Any] | None, object_]
Objects: TypeAlias = Annotated[Sequence[Mapping[str, Any]] | None, Each(object_)]
