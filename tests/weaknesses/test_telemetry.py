"""What CrucibleTrace's telemetry, import of histories and export got wrong does not happen here."""

from __future__ import annotations

import csv
import io
import json
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv.catalogue import EVENTS, SPANS
from tests.cli.running import crucible_trace

if TYPE_CHECKING:
    from pathlib import Path

NIGHTLY = "nightly.europe.digits"
"""A name of several parts."""


def record(name: str) -> None:
    """A small pipeline, one stage of which fails."""
    with pytest.raises(ValueError, match="boom"), crucible.pipeline(name) as pipeline:
        with crucible.training_run("digits") as run:
            run.record_step(loss=1.0)
        with pipeline.stage("export"):
            raise ValueError("boom")


def test_t3_what_is_recorded_is_emitted_and_read_under_the_names_of_the_convention(tmp_path: Path) -> None:
    with crucible.configure(service_name="t3", journal=tmp_path / "journal"):
        record("nightly")
    trace = crucible.open_store(tmp_path / "journal").latest()
    assert [span.operation for span in trace.spans] == ["pipeline", "training_run", "stage"]
    assert {span.operation for span in trace.spans} <= SPANS.keys()
    events = {event.name for span in trace.spans for event in span.events}
    assert events == {"steps_recorded", "exception"}
    assert events - {"exception"} <= EVENTS.keys()


def test_t4_the_second_configuration_takes_effect_and_an_exception_and_a_name_of_several_parts_are_told(
    tmp_path: Path,
) -> None:
    crucible.configure(service_name="t4", journal=tmp_path / "first")
    record("nightly")
    crucible.configure(service_name="t4", journal=tmp_path / "second")
    record(NIGHTLY)
    crucible.shutdown()
    first, second = (crucible.open_store(tmp_path / name).traces() for name in ("first", "second"))
    assert [[trace.name for trace in traces] for traces in (first, second)] == [["nightly"], [NIGHTLY]]
    failed = next(span for span in second[0].spans if span.operation == "stage")
    assert failed.attributes["error.type"] == "ValueError"
    assert [event.attributes["exception.message"] for event in failed.events] == ["boom"]


def test_t5_rows_of_a_history_keep_their_epochs_and_their_times(tmp_path: Path) -> None:
    start = 1_767_225_600
    rows = [{"epoch": epoch, "time": start + 60 * epoch, "loss": 1 / (epoch + 1)} for epoch in range(3)]
    with crucible.configure(service_name="t5", journal=tmp_path / "journal"):
        crucible.record_history("old", rows)
    epochs = [span for span in crucible.open_store(tmp_path / "journal").latest().spans if span.operation == "epoch"]
    assert [span.attributes["crucible.training.epoch.index"] for span in epochs] == [0, 1, 2]
    assert [round(span.end_ns / 1e9 - start) for span in epochs] == [0, 60, 120]


def test_c5_a_column_that_comes_late_is_exported_and_so_is_what_json_has_no_word_for(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    with crucible.configure(service_name="c5", journal=journal):
        with crucible.training_run("late column") as run:
            run.record_step(loss=1.0)
            run.record_step(loss=float("nan"), accuracy=0.5)
        with crucible.reasoning_chain("odd") as chain:
            chain.form_hypothesis("h", metadata={"shape": (8, 8), "made of": object, "far": 1 + 2j})
    steps = crucible_trace("steps", "late column", "--journal", journal, "--csv")
    first, second = csv.DictReader(io.StringIO(steps.stdout))
    assert (first["accuracy"], second["accuracy"]) == ("", "0.5")
    lines = crucible_trace("steps", "late column", "--journal", journal, "--json").stdout.splitlines()
    assert [json.loads(line)["loss"] for line in lines] == [1.0, "NaN"]
    shown = crucible_trace("show", "odd", "--journal", journal, "--json")
    assert shown.exit_code == 0
    assert "[8, 8]" in json.dumps(json.loads(shown.stdout))
