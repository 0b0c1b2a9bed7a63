"""Reading one mapping of the model: its keys are checked, its values come out typed."""

from collections.abc import Collection

from semconv.yaml_nodes import Node, Place, Refusals

__all__ = ["Fields", "one_of"]


def one_of(choices: Collection[str]) -> str:
    """`a`, `b` or `c`, for a refusal."""
    *most, last = (f"`{choice}`" for choice in choices)
    return f"{', '.join(most)} or {last}" if most else last


class Fields:
    """The entries of one mapping; a key that is unknown or missing is refused when this is made."""

    def __init__(
        self, node: Node, what: str, refusals: Refusals, required: Collection[str], optional: Collection[str] = ()
    ) -> None:
        self.place = node.place
        self.what = what
        self._refusals = refusals
        entries = node.entries()
        if entries is None:
            refusals.add(node.place, f"{what} is not a mapping; write `key: value` lines")
        self._is_mapping = entries is not None
        self._entries = entries or {}
        allowed = [*required, *optional]
        for key, value in self._entries.items():
            if key not in allowed:
                refusals.add(value.place, f"{what} has an unknown key `{key}`; use {one_of(allowed)}")
        for key in required:
            if entries is not None and key not in entries:
                refusals.add(node.place, f"{what} has no `{key}`; add it")

    def refuse(self, key: str, sentence: str) -> None:
        """Refuse at the line of `key`, or at the mapping's own where the key is absent; once for what is no mapping."""
        if not self._is_mapping:
            return
        self._refusals.add(self.place_of(key), sentence)

    def place_of(self, key: str) -> Place:
        """The line of `key`."""
        return self._entries[key].place if key in self._entries else self.place

    def node(self, key: str) -> Node | None:
        """The raw value of `key`."""
        return self._entries.get(key)

    def text(self, key: str) -> str:
        """A string; empty when absent."""
        node = self._entries.get(key)
        if node is None:
            return ""
        if not isinstance(node.value, str) or not node.value.strip():
            self.refuse(key, f"`{key}` of {self.what} is not text; write some, in quotes where YAML reads it otherwise")
            return ""
        return node.value.strip()

    def sentence(self, key: str) -> str:
        """A string that ends with a full stop."""
        text = self.text(key)
        if text and not text.endswith("."):
            self.refuse(key, f"`{key}` of {self.what} does not end with a full stop; make it a sentence")
        return text

    def choice(self, key: str, choices: Collection[str], default: str) -> str:
        """One of a fixed set of strings."""
        if key not in self._entries:
            return default
        value = self._entries[key].value
        if not isinstance(value, str) or value not in choices:
            shown = value if isinstance(value, str | int | float | bool | None) else "a collection"
            self.refuse(key, f"`{key}` of {self.what} is unknown: `{shown}`; use {one_of(choices)}")
            return default
        return value

    def flag(self, key: str) -> bool:
        """True or false; false when absent."""
        node = self._entries.get(key)
        if node is None:
            return False
        if not isinstance(node.value, bool):
            self.refuse(key, f"`{key}` of {self.what} is neither `true` nor `false`; write one of them")
            return False
        return node.value

    def sequence(self, key: str) -> tuple[Node, ...]:
        """The items of a list; empty when absent."""
        node = self._entries.get(key)
        if node is None:
            return ()
        items = node.items()
        if not items:
            self.refuse(
                key, f"`{key}` of {self.what} is not a list with something in it; write `- ` items or remove it"
            )
            return ()
        return tuple(items)

    def texts(self, key: str) -> tuple[str, ...]:
        """The strings of a list; empty when absent."""
        found = []
        for item in self.sequence(key):
            if isinstance(item.value, str):
                found.append(item.value)
            else:
                self._refusals.add(
                    item.place, f"`{key}` of {self.what} holds something that is not text; put it in quotes"
                )
        return tuple(found)
