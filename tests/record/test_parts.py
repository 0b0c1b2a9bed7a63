"""A training run that outgrows its trace goes on in linked ones, and nothing of it gets lost or out of place."""

from __future__ import annotations

import math
import os
import threading
from typing import TYPE_CHECKING

import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.processor import JournalSpanProcessor
from crucible_trace_otel.journal.sizes import TRACES, Budget
from crucible_trace_otel.record._ids import trace_id_of_run
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.record.steps import _windows
from crucible_trace_otel.sdk._ids import RunIdGenerator
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.sdk.trace import ReadableSpan

WITHIN = attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID
PART = attr.CRUCIBLE_RUN_PART


def recording(folder: Path, **provider: object) -> Recording:
    found = Recording(**{"id_generator": RunIdGenerator(), **provider})
    found.provider.add_span_processor(JournalSpanProcessor(folder, progress_s=0))
    use_tracer_provider(found.provider)
    return found


@pytest.fixture
def kept(tmp_path: Path) -> Recording:
    return recording(tmp_path)


def spans_a_trace(spans: float) -> None:
    TRACES.budget = Budget(math.inf, spans)


def ids(spans: list[ReadableSpan]) -> list[int]:
    return [span.context.trace_id for span in spans]


def hexed(span: ReadableSpan) -> str:
    return f"{span.context.trace_id:032x}"


def test_what_starts_in_a_full_trace_goes_to_the_next_part(kept: Recording) -> None:
    spans_a_trace(4)
    with crucible.training_run("digits", run_id="r") as run:
        for epoch in run.epochs(5):
            epoch.record_validation(accuracy=0.5)
    assert kept.trees(PART) == [
        node(
            "training_run",
            "digits",
            node("epoch", "epoch 0", node("validation_run", "accuracy 0.5")),
            node("epoch", "epoch 1", node("validation_run", "accuracy 0.5")),
            node(
                *("run_index", "goes on in 0/1 to 0/2"),
                attributes={PART: "0"},
                links=["indexes: run_part: digits, part 0/1", "indexes: run_part: digits, part 0/2"],
            ),
        ),
        node(
            "run_part",
            "digits, part 0/1",
            node("epoch", "epoch 2", node("validation_run", "accuracy 0.5")),
            node("epoch", "epoch 3", node("validation_run", "accuracy 0.5")),
            attributes={PART: "0/1"},
            links=["continues: training_run: digits"],
        ),
        node(
            "run_part",
            "digits, part 0/2",
            node("epoch", "epoch 4", node("validation_run", "accuracy 0.5")),
            attributes={PART: "0/2"},
            links=["continues: run_part: digits, part 0/1"],
        ),
    ]


def test_a_part_says_where_it_belongs(kept: Recording) -> None:
    spans_a_trace(1)
    with crucible.training_run("digits", run_id="r") as run:
        run.record_validation(accuracy=0.1)
        run.record_validation(accuracy=0.2)
        run.record_validation(accuracy=0.3)
    first, second = kept.named("run_part")
    run_span = kept.one("training_run")
    assert ids([run_span, first, second]) == [trace_id_of_run("r", 0, part) for part in ("0", "0/1", "0/2")]
    for part, previous in ((first, run_span), (second, first)):
        told = said(part)
        assert told[attr.CRUCIBLE_RUN_ID] == "r"
        assert told[attr.CRUCIBLE_RUN_ATTEMPT] == 0
        assert told[attr.CRUCIBLE_RUN_FIRST_TRACE_ID] == hexed(run_span)
        assert told[attr.CRUCIBLE_RUN_PREVIOUS_TRACE_ID] == hexed(previous)
        assert told[WITHIN] == f"{run_span.context.span_id:016x}"
        assert part.parent is None
    assert [said(span).get(WITHIN) for span in kept.named("validation_run")] == [
        None,
        *[f"{run_span.context.span_id:016x}"] * 2,
    ]


