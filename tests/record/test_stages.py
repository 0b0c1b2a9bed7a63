"""Pipelines and stages: their life, and which work lies inside which."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import pairwise

import pytest
from opentelemetry import trace as trace_api

import crucible_trace_otel as crucible
from crucible_trace_otel.record._context import current_operation
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

RESULT = attr.CRUCIBLE_OPERATION_RESULT


def test_a_pipeline_and_its_stages(recorded: Recording) -> None:
    with crucible.pipeline("digits") as pipeline:
        with pipeline.stage("load", config={"rows": 10, "columns": ["a", "b"]}) as load:
            pass
        with pipeline.stage("train", depends_on=load), crucible.stage("inner"):
            pass
        with crucible.stage("test"):
            pass
    shown = (
        attr.CRUCIBLE_PIPELINE_NAME,
        attr.CRUCIBLE_STAGE_NAME,
        attr.CRUCIBLE_STAGE_INDEX,
        attr.CRUCIBLE_STAGE_CONFIG,
        RESULT,
    )
    of = {attr.CRUCIBLE_PIPELINE_NAME: "digits"}
    assert recorded.tree(*shown) == node(
        "pipeline digits",
        "digits",
        node(
            "stage load",
            "load",
            attributes={
                **of,
                attr.CRUCIBLE_STAGE_NAME: "load",
                attr.CRUCIBLE_STAGE_INDEX: 0,
                attr.CRUCIBLE_STAGE_CONFIG: '{"rows": 10, "columns": ["a", "b"]}',
                RESULT: "success",
            },
        ),
        node(
            "stage train",
            "train",
            node("stage inner", "inner", attributes={**of, attr.CRUCIBLE_STAGE_NAME: "inner", RESULT: "success"}),
            attributes={**of, attr.CRUCIBLE_STAGE_NAME: "train", attr.CRUCIBLE_STAGE_INDEX: 1, RESULT: "success"},
            links=["depends_on: stage load: load"],
        ),
        node(
            "stage test",
            "test",
            attributes={**of, attr.CRUCIBLE_STAGE_NAME: "test", attr.CRUCIBLE_STAGE_INDEX: 2, RESULT: "success"},
        ),
        attributes={attr.CRUCIBLE_PIPELINE_NAME: "digits", RESULT: "success"},
    )


def test_what_lies_inside_a_stage_carries_its_id(recorded: Recording) -> None:
    with crucible.stage("a") as a, crucible.reasoning_chain("q") as chain:
        chain.form_hypothesis("h")
    assert {said(span).get(attr.CRUCIBLE_STAGE_ID) for span in recorded.spans} == {a.event_id}


def test_spans_of_one_parent_leave_a_gap_between_them(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "perf_counter_ns", lambda: 5)
    with crucible.reasoning_chain("q") as chain:
        for _ in range(5):
            with crucible.stage("s"):
                pass
            chain.form_hypothesis("h")
    parent = recorded.one("reasoning_chain")
    inside = [span for span in recorded.spans if span is not parent]
    assert len(inside) == 10
    assert [after.start_time - before.end_time for before, after in pairwise(inside)] == [1_000] * 9  # type: ignore[operator]
    assert parent.end_time >= inside[-1].end_time  # type: ignore[operator]


def test_start_stop_and_fail(recorded: Recording) -> None:
    pipeline = crucible.pipeline("p").start()
    crucible.stage("good").start().stop()
    crucible.stage("bad").start().fail("the disk is full")
    worse = crucible.stage("worse").start()
    worse.fail(ValueError("no rows"))
    pipeline.stop()
    assert recorded.tree(RESULT, attr.ERROR_TYPE) == node(
        "pipeline p",
        "p",
        node("stage good", "good", attributes={RESULT: "success"}),
        node("stage bad", "bad", attributes={RESULT: "error", attr.ERROR_TYPE: "_OTHER"}, error="the disk is full"),
        node(
            "stage worse",
            "worse",
            attributes={RESULT: "error", attr.ERROR_TYPE: "ValueError"},
            events=["exception"],
            error="ValueError: no rows",
        ),
        attributes={RESULT: "success"},
    )
    assert current_operation() is None


def test_a_second_start_and_a_second_end_do_nothing(recorded: Recording) -> None:
    stage = crucible.stage("s")
    stage.stop()
    stage.start().start()
    with stage:
        pass
    stage.stop()
    stage.fail("too late")
    stage.start()
    assert recorded.trees() == [node("stage s", "s")]
    assert current_operation() is None


def test_stops_out_of_order_leave_nothing_current(recorded: Recording) -> None:
    outer = crucible.pipeline("outer").start()
    inner = crucible.stage("inner").start()
    outer.stop()
    within = crucible.stage("within").start()
    inner.stop()
    within.stop()
    crucible.stage("after").start().stop()
    assert recorded.trees() == [
        node("pipeline outer", "outer", node("stage inner", "inner", node("stage within", "within"))),
        node("stage after", "after"),
    ]
    assert not trace_api.get_current_span().get_span_context().is_valid


def test_a_stop_in_another_thread(recorded: Recording) -> None:
    outer = crucible.pipeline("outer").start()
    inner = crucible.stage("inner").start()
    with ThreadPoolExecutor(1) as pool:
        pool.submit(inner.stop).result()
    with crucible.stage("next"):
        pass
    outer.stop()
    assert recorded.tree() == node("pipeline outer", "outer", node("stage inner", "inner"), node("stage next", "next"))


def test_a_start_in_another_thread_does_not_become_current_here(recorded: Recording) -> None:
    stage = crucible.stage("there")
    thread = threading.Thread(target=stage.start)
    thread.start()
    thread.join()
    with crucible.stage("here"):
        pass
    stage.stop()
    assert {tree.name for tree in recorded.trees()} == {"stage there", "stage here"}


def test_a_thread_joins_by_its_context(recorded: Recording) -> None:
    def work(number: int) -> None:
        with crucible.stage("work"), crucible.stage(f"part {number}"):
            pass

    with crucible.pipeline("p"), ThreadPoolExecutor(4) as pool:
        for future in [pool.submit(copy_context().run, work, number) for number in range(8)]:
            future.result()
    tree = recorded.tree()
    assert [inner.name for inner in tree.inside] == ["stage work"] * 8
    assert sorted(inner.inside[0].name for inner in tree.inside) == [f"stage part {number}" for number in range(8)]
    assert sorted(said(span)[attr.CRUCIBLE_STAGE_INDEX] for span in recorded.named("stage work")) == list(range(8))


def test_tasks_of_asyncio_do_not_mix(recorded: Recording) -> None:
    async def work(name: str) -> None:
        with crucible.stage(name):
            await asyncio.sleep(0)
            with crucible.stage(f"{name} inner"):
                await asyncio.sleep(0)

    async def main() -> None:
        with crucible.pipeline("p"):
            await asyncio.gather(*(work(name) for name in "abc"))

    asyncio.run(main())
    (tree,) = recorded.trees()
    assert sorted(tree.inside, key=lambda inner: inner.name) == [
        node(f"stage {name}", name, node(f"stage {name} inner", f"{name} inner")) for name in "abc"
    ]


def test_foreign_spans_in_between(recorded: Recording) -> None:
    with (
        recorded.foreign.start_as_current_span("request"),
        crucible.pipeline("p") as pipeline,
        recorded.foreign.start_as_current_span("database"),
        crucible.stage("s"),
        recorded.foreign.start_as_current_span("query"),
    ):
        assert current_operation() is not pipeline
    expected = node("database", None, node("stage s", "s", node("query")))
    assert recorded.tree() == node("request", None, node("pipeline p", "p", expected))
    assert said(recorded.one("stage s"))[attr.CRUCIBLE_STAGE_INDEX] == 0


def test_a_foreign_span_that_ends_first_takes_nothing_with_it(recorded: Recording) -> None:
    with recorded.foreign.start_as_current_span("request"):
        stage = crucible.stage("s").start()
    with crucible.stage("apart"):
        pass
    stage.stop()
    assert recorded.trees() == [node("request", None, node("stage s", "s")), node("stage apart", "apart")]


def test_no_link_goes_to_the_own_parent(recorded: Recording) -> None:
    with crucible.pipeline("p") as pipeline, pipeline.stage("s", depends_on=pipeline):
        pass
    stage = recorded.one("stage s")
    assert not stage.links
    assert said(stage)[attr.CRUCIBLE_DEPENDENCY_NAMES] == ("depends_on: pipeline: p",)


@pytest.mark.parametrize(
    ("given", "shown"), [(None, "None"), (7, "7"), ("x" * 200, "x" * 119 + "…"), ("two\nlines\t", "two lines")]
)
def test_any_name_is_made_one_line(recorded: Recording, given: object, shown: str) -> None:
    with crucible.stage(given):  # type: ignore[arg-type]
        pass
    name = "stage" if given is None else f"stage {shown}"
    assert recorded.trees() == [node(name, shown)]


@pytest.mark.parametrize("bad", [{"links": ["no mapping"]}, {"depends_on": iter([object(), 3])}, {"config": object}])
def test_an_argument_of_the_wrong_kind_costs_no_stage(
    recorded: Recording, warned: list[str], bad: dict[str, object]
) -> None:
    with crucible.stage("s", **bad):  # type: ignore[arg-type]
        pass
    assert [tree.name for tree in recorded.trees()] == ["stage s"]


class Unwilling(type):
    def __instancecheck__(cls, instance: object) -> bool:
        raise RuntimeError("no answer")


class OddError(Exception, metaclass=Unwilling):
    """An exception nobody can be asked about."""


def test_a_class_that_does_not_say_what_it_is_changes_no_exception(recorded: Recording, warned: list[str]) -> None:
    error = OSError("no route")
    with pytest.raises(OSError, match="no route") as raised, crucible.pipeline("p") as pipeline:
        for attempt in pipeline.attempts("fetch", 3, retry_on=OddError):
            with attempt:
                raise error
    assert raised.value is error
    assert len(recorded.named("stage fetch")) == 1


def test_any_number_of_retries_makes_a_stage(recorded: Recording, warned: list[str]) -> None:
    numpy = pytest.importorskip("numpy")
    for retries in (numpy.array([1, 2]), "two", 1.5, -1):
        assert crucible.stage("s", retries=retries)(abs)(-1) == 1
        with crucible.pipeline("p") as pipeline, pipeline.stage("s", retries=retries):
            pass
    made = []

    @crucible.stage("twice", retries=numpy.int64(1))
    def fails() -> None:
        made.append(1)
        raise OSError("no route")

    with pytest.raises(OSError, match="no route"):
        fails()
    assert len(made) == 2
