"""Scalars that lie on an accelerator. Reading one makes the host wait for all the device was told to do before."""

import math
from collections.abc import Sequence
from typing import Any

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._values import Repairs, printable
from crucible_trace_otel.semconv.enums import RepairReason

__all__ = ["Held", "held", "read_held", "without_held"]


class Held:
    """A scalar on an accelerator that is read when its window is closed."""

    __slots__ = ("_scalar",)

    def __init__(self, scalar: Any) -> None:
        self._scalar = scalar.detach() if hasattr(scalar, "detach") else scalar  # what led to it may be let go

    def read(self) -> Any:
        """Its value, once the device has it.

        Raises:
            Exception: Whatever the library it is of raises.
        """
        return self._scalar.item()


def held(name: str, value: Any, repairs: Repairs, *, keep: bool) -> Any:
    """A scalar on an accelerator to be read later, or what is recorded in its place; any other value as it is."""
    try:
        device = str(getattr(value, "device", "cpu"))
        if device.partition(":")[0] == "cpu" or not hasattr(value, "item"):
            return value
    except Exception as error:  # noqa: BLE001 - any object may be given, and its attributes may do anything
        let_through(error)
        return value
    if keep and math.prod(getattr(value, "shape", ())) == 1:
        return Held(value)
    repairs[name] = RepairReason.ON_DEVICE
    warn_once(
        f"on_device {name}",
        f"{name!r} lies on {device}: reading it would make each step wait for the device, so its value is not "
        "recorded. Give its .item() now and then, or use WindowPolicy(keep_device_scalars=True).",
    )
    shape = tuple(getattr(value, "shape", ()))
    return f"{type(value).__name__} of {getattr(value, 'dtype', '?')}, shape {shape}"


def without_held(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """A column or row as far as it is known: None for what is not read yet."""
    return tuple([None if type(value) is Held else value for value in values])


def read_held(values: Sequence[Any], name: str, repairs: Repairs) -> Sequence[Any]:
    """A column with what was held, read; itself where nothing was."""
    if not any(type(value) is Held for value in values):
        return values
    return tuple([_read(value, name, repairs) if type(value) is Held else value for value in values])


def _read(value: Held, name: str, repairs: Repairs) -> Any:
    try:
        found = value.read()
        return float(found) if type(found) is bool else found
    except Exception as error:  # noqa: BLE001 - whatever the library says, or the device: it may be lost
        repairs[name] = RepairReason.UNPRINTABLE
        return printable(error)