def test_segments_of_an_epoch_whose_trace_is_full_go_on_in_the_part(
    kept: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_windows, "MOST_EVENTS", 2)
    spans_a_trace(2)
    windows = crucible.WindowPolicy(rows=10)
    with crucible.training_run("digits", windows=windows) as run, run.epoch(7) as epoch:
        for step in range(115):
            epoch.record_step(loss=float(step))
    assert [row["step"] for row in kept.rows()] == list(range(115))
    segments = kept.named("step_segment")
    assert [said(span)[attr.CRUCIBLE_TRAINING_EPOCH_INDEX] for span in segments] == [7] * len(segments)
    epoch_span = kept.one("epoch")
    moved = [span for span in segments if span.context.trace_id != epoch_span.context.trace_id]
    assert 0 < len(moved) < len(segments)
    assert {said(span)[WITHIN] for span in moved} == {f"{epoch_span.context.span_id:016x}"}


def test_windows_of_a_run_without_epochs_go_on_by_their_bytes(kept: Recording) -> None:
    TRACES.budget = Budget(20_000, math.inf)
    with crucible.training_run("digits", windows=crucible.WindowPolicy(rows=100)) as run:
        record = run.step_recorder("loss", "rate")
        for step in range(5_000):
            record(float(step), 0.1)
    assert [row["step"] for row in kept.rows()] == list(range(5_000))
    assert len(kept.named("run_part")) >= 5_000 * 32 // 20_000
    sizes: dict[int, int] = {}
    for span in kept.spans:
        held = sum(len(event.attributes.get(attr.CRUCIBLE_WINDOW_SERIES_VALUES, b"")) for event in span.events)
        sizes[span.context.trace_id] = sizes.get(span.context.trace_id, 0) + held
    assert max(sizes.values()) < 20_000


def test_what_lies_deeper_moves_with_what_encloses_it_named(kept: Recording) -> None:
    spans_a_trace(3)
    with crucible.training_run("digits") as run, crucible.reasoning_chain("why") as chain:
        for number in range(5):
            chain.form_hypothesis(f"idea {number}")
        with kept.foreign.start_as_current_span("foreign") as foreign, crucible.stage("inside"):
            crucible.current_operation().set({})
    chain_id, foreign_id = (f"{span.get_span_context().span_id:016x}" for span in (chain.span, foreign))
    moved = [span for span in kept.named("hypothesis_formed") if WITHIN in said(span)]
    assert [said(span)[attr.CRUCIBLE_ABOUT] for span in moved] == ["idea 3", "idea 4"]
    assert {said(span)[WITHIN] for span in moved} == {chain_id}
    assert kept.one("foreign").parent.span_id == chain.span_context.span_id
    (stage,) = [span for span in kept.spans if span.name.startswith("stage")]
    assert said(stage)[WITHIN] == foreign_id
    assert run.ended


def test_a_part_ends_once_another_has_begun_and_what_it_holds_has_ended(kept: Recording) -> None:
    spans_a_trace(3)
    with crucible.training_run("digits") as run:
        for _ in range(3):
            run.record_validation(accuracy=0.1)
        long = run.epoch(0).start()
        for _ in range(3):
            run.record_validation(accuracy=0.2)
        assert [span.name for span in kept.named("run_part")] == []  # the epoch is open in it
        run.record_validation(accuracy=0.3)
        long.stop()
        assert [said(span)[PART] for span in kept.named("run_part")] == ["0/1"]
    assert [said(span)[PART] for span in kept.named("run_part")] == ["0/1", "0/2"]
    for span in kept.spans:
        if span.parent is not None:
            (around,) = [one for one in kept.spans if one.context.span_id == span.parent.span_id]
            assert around.start_time <= span.start_time <= span.end_time <= around.end_time


def test_other_traces_are_left_as_they_are(kept: Recording) -> None:
    spans_a_trace(2)
    with crucible.pipeline("nightly") as pipeline:
        for number in range(5):
            with pipeline.stage(f"s{number}"):
                pass
        with crucible.training_run("digits") as run:
            run.record_validation(accuracy=0.1)
        with pipeline.stage("last"):
            pass
    assert len(set(ids(kept.spans))) == 2
    assert [span.name for span in kept.spans if span.context.trace_id != pipeline.span_context.trace_id] == [
        *("run_part", "validation_run"),
    ]


