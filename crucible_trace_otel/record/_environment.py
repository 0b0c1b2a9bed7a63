"""The trace a parent process handed down through its environment, as W3C `TRACEPARENT` and `TRACESTATE`."""

import os

from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

__all__ = ["remote_parent"]

_LONGEST = 8_192


def remote_parent(context: Context) -> Context:
    """`context` below the span that the environment names; `context` itself where it names none."""
    if "TRACEPARENT" not in os.environ:
        return context
    carrier = {name.lower(): os.environ.get(name, "")[:_LONGEST] for name in ("TRACEPARENT", "TRACESTATE")}
    return TraceContextTextMapPropagator().extract(carrier, context)
