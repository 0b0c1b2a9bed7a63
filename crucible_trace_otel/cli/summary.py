"""One run in a line: what `list` prints, and the head of `show`."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from crucible_trace_otel.renderers.words import duration, plain
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import Result, RunState
from crucible_trace_otel.trace.spans import Trace, TraceSpan

__all__ = ["Summary", "local_time", "summarise"]

UNFINISHED: Final = "unfinished"
"""The root is not stored: it is still running, or its process ended without a word."""

_STATES: Final = {
    Result.SUCCESS: RunState.COMPLETED,
    Result.SKIP: RunState.COMPLETED,
    Result.CANCELLATION: RunState.CANCELLED,
}


@dataclass(frozen=True, slots=True)
class Summary:
    """What a person looks for in a list of runs."""

    name: str
    run_id: str
    trace_id: str
    start_ns: int
    duration_s: float
    spans: int
    state: str

    def row(self) -> tuple[str, ...]:
        """Its cells as text."""
        started = local_time(self.start_ns)
        return self.name, self.run_id, started, duration(self.duration_s), str(self.spans), self.state

    def values(self) -> dict[str, Any]:
        """The same for JSON."""
        return {
            "name": self.name,
            "run_id": self.run_id,
            "trace_id": self.trace_id,
            "start_ns": self.start_ns,
            "duration_s": self.duration_s,
            "spans": self.spans,
            "state": self.state,
        }


def summarise(trace: Trace) -> Summary:
    """`trace` in a line."""
    return Summary(
        name=plain(trace.name),
        run_id=plain(trace.run_ids[0]) if trace.run_ids else "",
        trace_id=trace.trace_id,
        start_ns=trace.start_ns,
        duration_s=(trace.end_ns - trace.start_ns) / 1e9,
        spans=len(trace.spans),
        state=_state(trace),
    )


def local_time(time_ns: int) -> str:
    """The time here, to the second."""
    try:
        return datetime.fromtimestamp(time_ns // 1_000_000_000).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a year that datetime does not know
        return "?"


def _state(trace: Trace) -> str:
    interrupted = (span for span in trace.spans if span.attributes.get(attr.CRUCIBLE_RUN_STATE) == RunState.INTERRUPTED)
    if next(interrupted, None) is not None:
        return RunState.INTERRUPTED
    if not trace.is_complete:
        return UNFINISHED
    return _state_of(next(root for root in trace.roots if root.parent_id is None or root.parent_is_remote))


def _state_of(root: TraceSpan) -> str:
    result = root.attributes.get(attr.CRUCIBLE_OPERATION_RESULT)
    if result in _STATES:
        return _STATES[result]
    return RunState.FAILED if result is not None or root.status == "error" else RunState.COMPLETED
