"""Operations as decorators: functions, coroutines, generators, async generators."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING, Any

import pytest

import crucible_trace_otel as crucible
from crucible_trace_otel.record._context import current_operation
from crucible_trace_otel.semconv import attributes as attr
from tests.record.reading import Recording, node

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Generator

RESULT = attr.CRUCIBLE_OPERATION_RESULT


def mark(name: str = "mark") -> None:
    """A stage that shows where it was called."""
    with crucible.stage(name):
        pass


@crucible.stage("numbers")
def numbers(stop: int) -> Generator[int, Any, str]:
    """Counts, and takes what is sent."""
    for number in range(stop):
        mark("body")
        try:
            sent = yield number
        except LookupError:
            yield -1
        else:
            if sent is not None:
                yield sent
    return "done"


@crucible.stage("numbers")
async def async_numbers(stop: int) -> AsyncGenerator[int, Any]:
    """Counts, and takes what is sent."""
    for number in range(stop):
        mark("body")
        await asyncio.sleep(0)
        try:
            sent = yield number
        except LookupError:
            yield -1
        else:
            if sent is not None:
                yield sent


def stages(*inside: str, result: str = "success", **more: Any) -> Any:
    return node(
        "stage numbers",
        "numbers",
        *(node(f"stage {name}", name, attributes={RESULT: "success"}) for name in inside),
        attributes={RESULT: result} | more.pop("attributes", {}),
        **more,
    )


def around(*inside: Any) -> Any:
    return node("pipeline p", "p", *inside, attributes={RESULT: "success"})


CONSUMER = node("stage consumer", "consumer", attributes={RESULT: "success"})


def test_a_function_keeps_its_face(recorded: Recording) -> None:
    @crucible.stage("double")
    def double(number: int, *, by: int = 2) -> int:
        """Doubles."""
        return number * by

    assert (double(3), double(3, by=3)) == (6, 9)
    assert (double.__name__, double.__doc__) == ("double", "Doubles.")
    assert str(inspect.signature(double)) == "(number: 'int', *, by: 'int' = 2) -> 'int'"
    assert recorded.trees() == [node("stage double", "double")] * 2
    assert len({span.attributes[attr.CRUCIBLE_EVENT_ID] for span in recorded.spans}) == 2  # type: ignore[index]


def test_recursion_nests(recorded: Recording) -> None:
    @crucible.stage("down")
    def down(depth: int) -> int:
        return depth if depth == 0 else down(depth - 1)

    assert down(2) == 0
    assert recorded.trees() == [node("stage down", "down", node("stage down", "down", node("stage down", "down")))]


def test_methods_and_static_methods(recorded: Recording) -> None:
    class Job:
        @crucible.stage("method")
        def method(self) -> object:
            return self

        @staticmethod
        @crucible.stage("static")
        def static() -> int:
            return 1

        @classmethod
        @crucible.stage("class")
        def of_class(cls) -> type:
            return cls

    job = Job()
    assert (job.method(), Job.static(), Job.of_class()) == (job, 1, Job)
    assert [tree.name for tree in recorded.trees()] == ["stage method", "stage static", "stage class"]


def test_a_coroutine(recorded: Recording) -> None:
    @crucible.stage("wait")
    async def wait(name: str) -> str:
        await asyncio.sleep(0)
        mark(name)
        return name

    async def main() -> list[str]:
        with crucible.pipeline("p"):
            return await asyncio.gather(wait("a"), wait("b"))

    assert inspect.iscoroutinefunction(wait)
    assert asyncio.run(main()) == ["a", "b"]
    (tree,) = recorded.trees()
    assert tree == node("pipeline p", "p", *(node("stage wait", "wait", node(f"stage {n}", n)) for n in "ab"))


def test_a_generator_that_is_exhausted(recorded: Recording) -> None:
    def consume() -> Generator[int, None, str]:
        return (yield from numbers(2))

    with crucible.pipeline("p"):
        consumer = consume()
        assert next(consumer) == 0
        mark("consumer")
        assert next(consumer) == 1
        with pytest.raises(StopIteration) as stop:
            next(consumer)
        assert stop.value.value == "done"
        assert current_operation().operation_name == "pipeline"  # type: ignore[union-attr]
    assert recorded.tree(RESULT) == around(stages("body", "body"), CONSUMER)
    assert inspect.isgeneratorfunction(numbers)


def test_a_generator_never_begun_is_not_recorded(recorded: Recording) -> None:
    numbers(3)
    numbers(3).close()
    assert recorded.spans == []


def test_a_generator_that_is_broken_off(recorded: Recording) -> None:
    with crucible.pipeline("p"):
        for number in numbers(10):
            if number == 1:
                break
        mark("consumer")
    assert recorded.tree(RESULT) == around(stages("body", "body", result="cancellation"), CONSUMER)


def test_a_generator_is_sent_to_and_thrown_at(recorded: Recording) -> None:
    with crucible.pipeline("p"):
        generator = numbers(2)
        assert next(generator) == 0
        assert generator.send(70) == 70
        assert next(generator) == 1
        assert generator.throw(LookupError("catch it")) == -1
        generator.close()
    assert recorded.tree(RESULT) == around(stages("body", "body", result="cancellation"))


def test_an_exception_thrown_through_a_generator(recorded: Recording) -> None:
    error = ValueError("from the consumer")
    generator = numbers(2)
    next(generator)
    with pytest.raises(ValueError, match="from the consumer") as caught:
        generator.throw(error)
    assert caught.value is error
    assert recorded.trees(RESULT) == [
        stages("body", result="error", events=["exception"], error="ValueError: from the consumer")
    ]
    assert current_operation() is None


def test_an_exception_in_the_consumer_is_not_the_generator_s(recorded: Recording) -> None:
    with pytest.raises(KeyError), crucible.pipeline("p"):
        for _ in numbers(2):
            raise KeyError("consumer")
    tree = recorded.tree(RESULT)
    assert (tree.error, tree.events) == ("KeyError: 'consumer'", ["exception"])
    assert tree.inside == [stages("body", result="cancellation")]


def test_a_generator_that_refuses_to_close(recorded: Recording) -> None:
    @crucible.stage("stubborn")
    def stubborn() -> Generator[int, None, None]:
        try:
            yield 1
        except GeneratorExit:
            yield 2

    generator = stubborn()
    next(generator)
    with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
        generator.close()
    assert [tree.error for tree in recorded.trees()] == ["RuntimeError: generator ignored GeneratorExit"]


def test_two_generators_side_by_side(recorded: Recording) -> None:
    with crucible.pipeline("p"):
        assert list(zip(numbers(2), numbers(2), strict=True)) == [(0, 0), (1, 1)]
    tree = recorded.tree(RESULT)
    assert tree.inside[0] == stages("body", "body")
    assert tree.inside[1].inside == stages("body", "body").inside


def test_an_async_generator_that_is_exhausted(recorded: Recording) -> None:
    async def main() -> list[int]:
        with crucible.pipeline("p"):
            found = []
            async for number in async_numbers(2):
                found.append(number)
                mark("consumer")
            return found

    assert inspect.isasyncgenfunction(async_numbers)
    assert asyncio.run(main()) == [0, 1]
    assert recorded.tree(RESULT) == around(stages("body", "body"), CONSUMER, CONSUMER)


def test_an_async_generator_is_sent_to_thrown_at_and_closed(recorded: Recording) -> None:
    async def main() -> None:
        with crucible.pipeline("p"):
            generator = async_numbers(2)
            assert await anext(generator) == 0
            assert await generator.asend(70) == 70
            assert await anext(generator) == 1
            assert await generator.athrow(LookupError("catch it")) == -1
            mark("consumer")
            await generator.aclose()

    asyncio.run(main())
    assert recorded.tree(RESULT) == around(stages("body", "body", result="cancellation"), CONSUMER)


def test_an_async_generator_that_is_broken_off(recorded: Recording) -> None:
    async def main() -> None:
        with crucible.pipeline("p"):
            async for _ in async_numbers(5):
                break
            mark("consumer")
        await asyncio.sleep(0)

    asyncio.run(main())
    tree = recorded.tree(RESULT)
    assert tree.inside[0].attributes == {RESULT: "cancellation"}
    assert tree.inside[1] == CONSUMER


def test_an_exception_in_an_async_generator(recorded: Recording) -> None:
    error = ValueError("inside")

    @crucible.stage("broken")
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise error

    async def main() -> None:
        async for _ in broken():
            pass

    with pytest.raises(ValueError, match="inside") as caught:
        asyncio.run(main())
    assert caught.value is error
    assert recorded.trees() == [node("stage broken", "broken", events=["exception"], error="ValueError: inside")]


def test_a_cancelled_coroutine(recorded: Recording) -> None:
    @crucible.stage("sleep")
    async def sleep() -> None:
        await asyncio.sleep(60)

    async def main() -> None:
        task = asyncio.create_task(sleep())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert recorded.trees(RESULT) == [node("stage sleep", "sleep", attributes={RESULT: "cancellation"})]


def test_every_noun_decorates(recorded: Recording) -> None:
    for noun in (crucible.pipeline, crucible.stage, crucible.reasoning_chain, crucible.training_run):

        @noun("n")  # type: ignore[operator]
        def work() -> int:
            return 1

        assert work() + work() == 2
    assert len(recorded.trees()) == 8


def test_a_decorated_stage_says_where_it_lives(recorded: Recording) -> None:
    @crucible.stage("work")
    def work() -> None: ...

    work()
    shown = dict(recorded.one("stage work").attributes or {})
    assert str(shown[attr.CODE_FUNCTION_NAME]).endswith("test_a_decorated_stage_says_where_it_lives.<locals>.work")
    assert shown[attr.CODE_FILE_PATH] == __file__
    assert shown[attr.CODE_LINE_NUMBER] == work.__wrapped__.__code__.co_firstlineno  # type: ignore[attr-defined]


def test_what_has_been_used_decorates_as_if_it_were_new(recorded: Recording) -> None:
    with crucible.deployment("api") as deployment:
        used = (crucible.stage("load"), crucible.pipeline("p"), deployment.inference(), crucible.llm_call("m"))
        made = [set(vars(each)) for each in used]
        for each in used:
            with each as entered:
                if isinstance(entered, crucible.Stage):
                    entered.record_input(b"rows")
                    entered.skip("a dry run")
                    list(entered.each([1]))
                elif not isinstance(entered, crucible.Pipeline):
                    entered.record_usage({"input_tokens": 1})
                    entered.first_token()
        twins = [each._fresh() for each in used]
        assert [set(vars(twin)) for twin in twins] == made
        assert not any(twin.ended or twin.event_id for twin in twins)
    assert len(recorded.trees()) == 1
