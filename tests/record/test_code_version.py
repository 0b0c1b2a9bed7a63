"""The version of the code, from real git folders."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.processes import _code
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, said

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

REVISION, NAME, URL, CHANGED = (
    attr.VCS_REF_HEAD_REVISION,
    attr.VCS_REF_HEAD_NAME,
    attr.VCS_REPOSITORY_URL_FULL,
    attr.CRUCIBLE_CODE_CHANGED,
)


def git(folder: Path, *arguments: str) -> str:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
    who = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "commit.gpgsign=false")
    done = subprocess.run(
        ["git", *who, *arguments], cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


@pytest.fixture(autouse=True)
def _read_anew(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The repository is looked for once a process; here, once a test, from the working directory."""
    monkeypatch.delenv("CRUCIBLE_CODE_VERSION", raising=False)
    monkeypatch.delattr(sys.modules["__main__"], "__file__", raising=False)
    _code._found.cache_clear()
    yield
    _code._found.cache_clear()


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    top = tmp_path / "code"
    top.mkdir()
    git(top, "init", "--quiet", "--initial-branch=main")
    (top / "train.py").write_text("1\n")
    git(top, "add", ".")
    git(top, "commit", "--quiet", "-m", "first")
    git(top, "remote", "add", "origin", "https://user:secret@git.example/digits.git?token=secret")
    monkeypatch.chdir(top)
    return top


def version(recorded: Recording) -> dict[str, object]:
    """What a run says of its code; git answers while it goes on."""
    with crucible.training_run("r"):
        found = _code._found()
        if found is not None:
            found[1]._asking.join(10)
    attributes = said(recorded.spans[-1])
    return {key: attributes[key] for key in (REVISION, NAME, URL, CHANGED) if key in attributes}


def test_revision_branch_and_address(recorded: Recording, repository: Path) -> None:
    assert version(recorded) == {
        REVISION: git(repository, "rev-parse", "HEAD"),
        NAME: "main",
        URL: "https://git.example/digits.git",
        CHANGED: False,
    }


def test_a_changed_file_is_told_and_an_untracked_one_is_not(recorded: Recording, repository: Path) -> None:
    (repository / "notes.txt").write_text("untracked\n")
    assert version(recorded)[CHANGED] is False
    _code._found.cache_clear()
    (repository / "train.py").write_text("2\n")
    assert version(recorded)[CHANGED] is True


