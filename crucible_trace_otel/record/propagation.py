"""The context of an operation, carried to where Python does not carry it: child processes, threads, executors.

    subprocess.run([sys.executable, "evaluate.py"], env=crucible.child_environment())

    pool.submit(crucible.in_context(load), path)

What a child records then lies below the operation that was current here. Tasks of asyncio need none of this.
"""

import inspect
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar, cast

from opentelemetry import baggage
from opentelemetry import context as context_api
from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._context import living_context, operation_in, remote_baggage
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._values import printable
from crucible_trace_otel.record.processes._process import HANDED_DOWN, process_facts

__all__ = ["child_environment", "in_context"]

P = ParamSpec("P")
R = TypeVar("R")


def child_environment(env: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment for a child process whose records are to lie below the current operation.

    It has W3C's `TRACEPARENT`, `TRACESTATE` and `BAGGAGE` in addition: the baggage that is current, with the ids of the
    run and the experiment. Where nothing is current, those that this process was given itself are passed on. Everything
    a child starts inherits them: they are no place for secrets. Never raises.

    Args:
        env: What it is made from, which stays as it is; `os.environ` when not given.
    """
    environment = _copied(env)
    _carry(environment)
    return environment


def in_context(function: Callable[P, R]) -> Callable[P, R]:
    """`function`, recorded below the operation that is current now, on whichever thread it is called.

        with ThreadPoolExecutor() as pool, crucible.stage("load"):
            rows = list(pool.map(crucible.in_context(read), paths))

    It takes and returns what `function` does, a coroutine function too, and may be called on several threads at once.
    An operation that has ended meanwhile is replaced by the one around it. The body of a generator function runs later,
    where it is looped over, and is recorded there, with one warning: give what loops over it.

    Args:
        function: What is given to the thread or the executor. For a process use `child_environment`.
    """
    here = living_context()

    if _is(function, inspect.isgeneratorfunction, inspect.isasyncgenfunction):
        name = printable(getattr(function, "__qualname__", function))
        said = f"in_context({name}): a generator runs where it is looped over, and is recorded there."
        warn_once(f"in_context {name}", said)

    if _is(function, inspect.iscoroutinefunction):

        @wraps(function)
        async def call_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            with _attached(here):
                return await cast("Any", function)(*args, **kwargs)

        return cast("Callable[P, R]", call_async)

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        with _attached(here):
            return function(*args, **kwargs)

    return call


@guarded(lambda *_: False)
def _is(function: Any, *checks: Callable[[Any], bool]) -> bool:
    """Whether it is a function of that kind, or an object that is called as one."""
    return any(check(each) for check in checks for each in (function, getattr(function, "__call__", None)))  # noqa: B004


def _environment(_: Any) -> dict[str, str]:
    return dict(os.environ)


@guarded(_environment)
def _copied(env: Mapping[str, str] | None) -> dict[str, str]:
    return dict(os.environ if env is None else env)


@contextmanager
def _attached(context: Context) -> Iterator[None]:
    token = context_api.attach(living_context(here=context))
    try:
        yield
    finally:
        context_api.detach(token)


@guarded(nothing)
def _carry(environment: dict[str, str]) -> None:
    here = living_context()
    operation = operation_in(here)
    known = process_facts() if operation is None else operation._inherited
    handed = {**baggage.get_all(remote_baggage()), **baggage.get_all(here)}
    handed |= {key: known[key] for key in HANDED_DOWN if key in known}
    for name, value in handed.items():
        here = baggage.set_baggage(name, value, here)
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier, here)
    W3CBaggagePropagator().inject(carrier, here)
    # A state without its parent, or the same name in small letters, would say something else.
    stale = {"traceparent", "tracestate"} if "traceparent" in carrier else set()
    named = [name for name in environment if isinstance(name, str)]
    for name in [name for name in named if name.lower() in stale | carrier.keys()]:
        del environment[name]
    environment.update({name.upper(): value for name, value in carrier.items()})
