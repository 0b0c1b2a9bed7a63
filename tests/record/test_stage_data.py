"""What goes into stages and comes out of them: digests, sizes, schemas, and links to who made it."""

from __future__ import annotations

import asyncio
import json
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record.files._digests import drain
from crucible_trace_otel.record.stages import _data
from crucible_trace_otel.record.stages._stage_data import combined
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

INPUT, OUTPUT = attr.CRUCIBLE_STAGE_INPUT_SHA256, attr.CRUCIBLE_STAGE_OUTPUT_SHA256
SIZE = attr.CRUCIBLE_STAGE_INPUT_SIZE
SCHEMA = attr.CRUCIBLE_STAGE_INPUT_SCHEMA
UNDIGESTED = attr.CRUCIBLE_STAGE_UNDIGESTED
LARGE = b"a line of a large file\n" * 10_000


def digest(content: bytes) -> str:
    return sha256(content).hexdigest()


def test_one_input_and_one_output(recorded: Recording) -> None:
    with crucible.stage("clean") as stage:
        stage.record_input(b"raw rows")
        stage.record_output("clean rows", "rows")
    shown = said(recorded.one("stage clean"))
    assert (shown[INPUT], shown[SIZE]) == (digest(b"raw rows"), 8)
    assert (shown[OUTPUT], shown[attr.CRUCIBLE_STAGE_OUTPUT_SIZE]) == (digest(b"clean rows"), 10)
    assert json.loads(shown[SCHEMA]) == {"input": {"type": "bytes"}}
    assert json.loads(shown[attr.CRUCIBLE_STAGE_OUTPUT_SCHEMA]) == {"rows": {"type": "str"}}
    assert UNDIGESTED not in shown


def test_several_inputs_are_combined_in_order_of_their_names(recorded: Recording) -> None:
    for names in ("ab", "ba"):
        with crucible.stage("join") as stage:
            for name in names:
                stage.record_input(f"table {name}", name)
    both = [said(span)[INPUT] for span in recorded.spans]
    lines = f"{digest(b'table a')} a\n{digest(b'table b')} b\n"
    assert both == [digest(lines.encode())] * 2
    assert [said(span)[SIZE] for span in recorded.spans] == [14, 14]


