"""What is told in metrics that its user names: a validation, a trial, the update of a policy."""

from collections.abc import Mapping
from typing import Any

from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._operation import Operation

__all__ = ["Scored"]


class Scored(Operation):
    """Something that reaches metrics while it goes on."""

    def _prepare(self) -> None:
        super()._prepare()
        self._metrics: dict[Any, Any] = {}

    @guarded(nothing)
    def record_metric(self, **metrics: Any) -> None:
        """Record what it reached; those of one name replace each other.

        Args:
            **metrics: By name: `accuracy=0.93`.
        """
        if is_kept(self):
            self._reach(metrics)

    def _reach(self, metrics: Mapping[str, Any]) -> None:
        self._metrics |= metrics
        self.set(self._metric_attributes(self._metrics))

    def _metric_attributes(self, metrics: Mapping[str, Any]) -> dict[str, Any]:
        """Metrics as attributes; for the rooms to override."""
        return metric_attributes(metrics)
