import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from crucible_trace_otel.cli import main
from crucible_trace_otel.journal.segment import SegmentWriter
from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import Result, RunState
from tests.store.stored import write
from tests.trace.builders import START_NS, TraceBuilder, digits, window

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _same_everywhere(monkeypatch):
    monkeypatch.delenv("CRUCIBLE_JOURNAL", raising=False)
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "80")


@pytest.fixture
def journal(tmp_path):
    return str(write(tmp_path / "journal", [digits(1), digits(2, finished=False)]))


def crucible_trace(*arguments, **more):
    return CliRunner().invoke(main, [str(argument) for argument in arguments], **more)


def program(*arguments, **environment):
    """The program as a process of its own."""
    command = [sys.executable, "-m", "crucible_trace_otel.cli", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, cwd=ROOT, env={**os.environ, **environment}, timeout=60, check=False
    )


def test_list(journal):
    listed = crucible_trace("list", "--journal", journal)
    assert (listed.exit_code, listed.stderr) == (0, "")
    assert (
        listed.stdout
        == """\
NAME    RUN    STARTED              TOOK   SPANS  STATE
digits  run-1  2026-01-01 00:00:00  9 s    16     completed
load    run-2  2026-01-01 00:00:00  8.4 s  14     unfinished
"""
    )


def test_list_as_json(journal):
    listed = crucible_trace("list", "--json", env={"CRUCIBLE_JOURNAL": journal})
    assert json.loads(listed.stdout)[0] == {
        "name": "digits",
        "run_id": "run-1",
        "trace_id": f"{1:032x}",
        "start_ns": START_NS,
        "duration_s": 9.0,
        "spans": 16,
        "state": "completed",
    }


@pytest.mark.parametrize(
    ("attributes", "status", "state"),
    [
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.SUCCESS}, "unset", "completed"),
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.ERROR}, "error", "failed"),
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.TIMEOUT}, "error", "failed"),
        ({attr.CRUCIBLE_OPERATION_RESULT: Result.CANCELLATION}, "unset", "cancelled"),
        ({attr.CRUCIBLE_RUN_STATE: RunState.INTERRUPTED}, "error", "interrupted"),
        ({}, "error", "failed"),
        ({}, "unset", "completed"),
    ],
)
def test_the_state_of_a_run(tmp_path, attributes, status, state):
    build = TraceBuilder()
    build.add(spans.TRAINING_RUN, "r", attributes=attributes, status=status)
    listed = crucible_trace("list", "--json", "--journal", write(tmp_path, [build.trace()]))
    assert json.loads(listed.stdout)[0]["state"] == state


SHOWN = """\
digits  completed
run run-1, trace 00000000000000000000000000000001, started 2026-01-01 00:00:00, took 9 s, 16 operations

{tree}
Why deployment "digits in production"
  ↳ serves model_save "digits.npz"  (through model_load "digits.npz")
    ↳ depends_on hypothesis_formed "softmax is enough"  (through training_run "digits")

Loss over 6 steps, from 2 to 0.3333
  max █▄▂▁▁▁ 2
  min █▄▂▁▁▁ 0.3333

Validation
  epoch 0: accuracy 0.5
  epoch 1: accuracy 0.6
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
            {"depth": 0, "type": "serves", "name": "model_save: digits.npz", "span_id": "000000010000000d"},
            {
                "depth": 1,
                "type": "depends_on",
                "name": "hypothesis_formed: softmax is enough",
                "span_id": "0000000100000004",
            },
        ],
        "steps": {"count": 6, "missing_windows": 0},
        "gaps": [],
    }


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


def test_steps_as_csv(journal):
    written = crucible_trace("steps", "run-1", "--journal", journal)
    assert (written.exit_code, written.stderr) == (0, "")
    assert (
        written.stdout
        == """\
step,time_ns,epoch,loss
0,1767225602698000000,0,2.0
1,1767225602699000000,0,1.0
2,1767225602700000000,0,0.6666666666666666
3,1767225604698000000,1,0.5
4,1767225604699000000,1,0.4
5,1767225604700000000,1,0.3333333333333333
"""
    )


def test_steps_as_json_lines(journal):
    written = crucible_trace("steps", "run-1", "--json", "--journal", journal)
    assert json.loads(written.stdout.partition("\n")[0]) == {
        "epoch": 0,
        "step": 0,
        "time_ns": 1767225602698000000,
        "loss": 2.0,
    }


def test_steps_of_every_kind(tmp_path):
    build = TraceBuilder()
    odd = window(0, 1, {"x": ["=1+1", 'a"b,c\nd', None], "y": [[1], True, {"a": 1}], "z": [math.nan, -1.0, math.inf]})
    gradients = window(0, 1, {"norm": [3.0]}, events.GRADIENT_COMPUTED)
    build.add(spans.TRAINING_RUN, "r", events=(odd, gradients))
    write(tmp_path, [build.trace()])
    lines = crucible_trace("steps", "--journal", tmp_path).stdout
    assert (
        lines
        == """\
