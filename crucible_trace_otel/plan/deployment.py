"""How a model is to be brought into service, and how that stands."""

from dataclasses import dataclass
from typing import Annotated

from crucible_trace_otel.plan.checks import Count, Name, Object, Positive, Text, Time, number, one_of
from crucible_trace_otel.plan.part import Part

__all__ = ["Config", "Status"]

_STATES = ("pending", "deploying", "active", "degraded", "failed", "terminated")


@dataclass(frozen=True, kw_only=True)
class Config(Part):
    """How a model is to be brought into service."""

    id: Name
    model_version_id: Name
    target: Object = None
    replicas: Positive = 1
    resources: Object = None
    scaling: Object = None
    environment: Text = "development"
    strategy: Annotated[str | None, one_of("rolling", "blue_green", "canary", "recreate")] = "rolling"
    health_check: Object = None
    endpoint: Object = None
    metadata: Object = None
    options: Object = None


@dataclass(frozen=True, kw_only=True)
class Status(Part):
    """How a deployment stands."""

    id: Name
    deployment_id: Name
    state: Annotated[str | None, one_of(*_STATES)] = "pending"
    ready_replicas: Count = None
    total_replicas: Count = None
    endpoint_url: Text = None
    traffic_percent: Annotated[float | None, number(at_least=0, at_most=100)] = None
    health: Annotated[str | None, one_of("unknown", "healthy", "unhealthy", "degraded")] = "unknown"
    last_health_check: Time = None
    error_message: Text = None
    created_at: Time = None
    updated_at: Time = None
