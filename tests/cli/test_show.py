import json
import math
import re

import crucible_trace_otel as crucible
from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.spans import TraceLink
from tests.cli.running import crucible_trace
from tests.store.stored import write
from tests.trace.builders import TraceBuilder, digits, window

SHOWN = """\
digits  completed, 1 failed inference
run run-1, trace 00000000000000000000000000000001, started 2026-01-01 00:00:00, took 9 s, 16 operations

{tree}
Why deployment "digits in production"
  ↳ serves model_save "digits.npz"  (through model_load "digits.npz")
    ↳ depends_on hypothesis_formed "softmax is enough"  (through training_run "digits")

Loss over 6 steps, from 2 to 0.3333
  max █▄▂▁▁▁ 2
  min █▄▂▁▁▁ 0.3333

Epochs
  epoch 0  loss 0.6667  validation: accuracy 0.5  1.5 s
  epoch 1  loss 0.3333  validation: accuracy 0.6  1.5 s
"""


def test_show(journal):
    shown = crucible_trace("show", "run-1", "--journal", journal)
    assert (shown.exit_code, shown.stderr) == (0, "")
    assert shown.stdout == SHOWN.format(tree=render(digits(), "tree"))


def test_show_as_json(journal):
    shown = json.loads(crucible_trace("show", "run-1", "--json", "--journal", journal).stdout)
    assert shown["trace"] == json.loads(render(digits(), "json"))
    del shown["trace"], shown["summary"]
    assert shown == {
        "outcome": "000000010000000e",
        "why": [
            {
                "depth": 0,
                "type": "serves",
                "name": "model_save: digits.npz",
                "span_id": "000000010000000d",
                "reasoning": "",
            },
            {
                "depth": 1,
                "type": "depends_on",
                "name": "hypothesis_formed: softmax is enough",
                "span_id": "0000000100000004",
                "reasoning": "",
            },
        ],
        "rejected": [],
        "steps": {"count": 6, "missing_windows": 0},
        "plans": [],
        "training": {
            "attempts": [],
            "epochs": [
                {"span_id": "0000000100000009", "index": 0, "loss": 2 / 3, "validations": [{"accuracy": 0.5}]},
                {"span_id": "000000010000000b", "index": 1, "loss": 1 / 3, "validations": [{"accuracy": 0.6}]},
            ],
            "abnormal_steps": [],
            "checkpoints": [],
            "verdicts": [],
        },
        "gaps": [],
    }


def trained(**numbers: list[float]) -> TraceBuilder:
    build = TraceBuilder()
    given = {
        attr.CRUCIBLE_MODEL_NAME: "softmax",
        attr.CRUCIBLE_DATASET_NAME: "uci-digits",
        **{f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}.{name}": 0.25 for name in ("lr", "momentum")},
    }
    build.add(spans.TRAINING_RUN, "r", lasts=1, attributes=given, events=(window(0, 1, numbers),))
    return build


NUMBERS = """\
r  completed
trace 00000000000000000000000000000001, started 2026-01-01 00:00:00, took 1 s, 1 operation
training_run "r": model softmax, dataset uci-digits, lr 0.25, momentum 0.25

{tree}
{drawn}
"""


def test_show_draws_what_comes_nearest_to_a_loss_and_tells_the_other_numbers(tmp_path):
    build = trained(lr=[0.5, 0.25], val_loss=[4.0, 1.0], speed=[1, 3], note=["a", "b"], warm=[True, False])
    journal = write(tmp_path, [build.trace()])
    tree = render(build.trace(), "tree")
    assert crucible_trace("show", "--journal", journal).stdout == NUMBERS.format(
        tree=tree,
        drawn="""\
val_loss over 2 steps, from 4 to 1
  max █▁ 4
  min █▁ 1
         last  min   max
  lr     0.25  0.25  0.5
  speed  3     1     3""",
    )
    assert crucible_trace("show", "--metric", "speed", "--journal", journal).stdout == NUMBERS.format(
        tree=tree,
        drawn="""\
speed over 2 steps, from 1 to 3
  max ▁█ 3
  min ▁█ 1
            last  min   max
  lr        0.25  0.25  0.5
  val_loss  1     1     4""",
    )


def test_a_curve_of_one_step(tmp_path):
    journal = write(tmp_path, [trained(loss=[0.5]).trace()])
    assert "Loss over 1 step, from 0.5 to 0.5\n" in crucible_trace("show", "--journal", journal).stdout


