"""What the calls cost where nothing is kept: nothing configured, and a sampler that samples nothing."""

from collections.abc import Callable

from opentelemetry import trace as trace_api
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from recording import SIX, repeat
from timing import Comparison, compare

import crucible_trace_otel as crucible

__all__ = ["sampled_out", "unconfigured"]

TIMES = 1_000


def unconfigured() -> list[Comparison]:
    """Without `configure()`, before anything is set up: against the API's own no-op."""
    return _compared("not configured", trace_api.get_tracer("benchmark"), "the API's own no-op")


def sampled_out() -> list[Comparison]:
    """With a provider that samples nothing."""
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    handle = crucible.configure(journal=False, tracer_provider=provider)
    results = _compared("sampled out", provider.get_tracer("benchmark"), "the plain SDK's sampled out")
    handle.shutdown(10)
    return results


def _compared(how: str, tracer: trace_api.Tracer, against: str) -> list[Comparison]:
    def ours() -> None:
        with crucible.stage("load"):
            pass

    def theirs() -> None:
        with tracer.start_as_current_span("stage load"):
            pass

    def validated() -> None:
        tracer.start_span("validation_run", attributes={"accuracy": accuracy, "loss": loss}).end()

    def added() -> None:
        numbers = {"loss": loss, "accuracy": accuracy, "rate": rate, "norm": norm, "tokens": tokens, "seconds": seconds}
        event.add_event("step", numbers)

    loss, accuracy, rate, norm, tokens, seconds = SIX.values()
    with tracer.start_as_current_span("training_run") as event, crucible.training_run("benchmark") as run:
        if run.is_recording or event.is_recording():
            raise ValueError(f"{how}, and yet something is recorded")
        record = run.step_recorder(*SIX)

        def by_name() -> None:
            run.record_step(loss=loss, accuracy=accuracy, rate=rate, norm=norm, tokens=tokens, seconds=seconds)

        def by_position() -> None:
            record(loss, accuracy, rate, norm, tokens, seconds)

        def validation() -> None:
            run.record_validation(accuracy=accuracy, loss=loss)

        return [
            _line(f"{how}: `with stage()`", ours, theirs, f"{against} span in a `with`"),
            _line(f"{how}: `record_validation`", validation, validated, f"{against} span"),
            _line(f"{how}: `record_step` with 6 numbers", by_name, added, f"{against} `add_event`"),
            _line(f"{how}: `step_recorder` with 6 numbers", by_position, added, f"{against} `add_event`"),
        ]


def _line(name: str, ours: Callable[[], None], theirs: Callable[[], None], against: str) -> Comparison:
    return compare(name, TIMES, repeat(TIMES, ours), repeat(TIMES, theirs), against)
