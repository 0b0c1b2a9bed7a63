"""The context that operations live in: which one is current, and what a parent process handed down."""

import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from crucible_trace_otel.record._values import printable

if TYPE_CHECKING:
    from crucible_trace_otel.record._operation import Operation
    from crucible_trace_otel.record._parts import RunPart

__all__ = [
    "Placed",
    "context_of",
    "current_operation",
    "enclosing_context",
    "innermost",
    "living_context",
    "operation_in",
    "placed_in",
    "remote_baggage",
    "remote_parent",
]

K = TypeVar("K", bound="Operation")

_CURRENT = context_api.create_key("crucible-operation")
(_SPAN,) = trace_api.set_span_in_context(trace_api.INVALID_SPAN, Context())  # the key that OpenTelemetry has for it
_LONGEST = 8_192


class Placed(NamedTuple):
    """Where a span is to start."""

    context: Context
    part: "RunPart | None" = None
    """The part of the run it is moved to, because the trace it belongs in is full."""
    attributes: Mapping[str, Any] = MappingProxyType({})
    """What the span says about that."""


def operation_in(context: Context) -> "Operation | None":
    """The innermost operation of ours in `context`, foreign spans in between or not."""
    found: Operation | None = context.get(_CURRENT)  # type: ignore[assignment]
    return found


def context_of(operation: "Operation", base: Context) -> Context:
    """`base` with `operation` and its span as what is current."""
    return Context({**base, _CURRENT: operation, _SPAN: operation.span})


def living_context(leaving: "Operation | None" = None, here: Context | None = None) -> Context:
    """The current context, or the one around it where its operation has ended elsewhere, as callbacks make it."""
    here = context_api.get_current() if here is None else here
    while (operation := operation_in(here)) is not None and here is (operation._context or operation._left()):
        if not operation.ended and operation is not leaving:
            break
        here = operation._previous or Context()
    return here


def current_operation() -> "Operation | None":
    """The innermost operation of ours in the current context, foreign spans in between or not."""
    return operation_in(living_context())


def innermost(kind: type[K], here: "Operation | None") -> K | None:
    """`here`, or the first operation around it, that is a `kind`; None where there is none."""
    while here is not None and not isinstance(here, kind):
        here = here.outer
    return here


def enclosing_context(here: Context, maker: "Operation | None") -> Context:
    """What starts in `here`: that, or the context of the operation that made it where nothing here lies within that."""
    around = operation_in(here)
    while around is not None and around is not maker:
        around = around._outer
    if maker is None or around is maker or maker._context is None or maker.ended:
        return here
    return maker._context


def remote_parent(context: Context) -> Context:
    """`context` below the span that the environment names as W3C `TRACEPARENT`; as it is where it names none."""
    carrier = _handed_down("TRACEPARENT", "TRACESTATE")
    return TraceContextTextMapPropagator().extract(carrier, context) if "traceparent" in carrier else context


def remote_baggage() -> Context:
    """A context with the baggage that the environment holds as W3C `BAGGAGE`."""
    carrier = _handed_down("BAGGAGE")
    if not carrier:
        return Context()
    from opentelemetry.baggage.propagation import W3CBaggagePropagator  # noqa: PLC0415 - most are handed nothing down

    return W3CBaggagePropagator().extract(carrier, Context())


def _handed_down(*names: str) -> dict[str, str]:
    """These variables by their lower-case names, as some programs set them too; those in capitals count first."""
    said = {name.lower(): os.environ.get(name) or os.environ.get(name.lower()) for name in names}
    return {name: printable(value[:_LONGEST]) for name, value in said.items() if value}


def placed_in(outer: "Operation | None", base: Context) -> Placed:
    """Where what starts in `base`, inside `outer`, is to start: there, unless the trace of that is full."""
    here = trace_api.get_current_span(base).get_span_context()
    if not here.is_valid:
        return Placed(remote_parent(base))
    return Placed(base) if outer is None or outer._parts is None else outer._parts.place(base, here)
