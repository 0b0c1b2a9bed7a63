"""The plan of an experiment: what is asked, of which backend, in which stages."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from crucible_trace_otel.plan import reliability as reliability_parts
from crucible_trace_otel.plan import training
from crucible_trace_otel.plan.checks import Count, Flag, Name, Object, Text, Texts, Time, one_of
from crucible_trace_otel.plan.order import find_cycle
from crucible_trace_otel.plan.part import Part
from crucible_trace_otel.plan.paths import Problem, listed, shown, within
from crucible_trace_otel.plan.refs import BackendRef, DatasetRef, ModelRef, ModelVersion, OutputSpec

__all__ = ["Experiment", "StageDef"]


@dataclass(frozen=True, kw_only=True)
class StageDef(Part):
    """One stage of the pipeline.

    `after` and `retries` are additions of this package; other readers keep or ignore them.
    """

    name: Name
    module: Text = None
    """Where the stage's code is, in the words of who runs it."""
    options: Object = None
    """What the stage is told; only the stage itself knows what that may be."""
    enabled: Flag = True
    after: Texts = ()
    """Names of stages that must have run before it; its place in the plan alone makes no dependency."""
    retries: Count = 0
    """How many times it is tried again when it fails."""

    @property
    def is_enabled(self) -> bool:
        """Whether it is to run; null counts as not written."""
        return self.enabled is not False

    @property
    def says_retries(self) -> bool:
        """Whether it says itself how many times it is tried again, 0 times perhaps."""
        return bool(self.retries) or (self.retries is not None and "retries" in self.field_order)


@dataclass(frozen=True, kw_only=True)
class Experiment(Part):
    """The plan of an experiment."""

    id: Name
    backend: BackendRef
    pipeline: tuple[StageDef, ...]
    description: Text = None
    owner: Text = None
    tags: Texts = None
    metadata: Object = None
    dataset: DatasetRef | None = None
    reliability: reliability_parts.Config | None = None
    outputs: tuple[OutputSpec, ...] | None = None
    created_at: Time = None
    updated_at: Time = None
    experiment_type: Annotated[str | None, one_of("evaluation", "training", "comparison", "ablation")] = None
    model_version: ModelVersion | str | None = None
    """A name where it is no object, as for the two after it."""
    training_config: training.Config | str | None = None
    baseline: ModelRef | str | None = None

    @property
    def stage_names(self) -> tuple[str, ...]:
        """The names of all stages, in the order of the plan, those that are not enabled too."""
        return tuple(str(stage.name) for stage in self.pipeline or ())

    def _own_problems(self, path: str) -> Iterator[Problem]:
        stages = [one for one in self.pipeline if isinstance(one, StageDef)] if isinstance(self.pipeline, tuple) else []
        at = within(path, "pipeline")
        if isinstance(self.pipeline, tuple) and not self.pipeline:
            yield Problem(at, "must have at least one stage")
        first: dict[str, StageDef] = {}
        for stage in stages:
            if isinstance(stage.name, str):
                first.setdefault(stage.name, stage)
        for place, stage in enumerate(stages):
            if isinstance(stage.name, str) and first[stage.name] is not stage:
                yield Problem(f"{at}[{place}].name", f"{shown(stage.name)} is the name of an earlier stage too")
            yield from self._unknown_before(stage, first, f"{at}[{place}].after")
        cycle = find_cycle({name: _names(stage.after) for name, stage in first.items()})
        if cycle:
            yield Problem(at, f"{' -> '.join(cycle)}: each comes after the next, so none can run first")

    @staticmethod
    def _unknown_before(stage: StageDef, names: Collection[str], path: str) -> Iterator[Problem]:
        for place, name in enumerate(_names(stage.after)):
            if name not in names:
                yield Problem(f"{path}[{place}]", f"no stage is called {shown(name)}; there are {listed(names)}")


def _names(after: object) -> Sequence[str]:
    return [name for name in after if isinstance(name, str)] if isinstance(after, tuple) else []
