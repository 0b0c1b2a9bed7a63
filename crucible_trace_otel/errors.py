"""What goes wrong, and how it is said.

Configuring and reading raise; recording never does, it warns once and marks the record.

    CrucibleError
    ├── ConfigurationError   an argument that cannot be used, of `configure()` or of a run
    ├── StoreError           a place that holds no readable traces
    ├── NotFoundError        no trace or run by that name
    ├── FormatError          bytes or text that are not what they should be
    └── MissingPackageError  a package that only some need is not installed
"""

import contextlib
import logging

__all__ = [
    "ConfigurationError",
    "CrucibleError",
    "FormatError",
    "MissingPackageError",
    "NotFoundError",
    "StoreError",
    "warn_once",
]

logger = logging.getLogger("crucible_trace_otel")

_MOST_OF_A_KIND = 20
_LONGEST = 2_000  # characters: what a warning names may be of any size
_said: dict[str, set[str]] = {}


class CrucibleError(Exception):
    """Base of everything this package raises."""


class ConfigurationError(CrucibleError, ValueError):
    """An argument, most often of `configure()`, cannot be used; the message names it, its value and the way out."""


class StoreError(CrucibleError):
    """A path holds no traces that can be read."""


class NotFoundError(CrucibleError, LookupError):
    """No stored run or trace answers to the name asked for."""


class FormatError(CrucibleError, ValueError):
    """Bytes or text do not have the form they claim."""


class MissingPackageError(CrucibleError, ImportError):
    """What was asked for needs a package that is not installed; the message names the extra that brings it."""


def warn_once(key: str, message: str, *, exc_info: bool = False) -> None:
    """Log `message` as a warning the first time `key` is seen in this process; never raises.

    Recording reports its troubles through here: a training loop that makes the same mistake a million times gets one
    line, and one that makes a million different ones of a kind (the first word of `key`) gets twenty.
    """
    of_this_kind = _said.setdefault(key.partition(" ")[0], set())
    if key in of_this_kind or len(of_this_kind) > _MOST_OF_A_KIND:
        return
    of_this_kind.add(key)
    if len(of_this_kind) > _MOST_OF_A_KIND:
        message = "There are more warnings of the last kind; they are not shown."
    message = message if len(message) <= _LONGEST else f"{message[:_LONGEST]}…"
    with contextlib.suppress(Exception):  # a broken log handler of the host must not reach the recorder
        logger.warning("%s", message, exc_info=exc_info)
