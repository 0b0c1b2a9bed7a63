"""How an operation ended, told from the exception that left it.

The exception itself goes on unchanged. While it passes through operations of ours it carries a mark that says which
operation it will reach next, so that only the innermost one records it; the outermost takes the mark off.
"""

import sys
import traceback
from dataclasses import dataclass
from typing import Any

from crucible_trace_otel.record._values import printable
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv.enums import Result

__all__ = ["EXCEPTION", "Outcome", "exception_event", "hand_over", "is_recorded", "outcome_of"]

EXCEPTION = "exception"
_MARK = "__crucible_recorded_for__"


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an operation ended."""

    result: str
    error_type: str | None = None
    description: str = ""

    @property
    def is_error(self) -> bool:
        """Whether its span gets the status ERROR."""
        return self.error_type is not None


_SUCCEEDED = Outcome(Result.SUCCESS)


def outcome_of(error: BaseException | str | None) -> Outcome:  # noqa: PLR0911 - one line a case
    """The outcome that `error` means.

    A cancelled task and a generator closed early are no errors, and no success either; Ctrl-C and an exit code
    are errors, so that a run stopped by them never looks successful.
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return _SUCCEEDED
    if isinstance(error, str):
        return Outcome(Result.ERROR, "_OTHER", printable(error))
    if isinstance(error, (GeneratorExit, *_of_asyncio("CancelledError"))):
        return Outcome(Result.CANCELLATION)
    if isinstance(error, KeyboardInterrupt):
        return Outcome(Result.CANCELLATION, type_name(error), "interrupted from the keyboard")
    if isinstance(error, SystemExit):
        return Outcome(Result.ERROR, type_name(error), f"exit code {printable(error.code)}")
    if isinstance(error, (TimeoutError, *_of_asyncio("TimeoutError"))):
        return Outcome(Result.TIMEOUT, type_name(error), _sentence(error))
    return Outcome(Result.ERROR, type_name(error), _sentence(error))


def type_name(error: BaseException) -> str:
    """The exception's class as OpenTelemetry names it: without a module for the built-in ones."""
    kind = type(error)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"


def exception_event(error: BaseException) -> tuple[str, dict[str, Any]]:
    """Name and attributes of the event that OpenTelemetry has for an exception."""
    return EXCEPTION, {
        attr.EXCEPTION_TYPE: type_name(error),
        attr.EXCEPTION_MESSAGE: printable(error),
        attr.EXCEPTION_STACKTRACE: "".join(traceback.format_exception(type(error), error, error.__traceback__)),
    }


def is_recorded(error: BaseException, event_id: str) -> bool:
    """Whether an operation inside `event_id` has recorded `error` on its way here."""
    return bool(vars(error).get(_MARK) == event_id)


def hand_over(error: BaseException, outer_event_id: str | None) -> None:
    """Note that `error` is recorded for the operation it reaches next; with None, leave no trace of us on it."""
    if outer_event_id is None:
        vars(error).pop(_MARK, None)
    else:
        vars(error)[_MARK] = outer_event_id


def _of_asyncio(name: str) -> tuple[type[BaseException], ...]:
    """An exception class of asyncio, if the program uses asyncio: importing it would cost more than all of this."""
    exceptions = sys.modules.get("asyncio.exceptions")
    return () if exceptions is None else (getattr(exceptions, name),)


def _sentence(error: BaseException) -> str:
    return f"{type(error).__qualname__}: {printable(error)}".removesuffix(": ")
