"""The file beside a checkpoint: what is written is read again, and what anybody else wrote does no harm."""

from __future__ import annotations

import json
import math
import os
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.record.files import _sidecar_files
from crucible_trace_otel.record.files._digests import FileDigest
from crucible_trace_otel.record.files._sidecar import Sidecar, decode, encode
from crucible_trace_otel.record.files._sidecar_files import (
    complete_sidecar,
    read_sidecar,
    remove_sidecar,
    sidecar_path,
    write_sidecar,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40)
counts = st.integers(0, 2**62 - 1)


def hexes(digits: int) -> st.SearchStrategy[str]:
    return st.integers(1, 16**digits - 1).map(lambda number: f"{number:0{digits}x}")


sidecars = st.builds(
    Sidecar,
    run_id=texts,
    attempt=counts,
    attempts=counts,
    run_trace_id=hexes(32),
    run_span_id=hexes(16),
    run_event_id=hexes(32),
    trace_id=hexes(32),
    span_id=hexes(16),
    event_id=hexes(32),
    saved_at=texts,
    run_name=texts | st.just(""),
    step=st.none() | counts,
    epoch=st.none() | counts,
    best=st.none() | st.booleans(),
    size=st.none() | counts,
    sha256=st.none() | hexes(64),
    metrics=st.dictionaries(texts, st.floats(), max_size=4),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
EXAMPLE = Sidecar(
    run_id="job-17",
    attempt=1,
    attempts=2,
    run_trace_id="1" * 32,
    run_span_id="2" * 16,
    run_event_id="3" * 32,
    trace_id="1" * 32,
    span_id="4" * 16,
    event_id="5" * 32,
    saved_at="2026-11-24T01:51:07.120Z",
    run_name="digits",
    step=41,
    epoch=2,
)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    path = tmp_path / "a.npz"
    path.write_bytes(b"weights")
    return path


@given(sidecars)
def test_what_is_written_is_what_is_read(sidecar: Sidecar) -> None:
    found = decode(encode(sidecar))
    assert replace(found, metrics={}) == replace(sidecar, metrics={})
    assert list(found.metrics) == list(sidecar.metrics)
    for name, value in sidecar.metrics.items():
        assert found.metrics[name] == value or (math.isnan(value) and math.isnan(found.metrics[name]))


@given(st.binary(max_size=200) | anything.map(lambda value: json.dumps(value).encode()))
def test_bytes_that_are_no_sidecar(text: bytes) -> None:
    with pytest.raises(FormatError):
        decode(text)


@given(st.sampled_from(sorted(Sidecar.__dataclass_fields__)), anything)
def test_a_value_is_what_it_should_be_or_the_sidecar_is_none(name: str, value: Any) -> None:
    said = json.dumps({**json.loads(encode(EXAMPLE)), name: value})
    try:
        found = decode(said.encode())
    except FormatError:
        return
    assert decode(encode(found)) == found
    assert found.saving("a").span_context.is_valid
    assert found.run().span_context.is_valid


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("run_id", ""),
        ("run_id", "\ud800"),
        ("run_id", "x" * 2_000),
        ("trace_id", "0" * 32),
        ("span_id", "G" * 16),
        ("event_id", None),
        ("step", -1),
        ("step", 2**62),
        ("step", True),
        ("epoch", 1.0),
        ("best", 1),
        ("sha256", "A" * 64),
        ("metrics", ["loss"]),
        ("metrics", {"loss": "0.5"}),
        ("metrics", {"loss": 10**400}),
        ("metrics", {"\ud800": 1}),
        ("version", None),
        ("version", "1"),
        ("version", 0),
        ("version", True),
    ],
)
def test_a_value_that_cannot_be(name: str, value: Any) -> None:
    with pytest.raises(FormatError):
        decode(json.dumps({**json.loads(encode(EXAMPLE)), name: value}).encode())


def test_a_later_version_is_not_guessed_at() -> None:
    said = {**json.loads(encode(EXAMPLE)), "version": 2}
    with pytest.raises(FormatError, match="newer"):
        decode(json.dumps(said).encode())


def test_names_that_are_not_known_are_left_aside() -> None:
    said = {**json.loads(encode(EXAMPLE)), "host": "node-7", "nested": {"a": [1]}}
    assert decode(json.dumps(said).encode()) == EXAMPLE


@pytest.mark.parametrize(
    "metrics", [{"loss": "low"}, {"x" * 70_000: 1.0}, {3: object()}], ids=["text", "long", "object"]
)
def test_what_could_not_be_read_is_not_written(metrics: Any) -> None:
    with pytest.raises(FormatError):
        encode(replace(EXAMPLE, metrics=metrics))


