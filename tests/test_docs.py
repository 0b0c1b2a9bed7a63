"""Every snippet of README and docs is run: the Python and shell blocks of a page in order, in an empty folder."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest
import yaml

from crucible_trace_otel.cli import main

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "semconv" / "README.md"]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
VARYING = [
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b\d+(\.\d+)? ?(µs|us|ms|s|min|h)\b"), "<time>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d[ T]\d\d:\d\d(:\d\d)?"), "<date>"),
    (re.compile(r"\b(?=[0-9a-f]*\d)[0-9a-f]{8,32}\b"), "<id>"),
    (re.compile(r"[ \t]+"), " "),
    (re.compile(r'(validation_run "[^"]*") <time>'), r"\1"),  # told where it took over a millisecond, on a busy machine
]


def blocks(page: Path) -> list[tuple[str, str]]:
    return BLOCK.findall(page.read_text())


def same_but_for_times(text: str) -> str:
    for pattern, replacement in VARYING:
        text = pattern.sub(replacement, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def run_python(code: str, folder: Path, environment: dict[str, str]) -> None:
    code = f"import gc\ngc.disable()\n{code}"  # a collection would give a moment a length, which pages do not show
    finished = subprocess.run(
        [sys.executable, "-"], input=code, text=True, cwd=folder, env=environment, capture_output=True, check=False
    )
    assert finished.returncode == 0, finished.stderr


def run_command(command: str, folder: Path, environment: dict[str, str]) -> str:
    """Run what a reader can run anywhere; check the rest against the files it names."""
    words = shlex.split(command)
    match words:
        case ["make", target, *_]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE), command
        case ["docker", "compose", *arguments]:
            services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
            profiles = {profile for service in services.values() for profile in service.get("profiles", [])}
            named = [arguments[at + 1] for at, word in enumerate(arguments) if word == "--profile"]
            assert set(named) <= {*profiles, "*"}, command
        case ["pip", "install", *packages]:
            assert all(package.partition("[")[0] in ("crucible_trace_otel", ".") for package in packages), command
        case ["python", script, *_]:
            assert (ROOT / script).is_file(), command
        case [first, *_] if first in ("chmod", "export", "head", "mkdir") or "=" in first:
            pass  # what the reader types around our commands
        case _:
            assert words[0] == "crucible-trace", f"nothing runs `{command}`: teach this test to"
            finished = subprocess.run(words, text=True, cwd=folder, env=environment, capture_output=True, check=False)
            assert finished.returncode == 0, finished.stderr
            return finished.stdout
    return ""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_snippet_of_a_page_runs(page, tmp_path):
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "COLUMNS": "120", "PYTHONWARNINGS": "error"}
    environment.pop("OTEL_EXPORTER_OTLP_ENDPOINT", None)
    so_far: list[str] = []
    printed = ""
    for language, text in blocks(page):
        if language == "python":
            so_far.append(text)
        elif language == "sh":
            if so_far:
                run_python("\n".join(so_far), tmp_path, environment)
                so_far.clear()
            lines = text.replace("\\\n", " ").splitlines()
            commands = [line.partition(" #")[0].strip() for line in lines if line.strip() and not line.startswith("#")]
            printed = "".join(run_command(command, tmp_path, environment) for command in commands)
        elif language == "text" and printed:
            assert same_but_for_times(printed) == same_but_for_times(text)
            printed = ""
    if so_far:
        run_python("\n".join(so_far), tmp_path, environment)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_of_a_page_leads_somewhere(page):
    for target, _ in LINK.findall(page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_command_is_documented():
    context = click.Context(main)
    documented = "\n".join(page.read_text() for page in PAGES)
    names = main.list_commands(context)
    assert names
    for name in names:
        assert main.get_command(context, name).help, name
        assert f"crucible-trace {name}" in documented, name
