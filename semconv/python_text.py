"""Python source of values, laid out as the formatter would: on one line where it fits, else one item a line."""

from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Call", "Name", "Splat", "literal"]

LINE = 120
INDENT = "    "


@dataclass(frozen=True, slots=True)
class Call:
    """A call with keyword arguments."""

    name: str
    arguments: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Name:
    """A name that is written as it is."""

    text: str


@dataclass(frozen=True, slots=True)
class Splat:
    """A mapping whose entries are taken over; a key of a dict, whose value is not looked at."""

    text: str


def literal(value: object, *, indent: str = "", before: int = 0, after: int = 0) -> str:
    """The source of `value`, given what already stands before and what will stand after it on its line."""
    opening, items, closing, trailing = _parts(value)
    if items is None:
        return opening
    flat = opening + ", ".join(prefix + literal(item) for prefix, item in items)
    flat += ("," if trailing == "tuple" and len(items) == 1 else "") + closing
    if not items or ("\n" not in flat and len(indent) + before + len(flat) + after <= LINE):
        return flat
    deeper = indent + INDENT
    lines = [
        deeper + prefix + literal(item, indent=deeper, before=len(prefix), after=1) + "," for prefix, item in items
    ]
    return "\n".join((opening, *lines, indent + closing))


def _parts(value: object) -> tuple[str, list[tuple[str, object]] | None, str, str]:
    match value:
        case Call(name, arguments):
            return f"{name}(", [(f"{key}=", item) for key, item in arguments.items()], ")", "call"
        case tuple():
            return "(", [("", item) for item in value], ")", "tuple"
        case dict():
            entries = [
                (f"**{key.text}", Name("")) if isinstance(key, Splat) else (f"{literal(key)}: ", item)
                for key, item in value.items()
            ]
            return "{", entries, "}", "dict"
        case Name(text):
            return text, None, "", "name"
        case str():
            return _string(value), None, "", "string"
        case _:
            return repr(value), None, "", "constant"


def _string(text: str) -> str:
    quote = "'" if '"' in text and "'" not in text else '"'
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace(quote, "\\" + quote)
    return quote + escaped + quote