def test_it_lies_beside_the_checkpoint_and_replaces_an_older_one(checkpoint: Path) -> None:
    assert write_sidecar(str(checkpoint), EXAMPLE, "-")
    assert write_sidecar(str(checkpoint), replace(EXAMPLE, step=42), "-", is_durable=True)
    assert read_sidecar(str(checkpoint)) == replace(EXAMPLE, step=42)
    assert sorted(each.name for each in checkpoint.parent.iterdir()) == ["a.npz", "a.npz.crucible.json"]
    remove_sidecar(str(checkpoint))
    remove_sidecar(str(checkpoint))
    assert read_sidecar(str(checkpoint)) is None


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o755])
def test_who_may_read_the_checkpoint_may_read_it(checkpoint: Path, mode: int) -> None:
    before = os.umask(0o022)
    try:
        checkpoint.chmod(mode)
        assert write_sidecar(str(checkpoint), EXAMPLE, "-")
    finally:
        os.umask(before)
    assert (checkpoint.parent / "a.npz.crucible.json").stat().st_mode & 0o777 == mode & 0o666


def test_a_checkpoint_that_is_a_link_has_it_beside_the_file(checkpoint: Path) -> None:
    link = checkpoint.parent / "last.npz"
    link.symlink_to(checkpoint)
    assert write_sidecar(str(link), EXAMPLE, "-")
    assert sidecar_path(str(link)) == f"{checkpoint.resolve()}.crucible.json"
    assert read_sidecar(str(checkpoint)) == read_sidecar(str(link)) == EXAMPLE


@pytest.mark.parametrize("path", ["missing", "missing/deeper", "nul\0byte", "/dev/null"])
def test_where_there_is_no_checkpoint_there_is_no_sidecar(tmp_path: Path, path: str) -> None:
    assert not write_sidecar(str(tmp_path / path), EXAMPLE, "-")
    assert read_sidecar(str(tmp_path / path)) is None
    assert list(tmp_path.iterdir()) == []


def test_it_gets_its_digest_while_it_is_still_the_one(checkpoint: Path) -> None:
    path, digest = str(checkpoint), FileDigest(7, "a" * 64)
    write_sidecar(path, EXAMPLE, "-")
    write_sidecar(path, replace(EXAMPLE, attempts=5), "-")  # another attempt has taken its number
    complete_sidecar(path, EXAMPLE, digest)
    assert read_sidecar(path) == replace(EXAMPLE, attempts=5, size=7, sha256="a" * 64)
    later = replace(EXAMPLE, event_id="9" * 32)
    write_sidecar(path, later, "-")
    complete_sidecar(path, EXAMPLE, digest)
    assert read_sidecar(path) == later


def test_what_a_killed_process_left_is_removed_with_it(checkpoint: Path) -> None:
    write_sidecar(str(checkpoint), EXAMPLE, "-")
    (checkpoint.parent / "a.npz.crucible.json.0123456789ab.tmp").write_text("{")
    (checkpoint.parent / "b.npz.crucible.json.0123456789ab.tmp").write_text("{")
    remove_sidecar(str(checkpoint))
    left = sorted(each.name for each in checkpoint.parent.iterdir())
    assert left == ["a.npz", "b.npz.crucible.json.0123456789ab.tmp"]


HOSTILE: dict[str, Callable[[Path], object]] = {
    "a link": lambda place: place.symlink_to(place.parent / "elsewhere"),
    "a directory": lambda place: place.mkdir(),
    "a pipe that nobody writes to": os.mkfifo,
    "too large": lambda place: place.write_bytes(encode(EXAMPLE) + b" " * 70_000),
    "too deep": lambda place: place.write_bytes(b"[" * 60_000),
    "empty": lambda place: place.write_bytes(b""),
    "of another tool": lambda place: place.write_text('{"epoch": 3}'),
    "of a later version": lambda place: place.write_text('{"version": 99}'),
    "no UTF-8": lambda place: place.write_bytes(b"\xff\xfe"),
    "with a number of many digits": lambda place: place.write_text('{"version": ' + "9" * 60_000 + "}"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_one_that_cannot_be_used_is_left_aside_with_one_warning(checkpoint: Path, warned: list[str], kind: str) -> None:
    (checkpoint.parent / "elsewhere").write_bytes(encode(EXAMPLE))
    HOSTILE[kind](checkpoint.parent / "a.npz.crucible.json")
    assert read_sidecar(str(checkpoint)) is None
    assert read_sidecar(str(checkpoint)) is None
    assert len(warned) == 1
    assert "a.npz.crucible.json is left aside" in warned[0]


def test_a_forked_child_does_not_wait_for_who_writes_in_the_parent(checkpoint: Path) -> None:
    with _sidecar_files._writing:
        child = os.fork()
        if child == 0:
            os._exit(0 if write_sidecar(str(checkpoint), EXAMPLE, "-") else 1)
        assert os.waitpid(child, 0)[1] == 0
