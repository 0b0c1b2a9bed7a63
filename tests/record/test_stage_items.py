"""Stages that work on many items: all are counted, few have spans, and the failed and slow ones are among them."""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from itertools import count, islice
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._operation import Operation
from crucible_trace_otel.record.stages import _stage_items
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from collections.abc import Iterator

INDEX = attr.CRUCIBLE_STAGE_ITEM_INDEX
COUNT = attr.CRUCIBLE_STAGE_ITEM_COUNT


def items_of(recorded: Recording) -> list[int]:
    return [said(span)[INDEX] for span in recorded.named("stage_item")]


def item(number: int, *inside: Any, **more: Any) -> Any:
    return node("stage_item", f"item {number}", *inside, **more)


def test_each_item_of_few_has_a_span_with_what_is_recorded_inside(recorded: Recording) -> None:
    with crucible.stage("clean") as clean:
        for name in clean.each(["a", "b"]):
            with crucible.stage(f"part {name}"):
                pass
        with crucible.stage("after"):
            pass
    assert recorded.tree() == node(
        "stage clean",
        "clean",
        item(0, node("stage part a", "part a")),
        item(1, node("stage part b", "part b")),
        node("stage after", "after"),
    )
    assert said(recorded.one("stage clean"))[COUNT] == 2


def test_of_many_items_the_first_have_spans_and_all_are_counted(recorded: Recording) -> None:
    with crucible.stage("clean") as clean:
        assert sum(clean.each(iter(range(1_000)), spans=10)) == 499_500
    assert items_of(recorded) == list(range(5))
    assert said(recorded.one("stage clean"))[COUNT] == 1_000


def test_an_item_that_fails_has_a_span_wherever_it_comes(recorded: Recording) -> None:
    with pytest.raises(ValueError, match="bad row"), crucible.stage("clean") as clean:
        for number in clean.each(range(100), spans=4):
            if number == 50:
                raise ValueError("bad row")
    tree = recorded.tree()
    failed = item(50, events=["exception"], error="ValueError: bad row")
    assert tree == node("stage clean", "clean", item(0), item(1), failed, error="ValueError: bad row")
    assert said(recorded.one("stage clean"))[COUNT] == 51


@pytest.mark.parametrize("spans", [4, 100])
def test_what_failed_inside_an_item_is_recorded_once(recorded: Recording, spans: int) -> None:
    with pytest.raises(ValueError, match="bad row"), crucible.stage("clean") as clean:
        for number in clean.each(range(9), spans=spans):
            if number == 5:
                with crucible.stage("part"):
                    raise ValueError("bad row")
    with_exception = [span.name for span in recorded.spans if span.events]
    assert with_exception == ["stage part"]
    assert [said(span)[INDEX] for span in recorded.named("stage_item") if not span.status.is_ok] == [5]


def test_a_loop_that_is_broken_off_ends_its_item_well(recorded: Recording) -> None:
    for spans in (4, 100):
        with pytest.raises(ValueError, match="later"), crucible.stage("clean") as clean:
            for number in clean.each(range(9), spans=spans):
                if number == 5:
                    break
            with crucible.stage("next"):
                pass
            raise ValueError("later")
    assert all(span.status.is_ok for span in recorded.named("stage_item"))
    assert [said(span)[COUNT] for span in recorded.named("stage clean")] == [6, 6]


