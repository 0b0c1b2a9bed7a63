"""Tokens and money, summed up from each call of a language model to the operations around it.

A call is added to the innermost operation that goes on; an operation that ends hands its sum on to the next. So
each addition takes the same time, however deep a call lies and however many there were.
"""

import os
import threading
from typing import TYPE_CHECKING, Any, Final

from crucible_trace_otel.record._guard import guarded

if TYPE_CHECKING:
    from crucible_trace_otel.record._operation import Operation
    from crucible_trace_otel.tokens import UsageSum

__all__ = ["add_to", "summed_up"]

_HANDED_ON: Final = object()
"""In place of a sum: the operation is ending, and what comes now is for what is around it."""
_lock = threading.RLock()  # a signal handler may end an operation while one ends


def add_to(operation: "Operation | None", amount: "UsageSum") -> None:
    """Add `amount` to the sum of `operation`, or where that has ended, of the nearest one around it that has not."""
    with _lock:
        while operation is not None and (operation.ended or operation._spent is _HANDED_ON):
            operation = operation.outer
        if operation is not None:
            operation._spent = amount if operation._spent is None else operation._spent + amount


def _unknown(_: object) -> dict[str, Any]:
    return {}


@guarded(_unknown)
def summed_up(operation: "Operation") -> dict[str, Any]:
    """The sum of what lies inside `operation`, which ends, as attributes; from now on it belongs to what is around."""
    with _lock:
        inside, operation._spent = operation._spent, _HANDED_ON
    if inside is None or inside is _HANDED_ON:
        return {}
    add_to(operation.outer, inside)
    from crucible_trace_otel.record._usage import attributes_of  # noqa: PLC0415 - loaded when needed

    return attributes_of(inside)


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - another thread of the parent may hold it
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
