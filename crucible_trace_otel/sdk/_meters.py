"""Where metrics go: to a provider of somebody's, or by OTLP; and what the recorder tells of itself."""

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

from opentelemetry import metrics as metrics_api
from opentelemetry.metrics import CallbackOptions, Observation
from opentelemetry.sdk.resources import Resource

from crucible_trace_otel._version import __version__
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._tracer import SCOPE
from crucible_trace_otel.sdk._outbox import Closing, Counting, within
from crucible_trace_otel.sdk._settings import Settings, Target
from crucible_trace_otel.semconv import SCHEMA_URL, metrics
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import RecorderState

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics.export import MetricExporter

    from crucible_trace_otel.sdk._recorder import Recorder

__all__ = ["MetricSender", "global_meter_provider", "observe"]


def global_meter_provider() -> metrics_api.MeterProvider | None:
    """OpenTelemetry's global provider, where somebody has set one."""
    from opentelemetry.metrics._internal import _ProxyMeterProvider  # noqa: PLC0415 - there is no public way to tell

    provider = metrics_api.get_meter_provider()
    return None if isinstance(provider, _ProxyMeterProvider) else provider


class MetricSender:
    """A provider of our own over an OTLP exporter that sends once a minute, and at the end."""

    def __init__(self, settings: Settings, target: Target, resource: Resource) -> None:
        from opentelemetry.sdk.metrics import MeterProvider  # noqa: PLC0415 - only for who wants metrics
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader  # noqa: PLC0415

        self._exporter = Counting("METRICS", target, settings)
        self.endpoint = self._exporter.endpoint
        # Two processes with one name would overwrite each other's series.
        instance = Resource({attr.SERVICE_INSTANCE_ID: str(uuid.uuid4())})
        self.provider = MeterProvider(
            [PeriodicExportingMetricReader(cast("MetricExporter", self._exporter))],
            resource=instance.merge(resource),
            shutdown_on_exit=False,
        )
        self.closing = Closing(self.provider.shutdown, self._exporter.give_up)

    def force_flush(self, timeout: float) -> bool:
        """Send what was measured; whether that was tried to the end within `timeout` seconds."""
        return within(timeout, self.provider.force_flush)

    def shutdown(self, timeout: float) -> None:
        """Send what was measured for up to `timeout` seconds, then give it up."""
        self.closing.end(timeout)

    def abandon(self) -> None:
        """In a forked child, whose counters begin anew in another provider: send nothing of the parent's."""
        self._exporter.closed = True


_observing: "WeakSet[Any]" = WeakSet()
_observed: "list[Recorder]" = []


def observe(provider: metrics_api.MeterProvider, recorder: "Recorder") -> None:
    """Have `provider` ask `recorder`, in place of the one before it, what became of its records."""
    _observed[:] = [recorder]
    if provider in _observing:
        return
    _observing.add(provider)
    from crucible_trace_otel.semconv.catalogue import METRICS  # noqa: PLC0415 - all definitions

    meter = provider.get_meter(SCOPE, __version__, schema_url=SCHEMA_URL)
    records, backlog = METRICS[metrics.CRUCIBLE_RECORDER_RECORDS], METRICS[metrics.CRUCIBLE_SHIP_BACKLOG]
    meter.create_observable_counter(records.name, [_records], records.unit, records.brief)
    meter.create_observable_up_down_counter(backlog.name, [_backlog], backlog.unit, backlog.brief)


def _nothing(_: CallbackOptions) -> Iterable[Observation]:
    return ()


@guarded(_nothing)
def _records(_: CallbackOptions) -> Iterable[Observation]:
    counts = {state: count for recorder in _observed for state, count in _counts(recorder).items()}
    return [Observation(count, {attr.CRUCIBLE_RECORDER_STATE: state}) for state, count in counts.items()]


@guarded(_nothing)
def _backlog(_: CallbackOptions) -> Iterable[Observation]:
    return [Observation(recorder.shipping.backlog) for recorder in _observed if recorder.shipping is not None]


def _counts(recorder: "Recorder") -> dict[str, int]:
    """Spans of this process by what became of them; what waits to be sent is no count, it also falls."""
    counts = {RecorderState.RECORDED: recorder.recorded}
    if recorder.journal is not None:
        counts |= {RecorderState.STORED: recorder.journal.stored, RecorderState.LOST: recorder.journal.lost}
    if recorder.shipping is not None:
        counts |= {RecorderState.SENT: recorder.shipping.sent, RecorderState.REFUSED: recorder.shipping.refused}
    if recorder.sender is not None:
        counts[RecorderState.SENT] = recorder.sender.acknowledged
    return counts
