"""One run in a line: what `list` prints, and the head of `show`."""

from dataclasses import dataclass
from typing import Any, Final

from crucible_trace_otel.renderers.nested import json_value
from crucible_trace_otel.renderers.words import duration, number, plain, plural
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import LinkType, Result, RunState
from crucible_trace_otel.trace.spans import Trace, TraceSpan, local_time

__all__ = ["Summary", "local_time", "summarise"]

UNFINISHED: Final = "unfinished"
"""The root is not stored, neither as ended nor as open."""

_STATES: Final = {
    Result.SUCCESS: RunState.COMPLETED,
    Result.SKIP: RunState.COMPLETED,
    Result.CANCELLATION: RunState.CANCELLED,
}
_UNENDED: Final = frozenset({RunState.RUNNING, RunState.INTERRUPTED})
_FAILURES: Final = frozenset({Result.FAILURE, Result.ERROR, Result.TIMEOUT})


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
    failed: tuple[str, ...] = ()
    """The kinds of the operations that failed inside a run that ended well, one for each."""
    last_step: int | None = None
    """How far a run came that has not ended by itself."""
    last_loss: float | None = None

    def row(self) -> tuple[str, ...]:
        """Its cells as text."""
        started = local_time(self.start_ns)
        return self.name, self.run_id, started, duration(self.duration_s), str(self.spans), self.standing

    @property
    def standing(self) -> str:
        """The state in words: `running at step 1200, loss 0.31`, `completed, 1 failed stage`."""
        at = "" if self.last_step is None else f" at step {self.last_step}"
        loss = "" if self.last_loss is None else f"loss {number(self.last_loss)}"
        return ", ".join(filter(None, (self.state + at, loss, self._failed())))

    def _failed(self) -> str:
        """`1 failed stage`, `3 failed operations`."""
        noun = self.failed[0] if len(set(self.failed)) == 1 else "operation"
        return f"{len(self.failed)} failed {plural(len(self.failed), noun)}" if self.failed else ""

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
            "failed_operations": len(self.failed),
            "last_step": self.last_step,
            "last_loss": json_value(self.last_loss),
        }


def summarise(trace: Trace) -> Summary:
    """`trace` in a line."""
    root = _root_that_tells(trace)
    state = _state(trace, root)
    step, loss = _progress(trace, root) if state in _UNENDED else (None, None)
    return Summary(
        name=plain(trace.name),
        run_id=plain(trace.run_ids[0]) if trace.run_ids else "",
        trace_id=trace.trace_id,
        start_ns=trace.start_ns,
        duration_s=(trace.end_ns - trace.start_ns) / 1e9,
        spans=len(trace.spans),
        state=state,
        failed=_failed_inside(trace, root) if root is not None and state == RunState.COMPLETED else (),
        last_step=step,
        last_loss=loss,
    )


def _root_that_tells(trace: Trace) -> TraceSpan | None:
    """The root whose end tells how it all ended: of several attempts of one run the one that started last."""
    roots = [root for root in trace.roots if root.parent_id is None or root.parent_is_remote]
    if not roots:
        return None
    attempts = [
        root for root in roots if root.operation == operations.TRAINING_RUN and _run_id(root) == _run_id(roots[0])
    ]
    return attempts[-1] if roots[0].operation == operations.TRAINING_RUN else roots[0]


def _run_id(span: TraceSpan) -> object:
    return span.attributes.get(attr.CRUCIBLE_RUN_ID)


def _progress(trace: Trace, root: TraceSpan | None) -> tuple[int | None, float | None]:
    """The last step, and its loss, of what has not ended; of several training runs those of the last."""
    steps = [
        (span.start_ns, span.attributes[attr.CRUCIBLE_TRAINING_STEP_INDEX], span)
        for span in _since(trace, root)
        if str(span.attributes.get(attr.CRUCIBLE_RUN_STATE)) in _UNENDED
        and type(span.attributes.get(attr.CRUCIBLE_TRAINING_STEP_INDEX)) is int
    ]
    if not steps:
        return None, None
    _, step, span = max(steps, key=lambda found: found[:2])
    loss = span.attributes.get(attr.CRUCIBLE_TRAINING_LOSS_VALUE)
    return step, loss if isinstance(loss, float) else None


def _since(trace: Trace, root: TraceSpan | None) -> list[TraceSpan]:
    """What belongs to the attempt that `root` stands for."""
    return [span for span in trace.spans if root is None or span.start_ns >= root.start_ns]


def _state(trace: Trace, root: TraceSpan | None) -> str:
    since = _since(trace, root)
    if root.is_running if root is not None else any(span.is_running for span in since):
        return RunState.RUNNING
    if any(span.attributes.get(attr.CRUCIBLE_RUN_STATE) == RunState.INTERRUPTED for span in since):
        return RunState.INTERRUPTED
    # What an open operation left behind after the root's end belongs to a later attempt.
    later = (span for span in trace.roots if root is not None and span.start_ns >= root.end_ns and span.parent_id)
    if root is None or any(not span.parent_is_remote for span in later):
        return UNFINISHED
    result = root.attributes.get(attr.CRUCIBLE_OPERATION_RESULT)
    if str(result) in _STATES:
        return _STATES[str(result)]
    return RunState.FAILED if result is not None or root.status == "error" else RunState.COMPLETED


def _failed_inside(trace: Trace, root: TraceSpan) -> tuple[str, ...]:
    """Which operations of ours failed since `root` started; what failed inside one that failed is not counted.

    Nor is an attempt after which there was another: how the last one ended is what counts.
    """
    again = {link.span_id for span in trace.spans for link in span.links if link.type == LinkType.RETRIED_FROM}
    failed = {span.span_id: span.operation for span in trace.spans if span.end_ns > root.start_ns and _has_failed(span)}
    outermost = (span_id for span_id in failed if trace.by_id[span_id].parent_id not in failed)
    return tuple(failed[span_id] for span_id in outermost if span_id not in again)


def _has_failed(span: TraceSpan) -> bool:
    result = span.attributes.get(attr.CRUCIBLE_OPERATION_RESULT)
    return span.is_ours and (str(result) in _FAILURES if result is not None else span.status == "error")
