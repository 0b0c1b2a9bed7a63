"""How a model is to be trained, and how that went."""

from dataclasses import dataclass
from typing import Annotated

from crucible_trace_otel.plan.checks import (
    Count,
    Flag,
    Name,
    Number,
    Numbers,
    Object,
    Objects,
    Positive,
    Share,
    Text,
    Texts,
    Time,
    Whole,
    number,
    one_of,
)
from crucible_trace_otel.plan.part import Part
from crucible_trace_otel.plan.refs import DatasetRef, ModelRef

__all__ = ["Config", "Run"]


@dataclass(frozen=True, kw_only=True)
class Config(Part):
    """How a model is to be trained."""

    id: Name
    model_ref: ModelRef
    dataset_ref: DatasetRef
    epochs: Positive = 1
    batch_size: Positive = 32
    learning_rate: Annotated[float | None, number(above=0)] = 0.001
    optimizer: Text = "adam"
    loss_function: Text = "cross_entropy"
    metrics: Texts = ("loss", "accuracy")
    validation_split: Share = None
    device: Text = "cpu"
    seed: Whole = None
    mixed_precision: Flag = False
    gradient_clipping: Number = None
    early_stopping: Object = None
    checkpoint_every: Positive = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Run(Part):
    """How a training run went."""

    id: Name
    config: Config
    status: Annotated[str | None, one_of("pending", "running", "completed", "failed", "cancelled")] = "pending"
    current_epoch: Count = None
    metrics_history: Objects = None
    best_metrics: Numbers = None
    checkpoint_uris: Texts = None
    final_model_version: Text = None
    started_at: Time = None
    completed_at: Time = None
    error_message: Text = None
    options: Object = None
