"""What comes after the end of the operation it belongs to: kept on the nearest one around it that goes on."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events

if TYPE_CHECKING:
    from crucible_trace_otel.record._operation import Operation

__all__ = ["as_late", "is_kept", "place_of", "warn_late"]

_MOST = 32  # on one operation: what is late must not push out, at the SDK's limit, what was in time
_TOO_MANY = "records that came after the end of what they belong to"


def is_kept(operation: "Operation") -> bool:
    """Whether what is recorded on `operation` now is kept: there, or after its end perhaps by what is around it."""
    return operation.ended or operation._records()


def warn_late(operation: "Operation") -> None:
    """Say once that `operation` has ended, and what keeps what is recorded on it afterwards."""
    _place_of_late(operation)


def place_of(operation: "Operation") -> "Operation | None":
    """Where a record of now belongs: on `operation`, after its end on what is around it. None where it is not kept."""
    if operation.ended:
        return _place_of_late(operation)
    return operation if operation._records() else None


def _place_of_late(operation: "Operation") -> "Operation | None":
    """The nearest operation around `operation`, which has ended, that goes on; None where there is none.

    Says once that it has ended, or that it is another process's: a forked child has a copy of its parent's.
    """
    around = operation.outer
    while around is not None and not (around.is_recording and around._is_here()):
        around = around.outer
    if operation.span_context.is_valid:
        name = f"{operation.operation_name} {operation.about!r}"
        kept = "not kept" if around is None else f"kept on {around.operation_name} {around.about!r}"
        why = "has ended: what is recorded on it afterwards"
        if not operation._is_here():
            why = "was begun before a fork, by another process: what this one records on it, but for steps,"
        warn_once(f"ended {name}", f"{name} {why} is {kept}.")
    return around


def as_late(
    operation: "Operation", name: str, attributes: Mapping[str, Any]
) -> tuple["Operation", str, dict[str, Any]]:
    """An event of an operation that has ended as one of the operation that keeps it; its own where none does.

    Args:
        operation: It has ended.
        name: Of the event; empty for attributes alone.
        attributes: Of the event.
    """
    around = _place_of_late(operation)
    if around is None:
        return operation, name, {}
    around.late += 1  # what came after the end of operations inside it
    if around.late > _MOST:
        around.set({attr.CRUCIBLE_DROPPED_COUNT: around.late - _MOST, attr.CRUCIBLE_DROPPED_REASON: _TOO_MANY})
        return operation, name, {}
    known = {attr.CRUCIBLE_LATE_EVENT_ID: operation.event_id, attr.CRUCIBLE_LATE_NAME: name or None}
    return around, events.RECORDED_LATE, {attr.CRUCIBLE_ABOUT: operation.about, **attributes, **known}
