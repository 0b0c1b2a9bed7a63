"""What a verb returns: something recorded at once, which other records may depend on."""

from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

__all__ = ["Recorded", "not_recorded"]


@dataclass(frozen=True)
class Recorded:
    """Something that was recorded at once; other records may depend on it."""

    event_id: str
    """Its id, 32 hex digits."""
    span_context: SpanContext
    """The span that carries it; invalid when nothing is configured."""
    operation_name: str
    """The convention's name for it, e.g. `hypothesis_formed`."""
    about: str
    """Its summary, at most 120 characters."""


def not_recorded(name: str) -> Callable[..., Recorded]:
    """The fallback of a verb that could not record: something that may be passed on like a record."""
    return lambda *_, **__: Recorded("", INVALID_SPAN_CONTEXT, name, "")
