"""Training runs: epochs, steps, validations, checkpoints, early stops.

with crucible.training_run("digits", hyperparameters={"lr": 0.1}, dataset="uci-digits", model="softmax") as run:
    for epoch in run.epochs(10):
        for batch in loader:
            epoch.record_step(loss=train_on(batch))
        epoch.record_validation(accuracy=evaluate(model))
        run.save_checkpoint("digits.npz", write=model.save)
"""

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import count
from operator import index
from typing import Any, SupportsIndex

from crucible_trace_otel.record._doubles import doubles
from crucible_trace_otel.record._failure import Outcome
from crucible_trace_otel.record._guard import forgiving, guarded, nothing
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._living import Living
from crucible_trace_otel.record._moments import record_moment
from crucible_trace_otel.record._operation import emit_event
from crucible_trace_otel.record._parts import RunParts
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._values import printable, with_template
from crucible_trace_otel.record.facts import Dataset, Model, check_digests, run_facts
from crucible_trace_otel.record.files._files import StoredFile
from crucible_trace_otel.record.runs._attempt import Attempt
from crucible_trace_otel.record.runs._checkpoints import Checkpoints
from crucible_trace_otel.record.runs._saving import ModelSave
from crucible_trace_otel.record.runs._training import Training, short
from crucible_trace_otel.record.steps._abnormal import StepWatch
from crucible_trace_otel.record.steps._policy import WindowPolicy, policy_of
from crucible_trace_otel.record.steps._totals import StepTotals
from crucible_trace_otel.record.steps._windows import StepWindows
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType, Result, RunState

__all__ = ["Epoch", "TrainingRun", "training_run"]

_STATES = {Result.SUCCESS: RunState.COMPLETED, Result.CANCELLATION: RunState.CANCELLED}


class Epoch(Training):
    """One pass over the training data."""

    operation_name = spans.EPOCH

    def __init__(self, run: "TrainingRun", index: int) -> None:
        self.index = index
        self._run = run
        attributes = {attr.CRUCIBLE_TRAINING_EPOCH_INDEX: index}
        super().__init__(f"epoch {printable(index)}", of=run, attributes=attributes)

    def _prepare(self) -> None:
        super()._prepare()
        self._totals = StepTotals()
        self._windows = StepWindows(self, self._run._watch, self._totals, self._run._totals)
        self._run._windows_inside.add(self._windows)

    def _on_start(self) -> dict[str, Any]:
        self._run._last_epoch = self.index
        return super()._on_start()

    def _before_end(self) -> None:
        """Close its windows, and give its mean loss to queries that see span attributes only."""
        self._windows.close()
        self.set({**self._totals.attributes(), attr.CRUCIBLE_TRAINING_LOSS_VALUE: self._totals.means().get("loss")})
        self._measures.epochs, self._measures.abnormal = 1, self._windows.abnormal
        self.set({**self._measured(), attr.CRUCIBLE_ABNORMAL_COUNT: self._windows.abnormal or None})
        self._run._measures.add(self._measures)