def test_a_metric_that_is_not_there_is_exit_code_1(tmp_path):
    journal = write(tmp_path, [trained(lr=[0.5], note=["a"]).trace()])
    missed = crucible_trace("show", "--metric", "note", "--journal", journal)
    assert (missed.exit_code, missed.stdout, missed.stderr) == (1, "", "No step has a number 'note'; there are lr.\n")


def test_the_head_of_many_training_runs_stays_short(tmp_path):
    build = TraceBuilder()
    for number in range(5):
        lr = {f"{attr.CRUCIBLE_TRAINING_HYPERPARAMETER_TEMPLATE}.p{one}": one for one in range(12 + number)}
        build.add(spans.TRAINING_RUN, "r", at=number, attributes=lr)
        build.add(spans.TRAINING_RUN, "r", at=number, attributes=lr)
    head = crucible_trace("show", "--journal", write(tmp_path, [build.trace()])).stdout.partition("\n\n")[0]
    twelve = ", ".join(f"p{one} {one}" for one in range(12))
    assert head.splitlines()[2:] == [
        f'training_run "r": {twelve}',
        f'training_run "r": {twelve}, 1 more hyperparameters',
        f'training_run "r": {twelve}, 2 more hyperparameters',
        "… 2 more training runs",
    ]


def test_show_says_what_it_cannot_show(tmp_path):
    build = TraceBuilder()
    broken = window(0, 1, {"loss": [1.0]})
    run = build.add(spans.TRAINING_RUN, "r", lasts=1, events=(broken,))
    bare = {key: value for key, value in broken.attributes.items() if ".series." not in key}
    build.spans[0] = TraceBuilder().add(
        spans.TRAINING_RUN,
        "r",
        lasts=1,
        events=(window(0, 1, {"loss": [math.nan, 2.0]}), type(broken)(broken.name, 1, bare)),
    )
    for number in range(25):
        build.add(spans.VALIDATION_RUN, f"accuracy {number}", run, number / 100)
    writer = SegmentWriter(write(tmp_path, [build.trace()]))
    writer.append_span(b"", b"", b"\xff")
    writer.close()
    shown = crucible_trace("show", "--journal", tmp_path).stdout
    assert "Loss over 2 steps, from nan to 2, 1 of them not finite (!)\n  max !▁ 2\n" in shown
    assert "windows without their packed steps: 1\n" in shown
    assert "Validation\n  … 5 earlier ones\n  r: accuracy 5\n" in shown
    assert shown.endswith(f"\n1 damaged record in {tmp_path} could not be read.\n")


def test_show_tells_a_plan_beside_what_ran(tmp_path):
    def fail(context, options):
        raise ValueError("no rows")

    stages = [{"name": "load"}, {"name": "off", "enabled": False}, {"name": "check", "retries": 1}, {"name": "report"}]
    plan = {"id": "digits", "backend": {"id": "numpy"}, "pipeline": stages}
    with crucible.configure(journal=tmp_path / "j", ship="off"):
        code = {"load": lambda context, options: None, "check": fail, "report": print}
        crucible.run_plan(plan, code, errors="return")
    shown = crucible_trace("show", "--journal", tmp_path / "j").stdout
    told = re.sub(r"\d+(\.\d+)? ms", "<time>", shown[shown.index("Plan of") :])
    assert re.sub(r" +", " ", told) == (
        'Plan of experiment "digits": 1 ran, 1 skipped, 1 failed, 1 not reached\n'
        " load ran <time>\n"
        " off skipped\n"
        " check failed <time> 2 attempts ValueError: no rows\n"
        " report not reached\n"
    )
    assert 'verdict of experiment "digits": failed in check; 1 of 4 stages ran, 1 skipped, 1 not reached\n' in shown
    (told,) = json.loads(crucible_trace("show", "--json", "--journal", tmp_path / "j").stdout)["plans"]
    assert told["sha256"] == crucible.read_plan(plan).sha256
    assert [stage["state"] for stage in told["stages"]] == ["ran", "skipped", "failed", "not_reached"]


def test_what_feedback_is_about_is_named_though_it_knows_an_id_only(tmp_path):
    answered, said = TraceBuilder(1), TraceBuilder(2)
    inference = answered.add(spans.INFERENCE, "which digit?")
    link = TraceLink(inference.trace_id, inference.span_id, {attr.CRUCIBLE_LINK_TYPE: LinkType.FEEDBACK_ON})
    said.add(spans.FEEDBACK, "wrong", at=9, links=(link,))
    journal = write(tmp_path, [answered.trace(), said.trace()])
    shown = crucible_trace("show", "wrong", "--journal", journal).stdout
    assert '  ↳ feedback_on inference "which digit?" (another trace)\n' in shown