@pytest.mark.parametrize("content", [b"small", LARGE])
def test_files_are_read_by_path_and_by_the_text_of_it(recorded: Recording, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(content)
    for given in (path, str(path)):
        with crucible.stage("load") as stage:
            stage.record_input(given)
    for span in recorded.spans:
        assert (said(span)[INPUT], said(span)[SIZE]) == (digest(content), len(content))
        assert json.loads(said(span)[SCHEMA]) == {"rows.csv": {"type": "file"}}


def test_a_directory_has_the_digest_of_its_manifest(recorded: Recording, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a")
    with crucible.stage("load") as stage:
        stage.record_input(tmp_path, "data")
    shown = said(recorded.one("stage load"))
    assert len(shown[INPUT]) == 64
    assert json.loads(shown[SCHEMA]) == {"data": {"type": "directory"}}


def test_an_input_that_cannot_be_digested_is_said(recorded: Recording, tmp_path: Path) -> None:
    with crucible.stage("load") as stage:
        stage.record_input(b"x", "known")
        stage.record_input(object(), "thing")
        stage.record_input(tmp_path / "nothing there", "file")
        stage.record_input(iter([1]))
    shown = said(recorded.one("stage load"))
    assert INPUT not in shown
    assert SIZE not in shown
    reasons = dict(line.split(": ", 1) for line in shown[UNDIGESTED])
    assert reasons["thing"] == "nothing is known of what a object holds"
    assert set(reasons) == {"thing", "file", "input"}
    assert json.loads(shown[SCHEMA])["thing"] == {"type": "object"}


def test_what_takes_too_long_has_no_digest(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(_data, "digest_later", lambda *_, **__: None)  # a disk that never answers
    (tmp_path / "large").write_bytes(b"x")
    with crucible.stage("load") as stage:
        stage.record_input(list(range(1000)), within=0)
        stage.record_input(tmp_path / "large", within=0)
    assert said(recorded.one("stage load"))[UNDIGESTED] == (
        "input: to digest it takes longer than 0 s",
        "large: to digest it takes longer than 0 s",
    )


def test_digesting_is_no_part_of_how_long_a_stage_took(recorded: Recording, tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(LARGE)
    with crucible.stage("load") as stage:
        stage.record_input(tmp_path / "large", within=30)
    span = recorded.one("stage load")
    assert said(span)[INPUT] == digest(LARGE)
    assert span.end_time is not None
    assert span.start_time is not None
    assert span.end_time >= span.start_time


@pytest.mark.parametrize("given", ["ab", "g" * 64, "", 7, b"a" * 64])
def test_a_digest_by_hand_that_is_none_is_left_out_and_marked(
    recorded: Recording, warned: list[str], given: Any
) -> None:
    with crucible.stage("load") as stage:
        stage.record_input(sha256=given, size=3)
        stage.produce_artifact("model", sha256=given)
    shown = said(recorded.one("stage load"))
    assert INPUT not in shown
    assert shown[attr.CRUCIBLE_REPAIRED_KEYS] == (INPUT,)
    assert shown[attr.CRUCIBLE_REPAIRED_REASONS] == ("digest",)
    (event,) = recorded.one("stage load").events
    assert event.attributes is not None
    assert event.attributes[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_ARTIFACT_SHA256,)
    assert len(warned) == 1


def test_a_digest_by_hand_is_taken_without_reading(recorded: Recording, tmp_path: Path) -> None:
    with crucible.stage("load") as stage:
        stage.record_input(tmp_path / "nothing there", sha256=f"sha256:{digest(b'x').upper()}", size=1)
    shown = said(recorded.one("stage load"))
    assert (shown[INPUT], shown[SIZE]) == (digest(b"x"), 1)


def test_so_many_inputs_that_they_are_counted_no_more(recorded: Recording) -> None:
    with crucible.stage("load") as stage:
        for number in range(1_010):
            stage.record_input(number, str(number))
    shown = said(recorded.one("stage load"))
    assert INPUT not in shown
    assert shown[UNDIGESTED] == ("…: there are more than 1000",)


def test_an_input_after_the_end_is_kept_as_late(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline:
        with pipeline.stage("s") as stage:
            pass
        stage.record_input(b"late")
    (late,) = recorded.one("pipeline p").events
    assert late.attributes is not None
    assert late.attributes[INPUT] == digest(b"late")


def test_nothing_is_read_where_nothing_is_recorded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(_data, "contents_of", lambda *_: pytest.fail("it is read"))
    monkeypatch.setattr(_data, "digest_later", lambda *_, **__: pytest.fail("it is read"))
    with crucible.stage("load") as stage:
        stage.record_input(b"x")
        stage.produce_artifact(tmp_path)
    assert stage.is_unchanged is False


def test_arguments_and_result_of_a_decorated_function(recorded: Recording) -> None:
    class Cleaner:
        @crucible.stage("clean", digest=True)
        def clean(self, rows: list[int], *, drop: bool = True) -> list[int]:
            return [row for row in rows if row or not drop]

    assert Cleaner().clean([1, 0]) == Cleaner().clean(rows=[1, 0], drop=True) == [1]
    first, second = (said(span) for span in recorded.spans)
    assert first[INPUT] == second[INPUT]
    assert json.loads(first[SCHEMA]) == {"drop": {"type": "bool"}, "rows": {"type": "list", "length": 2}}
    assert first[OUTPUT] == second[OUTPUT] != first[INPUT]


def test_decorated_coroutines_generators_and_retries(recorded: Recording) -> None:
    failures = [OSError("no route")]

    @crucible.stage("fetch", digest=5.0, retries=1)
    async def fetch(address: str) -> bytes:
        await asyncio.sleep(0)
        if failures:
            raise failures.pop()
        return address.encode()

    @crucible.stage("count", digest=True)
    def count(stop: int) -> Generator[int, None, None]:
        yield from range(stop)

    @crucible.stage("count", digest=True)
    async def count_later(stop: int) -> AsyncGenerator[int, None]:
        for number in range(stop):
            yield number

    async def main() -> list[int]:
        assert await fetch("a") == b"a"
        return [number async for number in count_later(2)]

    assert asyncio.run(main()) == list(count(2)) == [0, 1]
    failed, fetched = (said(span) for span in recorded.named("stage fetch"))
    assert failed[INPUT] == fetched[INPUT] == fetched[OUTPUT] == digest(b"a")
    assert OUTPUT not in failed
    assert len({said(span)[INPUT] for span in recorded.named("stage count")}) == 1


def test_no_stage_keeps_what_it_was_called_with(recorded: Recording) -> None:
    import weakref

    class Rows(list):  # type: ignore[type-arg]
        pass

    @crucible.stage("clean", digest=True)
    def clean(rows: Rows) -> int:
        return len(rows)

    with crucible.pipeline("p"):
        rows = Rows([1])
        alive = weakref.ref(rows)
        clean(rows)
        del rows
        assert alive() is None


def test_artifacts_and_who_made_them(recorded: Recording, tmp_path: Path) -> None:
    path = tmp_path / "clean.csv"
    path.write_bytes(LARGE)
    with crucible.pipeline("p") as pipeline:
        with pipeline.stage("clean") as clean:
            clean.produce_artifact(path)
        with pipeline.stage("train") as train:
            train.consume_artifact(str(path))
            train.consume_artifact(b"x" * 100, name="never made")
    tree = recorded.tree()
    assert tree.inside[0] == node("stage clean", "clean", events=["artifact_produced"])
    assert tree.inside[1].links == ["consumes: stage clean: clean"]
    assert tree.inside[1].events == ["artifact_consumed"] * 2
    produced = recorded.one("stage clean").events[0].attributes
    assert produced is not None
    assert produced[attr.CRUCIBLE_ARTIFACT_PATH] == str(path)
    assert produced[attr.CRUCIBLE_ARTIFACT_SHA256] == digest(LARGE)
    assert produced[attr.CRUCIBLE_ARTIFACT_SIZE] == len(LARGE)


def test_an_artifact_is_found_by_its_digest_wherever_it_lies(recorded: Recording, tmp_path: Path) -> None:
    for name in ("here", "there"):
        (tmp_path / name).write_bytes(LARGE)
    (tmp_path / "small").write_bytes(b"1")
    with crucible.stage("make") as make:
        make.record_output(tmp_path / "here")
        make.record_output(tmp_path / "small")
        make.record_output(1)
    with crucible.stage("apart") as apart:
        apart.record_input("1")
        apart.record_input(1)
    assert not recorded.one("stage apart").links
    with crucible.stage("use") as use:
        use.record_input(tmp_path / "there")
        use.record_input(1)
        use.consume_artifact("copy", sha256=digest(LARGE))
    assert [link.attributes[attr.CRUCIBLE_LINK_TYPE] for link in recorded.one("stage use").links] == ["consumes"]  # type: ignore[index]


def test_models_data_sets_and_saved_models_are_artifacts(recorded: Recording, tmp_path: Path) -> None:
    with crucible.pipeline("p") as pipeline:
        pipeline.consume_artifact(crucible.Dataset("digits", version="1", sha256=digest(b"d"), size=9, rows=3))
        with pipeline.stage("train"), crucible.training_run("run") as run:
            saved = run.save_model(tmp_path / "m", write=lambda path: path.write_text("m"))
        pipeline.produce_artifact(crucible.Model("softmax", sha256="short"))
        with pipeline.stage("judge") as judge:
            judge.consume_artifact(saved)
    assert drain(10)
    data, model = (event.attributes or {} for event in recorded.one("pipeline p").events)
    assert data[attr.CRUCIBLE_DATASET_SHA256] == digest(b"d")
    assert (data[attr.CRUCIBLE_DATASET_SIZE], data[attr.CRUCIBLE_DATASET_ROWS]) == (9, 3)
    assert model[attr.CRUCIBLE_MODEL_NAME] == "softmax"
    assert attr.CRUCIBLE_MODEL_SHA256 not in model
    assert model[attr.CRUCIBLE_REPAIRED_KEYS] == (attr.CRUCIBLE_MODEL_SHA256,)
    by_name = {tree.name: tree for tree in recorded.tree().inside}
    assert by_name["stage judge"].links == [f"consumes: model_save: {tmp_path / 'm'}"]


def test_the_digest_of_several_by_name() -> None:
    assert combined({}) is None
    assert combined({"a": "1"}) == "1"
    assert combined({"a": "1", "b": None}) is None
    assert combined({"a": "1", "b": "2"}) == combined({"b": "2", "a": "1"}) != combined({"b": "1", "a": "2"})


def test_a_huge_file_holds_up_nothing_behind_it(recorded: Recording, tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as huge:
        huge.truncate(1 << 40)
    (tmp_path / "model").write_bytes(b"w" * 100_000)
    with crucible.stage("load") as stage:
        stage.record_input(tmp_path / "huge", within=0.1)
    with crucible.training_run("digits") as run:
        assert run.save_checkpoint(tmp_path / "model").digest(10).sha256 is not None
    assert said(recorded.one("stage load"))[UNDIGESTED] == ("huge: to digest it takes longer than 0.1 s",)


@pytest.mark.skipif(not Path("/proc/self/pagemap").exists(), reason="no file without an end on this system")
def test_a_file_without_an_end_is_left_aside(recorded: Recording) -> None:
    with crucible.stage("load") as stage:
        stage.record_input(Path("/proc/self/pagemap"))
    assert said(recorded.one("stage load"))[UNDIGESTED] == ("pagemap: it changed while it was read",)
