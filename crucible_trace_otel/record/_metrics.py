"""Moving numbers as metrics, named by the registry: measured once a window and once an operation, never once a step.

Through OpenTelemetry's metrics API, which is imported by who sets a meter provider up; without one nothing is measured.
"""

import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import Span

from crucible_trace_otel._version import __version__
from crucible_trace_otel.journal.series import ColumnSummary
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._tracer import SCOPE
from crucible_trace_otel.semconv import SCHEMA_URL, events, metrics, spans
from crucible_trace_otel.semconv import attributes as attr

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider

__all__ = ["WindowMeter", "measure_call", "measure_event", "measure_span", "use_meter_provider"]

_API = "opentelemetry.metrics._internal"
_BY_ENVIRONMENT = "OTEL_PYTHON_METER_PROVIDER" in os.environ  # it makes one when it is first asked for
_SECOND_NS = 1_000_000_000
_WORTH_A_MEASUREMENT_NS = 400_000  # the SDK takes some 4 us for one: a hundredth of the step
_NOWHERE = Context()
_MOST_NAMED = 20  # numbers of the user's in one window: each is a series on the metric backend
_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1_800, 7_200, 43_200)
_BUCKETS = (-1_000, -100, -10, -5, -2, -1, -0.5, 0, 0.25, 0.5, 0.75, 1, 2, 3, 4, 5, 10, 100, 1_000)
"""Of scores and returns, which have any range."""
_VERBS = {"counter": "add", "gauge": "set", "histogram": "record"}

_OF_A_STEP = {
    "loss": metrics.CRUCIBLE_TRAINING_LOSS,
    "learning_rate": metrics.CRUCIBLE_TRAINING_LEARNING_RATE,
    "gradient_norm": metrics.CRUCIBLE_TRAINING_GRADIENT_NORM,
    "samples": metrics.CRUCIBLE_TRAINING_SAMPLES,
    "tokens": metrics.CRUCIBLE_TRAINING_TOKENS,
}
_OF_COLUMNS: Mapping[str, Mapping[str, str]] = {
    events.STEPS_RECORDED: _OF_A_STEP,
    events.BATCH_PROCESSED: {**_OF_A_STEP, "batch.size": metrics.CRUCIBLE_TRAINING_SAMPLES},
    events.LOSS_COMPUTED: {"loss": metrics.CRUCIBLE_TRAINING_LOSS},
    events.GRADIENT_COMPUTED: {"norm": metrics.CRUCIBLE_TRAINING_GRADIENT_NORM},
    events.METRIC_RECORDED: {},
    events.REWARD_RECEIVED: {"reward": metrics.CRUCIBLE_REWARD},
}
"""Event of a window to its columns' metrics."""
_HAS_NAMED = frozenset({events.STEPS_RECORDED, events.METRIC_RECORDED})
"""Events whose other columns are the user's own numbers."""
_KINDS_OF_LOSS = "loss."

_DURATIONS = {
    spans.TRAINING_RUN: metrics.CRUCIBLE_TRAINING_RUN_DURATION,
    spans.EPOCH: metrics.CRUCIBLE_TRAINING_EPOCH_DURATION,
    spans.STAGE: metrics.CRUCIBLE_STAGE_DURATION,
    spans.INFERENCE: metrics.CRUCIBLE_INFERENCE_DURATION,
    spans.CHECKPOINT_SAVE: metrics.CRUCIBLE_CHECKPOINT_DURATION,
    spans.CHECKPOINT_LOAD: metrics.CRUCIBLE_CHECKPOINT_DURATION,
}
_AMOUNTS = {
    spans.CHECKPOINT_SAVE: (metrics.CRUCIBLE_CHECKPOINT_IO, attr.CRUCIBLE_CHECKPOINT_SIZE),
    spans.CHECKPOINT_LOAD: (metrics.CRUCIBLE_CHECKPOINT_IO, attr.CRUCIBLE_CHECKPOINT_SIZE),
    spans.EPISODE: (metrics.CRUCIBLE_EPISODE_RETURN, attr.CRUCIBLE_EPISODE_RETURN),
    spans.FEEDBACK: (metrics.CRUCIBLE_FEEDBACK_SCORE, attr.CRUCIBLE_FEEDBACK_SCORE),
}
"""Operation to the attribute of its span that is counted or measured."""
_COUNTED = {events.STEP_ABNORMAL: metrics.CRUCIBLE_TRAINING_ABNORMAL_STEPS}
"""Events, or short spans, of which each counts one."""
_NAMED = {spans.VALIDATION_RUN: attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE + "."}
"""Operation to the beginning of those of its attributes that are the user's own numbers."""

