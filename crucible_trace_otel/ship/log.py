"""What the shipper says: a small file beside the journal, a line a minute at most for a trouble that goes on."""

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.layout import LOG

__all__ = ["ShipperLog", "log_of", "place_of"]

LONGEST: Final = 256 << 10
_LONGEST_LINE = 1_000
_MINUTE_S, _HOUR_S, _DAY_S = 60.0, 3600.0, 86_400.0
_OFTEN_A_DAY = 20
_MOST_KINDS = 1_000
_SHORT_SECRET = 4
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def log_of(directory: Path) -> Path:
    """The log of those who send the journal in `directory`."""
    return directory / LOG


def place_of(error: BaseException) -> str:
    """What was raised and where, without its words: those may hold what was recorded."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    where = f" in {Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace is not None else ""
    return type(error).__name__ + where


class ShipperLog:
    """Appends lines to `shipper.log`, readable by its owner only; at 256 KiB it becomes `shipper.log.1`.

    Args:
        directory: Of the journal.
        secrets: Texts that never stand in a line, such as the values of headers.
    """

    def __init__(self, directory: Path, secrets: Iterable[str] = ()) -> None:
        self._path = log_of(directory)
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)
        self._said: dict[str, tuple[float, float]] = {}

    def say(self, kind: str, text: str) -> bool:
        """Add a line, unless one of this kind was added within the last minute; whether it was added. Never raises.

        Of a kind that goes on for longer than an hour there are 20 lines a day.
        """
        now = time.monotonic()
        first, last = self._said.get(kind, (now, -_DAY_S))
        if now - last > _DAY_S / _OFTEN_A_DAY * 2:
            first = now  # it had stopped
        if now - last < _interval(now - first):
            return False
        if kind in self._said or len(self._said) < _MOST_KINDS:
            self._said[kind] = first, now
        self._add(text)
        return True

    def end(self, kinds: Iterable[str], text: str) -> None:
        """Add a line which says that what was told by lines of these kinds is over, if any was. Never raises.

        It counts as one of theirs: the next one of them comes an interval later.
        """
        now, is_told = time.monotonic(), False
        for kind in kinds:
            first, last = self._said.get(kind, (now, now))
            self._said[kind] = first, last + _interval(now - first)
            is_told = True
        if is_told:
            self._add(text)

    def plain(self, text: str) -> str:
        """`text` as it would stand in a line."""
        for secret in self._secrets:
            for shown in (secret, repr(secret)[1:-1]):
                if len(shown) >= _SHORT_SECRET or text == shown:
                    text = text.replace(shown, "***")
        return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST_LINE]

    def _add(self, text: str) -> None:
        line = f"{time.strftime(_TIME, time.gmtime())} {os.getpid()} {self.plain(text)}\n"
        with suppress(Exception):  # a trouble that cannot be told of must not become another
            fd = files.open_append(self._path)
            try:
                if os.fstat(fd).st_size > LONGEST:
                    files.rename(self._path, self._path.with_name(self._path.name + ".1"))
                    os.close(fd)
                    fd = files.open_append(self._path)
                files.write_all(fd, line.encode("utf-8", "replace"))
            finally:
                os.close(fd)


def _interval(going_on_s: float) -> float:
    """Seconds from one line of a kind to the next, where it has gone on for so long."""
    return _MINUTE_S if going_on_s < _HOUR_S else _DAY_S / _OFTEN_A_DAY
