"""YAML as values that know their line, and the refusals that name it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

__all__ = ["Node", "Place", "Refusals", "Scalar", "read_yaml"]

Scalar = str | int | float | bool | None


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file, as a refusal prints it."""

    path: Path
    line: int

    def __str__(self) -> str:
        """`semconv/model/run.yaml:12`; relative to the working directory where it lies inside."""
        here = Path.cwd()
        path = self.path.relative_to(here) if self.path.is_relative_to(here) else self.path
        return f"{path.as_posix()}:{self.line}"


@dataclass(frozen=True, slots=True)
class Node:
    """A YAML value with its place: a scalar, a sequence of nodes, or a mapping of nodes."""

    place: Place
    value: "Scalar | tuple[Node, ...] | Mapping[str, Node]"

    def entries(self) -> "Mapping[str, Node] | None":
        """The mapping's entries, or None when it is no mapping."""
        return self.value if isinstance(self.value, Mapping) else None

    def items(self) -> "tuple[Node, ...] | None":
        """The sequence's items, or None when it is no sequence."""
        return self.value if isinstance(self.value, tuple) else None


@dataclass(slots=True)
class Refusals:
    """Everything that is wrong, collected instead of raised, so that one run shows all of it."""

    _found: list[tuple[str, int, str]] = field(default_factory=list)

    def add(self, place: Place, sentence: str) -> None:
        """Note that what stands at `place` cannot be used; `sentence` says why, and the way out."""
        entry = (str(place), place.line, sentence)
        if entry not in self._found:
            self._found.append(entry)

    def __iter__(self) -> Iterator[str]:
        """`path/file.yaml:LINE: sentence`, in order of file and line."""
        for where, _, sentence in sorted(self._found, key=lambda entry: (entry[0].rpartition(":")[0], *entry[1:])):
            yield f"{where}: {sentence}"

    def __bool__(self) -> bool:
        """Whether anything was refused."""
        return bool(self._found)


def read_yaml(path: Path, refusals: Refusals) -> Node | None:
    """Read one YAML document; None, with a refusal, when it cannot be read."""
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        refusals.add(Place(path, 1), f"not UTF-8 text: {str(error).splitlines()[0]}; save it as UTF-8")
        return None
    try:
        root = loader.get_single_node()
        if root is None:
            refusals.add(Place(path, 1), "the file is empty; fill it or remove it")
            return None
        return _Reader(path, loader, refusals).node(root)
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        refusals.add(Place(path, line), f"not YAML: {error.problem}; correct the line")
        return None
    finally:
        loader.dispose()


@dataclass(slots=True)
class _Reader:
    path: Path
    loader: yaml.SafeLoader
    refusals: Refusals
    seen: set[int] = field(default_factory=set)

    def node(self, raw: yaml.Node) -> Node:
        place = Place(self.path, raw.start_mark.line + 1)
        # An alias hands out the same node twice; one that holds itself would never end.
        if not isinstance(raw, yaml.ScalarNode) and id(raw) in self.seen:
            self.refusals.add(place, "an alias is used; write the value out, so that each line says what it is")
            return Node(place, None)
        self.seen.add(id(raw))
        if isinstance(raw, yaml.MappingNode):
            return Node(place, self.mapping(raw))
        if isinstance(raw, yaml.SequenceNode):
            return Node(place, tuple(self.node(item) for item in raw.value))
        try:
            value = self.loader.construct_object(raw)
        except ValueError:
            self.refusals.add(place, f"`{raw.value}` looks like a number or a date and is none; put it in quotes")
            return Node(place, str(raw.value))
        if not isinstance(value, str | int | float | bool | None):
            self.refusals.add(place, f"`{raw.value}` is read as a {type(value).__name__}; put it in quotes")
            return Node(place, str(raw.value))
        return Node(place, value)

    def mapping(self, raw: yaml.MappingNode) -> dict[str, Node]:
        entries: dict[str, Node] = {}
        for key_node, value_node in raw.value:
            place = Place(self.path, key_node.start_mark.line + 1)
            key = str(key_node.value)
            if key in entries:
                self.refusals.add(place, f"the key `{key}` stands twice in one mapping; keep one of them")
                continue
            value = self.node(value_node)
            # A block value starts on the line below its key; what a person looks for is the key.
            entries[key] = Node(place, value.value)
        return entries
