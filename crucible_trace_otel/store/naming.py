"""The names a stored trace answers to, and those that come near a name that none answers to."""

import difflib
from collections.abc import Iterable

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.trace.spans import NAMING, Trace

__all__ = ["names_of", "near"]

_NAME_KEYS = (
    attr.CRUCIBLE_RUN_NAME,
    attr.CRUCIBLE_PIPELINE_NAME,
    attr.CRUCIBLE_CHAIN_NAME,
    attr.CRUCIBLE_EXPERIMENT_NAME,
    attr.CRUCIBLE_EXPERIMENT_ID,
    attr.DEPLOYMENT_NAME,
)
_MOST_NEAR = 5


def names_of(trace: Trace) -> tuple[str, ...]:
    """Every name by which `trace` may be asked for, ids left out."""
    names = [trace.name]
    for span in trace.spans:
        if span.operation in NAMING:
            names += [span.name, span.about, *(str(span.attributes.get(key, "")) for key in _NAME_KEYS)]
    return tuple(dict.fromkeys(name for name in names if name))


def near(run: str, traces: Iterable[Trace]) -> str:
    """A sentence with up to five names like `run`, or with the newest ones where none is like it."""
    names: dict[str, None] = {}
    for trace in reversed(tuple(traces)):
        names |= dict.fromkeys((*names_of(trace), *trace.run_ids, trace.trace_id))
    beginning = [name for name in names if name.casefold().startswith(run.casefold())]
    similar = difflib.get_close_matches(run, list(names), n=_MOST_NEAR, cutoff=0.5)
    like = list(dict.fromkeys([*beginning, *similar]))[:_MOST_NEAR]
    if run and like:
        return f" Near: {', '.join(map(repr, like))}."
    newest = dict.fromkeys(trace.name for trace in reversed(tuple(traces)))
    listed = list(newest)[:_MOST_NEAR]
    return f" There is: {', '.join(map(repr, listed))}." if listed else " It holds no operation yet."
