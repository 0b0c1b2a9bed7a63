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

import os
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.record._guard import forgiving
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record.stages._artifacts import ArtifactVerbs
from crucible_trace_otel.record.stages._attempts import Attempts, Wait, retries_of, retrying
from crucible_trace_otel.record.stages._stage import After, Stage
from crucible_trace_otel.record.stages._stage_order import StageOrder
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans

if TYPE_CHECKING:
    from crucible_trace_otel.record.stages._stage_memory import StageCache, StageMemory

__all__ = ["Pipeline", "Stage", "pipeline", "stage"]


class Pipeline(ArtifactVerbs):
    """An ordered set of stages."""

    operation_name = spans.PIPELINE

    def __init__(
        self,
        name: object,
        *,
        state: str | os.PathLike[str] | None = None,
        cache: "StageCache | None" = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        attributes = {attr.CRUCIBLE_PIPELINE_NAME: name}
        super().__init__(name, target=name, attributes=attributes, depends_on=depends_on, links=links)
        self._state_path = state
        self._cache = cache

    def _prepare(self) -> None:
        super()._prepare()
        self._order = StageOrder()
        self._memory: StageMemory | None = None

    def _start_span(self, inside: Operation | None) -> None:
        """Begin, with what earlier executions remember of the stages."""
        is_new = not self._started_at and not self.ended
        if is_new and (self._state_path is not None or self._cache is not None):
            from crucible_trace_otel.record.stages._stage_memory import memory_of  # noqa: PLC0415 - only for who has a memory

            self._memory = memory_of(self._state_path, self._cache, self._given[attr.CRUCIBLE_PIPELINE_NAME])
        super()._start_span(inside)

    @forgiving
    def stage(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        after: After | None = None,
        attempt: int | None = None,
        cached: bool | None = None,
        digest: bool | float = False,
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
            digest=digest,
            retrying=retries_of(retries, retry_on, wait),
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
        skipped._finish(None, skipped._started_at)
        return skipped

    def _on_start(self) -> dict[str, Any]:
        """Its own id."""
        return {attr.CRUCIBLE_PIPELINE_ID: self.event_id}


@forgiving
def pipeline(
    name: str,
    *,
    state: str | os.PathLike[str] | None = None,
    cache: "StageCache | None" = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Pipeline:
    """A pipeline, to be used in `with`, as a decorator, or by `start()` and `stop()`.

    Args:
        name: What it is called; it becomes part of the span's name, so write it in code, without dates or numbers.
        state: A file that remembers what went into each stage when it was last complete, for `stage.is_unchanged`. It
            is written after each stage, and belongs to one execution at a time. What cannot be read is no state.
        cache: In its place, an object with `get(key)` and `put(key, text)`, where a text of None takes away.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return Pipeline(name, state=state, cache=cache, depends_on=depends_on, links=links)


@forgiving
def stage(
    name: str,
    *,
    config: Mapping[str, Any] | None = None,
    after: After | None = None,
    attempt: int | None = None,
    cached: bool | None = None,
    digest: bool | float = False,
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
        digest: As a decorator: whether arguments and result are recorded by digest, size and schema, as
            `stage.record_input` and `stage.record_output` do; a number is the seconds that each may take.
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
        digest=digest,
        retrying=retries_of(retries, retry_on, wait),
        depends_on=depends_on,
        links=links,
    )
