"""What a training step costs the thread that records it, against `add_event` of the plain SDK; all are read back."""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

from opentelemetry import trace as trace_api
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from recording import SIX, Dropping
from timing import Comparison, compare, timed

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import events
from crucible_trace_otel.trace.steps import step_rows

__all__ = ["training"]

STEPS, EPOCHS = 10_000, 10
IN_A_WINDOW = 99  # steps that neither fill a window nor end it
PACED = 400
ADD_EVENT = "`add_event` of the plain SDK"


def training(directory: Path, steps: int = STEPS, paced: int = PACED) -> list[Comparison]:
    """Whole windows by name and by position, then the calls alone, then others; journals are made in `directory`.

    Raises:
        ValueError: A step is not read back.
    """
    exporter = Dropping()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    store = _Steps(provider, exporter, directory / "steps")
    with crucible.configure(service_name="benchmark", journal=directory / "steps"):
        results = [
            store.compared("`record_step` with 6 numbers", _by_name, steps // EPOCHS),
            store.compared("`step_recorder` with 6 numbers", _by_position, steps // EPOCHS),
            store.compared("`record_step`, the call alone", _by_name, IN_A_WINDOW),
            store.compared("`step_recorder`, the call alone", _by_position, IN_A_WINDOW),
            _paced(paced),
            _rewarded(directory / "steps", steps // EPOCHS),
        ]
    store.directory = directory / "measured"
    meters = MeterProvider([InMemoryMetricReader()], shutdown_on_exit=False)
    with crucible.configure(service_name="benchmark", journal=store.directory, meter_provider=meters):
        name = "`record_step` with 6 numbers and a meter provider"
        results.append(store.compared(name, _by_name, steps // EPOCHS))
    meters.shutdown()
    provider.shutdown()
    return results


def _by_name(epoch: crucible.Epoch) -> Callable[[int], None]:
    loss, accuracy, rate, norm, tokens, seconds = SIX.values()

    def steps(times: int) -> None:
        for _ in range(times):
            epoch.record_step(loss=loss, accuracy=accuracy, rate=rate, norm=norm, tokens=tokens, seconds=seconds)

    return steps


def _by_position(epoch: crucible.Epoch) -> Callable[[int], None]:
    loss, accuracy, rate, norm, tokens, seconds = SIX.values()
    record = epoch.step_recorder(*SIX)

    def steps(times: int) -> None:
        for _ in range(times):
            record(loss, accuracy, rate, norm, tokens, seconds)

    return steps


def _plain(span: trace_api.Span, times: int) -> None:
    loss, accuracy, rate, norm, tokens, seconds = SIX.values()
    for _ in range(times):
        numbers = {"loss": loss, "accuracy": accuracy, "rate": rate, "norm": norm, "tokens": tokens, "seconds": seconds}
        span.add_event("step", numbers)


class _Steps:
    """Steps in ten epochs of a run, against events on ten spans of the plain SDK."""

    def __init__(self, provider: TracerProvider, exporter: Dropping, directory: Path) -> None:
        self.provider, self.exporter, self.directory = provider, exporter, directory
        self.plain = provider.get_tracer("benchmark")
        self.runs: list[str] = []

    def compared(self, name: str, form: Callable[[crucible.Epoch], Callable[[int], None]], each: int) -> Comparison:
        """`each` steps an epoch; raises ValueError where one is not read back."""
        self.provider.force_flush()
        self.runs, before = [], self.exporter.events
        result = compare(
            f"step: {name}", each * EPOCHS, lambda: self.ours(form, each), lambda: self.theirs(each), ADD_EVENT
        )
        self.provider.force_flush()
        theirs_kept = (self.exporter.events - before) // len(self.runs)
        store = crucible.open_store(self.directory)
        ours_kept = min(len({row["step"] for row in step_rows(store.get(run)).rows}) for run in self.runs[:2])
        if ours_kept != each * EPOCHS:
            raise ValueError(f"{each * EPOCHS} steps recorded, {ours_kept} read back")
        result.kept = f"{ours_kept:,} of {each * EPOCHS:,} (plain SDK: {theirs_kept:,})"
        return result

    def ours(self, form: Callable[[crucible.Epoch], Callable[[int], None]], each: int) -> int:
        """A run."""
        taken = 0
        with crucible.training_run("benchmark") as run:
            self.runs.append(f"{run.span_context.trace_id:032x}")
            for epoch in run.epochs(EPOCHS):
                steps, left = form(epoch), each
                if each == IN_A_WINDOW:
                    steps(1)  # opens the window
                    left -= 1
                taken += timed(partial(steps, left))
        return taken

    def theirs(self, each: int) -> int:
        """Ten spans."""
        taken = 0
        for _ in range(EPOCHS):
            with self.plain.start_as_current_span("epoch") as span:
                taken += timed(lambda: _plain(span, each))
        return taken


def _rewarded(journal: Path, each: int) -> Comparison:
    """Steps of ten episodes with their reward and five other numbers, each read back, against those of epochs."""
    loss, accuracy, rate, norm, tokens, seconds = SIX.values()

    def rewards(episode: crucible.Episode) -> None:
        for _ in range(each):
            episode.record_reward(loss, accuracy=accuracy, rate=rate, norm=norm, tokens=tokens, seconds=seconds)

    def ours() -> int:
        taken = 0
        with crucible.training_run("rewards") as run:
            runs.append(run.run_id)
            for _ in range(EPOCHS):
                with run.episode() as episode:
                    taken += timed(partial(rewards, episode))
        return taken

    def theirs() -> int:
        taken = 0
        with crucible.training_run("steps") as run:
            for epoch in run.epochs(EPOCHS):
                taken += timed(partial(_by_name(epoch), each))
        return taken

    runs: list[str] = []
    result = compare("step: `record_reward` with 5 more numbers", each * EPOCHS, ours, theirs, "`record_step` with 6")
    kept = len(step_rows(crucible.open_store(journal).get(runs[0]), events.REWARD_RECEIVED))
    if kept != each * EPOCHS:
        raise ValueError(f"{each * EPOCHS} rewards recorded, {kept} read back")
    result.kept = f"{kept:,} of {each * EPOCHS:,}"
    return result


def _paced(steps: int) -> Comparison:
    """Steps of a millisecond, after which the caches are cold: the wall time of the call, at the median."""
    limits = SpanLimits(max_events=steps)
    provider = TracerProvider(span_limits=limits, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(Dropping()))
    plain = provider.get_tracer("benchmark")
    loss, accuracy, rate, norm, tokens, seconds = SIX.values()
    clock = time.perf_counter_ns

    def ours() -> int:
        took = []
        with crucible.training_run("paced") as run, run.epoch(0) as epoch:
            for _ in range(steps):
                time.sleep(0.001)
                began = clock()
                epoch.record_step(loss=loss, accuracy=accuracy, rate=rate, norm=norm, tokens=tokens, seconds=seconds)
                took.append(clock() - began)
        return round(median(took))

    def theirs() -> int:
        took = []
        with plain.start_as_current_span("epoch") as span:
            for _ in range(steps):
                time.sleep(0.001)
                began = clock()
                numbers = {"loss": loss, "accuracy": accuracy, "rate": rate, "norm": norm, "tokens": tokens}
                numbers["seconds"] = seconds
                span.add_event("step", numbers)
                took.append(clock() - began)
        return round(median(took))

    name = "step: `record_step`, one a millisecond, wall time at the median"
    result = compare(name, 1, ours, theirs, f"{ADD_EVENT}, limit raised")
    provider.shutdown()
    return result
