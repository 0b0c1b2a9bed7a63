"""Tuning: a study tries hyperparameters, each try is a trial.

with crucible.tuning_study("digits-lr", objective="accuracy", direction="maximize") as study:
    for rate in (0.1, 0.01):
        with study.trial({"lr": rate}) as trial:
            trial.complete(train(rate))
    best = study.best_trial
"""

import math
from typing import Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._failure import Outcome
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._late import is_kept, warn_late
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record._scored import Scored
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.facts import hyperparameter_attributes
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType, Result, TrialState, TuningDirection

__all__ = ["Trial", "TuningStudy", "tuning_study"]

_DIRECTIONS = {
    "min": TuningDirection.MINIMIZE,
    "minimize": TuningDirection.MINIMIZE,
    "max": TuningDirection.MAXIMIZE,
    "maximize": TuningDirection.MAXIMIZE,
}


class Trial(Scored):
    """One try of a study, with its hyperparameters. It fails with the exception that leaves it."""

    operation_name = spans.TRIAL

    def __init__(
        self,
        study: "TuningStudy",
        hyperparameters: Any,
        *,
        index: int | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        self.study = study
        self.hyperparameters = hyperparameters
        """What it tries, as it was given."""
        self._asked_index = index
        attributes = {
            **study._of_trials,
            **hyperparameter_attributes(hyperparameters),
        }
        about = "trial" if index is None else f"trial {printable(index)}"
        super().__init__(about, of=study, attributes=attributes, depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        self.index: int = -1
        """Its place in the study, from 0; -1 before it has started."""
        self.value: float | None = None
        """Value of the objective; None while it is not known."""
        self.state: str | None = None
        """How it ended: `completed`, `pruned` or `failed`; None before that."""

    def _on_start(self) -> dict[str, Any]:
        """Its index: the one that was asked for, or its place in the order of starts."""
        self.index = self.study._next_index(self._asked_index)
        self.about = f"trial {self.index}"
        return {attr.CRUCIBLE_TUNING_TRIAL_INDEX: self.index}

    @guarded(nothing)
    def complete(self, value: float, **metrics: Any) -> None:
        """Record the value of the objective; called again, the last one counts.

        Args:
            value: A number, numpy's and torch's too.
            **metrics: What else it reached, by name.
        """
        if is_kept(self):
            reached = float(value)
            self.value = self.value if self.ended else reached
            self.set({attr.CRUCIBLE_TUNING_VALUE: reached})
            self._reach(metrics)

    @guarded(nothing)
    def prune(self, reason: str) -> None:
        """Record that it is given up because it does not look promising; it is left by your own `break` or `return`.

        Args:
            reason: Why.
        """
        if is_kept(self):
            self.state = self.state if self.ended else TrialState.PRUNED
            self.set({attr.CRUCIBLE_TUNING_TRIAL_REASON: reason})

    def _state(self, outcome: Outcome) -> dict[str, Any]:
        """How it ended: pruned where it was, whatever left it then."""
        if self.state is None:
            self.state = TrialState.COMPLETED if outcome.result == Result.SUCCESS else TrialState.FAILED
        return {attr.CRUCIBLE_TUNING_TRIAL_STATE: self.state}

    def _before_end(self) -> None:
        """Tell the study."""
        self.study._take_in(self)


class TuningStudy(Operation):
    """A search for good hyperparameters, which knows its best trial."""

    operation_name = spans.TUNING_STUDY

    def __init__(
        self,
        name: object,
        *,
        objective: str | None = None,
        direction: str | None = None,
        of: Operation | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> None:
        self._direction = _direction(direction)
        self._of_trials = {
            attr.CRUCIBLE_TUNING_STUDY_NAME: name,
            attr.CRUCIBLE_TUNING_OBJECTIVE: objective,
            attr.CRUCIBLE_TUNING_DIRECTION: self._direction,
        }
        super().__init__(name, of=of, attributes=self._of_trials, depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        self._started = 0
        self._ended: dict[str, int] = dict.fromkeys((TrialState.COMPLETED, TrialState.PRUNED, TrialState.FAILED), 0)
        self.best_trial: Trial | None = None
        """The best of the completed trials so far; None without a direction, or a value that is a finite number."""

    @forgiving
    def trial(
        self,
        hyperparameters: Any = None,
        *,
        index: int | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> Trial:
        """One try, to be used in `with`, or by `start()`, `stop()` and `fail()`.

        Args:
            hyperparameters: What it tries, as for `training_run`.
            index: Its number where somebody else counts; its place in the order of starts when not given.
            depends_on: Records it rests on, such as an earlier trial.
            links: Other causal links: link type to its target or targets.
        """
        return Trial(self, hyperparameters, index=index, depends_on=depends_on, links=links)

    def _next_index(self, asked: Any) -> int:
        """The index of a trial that starts now."""
        index = self._started
        if isinstance(asked, int) and 0 <= asked < 2**62:
            index = int(asked)
        elif asked is not None:
            warn_once(
                f"trial_index {printable(asked)}",
                f"index={printable(asked)!r} is no number of a trial; {index} is used.",
            )
        self._started = max(self._started, index + 1)
        return index

    def _take_in(self, trial: Trial) -> None:
        """Count a trial that ends, and compare it with the best so far."""
        if self.ended:
            warn_late(self)
        if trial.state is None or not self._records():
            return
        self._ended[trial.state] += 1
        if trial.state == TrialState.COMPLETED and trial.value is not None and math.isfinite(trial.value):
            best = None if self.best_trial is None else self.best_trial.value
            is_better = best is None or (
                trial.value < best if self._direction == TuningDirection.MINIMIZE else trial.value > best
            )
            if is_better and self._direction in _DIRECTIONS.values():
                self.best_trial = trial

    def _before_end(self) -> None:
        """How many trials ended in which way, and the best: its value and hyperparameters, and a link to it."""
        self.set(
            {
                attr.CRUCIBLE_TUNING_TRIALS_COMPLETED: self._ended[TrialState.COMPLETED],
                attr.CRUCIBLE_TUNING_TRIALS_PRUNED: self._ended[TrialState.PRUNED],
                attr.CRUCIBLE_TUNING_TRIALS_FAILED: self._ended[TrialState.FAILED],
            }
        )
        if self.best_trial is not None:
            best = self.best_trial
            self.set(
                {
                    attr.CRUCIBLE_TUNING_BEST_TRIAL: best.index,
                    attr.CRUCIBLE_TUNING_VALUE: best.value,
                    **hyperparameter_attributes(best.hyperparameters),
                }
            )
            self.link(LinkType.BEST_TRIAL, best)


@forgiving
def tuning_study(
    name: str,
    *,
    objective: str | None = None,
    direction: str | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
) -> TuningStudy:
    """A search for good hyperparameters, to be used in `with`, or by `start()` and `stop()`.

    Args:
        name: What it is called.
        objective: What is optimized: `validation accuracy`.
        direction: `minimize` or `maximize`; without one no trial is called the best.
        depends_on: Records it rests on.
        links: Other causal links: link type to its target or targets.
    """
    return TuningStudy(name, objective=objective, direction=direction, depends_on=depends_on, links=links)


def _no_direction(_: Any) -> str | None:
    return None


@guarded(_no_direction)
def _direction(given: Any) -> str | None:
    """The direction that was meant; one that is unknown stays as it is, and no trial is the best."""
    if given is None:
        return None
    said = printable(getattr(given, "name", given)).strip()
    if said.lower() not in _DIRECTIONS:
        warn_once(
            f"direction {said}", f"direction={said!r} is neither 'minimize' nor 'maximize': no trial is the best."
        )
    return _DIRECTIONS.get(said.lower(), said)