def test_parts_work_with_whatever_ids_a_provider_gives(tmp_path: Path) -> None:
    kept = recording(tmp_path, id_generator=None)
    spans_a_trace(2)
    with crucible.training_run("digits", run_id="r") as run:
        for number in range(6):
            run.record_validation(accuracy=number / 10)
    parts = kept.named("run_part")
    assert len(parts) == 2
    assert len(set(ids(kept.spans))) == 3
    assert [link.context.trace_id for span in parts for link in span.links] == ids([kept.one("training_run"), parts[0]])


def test_parts_are_no_part_of_a_trace_that_another_process_handed_down(
    kept: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{7:032x}-{8:016x}-01")
    spans_a_trace(1)
    with crucible.training_run("digits", run_id="r") as run:
        for number in range(3):
            run.record_validation(accuracy=number / 10)
    assert kept.one("training_run").context.trace_id == 7
    assert ids(kept.named("run_part")) == [trace_id_of_run("r", 0, "0/1"), trace_id_of_run("r", 0, "0/2")]


def test_a_part_that_a_sampler_drops_is_not_used(tmp_path: Path) -> None:
    run_id = next(f"r{number}" for number in range(1_000) if _is_only_first_sampled(f"r{number}"))
    kept = recording(tmp_path, sampler=TraceIdRatioBased(0.5))
    spans_a_trace(1)
    with crucible.training_run("digits", run_id=run_id) as run:
        for number in range(4):
            run.record_validation(accuracy=number / 10)
    assert [span.name for span in kept.spans] == ["training_run", *["validation_run"] * 4]


def _is_only_first_sampled(run_id: str) -> bool:
    first, second = (trace_id_of_run(run_id, 0, part) & (2**64 - 1) < 2**63 for part in ("0", "0/1"))
    return first and not second


def test_a_second_run_of_the_same_id_does_not_fill_the_parts_of_the_first(kept: Recording) -> None:
    spans_a_trace(3)
    for _ in range(2):
        with crucible.training_run("digits", run_id="r") as run:
            for number in range(9):
                run.record_validation(accuracy=number / 10)
    names = [said(span)[PART] for span in kept.named("run_part")]
    assert len(names) == len(set(names))
    assert len(kept.named("validation_run")) == 18


def test_threads_share_the_parts_of_their_run(kept: Recording) -> None:
    spans_a_trace(10)
    with crucible.training_run("digits") as run:

        def work() -> None:
            for number in range(100):
                run.record_validation(accuracy=number / 100)

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(kept.named("validation_run")) == 400
    parts = kept.named("run_part")
    assert [said(span)[PART] for span in parts] == [f"0/{number + 1}" for number in range(len(parts))]
    assert len(parts) >= 25


def test_an_index_names_more_parts_than_a_span_holds_links(kept: Recording) -> None:
    spans_a_trace(1)
    with crucible.training_run("digits") as run:
        for number in range(250):
            run.record_validation(accuracy=number / 250)
    indexes = kept.named("run_index")
    assert [len(span.links) for span in indexes] == [100, 100, 49]
    assert [link.context for span in indexes for link in span.links] == [s.context for s in kept.named("run_part")]
    assert {span.context.trace_id for span in indexes} == {run.span_context.trace_id}


def test_without_anything_that_counts_there_are_no_parts() -> None:
    kept = Recording(id_generator=RunIdGenerator())
    use_tracer_provider(kept.provider)
    spans_a_trace(1)
    with crucible.training_run("digits") as run:
        for number in range(5):
            run.record_validation(accuracy=number / 10)
    assert kept.named("run_part") == []


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_begins_no_parts_of_a_run_of_its_parent(kept: Recording) -> None:
    spans_a_trace(1)
    with crucible.training_run("digits") as run:
        run.record_validation(accuracy=0.1)
        child = os.fork()
        if child == 0:
            run.record_validation(accuracy=0.2)
            os._exit(len(kept.named("run_part")) + (run._parts._ordinal != 0))
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
