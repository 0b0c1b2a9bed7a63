"""Whether a stage takes what the plan tells it, by what the stage says of itself."""

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final

from crucible_trace_otel.plan.paths import Problem, shown, within

__all__ = ["option_problems"]

_KINDS: Final[Mapping[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "any": lambda _: True,
        "string": lambda value: isinstance(value, str),
        "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
        "float": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
        "boolean": lambda value: isinstance(value, bool),
        "list": lambda value: isinstance(value, (list, tuple)),
        "map": lambda value: isinstance(value, Mapping),
    }
)
_PYTHON: Final = {str: "string", int: "integer", float: "float", bool: "boolean", list: "list", dict: "map"}


def option_problems(options: Mapping[str, Any], description: Mapping[str, Any], path: str) -> Iterator[Problem]:
    """What of `options` does not fit the `description` of a stage; options that it does not name are allowed.

    Args:
        options: What the plan tells the stage.
        description: As `RunnableStage.describe` returns it.
        path: Where in the plan the options are.
    """
    defaults = description.get("defaults") or {}
    required = description.get("required") or ()
    for name in (required,) if isinstance(required, str) else required:
        if name not in options and name not in defaults:
            yield Problem(within(path, name), "is required by the stage")
    for name, kind in (description.get("types") or {}).items():
        if name in options and not _fits(options[name], kind):
            yield Problem(within(path, name), f"must be {_called(kind)}, not {shown(options[name])}")


def _fits(value: Any, kind: Any) -> bool:
    if isinstance(kind, type):
        return _KINDS[_PYTHON[kind]](value) if kind in _PYTHON else isinstance(value, kind)
    if isinstance(kind, Mapping):
        if "enum" in kind:
            return value in kind["enum"]
        if "list" in kind:
            return isinstance(value, (list, tuple)) and all(_fits(item, kind["list"]) for item in value)
        return "union" not in kind or any(_fits(value, one) for one in kind["union"])
    return _KINDS.get(kind, _KINDS["any"])(value)


def _called(kind: Any) -> str:
    """`kind` in words."""
    if isinstance(kind, type):
        return f"of type {_PYTHON.get(kind, kind.__name__)}"
    if isinstance(kind, Mapping):
        if "enum" in kind:
            return f"one of {', '.join(map(shown, kind['enum']))}"
        if "list" in kind:
            return f"a list, each item {_called(kind['list'])}"
        return " or ".join(_called(one) for one in kind.get("union", ()))
    return f"of type {kind}"
