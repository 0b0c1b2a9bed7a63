import json
import math
import subprocess
import sys

import numpy as np
import pytest

from crucible_trace_otel.cli import main
from crucible_trace_otel.renderers import render
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from tests.cli.running import ROOT, crucible_trace, program
from tests.store.stored import write
from tests.trace.builders import TraceBuilder, digits, window


def test_the_help_says_in_one_whole_sentence_what_each_command_does():
    told = crucible_trace("--help", terminal_width=80).stdout.partition("Commands:\n")[2].splitlines()
    assert len(told) == len(main.list_commands(None))
    assert all(line.endswith(".") and not line.endswith("...") for line in told)


def test_a_folder_with_a_journal_in_it_names_that(tmp_path):
    write(tmp_path / ".crucible", [digits()])
    refused = crucible_trace("list", "--journal", tmp_path)
    assert refused.exit_code == 2
    assert refused.stderr.endswith(f" Did you mean {tmp_path / '.crucible'}?\n")


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


def test_steps_for_numpy(journal, tmp_path):
    file = tmp_path / "steps.npz"
    written = crucible_trace("steps", "run-1", "--npz", file, "--journal", journal)
    assert (written.exit_code, written.stdout, written.stderr) == (0, "", "")
    with np.load(file) as arrays:
        assert arrays.files == ["step", "time_ns", "epoch", "loss"]
        assert arrays["loss"].tolist() == [2.0, 1.0, 2 / 3, 0.5, 0.4, 1 / 3]


def test_a_file_that_cannot_be_written_is_an_error(journal, tmp_path):
    refused = crucible_trace("steps", "run-1", "--npz", tmp_path / "no" / "steps.npz", "--journal", journal)
    assert (refused.exit_code, refused.stdout) == (2, "")
    assert refused.stderr == f"{tmp_path / 'no' / 'steps.npz'} cannot be written: No such file or directory.\n"


def test_without_numpy_a_file_for_it_is_an_error_and_no_file(journal, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)
    refused = crucible_trace("steps", "run-1", "--npz", tmp_path / "steps.npz", "--journal", journal)
    assert refused.exit_code == 2
    assert "pip install 'crucible_trace_otel[numpy]'" in refused.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["journal"]


def test_steps_are_written_in_one_form_at_a_time(journal):
    refused = crucible_trace("steps", "--json", "--csv", "--journal", journal)
    assert refused.exit_code == 2
    assert "Take one of --csv, --json and --npz." in refused.stderr
    in_csv = crucible_trace("steps", "run-1", "--csv", "--journal", journal).stdout
    assert in_csv == crucible_trace("steps", "run-1", "--journal", journal).stdout


def test_the_latest_steps(tmp_path):
    build = TraceBuilder()
    for attempt, losses in enumerate(([3.0, 2.0, 1.0], [0.5])):
        run = {attr.CRUCIBLE_RUN_ID: "r", attr.CRUCIBLE_RUN_ATTEMPT: attempt}
        steps = window(2 * attempt, attempt, {"loss": losses})
        build.add(spans.TRAINING_RUN, "r", at=attempt, attributes=run, events=(steps,))
    journal = write(tmp_path, [build.trace()])
    written = crucible_trace("steps", "--latest", "--journal", journal).stdout
    assert [line.rpartition(",")[2] for line in written.splitlines()] == ["loss", "3.0", "2.0", "0.5"]


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
    assert json.loads(crucible_trace("steps", "--json", "--journal", tmp_path).stdout.splitlines()[0])["z"] == "NaN"
    assert crucible_trace("steps", "--gradients", "--journal", tmp_path).stdout.splitlines() == [
        "step,time_ns,norm",
        "0,1767225601000000000,3.0",
    ]
    assert crucible_trace("steps", "--rewards", "--journal", tmp_path).exit_code == 1
    assert crucible_trace("steps", "--rewards", "--gradients", "--journal", tmp_path).exit_code == 2


def test_rewards_of_episodes(tmp_path):
    build = TraceBuilder()
    for index in (0, 1):
        rewards = window(0, index, {"reward": [0.5, float(index)]}, events.REWARD_RECEIVED)
        build.add(spans.EPISODE, "e", at=index, attributes={attr.CRUCIBLE_EPISODE_INDEX: index}, events=(rewards,))
    lines = crucible_trace("steps", "--rewards", "--journal", write(tmp_path, [build.trace()])).stdout.splitlines()
    cells = [line.split(",") for line in lines]
    assert [[*row[:1], *row[2:]] for row in cells] == [
        ["step", "episode", "reward"],
        *(["0", "0", "0.5"], ["1", "0", "0.0"], ["0", "1", "0.5"], ["1", "1", "1.0"]),
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
    assert missed.stderr == f"No trace in {journal} answers to 'nobody'. There is: 'run run-2', 'digits'.\n"


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


@pytest.mark.parametrize("command", ["list", "show", "steps", "render", "status", "ship", "recover"])
@pytest.mark.parametrize(("name", "reason"), [("nowhere", "nothing is there"), ("file", "it is no directory")])
def test_no_journal_is_exit_code_2_and_one_sentence(tmp_path, command, name, reason):
    (tmp_path / "file").touch()
    refused = crucible_trace(command, "--journal", tmp_path / name)
    assert (refused.exit_code, refused.stdout) == (2, "")
    way_out = "Record something first, or name another place."
    assert refused.stderr == f"No journal at {tmp_path / name}: {reason}. {way_out}\n"


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
