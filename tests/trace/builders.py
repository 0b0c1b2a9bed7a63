"""Stored traces with fixed ids and times, for the tests of everything that reads."""

import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import LinkType, Result, RunState, WindowReason
from crucible_trace_otel.trace.spans import Trace, TraceEvent, TraceLink, TraceSpan, group_into_traces

START_NS = 1_767_225_600_000_000_000
"""2026-01-01T00:00:00Z."""


class TraceBuilder:
    """Collects spans of one trace; ids count up, times are seconds since START_NS."""

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self.spans: list[TraceSpan] = []

    def add(
        self,
        operation: str | None,
        about: str = "",
        parent: TraceSpan | str | None = None,
        at: float = 0.0,
        lasts: float = 0.0,
        *,
        name: str | None = None,
        attributes: Mapping[str, Any] | None = None,
        causes: Sequence[tuple[str, TraceSpan]] = (),
        **more: Any,
    ) -> TraceSpan:
        own = {} if operation is None else {attr.CRUCIBLE_OPERATION_NAME: operation, attr.CRUCIBLE_ABOUT: about}
        span = TraceSpan(
            trace_id=f"{self.number:032x}",
            span_id=f"{self.number:08x}{len(self.spans) + 1:08x}",
            parent_id=parent.span_id if isinstance(parent, TraceSpan) else parent,
            name=(operation or "span") if name is None else name,
            start_ns=START_NS + round(at * 1e9),
            end_ns=START_NS + round((at + lasts) * 1e9),
            attributes={**own, **(attributes or {}), **mirror(causes)},
            links=(
                *(TraceLink(cause.trace_id, cause.span_id, {attr.CRUCIBLE_LINK_TYPE: kind}) for kind, cause in causes),
                *more.pop("links", ()),
            ),
            scope="crucible_trace_otel",
            resource={attr.SERVICE_NAME: "tests", **more.pop("resource", {})},
            **more,
        )
        self.spans.append(span)
        return span

    def trace(self) -> Trace:
        (trace,) = group_into_traces(self.spans)
        return trace


def mirror(causes: Sequence[tuple[str, TraceSpan]]) -> dict[str, Any]:
    if not causes:
        return {}
    return {
        attr.CRUCIBLE_DEPENDENCY_NAMES: tuple(f"{kind}: {span.operation}: {span.about}" for kind, span in causes),
        attr.CRUCIBLE_DEPENDENCY_SPAN_IDS: tuple(span.span_id for _, span in causes),
        attr.CRUCIBLE_DEPENDENCY_TYPES: tuple(kind for kind, _ in causes),
    }


def pack(columns: Mapping[str, Sequence[Any]]) -> tuple[tuple[str, ...], bytes]:
    """Formats and values of a series, as the convention has them."""
    formats, values = [], b""
    for column in columns.values():
        kinds = {type(value) for value in column}
        if kinds <= {int} and all(-(2**63) <= value < 2**63 for value in column):
            formats.append("i8")
            values += struct.pack(f"<{len(column)}q", *column)
        elif kinds <= {float}:
            formats.append("f8")
            values += struct.pack(f"<{len(column)}d", *column)
        else:
            formats.append("json")
            text = json.dumps(list(column)).encode()
            values += struct.pack("<I", len(text)) + text
    return tuple(formats), values


def window(
    first_step: int, at: float, numbers: Mapping[str, Sequence[Any]], name: str = events.STEPS_RECORDED
) -> TraceEvent:
    """A window event; its steps are a millisecond apart and end at `at` seconds."""
    count = len(next(iter(numbers.values())))
    end_ns = START_NS + round(at * 1e9)
    columns = {
        "step": list(range(first_step, first_step + count)),
        "time_ns": [end_ns - (count - 1 - row) * 1_000_000 for row in range(count)],
        **numbers,
    }
    formats, values = pack(columns)
    statistics: dict[str, Any] = {}
    for column, cells in numbers.items():
        if all(isinstance(cell, float) for cell in cells):
            statistics[f"{attr.CRUCIBLE_WINDOW_FIRST_TEMPLATE}.{column}"] = cells[0]
            statistics[f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}.{column}"] = cells[-1]
    return TraceEvent(
        name,
        end_ns,
        {
            attr.CRUCIBLE_ABOUT: f"steps {first_step} to {first_step + count - 1}",
            attr.CRUCIBLE_WINDOW_FIRST_STEP: first_step,
            attr.CRUCIBLE_WINDOW_LAST_STEP: first_step + count - 1,
            attr.CRUCIBLE_WINDOW_COUNT: count,
            attr.CRUCIBLE_WINDOW_REASON: WindowReason.COUNT,
            **statistics,
            attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: tuple(columns),
            attr.CRUCIBLE_WINDOW_SERIES_FORMATS: formats,
            attr.CRUCIBLE_WINDOW_SERIES_VALUES: values,
        },
    )


