"""Pipelines and their stages.

with crucible.pipeline("nightly") as nightly:
    with nightly.stage("load") as load:
        rows = read()
    with nightly.stage("train", depends_on=load):
        fit(rows)

@crucible.stage("clean")
def clean(rows): ...
"""

from collections.abc import Mapping
from typing import Any

from crucible_trace_otel.record._guard import forgiving
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans

__all__ = ["Pipeline", "Stage", "pipeline", "stage"]


class Stage(Operation):
    """One step of a pipeline."""

    operation_name = spans.STAGE

    def __init__(
        self,
        name: object,
        *,
        of: "Pipeline | None" = None,
        config: Mapping[str, Any] | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        attributes = {attr.CRUCIBLE_STAGE_NAME: name, attr.CRUCIBLE_STAGE_CONFIG: config}
        super().__init__(name, target=name, attributes=attributes, depends_on=depends_on, links=links)
        self._within = of

    def _on_start(self) -> dict[str, Any]:
        """What is recorded inside a stage carries its id; its index is its place in the order of starts."""
        of = self._within or self._outer
        self._inherits = {attr.CRUCIBLE_STAGE_ID: self.event_id}
        return {attr.CRUCIBLE_STAGE_INDEX: of._count_stage() if isinstance(of, Pipeline) else None}


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
        self._stages = 0

    @forgiving
    def stage(
        self,
        name: str,
        *,
        config: Mapping[str, Any] | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Stage:
        """A stage of this pipeline: see `crucible.stage`."""
        return Stage(name, of=self, config=config, depends_on=depends_on, links=links)

    def _count_stage(self) -> int:
        """The index of a stage that starts now."""
        self._stages += 1
        return self._stages - 1

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
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> Stage:
    """A stage, to be used in `with`, as a decorator, or by `start()` and `stop()`.

    Args:
        name: What it is called; it becomes part of the span's name, so write it in code, without dates or numbers.
        config: Its settings, kept as JSON.
        depends_on: Records it rests on, such as the stage before it.
        links: Other causal links: link type to its target or targets.
    """
    if callable(name):  # a bare `@stage`, which names the stage after the function
        return Stage(getattr(name, "__name__", name))(name)  # type: ignore[return-value]
    return Stage(name, config=config, depends_on=depends_on, links=links)
