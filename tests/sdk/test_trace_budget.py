"""A run of any length passes a backend that drops, without a word, what is too large for one trace or one text."""

from __future__ import annotations

import hashlib
import signal
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.recovery import recover_dead
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import RunState
from crucible_trace_otel.trace.steps import step_rows
from tests.backends.limited_sink import TempoSink, run_recorded_in
from tests.cli.running import crucible_trace
from tests.journal.process import start

if TYPE_CHECKING:
    from pathlib import Path

    from crucible_trace_otel.trace.spans import Trace

BUDGET = 100_000
LIMIT = BUDGET * 5 // 4  # as 5 MB are to 4 MB
EPOCHS, STEPS = 10, 1_500


def long_run() -> None:
    with crucible.training_run("digits", run_id="long") as run:
        for epoch in run.epochs(EPOCHS):
            record = epoch.step_recorder("loss", "rate", "norm", "tokens")
            for step in range(STEPS):
                record(1 / (step + 1), 0.1, 0.5, step)
            epoch.record_validation(accuracy=0.5)
            run.tune_hyperparameter("lr", 0.1, reason="because " * 400)


def rows(trace: Trace) -> list[tuple[object, ...]]:
    return [(row["epoch"], row["step"], row["loss"], row["tokens"]) for row in step_rows(trace).rows]


def shape(trace: Trace) -> list[tuple[str, str, str]]:
    return [(span.span_id, span.parent_id or "", span.operation) for span in trace.spans]


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_a_run_larger_than_a_trace_may_be_loses_nothing(monkeypatch: pytest.MonkeyPatch, protocol: str) -> None:
    monkeypatch.setenv("CRUCIBLE_TRACE_BYTES", str(BUDGET))
    with TempoSink(trace_bytes=LIMIT) as sink:
        address = f"http://127.0.0.1:{sink.grpc_port if protocol == 'grpc' else sink.http_port}"
        with crucible.configure(journal="kept", endpoint=address, protocol=protocol, ship="thread") as recording:
            long_run()
            assert recording.flush(30)
        assert (sink.dropped, sink.cut, sink.too_large) == (0, 0, 0)
        assert len(sink.sizes) >= EPOCHS * STEPS * 48 // BUDGET
        sent = run_recorded_in(sink.traces(), "long")
    kept = crucible.open_store("kept").get("long")
    assert crucible.open_store("kept").traces() == (kept,)
    assert shape(sent) == shape(kept)
    assert len(kept.trace_ids) == len(sink.sizes)
    assert len(kept.roots) == 1
    steps = range(STEPS)
    expected = [(epoch, epoch * STEPS + step, 1 / (step + 1), step) for epoch in range(EPOCHS) for step in steps]
    assert rows(kept) == rows(sent) == expected
    listed = crucible_trace("list", "--journal", "kept").stdout.splitlines()
    assert len(listed) == 2
    for trace_id in kept.trace_ids:
        assert crucible.open_store("kept").get(trace_id) == kept


