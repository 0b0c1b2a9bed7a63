"""The demo, slowed down, which says on its standard output what has returned: `step LOSS` and `span ID`.

A line is written after the call has returned, so whatever a line says must survive what happens next.
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))

import digits
from opentelemetry.sdk.trace import Span

from crucible_trace_otel.record.training import Epoch

A_STEP_TAKES_S = 0.01
_record_step, _end = Epoch.record_step, Span.end


def _say(line: str) -> None:
    os.write(1, f"{line}\n".encode())  # one write: a kill leaves no part of a line


def record_step(epoch: Epoch, **numbers: Any) -> None:
    """As the epoch does, then say so."""
    _record_step(epoch, **numbers)
    _say(f"step {numbers['loss']!r}")
    time.sleep(A_STEP_TAKES_S)


def end(span: Span, end_time: int | None = None) -> None:
    """As the SDK does, then say so."""
    _end(span, end_time)
    _say(f"span {span.context.span_id:016x}")


if __name__ == "__main__":
    setattr(Epoch, "record_step", record_step)  # noqa: B010 - a method is replaced, and is meant to be
    setattr(Span, "end", end)  # noqa: B010
    digits.main()
