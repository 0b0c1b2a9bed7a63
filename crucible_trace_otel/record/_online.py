"""Learning in service: a model that serves is changed by what it meets."""

from typing import Any

from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events

__all__ = ["LearnsOnline"]


class LearnsOnline(Operation):
    """What serves and learns: a deployment, or the update of a policy that acts."""

    @guarded(nothing)
    def apply_online_update(
        self,
        version: object = None,
        *,
        model: object = None,
        policy_version: object = None,
        samples: int | None = None,
    ) -> None:
        """Record that what serves was changed by what it met in service.

        Args:
            version: Of the model, from now on.
            model: What the model is called.
            policy_version: Of the policy, from now on, where it is one.
            samples: How many samples it learned from.
        """
        named = {"model": model, "version": version, "policy": policy_version}
        said = [f"{what} {printable(value)}" for what, value in named.items() if value is not None]
        attributes: dict[str, Any] = {
            attr.CRUCIBLE_ABOUT: ", ".join(said) or None,
            attr.CRUCIBLE_MODEL_NAME: None if model is None else printable(model),
            attr.CRUCIBLE_MODEL_VERSION: None if version is None else printable(version),
            attr.CRUCIBLE_POLICY_VERSION: None if policy_version is None else printable(policy_version),
            attr.CRUCIBLE_EXPERIENCE_SAMPLE_COUNT: samples,
        }
        emit_event(self, events.ONLINE_UPDATE_APPLIED, attributes)
