"""What is measured of a run or an epoch beside its numbers: phases of the steps, waiting for data, samples."""

import time
from collections.abc import Mapping
from typing import Any

from crucible_trace_otel.record._values import printable, with_template
from crucible_trace_otel.semconv import attributes as attr

__all__ = ["Measures", "Phase"]

_clock = time.perf_counter_ns
_MOST_NAMES = 1_000
_MOST_DESCRIBED = 8  # phases as attributes, two each, of the 128 that an SDK span keeps by default
_REST = "…"


class Phase:
    """A part of each step, such as the forward pass, to be used in `with` as often as it is gone through.

    Threads may be in it at once. Each leaving is paired with the latest entering, whichever thread that was of; the
    sum of the times is the same.
    """

    __slots__ = ("_entered", "count", "ns")

    def __init__(self) -> None:
        self.count = 0
        """How often it was left."""
        self.ns = 0
        """Time spent in it, summed, in nanoseconds."""
        self._entered: list[int] = []

    def __enter__(self) -> None:
        self._entered.append(_clock())

    def __exit__(self, *_: object) -> None:
        now = _clock()
        if self._entered:
            took = now - self._entered.pop()
            self.ns += took  # no call in between: no other thread comes between either
            self.count += 1


class Measures:
    """Sums over one epoch, or over a run with all its epochs."""

    def __init__(self) -> None:
        self.phases: dict[str, Phase] = {}
        self.epochs = self.abnormal = self.batches = self.samples = self.uncounted = 0
        self.wait_ns = self.body_ns = 0
        self.batch_size: int | None = None

    def phase(self, name: Any) -> Phase:
        """The phase called `name`; past a thousand names, one for all others."""
        found = self.phases.get(name)
        if found is None:
            text = printable(name) if len(self.phases) < _MOST_NAMES else _REST
            found = self.phases.setdefault(text, Phase())
        return found

    def add(self, other: "Measures") -> None:
        """Take in those of an epoch."""
        for name, phase in list(other.phases.items()):  # another thread may begin one
            own = self.phase(name)
            own.ns += phase.ns
            own.count += phase.count
        self.epochs += other.epochs
        self.abnormal += other.abnormal
        self.batches += other.batches
        self.samples += other.samples
        self.uncounted += other.uncounted
        self.wait_ns += other.wait_ns
        self.body_ns += other.body_ns
        self.batch_size = other.batch_size if self.batch_size is None else self.batch_size

    @property
    def loop_ns(self) -> int:
        """Time of the loops over tracked loaders: waiting for data, and what was done with it."""
        return self.wait_ns + self.body_ns

    @property
    def wait_share(self) -> float | None:
        """Share of that time spent waiting, from 0 to 1; None where nothing was tracked."""
        return self.wait_ns / self.loop_ns if self.loop_ns else None

    @property
    def throughput(self) -> float | None:
        """Samples in a second of the loops; None where the samples of a batch were not told."""
        is_known = self.samples and not self.uncounted and self.loop_ns
        return self.samples / (self.loop_ns / 1e9) if is_known else None

    def attributes(self, taken: Mapping[str, Any]) -> dict[str, Any]:
        """As attributes of a span.

        Args:
            taken: Attributes that the span was started with; an overflow there is added to, not replaced.
        """
        is_known = self.batches and not self.uncounted
        described: dict[str, Any] = {
            attr.CRUCIBLE_TRAINING_BATCH_COUNT: self.batches or None,
            attr.CRUCIBLE_TRAINING_BATCH_SIZE: self.batch_size,
            attr.CRUCIBLE_TRAINING_SAMPLE_COUNT: self.samples if is_known else None,
            attr.CRUCIBLE_TRAINING_THROUGHPUT: self.throughput,
            attr.CRUCIBLE_TRAINING_DATA_WAIT_SHARE: self.wait_share,
        }
        longest = dict(sorted(self.phases.items(), key=lambda item: -item[1].ns))
        seconds = {name: phase.ns / 1e9 for name, phase in longest.items() if phase.count}
        counts = {name: phase.count for name, phase in longest.items() if phase.count}
        durations = with_template(attr.CRUCIBLE_TRAINING_PHASE_DURATION_TEMPLATE, seconds, most_names=_MOST_DESCRIBED)
        gone_through = with_template(attr.CRUCIBLE_TRAINING_PHASE_COUNT_TEMPLATE, counts, most_names=_MOST_DESCRIBED)
        overflow = durations.pop(attr.CRUCIBLE_OVERFLOW, {}) | gone_through.pop(attr.CRUCIBLE_OVERFLOW, {})
        if overflow:
            described[attr.CRUCIBLE_OVERFLOW] = {**taken.get(attr.CRUCIBLE_OVERFLOW, {}), **overflow}
        return described | durations | gone_through
