"""Where in a plan something is: `pipeline[2].options.seed`."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Problem", "listed", "shown", "within"]

_PLAIN = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_LONGEST = 80
_MOST_LISTED = 20


@dataclass(frozen=True, slots=True)
class Problem:
    """Something about a plan that cannot stay as it is."""

    path: str
    """`pipeline[2].options.seed`; empty for the whole of what was read."""
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" if self.path else self.message


def within(path: str, key: object) -> str:
    """The path of the member `key`, a name or an index, of what is at `path`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    name = str(key)
    if not _PLAIN.fullmatch(name):
        return f"{path}[{shown(name)}]"
    return f"{path}.{name}" if path else name


def shown(value: object) -> str:
    """`value` as Python spells it, cut where it would fill the screen."""
    try:
        text = ascii(list(value) if isinstance(value, tuple) else value)
    except Exception:  # noqa: BLE001 - any object may be given, and its __repr__ may do anything
        text = f"<{type(value).__qualname__}>"
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def listed(names: Iterable[object]) -> str:
    """Names in a sentence, the first ones where they would fill the screen."""
    every = [str(name) for name in names]
    more = f" and {len(every) - _MOST_LISTED:,} more" if len(every) > _MOST_LISTED else ""
    return ", ".join(every[:_MOST_LISTED]) + more