_SUCCESS = {attr.CRUCIBLE_OPERATION_RESULT: Result.SUCCESS}


def digits(number: int = 1, epochs: int = 2, *, finished: bool = True) -> Trace:
    """From a question to a served model; with `finished=False` as it stands while the pipeline still trains."""
    build = TraceBuilder(number)
    run = {attr.CRUCIBLE_RUN_ID: f"run-{number}"}
    pipeline = build.add(spans.PIPELINE, "digits", at=0, lasts=9, name="pipeline digits", attributes=_SUCCESS)
    stage = {"name": "stage load", "attributes": {**_SUCCESS, attr.CRUCIBLE_STAGE_NAME: "load"}}
    build.add(spans.STAGE, "load", pipeline, 0.1, 0.25, **stage)
    chain = build.add(spans.REASONING_CHAIN, "which model reads the digits?", pipeline, 0.5, 0.004)
    lru = build.add(
        spans.HYPOTHESIS_FORMED, "softmax is enough", chain, 0.501, attributes={attr.CRUCIBLE_DECISION_CONFIDENCE: 0.6}
    )
    memory = {attr.CRUCIBLE_CONSTRAINT_SATISFIED: True}
    depends_on = ((LinkType.DEPENDS_ON, lru),)
    build.add(spans.CONSTRAINT_EVALUATED, "memory under 10 MB", chain, 0.502, attributes=memory, causes=depends_on)
    confidence = {attr.CRUCIBLE_DECISION_PREVIOUS_CONFIDENCE: 0.6, attr.CRUCIBLE_DECISION_CONFIDENCE: 0.9}
    build.add(spans.CONFIDENCE_UPDATED, "softmax is enough", chain, 0.503, attributes=confidence)
    train = build.add(spans.STAGE, "train", pipeline, 1, 6, name="stage train", attributes=_SUCCESS)
    trained = {**run, attr.CRUCIBLE_RUN_STATE: RunState.COMPLETED, attr.CRUCIBLE_TRAINING_LOSS_VALUE: 0.25, **_SUCCESS}
    training = build.add(spans.TRAINING_RUN, "digits", train, 1.1, 5.8, attributes=trained, causes=depends_on)
    for index in range(epochs):
        at = 1.2 + index * 4 / epochs
        losses = [2.0 / (1 + 3 * index + step) for step in range(3)]
        epoch = build.add(
            spans.EPOCH,
            f"epoch {index}",
            training,
            at,
            3 / epochs,
            attributes={
                **run,
                attr.CRUCIBLE_TRAINING_EPOCH_INDEX: index,
                attr.CRUCIBLE_TRAINING_LOSS_VALUE: losses[-1],
            },
            events=(window(3 * index, at + 3 / epochs, {"loss": losses}),),
        )
        metric = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.accuracy"
        build.add(
            spans.VALIDATION_RUN,
            f"accuracy {0.5 + index / 10:.4g}",
            epoch,
            at + 2.5 / epochs,
            attributes={**run, metric: 0.5 + index / 10},
        )
    saved = build.add(
        spans.MODEL_SAVE, "digits.npz", training, 6.5, 0.02, attributes={**run, attr.CRUCIBLE_MODEL_SIZE: 5200}
    )
    deployment = build.add(spans.DEPLOYMENT, "digits in production", pipeline, 8, 0.9, attributes=_SUCCESS)
    build.add(spans.MODEL_LOAD, "digits.npz", deployment, 8.1, 0.01, causes=((LinkType.SERVES, saved),))
    failed = {attr.CRUCIBLE_OPERATION_RESULT: Result.ERROR, attr.ERROR_TYPE: "ValueError"}
    build.add(
        spans.INFERENCE,
        "a blank page",
        deployment,
        8.5,
        0.002,
        attributes=failed,
        status="error",
        status_message="ValueError: no digit",
        kind="client",
    )
    if not finished:
        build.spans = [span for span in build.spans if span.span_id not in {pipeline.span_id, deployment.span_id}]
    return build.trace()
