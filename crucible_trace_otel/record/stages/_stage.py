"""One step of a pipeline: where it stands among the others, how it ended, what is remembered of it."""

import os
from collections.abc import Iterable, Mapping
from inspect import Signature, signature, unwrap
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._calls import traced
from crucible_trace_otel.record._failure import Outcome
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._links import Links, LinkTarget, LinkTargets
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record.stages._attempts import Retrying, retried
from crucible_trace_otel.record.stages._data import seconds_of
from crucible_trace_otel.record.stages._stage_items import StageItems
from crucible_trace_otel.record.stages._stage_order import link_after
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType, Result

if TYPE_CHECKING:
    from typing_extensions import Self

    from crucible_trace_otel.record.pipeline import Pipeline
    from crucible_trace_otel.record.stages._stage_memory import Complete, StageMemory

__all__ = ["After", "Stage"]

F = TypeVar("F")
R = TypeVar("R")
After: TypeAlias = LinkTarget | Iterable[LinkTarget]
"""What a stage comes after: stages of its pipeline, by name or as what `pipeline.stage()` gave, or other records."""


class Stage(StageItems):
    """One step of a pipeline."""

    operation_name = spans.STAGE
    _when_started = (
        *StageItems._when_started,
        *("result", "_error_type", "_after_names", "_missed", "_is_skipped", "_index"),
        *("_memory", "_key", "_process_of_memory", "_recalled", "_unchanged"),
    )
    result: str | None = None
    """How it ended: `success`, `error`, `timeout`, `cancellation`, `skip`; None before that, or unrecorded."""
    _error_type: str | None = None
    _after_names: tuple[str, ...] = ()
    _missed: tuple[str, ...] = ()
    _is_skipped = False
    _index: int | None = None
    _memory: "StageMemory | None" = None
    _key = ""
    _process_of_memory = 0
    _recalled: "Complete | None" = None
    _unchanged = False

    def __init__(
        self,
        name: object,
        *,
        of: "Pipeline | None" = None,
        config: Mapping[str, Any] | None = None,
        after: After | None = None,
        attempt: int | None = None,
        cached: bool | None = None,
        digest: bool | float = False,
        retrying: Retrying | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        attributes = {
            attr.CRUCIBLE_STAGE_NAME: name,
            attr.CRUCIBLE_STAGE_CONFIG: config,
            attr.CRUCIBLE_STAGE_ATTEMPT: attempt,
            attr.CRUCIBLE_STAGE_CACHED: cached,
        }
        super().__init__(name, target=name, of=of, attributes=attributes, depends_on=depends_on, links=links)
        self._after = after
        self._digests = digest is not False and digest is not None
        self._digest_within = seconds_of(digest) if self._digests else 0.0
        self._signature: Signature | None = None
        self._call: tuple[Any, Any] | None = None
        """The arguments of the decorated function, until they are digested."""
        self._retrying = retrying
        self._before: Stage | None = None

    @property
    def attempt(self) -> int:
        """Number of the attempt, 0 for the first."""
        number = self._given.get(attr.CRUCIBLE_STAGE_ATTEMPT)
        return number if isinstance(number, int) else 0

    # ---- its life ----

    def __call__(self, function: F) -> F:
        """As a decorator: each call of `function` (sync, async, generator, async generator) is one such stage."""
        made = self._fresh()
        made._given = {**self._given, **_place_of(function)}
        if self._digests:
            made._signature = _signature_of(function)
        return traced(made, function) if self._retrying is None else retried(made, function, self._retrying)

    def _fresh(self, /, *args: Any, **kwargs: Any) -> "Self":
        """The same stage, not started: for a call with these arguments, which it digests where that is wanted."""
        twin = super()._fresh()
        twin._call = (args, kwargs) if self._digests else None
        return twin

    @guarded(lambda _, returned: returned)
    def _result(self, returned: R) -> R:
        """What the decorated function returned, digested where that is wanted."""
        if self._digests:
            self._take_datum("output", returned, None, within=self._digest_within)
        return returned

    def _start_span(self, inside: Operation | None) -> None:
        """Begin; that it is another attempt is told here where no pipeline tells it."""
        if self._started_at or self.ended:
            return
        if self._retrying is not None:
            said = "retries= works as a decorator; for a block there is `for attempt in pipeline.attempts(...)`."
            warn_once(f"retries {self.about}", f"Stage {self.about!r} is tried once: {said}")
        if self._of is not None:
            self._recall()
        super()._start_span(inside)
        if self._before is not None and _pipeline(self._around()) is None:
            self._tell_retry(self, self._before)
        self._before = None  # it would hold the one before it, and so on
        if self._call is not None:
            (args, kwargs), self._call = self._call, None
            self._take_arguments(self._signature, args, kwargs, self._digest_within)

    def _on_start(self) -> dict[str, Any]:
        """What is recorded inside a stage carries its id; its index is its place in the order of starts."""
        self._inherits = {attr.CRUCIBLE_STAGE_ID: self.event_id}
        around = self._around()
        direct = pipeline = _pipeline(around)
        while around is not None and pipeline is None:
            around = around.outer
            pipeline = _pipeline(around)
        if pipeline is None and self._before is None and self._after is None:
            return {}
        self._take_place(pipeline)
        if self._before is not None:  # tries at one stage share its place
            self._index = self._before._index
        else:
            self._index = direct._order.next_index() if direct is not None else None
        return {
            attr.CRUCIBLE_STAGE_INDEX: self._index,
            attr.CRUCIBLE_PIPELINE_NAME: None if pipeline is None else pipeline.about,
            attr.CRUCIBLE_PIPELINE_ID: None if pipeline is None else pipeline.event_id or None,
        }

    def _around(self) -> Operation | None:
        """The pipeline whose method made it, or else what is around it."""
        return self._of or self._outer

    @guarded(nothing)
    def _take_place(self, around: "Pipeline | None") -> None:
        """Be linked to the attempt before it and to what it comes after, and be known to its pipeline by name."""
        order = None if around is None else around._order
        if order is not None and self.attempt and self._before is None:
            self._before = order.latest(self.about)
        if self._before is not None:
            self._causes.add(self.event_id, LinkType.RETRIED_FROM, self._before)
            if _pipeline(self._around()) is not None:
                self._tell_retry(self._around(), self._before)
        if self._after is not None:
            link_after(self, order, self._after)
        if order is not None:
            order.take_in(self)

    def _tell_retry(self, place: Operation | None, before: "Stage") -> None:
        if place is not None and place.is_recording:
            told = self._told | {attr.ERROR_TYPE: before._error_type}
            emit_event(place, events.STAGE_RETRIED, told)

    @property
    def _told(self) -> dict[str, Any]:
        """What its events say of it."""
        return {
            attr.CRUCIBLE_ABOUT: self.about,
            attr.CRUCIBLE_STAGE_NAME: self.about,
            attr.CRUCIBLE_STAGE_INDEX: self._index,
            attr.CRUCIBLE_STAGE_ATTEMPT: self.attempt or None,
        }

    def _attempt_of(self, args: Any, kwargs: Any, number: int, before: "Stage | None") -> "Stage":
        """Attempt `number` of a stage like this one, for a call with these arguments."""
        attempt = self._tried_once(*args, **kwargs)
        attempt._given = {**self._given, attr.CRUCIBLE_STAGE_ATTEMPT: number}
        attempt._before = before
        return attempt

    def _tried_once(self, /, *args: Any, **kwargs: Any) -> "Self":
        """The same stage, not started and not tried again."""
        attempt = self._fresh(*args, **kwargs)
        attempt._retrying = None
        return attempt

    def _state(self, outcome: Outcome) -> dict[str, Any]:
        """How it ended: skipped where it was, unless with an exception."""
        self.result = Result.SKIP if self._is_skipped and outcome.result == Result.SUCCESS else outcome.result
        self._error_type = outcome.error_type
        return {attr.CRUCIBLE_OPERATION_RESULT: self.result}

    # ---- what is recorded of it ----

    @guarded(nothing)
    def skip(self, reason: str | None = None, *, cached: bool = False) -> None:
        """Record that it is not run; it is left by your own `if`, `return` or `break`.

        Args:
            reason: Why.
            cached: Whether its result is there already.
        """
        self._is_skipped = self._is_skipped or not self.ended
        if is_kept(self):
            self._tell_skip(reason, cached=cached)

    @guarded(nothing)
    def _tell_skip(self, reason: str | None, *, cached: bool, time_ns: int | None = None) -> None:
        told = {attr.CRUCIBLE_STAGE_REASON: reason, attr.CRUCIBLE_STAGE_CACHED: True if cached else None}
        self.set(told)
        emit_event(self, events.STAGE_SKIPPED, self._told | told, time_ns)
        earlier = self._recalled.execution if cached and self._unchanged and self._recalled is not None else None
        if earlier is not None:
            self.link(LinkType.PRODUCED_BY, earlier)

    # ---- what its pipeline remembers of it ----

    @property
    def is_unchanged(self) -> bool:
        """Whether what went in so far, and its configuration, are what they were when it was last complete.

        Of a stage that `pipeline.stage()` makes, in a pipeline with `state=` or `cache=`; else False, as where nothing
        went in, or not all of it has a digest, or a file that came out of it is not there as it was. It waits until
        the inputs are digested.
        """
        return self._compare()

    @guarded(lambda _: False)
    def _compare(self) -> bool:
        now = self._complete() if self._recalled is not None else None
        self._unchanged = (
            now is not None
            and self._recalled is not None
            and now.inputs == self._recalled.inputs
            and self._recalled.are_outputs_there()
        )
        return self._unchanged

    @guarded(nothing)
    def _recall(self) -> None:
        pipeline = _pipeline(self._of)
        self._memory = None if pipeline is None else pipeline._memory
        if self._memory is not None:
            self._is_settled = False
            self._process_of_memory = os.getpid()
            self._key, self._recalled = self._memory.take_out(
                self._given[attr.CRUCIBLE_STAGE_NAME], is_first=not self.attempt
            )

    def _complete(self) -> "Complete | None":
        if self._memory is None:
            return None
        from crucible_trace_otel.record.stages._stage_memory import complete  # noqa: PLC0415 - only for who has a memory

        config = self._given.get(attr.CRUCIBLE_STAGE_CONFIG)
        return complete(self, config, self._data["input"], self._data["output"])

    @guarded(nothing)
    def _settle_data(self, error: BaseException | str | None) -> None:
        """Tell what went in and came out; be remembered where it ended well, and as it was where it was skipped."""
        super()._settle_data(error)
        known = self._recalled if self._is_skipped else self._complete()
        is_here = self._process_of_memory == os.getpid()  # a forked child does not complete what its parent began
        if self._memory is not None and is_here and error is None and known is not None:
            self._memory.put_back(self._key, known)

    def _wants_data(self) -> bool:
        """Whether it is recorded or remembered."""
        return is_kept(self) or self._memory is not None


def _pipeline(operation: Operation | None) -> "Pipeline | None":
    """`operation` if it is a pipeline."""
    is_pipeline = operation is not None and operation.operation_name == spans.PIPELINE
    return cast("Pipeline", operation) if is_pipeline else None


@guarded(lambda _: dict[str, Any]())
def _place_of(function: Any) -> dict[str, Any]:
    """Where a decorated function lives."""
    wrapped = getattr(function, "__func__", function)
    code = getattr(unwrap(wrapped), "__code__", None)
    return {
        attr.CODE_FUNCTION_NAME: f"{wrapped.__module__}.{wrapped.__qualname__}",
        attr.CODE_FILE_PATH: None if code is None else code.co_filename,
        attr.CODE_LINE_NUMBER: None if code is None else code.co_firstlineno,
    }


def _no_signature(_: Any) -> Signature | None:
    return None


@guarded(_no_signature)
def _signature_of(function: Any) -> Signature | None:
    """The parameters of a function; None where it does not tell them, as some of those written in C."""
    return signature(getattr(function, "__func__", function))
