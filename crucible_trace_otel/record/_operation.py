"""An operation is a span of ours: the one place that starts it, sets attributes, adds events and ends it.

Everything in `record/` is built from two things here, `Operation` (something with a duration) and `emit_event()`
(something inside an operation), and from `record_moment()` in `_moments` (a short span that others may depend on).
"""

import copy
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from types import MappingProxyType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from opentelemetry import context as context_api
from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Link, Span, SpanContext, Status, StatusCode, Tracer

from crucible_trace_otel._interruption import is_from_handler
from crucible_trace_otel.record._calls import traced
from crucible_trace_otel.record._context import context_of, enclosing_context, living_context, operation_in, placed_in
from crucible_trace_otel.record._event_log import is_logged
from crucible_trace_otel.record._failure import Outcome, exception_event, hand_over, is_recorded, outcome_of
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._ids import ANY_IDS, RunIds, ids_requested, new_event_id
from crucible_trace_otel.record._late import as_late
from crucible_trace_otel.record._links import Causes, Links, LinkTarget, LinkTargets, causes_of, may_link, remember
from crucible_trace_otel.record._metrics import measure_event, measure_span
from crucible_trace_otel.record._recorded import Judged
from crucible_trace_otel.record._sums import summed_up
from crucible_trace_otel.record._tracer import current_tracer
from crucible_trace_otel.record._values import AttributeValue, Cleaned, Repairs, clean, one_line
from crucible_trace_otel.record.processes._process import process_facts
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["GAP_NS", "Operation", "emit_event"]

if TYPE_CHECKING:
    from typing_extensions import Self

    from crucible_trace_otel.record._context import Placed
    from crucible_trace_otel.record._parts import RunPart, RunParts

GAP_NS = 1_000  # viewers' critical paths drop spans that share a boundary

F = TypeVar("F")
R = TypeVar("R")
_UNRECORDED = 1  # the start of an operation while nobody has set up a tracer provider


