"""The process that sends: `python -I -S <this file> --config-fd N`, started by `launch`.

It loads nothing but the standard library and the parts of this package that need no more.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

_PACKAGE = "crucible_trace_otel"
_OPTION = "--config-fd"
_ARGUMENTS = 3


def _make_package_known() -> None:
    """Let parts of the package be imported without its `__init__`, which loads OpenTelemetry."""
    folder = Path(__file__).resolve().parents[1]
    sys.path[:] = [entry for entry in sys.path if entry != str(folder / "ship")]
    sys.path.append(str(folder.parent))
    if _PACKAGE not in sys.modules:
        package = ModuleType(_PACKAGE)
        package.__path__ = [str(folder)]
        sys.modules[_PACKAGE] = package


def _read_settings(fd: int) -> dict[str, Any]:
    """One line of JSON: the other end may have been inherited by processes that never close it."""
    with os.fdopen(fd, "rb") as pipe:
        settings: dict[str, Any] = json.loads(pipe.readline())
    return settings


def _run(settings: dict[str, Any]) -> None:
    from crucible_trace_otel.ship.destination import Destination  # noqa: PLC0415 - known only now
    from crucible_trace_otel.ship.loop import Shipper  # noqa: PLC0415

    destination = Destination.from_json(settings["destination"])
    sys.path.extend(destination.paths)
    stop = threading.Event()
    signal.pthread_sigmask(signal.SIG_SETMASK, ())  # what the starting thread had blocked was inherited
    for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)  # those are for the program at the terminal
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    Shipper(
        Path(settings["directory"]),
        destination,
        linger_s=settings["linger_s"],
        limit_bytes=settings["limit_bytes"],
        owner=settings["owner"],
        since=settings["since"],
    ).run(stop)


def main() -> None:
    """Send until nothing is left to do."""
    if len(sys.argv) != _ARGUMENTS or sys.argv[1] != _OPTION or not sys.argv[2].isdigit():
        sys.exit(f"This file is started by {_PACKAGE} itself. To send by hand: crucible-trace ship")
    _make_package_known()
    _run(_read_settings(int(sys.argv[2])))
    os._exit(0)  # nothing is to be flushed, and a request that hangs must not be waited for


if __name__ == "__main__":
    main()