class TrainingRun(Checkpoints, Attempt):
    """One attempt to train a model."""

    operation_name = spans.TRAINING_RUN

    def __init__(
        self,
        name: object,
        *,
        run_id: str | None = None,
        hyperparameters: Any = None,
        dataset: str | Dataset | None = None,
        model: str | Model | None = None,
        seed: int | None = None,
        accumulation: int | None = None,
        windows: WindowPolicy | None = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
        resume_from: str | os.PathLike[str] | None = None,
    ) -> None:
        attributes = {
            attr.CRUCIBLE_RUN_NAME: name,
            **run_facts(hyperparameters, dataset, model, seed, accumulation),
        }
        self._named = run_id
        self._resume_from = resume_from
        self._policy = policy_of(windows)
        super().__init__(name, attributes=attributes, depends_on=depends_on, links=links)

    def _prepare(self) -> None:
        super()._prepare()
        check_digests(self._given, self._repairs)
        self._totals = StepTotals()
        self._next_step = self._beginning.next_step
        self._episodes = count()
        self._last_epoch: int | None = None
        self._loops: Living[_Epochs] = Living()
        self._run = self
        self._parts: RunParts = RunParts(self)
        self._watch = StepWatch(self._policy, f"training_run {self.about!r}")
        self._windows = StepWindows(self, self._watch, self._totals)
        self._windows_inside: Living[StepWindows] = Living()

    @property
    def next_step(self) -> int:
        """Index of the step that is recorded next; of a resumed run at first the one after its checkpoint."""
        return self._next_step

    @property
    def next_epoch(self) -> int:
        """Index of the first epoch of this attempt: the one after that of its checkpoint, 0 where it has none.

            for epoch in run.epochs(range(run.next_epoch, 10)):

        It is what the sidecar says. A training that must go on right without a recorder, too, keeps its epoch in the
        checkpoint.
        """
        return self._beginning.next_epoch

    @property
    def _last_step(self) -> int | None:
        """Index of the highest step so far, in this attempt or an earlier one; None before the first."""
        return self._next_step - 1 if self._next_step else None

    def epoch(self, index: int) -> Epoch:
        """The epoch `index` (from 0), to be used in `with` or by `start()` and `stop()`."""
        return Epoch(self, index)

    def epochs(self, number: int | Iterable[int]) -> Iterator[Epoch]:
        """Epochs, each begun and ended by the loop over them.

        Args:
            number: How many, counted from 0; or their indices, such as `range(3, 10)`.

        Raises:
            TypeError: `number` is neither; a loop cannot be made of it.
        """
        return _Epochs(self, range(index(number)) if isinstance(number, SupportsIndex) else number)

    @forgiving
    def save_model(
        self,
        path: str | os.PathLike[str],
        *,
        write: Callable[[Any], Any] | None = None,
        name: str | None = None,
        version: str | None = None,
        depends_on: LinkTargets | None = None,
        evaluated_by: LinkTargets | None = None,
        sidecar: bool = True,
    ) -> StoredFile:
        """Record the finished model with its size, SHA-256 and the time it took to write.

        A small file `<path>.crucible.json` beside it lets a deployment in another process know it again, and this run.

        Args:
            path: Its file, or its directory where it has several files.
            write: Called with `path` to write it. Without it, the file was written before this call.
            name: What the model is called; the run's model when not given.
            version: Which version of it this is.
            depends_on: Records it rests on, such as the checkpoint it was taken from.
            evaluated_by: The validations that judged it.
            sidecar: Whether the file beside it is written; without, one of an earlier model there is removed.
        """
        attributes = {
            attr.CRUCIBLE_MODEL_NAME: name if name is not None else self._given.get(attr.CRUCIBLE_MODEL_NAME),
            attr.CRUCIBLE_MODEL_VERSION: None if version is None else printable(version),
        }
        said = {
            "model_name": attributes[attr.CRUCIBLE_MODEL_NAME],
            "model_version": version,
            "step": self._last_step,
            "epoch": self._last_epoch,
        }
        links = None if evaluated_by is None else {LinkType.EVALUATED_BY: evaluated_by}
        saving = ModelSave(
            path, attributes, of=self, said=said if sidecar else None, depends_on=depends_on, links=links
        )
        return saving.perform(write)

    @guarded(nothing)
    def stop_early(
        self,
        reason: str,
        *,
        best_epoch: int | None = None,
        best_value: float | None = None,
        patience: int | None = None,
    ) -> None:
        """Record that training was stopped before its planned end; the loop is left by your own `break`.

        Args:
            reason: Why.
            best_epoch: The epoch that was best.
            best_value: What it reached.
            patience: How many epochs without improvement were waited for.
        """
        attributes = {
            attr.CRUCIBLE_TRAINING_STOP_REASON: reason,
            attr.CRUCIBLE_TRAINING_BEST_EPOCH: best_epoch,
            **doubles({attr.CRUCIBLE_TRAINING_BEST_VALUE: best_value}),
            attr.CRUCIBLE_TRAINING_PATIENCE: patience,
        }
        emit_event(self, events.EARLY_STOPPED, {attr.CRUCIBLE_ABOUT: reason, **attributes})
        self.set(attributes)
        self._stop_reason = printable(reason)

    @guarded(not_recorded(spans.HYPERPARAMETER_TUNED))
    def tune_hyperparameter(
        self,
        name: str,
        value: Any,
        *,
        reason: str | None = None,
        depends_on: LinkTargets | None = None,
    ) -> Recorded:
        """Record that a hyperparameter was given another value during the run.

        Args:
            name: Its name.
            value: Its new value.
            reason: Why it was changed.
            depends_on: What the change rests on, such as a validation.
        """
        attributes = {
            attr.CRUCIBLE_DECISION_REASONING: reason,
            **with_template(attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE, {name: value}),
        }
        said = f"{printable(name)} = {short(value)}"
        return record_moment(self, spans.HYPERPARAMETER_TUNED, said, attributes, depends_on=depends_on)

    @guarded(nothing)
    def _finish(self, error: BaseException | str | None, at_ns: int | None = None) -> None:
        for loop in self._loops:  # left by `break` or an exception, and still held: by a progress bar, a variable
            loop._leave()
        super()._finish(error, at_ns)

    def _state(self, outcome: Outcome) -> dict[str, Any]:
        """How the run ended."""
        self._ended_as = _STATES.get(outcome.result, RunState.FAILED)
        return {attr.CRUCIBLE_RUN_STATE: self._ended_as}

    def _before_end(self) -> None:
        """Close its windows, and give its last loss to queries that see span attributes only."""
        for windows in self._windows_inside:
            windows.retire()
        self._windows.close()
        self._parts.close()
        self.set({**self._totals.attributes(), attr.CRUCIBLE_TRAINING_LOSS_VALUE: self._totals.last.get("loss")})
        self._measures.abnormal = sum(self._watch.counts.values())
        self.set({attr.CRUCIBLE_ABNORMAL_COUNT: self._measures.abnormal or None})
        self._conclude(self._last_step, self._totals.last.get("loss"))