def test_the_same_run_without_a_budget_is_what_such_a_backend_drops(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_TRACE_BYTES", "off")
    monkeypatch.setenv("CRUCIBLE_TRACE_SPANS", "0")
    monkeypatch.setenv("CRUCIBLE_TEXT_LIMIT", "off")
    with TempoSink(trace_bytes=LIMIT) as sink:
        with crucible.configure(journal="kept", endpoint=sink.http_endpoint, ship="thread") as recording:
            long_run()
            assert recording.flush(30)
        assert len(sink.sizes) == 1
        assert sink.dropped > 0
        assert sink.cut > 0
    assert len(rows(crucible.open_store("kept").get("long"))) == EPOCHS * STEPS


def test_long_text_is_whole_in_the_journal_and_a_head_on_the_wire() -> None:
    text = "warum? " + "größer " * 900
    with TempoSink() as sink:
        with crucible.configure(journal="kept", endpoint=sink.http_endpoint, ship="thread") as recording:
            with crucible.reasoning_chain("why") as chain:
                chain.form_hypothesis("an LRU dict is enough", reasoning=text)
            assert recording.flush(30)
        (sent,) = [span for span in sink.traces()[0].spans if span.operation == spans.HYPOTHESIS_FORMED]
    (kept,) = [one for one in crucible.open_store("kept").latest().spans if one.operation == spans.HYPOTHESIS_FORMED]
    assert kept.attributes[attr.CRUCIBLE_DECISION_REASONING] == text
    head = sent.attributes[attr.CRUCIBLE_DECISION_REASONING]
    assert 2_046 <= len(head.encode()) <= 2_048
    assert text.startswith(head)
    assert {key: sent.attributes[key] for key in sent.attributes if "truncated" in key} == {
        attr.CRUCIBLE_TRUNCATED_KEYS: (attr.CRUCIBLE_DECISION_REASONING,),
        attr.CRUCIBLE_TRUNCATED_LENGTHS: (len(text),),
        attr.CRUCIBLE_TRUNCATED_SHA256S: (hashlib.sha256(text.encode()).hexdigest(),),
    }
    others = {key: value for key, value in sent.attributes.items() if "truncated" not in key and key in kept.attributes}
    assert others == {**kept.attributes, attr.CRUCIBLE_DECISION_REASONING: head}


def test_without_a_journal_too_a_run_goes_on_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_TRACE_SPANS", "5")
    with TempoSink() as sink:
        with crucible.configure(journal=False, endpoint=sink.http_endpoint) as recording:
            with crucible.training_run("digits", run_id="r") as run:
                for number in range(20):
                    run.record_validation(accuracy=number / 20)
            assert recording.flush(30)
        run_trace = run_recorded_in(sink.traces(), "r")
    assert len(run_trace.trace_ids) == 4
    assert sum(span.operation == spans.VALIDATION_RUN for span in run_trace.spans) == 20


KILLED = """
import os, signal
import crucible_trace_otel as crucible

crucible.configure(journal="kept")
with crucible.training_run("digits", run_id="killed") as run:
    for epoch in run.epochs(100):
        for step in range(10):
            epoch.record_step(loss=0.5)
        epoch.record_validation(accuracy=0.5)
        if epoch.index == 7:
            os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_parts_of_a_killed_run_end_with_it(tmp_path: Path) -> None:
    process = start(KILLED, tmp_path, CRUCIBLE_TRACE_SPANS="6")
    process.communicate(timeout=60)
    assert process.returncode == -signal.SIGKILL
    before = crucible.open_store(tmp_path / "kept").get("killed")
    assert recover_dead(tmp_path / "kept")
    trace = crucible.open_store(tmp_path / "kept").get("killed")
    assert trace == before
    states = {
        (span.operation, span.about): span.attributes.get(attr.CRUCIBLE_RUN_STATE)
        for span in trace.spans
        if span.operation in (spans.TRAINING_RUN, spans.EPOCH, spans.RUN_PART)
    }
    assert states == {
        (spans.TRAINING_RUN, "digits"): RunState.INTERRUPTED,
        **{(spans.EPOCH, f"epoch {number}"): None for number in range(7)},
        (spans.EPOCH, "epoch 7"): RunState.INTERRUPTED,
        (spans.RUN_PART, "digits, part 0/1"): None,
        (spans.RUN_PART, "digits, part 0/2"): RunState.INTERRUPTED,
    }
    (run,) = [span for span in trace.spans if span.operation == spans.TRAINING_RUN]
    assert run.attributes[attr.CRUCIBLE_TRAINING_STEP_INDEX] == 79  # in the last part
    (marker,) = [span for span in trace.spans if span.operation == spans.TRAINING_RUN_INTERRUPTED]
    assert marker.attributes[attr.CRUCIBLE_TRAINING_EPOCH_INDEX] == 7
    assert [row["step"] for row in step_rows(trace).rows] == list(range(80))
    assert len(trace.roots) == 1
