"""Why a model exists or is served: the causal chain behind it, as lines."""

from collections.abc import Iterable
from typing import Final

from crucible_trace_otel.renderers.words import plain, quoted
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.trace.causality import CausalStep, causes
from crucible_trace_otel.trace.spans import Trace, TraceSpan

__all__ = ["causal_chain", "outcome_of"]

_OUTCOMES: Final = (operations.DEPLOYMENT, operations.MODEL_LOAD, operations.MODEL_SAVE, operations.CHECKPOINT_SAVE)
_MOST_INDENTED: Final = 20


def outcome_of(trace: Trace) -> TraceSpan | None:
    """What the trace led to: its last deployment, or else the last model or checkpoint; None if it has none."""
    for operation in _OUTCOMES:
        found = [span for span in trace.spans if span.operation == operation]
        if found:
            return found[-1]
    return None


def causal_chain(traces: Trace | Iterable[Trace], span: TraceSpan) -> list[str]:
    """Everything `span` rests on, a line each, indented by how far back it lies; empty if nothing was recorded.

    What a part or an enclosing operation only repeats is left out.
    """
    told = (step for step in causes(traces, span) if not step.repeated or step.holder is step.subject)
    return list(dict.fromkeys(_line(step) for step in told))


def _line(step: CausalStep) -> str:
    indent = "  " * min(step.depth, _MOST_INDENTED)
    operation, _, about = step.name.partition(": ")
    told = f"{indent}↳ {plain(step.type or 'link')} {quoted(operation, about)}"
    if step.holder.span_id != step.subject.span_id:
        told += f"  (through {quoted(step.holder.name, step.holder.about)})"
    if step.target is None:
        told += "  (another trace)" if step.link.trace_id != step.holder.trace_id else "  (not stored)"
    return told + ("  (above)" if step.repeated else "")
