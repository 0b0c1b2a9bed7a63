import json
import math

import pytest
from hypothesis import given

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.renderers import FORMATS, UnknownFormatError, render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.spans import TraceEvent
from tests.renderers.test_tree import hostile_traces
from tests.trace.builders import START_NS, TraceBuilder, digits, window


def test_a_trace_as_nested_json():
    build = TraceBuilder()
    root = build.add(spans.TRAINING_RUN, "digits", lasts=2, attributes={attr.CRUCIBLE_RUN_ID: "run-1"})
    odd = {"nan": math.nan, "raw": b"\x00\xff", "many": (1, 2.5), "nested": {"a": (True, None)}}
    build.add(
        spans.EPOCH, "epoch 0", root, 0.5, 1, causes=[(LinkType.REFINES, root)], attributes=odd,
        events=(window(0, 1, {"loss": [0.5]}), TraceEvent("exception", START_NS)),
    )  # fmt: skip
    common = {"status": "unset", "status_message": "", "kind": "internal", "scope": "crucible_trace_otel",
              "resource": {"service.name": "tests"}, "dropped": {}}  # fmt: skip
    assert json.loads(render(build.trace(), "json")) == {
        "trace_id": f"{1:032x}",
        "name": "digits",
        "run_ids": ["run-1"],
        "complete": True,
        "spans": [
            {
                "span_id": "0000000100000001",
                "parent_id": None,
                "name": "training_run",
                "operation": "training_run",
                "about": "digits",
                "start": "2026-01-01T00:00:00+00:00",
                "start_ns": START_NS,
                "duration_s": 2.0,
                **common,
                "attributes": {
                    "crucible.operation.name": "training_run",
                    "crucible.about": "digits",
                    "crucible.run.id": "run-1",
                },
                "events": [],
                "links": [],
                "children": [
                    {
                        "span_id": "0000000100000002",
                        "parent_id": "0000000100000001",
                        "name": "epoch",
                        "operation": "epoch",
                        "about": "epoch 0",
                        "start": "2026-01-01T00:00:00.500000+00:00",
                        "start_ns": START_NS + 500_000_000,
                        "duration_s": 1.0,
                        **common,
                        "attributes": {
                            "crucible.operation.name": "epoch",
                            "crucible.about": "epoch 0",
                            "nan": "NaN",
                            "raw": "AP8=",
                            "many": [1, 2.5],
                            "nested": {"a": [True, None]},
                            "crucible.dependency.names": ["refines: training_run: digits"],
                            "crucible.dependency.span_ids": ["0000000100000001"],
                            "crucible.dependency.types": ["refines"],
                        },
                        "events": [
                            {
                                "name": "steps_recorded",
                                "time_ns": START_NS + 1_000_000_000,
                                "attributes": {
                                    "crucible.about": "steps 0 to 0",
                                    "crucible.window.first_step": 0,
                                    "crucible.window.last_step": 0,
                                    "crucible.window.count": 1,
                                    "crucible.window.reason": "count",
                                    "crucible.window.first.loss": 0.5,
                                    "crucible.window.last.loss": 0.5,
                                    "crucible.window.series.columns": ["step", "time_ns", "loss"],
                                },
                            },
                            {"name": "exception", "time_ns": START_NS, "attributes": {}},
                        ],
                        "links": [
                            {
                                "type": "refines",
                                "trace_id": f"{1:032x}",
                                "span_id": "0000000100000001",
                                "name": "training_run: digits",
                            }
                        ],
                        "children": [],
                    }
                ],
            }
        ],
    }


def count(spans_told):
    return sum(1 + count(span["children"]) for span in spans_told)


@given(hostile_traces())
def test_any_trace_is_json_with_every_span_once(trace):
    assert count(json.loads(render(trace, "json"))["spans"]) == len(trace.spans)
    assert render(trace, "json", ascii=True).isascii()
    assert json.loads(render(trace, "otlp-json"))["resourceSpans"]
    assert render(trace, "mermaid").startswith("flowchart TD\n")


def test_a_very_deep_trace_is_json_that_can_be_read():
    build = TraceBuilder()
    last = None
    for number in range(3_000):
        last = build.add(spans.STAGE, str(number), last, number, 1)
    assert count(json.loads(render(build.trace(), "json"))["spans"]) == 3_000


@pytest.mark.parametrize("asked", ["pdf", "", None, "Tree", ["tree"]])
def test_a_format_that_is_not_there_is_named_with_those_that_are(asked):
    with pytest.raises(UnknownFormatError) as refused:
        render(TraceBuilder().add(None), asked)
    assert str(refused.value) == f"There is no format {asked!r}; there are {', '.join(FORMATS)}."
    assert isinstance(refused.value, ValueError)


@pytest.mark.parametrize("shown", ["digits", None, digits().spans[0]])
def test_what_is_no_trace_is_one_sentence(shown):
    with pytest.raises(FormatError) as refused:
        render(shown, "tree")
    assert str(refused.value) == f"{shown!r} is no Trace; open_store().latest() gives one."
