"""`make bench`: what recording costs, as ratios to the plain OpenTelemetry SDK.

Prints a table and writes benchmarks/results.json. Ends with 1 when something that was recorded cannot be read back.
"""

import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from encoding import encoding
from recording import recording, unconfigured
from sending import Sent, sending
from starting import starting
from timing import ROUNDS, Comparison

RESULTS = Path(__file__).with_name("results.json")


def table(results: Sequence[Comparison]) -> str:
    """The results as a Markdown table."""
    lines = [
        "| what | ours, us | ratio (least to most) | to | reference, us | read back |",
        "| --- | ---: | ---: | --- | ---: | --- |",
    ]
    for row in (result.row() for result in results):
        ratio = f"**{row['ratio']:.2f}** ({row['ratio_least']:.2f} to {row['ratio_most']:.2f})"
        lines.append(
            f"| {row['what']} | {row['ours_us']:,} | {ratio} | {row['reference']} | {row['reference_us']:,} "
            f"| {row['kept'] or ''} |"
        )
    return "\n".join(lines)


def way_table(results: Sequence[Sent]) -> str:
    """What sending gave, as a Markdown table."""
    lines = [
        "| case | way | caller's CPU | all CPU | until acknowledged | arrived | MiB | exit, s | `end()` p99, us |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in (result.row() for result in results):
        ratios = " | ".join(
            f"{row[name]:.2f} ({row[f'{name}_least']:.2f} to {row[f'{name}_most']:.2f})"
            for name in ("caller_us", "total_us", "acknowledged_s")
        )
        lines.append(
            f"| {row['case']} | {row['way']} | {ratios} | {row['arrived']:,.0f} | {row['memory_mib']:.0f} "
            f"| {row['exit_s']:.2f} | {row['p99_us'] or ''} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Measure, print, store."""
    for name in os.environ:
        if name.startswith(("OTEL_", "CRUCIBLE_")):
            del os.environ[name]
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as directory:
        try:
            before = unconfigured()
            recorded, counts = recording(Path(directory) / "journal")
        except ValueError as error:
            print(f"What was recorded is not complete: {error}.", file=sys.stderr)
            return 1
    results = [before, *recorded, *encoding(), *starting()]
    sent = sending()
    conditions = {
        **counts,
        "python": platform.python_version(),
        "opentelemetry_sdk": version("opentelemetry-sdk"),
        "cores": os.cpu_count(),
        "rounds": ROUNDS,
        "seconds": round(time.monotonic() - began, 1),
    }
    print(table(results) + "\n\n" + way_table(sent))
    print("\n" + ", ".join(f"{name} {value}" for name, value in conditions.items()))
    RESULTS.write_text(
        json.dumps({"conditions": conditions, "results": [each.row() for each in [*results, *sent]]}, indent=2)
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
