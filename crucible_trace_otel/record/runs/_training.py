"""What a training run and an epoch have in common: steps, and validations that are over."""

from typing import Any

from crucible_trace_otel.record._doubles import metric_attributes
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._moments import record_moment
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.reinforcement import Acting
from crucible_trace_otel.record.runs._together import Together
from crucible_trace_otel.record.steps._stepping import Stepping
from crucible_trace_otel.semconv import spans

__all__ = ["Training", "short"]

_NO_VALIDATION = not_recorded(spans.VALIDATION_RUN)()


class Training(Together, Acting):
    """A training run or one of its epochs."""

    record_step = Stepping._record_step
    step_recorder = Stepping._step_recorder

    @guarded(not_recorded(spans.VALIDATION_RUN))
    def record_validation(self, **metrics: Any) -> Recorded:
        """Record the result of a validation; later decisions can depend on what this returns.

        Args:
            **metrics: Its metrics, by name: `accuracy=0.93`.
        """
        if self._is_dropped:
            return _NO_VALIDATION
        said = ", ".join(f"{name} {short(value)}" for name, value in metrics.items())
        attributes = {**self._epoch_and_step(), **metric_attributes(metrics)}
        return record_moment(self, spans.VALIDATION_RUN, said or "validation", attributes)


def short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else printable(value)
