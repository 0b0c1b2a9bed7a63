"""Spans that have started and not ended: kept in the journal too, so that the death of the process does not take them.

A long operation gets an `open` record when it starts, anything else once it is a second old, and again whenever its
attributes, events or links have changed, at most once a second. With the first record of an operation goes a marker: a
zero-length child span `<operation>_started`, for backends, which show a span only when it has ended.
"""

import time
from collections.abc import Iterator, Mapping
from hashlib import sha256
from time import monotonic_ns
from typing import Any

from opentelemetry.sdk.trace import ReadableSpan

from crucible_trace_otel.journal.encoder import encode_resource, encode_scope, encode_span
from crucible_trace_otel.journal.messages import Origin, child
from crucible_trace_otel.journal.segment import SpanRecord
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans
from crucible_trace_otel.semconv.enums import RunState

__all__ = ["OpenSpans"]

_SECOND_NS = 1_000_000_000
_MOST_OPEN = 100_000
_BUDGET_NS = 20_000_000  # of a tick: ten thousand open spans must not hold up the program for longer at once
_AT_ONCE = frozenset(
    {
        *(spans.TRAINING_RUN, spans.EPOCH, spans.STEP_SEGMENT, spans.TUNING_STUDY, spans.TRIAL, spans.EXPERIMENT),
        *(spans.PIPELINE, spans.DEPLOYMENT, spans.WORKER, spans.RUN_PART, spans.EPISODE),
    }
)
"""Operations that are long by their nature."""
_MARKED_LATER = frozenset({spans.EPOCH, spans.EPISODE})  # short ones are frequent, and their run is marked
_NAMES = frozenset(name for name in vars(spans).values() if isinstance(name, str))
_MARKERS = _NAMES & {f"{name}_started" for name in _NAMES}
_CARRIED = (
    *(attr.CRUCIBLE_ABOUT, attr.CRUCIBLE_RUN_ID, attr.CRUCIBLE_RUN_ATTEMPT),
    *(attr.CRUCIBLE_EXPERIMENT_ID, attr.CRUCIBLE_STAGE_ID, attr.CRUCIBLE_DISTRIBUTED_RANK),
)
_OUR_SCOPE = "crucible_trace_otel"
_SAMPLED = 1


class _Open:
    """What is known about one open span."""

    __slots__ = ("last_sign", "marker_id", "operation", "seen", "span", "started")

    def __init__(self, span: ReadableSpan, started: int) -> None:
        self.span = span
        self.operation = _operation_of(span)
        self.started = self.last_sign = started
        """When it, or a child of it, was last heard of."""
        self.seen: object = None
        """What it looked like in its last record; None while it has none."""
        self.marker_id = b""


