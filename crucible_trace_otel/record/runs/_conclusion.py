"""What a training run says as a whole: which code ran on what, the tuning inside it, and what came of it."""

from typing import Any

from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._late import is_kept
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.processes._code import code_version
from crucible_trace_otel.record.processes._hardware import hardware_facts
from crucible_trace_otel.record.runs._training import Training
from crucible_trace_otel.record.runs._verdict import Course, verdict
from crucible_trace_otel.record.tuning import TuningStudy
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["Concluded"]


class Concluded(Training):
    """A training run, with what is known of it when it starts and when it ends."""

    def _prepare(self) -> None:
        super()._prepare()
        self._ended_as = self._stop_reason = self._own_verdict = ""

    @guarded(nothing)
    def set_verdict(self, verdict: str) -> None:
        """Say what came of the run, in your own words; without them it is said from what was measured.

        Args:
            verdict: One sentence.
        """
        if is_kept(self):
            self._own_verdict = printable(verdict)
            self.set({attr.CRUCIBLE_RUN_VERDICT: self._own_verdict})

    @forgiving
    def tuning_study(
        self,
        name: str,
        *,
        objective: str | None = None,
        direction: str | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> TuningStudy:
        """A search for good hyperparameters that belongs to this run: see `crucible.tuning_study`."""
        return TuningStudy(name, objective=objective, direction=direction, of=self, depends_on=depends_on, links=links)

    def _on_start(self) -> dict[str, Any]:
        return {**super()._on_start(), **self._surroundings()}

    def _surroundings(self) -> dict[str, Any]:
        """Which code runs, on what."""
        return {**code_version(), **hardware_facts()}

    @guarded(nothing)
    def _conclude(self, last_step: int | None, loss: float | None) -> None:
        """Say what was measured, how many epochs there were, and what came of the run where nobody has said so."""
        self.set({**self._surroundings(), **self._measured()})  # by now more may be known of code and devices
        course = Course(self._ended_as, self._stop_reason or None, last_step, loss)
        self.set(
            {
                attr.CRUCIBLE_TRAINING_EPOCH_COUNT: self._measures.epochs or None,
                attr.CRUCIBLE_RUN_VERDICT: self._own_verdict or verdict(course, self._measures),
            }
        )