_TOKEN_TYPES = {attr.GEN_AI_USAGE_INPUT_TOKENS: "input", attr.GEN_AI_USAGE_OUTPUT_TOKENS: "output"}

_configured: "list[MeterProvider]" = []


def use_meter_provider(provider: "MeterProvider | None") -> None:
    """Measure through `provider` from now on; through OpenTelemetry's global one, if somebody sets it, when None."""
    _configured[:] = [] if provider is None else [provider]


def _meters() -> "_Meters | None":
    """What measures; None where no meter provider is set up."""
    if _configured:
        return _meters_of(_configured[0])
    api = sys.modules.get(_API)  # who sets a provider up has imported it
    if api is None or (getattr(api, "_METER_PROVIDER", api) is None and not _BY_ENVIRONMENT):
        return None
    provider = api.get_meter_provider()
    return None if isinstance(provider, getattr(api, "_ProxyMeterProvider", ())) else _meters_of(provider)


@lru_cache(maxsize=8)
def _meters_of(provider: "MeterProvider") -> "_Meters":
    return _Meters(provider)


class _Meters:
    """The instruments of one provider, each made when it is first used, as the registry defines it."""

    def __init__(self, provider: "MeterProvider") -> None:
        from crucible_trace_otel.semconv.catalogue import METRICS  # noqa: PLC0415 - all definitions

        self._definitions = METRICS
        self._meter = provider.get_meter(SCOPE, __version__, schema_url=SCHEMA_URL)
        self._measures: dict[str, Callable[..., None]] = {}

    def measure(self, name: str, value: float, attributes: Mapping[str, Any], context: Context) -> None:
        """Measure `value`; one that is not finite no metric backend takes, and windows tell of it."""
        if math.isfinite(value):
            exact = round(value) if self._definitions[name].value_type == "int" else float(value)
            (self._measures.get(name) or self._made(name))(exact, attributes or None, context)

    def described(self, name: str, known: Mapping[str, Any]) -> dict[str, Any]:
        """Those of the attributes that a measurement of `name` carries."""
        return {key: known[key] for key in self._definitions[name].attributes if key in known}

    def _made(self, name: str) -> Callable[..., None]:
        definition = self._definitions[name]
        options: dict[str, Any] = {"unit": definition.unit, "description": definition.brief}
        if definition.instrument == "histogram":
            options["explicit_bucket_boundaries_advisory"] = _BUCKETS_S if definition.unit == "s" else _BUCKETS
        instrument = getattr(self._meter, f"create_{definition.instrument}")(name, **options)
        measure: Callable[..., None] = getattr(instrument, _VERBS[definition.instrument])
        self._measures[name] = measure
        return measure


class WindowMeter:
    """Measures the windows of one run or epoch as they close."""

    def __init__(self) -> None:
        self._before: tuple[int, int] | None = None
        """Step and time of the last row measured."""

    @guarded(nothing)
    def measure(
        self, event_name: str, columns: Mapping[str, Sequence[Any]], numbers: Mapping[str, ColumnSummary], span: Span
    ) -> None:
        """Measure one window.

        Args:
            event_name: Of its event.
            columns: Its rows, by name of the column.
            numbers: What its columns of numbers come to.
            span: The one that holds it, which exemplars point to.
        """
        meters = _meters()
        if meters is None or event_name not in _OF_COLUMNS:
            return
        context = trace_api.set_span_in_context(span)
        for name, value, attributes in _measurements(event_name, numbers):
            meters.measure(name, value, attributes, context)
        if event_name == events.STEPS_RECORDED:
            meters.measure(metrics.CRUCIBLE_TRAINING_STEPS, len(columns["step"]), {}, context)
            durations = self._durations(columns["step"], columns["time_ns"])
            longest = max(durations, default=0.0)
            for seconds in durations:
                within = context if seconds == longest else _NOWHERE  # an exemplar costs half as much again
                meters.measure(metrics.CRUCIBLE_TRAINING_STEP_DURATION, seconds, {}, within)

    def _durations(self, steps: Sequence[int], times: Sequence[int]) -> list[float]:
        """Seconds of the steps, from each row to the next; what came before the first of all is not known.

        Of steps too fast to measure each, every second one, every third one, and so on; the last one always.
        """
        rows = list(zip(steps, times, strict=True))
        before, self._before = self._before or rows[0], rows[-1]
        every = 1 + _WORTH_A_MEASUREMENT_NS * len(rows) // max(rows[-1][1] - before[1], 1)
        found = []
        for left, row in zip(range(len(rows) - 1, -1, -1), rows, strict=True):
            if left % every == 0 and row[0] > before[0] and row[1] >= before[1]:
                found.append((row[1] - before[1]) / (row[0] - before[0]) / _SECOND_NS)
            before = row
        return found