def test_a_packed_branch_a_detached_head_and_a_folder_below(
    recorded: Recording, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = git(repository, "rev-parse", "HEAD")
    git(repository, "pack-refs", "--all")
    below = repository / "src" / "digits"
    below.mkdir(parents=True)
    monkeypatch.chdir(below)
    assert version(recorded) == {
        REVISION: revision,
        NAME: "main",
        URL: "https://git.example/digits.git",
        CHANGED: False,
    }
    _code._found.cache_clear()
    git(repository, "checkout", "--quiet", "--detach")
    assert version(recorded) == {REVISION: revision, URL: "https://git.example/digits.git", CHANGED: False}


def test_a_worktree(recorded: Recording, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = repository.parent / "other"
    git(repository, "worktree", "add", "--quiet", "-b", "try", str(other))
    monkeypatch.chdir(other)
    found = version(recorded)
    assert (found[NAME], found[REVISION]) == ("try", git(other, "rev-parse", "HEAD"))


def test_the_folder_of_the_script_counts_before_the_working_directory(
    recorded: Recording, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(repository / "train.py"), raising=False)
    assert version(recorded)[NAME] == "main"


def test_no_commit_yet(recorded: Recording, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "--quiet", "--initial-branch=main")
    monkeypatch.chdir(tmp_path)
    assert version(recorded) == {NAME: "main", CHANGED: False}


def test_no_repository_and_switched_off(
    recorded: Recording, repository: Path, monkeypatch: pytest.MonkeyPatch, warned: list[str]
) -> None:
    monkeypatch.setenv("CRUCIBLE_CODE_VERSION", "off")
    assert version(recorded) == {}
    monkeypatch.delenv("CRUCIBLE_CODE_VERSION")
    monkeypatch.chdir(repository.parent)
    _code._found.cache_clear()
    assert version(recorded) == {}
    assert warned == []


def test_without_git_the_files_are_read_all_the_same(
    recorded: Recording, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    revision = git(repository, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", str(repository))
    assert version(recorded) == {REVISION: revision, NAME: "main", URL: "https://git.example/digits.git"}


def test_a_git_that_takes_its_time_is_not_waited_for(
    recorded: Recording, repository: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "git").write_text(f"#!/bin/sh\nwhile [ ! -e {slow}/go ]; do sleep 0.02; done\necho '# branch.oid 0'\n")
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}{os.pathsep}{os.environ['PATH']}")
    for _ in range(2):
        with crucible.training_run("r"):
            pass
    assert [CHANGED in said(span) for span in recorded.spans] == [False, False]
    (slow / "go").touch()
    assert version(recorded)[CHANGED] is False, "it is told to the runs that end after the answer"


@pytest.mark.parametrize("damage", [b"", b"\xff\xfe", b"ref: ../../etc/passwd\n", b"ref: refs/heads/gone\n"])
def test_a_damaged_folder_is_no_trouble(
    recorded: Recording, repository: Path, damage: bytes, warned: list[str]
) -> None:
    (repository / ".git" / "HEAD").write_bytes(damage)
    assert REVISION not in version(recorded)
    assert warned == []


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("https://git.example/a.git", "https://git.example/a.git"),
        ("https://user@git.example:8443/a.git", "https://git.example:8443/a.git"),
        ("https://user:pass@word@git.example/a.git", "https://git.example/a.git"),
        ("https://git.example/a.git?private_token=s#s", "https://git.example/a.git"),
        ("ssh://git@[::1]:22/a.git", "ssh://[::1]:22/a.git"),
        ("git@git.example:team/a.git", "git.example:team/a.git"),
        ("token@git.example:team/a.git", "git.example:team/a.git"),
        ("https://user:pa/ss@git.example/a.git", None),
        ("https://user:1/ss@git.example/a.git", None),
        ("https://[", None),
        ("file:///home/somebody/a.git", None),
        ("/home/somebody/a.git", None),
        ("C:\\Users\\somebody\\a.git", None),
        ("", None),
    ],
)
def test_no_credentials_stay_in_an_address(address: str, kept: str | None) -> None:
    assert _code.without_credentials(address) == kept


@pytest.mark.parametrize("name", ["config", "commondir", "packed-refs"])
def test_a_pipe_in_the_git_folder_is_not_waited_on(
    repository: Path, recorded: Recording, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    revision = git(repository, "rev-parse", "HEAD")
    place = repository / ".git" / name
    place.unlink(missing_ok=True)
    os.mkfifo(place)
    monkeypatch.setattr(_code, "_GIT_STATUS", ("git", "--version"))  # git itself waits
    assert version(recorded)[REVISION] == revision


@pytest.mark.parametrize("name", ["config", "commondir"])
def test_what_cannot_be_read_of_the_git_folder_leaves_the_rest(
    repository: Path, recorded: Recording, warned: list[str], name: str
) -> None:
    revision = git(repository, "rev-parse", "HEAD")
    place = repository / ".git" / name
    place.unlink(missing_ok=True)
    place.mkdir()
    found = version(recorded)
    assert (found[REVISION], found[NAME], warned) == (revision, "main", [])


def test_of_packed_refs_without_an_end_the_beginning_is_read(
    repository: Path, recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "pack-refs", "--all")
    revision = git(repository, "rev-parse", "HEAD")
    assert version(recorded)[REVISION] == revision
    os.truncate(repository / ".git" / "packed-refs", 1 << 33)  # one line of zeros after it
    _code._found.cache_clear()
    monkeypatch.setattr(_code, "_GIT_STATUS", ("git", "--version"))  # git itself reads all of it
    recorded.exporter.clear()
    assert version(recorded)[REVISION] == revision
