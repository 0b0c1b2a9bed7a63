"""Tries at one stage: each is a stage of its own, linked to the one before.

Whether it is tried again is the program's affair: that is decided in the same way where nothing is recorded.
"""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from numbers import Integral
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, cast

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._calls import traced
from crucible_trace_otel.record._failure import hand_over
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._values import printable

if TYPE_CHECKING:
    from crucible_trace_otel.record.stages._stage import Stage

__all__ = ["Attempt", "Attempts", "Retrying", "Wait", "retried", "retries_of", "retrying"]

F = TypeVar("F")
Wait: TypeAlias = float | Callable[[int], float]
"""Seconds between two attempts: a number, or a function of the number of the one that failed, 0 for the first."""

_MOST = 1_000_000
_LONGEST_S = 2.0**31  # Python cannot sleep for ever


@dataclass(frozen=True, slots=True)
class Retrying:
    """When a stage is tried again."""

    attempts: int
    """How many there are at most, the first one included."""
    retry_on: tuple[type[BaseException], ...]
    wait: Wait

    @guarded(lambda *_: False)  # a class of the program's own may say anything to `isinstance`
    def is_wanted_after(self, number: int, error: BaseException | None) -> bool:
        """Whether attempt `number`, which ended with `error`, is followed by another: by none after Ctrl-C."""
        return number + 1 < self.attempts and isinstance(error, Exception) and isinstance(error, self.retry_on)

    def seconds_after(self, number: int) -> float:
        """How long to wait after attempt `number`; not at all, with one warning, for what is no such number."""
        try:
            seconds = float(self.wait(number) if callable(self.wait) else self.wait)
        except Exception as error:  # noqa: BLE001 - a function of the program may do anything
            let_through(error)
            seconds = -1.0
        if 0 <= seconds <= _LONGEST_S:
            return seconds
        warn_once(f"wait {printable(self.wait)}", f"wait={printable(self.wait)} gives no seconds: there is no waiting.")
        return 0.0


def retrying(number: Any, retry_on: Any, wait: Any, *, beside: int = 0) -> Retrying:
    """The arguments as they can be used; what cannot is left out, with one warning.

    Args:
        number: Of attempts, those `beside` not counted.
        retry_on: After which exceptions.
        wait: How long.
        beside: How many attempts there are in any case.
    """
    if not isinstance(number, Integral) or not 1 <= int(number) <= _MOST:
        said = f"{printable(number)} is no number of {'retries' if beside else 'attempts'}: there is one attempt."
        warn_once(f"attempts {printable(number)}", said)
        number, beside = 1, 0
    given = retry_on if isinstance(retry_on, tuple) else (retry_on,)
    classes = tuple(each for each in given if isinstance(each, type) and issubclass(each, BaseException))
    if len(classes) < len(given):
        said = f"retry_on={printable(retry_on)} holds what is no class of exceptions: that is left out."
        warn_once(f"retry_on {printable(retry_on)}", said)
    return Retrying(int(number) + beside, classes, 0.0 if wait is None else wait)


def _no_retries(*_: Any) -> Retrying | None:
    return None


@guarded(_no_retries)
def retries_of(retries: Any, retry_on: Any, wait: Any) -> Retrying | None:
    """How often a stage is tried again; None where it is not."""
    is_none = retries is None or (isinstance(retries, Integral) and retries == 0)
    return None if is_none else retrying(retries, retry_on, wait, beside=1)


class Attempt:
    """One try, for `with`, which gives its stage. An exception is kept back where another try follows."""

    def __init__(self, stage: "Stage", number: int, policy: Retrying) -> None:
        self.stage = stage
        """What is recorded of it."""
        self.number = number
        """0 for the first."""
        self._policy = policy
        self._is_followed = False

    def __enter__(self) -> "Stage":
        return self.stage.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool:
        self._is_followed = self._policy.is_wanted_after(self.number, error)
        self.stage.__exit__(kind, error, trace)
        if self._is_followed:
            _take_mark_off(error)
        return self._is_followed


class Attempts:
    """The tries at one stage, one after the other until one succeeds: for `for`, and for `async for` in a coroutine."""

    def __init__(self, attempt: "Callable[[int, Stage | None], Stage]", policy: Retrying) -> None:
        self._stage_of = attempt
        self._policy = policy
        self._latest: Attempt | None = None

    def __iter__(self) -> "Attempts":
        self._latest = None
        return self

    def __aiter__(self) -> "Attempts":
        return iter(self)

    def __next__(self) -> Attempt:
        if not self._goes_on():
            raise StopIteration
        seconds = self._pause()
        if seconds and _is_on_event_loop():
            said = "Attempts in a coroutine do not wait, for that would hold up the event loop: use `async for` there."
            warn_once("attempts event loop", said)
        elif seconds:
            time.sleep(seconds)
        return self._next()

    async def __anext__(self) -> Attempt:
        if not self._goes_on():
            raise StopAsyncIteration
        seconds = self._pause()
        if seconds:
            import asyncio  # noqa: PLC0415 - only for who has an event loop

            await asyncio.sleep(seconds)
        return self._next()

    def _goes_on(self) -> bool:
        return self._latest is None or self._latest._is_followed

    def _pause(self) -> float:
        return 0.0 if self._latest is None else self._policy.seconds_after(self._latest.number)

    def _next(self) -> Attempt:
        number, before = (0, None) if self._latest is None else (self._latest.number + 1, self._latest.stage)
        self._latest = Attempt(self._stage_of(number, before), number, self._policy)
        return self._latest


def retried(stage: "Stage", function: F, policy: Retrying) -> F:
    """`function`, each call of which is tried again as `policy` says, each try as a stage like `stage`."""
    if isinstance(function, (staticmethod, classmethod)):
        return cast("F", type(function)(retried(stage, function.__func__, policy)))
    wrapped = cast("Callable[..., Any]", function)
    if isgeneratorfunction(wrapped) or isasyncgenfunction(wrapped):
        warn_once(f"retries {stage.about}", f"retries= of stage {stage.about!r}: a generator is not begun again.")
        return traced(stage._tried_once(), function)
    if iscoroutinefunction(wrapped):

        @wraps(wrapped)
        async def tried_function(*args: Any, **kwargs: Any) -> Any:
            async for attempt in Attempts(partial(stage._attempt_of, args, kwargs), policy):
                with attempt as tried:
                    returned = tried._result(await wrapped(*args, **kwargs))
            return returned
    else:

        @wraps(wrapped)
        def tried_function(*args: Any, **kwargs: Any) -> Any:
            for attempt in Attempts(partial(stage._attempt_of, args, kwargs), policy):
                with attempt as tried:
                    returned = tried._result(wrapped(*args, **kwargs))
            return returned

    return cast("F", tried_function)


@guarded(nothing)
def _take_mark_off(error: BaseException | None) -> None:
    """Leave no trace of us on an exception that goes no further: it may be raised again."""
    if error is not None:
        hand_over(error, None)


def _is_on_event_loop() -> bool:
    """Whether this thread runs an event loop now; asyncio is in use or not, it is not imported for that."""
    events = sys.modules.get("asyncio.events")
    return events is not None and events._get_running_loop() is not None
