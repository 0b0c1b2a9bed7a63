"""The command: what it writes, and how it says that something is stale."""

import subprocess
import sys
from pathlib import Path

import pytest

from semconv import generate
from semconv.python_text import Call, Name, Splat, literal
from tests.semconv.models import area, attribute, event, metric, span, write_model

ROOT = Path(generate.__file__).resolve().parent.parent

SMALL = area(
    "attributes:\n"
    + attribute("crucible.run.id")
    + attribute("crucible.label", type_="template[string]", examples="['a | b']")
    + "  - key: crucible.kind\n    type:\n      members:\n"
    + "        - {id: one, value: first, brief: The first., stability: stable}\n"
    + "    stability: development\n    brief: A kind.\n    annotations: {crucible: {enum: Kind}}\n"
    + "spans:\n"
    + span(
        "work", more="    attributes: [{ref: crucible.run.id, requirement_level: required}, {ref: crucible.label}]\n"
    )
    + "events:\n"
    + event("done", extras="signal: event, operation: [work], boundary: {span: work, at: end}")
    + event("old", more="    deprecated: {reason: renamed, renamed_to: done, note: Use `done`.}\n")
    + "metrics:\n"
    + metric("crucible.cost", more="    attributes: [{ref: crucible.run.id}]\n")
)


@pytest.fixture
def small(tmp_path):
    return ["--model", str(write_model(tmp_path, {"model/small.yaml": SMALL})), "--out", str(tmp_path / "out")]


def test_the_shipped_files_are_current():
    assert generate.main(["--check"]) == 0


def test_the_command_runs_as_a_script_from_any_folder(tmp_path):
    script = ROOT / "semconv/generate.py"
    done = subprocess.run(
        [sys.executable, script, "--check"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_writing_twice_changes_nothing_the_second_time(small, capsys):
    assert generate.main(small) == 0
    assert generate.main(small) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.endswith("10 changed.")
    assert second.endswith("0 changed.")


def test_check_writes_nothing(small, tmp_path, capsys):
    assert generate.main([*small, "--check"]) == 1
    assert not (tmp_path / "out").exists()
    assert "is stale; run `python semconv/generate.py`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["crucible_trace_otel/semconv/attributes.py", "docs/convention.md", "docs/convention/small.md"]
)
def test_check_finds_a_changed_file(small, tmp_path, capsys, name):
    generate.main(small)
    (tmp_path / "out" / name).write_text("mine")
    assert generate.main([*small, "--check"]) == 1
    assert f"{tmp_path / 'out' / name}: is stale" in capsys.readouterr().err


def test_a_page_of_a_removed_area_is_removed_and_a_page_of_somebody_elses_is_kept(small, tmp_path, capsys):
    generate.main(small)
    pages = tmp_path / "out/docs/convention"
    (pages / "gone.md").write_text((pages / "small.md").read_text())
    (pages / "mine.md").write_text("# Mine\n")
    assert generate.main([*small, "--check"]) == 1
    assert "gone.md: is no longer generated" in capsys.readouterr().err
    assert generate.main(small) == 0
    assert not (pages / "gone.md").exists()
    assert (pages / "mine.md").exists()


def test_a_refused_model_writes_nothing(small, tmp_path, capsys):
    (tmp_path / "model/small.yaml").write_text(SMALL.replace("Something.", "Something"))
    assert generate.main(small) == 1
    assert not (tmp_path / "out").exists()
    said = capsys.readouterr().err
    assert f"{(tmp_path / 'model/small.yaml').as_posix()}:7: `brief` of the attribute `crucible.run.id`" in said
    assert said.endswith("The model is refused; nothing was generated.\n")


def test_a_model_that_is_not_there_is_said(capsys):
    with pytest.raises(SystemExit) as stopped:
        generate.main(["--model", "nowhere"])
    assert stopped.value.code == 2
    assert "there is no folder nowhere" in capsys.readouterr().err


def test_the_generated_python_says_what_the_model_says(small, tmp_path):
    generate.main(small)
    folder = tmp_path / "out/crucible_trace_otel/semconv"
    read = {path.stem: path.read_text() for path in folder.glob("*.py")}
    assert all(text.startswith(generate_header()) for text in read.values())
    assert 'CRUCIBLE_RUN_ID: Final = "crucible.run.id"\n"""Something."""' in read["attributes"]
    assert 'CRUCIBLE_LABEL_TEMPLATE: Final = "crucible.label"' in read["attributes"]
    assert '    ONE: Final = "first"\n    """The first."""' in read["enums"]
    assert 'OLD: Final = "old"\n"""Something.\n\nDeprecated: Use `done`.\n"""' in read["events"]
    for name, text in read.items():
        compile(text, f"{name}.py", "exec")


def generate_header() -> str:
    return "# GENERATED from semconv/model by `python semconv/generate.py`."


def test_the_generated_python_is_laid_out_as_the_formatter_would(small, tmp_path):
    generate.main(small)
    for folder in (tmp_path / "out/crucible_trace_otel/semconv", ROOT / "crucible_trace_otel/semconv"):
        layout = ["--isolated", "--line-length", "120", "--target-version", "py310", "--no-cache"]
        command = [sys.executable, "-m", "ruff", "format", "--diff", *layout, folder]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_a_bar_in_a_text_does_not_break_a_table(small, tmp_path):
    generate.main(small)
    page = (tmp_path / "out/docs/convention/small.md").read_text()
    assert "| `crucible.label.<name>` | string |  | Something. | `a \\| b` | development |" in page


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("a", '"a"'),
        ('say "a"', "'say \"a\"'"),
        ('it\'s "a"', '"it\'s \\"a\\""'),
        ("a\\b\n", '"a\\\\b\\n"'),
        (("a",), '("a",)'),
        ((), "()"),
        ({}, "{}"),
        ({"a": None}, '{"a": None}'),
        ({Splat("_A"): None, "b": True}, '{**_A, "b": True}'),
        (Call("F", {"a": 1, "b": Name("x")}), "F(a=1, b=x)"),
    ],
)
def test_python_source_of_values(value, source):
    assert literal(value) == source


def test_what_does_not_fit_a_line_gets_a_line_an_item():
    long = "x" * 70
    assert literal((long, long)) == f'(\n    "{long}",\n    "{long}",\n)'
    assert literal(Call("F", {"a": (long, "y")}), before=60) == f'F(\n    a=("{long}", "y"),\n)'
