"""What an experiment refers to: backends, data sets, outputs, models and their versions."""

from dataclasses import dataclass
from typing import Annotated

from crucible_trace_otel.plan.checks import Name, Numbers, Object, Text, Texts, Time, one_of, version
from crucible_trace_otel.plan.part import Part

__all__ = ["BackendRef", "DatasetRef", "ModelRef", "ModelVersion", "OutputSpec"]


@dataclass(frozen=True, kw_only=True)
class BackendRef(Part):
    """What answers requests: a model behind an interface."""

    id: Name
    profile: Text = "default"
    options: Object = None
    model_version: Text = None
    endpoint_url: Text = None
    deployment_id: Text = None
    fallback: "BackendRef | None" = None
    """Asked where this one does not answer."""


@dataclass(frozen=True, kw_only=True)
class DatasetRef(Part):
    """A data set, by name."""

    name: Name
    provider: Text = "crucible_datasets"
    split: Text = "train"
    options: Object = None
    version: Text = None
    format: Text = None
    schema: Object = None


@dataclass(frozen=True, kw_only=True)
class OutputSpec(Part):
    """What is reported, in which formats, to where."""

    name: Name
    formats: Texts = ("markdown",)
    sink: Text = "file"
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class ModelRef(Part):
    """A model, by name."""

    id: Name
    name: Text = None
    version: Text = None
    provider: Text = "local"
    framework: Text = "nx"
    architecture: Text = None
    task: Text = None
    artifact_uri: Text = None
    metadata: Object = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class ModelVersion(Part):
    """One version of a model."""

    id: Name
    model_id: Name
    version: Annotated[str, version]
    stage: Annotated[str | None, one_of("development", "staging", "production", "archived")] = "development"
    training_run_id: Text = None
    metrics: Numbers = None
    artifact_uri: Text = None
    parent_version: Text = None
    description: Text = None
    created_at: Time = None
    created_by: Text = None
    options: Object = None