def test_a_slow_item_has_a_span_and_its_own_times(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = count(0, 1_000_000)
    now = [0]
    monkeypatch.setattr(Operation, "_now_ns", lambda _: now[0] + next(clock) // 1_000)
    with crucible.stage("clean") as clean:
        for number in clean.each(range(100), spans=4):
            now[0] += 900_000_000 if number == 60 else 20_000_000
    assert items_of(recorded) == [0, 1, 60]
    slow = recorded.named("stage_item")[-1]
    assert slow.start_time is not None
    assert slow.end_time is not None
    assert slow.end_time - slow.start_time >= 900_000_000


def test_there_are_never_more_spans_than_asked_for(recorded: Recording) -> None:
    def fails(number: int) -> int:
        raise ValueError(number)

    with crucible.stage("clean") as clean:
        for number in range(50):
            with pytest.raises(ValueError, match=str(number)):
                next(clean.map(fails, [number], spans=7))
    assert len(recorded.named("stage_item")) == 7
    assert said(recorded.one("stage clean"))[COUNT] == 50


def test_map_is_as_lazy_as_its_namesake(recorded: Recording) -> None:
    with crucible.stage("clean") as clean:
        assert list(islice(clean.map(lambda number: number * 2, count()), 5)) == [0, 2, 4, 6, 8]
    assert items_of(recorded) == list(range(5))


def test_threads_record_below_their_item(recorded: Recording, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_stage_items, "_SLOW_NS", 10**12)  # however busy the machine is, none is slow

    def work(number: int) -> int:
        with crucible.stage("part"):
            return number * 2

    with ThreadPoolExecutor(3) as pool, crucible.stage("clean") as clean:
        assert list(clean.map(work, range(30), executor=pool, spans=4)) == [number * 2 for number in range(30)]
        assert list(islice(clean.map(work, count(), executor=pool, spans=4), 3)) == [0, 2, 4]
    tree = recorded.tree()
    assert len([inner for inner in tree.inside if inner.name == "stage_item"]) == 2
    assert {inner.name for inner in tree.inside} == {"stage_item", "stage part"}
    assert said(recorded.one("stage clean"))[COUNT] >= 33


def test_an_exception_of_a_thread_goes_on_unchanged(recorded: Recording) -> None:
    error = ValueError("bad row")

    def work(number: int) -> int:
        if number == 20:
            raise error
        return number

    with (
        pytest.raises(ValueError, match="bad row") as caught,
        crucible.stage("clean") as clean,
        ThreadPoolExecutor(2) as pool,
    ):
        list(clean.map(work, range(40), executor=pool, spans=4))
    assert caught.value is error
    assert [said(span)[INDEX] for span in recorded.named("stage_item") if not span.status.is_ok] == [20]


def test_items_of_other_processes_are_counted(recorded: Recording) -> None:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool, crucible.stage("clean") as clean:
        assert list(clean.map(abs, [-1, -2], executor=pool)) == [1, 2]
    assert recorded.tree(COUNT) == node("stage clean", "clean", attributes={COUNT: 2})


@pytest.mark.parametrize("spans", [-1, "many", None, 2.5, 10**9])
def test_a_bound_that_is_none_is_the_usual_one(recorded: Recording, warned: list[str], spans: Any) -> None:
    with crucible.stage("clean") as clean:
        assert len(list(clean.each(range(300), spans=spans))) == 300
    assert len(recorded.named("stage_item")) == 50
    assert len(warned) == 1


def test_what_cannot_be_looped_over_is_the_programs_own_error(recorded: Recording) -> None:
    with pytest.raises(TypeError, match="not iterable"), crucible.stage("clean") as clean:
        clean.each(7)  # type: ignore[arg-type]


def test_nothing_recorded_works_as_well() -> None:
    def source() -> Iterator[int]:
        yield from range(3)

    with crucible.stage("clean") as clean, ThreadPoolExecutor(2) as pool:
        assert list(clean.each(source())) == [0, 1, 2]
        assert list(clean.map(str, source())) == list(clean.map(str, source(), executor=pool)) == ["0", "1", "2"]


def test_a_misspelt_keyword_costs_no_loop(recorded: Recording, warned: list[str]) -> None:
    with crucible.stage("clean") as clean:
        assert list(clean.each([1, 2], span=3)) == list(clean.map(abs, [1, 2], pool=None)) == [1, 2]  # type: ignore[call-arg]
    assert len(warned) == 2