class OpenSpans:
    """The open spans of this process.

    Args:
        progress_s: Seconds without a child after which a long operation gets a `progress` span; 0 for never.
    """

    def __init__(self, progress_s: float = 600.0) -> None:
        self._progress_ns = int(progress_s * _SECOND_NS)
        self._young: dict[int, tuple[ReadableSpan, int]] = {}
        """Spans that have no record, and when they started."""
        self._open: dict[int, _Open] = {}
        """Spans that have one, or are to get one."""
        self._is_child = False

    def started(self, span: ReadableSpan) -> bool:
        """Take in a span that starts; whether it is to be recorded at once."""
        context = span.context
        if context is None or not context.trace_flags & _SAMPLED or len(self._young) + len(self._open) >= _MOST_OPEN:
            return False
        now = monotonic_ns()
        self._young[context.span_id] = span, now
        if self._open and (parent := span.parent) is not None and parent.span_id in self._open:
            self._heard_from(self._open[parent.span_id], span, now)
        scope = span.instrumentation_scope
        is_ours = scope is not None and scope.name == _OUR_SCOPE
        is_long = is_ours and span.name.partition(" ")[0] in _AT_ONCE  # attributes are slow to ask for
        return is_long and _operation_of(span) in _AT_ONCE

    def _heard_from(self, parent: _Open, child: ReadableSpan, now: int) -> None:
        """Note a sign of life of what encloses a span that starts: of its parent, or of what that stands for."""
        parent.last_sign = now
        if parent.operation == spans.RUN_PART:
            enclosing = (child.attributes or {}).get(attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID)
            around = self._open.get(int(enclosing, 16)) if isinstance(enclosing, str) else None
            if around is not None:
                around.last_sign = now

    def at_once(self, span: ReadableSpan) -> Iterator[tuple[bool, SpanRecord]]:
        """What is to be recorded of a long operation that starts: whether it has ended, and the record."""
        span_id = span.context.span_id if span.context else 0
        entry = self._open[span_id] = _Open(*self._young.pop(span_id))
        yield False, self._record(entry)
        if entry.operation not in _MARKED_LATER:
            yield from self._marker(entry)

    def ended(self, span: ReadableSpan) -> None:
        """Take out a span that ended."""
        span_id = span.context.span_id if span.context else 0
        if self._young.pop(span_id, None) is None:
            self._open.pop(span_id, None)

    def is_here(self, span: ReadableSpan) -> bool:
        """Whether this process may record the end of `span`: what was open at a fork is the parent's to end."""
        if not self._is_child:
            return True
        span_id = span.context.span_id if span.context else 0
        return span_id in self._young or span_id in self._open

    def due(self, age_ns: int = _SECOND_NS) -> Iterator[tuple[bool, SpanRecord]]:
        """What is to be recorded now: open spans of at least that age that are new or changed, markers, progress.

        At the age of 0, when the file is being closed, no markers: whoever reads it sees the span itself.
        """
        now = monotonic_ns()
        until = now + _BUDGET_NS
        for entry in self._aged(now, age_ns):
            try:
                yield from self._due_of(entry, now, marks=age_ns > 0)
            except RuntimeError:  # another thread changed it while it was read: the next time
                continue
            if monotonic_ns() > until:
                return

    def _due_of(self, entry: _Open, now: int, *, marks: bool) -> Iterator[tuple[bool, SpanRecord]]:
        if entry.seen is None or entry.seen != _look(entry.span):
            entry.last_sign = now
            yield False, self._record(entry)
        if not entry.marker_id and marks:
            yield from self._marker(entry)
        elif marks and self._progress_ns and now - entry.last_sign >= self._progress_ns:
            entry.last_sign = now
            yield True, _marker_of(entry, "progress", _now_of(entry, now), entry.marker_id)

    def _aged(self, now: int, age_ns: int) -> list[_Open]:
        """The open spans of at least that age, those without any record first."""
        for span_id, (span, started) in list(self._young.items()):
            if now - started >= age_ns and self._young.pop(span_id, None) is not None:
                self._open[span_id] = _Open(span, started)
        for span_id, entry in list(self._open.items()):
            if entry.span.end_time is not None:  # it ended while it was moved
                self._open.pop(span_id, None)
        entries = [entry for entry in list(self._open.values()) if now - entry.started >= age_ns]
        return sorted(entries, key=lambda entry: entry.seen is not None)

    def still_open(self) -> list[SpanRecord]:
        """The record of each span that has one, anew: for the beginning of another file."""
        return [self._record(entry) for entry in list(self._open.values()) if entry.seen is not None]

    def unended(self) -> list[str]:
        """The names of the operations of ours that have not ended."""
        known = [entry.span for entry in list(self._open.values()) if entry.operation]
        return [
            span.name for span in (*known, *(span for span, _ in list(self._young.values()))) if _operation_of(span)
        ]

    def adopt(self, others: "OpenSpans") -> bool:
        """Take over what is open elsewhere in this process; whether something of it was recorded there."""
        entries, others._open = others._open, {}  # noqa: SLF001 - another one of the same
        young, others._young = others._young, {}  # noqa: SLF001
        self._open.update(entries)
        self._young.update(young)
        return any(entry.seen is not None for entry in entries.values())

    def forget(self) -> None:
        """In a forked child: what is open is the parent's to end."""
        self._young, self._open = {}, {}
        self._is_child = True

    def _record(self, entry: _Open) -> SpanRecord:
        entry.seen = _look(entry.span)
        return *_around(entry.span), encode_span(entry.span, ended=False)

    def _marker(self, entry: _Open) -> Iterator[tuple[bool, SpanRecord]]:
        name = f"{entry.operation}_started"
        if name in _MARKERS and entry.span.start_time is not None:
            span_id = _span_id(entry.span)
            entry.marker_id = _derived(span_id, name)[:8]
            yield True, _marker_of(entry, name, entry.span.start_time, span_id)


def _operation_of(span: ReadableSpan) -> str:
    operation = span.attributes.get(attr.CRUCIBLE_OPERATION_NAME) if span.attributes else None
    return operation if isinstance(operation, str) else ""


def _around(span: ReadableSpan) -> tuple[bytes, bytes]:
    return encode_resource(span.resource), encode_scope(span.instrumentation_scope)


def _look(span: ReadableSpan) -> object:
    """Something that differs when the span has changed."""
    attributes = span.attributes or {}
    return span.name, span.status.status_code, len(span.events), len(span.links), tuple(attributes.values())


def _marker_of(entry: _Open, name: str, time_ns: int, parent_id: bytes) -> SpanRecord:
    """A zero-length span about an open one; the same one again when it is made again."""
    span = entry.span
    digest = _derived(_span_id(span), name if name in _MARKERS else f"{name} {time_ns}")
    given: Mapping[str, Any] = span.attributes or {}
    attributes = {
        attr.CRUCIBLE_OPERATION_NAME: name,
        attr.CRUCIBLE_EVENT_ID: digest[8:24].hex(),
        attr.CRUCIBLE_RUN_STATE: RunState.RUNNING,
        **{key: given[key] for key in _CARRIED if key in given},
    }
    trace_id = (span.context.trace_id if span.context else 0).to_bytes(16, "big")
    return *_around(span), child(Origin(trace_id, parent_id), digest[:8], name, time_ns, attributes)


def _now_of(entry: _Open, now: int) -> int:
    """The time by the clock of the span, which no change of the wall clock moves."""
    return (entry.span.start_time or time.time_ns()) + now - entry.started


def _span_id(span: ReadableSpan) -> bytes:
    return (span.context.span_id if span.context else 0).to_bytes(8, "big")


def _derived(span_id: bytes, name: str) -> bytes:
    return sha256(span_id + name.encode()).digest()
