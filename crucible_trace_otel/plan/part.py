"""What every part of a plan is: a frozen value that is read from JSON and written back as it was.

A part declares its fields as a dataclass does, each with a type that carries its check (`checks`) or is a part itself.
All reading, writing and checking follows from that. What is not declared is kept in `unknown_fields`.
"""

import json
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Annotated, Any, Union, get_args, get_origin, get_type_hints

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.plan.canonical import canonical_sha256
from crucible_trace_otel.plan.checks import Check, Each
from crucible_trace_otel.plan.loading import load_object
from crucible_trace_otel.plan.paths import Problem, shown, within

if TYPE_CHECKING:
    import os

    from typing_extensions import Self

__all__ = ["Part"]

_OURS = ("unknown_fields", "field_order")


@dataclass(frozen=True, slots=True)
class _Field:
    """What is known of a declared field."""

    name: str
    default: Any
    """MISSING where it is required."""
    checks: tuple[Check, ...]
    part: "type[Part] | None"
    is_list: bool
    """Whether it holds several parts."""
    may_be_text: bool
    """Whether a name may stand for the part."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A part of a plan."""

    unknown_fields: Mapping[str, Any] = field(default_factory=dict)
    """What was read and is not declared here, by name: written back as it was."""
    field_order: tuple[str, ...] = field(default=(), compare=False, repr=False)
    """The names that were read, in their order: what was written out is written out again, even where it says what
    holds without it."""

    def __post_init__(self) -> None:
        """A list is a tuple here: a value that was read equals the one that was written."""
        for name, value in vars(self).items():
            if isinstance(value, list):
                object.__setattr__(self, name, tuple(value))

    @classmethod
    def from_json(cls, source: "str | bytes | os.PathLike[str] | Mapping[str, Any]") -> "Self":
        """Read one from the path of a file, from JSON text, or from what `json.loads` gave.

        Unknown fields are kept. Values are not judged here: `problems()` does that.

        Args:
            source: Text that begins with `{` is JSON, other text is a path.

        Raises:
            ConfigurationError: The file cannot be read.
            FormatError: It is no JSON object, or holds something else where an object or a list has to be.
        """
        try:
            return cls._from_object(load_object(source), "")
        except RecursionError:
            raise FormatError("The plan is nested too deeply to be read.") from None

    def to_json(self, *, indent: int | None = 2) -> str:
        """It as JSON text, with all that was read, in the order in which it was read.

        Args:
            indent: Spaces for each level; None for one line.

        Raises:
            FormatError: A value in it, such as a function, is no JSON value. The message says where.
        """
        try:
            text = json.dumps(self.to_object(), indent=indent, ensure_ascii=False, allow_nan=False)
            text.encode()
        except UnicodeEncodeError:  # half a character, which JSON can spell
            return json.dumps(self.to_object(), indent=indent)
        except RecursionError:
            raise FormatError("The plan is nested too deeply to be written.") from None
        except (TypeError, ValueError):
            path, value = next(_not_json(self.to_object(), "", ()), ("", self))
            raise FormatError(f"{path}: {shown(value)} is no JSON value; give text, a number or a list.") from None
        return text

    def to_object(self) -> dict[str, Any]:
        """It as a JSON object, as `json.loads` would give it: what was read, and fields that are not their default."""
        known = _fields(type(self))
        values = {name: getattr(self, name) for name in known}
        said = [
            name
            for name, one in known.items()
            if _differs(values[name], one.default) and (values[name] is not None or one.default is not MISSING)
        ]
        names = dict.fromkeys((*self.field_order, *said, *self.unknown_fields))
        return {
            name: _plain(values[name]) if name in known else self.unknown_fields[name]
            for name in names
            if name in known or name in self.unknown_fields
        }

    @property
    def sha256(self) -> str:
        """The SHA-256 of its canonical JSON (RFC 8785), hexadecimal: equal for equal content, however it is laid out.

        Raises:
            FormatError: It has none, because a value in it is no JSON value, or no number that a double holds.
        """
        return canonical_sha256(self.to_object())

    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong with its values, in the order of its fields; empty where nothing is. Never raises."""
        return tuple(self._problems(""))

    def _problems(self, path: str) -> Iterator[Problem]:
        for name, one in _fields(type(self)).items():
            yield from _problems_of(one, getattr(self, name), within(path, name))
        yield from self._own_problems(path)

    def _own_problems(self, path: str) -> Iterator[Problem]:  # noqa: ARG002 - for the parts
        """What is wrong beyond single fields; for the parts to override."""
        return iter(())

    @classmethod
    def _from_object(cls, data: Mapping[str, Any], path: str) -> "Self":
        known = _fields(cls)
        values = {name: _read(known[name], data[name], within(path, name)) for name in known if name in data}
        missing = {name: None for name, one in known.items() if name not in data and one.default is MISSING}
        unknown = {name: value for name, value in data.items() if name not in known}
        return cls(**values, **missing, unknown_fields=unknown, field_order=tuple(data))


_known: dict[type, Mapping[str, _Field]] = {}


def _fields(kind: type[Part]) -> Mapping[str, _Field]:
    """The declared fields of `kind`, in order."""
    if kind not in _known:
        hints = get_type_hints(kind, include_extras=True)
        declared = [one for one in fields(kind) if one.name not in _OURS]
        _known[kind] = {one.name: _declared(one.name, one.default, hints[one.name]) for one in declared}
    return _known[kind]


def _declared(name: str, default: Any, hint: Any) -> _Field:
    base, *notes = get_args(hint) if get_origin(hint) is Annotated else (hint,)
    options = get_args(base) if get_origin(base) in (Union, types.UnionType) else (base,)
    lists = [get_args(option)[0] for option in options if get_origin(option) is tuple]
    parts = [option for option in (*options, *lists) if isinstance(option, type) and issubclass(option, Part)]
    checks: tuple[Callable[[Any], str | None], ...] = tuple(note for note in notes if callable(note))
    return _Field(name, default, checks, parts[0] if parts else None, bool(lists), bool(parts) and str in options)


def _read(one: _Field, value: Any, path: str) -> Any:
    if one.part is None or value is None or (one.may_be_text and isinstance(value, str)):
        return value
    if not one.is_list:
        return _read_part(one.part, value, path)
    if not isinstance(value, (list, tuple)):
        raise FormatError(f"{path}: {shown(value)} is no list; write a list of objects there, such as [].")
    return tuple(_read_part(one.part, item, within(path, at)) for at, item in enumerate(value))


def _read_part(kind: type[Part], value: Any, path: str) -> Part:
    if isinstance(value, Mapping):
        return kind._from_object(value, path)
    names = ", ".join(name for name, one in _fields(kind).items() if one.default is MISSING) or "none that it must have"
    raise FormatError(f"{path}: {shown(value)} is no object; write an object there, with the fields {names}.")


def _problems_of(one: _Field, value: Any, path: str) -> Iterator[Problem]:
    if value is None:
        if one.default is MISSING:
            yield Problem(path, "is required")
    elif one.part is None or (one.may_be_text and isinstance(value, str)):
        for check in one.checks:
            yield from _failed(check, value, path)
    elif not one.is_list:
        yield from _problems_of_part(one.part, value, path)
    elif isinstance(value, tuple):
        for at, item in enumerate(value):
            yield from _problems_of_part(one.part, item, within(path, at))
    else:
        yield Problem(path, f"must be a list, not {shown(value)}")


def _failed(check: Check, value: Any, path: str) -> Iterator[Problem]:
    if wrong := check(value):
        yield Problem(path, wrong)
    elif isinstance(check, Each):
        for at, item in enumerate(value):
            yield from _failed(check.item, item, within(path, at))


def _problems_of_part(kind: type[Part], value: Any, path: str) -> Iterator[Problem]:
    if isinstance(value, kind):
        yield from value._problems(path)
    else:
        yield Problem(path, f"must be a {kind.__name__}, not {shown(value)}")


def _plain(value: Any) -> Any:
    """A field's value as JSON has it."""
    if isinstance(value, Part):
        return value.to_object()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _differs(value: Any, default: Any) -> bool:
    """Whether that is another value; what is of another type is, and some of those can only be compared in part."""
    return type(value) is not type(default) or bool(value != default)


def _not_json(value: Any, path: str, inside: tuple[int, ...]) -> Iterator[tuple[str, Any]]:
    """What in `value` JSON cannot write, and where."""
    if id(value) in inside or len(inside) > 500:  # noqa: PLR2004 - deeper than anybody writes by hand
        yield path, value
    elif isinstance(value, dict):
        for name, item in value.items():
            yield from _not_json(item, within(path, name), (*inside, id(value)))
    elif isinstance(value, (list, tuple)):
        for at, item in enumerate(value):
            yield from _not_json(item, within(path, at), (*inside, id(value)))
    else:
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            yield path, value
