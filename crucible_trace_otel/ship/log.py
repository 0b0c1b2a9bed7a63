"""What the shipper says: a small file beside the journal, a line a minute at most for a trouble that goes on."""

import calendar
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Final

from crucible_trace_otel.journal import files
from crucible_trace_otel.journal.layout import LOG

__all__ = ["ShipperLog", "last_said", "log_of"]

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


def last_said(directory: Path, since: float) -> str:
    """The last line of the log without time and process, where it was written at or after `since`, seconds since 1970.

    Empty where there is none. Never raises.
    """
    try:
        line = files.read_from(log_of(directory)).decode("utf-8", "replace").rstrip("\n").rpartition("\n")[2]
        said_at, _, text = line.split(" ", 2)
        return text if calendar.timegm(time.strptime(said_at, _TIME)) >= int(since) else ""
    except (OSError, ValueError):
        return ""


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

    def say(self, kind: str, text: str) -> None:
        """Add a line, unless one of this kind was added within the last minute. Never raises.

        Of a kind that goes on for longer than an hour there are 20 lines a day.
        """
        now = time.monotonic()
        first, last = self._said.get(kind, (now, -_DAY_S))
        if now - last > _DAY_S / _OFTEN_A_DAY * 2:
            first = now  # it had stopped
        if now - last < (_MINUTE_S if now - first < _HOUR_S else _DAY_S / _OFTEN_A_DAY):
            return
        if kind in self._said or len(self._said) < _MOST_KINDS:
            self._said[kind] = first, now
        self._write(f"{time.strftime(_TIME, time.gmtime())} {os.getpid()} {self._plain(text)}\n")

    def _plain(self, text: str) -> str:
        for secret in self._secrets:
            for shown in (secret, repr(secret)[1:-1]):
                if len(shown) >= _SHORT_SECRET or text == shown:
                    text = text.replace(shown, "***")
        return "".join(each if each.isprintable() else " " for each in text)[:_LONGEST_LINE]

    def _write(self, line: str) -> None:
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
