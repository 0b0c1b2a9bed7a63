"""Why a model exists or is served: the causal chain behind it, as lines."""

from collections.abc import Iterable
from typing import Final

from crucible_trace_otel.renderers.words import name_of, plain, quoted, reasoning
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.trace.causality import CausalStep, causes
from crucible_trace_otel.trace.spans import Key, Trace, TraceSpan, key_of

__all__ = ["causal_chain", "outcome_of", "rejected"]

_OUTCOMES: Final = (operations.DEPLOYMENT, operations.MODEL_LOAD, operations.MODEL_SAVE, operations.CHECKPOINT_SAVE)
_MOST_INDENTED: Final = 20
_MOST_REJECTED: Final = 12


def outcome_of(trace: Trace) -> TraceSpan | None:
    """What the trace led to: its last deployment, or else the last model or checkpoint; None if it has none."""
    for operation in _OUTCOMES:
        found = [span for span in trace.spans if span.operation == operation]
        if found:
            return found[-1]
    return None


def causal_chain(traces: Trace | Iterable[Trace], span: TraceSpan) -> list[str]:
    """Everything `span` rests on, a line each, indented by how far back it lies; empty if nothing was recorded.

    Below a decision stands its reasoning, and at the end what its chain rejected. What a part or an enclosing operation
    only repeats is left out.
    """
    every = (traces,) if isinstance(traces, Trace) else tuple(traces)
    steps = causes(every, span)
    told = (_lines(step) for step in steps if not step.repeated or step.holder is step.subject)
    lines = [line for lines in dict.fromkeys(told) for line in lines]
    against = [f"rejected {_said(one)}" for one in rejected(every, steps)]
    lines += against[:_MOST_REJECTED]
    return lines + ([f"… {len(against) - _MOST_REJECTED} more rejected"] if len(against) > _MOST_REJECTED else [])


def rejected(traces: Iterable[Trace], steps: Iterable[CausalStep]) -> list[TraceSpan]:
    """The alternatives that were rejected in the chains whose decisions `steps` lead to, each once."""
    by_id = {trace_id: trace for trace in traces for trace_id in trace.trace_ids}
    found: dict[Key, TraceSpan] = {}
    for target in [step.target for step in steps if step.target is not None]:
        trace = by_id[target.trace_id]
        for chain in (target, trace.by_id.get(target.parent_id or "", target)):
            if chain.operation == operations.REASONING_CHAIN:
                decisions = trace.children.get(chain.span_id, ())
                against = [one for one in decisions if one.operation == operations.ALTERNATIVE_REJECTED]
                found |= {key_of(one): one for one in against}
    return list(found.values())


def _said(span: TraceSpan) -> str:
    """`"alternative": why`."""
    return ": ".join(filter(None, (f'"{plain(span.about)}"', reasoning(span))))


def _lines(step: CausalStep) -> tuple[str, ...]:
    """The cause, and where it is told first and is a decision, its reasoning."""
    indent = "  " * min(step.depth, _MOST_INDENTED)
    operation, _, about = step.name.partition(": ")
    cause = quoted(operation, about) if step.target is None else name_of(step.target)
    told = f"{indent}↳ {plain(step.type or 'link')} {cause}"
    if step.holder.span_id != step.subject.span_id:
        told += f"  (through {name_of(step.holder)})"
    if step.target is None:
        told += "  (another trace)" if step.link.trace_id != step.holder.trace_id else "  (not stored)"
    if step.repeated:
        return (f"{told}  (above)",)
    because = reasoning(step.target) if step.target is not None else ""
    return (told, f"{indent}    because {because}") if because else (told,)
