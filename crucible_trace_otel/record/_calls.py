"""Operations as decorators: a call, an awaited call, or the life of a generator becomes one operation."""

import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import suppress
from contextvars import copy_context
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, TypeVar, cast

from opentelemetry import context as context_api

if TYPE_CHECKING:
    from crucible_trace_otel.record._operation import Operation

__all__ = ["traced"]

F = TypeVar("F")


def traced(operation: "Operation", function: F) -> F:
    """`function` with each of its calls recorded as a fresh copy of `operation`, which has not started."""
    if isinstance(function, (staticmethod, classmethod)):
        return cast("F", type(function)(traced(operation, function.__func__)))
    wrapped = cast("Callable[..., Any]", function)
    if inspect.isasyncgenfunction(wrapped):
        traced_function: Callable[..., Any] = _traced_async_generator(operation, wrapped)
    elif inspect.isgeneratorfunction(wrapped):
        traced_function = _traced_generator(operation, wrapped)
    elif inspect.iscoroutinefunction(wrapped):

        @wraps(wrapped)
        async def traced_function(*args: Any, **kwargs: Any) -> Any:
            with operation._fresh(*args, **kwargs) as called:
                return called._result(await wrapped(*args, **kwargs))
    else:

        @wraps(wrapped)
        def traced_function(*args: Any, **kwargs: Any) -> Any:
            with operation._fresh(*args, **kwargs) as called:
                return called._result(wrapped(*args, **kwargs))

    return cast("F", traced_function)


class _Body:
    """The context inside a generator: current while its body runs, gone while its consumer does."""

    def __init__(self, operation: "Operation") -> None:
        self._operation = operation
        self._inside: Any = None

    def __enter__(self) -> None:
        self._outside = context_api.get_current()
        if self._inside is None:
            self._operation.start()
        else:
            context_api.attach(self._inside)

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, (StopIteration, StopAsyncIteration)):
            self._operation.stop()
        elif error is not None:
            self._operation.fail(error)
        self._inside = context_api.get_current()
        context_api.attach(self._outside)


def _traced_generator(operation: "Operation", function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def traced_generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        body = _Body(operation._fresh(*args, **kwargs))
        generator = function(*args, **kwargs)
        step: Callable[[], Any] = generator.__next__
        while True:
            try:
                with body:
                    item = step()
            except StopIteration as stop:
                return stop.value
            try:
                sent = yield item
                step = partial(generator.send, sent)
            except GeneratorExit:
                # In a context of its own: Python 3.10 and 3.11 crash where the garbage collector closes a generator
                # while a context variable is being set.
                copy_context().run(_close, body, generator)
                raise
            except BaseException as thrown:  # noqa: BLE001 - what the consumer throws belongs to the generator
                step = partial(generator.throw, thrown)

    return traced_generator


def _close(body: _Body, generator: Generator[Any, Any, Any]) -> None:
    with suppress(GeneratorExit), body:
        generator.close()
        raise GeneratorExit


def _traced_async_generator(operation: "Operation", function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    async def traced_async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        body = _Body(operation._fresh(*args, **kwargs))
        generator = function(*args, **kwargs)
        step: Callable[[], Any] = generator.__anext__
        while True:
            try:
                with body:
                    item = await step()
            except StopAsyncIteration:
                return
            try:
                sent = yield item
                step = partial(generator.asend, sent)
            except GeneratorExit:
                with body:
                    await generator.aclose()
                    raise
            except BaseException as thrown:  # noqa: BLE001
                step = partial(generator.athrow, thrown)

    return traced_async_generator
