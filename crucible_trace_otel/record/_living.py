"""What somebody else holds: a set that does not keep its members alive, and that threads may add to at any time."""

from collections.abc import Iterator
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

__all__ = ["Living"]

T = TypeVar("T")


class Living(Generic[T]):
    """Weak references to what still lives. A `WeakSet` raises in a loop over it while another thread adds to it."""

    def __init__(self) -> None:
        self._found: WeakKeyDictionary[T, None] = WeakKeyDictionary()

    def add(self, one: T) -> None:
        """Take in `one`, until nobody holds it."""
        self._found[one] = None

    def __iter__(self) -> Iterator[T]:
        """Those that live now; what is added meanwhile is not among them."""
        references = self._found.keyrefs()  # one call into C: no other thread comes between
        return iter([one for reference in references if (one := reference()) is not None])
