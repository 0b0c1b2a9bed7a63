"""A progress bar over a loader: drawn by tqdm or by rich, on stderr, honest where nobody knows how many there are."""

import time
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Protocol

from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._guard import guarded
from crucible_trace_otel.record._values import printable

__all__ = ["Bar", "progress_bar"]

_REDRAW_S = 0.1


class Bar(Protocol):
    """What a loop tells its progress to."""

    def advance(self) -> None:
        """One batch more."""

    def close(self) -> None:
        """The loop is over."""


def _no_bar(*_: object) -> Bar | None:
    return None


@guarded(_no_bar)
def progress_bar(asked: object, total: int | None, about: str) -> Bar | None:
    """The bar that was asked for: `"tqdm"`, `"rich"`, or True for tqdm where it is installed, else rich."""
    if asked is None or asked is False:
        return None
    if asked not in (True, "tqdm", "rich"):
        warn_once(
            f"progress {printable(asked)}",
            f"progress={printable(asked)!r} is no progress bar: it is None, True, 'tqdm' or 'rich'. None is shown.",
        )
        return None
    has_tqdm = asked != "rich" and find_spec("tqdm") is not None
    if asked == "tqdm" and not has_tqdm:
        warn_once("progress tqdm", "progress='tqdm': tqdm is not installed; the bar of rich is shown.")
    return _Tqdm(total, about) if has_tqdm else _Rich(total, about)


class _Tqdm:
    def __init__(self, total: int | None, about: str) -> None:
        self._bar: Any = import_module("tqdm").tqdm(total=total, desc=about)

    def advance(self) -> None:
        self._bar.update()

    def close(self) -> None:
        self._bar.close()


class _Rich:
    """Redrawn by the loop itself, ten times a second: no thread."""

    def __init__(self, total: int | None, about: str) -> None:
        from rich.console import Console  # noqa: PLC0415 - loaded when needed
        from rich.markup import escape  # noqa: PLC0415
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn  # noqa: PLC0415

        columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
        self._progress = Progress(
            *columns,
            console=Console(stderr=True),
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._progress.start()
        self._task = self._progress.add_task(escape(about), total=total)
        self._total, self._done, self._drawn = total, 0, 0.0

    def advance(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._drawn >= _REDRAW_S:
            self._draw()
            self._drawn = now

    def close(self) -> None:
        self._draw()
        self._progress.stop()

    def _draw(self) -> None:
        if self._total is not None and self._done > self._total:  # there are more than was said
            self._total = None
            self._progress.tasks[0].total = None
        self._progress.update(self._task, completed=self._done, refresh=True)
