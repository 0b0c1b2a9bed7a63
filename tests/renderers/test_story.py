import json

import pytest

from crucible_trace_otel.renderers.story import document, lines
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.trace.lineage import lineage
from tests.trace.builders import TraceBuilder
from tests.trace.lives import A, B, life, served, trained

TOLD = f"""\
deployment "digits-api"

Data sets
  uci-digits  of training_run "digits"

Decisions
  hypothesis_formed "softmax is enough"
    because ten classes
    ↳ in reasoning_chain "which model?"  (enclosed)
  rejected "a network": too slow

Runs
  training_run "digits"  2 s  run r-1, attempt 0, interrupted  2026-01-01 00:00:01  ✗ interrupted
    ↳ depends_on hypothesis_formed "softmax is enough"  (link)
    ↳ in pipeline nightly  (enclosed)
  training_run "digits"  3 s  run r-1, attempt 1, completed  2026-01-01 00:00:10
    ↳ consumes checkpoint_save "0.npz"  (digest through checkpoint_load)
    ↳ resumed_from training_run "digits"  (name only)

Checkpoints
  checkpoint_save "0.npz"  sha256 {A}
    ↳ in training_run "digits"  (enclosed)

Evaluations
  validation_run "accuracy 0.8"
    ↳ in training_run "digits"  (enclosed)

Models
  model_save "digits.npz"  10 ms  version 1  sha256 {B}  2026-01-01 00:00:12
    ↳ in training_run "digits"  (enclosed)

Deployments
  deployment "digits-api"  9 s  in production  2026-01-01 00:00:20
    ↳ serves model_save "digits.npz"  (digest through model_load)

What became of the deployments
  canary_promoted "all traffic"  of deployment "digits-api"  100 % of the traffic  2026-01-01 00:00:22
  deployment_rollback "back to 0"  of deployment "digits-api"  because an answer failed  2026-01-01 00:00:28
    ↳ caused_by inference "read"  (link)

Inferences
  4 of deployment "digits-api", 1 failed, from 2026-01-01 00:00:23 to 2026-01-01 00:00:26

Feedback
  2 on deployment "digits-api", mean score 0.75 of 2, 2 right
    score 1, right  on inference "read" of 2026-01-01 00:00:23
    score 0.5, right  on inference "read" of 2026-01-01 00:00:24

Around it
  pipeline nightly  5 s"""


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")


def section(told, title):
    return "\n".join(told).partition(f"\n{title}\n")[2].partition("\n\n")[0].splitlines()


def test_a_life_over_four_processes_is_told_from_the_data_set_to_the_feedback():
    assert "\n".join(lines(lineage(life(), "digits-api"))) == TOLD


def test_another_file_at_the_path_of_the_saved_one_is_said_and_not_joined():
    other = served(sha256="c" * 64, path="digits.npz")
    told = lines(lineage((*trained(), other), "digits-api"))
    assert section(told, "Deployments") == [
        '  deployment "digits-api"  9 s  in production  2026-01-01 00:00:20',
        (
            '    ↳ serves model_save "digits.npz"  (name only through model_load)'
            "  ✗ not the same bytes: sha256 bbbbbbbb was saved, cccccccc was read"
        ),
    ]
    assert section(told, "Models") == section(told, "Runs") == section(told, "Decisions") == []


def test_of_many_checkpoints_those_in_the_middle_are_counted():
    build = TraceBuilder()
    run = build.add(spans.TRAINING_RUN, "long", lasts=99)
    for index in range(20):
        build.add(spans.CHECKPOINT_SAVE, f"{index}.npz", run, index)
    told = section(lines(lineage(build.trace(), "long")), "Checkpoints")
    assert [line.strip() for line in told if "↳" not in line] == [
        *(f'checkpoint_save "{index}.npz"' for index in range(5)),
        "… 10 more checkpoint_saves",
        *(f'checkpoint_save "{index}.npz"' for index in range(15, 20)),
    ]


def test_text_of_a_recording_stays_on_its_line():
    build = TraceBuilder()
    named = {attr.CRUCIBLE_RUN_NAME: "x", attr.CRUCIBLE_DATASET_NAME: "a\nb\x1b[31m", attr.CRUCIBLE_RUN_ID: "\u202ey"}
    build.add(spans.TRAINING_RUN, "x\ny", attributes=named)
    assert all(line.isprintable() for line in lines(lineage(build.trace(), "x")))


def test_the_document_has_every_operation_edge_and_count():
    told = document(lineage(life(), "digits-api"))
    assert json.loads(json.dumps(told, allow_nan=False)) == told
    by_id = {one["span_id"]: one for one in told["operations"]}
    assert [(one["place"], one["operation"], one["sha256"]) for one in told["operations"]] == [
        ("subject", "deployment", []),
        ("behind", "pipeline", []),
        ("behind", "reasoning_chain", []),
        ("behind", "hypothesis_formed", []),
        ("behind", "training_run", []),
        ("behind", "checkpoint_save", [A]),
        ("behind", "training_run", []),
        ("behind", "model_save", [B]),
        ("ahead", "deployment_rollback", []),
        ("beside", "validation_run", []),
    ]
    known = {(by_id[edge["effect"]["span_id"]]["operation"], edge["type"]): edge["known"] for edge in told["edges"]}
    assert known["deployment", "serves"] == "digest"
    assert known["training_run", "depends_on"] == "link"
    assert known["model_save", "in"] == "enclosed"
    assert known["training_run", "resumed_from"] == "name only"
    assert [(one["count"], one["failed"], one["sampled"]) for one in told["inferences"]] == [(4, 1, None)]
    assert [(one["count"], one["mean_score"], one["labels"]) for one in told["feedback"]] == [(2, 0.75, {"right": 2})]
    assert [one["name"] for one in told["changes"]] == ["canary_promoted", "deployment_rollback"]
    assert [one["name"] for one in told["rejected"]] == ["a network"]


def test_of_a_stage_what_went_in_and_what_came_out_are_told_apart():
    build = TraceBuilder()
    pipeline = build.add(spans.PIPELINE, "nightly", lasts=2)
    said = {attr.CRUCIBLE_STAGE_INPUT_SHA256: A, attr.CRUCIBLE_STAGE_OUTPUT_SHA256: B}
    build.add(spans.STAGE, "clean", pipeline, lasts=1, attributes=said)
    told = section(lines(lineage(build.trace(), "nightly")), "Around it")
    assert f'  stage "clean"  1 s  in sha256 {A}  out sha256 {B}' in told
