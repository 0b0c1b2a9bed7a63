"""What a verb returns: something recorded at once, which other records may depend on, and which may be judged."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

if TYPE_CHECKING:
    from crucible_trace_otel.record._links import Linkable

__all__ = ["Judged", "Recorded", "not_recorded"]


class Judged:
    """What people and programs may judge, at once or days later."""

    def feedback_token(self: "Linkable") -> str:
        """A text by which any process can record feedback on this: see `crucible.feedback_token`."""
        from crucible_trace_otel.record._feedback_token import encode  # noqa: PLC0415 - what most programs never use

        return encode(self.span_context, self.event_id)


@dataclass(frozen=True)
class Recorded(Judged):
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
