"""build-collector.sh where there is nothing to build with, and where there is nothing to do."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.backends.collector import MISSING, collector_binary

SCRIPT = Path(__file__).with_name("build-collector.sh")


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A PATH with what the script needs to look around, and no Go."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("sh", "dirname", "cksum", "cut"):
        (folder / name).symlink_to(str(shutil.which(name)))
    return folder


def run(cache: Path, path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [str(SCRIPT), str(cache), *arguments]
    return subprocess.run(command, env={"PATH": str(path)}, capture_output=True, text=True, check=True)


def test_without_go_it_says_the_sentence_the_skipped_tests_say(tmp_path: Path, tools: Path) -> None:
    assert run(tmp_path / "cache", tools).stdout == f"== {MISSING}\n"
    assert not (tmp_path / "cache").exists()


def test_what_is_built_already_is_not_built_again(tmp_path: Path, tools: Path) -> None:
    built = Path(run(tmp_path, tools, "where").stdout.strip())
    built.write_text("", encoding="utf-8")
    built.chmod(0o755)
    assert run(tmp_path, tools).stdout == ""


@pytest.mark.parametrize(("ci", "go"), [("", False), ("true", False), ("", True), ("true", True)])
def test_ci_must_not_skip(monkeypatch: pytest.MonkeyPatch, tools: Path, ci: str, go: bool) -> None:
    if go:
        (tools / "go").symlink_to(str(shutil.which("true")))
    for name, value in {"CI": ci, "PATH": str(tools), "XDG_CACHE_HOME": str(tools.parent)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("CRUCIBLE_TEST_COLLECTOR", raising=False)
    outcome = pytest.fail.Exception if ci else pytest.skip.Exception
    with pytest.raises(outcome):
        collector_binary()


def test_a_collector_named_by_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CRUCIBLE_TEST_COLLECTOR", "/opt/otelcol")
    assert collector_binary() == Path("/opt/otelcol")
