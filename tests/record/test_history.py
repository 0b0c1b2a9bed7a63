"""Runs that ended before they are recorded: each row at its own time, and no time made up."""

from __future__ import annotations

import json
import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import crucible_trace_otel as crucible
from crucible_trace_otel.record.runs._history_rows import read_history, time_of
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from pathlib import Path

START = 1_767_225_600
"""2026-01-01T00:00:00Z, in seconds."""
NS = 1_000_000_000
SOURCE, TIMES = attr.CRUCIBLE_HISTORY_SOURCE, attr.CRUCIBLE_HISTORY_TIMES
INDEX, LOSS = attr.CRUCIBLE_TRAINING_EPOCH_INDEX, attr.CRUCIBLE_TRAINING_LOSS_VALUE
ACCURACY = f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.accuracy"


def seconds(span: Any) -> tuple[float, float]:
    """When a span started and ended, in seconds after START, to a millisecond."""
    return round((span.start_time - START * NS) / NS, 3), round((span.end_time - START * NS) / NS, 3)


def test_rows_with_times(recorded: Recording) -> None:
    rows = [
        {"epoch": epoch, "step": 3 * epoch + i, "time": START + 10 * epoch + i, "loss": 1.0 / (1 + 3 * epoch + i)}
        for epoch in range(2)
        for i in range(3)
    ]
    rows.insert(3, {"epoch": 0, "step": 2, "time": START + 5, "val_accuracy": 1})
    with crucible.reasoning_chain("why") as chain:
        pass
    done = crucible.record_history("digits", rows, hyperparameters={"lr": 0.1}, depends_on=chain)
    with crucible.deployment("d", depends_on=done):
        pass
    trees = {tree.name: tree for tree in recorded.trees(INDEX, SOURCE, TIMES, ACCURACY, attr.CRUCIBLE_RUN_STATE)}
    assert trees["training_run"] == node(
        "training_run",
        "digits",
        node(
            "epoch",
            "epoch 0",
            node("validation_run", "accuracy 1", attributes={INDEX: 0, ACCURACY: 1.0}),
            attributes={INDEX: 0},
            events=["steps_recorded"],
        ),
        node("epoch", "epoch 1", attributes={INDEX: 1}, events=["steps_recorded"]),
        attributes={SOURCE: "rows", TIMES: "recorded", attr.CRUCIBLE_RUN_STATE: "completed"},
        links=["depends_on: reasoning_chain: why"],
    )
    assert trees["deployment"].links == ["depends_on: training_run: digits"]
    assert seconds(recorded.one("training_run")) == (0, 12)
    assert [seconds(span) for span in recorded.named("epoch")] == [(0, 5), (5, 12)]
    assert seconds(recorded.one("validation_run")) == (5, 5)
    assert [(row["step"], row["time_ns"] - START * NS, row["loss"]) for row in recorded.rows()] == [
        (3 * epoch + i, (10 * epoch + i) * NS, 1.0 / (1 + 3 * epoch + i)) for epoch in range(2) for i in range(3)
    ]
    run = said(recorded.one("training_run"))
    assert run[LOSS] == pytest.approx(1 / 6)
    assert run[attr.CRUCIBLE_TRAINING_EPOCH_COUNT] == 2
    assert run[attr.CRUCIBLE_RUN_VERDICT] == "completed after 2 epochs; loss 0.1667 at step 5"
    assert attr.VCS_REF_HEAD_REVISION not in run, "the code of the import is not the code of the run"


def test_a_history_of_keras(recorded: Recording) -> None:
    columns = {"loss": [0.9, 0.5], "val_accuracy": [0.5, 0.75], "lr": [0.1]}
    crucible.record_history("k", columns)
    first, second = recorded.tree(INDEX, ACCURACY).inside
    assert [inner.attributes[ACCURACY] for epoch in (first, second) for inner in epoch.inside] == [0.5, 0.75]
    assert [{key: row.get(key) for key in ("step", "loss", "lr")} for row in recorded.rows()] == [
        {"step": 0, "loss": 0.9, "lr": 0.1},
        {"step": 1, "loss": 0.5, "lr": None},
    ]
    span = recorded.one("training_run")
    assert (said(span)[SOURCE], said(span)[TIMES]) == ("keras", "none")
    assert span.end_time - span.start_time < 1_000_000, "no time is made up"


