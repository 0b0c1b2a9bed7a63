"""Which stage came after which, which was skipped, which was tried again."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import Callable

RESULT = attr.CRUCIBLE_OPERATION_RESULT
ATTEMPT = attr.CRUCIBLE_STAGE_ATTEMPT
UNKNOWN = attr.CRUCIBLE_DEPENDENCY_UNKNOWN
CYCLE = attr.CRUCIBLE_DEPENDENCY_CYCLE


class Flaky:
    """Fails so often, then gives what it was called with."""

    def __init__(self, times: int, error: BaseException | None = None) -> None:
        self.left = times
        self.calls = 0
        self.error = error or OSError("no route")

    def __call__(self, value: Any = None) -> Any:
        self.calls += 1
        if self.left:
            self.left -= 1
            raise self.error
        return value


def attempts_of(name: str, *ends: str, error: str = "OSError: no route") -> list[Any]:
    """Attempts of a stage that ended so, the first first."""
    found = []
    for number, end in enumerate(ends):
        failed: dict[str, Any] = {"events": ["exception"], "error": error} if end == "error" else {}
        links = [f"retried_from: stage {name}: {name}"] if number else []
        found.append(
            node(f"stage {name}", name, attributes={ATTEMPT: number, RESULT: end}, links=links, **failed),
        )
    return found


def test_a_stage_comes_after_others_by_name_or_record(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline:
        with pipeline.stage("load") as load:
            pass
        with pipeline.stage("clean", after="load"):
            pass
        with crucible.stage("train", after=[load, "clean"]):
            pass
    assert recorded.tree() == node(
        "pipeline p",
        "p",
        node("stage load", "load"),
        node("stage clean", "clean", links=["depends_on: stage load: load"]),
        node("stage train", "train", links=["depends_on: stage load: load", "depends_on: stage clean: clean"]),
    )


def test_a_stage_knows_its_pipeline_wherever_it_lies(recorded: Recording) -> None:
    with crucible.pipeline("outer") as outer, outer.stage("a"), crucible.reasoning_chain("q"), crucible.stage("b"):
        with crucible.pipeline("inner") as inner, inner.stage("c"):
            pass
        with outer.stage("d"):
            pass
    of = {span.name: said(span)[attr.CRUCIBLE_PIPELINE_NAME] for span in recorded.spans if "stage" in span.name}
    assert of == {"stage a": "outer", "stage b": "outer", "stage c": "inner", "stage d": "outer"}
    indices = {span.name: said(span).get(attr.CRUCIBLE_STAGE_INDEX) for span in recorded.spans if "stage" in span.name}
    assert indices == {"stage a": 0, "stage b": None, "stage c": 0, "stage d": 1}


def test_after_a_name_that_never_started_is_marked(recorded: Recording, warned: list[str]) -> None:
    with crucible.pipeline("p") as pipeline, pipeline.stage("train", after=["load", "load"]):
        pass
    with crucible.stage("alone", after="load"):
        pass
    assert [said(span).get(UNKNOWN) for span in recorded.spans] == [None, ("load", "load"), ("load",)]
    assert len(warned) == 1
    assert "'load'" in warned[0]


def test_stages_that_wait_for_each_other_are_marked(recorded: Recording, warned: list[str]) -> None:
    with crucible.pipeline("p") as pipeline:
        with pipeline.stage("a", after="c") as a:
            pass
        with pipeline.stage("b", after="a") as b:
            pass
        with pipeline.stage("c", after="b") as c:
            pass
    assert said(recorded.one("stage c"))[CYCLE] == (c.event_id, b.event_id, a.event_id, c.event_id)
    assert CYCLE not in said(recorded.one("stage b"))
    assert any("after itself" in warning for warning in warned)


def test_a_loop_of_stages_is_no_cycle(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline:
        with pipeline.stage("train"):
            pass
        for _ in range(3):
            with pipeline.stage("judge", after="train"):
                pass
            with pipeline.stage("train", after="judge"):
                pass
    assert not any(CYCLE in said(span) or UNKNOWN in said(span) for span in recorded.spans)


def test_a_stage_that_is_not_run_is_a_span_without_length(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline:
        with pipeline.stage("load"):
            pass
        skipped = pipeline.skip_stage("publish", reason="a dry run", after="load")
        pipeline.skip_stage("report", cached=True)
        with pipeline.stage("end", after="publish"):
            pass
    shown = (RESULT, attr.CRUCIBLE_STAGE_REASON, attr.CRUCIBLE_STAGE_CACHED, attr.CRUCIBLE_STAGE_INDEX)
    assert recorded.tree(*shown).inside[1:3] == [
        node(
            "stage publish",
            "publish",
            attributes={RESULT: "skip", attr.CRUCIBLE_STAGE_REASON: "a dry run", attr.CRUCIBLE_STAGE_INDEX: 1},
            events=["stage_skipped"],
            links=["depends_on: stage load: load"],
        ),
        node(
            "stage report",
            "report",
            attributes={RESULT: "skip", attr.CRUCIBLE_STAGE_CACHED: True, attr.CRUCIBLE_STAGE_INDEX: 2},
            events=["stage_skipped"],
        ),
    ]
    span = recorded.one("stage publish")
    assert span.start_time == span.end_time == span.events[0].timestamp
    assert skipped.ended
    assert skipped.result == "skip"
    assert len(recorded.one("stage end").links) == 1


def test_a_stage_that_finds_nothing_to_do_is_skipped(recorded: Recording) -> None:
    with crucible.stage("clean") as clean:
        clean.skip("nothing to do")
    with pytest.raises(ValueError, match="bad"), crucible.stage("fails") as fails:
        fails.skip("nothing to do")
        raise ValueError("bad")
    shown = said(recorded.one("stage clean"))
    assert (shown[RESULT], shown[attr.CRUCIBLE_STAGE_REASON]) == ("skip", "nothing to do")
    assert said(recorded.one("stage fails"))[RESULT] == "error"


def test_attempts_until_one_succeeds(recorded: Recording) -> None:
    work = Flaky(2)
    with crucible.pipeline("p") as pipeline:
        for attempt in pipeline.attempts("fetch", 5, retry_on=OSError):
            with attempt as stage:
                assert stage is attempt.stage
                result = work("rows")
    assert (result, work.calls) == ("rows", 3)
    tree = recorded.tree(ATTEMPT, RESULT)
    assert tree.inside == attempts_of("fetch", "error", "error", "success")
    assert tree.events == ["stage_retried"] * 2
    told = recorded.one("pipeline p").events[1].attributes
    assert told is not None
    assert (told[attr.CRUCIBLE_STAGE_NAME], told[ATTEMPT], told[attr.ERROR_TYPE]) == ("fetch", 2, "OSError")


def decorated(work: Callable[..., Any], **retrying: Any) -> Callable[..., Any]:
    @crucible.stage("fetch", **retrying)
    def fetch(value: Any = None) -> Any:
        return work(value)

    return fetch


def test_a_decorated_call_is_tried_again(recorded: Recording) -> None:
    assert decorated(Flaky(2), retries=2, retry_on=(OSError,))("rows") == "rows"
    first, *later = recorded.trees(ATTEMPT, RESULT)
    for tree in later:
        assert tree.events[0] == "stage_retried"
        tree.events.pop(0)
    assert [first, *later] == attempts_of("fetch", "error", "error", "success")


def test_the_last_exception_goes_on_unchanged(recorded: Recording) -> None:
    error = OSError("no route")
    work = Flaky(9, error)
    with pytest.raises(OSError, match="no route") as caught:
        decorated(work, retries=2, retry_on=OSError)()
    assert caught.value is error
    assert work.calls == 3
    assert not hasattr(error, "__notes__")
    assert error.__context__ is None
    assert "work(value)" in str(caught.traceback[-2].statement)
    assert [said(span)[RESULT] for span in recorded.spans] == ["error"] * 3


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1), GeneratorExit(), KeyError("k")])
def test_what_is_not_to_be_tried_again_goes_on_at_once(recorded: Recording, error: BaseException) -> None:
    work = Flaky(1, error)
    with pytest.raises(type(error)):
        decorated(work, retries=3, retry_on=(OSError, KeyboardInterrupt, SystemExit))()
    assert work.calls == 1
    assert len(recorded.spans) == 1


def test_coroutines_are_tried_again_without_holding_up_the_loop(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("the event loop is held up"))
    decorated_work, looped_work = Flaky(1), Flaky(1)
    beats = []

    @crucible.stage("fetch", retries=1, wait=0.001)
    async def fetch() -> Any:
        await asyncio.sleep(0)
        return decorated_work("a")

    async def loop(pipeline: crucible.Pipeline) -> Any:
        async for attempt in pipeline.attempts("fetch", 2, wait=lambda number: 0.001 * (number + 1)):
            with attempt:
                result = looped_work("b")
        return result

    async def beat() -> None:
        for _ in range(3):
            await asyncio.sleep(0)
            beats.append(1)

    async def main() -> None:
        with crucible.pipeline("p") as pipeline:
            assert await asyncio.gather(fetch(), loop(pipeline), beat()) == ["a", "b", None]

    asyncio.run(main())
    assert len(recorded.named("stage fetch")) == 4
    assert sorted(said(span)[ATTEMPT] for span in recorded.named("stage fetch")) == [0, 0, 1, 1]


def test_a_plain_loop_on_an_event_loop_does_not_wait(
    recorded: Recording, warned: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "sleep", lambda _: pytest.fail("the event loop is held up"))
    work = Flaky(1)

    async def main() -> None:
        with crucible.pipeline("p") as pipeline:
            for attempt in pipeline.attempts("fetch", 2, wait=3600):
                with attempt:
                    work()

    asyncio.run(main())
    assert work.calls == 2
    assert "async for" in warned[0]


def test_attempts_wait_as_long_as_asked(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    with crucible.pipeline("p") as pipeline:
        for wait in (0.5, lambda number: number + 1):
            work = Flaky(2)
            for attempt in pipeline.attempts("fetch", 3, wait=wait):
                with attempt:
                    work()
    assert slept == [0.5, 0.5, 1, 2]


@pytest.mark.parametrize(
    ("arguments", "calls"),
    [
        ({"retries": "two"}, 1),
        ({"retries": -3}, 1),
        ({"retries": 2.5}, 1),
        ({"retries": 1, "retry_on": "OSError"}, 1),
        ({"retries": 1, "wait": -1}, 2),
        ({"retries": 1, "wait": float("nan")}, 2),
        ({"retries": 1, "wait": lambda: 1}, 2),
        ({"retries": 1, "wait": object()}, 2),
    ],
)
def test_arguments_that_say_nothing_are_warned_about(
    recorded: Recording, warned: list[str], arguments: dict[str, Any], calls: int
) -> None:
    work = Flaky(1)
    with suppress(OSError):
        decorated(work, **arguments)()
    assert work.calls == calls
    assert len(warned) == 1


def test_nothing_recorded_is_tried_again_all_the_same() -> None:
    work = Flaky(2)
    assert decorated(work, retries=2)("rows") == "rows"
    with crucible.pipeline("p") as pipeline:
        for attempt in pipeline.attempts("fetch", 2):
            with attempt:
                Flaky(0)()
        pipeline.skip_stage("publish", reason="a dry run").skip("again")
    assert work.calls == 3


def test_attempts_that_the_program_counts_are_linked_too(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline:
        pipeline.stage("fetch", attempt=0).start().fail(OSError("no route"))
        with pipeline.stage("other"):
            pass
        with pipeline.stage("fetch", attempt=1):
            pass
    tree = recorded.tree(ATTEMPT, RESULT)
    assert [tree.inside[0], tree.inside[2]] == attempts_of("fetch", "error", "success")
    assert tree.events == ["stage_retried"]


def test_a_block_and_a_generator_are_not_begun_again(recorded: Recording, warned: list[str]) -> None:
    @crucible.stage("numbers", retries=2)
    def numbers() -> Any:
        yield 1
        raise OSError("no route")

    with pytest.raises(OSError, match="no route"):
        list(numbers())
    with crucible.stage("block", retries=2):
        pass
    assert len(recorded.spans) == 2
    assert len(warned) == 2
