"""The promise that recording never raises into the user's code, in one place."""

from collections.abc import Callable, Mapping
from functools import wraps
from inspect import Parameter, signature
from typing import Any, ParamSpec, TypeVar

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._values import printable

__all__ = ["forgiving", "guarded", "nothing"]

P = ParamSpec("P")
R = TypeVar("R")


def guarded(fallback: Callable[..., R]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a recording function report its own failure as one warning and return `fallback(*its arguments)`.

    This includes calls with arguments it does not know: a misspelt keyword on the third day of a training run
    must not end the run. What a signal handler of the program raises meanwhile is no failure of ours, and goes on.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        @wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            try:
                return function(*args, **kwargs)
            except Exception as error:  # noqa: BLE001 - that is what it is for
                let_through(error)
                name = _called(function, args)
                reason = f"{type(error).__name__}: {printable(error)}"
                warn_once(
                    f"{name} {reason}",
                    f"{name}() was not recorded: {reason}. The program goes on.",
                    exc_info=not isinstance(error, TypeError),
                )
                return fallback(*args, **kwargs)

        return call

    return decorate


def forgiving(function: Callable[P, R]) -> Callable[P, R]:
    """Make a recording function drop arguments it does not know, with one warning, instead of raising.

    Of an argument that is given twice the first counts, and one that it needs and is not given is None.

    For what cannot be guarded whole, because the user's own code runs inside it or its result must be real.
    """
    parameters = signature(function).parameters
    known = set(parameters)
    by_position = [name for name, each in parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD]
    needed = {name for name in by_position if parameters[name].default is Parameter.empty} - {"self"}
    positional = len(by_position)
    takes = ", ".join(sorted(known - {"self"}))

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        if len(args) <= positional and known.issuperset(kwargs):
            try:
                return function(*args, **kwargs)
            except TypeError as error:
                if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                    raise  # not of this call, but of something inside
        for name in () if known.issuperset(kwargs) else kwargs.keys() - known:
            called = _called(function, args)
            warn_once(f"{called} {name}", f"{called}() takes no {name!r}: it was left out. It takes {takes}.")
            del kwargs[name]
        if len(args) > positional:
            called = _called(function, args)
            said = f"{called}() takes {positional} arguments by position: the others were left out."
            warn_once(f"{called} positional", said)
        given = by_position[: len(args)]
        for name in kwargs.keys() & set(given):
            called = _called(function, args)
            warn_once(f"{called} twice {name}", f"{called}() was given {name!r} twice: the first is taken.")
            del kwargs[name]
        for name in needed.difference(given, kwargs):
            called = _called(function, args)
            warn_once(f"{called} without {name}", f"{called}() needs {name!r}: it is recorded without.")
            kwargs[name] = None
        return function(*args[:positional], **kwargs)  # type: ignore[arg-type]

    return call


def _called(function: Callable[..., Any], args: tuple[Any, ...]) -> str:
    """What a user called: a method is that of the object's class, whichever of ours it was inherited from."""
    _, is_method, name = function.__qualname__.rpartition(".")
    if is_method and args:
        names = getattr(args[0], "_called", None)  # by another name than that of what it is built from
        name = names.get(name, name) if isinstance(names, Mapping) else name
    return f"{type(args[0]).__qualname__.lstrip('_')}.{name}" if is_method and args else name.lstrip("_")


def nothing(*_: Any, **__: Any) -> None:
    """The fallback of a verb that returns nothing."""