class Operation(Judged):
    """Something with a duration: a span of ours. Use it in `with`, as a decorator, or by `start()` and `stop()`.

    It begins when it is entered or started, never when it is made. Work done inside it, in this thread or in the tasks
    it starts, is recorded below it. No method raises; an exception of the user's code is recorded on the innermost
    operation it leaves and goes on unchanged.

    Args:
        subject: What it is about; its first 120 characters become the summary that viewers show.
        target: Appended to the span's name. Only for what is written in code: span names must stay few.
        of: The operation whose method made it: it belongs there, even where it is started on another thread.
        attributes: Convention attributes that are known before it starts.
        repairs: Which of these are not as they were given, or not as they should be.
        depends_on: Records this one depends on.
        links: Other causal links: link type to its target or targets.
    """

    operation_name: str
    """The convention's name for it, e.g. `training_run`."""
    _when_started: ClassVar[tuple[str, ...]] = (
        *("event_id", "ended", "span", "_outer", "_context", "_left", "_previous", "_parent", "_causes"),
        *("_started_at", "_clock_offset", "_last_child_end", "_process", "late", "_parts", "_part", "_spent"),
        *("_inherited", "_is_settled"),
    )
    """What it is given while it lives, a default of the class before that: setting each costs who records nothing."""

    event_id = ""
    ended = False
    span: Span = trace_api.INVALID_SPAN
    """The plain OpenTelemetry span, for whatever this package does not cover."""
    _outer: "Operation | None" = None
    _context: Context | None = None
    _previous: Context | None = None
    _left: "Callable[[], Context | None]" = nothing  # what `_context` was, where that is not kept
    _parent = trace_api.INVALID_SPAN_CONTEXT
    _causes: Causes
    _parts: "RunParts | None" = None  # of the training run it is inside of, or is
    _part: "RunPart | None" = None
    _spent: Any = None  # the sum of the calls of language models inside it, see `_sums`
    _inherited: Mapping[str, Any] = MappingProxyType({})
    _is_settled = True  # whether nothing is left to find out at its end
    _started_at = _clock_offset = _last_child_end = _process = late = 0

    def __init__(
        self,
        subject: object,
        *,
        target: object = None,
        of: "Operation | None" = None,
        attributes: Mapping[str, Any] | None = None,
        repairs: Repairs | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        self.about = one_line(subject)
        self._span_name = self.operation_name if target is None else f"{self.operation_name} {one_line(target)}"
        self._given = dict(attributes or {})
        self._given_repairs = dict(repairs or {})
        self._depends_on = depends_on
        self._links = links
        self._of = of
        self._inherits: dict[str, Any] = {}
        """Attributes that everything recorded inside it carries too."""
        self._prepare()

    def _prepare(self) -> None:
        """Be ready to start: at construction, and for each call of a decorated function."""
        self._repairs: Repairs = dict(self._given_repairs)
        self._abandoned: list[tuple[Operation, int]] = []

    def _fresh(self, /, *_: Any, **__: Any) -> "Self":
        """The same operation, not started: for a call with these arguments."""
        twin = copy.copy(self)
        for name in self._when_started:
            vars(twin).pop(name, None)
        twin._prepare()
        return twin

    def _result(self, returned: R) -> R:
        """What a decorated function returned; for the rooms to look at."""
        return returned

    # ---- what it is ----

    @property
    def span_context(self) -> SpanContext:
        """Trace id, span id and flags of its span; invalid while it has not started or nothing is configured."""
        return self.span.get_span_context()

    @property
    def outer(self) -> "Operation | None":
        """The operation of ours around it; None where there is none or it has not started."""
        return self._outer

    @property
    def is_recording(self) -> bool:
        """Whether what is recorded now is kept."""
        return self.span.is_recording()

    def _records(self) -> bool:
        """Whether what is recorded now is kept here; ends what a broken-off loop left."""
        self._settle()
        return self.span.is_recording()

    # ---- its life ----

    def start(self) -> "Self":
        """Begin, and become what later work in this context is recorded below. A second start does nothing."""
        self._begin(None)
        return self

    def _start_inside(self, outer: "Operation") -> "Self":
        """Begin as a child of `outer` without becoming current."""
        self._begin(outer)
        return self

    def stop(self) -> None:
        """End well. A second end does nothing."""
        self._finish(None)

    def fail(self, error: BaseException | str | None = None) -> None:
        """End with an error: an exception, or a sentence where there is none."""
        self._finish("it failed without saying why" if error is None else error)

    def __enter__(self) -> "Self":
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._finish(error)

    def __call__(self, function: F) -> F:
        """As a decorator: each call of `function` (sync, async, generator, async generator) is one such operation."""
        return traced(self, function)

    # ---- for the rooms of record/ ----

    @guarded(nothing)
    def set(self, attributes: Mapping[str, Any]) -> None:
        """Set convention attributes, coerced; a None is left out."""
        if self.span.is_recording() and self._is_here():
            self._set_cleaned(clean(attributes, self._repairs))
        elif self.ended:
            emit_event(self, "", attributes)

    def _set_cleaned(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Set attributes that OpenTelemetry can carry as they are."""
        self.span.set_attributes(attributes)

    @guarded(nothing)
    def link(self, link_type: str, target: LinkTarget) -> None:
        """Add a causal link; after its end it is kept as what is late."""
        if self.ended:
            emit_event(self, "", causes_of(self.event_id, links={link_type: target}).attributes())
        elif self.span.is_recording():
            link = self._causes.add(self.event_id, link_type, target)
            if link is not None and may_link(link.context, self._parent, self.span_context.trace_id):
                self.span.add_link(link.context, link.attributes)
            self.set(self._causes.attributes())

    def _now_ns(self) -> int:
        """Nanoseconds since 1970 by the clock of this trace, which no change of the wall clock moves."""
        return time.perf_counter_ns() + self._clock_offset

    def _settle(self) -> None:
        """End what a loop left behind when it was broken off, at the time it was left."""
        while self._abandoned:
            with suppress(IndexError):  # another thread was faster
                left, at = self._abandoned.pop()
                left._finish(None, at)

    def _abandon(self) -> None:
        """Leave without ending: whether well or with an exception is known when what encloses it ends."""
        self._leave()
        if self._outer is None or self._outer.ended:
            self._finish(None)
        elif not self.ended:
            self._outer._abandoned.append((self, self._now_ns()))

    def _on_start(self) -> dict[str, Any]:
        """Attributes that are known only when it starts; for the rooms to override."""
        return {}

    def _settle_data(self, error: BaseException | str | None) -> None:
        """Find out at the end what took its time, where it is not settled; for the rooms to override."""

    def _before_end(self) -> None:
        """Set what is known only at the end; for the rooms to override."""

    def _causes_at_start(self) -> Causes:
        """Its causal links, for the rooms to override."""
        return causes_of(self.event_id, None, self._depends_on, self._links)

    def _wanted_ids(self) -> RunIds:
        """The ids it wants, that of the trace where it is a root; for the rooms to override."""
        return ANY_IDS

    @guarded(nothing)
    def _begin(self, inside: "Operation | None") -> None:
        try:
            self._start_span(inside)
        except BaseException as error:
            if not isinstance(error, Exception) or is_from_handler(error):  # a block that is not entered is not left
                self._finish(error)
            raise

    def _start_span(self, inside: "Operation | None") -> None:
        if self._started_at or self.ended:
            return
        tracer = current_tracer()
        if tracer is None:
            self._started_at = _UNRECORDED
            return
        self._previous = living_context() if inside is None else inside._context or Context()
        base = enclosing_context(self._previous, self._of)
        self._outer = operation_in(base)
        if self._outer is not None:
            self._outer._settle()
            self._parts = self._parts or self._outer._parts
        self._process = os.getpid()
        base, self._part, placed = self._place(base)
        self.event_id = new_event_id()
        self._causes = self._causes_at_start()
        self._started_at = self._start_clock()
        at_start = self._on_start()
        self._inherited = {**(self._outer._inherited if self._outer else process_facts()), **self._inherits}
        attributes = {
            attr.CRUCIBLE_OPERATION_NAME: self.operation_name,
            attr.CRUCIBLE_ABOUT: self.about,
            attr.CRUCIBLE_EVENT_ID: self.event_id,
            **self._inherited,
            **self._given,
            **at_start,
            **placed,
        }
        self._parent = trace_api.get_current_span(base).get_span_context()
        ids = self._wanted_ids()
        links = [link for link in self._causes.links if may_link(link.context, self._parent, ids.trace_id)]
        with ids_requested(ids):
            cleaned = clean(attributes, self._repairs) | self._causes.attributes()
            inside_it = self._open(tracer, base, cleaned, links)
        if self._part is not None:
            self._part.enter()
        remember(self, self._causes)
        if inside is None:
            context_api.attach(inside_it)

    def _open(self, tracer: Tracer, base: Context, attributes: Cleaned, links: Sequence[Link]) -> Context:
        """Start its span in `base`, and make the context for what lies inside."""
        began = self._started_at
        self.span = tracer.start_span(self._span_name, base, attributes=attributes, links=links, start_time=began)
        self._context = context_of(self, base)
        return self._context

    @guarded(nothing)
    def _finish(self, error: BaseException | str | None, at_ns: int | None = None) -> None:
        if self._started_at == _UNRECORDED and self._is_settled:
            self.ended = True
        if self.ended or not self._started_at:
            return
        now, is_here = self._now_ns(), False
        try:
            try:
                is_here = self._is_here()
                if not self._is_settled:
                    self._settle_data(error)
                for left, at in self._abandoned:
                    left._finish(error, at)
                if is_here and self.span.is_recording():
                    self._close(outcome_of(error), error)
            finally:
                self._before_end()
        finally:
            self.ended = True
            end = max(min(at_ns or now, now), self._started_at, self._last_child_end)
            if self._outer is not None:
                self._outer._last_child_end = max(self._outer._last_child_end, end)
            try:
                self._leave()
            finally:
                if is_here:
                    self.span.end(end)
                    measure_span(self.operation_name, self.span, end - self._started_at)
                    if self._part is not None:
                        self._part.leave()

    def _is_here(self) -> bool:
        """Whether this process started it: a forked child leaves the spans of its parent to the parent."""
        return self._process == os.getpid()

    @guarded(nothing)
    def _close(self, outcome: Outcome, error: BaseException | str | None) -> None:
        """Say how it ended; the exception itself only where no operation inside has said it."""
        ended = {attr.CRUCIBLE_OPERATION_RESULT: outcome.result, attr.ERROR_TYPE: outcome.error_type}
        self.set({**ended, **self._state(outcome), **summed_up(self)})
        if outcome.is_error:
            self.span.set_status(Status(StatusCode.ERROR, outcome.description))
        if isinstance(error, BaseException):
            if outcome.is_error and not is_recorded(error, self.event_id):
                emit_event(self, *exception_event(error))
            hand_over(error, self._outer.event_id if self._outer else None)

    def _state(self, outcome: Outcome) -> dict[str, Any]:  # noqa: ARG002 - for the rooms
        """Attributes that tell the outcome in the words of the room; for the rooms to override."""
        return {}

    def _place(self, base: Context) -> "Placed":
        """The context its span starts in: `base`, unless the trace of that is full."""
        return placed_in(self._outer, base)

    def _start_clock(self) -> int:
        """When it starts: by the clock of what encloses it, a little after the last thing in there ended."""
        if self._outer is None:
            self._clock_offset = time.time_ns() - time.perf_counter_ns()
            return self._now_ns()
        self._clock_offset = self._outer._clock_offset
        return max(self._now_ns(), self._outer._last_child_end + GAP_NS)

    def _leave(self) -> None:
        """Stop being current, if it is: by attaching what was there before, which no other context can forbid."""
        here = context_api.get_current()
        if here is self._context:
            context_api.attach(living_context(self, here))


@guarded(nothing)
def emit_event(operation: Operation, name: str, attributes: Mapping[str, Any], time_ns: int | None = None) -> None:
    """Record an event of `operation`, as a span event, a log record, or both: the only place that adds span events."""
    if operation.ended or not operation._is_here():
        operation, name, attributes = as_late(operation, name, attributes)
    if operation.span.is_recording() and operation._is_here():
        cleaned, at = clean(attributes), time_ns or operation._now_ns()
        if not is_logged(operation.span, name, cleaned, at):
            operation.span.add_event(name, cleaned, at)
        measure_event(name, cleaned, operation.span)
