"""The loss curve of a recorded run, from the journal into a picture.

    python examples/plot_loss.py [RUN] [--journal .crucible] [--column NAME] [--output loss.png]

RUN is what `crucible-trace show` takes: a name, a run id, or `latest`, the default. It needs matplotlib:
`pip install "crucible_trace_otel[plot]"`. Each training run has a line of its own; a step that a later attempt at the
run did again is drawn once, as that did it. Red crosses stand where a value is not finite.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

import crucible_trace_otel as crucible
from crucible_trace_otel.renderers.words import leading


def main() -> str | None:
    """Draw; what stood in the way, or None."""
    parser = argparse.ArgumentParser(description="Draw a number of the steps of a recorded run.")
    parser.add_argument("run", nargs="?", default="latest", help="its name or run id (default: the latest)")
    parser.add_argument("--journal", default=".crucible", help="the journal directory (default: .crucible)")
    parser.add_argument("--column", help="what to draw instead of the loss")
    parser.add_argument("--output", type=Path, default=Path("loss.png"), help="the picture (default: loss.png)")
    arguments = parser.parse_args()
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        return f"This needs matplotlib ({error}): pip install 'crucible_trace_otel[plot]'."
    try:
        trace = crucible.open_store(arguments.journal).get(arguments.run)
    except crucible.CrucibleError as error:
        return str(error)
    steps = crucible.step_rows(trace).latest()
    drawn = [name for name, column in steps.series.items() if column.kind != "O"]
    column = arguments.column or leading(name for name in drawn if name not in ("step", "time_ns", "epoch"))
    if column not in drawn:
        return f"{trace.name} has no number {column!r}." if column else f"{trace.name} has no numbers to draw."
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    draw(figure.add_subplot(title=text(trace.name), xlabel="step", ylabel=text(column)), steps, column)
    figure.savefig(arguments.output, dpi=150)
    print(f"{len(steps):,} steps of {trace.name} are drawn in {arguments.output}.")
    return None


def draw(axes: Any, steps: Any, column: str) -> None:
    """A line for each attempt, and a cross at the bottom for each of its values that is not finite."""
    import numpy as np

    drawn = steps.series[column]
    values = np.asarray(drawn.values, float)
    rows = np.arange(len(values)) if drawn.rows is None else np.asarray(drawn.rows)  # those that have a value
    step = np.asarray(steps.series["step"].values)[rows]
    for attempt in steps.attempts:
        own = (attempt.rows.start <= rows) & (rows < attempt.rows.stop)
        finite, odd = own & np.isfinite(values), own & ~np.isfinite(values)
        label = attempt.run_id if attempt.number is None else f"{attempt.run_id}, attempt {attempt.number}"
        axes.plot(step[finite], values[finite], linewidth=1, label=text(label))
        axes.plot(step[odd], np.zeros(odd.sum()), "rx", transform=axes.get_xaxis_transform(), clip_on=False)
    if len(steps.attempts) > 1:
        axes.legend()


def text(recorded: str) -> str:
    """What was recorded, not read as a formula by matplotlib."""
    return recorded.replace("$", r"\$")


if __name__ == "__main__":
    sys.exit(main())