def _measurements(
    event_name: str, numbers: Mapping[str, ColumnSummary]
) -> Iterator[tuple[str, float, Mapping[str, Any]]]:
    """Name, value and attributes of what a window's columns are measured as."""
    known = _OF_COLUMNS[event_name]
    named = 0
    for column, summary in numbers.items():
        metric = known.get(column)
        if metric in (metrics.CRUCIBLE_TRAINING_SAMPLES, metrics.CRUCIBLE_TRAINING_TOKENS):
            yield metric, max(summary.total, 0), {}
        elif metric is not None:
            yield metric, summary.last, {}
        elif event_name == events.LOSS_COMPUTED and column.startswith(_KINDS_OF_LOSS):
            kind = column.removeprefix(_KINDS_OF_LOSS)
            yield metrics.CRUCIBLE_TRAINING_LOSS, summary.last, {attr.CRUCIBLE_TRAINING_LOSS_KIND: kind}
        elif event_name in _HAS_NAMED and named < _MOST_NAMED:
            named += 1
            yield _named(column, summary.last, spans.TRAINING_RUN)


def _named(name: str, value: float, operation: str) -> tuple[str, float, Mapping[str, Any]]:
    """A number of the user's: those of validations and those of steps may have one name."""
    return (
        metrics.CRUCIBLE_TRAINING_METRIC,
        value,
        {attr.CRUCIBLE_METRIC_NAME: name, attr.CRUCIBLE_OPERATION_NAME: operation},
    )


@guarded(nothing)
def measure_span(operation: str, span: Span, duration_ns: int) -> None:
    """Measure an operation that has ended, or a moment.

    Args:
        operation: The convention's name for it.
        span: Its span, ended.
        duration_ns: How long it took.
    """
    meters = _meters()
    if meters is None:
        return
    attributes: Mapping[str, Any] | None = getattr(span, "attributes", None)  # none where it was not recorded
    if not attributes:
        return
    context = trace_api.set_span_in_context(span)
    for name, value, given in _measured(operation, attributes, duration_ns):
        meters.measure(name, value, given or meters.described(name, attributes), context)


def _measured(
    operation: str, attributes: Mapping[str, Any], duration_ns: int
) -> Iterator[tuple[str, float, Mapping[str, Any]]]:
    """Name, value and attributes, those of the span where there are none, of what a span is measured as."""
    if operation in _DURATIONS:
        yield _DURATIONS[operation], duration_ns / _SECOND_NS, {}
    if operation in _AMOUNTS:
        name, key = _AMOUNTS[operation]
        if key in attributes:
            yield name, attributes[key], {}
    if operation in _COUNTED:
        yield _COUNTED[operation], 1, {}
    if operation in _NAMED:
        begins = _NAMED[operation]
        found = [key for key in attributes if key.startswith(begins)]
        for key in found[:_MOST_NAMED]:
            if type(attributes[key]) is float:
                yield _named(key.removeprefix(begins), attributes[key], operation)


@guarded(nothing)
def measure_event(name: str, attributes: Mapping[str, Any], span: Span) -> None:
    """Count an event of `span`, where its kind is counted."""
    meters = _meters() if name in _COUNTED else None
    if meters is not None:
        metric = _COUNTED[name]
        meters.measure(metric, 1, meters.described(metric, attributes), trace_api.set_span_in_context(span))


@guarded(nothing)
def measure_call(span: Span, attributes: Mapping[str, Any], latency: float | None, first_token: float | None) -> None:
    """Measure a call of a language model that nobody else measures.

    Args:
        span: The one that tells of it, which exemplars point to.
        attributes: What that span says of it.
        latency: Seconds it took; None where that is not known.
        first_token: Seconds to the first token; None where that is not known.
    """
    meters = _meters()
    if meters is None or not span.get_span_context().trace_flags.sampled:
        return
    context = trace_api.set_span_in_context(span)
    known = {key: value for key, value in attributes.items() if value is not None}
    measured = [
        (metrics.CRUCIBLE_LLM_CALL_DURATION, latency, {}),
        (metrics.CRUCIBLE_LLM_CALL_TIME_TO_FIRST_TOKEN, first_token, {}),
        (metrics.CRUCIBLE_COST, known.get(attr.CRUCIBLE_COST_AMOUNT), {}),
        *(
            (metrics.CRUCIBLE_LLM_CALL_TOKENS, known.get(key), {attr.GEN_AI_TOKEN_TYPE: kind})
            for key, kind in _TOKEN_TYPES.items()
        ),
    ]
    for name, value, more in measured:
        if value is not None:
            meters.measure(name, value, {**meters.described(name, known), **more}, context)
