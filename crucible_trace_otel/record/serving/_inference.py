"""An inference: one use of a served model, made for a request path.

What is the same for all inferences of a deployment (its name, the model, the links) is put together once. Where only a
part of them is recorded, the others note their start and nothing else; one that fails is recorded all the same.
"""

import os
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any
from weakref import ref

from opentelemetry import context as context_api
from opentelemetry.trace import Link

from crucible_trace_otel.record._context import operation_in, placed_in
from crucible_trace_otel.record._failure import Outcome, outcome_of
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._ids import entropy, new_event_id
from crucible_trace_otel.record._links import Causes, Links, LinkTarget, LinkTargets, causes_of, links_with
from crucible_trace_otel.record._metrics import measure_span
from crucible_trace_otel.record._model_calls import ModelCall
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._tracer import current_tracer
from crucible_trace_otel.record._values import clean
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import Result

if TYPE_CHECKING:
    from typing_extensions import Self

    from crucible_trace_otel.record.deployment import Deployment

__all__ = ["Inference"]

_SUCCEEDED = {attr.CRUCIBLE_OPERATION_RESULT: Result.SUCCESS}


class Inference(ModelCall):
    """One use of a served model."""

    operation_name = spans.INFERENCE
    _of: "Deployment | None"
    _when_started = (*ModelCall._when_started, "_skipped_at", "_is_brief")
    _skipped_at = 0
    _is_brief = False

    def __init__(
        self,
        about: object = "inference",
        *,
        of: "Deployment | None" = None,
        batch_size: int | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        attributes: dict[str, Any] = {} if batch_size is None else {attr.CRUCIBLE_INFERENCE_BATCH_SIZE: batch_size}
        super().__init__(about, of=of, attributes=attributes, depends_on=depends_on, links=links)
        self._ratio = None if of is None else of._ratio

    def start(self) -> "Self":
        """Begin, unless it is one of those that are not recorded. A second start does nothing."""
        if self._ratio is None or self._started_at or self.ended:
            self._begin(None)
        elif not self._skipped_at:
            if entropy.random() < self._ratio:
                self._begin(None)
            else:
                self._skipped_at = time.perf_counter_ns()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if error is None and self._skipped_at:
            self.ended = True
        else:
            self._finish(error)

    @guarded(nothing)
    def link(self, link_type: str, target: LinkTarget) -> None:
        """Add a causal link; after its end it is kept as what is late."""
        if self.span.is_recording():
            self._causes = self._causes.copy()  # what it has so far is shared with all of its deployment
        super().link(link_type, target)

    def _start_span(self, inside: Operation | None) -> None:
        """Straight below its deployment, or after the end of that: as any operation, with less to find out.

        It is not remembered by its event id: a service has no end of them, and they would push out what is.
        """
        of, here, tracer = self._of, context_api.get_current(), current_tracer()
        around = operation_in(here)
        has_own = self._depends_on is not None or self._links is not None or self._skipped_at or inside is not None
        if of is None or tracer is None or has_own or around not in (None, None if of.ended else of) or of._parts:
            super()._start_span(inside)
            return
        if self._started_at or self.ended:
            return
        base = placed_in(None, here).context if of.ended else of._context if around is None else here
        if not of.ended:
            of._settle()
            self._outer, self._inherited = of, of._inherited
        self._previous, self._process = here, os.getpid()
        each = of._each_inference()
        self._causes = each.causes
        self.event_id = new_event_id()
        self._started_at = super()._start_clock()
        attributes = {**each.attributes, attr.CRUCIBLE_ABOUT: self.about, attr.CRUCIBLE_EVENT_ID: self.event_id}
        if self._inherited:
            attributes |= clean(self._inherited)
        if self._given:
            attributes |= clean(self._given, self._repairs)
        inside_it = self._open(tracer, base or here, attributes, [Link(*one) for one in each.linked])
        self._is_brief = True
        context_api.attach(inside_it)

    @guarded(nothing)
    def _finish(self, error: BaseException | str | None, at_ns: int | None = None) -> None:
        if self._skipped_at and not self.ended:
            if not outcome_of(error).is_error:
                self.ended = True
                return
            self._begin(None)  # in the past: see `_start_clock`
        is_plain = self._is_brief and not self._abandoned and self._charge is None and self._spent is None
        if error is not None or at_ns is not None or self.ended or not is_plain:
            super()._finish(error, at_ns)
            return
        end = max(self._now_ns(), self._started_at, self._last_child_end)
        if self._outer is not None:
            self._outer._last_child_end = max(self._outer._last_child_end, end)
        is_here = False
        try:
            is_here = self._is_here()
            if is_here:
                self._set_cleaned(_SUCCEEDED)
        finally:
            self.ended = True
            try:
                self._leave()
            finally:
                if is_here:
                    self.span.end(end)
                    measure_span(self.operation_name, self.span, end - self._started_at)
            if self._context is not None:  # which holds it: so that it is freed at once
                self._left, self._context = ref(self._context), None

    def _start_clock(self) -> int:
        now = super()._start_clock()
        return self._skipped_at + self._clock_offset if self._skipped_at else now

    def _causes_at_start(self) -> Causes:
        """Those of its deployment, too; of a decorated function each call has them."""
        if self._of is None:
            return super()._causes_at_start()
        links = links_with(self._of._each_inference().links, self._links)
        return causes_of(self.event_id, None, self._depends_on, links)

    def _on_start(self) -> dict[str, Any]:
        """What is the same for all of its deployment, and what was told of it before it was known to be recorded."""
        of_all = {} if self._of is None else self._of._each_inference().said
        told = {**of_all, **self._charged()} if self._details else dict(of_all)
        if self._first_token_ns and told.get(attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK) is None:
            told[attr.GEN_AI_RESPONSE_TIME_TO_FIRST_CHUNK] = self._to_first_token()
        return told

    def _state(self, outcome: Outcome) -> dict[str, Any]:
        """Of those that fail all are recorded: each stands for itself."""
        is_sampled = self._ratio is not None and outcome.is_error
        return {**super()._state(outcome), attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO: 1.0 if is_sampled else None}