def test_the_object_that_keras_returns(recorded: Recording) -> None:
    class History:
        history = {"loss": [0.5, 0.25]}  # noqa: RUF012 - as Keras has it
        epoch = [3, 4]  # noqa: RUF012

    crucible.record_history("k", History(), started_at=datetime.fromtimestamp(START, timezone.utc), ended_at=START + 60)  # type: ignore[arg-type]
    assert [said(span)[INDEX] for span in recorded.named("epoch")] == [3, 4]
    assert seconds(recorded.one("training_run")) == (0, 60)
    assert said(recorded.one("training_run"))[TIMES] == "none"


def test_a_log_history_of_transformers(recorded: Recording) -> None:
    log = [
        {"loss": 0.9, "grad_norm": 1.0, "learning_rate": 0.001, "epoch": 0.5, "step": 10},
        {"loss": 0.5, "grad_norm": 0.5, "learning_rate": 0.0005, "epoch": 1.0, "step": 20},
        {"eval_accuracy": 0.8, "eval_runtime": 1.25, "epoch": 1.0, "step": 20},
        {"loss": 0.25, "grad_norm": 0.5, "learning_rate": 0.0, "epoch": 2.0, "step": 40},
        {"train_runtime": 12.5, "train_loss": 0.5, "epoch": 2.0, "step": 40},
    ]
    before = json.dumps(log)
    crucible.record_history("t", log)
    assert json.dumps(log) == before, "the rows are the program's"
    assert [(said(span)[INDEX], said(span)[LOSS]) for span in recorded.named("epoch")] == [(0, 0.7), (1, 0.25)]
    assert [row["step"] for row in recorded.rows()] == [10, 20, 40]
    validation = said(recorded.one("validation_run"))
    assert (validation[ACCURACY], validation[INDEX], validation[attr.CRUCIBLE_TRAINING_STEP_INDEX]) == (0.8, 0, 20)
    run = said(recorded.one("training_run"))
    assert run[SOURCE] == "transformers"
    assert run[f"{attr.CRUCIBLE_TRAINING_METRIC_TEMPLATE}.train_runtime"] == 12.5


