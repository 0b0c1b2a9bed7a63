"""`make bench`: what recording costs, as ratios to the plain OpenTelemetry SDK.

Prints tables and writes benchmarks/results.json. Ends with 1 when something that was recorded cannot be read back.
`python benchmarks/run.py --training` makes the lines of training alone, `--serving` those of inferences; both write
nothing.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import loops
import timing
import training
from encoding import encoding
from recording import recording
from sending import Sent, sending
from serving import serving
from starting import starting
from timing import Comparison
from unrecorded import sampled_out, unconfigured

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


def figure_table(figures: Sequence[loops.Figure]) -> str:
    """What is no ratio, as a Markdown table."""
    lines = ["| what | ours | plain SDK |", "| --- | ---: | ---: |"]
    for each in figures:
        ours, plain = (
            "" if figure is None else f"{round(figure, 1):,}".removesuffix(".0") + f" {each.unit}"
            for figure in (each.figure, each.plain)
        )
        lines.append(f"| {each.what} | {ours} | {plain} |")
    return "\n".join(lines)


def main() -> int:
    """Measure, print, store."""
    given = _arguments()
    timing.ROUNDS = given.rounds
    for name in os.environ:
        if name.startswith(("OTEL_", "CRUCIBLE_")):
            del os.environ[name]
    began = time.monotonic()
    counts: dict[str, int] = {}
    sent: list[Sent] = []
    results = unconfigured()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        directory = Path(name)
        try:
            if given.serving:
                print(table(serving(directory)))
                return 0
            results += training.training(directory, given.steps, given.paced)
            figures = loops.loops(directory, given.steps, given.many)
            if not given.training:
                recorded, counts = recording(directory / "journal")
                results += [*recorded, *serving(directory)]
        except ValueError as error:
            print(f"What was recorded is not complete: {error}.", file=sys.stderr)
            return 1
    if not given.training:
        results += [*encoding(), *starting()]
        sent = sending()
    results += sampled_out()
    conditions = {
        **counts,
        "python": platform.python_version(),
        "opentelemetry_sdk": version("opentelemetry-sdk"),
        "cores": os.cpu_count(),
        "rounds": timing.ROUNDS,
        "seconds": round(time.monotonic() - began, 1),
    }
    print("\n\n".join([table(results), figure_table(figures), *([way_table(sent)] if sent else [])]))
    print("\n" + ", ".join(f"{name} {value}" for name, value in conditions.items()))
    if not given.training:
        rows = [each.row() for each in [*results, *figures, *sent]]
        RESULTS.write_text(json.dumps({"conditions": conditions, "results": rows}, indent=2))
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--training", action="store_true", help="only the lines of training; nothing is written")
    parser.add_argument("--serving", action="store_true", help="only the lines of inferences; nothing is written")
    parser.add_argument("--steps", type=int, default=training.STEPS, help="of a run (default: %(default)s)")
    parser.add_argument("--many", type=int, default=loops.MANY, help="of the long run (default: %(default)s)")
    parser.add_argument("--paced", type=int, default=training.PACED, help="of a millisecond (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=timing.ROUNDS, help="of what is compared (default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
