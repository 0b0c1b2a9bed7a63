"""Which feedback is to be collected, and one piece of it."""

from dataclasses import dataclass
from typing import Annotated, Any

from crucible_trace_otel.plan.checks import Count, Flag, Name, Number, Object, Share, Text, Texts, Time, one_of
from crucible_trace_otel.plan.part import Part

__all__ = ["Config", "Event"]


@dataclass(frozen=True, kw_only=True)
class Config(Part):
    """Which feedback is to be collected."""

    enabled: Flag = False
    sampling_rate: Share = 1.0
    feedback_types: Texts = ("thumbs", "correction")
    storage: Text = "postgres"
    retention_days: Count = None
    anonymize_pii: Flag = True
    drift_detection: Object = None
    retraining_trigger: Object = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Event(Part):
    """One piece of feedback."""

    id: Name
    deployment_id: Text = None
    model_version: Text = None
    input: Object = None
    output: Object = None
    feedback_type: Annotated[str | None, one_of("thumbs", "rating", "correction", "label", "flag")] = "thumbs"
    feedback_value: Any = None
    user_id: Text = None
    session_id: Text = None
    latency_ms: Number = None
    timestamp: Time = None
    metadata: Object = None