def test_a_csv_file(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "training.csv"
    path.write_text(
        "\ufeffepoch;wall_time;loss;val_accuracy;note\n"
        "0;2026-01-01T00:00:01Z;0.5;;first\n"
        "0;;0.25;0.75;\n"
        "1;2026-01-01T00:00:09+00:00;nan;;\n",
        encoding="utf-8",
    )
    crucible.record_history("c", path, error="out of memory")
    span = recorded.one("training_run")
    assert (said(span)[SOURCE], said(span)[TIMES]) == ("csv", "partial")
    assert (said(span)[attr.CRUCIBLE_RUN_STATE], span.status.description) == ("failed", "out of memory")
    assert [seconds(epoch) for epoch in recorded.named("epoch")] == [(1, 1), (1, 9)]
    rows = recorded.rows()
    assert [(row["step"], row["time_ns"] // NS - START, row.get("note")) for row in rows] == [
        (0, 1, "first"),
        (1, 1, None),
        (2, 9, None),
    ]


def test_a_data_frame_of_pandas(recorded: Recording, warned: list[str]) -> None:
    frame = pd.DataFrame(
        {
            "epoch": [0, 0, 1],
            "step": [0, 1, 2],
            "timestamp": pd.to_datetime([START + second for second in (0, 10, 20)], unit="s", utc=True),
            "loss": [0.9, 0.8, 0.7],
            "grad": [1.5, math.nan, 2.5],
            "val_accuracy": [math.nan, 0.5, math.nan],
            "note": ["warm", None, None],
        }
    )
    crucible.record_history("digits", frame)
    assert recorded.tree(INDEX, ACCURACY).inside == [
        node(
            "epoch",
            "epoch 0",
            node("validation_run", "accuracy 0.5", attributes={INDEX: 0, ACCURACY: 0.5}),
            attributes={INDEX: 0},
            events=["steps_recorded", "steps_recorded"],
        ),
        node("epoch", "epoch 1", attributes={INDEX: 1}, events=["steps_recorded"]),
    ]
    assert seconds(recorded.one("training_run")) == (0, 20)
    rows = [(row["step"], row["loss"], row.get("grad"), row.get("note")) for row in recorded.rows()]
    assert rows == [(0, 0.9, 1.5, "warm"), (1, 0.8, None, None), (2, 0.7, 2.5, None)]
    assert warned == []


def test_times_since_the_start(recorded: Recording) -> None:
    rows = [{"time": 1.5, "loss": 1.0}, {"time": 3, "loss": 0.5}]
    crucible.record_history("with", rows, started_at=START)
    crucible.record_history("without", rows)
    known, unknown = recorded.named("training_run")
    assert seconds(known) == (0, 3)
    assert said(known)[TIMES] == "recorded"
    assert said(unknown)[TIMES] == "none", "a number that is no date is none"
    assert [row.get("time") for row in recorded.rows()] == [None, None, 1.5, 3.0]


@pytest.mark.parametrize(
    "given",
    [
        START,
        float(START),
        START * 1_000,
        START * 1_000_000,
        START * NS,
        str(START),
        "2026-01-01T00:00:00Z",
        "2026-01-01 01:00:00+01:00",
        datetime(2026, 1, 1, tzinfo=timezone.utc),
        datetime(2026, 1, 1, 5, tzinfo=timezone(timedelta(hours=5))),
    ],
)
def test_ways_to_tell_a_time(given: Any) -> None:
    assert time_of(given) == START * NS


@pytest.mark.parametrize("given", [None, True, "", "yesterday", -1, float("nan"), float("inf"), 2**63, [], 12.5])
def test_what_is_no_time(given: Any) -> None:
    assert time_of(given) is None


def test_a_long_history_stays_under_the_limits_of_a_span(recorded: Recording) -> None:
    rows = [{"time": START + i, "loss": float(i)} for i in range(25_001)]
    crucible.record_history("long", rows)
    tree = recorded.tree()
    assert [len(span.events) for span in (tree, *tree.inside)] == [50, 50, 26]
    assert [inner.name for inner in tree.inside] == ["step_segment", "step_segment"]
    assert [seconds(span) for span in recorded.named("step_segment")] == [(10_199, 20_199), (20_199, 25_000)]
    assert [row["loss"] for row in recorded.rows()] == [float(i) for i in range(25_001)]


def test_rows_that_go_back_and_rows_that_are_odd(recorded: Recording, warned: list[str]) -> None:
    rows: list[Any] = [
        {"step": 5, "loss": 1.0, "time": START + 5},
        3,
        {"step": 2, "loss": 2.0, "time": START + 1},
        {"step": "three", "epoch": "first", "time": "noon", "loss": 3.0},
        {"step": 2**70, "loss": True},
        {1: 0.5, "time_ns": "soon"},
        {},
    ]
    crucible.record_history("odd", rows)
    span = said(recorded.one("training_run"))
    assert (span[attr.CRUCIBLE_DROPPED_COUNT], span[TIMES]) == (1, "partial")
    found = sorted((row["step"], row.get("loss"), row.get("step_")) for row in recorded.rows())
    assert [(step, loss) for step, loss, _ in found if loss] == [(2, 2.0), (5, 1.0), (6, 3.0), (7, 1.0)]
    assert {given for _, _, given in found if given} == {"three", str(2**70)}
    assert any(row.get("time") == "noon" for row in recorded.rows())
    assert any(row.get("time_ns_") == "soon" for row in recorded.rows())
    assert warned == []


@pytest.mark.parametrize("given", [3, None, "no such file.csv"])
def test_what_is_no_history_is_one_warning(recorded: Recording, warned: list[str], given: Any) -> None:
    assert crucible.record_history("h", given).event_id == ""
    assert recorded.spans == []
    assert len(warned) == 1


def test_a_history_without_a_row_is_a_run_all_the_same(recorded: Recording, warned: list[str]) -> None:
    crucible.record_history("h", b"bytes", started_at=START, ended_at=START + 9)  # type: ignore[arg-type]
    span = recorded.one("training_run")
    assert said(span)[attr.CRUCIBLE_DROPPED_COUNT] == 5
    assert seconds(span) == (0, 9)
    assert len(warned) == 1
    assert "recorded without steps. It takes rows, a data frame" in warned[0]


def test_a_history_inside_a_pipeline_keeps_its_times(recorded: Recording) -> None:
    with crucible.pipeline("import"):
        crucible.record_history("h", [{"epoch": 0, "time": START, "loss": 1.0}, {"epoch": 0, "time": START + 1}])
        with crucible.stage("after"):
            pass
    assert seconds(recorded.one("training_run")) == (0, 1)
    assert [inner.name for inner in recorded.tree().inside] == ["training_run", "stage after"]


def test_the_digits_history_read_back_from_a_store(tmp_path: Path) -> None:
    numpy = pytest.importorskip("numpy")
    images, labels = pytest.importorskip("sklearn.datasets").load_digits(return_X_y=True)
    linear = pytest.importorskip("sklearn.linear_model").SGDClassifier(loss="log_loss", random_state=0)
    rows = []
    for epoch in range(3):
        linear.partial_fit(images[:1500], labels[:1500], classes=numpy.arange(10))
        score = linear.score(images[1500:], labels[1500:])
        rows.append(
            {"epoch": epoch, "time": START + epoch, "train_accuracy": linear.score(images[:1500], labels[:1500])}
        )
        rows[-1]["val_accuracy"] = numpy.float64(score)
    with crucible.configure(journal=tmp_path, service_name="tests"):
        crucible.record_history("digits", rows, run_id="digits-1", dataset=crucible.Dataset("uci-digits", rows=1797))
    trace = crucible.open_store(tmp_path).get("digits-1")
    (run,) = [span for span in trace.spans if span.operation == "training_run"]
    assert (run.start_ns, run.end_ns) == (START * NS, (START + 2) * NS)
    accuracies = [span.attributes[ACCURACY] for span in trace.spans if span.operation == "validation_run"]
    assert accuracies == [row["val_accuracy"] for row in rows]
    assert [row["train_accuracy"] for row in crucible.step_rows(trace).rows] == [row["train_accuracy"] for row in rows]


cells = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
keys = st.sampled_from(["step", "epoch", "time", "time_ns", "loss", "val_loss", "train_runtime", "", "wall_time"])


@settings(max_examples=100, deadline=None)
@given(st.lists(st.dictionaries(keys, cells, max_size=6) | cells, max_size=8))
def test_any_rows_can_be_read(rows: list[Any]) -> None:
    history = read_history(rows, None)
    mappings = [row for row in rows if isinstance(row, dict)]
    assert history.left_out == len(rows) - len(mappings)
    summaries = [row for row in mappings if row.get("train_runtime") is not None]
    assert len(history.rows) == len(mappings) - len(summaries)
    assert all(isinstance(row.step, int) and -(2**63) <= row.step < 2**63 for row in history.rows)


class Unreadable(dict):  # type: ignore[type-arg]
    """A mapping whose methods raise."""

    def keys(self) -> Any:
        raise RuntimeError("not yours")

    def get(self, *_: object) -> Any:
        raise RuntimeError("not yours")

    __iter__ = keys


class Incomparable(int):
    """A number whose methods raise."""

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("not yours")

    __hash__ = int.__hash__


def test_a_row_that_cannot_be_read_costs_no_other(recorded: Recording, warned: list[str]) -> None:
    rows = [{"step": 1, "loss": 1.0}, Unreadable(a=1), {"step": Incomparable(2), "loss": 2.0}, {"step": 5, "loss": 3.0}]
    crucible.record_history("r", rows)
    assert [row["step"] for row in recorded.rows()] == [1, 5]
    assert said(recorded.one("training_run"))[attr.CRUCIBLE_DROPPED_COUNT] == 2
    assert not warned


@pytest.mark.parametrize("time", [10**400, "0001-01-01T00:00:00"], ids=["large", "early"])
def test_a_time_far_from_now_is_none(recorded: Recording, warned: list[str], time: object) -> None:
    crucible.record_history("r", [{"time": START, "loss": 1.0}, {"time": time, "loss": 2.0}])
    assert [row["loss"] for row in recorded.rows()] == [1.0, 2.0]
    assert not warned


def test_steps_do_not_count_beyond_64_bits(recorded: Recording) -> None:
    crucible.record_history("r", [{"step": 2**63 - 2, "loss": 1.0}, {"loss": 2.0}, {"loss": 3.0}])
    assert [row["step"] for row in recorded.rows()] == [2**63 - 2, 2**63 - 1, 2**63 - 1]