@forgiving
def training_run(
    name: str,
    *,
    run_id: str | None = None,
    hyperparameters: Any = None,
    dataset: str | Dataset | None = None,
    model: str | Model | None = None,
    seed: int | None = None,
    accumulation: int | None = None,
    windows: WindowPolicy | None = None,
    depends_on: LinkTargets | None = None,
    links: Links | None = None,
    resume_from: str | os.PathLike[str] | None = None,
) -> TrainingRun:
    """A training run, to be used in `with`, or by `start()` and `stop()`.

    Where several processes share the run, each records its own: rank 0 the `training_run`, the others a `worker` below.

    With `resume_from=` it is the next attempt of the run that saved that checkpoint: same run id, a link to the earlier
    attempt, steps that count on. Your code loads the checkpoint and goes on with `run.next_epoch`.

    Args:
        name: What a person calls it.
        run_id: Names the run across processes: where it is a root, it fixes the trace id. When not given, as launchers
            name it that have started several processes, else random.
        hyperparameters: By name, nested or not: mappings, dataclasses, namespaces, lists. Each becomes an attribute.
        dataset: What it trains on: a name, or a `Dataset`.
        model: What it trains: a name, or a `Model`.
        seed: Of its random numbers.
        accumulation: How many batches one optimizer step is made of, where gradients are accumulated.
        windows: How steps are put together, and which of them are abnormal.
        depends_on: Records it rests on, such as the decision for this model.
        links: Other causal links: link type to its target or targets.
        resume_from: The checkpoint to go on from. Where nothing is there, a first attempt begins, so that one script
            serves both starts. A `run_id` that is not that of the checkpoint wins, with one warning.
    """
    return TrainingRun(
        name,
        run_id=run_id,
        hyperparameters=hyperparameters,
        dataset=dataset,
        model=model,
        seed=seed,
        accumulation=accumulation,
        windows=windows,
        depends_on=depends_on,
        links=links,
        resume_from=resume_from,
    )


class _Epochs:
    """The loop over epochs. A generator would be told of an exception in the loop's body only as its closing."""

    _epoch: Epoch | None = None

    def __init__(self, run: TrainingRun, indices: Iterable[int]) -> None:
        self._run = run
        self._indices = iter(indices)
        run._loops.add(self)

    def __iter__(self) -> Iterator[Epoch]:
        return self

    def __next__(self) -> Epoch:
        if self._epoch is not None:
            self._epoch.stop()
            self._epoch = None
        self._epoch = Epoch(self._run, next(self._indices)).start()
        return self._epoch

    def __del__(self) -> None:
        self._leave()

    @guarded(nothing)
    def _leave(self) -> None:
        """The loop is over: its epoch ends with what encloses it."""
        if self._epoch is not None:
            self._epoch._abandon()
            self._epoch = None
            self._run._windows.retire()
