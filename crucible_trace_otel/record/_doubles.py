"""Metrics that the user names: doubles, so that one query finds them all."""

from collections.abc import Mapping
from numbers import Integral
from typing import Any

from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._values import with_template
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["doubles", "metric_attributes"]


@guarded(lambda *_: {})
def metric_attributes(metrics: Any, template: str = attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE) -> dict[str, Any]:
    """Metrics as attributes `template.<name>`, doubles all of them."""
    return with_template(template, doubles(metrics))


@guarded(lambda metrics: metrics)
def doubles(metrics: Any) -> Any:
    """Metrics are doubles on the wire, whole ones too: a query with a decimal point finds them."""
    if not isinstance(metrics, Mapping):
        return metrics
    return {name: float(value) if _is_whole(value) else value for name, value in metrics.items()}


def _is_whole(value: Any) -> bool:
    """Whether `value` is an integer, numpy's too, that a double holds exactly."""
    return isinstance(value, Integral) and not isinstance(value, bool) and -(2**53) <= int(value) <= 2**53
