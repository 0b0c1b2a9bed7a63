"""How sending goes: in the log what is worth a line, in a small file beside the lease what holds just now."""

import json
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.layout import STATE
from crucible_trace_otel.journal.liveness import identity
from crucible_trace_otel.ship.answers import Answer, Outcome
from crucible_trace_otel.ship.lease import holder_of, lease_of
from crucible_trace_otel.ship.log import ShipperLog

__all__ = ["PAUSED", "SENDING", "WAITING", "State", "Telling", "state_of"]

SENDING: Final = "sending"
"""What was sent last was taken, or turned down for good."""
WAITING: Final = "waiting"
"""The collector does not take spans now: they are sent again."""
PAUSED: Final = "paused"
"""It is not there, or lets nobody in: it is tried at times."""
_STATES: Final = {Outcome.RETRY: WAITING, Outcome.PAUSED: PAUSED}
_WHOSE = ("pid", "started")
_MINUTE_S, _HOUR_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class State:
    """How sending goes."""

    state: str
    """`sending`, `waiting` or `paused`."""
    since_ns: int
    """Since when, nanoseconds since 1970."""
    said: str = ""
    """Why it does not go on, in a sentence without secrets."""


def state_of(directory: Path, host: str | None = None) -> State | None:
    """How sending goes for who has the lease now; None where nobody has, or nothing went wrong yet. Never raises."""
    holder = holder_of(directory, host)
    try:
        found = json.loads(files.read_from(_file_of(directory, host)))
        if not holder or any(found.pop(key) != holder.get(key) for key in _WHOSE):
            return None  # it was said by one that is gone
        state = State(**found)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    is_sound = type(state.since_ns) is int and isinstance(state.state, str) and isinstance(state.said, str)
    return state if is_sound else None


def _file_of(directory: Path, host: str | None = None) -> Path:
    return lease_of(directory, host).with_suffix(STATE)


class Telling:
    """Tells how sending to one destination goes. Never raises.

    Args:
        directory: Of the journal.
        to: The destination, as it may be printed.
        log: For the lines.
    """

    def __init__(self, directory: Path, to: str, log: ShipperLog) -> None:
        self._file = _file_of(directory)
        self._to = to
        self._log = log
        self._away_since: float | None = None
        self._trouble: State | None = None
        self._told: set[str] = set()

    def heard(self, answer: Answer, waiting: int) -> None:
        """Take in an answer.

        Args:
            answer: Of the collector.
            waiting: Bytes that were to be sent when it came.
        """
        said = f": {answer.said}" if answer.said else ""
        if answer.outcome is Outcome.RETRY:
            self._wait(answer, "retry", f"{self._to} does not take spans now; all are kept and sent again{said}.")
        elif answer.outcome is Outcome.PAUSED:
            text = f"{self._to} is not there, or does not let us in; all is kept, and tried at times{said}."
            self._wait(answer, "paused", text)
        else:
            if self._away_since is not None:
                self._go_on(time.monotonic() - self._away_since, waiting)
            if answer.rejected:
                text = f"{self._to} refused {answer.rejected} spans; they stay in the journal{said}."
                self._log.say("refused", text)

    def _wait(self, answer: Answer, kind: str, text: str) -> None:
        if self._log.say(kind, text):
            self._told.add(kind)
        if self._away_since is None:
            self._away_since = time.monotonic()
        before = self._trouble
        since_ns = before.since_ns if before else time.time_ns()
        self._trouble = State(_STATES[answer.outcome], since_ns, self._log.plain(text))
        if self._trouble != before:
            self._write(self._trouble)

    def _go_on(self, away_s: float, waiting: int) -> None:
        """Say that sending works again, where it was said that it does not."""
        text = f"{self._to} is back after {_duration(away_s)}; {_size(waiting)} had waited."
        self._log.end(self._told, text)
        self._away_since, self._trouble = None, None
        self._told.clear()
        self._write(State(SENDING, time.time_ns()))

    def _write(self, state: State) -> None:
        us = identity()
        with suppress(OSError), files.written_whole(self._file) as file:
            file.write(json.dumps({**{key: us[key] for key in _WHOSE}, **asdict(state)}).encode())


def _duration(seconds: float) -> str:
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s"
    return f"{seconds / _MINUTE_S:.0f} min" if seconds < _HOUR_S else f"{seconds / _HOUR_S:.1f} h"


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e6 else f"{count / 1e3:.1f} kB"  # noqa: PLR2004
