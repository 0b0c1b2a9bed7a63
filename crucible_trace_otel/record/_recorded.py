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

    def __repr__(self) -> str:
        """What it is and about what, whether it goes on, and the id that `depends_on=` takes. It never raises."""
        name, about, event_id = (getattr(self, key, "") for key in ("operation_name", "about", "event_id"))
        has_ended = getattr(self, "ended", None)  # what a verb returned does not last
        has_begun = has_ended is not False or any(getattr(self, key, 0) for key in ("_started_at", "_skipped_at"))
        lasts = "" if has_ended is None else "ended, " if has_ended else "open, "
        state = f"{lasts}{event_id}" if event_id else "not recorded" if has_begun else "not started"
        return f'<{name} "{about}", {state}>'


@dataclass(frozen=True, repr=False)
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
