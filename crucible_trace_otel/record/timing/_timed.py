"""Where the time of a run or an epoch goes: phases of its steps, loops over a loader, validations."""

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeVar

from crucible_trace_otel.record._context import current_operation
from crucible_trace_otel.record._guard import forgiving, guarded
from crucible_trace_otel.record._late import warn_late
from crucible_trace_otel.record._links import Links, LinkTargets
from crucible_trace_otel.record._living import Living
from crucible_trace_otel.record.steps._stepping import Stepping
from crucible_trace_otel.record.timing._measures import Measures, Phase
from crucible_trace_otel.record.timing._tracking import Tracked
from crucible_trace_otel.record.validation import ValidationRun
from crucible_trace_otel.semconv import attributes as attr

if TYPE_CHECKING:
    from crucible_trace_otel.record.facts import Dataset
    from crucible_trace_otel.record.training import TrainingRun

__all__ = ["Timed"]

T = TypeVar("T")


class Timed(Stepping):
    """A training run or one of its epochs, with where its time goes."""

    _run: "TrainingRun"

    def _prepare(self) -> None:
        super()._prepare()
        self._measures = Measures()
        self._passes: Living[Any] = Living()

    @guarded(lambda *_, **__: Phase())
    def phase(self, name: str) -> Phase:
        """A part of each step, such as `forward`, to be used in `with`: its times are summed, it is no span.

            with epoch.phase("forward"):
                loss = model(batch)

        How often it was gone through and the seconds are attributes of the epoch and of the run. Phases of different
        names may lie in each other, each with its own time; several threads may be in one at once.

        Args:
            name: What to call it.
        """
        if self.ended or not self._is_here():
            warn_late(self)
        return self._measures.phase(name)

    @forgiving
    def track(
        self,
        loader: Iterable[T],
        *,
        total: int | None = None,
        progress: bool | str | None = None,
        batch_size: int | Callable[[T], int] | None = None,
    ) -> Tracked[T]:
        """Loop over `loader`, and measure how long the loop waits for data and how many batches it takes.

            for batch in run.track(loader, batch_size=len, progress=True):
                train_on(batch)

        What is measured belongs to the epoch that the loop runs in, and to the run. Samples and throughput are only
        recorded where `batch_size` is given. What `loader` raises is recorded and goes on unchanged.

        Args:
            loader: Anything to loop over.
            total: How many batches there are, for the progress bar; `len(loader)` when not given, unknown without one.
            progress: Shows a progress bar on stderr: `"tqdm"`, `"rich"`, or True for whichever is installed.
            batch_size: How many samples a batch holds, or a function that tells it from the batch, such as `len`.
        """
        return Tracked(self, loader, total=total, progress=progress, batch_size=batch_size)

    @forgiving
    def validation_run(
        self,
        about: str = "validation",
        *,
        dataset: "str | Dataset | None" = None,
        depends_on: LinkTargets | None = None,
        links: Links | None = None,
    ) -> ValidationRun:
        """A validation that takes its time, to be used in `with`; `record_validation` records one that is over.

            with epoch.validation_run("held-out") as validation:
                validation.record_metric(accuracy=evaluate(model))

        Args:
            about: What the model is judged on, or for.
            dataset: The data it is judged on.
            depends_on: Records it rests on, such as a checkpoint.
            links: Other causal links: link type to its target or targets.
        """
        return ValidationRun(about, of=self, dataset=dataset, depends_on=depends_on, links=links)

    @guarded(lambda self: self)
    def _innermost(self) -> "Timed":
        """Where a loop that begins now belongs: to the epoch of this run that it runs in, else to this."""
        here = current_operation()
        while here is not None and here is not self:
            if isinstance(here, Timed) and here._run is self:
                return here
            here = here.outer
        return self

    def _epoch_and_step(self) -> dict[str, Any]:
        """Where in the run something happens now."""
        return {
            attr.CRUCIBLE_TRAINING_EPOCH_INDEX: self._given.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX),
            attr.CRUCIBLE_TRAINING_STEP_INDEX: self._run._last_step,
        }

    def _measured(self) -> dict[str, Any]:
        """What was measured, as attributes, once it is over."""
        for loop in self._passes:
            loop._leave()
        return self._measures.attributes(self._given)
