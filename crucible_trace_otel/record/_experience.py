"""Experience that was drawn from a buffer: how much, and which episodes it is from."""

from itertools import islice
from math import fsum
from typing import Any, NamedTuple

from opentelemetry.trace import SpanContext

from crucible_trace_otel.record._doubles import doubles
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._links import LinkTargets, each_target
from crucible_trace_otel.record.steps._held import held
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import LinkType

__all__ = ["Sources", "experience_attributes", "sources_of"]

_MOST_LINKS = 100  # of the 128 a span of the SDK keeps by default
_MOST_LOOKED_AT = 100_000
_LEFT_OUT = "links to what it was sampled from, beyond a hundred"


class Sources(NamedTuple):
    """What experience was drawn from."""

    links: dict[str, Any]
    """By link type."""
    different: int | None
    """How many different ones there are; None where nobody said."""
    attributes: dict[str, Any]
    """What was left out, if anything."""


@guarded(lambda *_: Sources({}, None, {}))
def sources_of(given: LinkTargets | None) -> Sources:
    """Episodes, or samples of experience, each once, the latest hundred of them as links.

    Args:
        given: In the order they were drawn, or recorded; each as often as you like.
    """
    if given is None:
        return Sources({}, None, {})
    different = {_identity(one): one for one in each_target(given, _MOST_LOOKED_AT)}
    linked = list(different.values())[-_MOST_LINKS:]
    left_out = len(different) - len(linked)
    dropped = {attr.CRUCIBLE_DROPPED_COUNT: left_out, attr.CRUCIBLE_DROPPED_REASON: _LEFT_OUT} if left_out else {}
    return Sources({LinkType.SAMPLED_FROM: linked}, len(different), dropped)


def experience_attributes(
    count: int, buffer_size: int | None, priorities: Any, priority_mean: float | None
) -> dict[str, Any]:
    """The attributes of a sample of experience."""
    return {
        attr.CRUCIBLE_EXPERIENCE_SAMPLE_COUNT: count,
        attr.CRUCIBLE_EXPERIENCE_BUFFER_SIZE: buffer_size,
        **doubles(
            {attr.CRUCIBLE_EXPERIENCE_PRIORITY_MEAN: _mean(priorities) if priority_mean is None else priority_mean}
        ),
    }


def _unknown(_: Any) -> float | None:
    return None


@guarded(_unknown)
def _mean(priorities: Any) -> float | None:
    """Their mean; None where there are none, or they lie on an accelerator, which would have to be waited for."""
    on_host = None if priorities is None else held("priorities", priorities, {}, keep=False)
    if on_host is None or isinstance(on_host, str):
        return None
    values = list(islice(on_host, _MOST_LOOKED_AT))
    return fsum(values) / len(values) if values else None


def _identity(one: Any) -> object:
    return one if isinstance(one, (str, SpanContext)) else getattr(one, "event_id", None) or id(one)