step,time_ns,x,y,z
0,1767225600998000000,'=1+1,[1],nan
1,1767225600999000000,"a""b,c
d",True,-1.0
2,1767225601000000000,,"{""a"": 1}",inf
"""
    )
    assert json.loads(crucible_trace("steps", "--json", "--journal", tmp_path).stdout.splitlines()[0])["z"] == "nan"
    assert crucible_trace("steps", "--gradients", "--journal", tmp_path).stdout.splitlines() == [
        "step,time_ns,norm",
        "0,1767225601000000000,3.0",
    ]


@pytest.mark.parametrize("form", ["tree", "mermaid", "mermaid-flowchart", "json", "otlp-json"])
def test_render(journal, form):
    rendered = crucible_trace("render", "run-1", "--format", form, "--journal", journal)
    assert rendered.exit_code == 0
    if form == "otlp-json":
        assert len(json.loads(rendered.stdout)["resourceSpans"][0]["scopeSpans"][0]["spans"]) == 16
    else:
        assert rendered.stdout == render(digits(), form)


def test_render_takes_the_newest_run_and_json_for_short(journal):
    assert json.loads(crucible_trace("render", "--json", "--journal", journal).stdout)["trace_id"] == f"{2:032x}"


@pytest.mark.parametrize("command", ["show", "steps", "render"])
def test_what_is_not_found_is_exit_code_1(journal, command):
    missed = crucible_trace(command, "nobody", "--journal", journal)
    assert (missed.exit_code, missed.stdout) == (1, "")
    assert missed.stderr == f"No trace in {journal} answers to 'nobody'. There is: 'load', 'digits'.\n"


def test_nothing_recorded_yet_is_exit_code_1(tmp_path):
    (tmp_path / "x.segment").touch()
    for command in ("list", "show", "steps", "render"):
        empty = crucible_trace(command, "--journal", tmp_path)
        assert (empty.exit_code, empty.stdout, empty.stderr.count("\n")) == (1, "", 1)


def test_a_run_without_steps_is_exit_code_1(tmp_path):
    build = TraceBuilder()
    build.add(spans.REASONING_CHAIN, "why?")
    empty = crucible_trace("steps", "--journal", write(tmp_path, [build.trace()]))
    assert (empty.exit_code, empty.stdout, empty.stderr) == (1, "", "why? has no recorded steps.\n")


@pytest.mark.parametrize("command", ["list", "show", "steps", "render"])
def test_no_journal_is_exit_code_2_and_one_sentence(tmp_path, command):
    refused = crucible_trace(command, "--journal", tmp_path / "nowhere")
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr.startswith(f"No journal at {tmp_path / 'nowhere'}: ")
    assert refused.stderr.count("\n") == 1


def test_a_wrong_option_is_exit_code_2(journal):
    assert crucible_trace("render", "--format", "pdf", "--journal", journal).exit_code == 2
    assert crucible_trace("nonsense").exit_code == 2


def test_help_and_version():
    assert crucible_trace("--help").exit_code == 0
    assert crucible_trace("--version").stdout.count("\n") == 1
    for command in ("list", "show", "steps", "render"):
        assert crucible_trace(command, "--help").stdout.startswith("Usage: ")


def test_an_encoding_without_such_characters_gets_ascii(journal):
    plain = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"}
    for command in ("list", "show", "render"):
        done = program(command, "--journal", journal, **plain)
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.isascii()
    assert program("render", "run-1", "--journal", journal, **plain).stdout.decode() == render(
        digits(), "tree", ascii=True
    )


@pytest.mark.parametrize("command", ["list", "show", "steps", "render"])
def test_a_reader_that_goes_away_ends_the_program_quietly(tmp_path, command):
    build = TraceBuilder()
    run = build.add(spans.TRAINING_RUN, "long", events=(window(0, 1, {"loss": [1.0] * 20_000}),))
    for number in range(4_000):
        build.add(spans.STAGE, "x" * 80, run, name=f"stage {number}")
    traces = [build.trace(), *(digits(number) for number in range(2, 5))]
    write(tmp_path, traces)
    pipeline = f'"{sys.executable}" -m crucible_trace_otel.cli {command} --journal "{tmp_path}" | head -n 1'
    done = subprocess.run(["bash", "-c", pipeline], capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert (done.stdout.count(b"\n"), done.stderr) == (1, b"")


def test_asking_for_help_loads_neither_protobuf_nor_rich():
    modules = ", ".join(f"crucible_trace_otel.cli.{name}" for name in ("list_", "render", "show", "steps"))
    heavy = ("google.protobuf", "rich", "opentelemetry.sdk")
    code = f"import sys, {modules}; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
