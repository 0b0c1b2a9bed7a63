"""`make soak`: 200 kills, 1,000 forks, a run of a million steps, 10 million spans into a small journal.

SOAK=0.1 does a tenth of each.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from tests.soak.checks import flood, forks, growth, kills

KILLS_AT_A_TIME = 10
LIMIT_MIB = 64


def main() -> int:
    """Run them all; 1 where something was lost."""
    scale = float(os.environ.get("SOAK", "1"))
    checks = [
        *[lambda place: kills(place, KILLS_AT_A_TIME)] * max(1, round(20 * scale)),
        lambda place: forks(place, max(10, round(1_000 * scale))),
        lambda place: growth(place, max(1_000, round(100_000 * scale))),
        lambda place: flood(place, max(10_000, round(10_000_000 * scale)), LIMIT_MIB, say),
        lambda place: flood(place, max(10_000, round(1_000_000 * scale)), LIMIT_MIB, say, has_endpoint=False),
    ]
    failed = 0
    for check in checks:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="soak-") as name:
            try:
                said = check(Path(name) / "journal")
            except AssertionError as error:
                failed += 1
                said = f"FAILED: {error}"
        say(f"{said} ({time.monotonic() - began:.0f} s)")
    return int(bool(failed))


def say(line: str) -> None:
    """Progress, at once."""
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
