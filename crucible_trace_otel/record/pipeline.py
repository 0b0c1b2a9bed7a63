"""Pipelines and their stages.

with crucible.pipeline("nightly") as nightly:
    with nightly.stage("load") as load:
        rows = read()
    with nightly.stage("train", after="load"):
        fit(rows)
    nightly.skip_stage("publish", reason="a dry run")

@crucible.stage("clean", retries=2, retry_on=OSError)
def clean(rows): ...
"""

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._attempts import Attempts, Retrying, Wait, retried, retrying
from crucible_trace_otel.record._failure import Outcome
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._links import Links, LinkTarget, LinkTargets
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._stage_order import StageOrder, link_after
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType, Result

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Pipeline", "Stage", "pipeline", "stage"]

F = TypeVar("F")
After: TypeAlias = LinkTarget | Iterable[LinkTarget]
"""What a stage comes after: stages of its pipeline, by name or as what `pipeline.stage()` gave, or other records."""


class Stage(Operation):
    """One step of a pipeline."""

    operation_name = spans.STAGE

    def __init__(
        self,
        name: object,
        *,
        of: "Pipeline | None" = None,
        config: Mapping[str, Any] | None = None,
        after: After | None = None,
        attempt: int | None = None,
        cached: bool | None = None,
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
        super().__init__(name, target=name, attributes=attributes, depends_on=depends_on, links=links)
        self._within = of
        self._after = after
        self._retrying = retrying
        self._before: Stage | None = None

    def _prepare(self) -> None:
        super()._prepare()
        self.result: str | None = None
        """How it ended: `success`, `error`, `timeout`, `cancellation`, `skip`; None before that, or unrecorded."""
        self._error_type: str | None = None
        self._after_names: tuple[str, ...] = ()
        self._missed: tuple[str, ...] = ()
        self._is_skipped = False
        self._index: int | None = None

    @property
    def attempt(self) -> int:
        """Number of the attempt, 0 for the first."""
        number = self._given.get(attr.CRUCIBLE_STAGE_ATTEMPT)
        return number if isinstance(number, int) else 0

    # ---- its life ----

    def __call__(self, function: F) -> F:
        """As a decorator: each call of `function` (sync, async, generator, async generator) is one such stage."""
        return super().__call__(function) if self._retrying is None else retried(self, function, self._retrying)

    @guarded(nothing)
    def _begin(self, inside: Operation | None) -> None:
        """Begin; that it is another attempt is told here where no pipeline tells it."""
        if self._retrying is not None:
            said = "retries= works as a decorator; for a block there is `for attempt in pipeline.attempts(...)`."
            warn_once(f"retries {self.about}", f"Stage {self.about!r} is tried once: {said}")
        super()._begin(inside)
        if self._before is not None and not isinstance(self._around(), Pipeline):
            self._tell_retry(self, self._before)

    def _on_start(self) -> dict[str, Any]:
        """What is recorded inside a stage carries its id; its index is its place in the order of starts."""
        self._inherits = {attr.CRUCIBLE_STAGE_ID: self.event_id}
        around = self._around()
        while around is not None and not isinstance(around, Pipeline):
            around = around.outer
        self._take_place(around)
        direct = self._around()
        self._index = direct._order.next_index() if isinstance(direct, Pipeline) else None
        of = (
            {}
            if around is None
            else {attr.CRUCIBLE_PIPELINE_NAME: around.about, attr.CRUCIBLE_PIPELINE_ID: around.event_id or None}
        )
        return {attr.CRUCIBLE_STAGE_INDEX: self._index, **of}

    def _around(self) -> Operation | None:
        """The pipeline whose method made it, or else what is around it."""
        return self._within or self._outer

    @guarded(nothing)
    def _take_place(self, around: "Pipeline | None") -> None:
        """Be linked to the attempt before it and to what it comes after, and be known to its pipeline by name."""
        order = None if around is None else around._order
        if order is not None and self.attempt and self._before is None:
            self._before = order.latest(self.about)
        if self._before is not None:
            self._causes.add(self.event_id, LinkType.RETRIED_FROM, self._before)
            if isinstance(self._around(), Pipeline):
                self._tell_retry(self._around(), self._before)
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
        if is_kept(self):
            self._is_skipped = not self.ended
            self._tell_skip(reason, cached=cached)

    @guarded(nothing)
    def _tell_skip(self, reason: str | None, *, cached: bool, time_ns: int | None = None) -> None:
        told = {attr.CRUCIBLE_STAGE_REASON: reason, attr.CRUCIBLE_STAGE_CACHED: True if cached else None}
        self.set(told)
        emit_event(self, events.STAGE_SKIPPED, self._told | told, time_ns)


class Pipeline(Operation):
    """An ordered set of stages."""

    operation_name = spans.PIPELINE

    def __init__(
        self,
        name: object,
        *,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        super().__init__(
            name, target=name, attributes={attr.CRUCIBLE_PIPELINE_NAME: name}, depends_on=depends_on, links=links
        )

    def _prepare(self) -> None:
        super()._prepare()
        self._order = StageOrder()

    @forgiving
    def stage(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        after: After | None = None,
        attempt: int | None = None,
        cached: bool | None = None,
        retries: int = 0,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        wait: Wait = 0.0,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Stage:
        """A stage of this pipeline: see `crucible.stage`."""
        return Stage(
            name,
            of=self,
            config=config,
            after=after,
            attempt=attempt,
            cached=cached,
            retrying=retrying(retries, retry_on, wait, beside=1) if retries else None,
            depends_on=depends_on,
            links=links,
        )

    @forgiving
    def attempts(
        self,
        name: str,
        attempts: int,
        *,
        retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
        wait: Wait = 0.0,
        config: Mapping[str, Any] | None = None,
        after: After | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Attempts:
        """Tries at a stage, each a stage of its own, until one ends without an exception.

            for attempt in pipeline.attempts("fetch", 3, retry_on=OSError, wait=1.0):
                with attempt:
                    fetch()

        The exception of the last one goes on unchanged, and so does what is no `Exception`, such as Ctrl-C. In a
        coroutine it is `async for`, which waits without holding up the event loop.

        Args:
            name: Of the stage.
            attempts: How many there are at most.
            retry_on: After which exceptions it is tried again: a class or several.
            wait: Seconds between two, or a function of the number of the one that failed, 0 for the first.
            config: Settings of the stage, kept as JSON.
            after: What it comes after: see `crucible.stage`.
            depends_on: Records it rests on.
            links: Other causal links: link type to its target or targets.
        """
        made = Stage(name, of=self, config=config, after=after, depends_on=depends_on, links=links)
        return Attempts(partial(made._attempt_of, (), {}), retrying(attempts, retry_on, wait))

    @forgiving
    def skip_stage(
        self,
        name: str,
        *,
        reason: str | None = None,
        cached: bool = False,
        config: Mapping[str, Any] | None = None,
        after: After | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Stage:
        """Record a stage that is not run, as a span without length, so that it is seen. What is returned has ended.

        Args:
            name: Of the stage.
            reason: Why it is not run.
            cached: Whether its result is there already.
            config: Its settings, kept as JSON.
            after: What it would have come after: see `crucible.stage`.
            depends_on: Records it rests on.
            links: Other causal links: link type to its target or targets.
        """
        skipped = Stage(name, of=self, config=config, after=after, depends_on=depends_on, links=links).start()
        skipped._is_skipped = True
        skipped._tell_skip(reason, cached=cached, time_ns=skipped._started_at)
        skipped._stop_at(skipped._started_at)
        return skipped

    def _on_start(self) -> dict[str, Any]:
        """Its own id."""
        return {attr.CRUCIBLE_PIPELINE_ID: self.event_id}


@forgiving
def pipeline(
    name: str,
    *,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Pipeline:
    """A pipeline, to be used in `with`, as a decorator, or by `start()` and `stop()`.

    Args:
        name: What it is called; it becomes part of the span's name, so write it in code, without dates or numbers.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return Pipeline(name, depends_on=depends_on, links=links)


@forgiving
def stage(
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    after: After | None = None,
    attempt: int | None = None,
    cached: bool | None = None,
    retries: int = 0,
    retry_on: type[BaseException] | tuple[type[BaseException], ...] = Exception,
    wait: Wait = 0.0,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Stage:
    """A stage, to be used in `with`, as a decorator, or by `start()` and `stop()`.

    Args:
        name: What it is called; it becomes part of the span's name, so write it in code, without dates or numbers.
        config: Its settings, kept as JSON.
        after: What it comes after: stages of its pipeline that have started, by name, or any records.
        attempt: Number of the attempt, 0 for the first, where you try again yourself: a later one is linked to the
            stage of the same name before it in its pipeline.
        cached: Whether its result comes from a cache.
        retries: As a decorator: how often a call that fails is tried again; each attempt is a stage.
        retry_on: After which exceptions: a class or several.
        wait: Seconds before each, or a function of the number of the attempt that failed, 0 for the first.
        depends_on: Records it rests on, such as the stage before it.
        links: Other causal links: link type to its target or targets.
    """
    if callable(name):  # a bare `@stage`, which names the stage after the function
        return Stage(getattr(name, "__name__", name))(name)  # type: ignore[return-value]
    return Stage(
        name,
        config=config,
        after=after,
        attempt=attempt,
        cached=cached,
        retrying=retrying(retries, retry_on, wait, beside=1) if retries else None,
        depends_on=depends_on,
        links=links,
    )
