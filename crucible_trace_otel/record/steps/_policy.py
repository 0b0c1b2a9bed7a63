"""How the windows of a training run are made, and which of its steps are abnormal: what a user may choose."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from crucible_trace_otel.errors import ConfigurationError, warn_once
from crucible_trace_otel.journal.slots import MOST_ROWS
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._values import printable

__all__ = ["AbnormalStep", "WindowPolicy", "policy_of"]

_SWITCHES = ("compact", "plain_arrays", "keep_device_scalars")


@dataclass(frozen=True, slots=True)
class AbnormalStep:
    """A step that was abnormal, as `on_abnormal=` is given it."""

    step: int
    """Its index."""
    kind: str
    """`nan`, `infinity`, `spike`, `slow` or `skipped`."""
    column: str | None = None
    """Which number was abnormal; None where it was none of them."""
    value: float | None = None
    """That number; of a slow step the seconds since the one before."""
    expected: float | None = None
    """The mean of the recent values of a number that has a spike; of a slow step the median in seconds."""
    reason: str | None = None
    """Why it was skipped, where that was said."""
    rows: tuple[Mapping[str, Any], ...] = ()
    """Up to ten rows of its window: those before it, and its own as the last."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowPolicy:
    """How the windows of a training run are made: `training_run(..., windows=WindowPolicy(rows=50))`.

    Args:
        rows: After how many rows a window is closed, 1 to 200; fewer where rows are so wide that its place is full.
        seconds: After how many seconds it is closed, at the next row.
        spike_sigma: A loss is a spike where it is so many standard deviations above its mean over the last few
            thousand steps, the deviation being at least a hundredth of the mean. None looks for no spikes.
        slow_factor: A step is slow where it comes so many times the median time after the one before. None looks for
            no slow steps.
        slow_seconds: No step that took less is slow, whatever the others took: a machine that is shared stands still
            now and then.
        on_abnormal: Called with an `AbnormalStep` for each, on the thread that recorded it and after it was recorded.
            An `Exception` it raises is one warning. Abnormal steps that it records itself are not given to it.
        compact: Pack the rows by zlib, integers as differences, where that makes them smaller.
        plain_arrays: Add the values of each number as an array of doubles too, for what draws arrays, as long as
            the event has room for attributes.
        keep_device_scalars: Hold a scalar that lies on an accelerator, and read it when its window is closed, which
            waits for the device then. Otherwise its value is not recorded, with one warning.

    Raises:
        ConfigurationError: A value cannot be used.
    """

    rows: int = MOST_ROWS
    seconds: float = 10.0
    spike_sigma: float | None = 6.0
    slow_factor: float | None = 10.0
    slow_seconds: float = 1.0
    on_abnormal: Callable[[AbnormalStep], object] | None = None
    compact: bool = False
    plain_arrays: bool = False
    keep_device_scalars: bool = False

    def __post_init__(self) -> None:
        if type(self.rows) is not int or not 1 <= self.rows <= MOST_ROWS:
            raise _unusable("rows", self.rows, f"an integer from 1 to {MOST_ROWS}")
        for name in ("seconds", "slow_seconds"):
            if not _is_positive(getattr(self, name)):
                raise _unusable(name, getattr(self, name), "a number of seconds above zero")
        for name in ("spike_sigma", "slow_factor"):
            if getattr(self, name) is not None and not _is_positive(getattr(self, name)):
                raise _unusable(name, getattr(self, name), "a number above zero, or None")
        if self.on_abnormal is not None and not callable(self.on_abnormal):
            raise _unusable("on_abnormal", self.on_abnormal, "something to call, or None")
        for name in _SWITCHES:
            if type(getattr(self, name)) is not bool:
                raise _unusable(name, getattr(self, name), "True or False")


def _is_positive(value: object) -> bool:
    return type(value) in (int, float) and 0 < value < math.inf  # type: ignore[operator]


def _unusable(name: str, value: object, wanted: str) -> ConfigurationError:
    return ConfigurationError(f"{name}={printable(value)} cannot be used: give {wanted}.")


_DEFAULT = WindowPolicy()


@guarded(lambda *_: _DEFAULT)
def policy_of(given: object) -> WindowPolicy:
    """`given`, or the default where it is None; anything else is one warning."""
    if isinstance(given, WindowPolicy):
        return given
    if given is not None:
        warn_once(
            f"windows {type(given).__qualname__}",
            f"windows= takes a WindowPolicy, not {printable(given)}: the default is used.",
        )
    return _DEFAULT
