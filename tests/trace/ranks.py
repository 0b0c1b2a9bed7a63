"""A run of several ranks as their processes record it, each by a clock of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.trace.spans import TraceEvent, TraceSpan, group_into_traces
from tests.trace.builders import START_NS, TraceBuilder, pack

if TYPE_CHECKING:
    from crucible_trace_otel.trace.spans import Trace

Clock = Callable[[float], float]


def ahead(offset: float, drift: float = 0.0) -> Clock:
    """A clock that is ahead by `offset` seconds, and by `drift` more each second."""
    return lambda true: true + offset + drift * true


class Cluster:
    """Ranks that share a run; `work(rank, step)` gives the seconds each works in a step."""

    def __init__(
        self,
        work: Callable[[int, int], float],
        ranks: int = 4,
        *,
        clocks: dict[int, Clock] | None = None,
        nodes: dict[int, str] | None = None,
        run_id: str = "r",
        attempt: int = 0,
        begins: float = 1.0,
    ) -> None:
        self.work, self.ranks, self.nodes = work, ranks, nodes or {}
        self.clocks = {rank: (clocks or {}).get(rank, ahead(0.0)) for rank in range(ranks)}
        self.build = TraceBuilder(1 + attempt)
        self.said = {attr.CRUCIBLE_RUN_ID: run_id, attr.CRUCIBLE_RUN_ATTEMPT: attempt}
        self.true = dict.fromkeys(range(ranks), begins)
        self.begins = begins
        self.rows: dict[int, list[tuple[int, int]]] = {rank: [] for rank in range(ranks)}
        self.meetings: dict[str, int] = {}
        self.root = self._process(0, None)
        self.processes = {0: self.root, **{rank: self._process(rank, self.root) for rank in range(1, ranks)}}
        self.stopped: set[int] = set()

    def _said(self, rank: int) -> dict[str, Any]:
        return {**self.said, attr.CRUCIBLE_DISTRIBUTED_RANK: rank}

    def _process(self, rank: int, parent: TraceSpan | None) -> TraceSpan:
        size = {attr.CRUCIBLE_DISTRIBUTED_WORLD_SIZE: self.ranks}
        operation = spans.WORKER if parent else spans.TRAINING_RUN
        begins = self.clocks[rank](self.begins)
        return self.build.add(operation, "r", parent, begins, 100, attributes={**self._said(rank), **size})

    def stop(self, rank: int) -> None:
        """Nothing more comes from it."""
        self.stopped.add(rank)

    def meet(self, name: str = "barrier", *, jitter: Callable[[int], float] = lambda rank: 0.0, **more: Any) -> None:
        """All ranks arrive, and leave when the last has come."""
        here = [rank for rank in range(self.ranks) if rank not in self.stopped]
        arrived = {rank: self.true[rank] for rank in here}
        sequence = self.meetings[name] = self.meetings.get(name, -1) + 1
        for rank in here:
            left = max(arrived.values()) + 1e-5 + jitter(rank)
            self.true[rank] = left
            clock = self.clocks[rank]
            said = {attr.CRUCIBLE_COLLECTIVE_NAME: name, attr.CRUCIBLE_COLLECTIVE_SEQUENCE: sequence}
            operation = spans.BARRIER if name == "barrier" else spans.COLLECTIVE
            begin, end = clock(arrived[rank]), clock(left)
            attributes = {**self._said(rank), **said, **more}
            self.build.add(operation, name, self.processes[rank], begin, end - begin, attributes=attributes)

    def step(self, number: int, *, together: str | None = None) -> None:
        """Each rank works, waits for the others where there is a collective `together`, and records the step."""
        here = [rank for rank in range(self.ranks) if rank not in self.stopped]
        for rank in here:
            self.true[rank] += self.work(rank, number)
        if together:
            self.meet(together)
        for rank in here:
            self.true[rank] += 1e-6
            self.rows[rank].append((number, START_NS + round(self.clocks[rank](self.true[rank]) * 1e9)))

    def trace(self) -> Trace:
        (trace,) = group_into_traces(self.spans())
        return trace

    def spans(self) -> list[TraceSpan]:
        windows = {self.processes[rank].span_id: (steps_window(rows),) for rank, rows in self.rows.items() if rows}
        return [
            replace(
                span,
                events=windows.get(span.span_id, ()),
                resource={**span.resource, **self._host(span.attributes[attr.CRUCIBLE_DISTRIBUTED_RANK])},
            )
            for span in self.build.spans
        ]

    def _host(self, rank: int) -> dict[str, str]:
        return {attr.HOST_NAME: self.nodes[rank]} if rank in self.nodes else {}


def steps_window(rows: list[tuple[int, int]], name: str = events.STEPS_RECORDED, **numbers: list[float]) -> TraceEvent:
    """A window of steps with the time of each."""
    columns = {"step": [step for step, _ in rows], "time_ns": [time_ns for _, time_ns in rows], **numbers}
    formats, values = pack(columns)
    return TraceEvent(
        name,
        rows[-1][1],
        {
            attr.CRUCIBLE_WINDOW_COUNT: len(rows),
            attr.CRUCIBLE_WINDOW_SERIES_COLUMNS: tuple(columns),
            attr.CRUCIBLE_WINDOW_SERIES_FORMATS: formats,
            attr.CRUCIBLE_WINDOW_SERIES_VALUES: values,
        },
    )
