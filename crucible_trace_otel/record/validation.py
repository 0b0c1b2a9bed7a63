"""Validations: the model is judged on data it does not train on.

with epoch.validation_run("held-out", dataset="uci-digits") as validation:
    validation.record_metric(accuracy=evaluate(model))
"""

from typing import TYPE_CHECKING, Any

from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._scored import Scored
from crucible_trace_otel.record.facts import Dataset, check_digests, dataset_attributes
from crucible_trace_otel.semconv import spans

if TYPE_CHECKING:
    from crucible_trace_otel.record.timing._timed import Timed

__all__ = ["ValidationRun"]


class ValidationRun(Scored):
    """A judgement of the model; later decisions and checkpoints can depend on it."""

    operation_name = spans.VALIDATION_RUN
    _of: "Timed"

    def __init__(
        self,
        about: object,
        *,
        of: "Timed",
        dataset: "str | Dataset | None" = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        super().__init__(about, of=of, attributes=dataset_attributes(dataset), depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        check_digests(self._given, self._repairs)

    def _on_start(self) -> dict[str, Any]:
        """After which step of which epoch."""
        return self._of._epoch_and_step()
