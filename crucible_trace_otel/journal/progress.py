"""How far the open operations of a process have come: its windows of steps, its checkpoints, and who is whose child."""

import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal.messages import (
    Event,
    Kinship,
    Span,
    kinship,
    number_of,
    read_event,
    read_span,
    text_of,
)
from crucible_trace_otel.journal.reader import StoredSteps, WriterContent
from crucible_trace_otel.journal.ring import open_windows, window_event
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations

__all__ = ["Family", "Progress", "identity_of", "progress_of", "ring_windows", "windows_of"]

_CHECKPOINT: Final = operations.CHECKPOINT_SAVE.encode()
_ENCLOSING: Final = attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID.encode()
_STEPS: Final = events.STEPS_RECORDED.encode()
_LAST: Final = f"{attr.CRUCIBLE_WINDOW_LAST_TEMPLATE}."


@dataclass(slots=True)
class Progress:
    """How far an operation has come; None where nobody knows."""

    step: int | None = None
    loss: float | None = None
    checkpoint: str | None = None
    epoch: int | None = None
    step_ns: int = -1
    """When the last step was."""
    checkpoint_ns: int = -1


class Family:
    """Who is whose child among the spans of one process, ended and open ones."""

    def __init__(self, ended: Iterable[bytes], opened: Mapping[bytes, Span]) -> None:
        self.parents: dict[bytes, bytes] = {}
        self.last_child: dict[bytes, int] = {}
        """When the last of its ended children ended, for each open span that has one."""
        self.checkpoints: list[tuple[bytes, int, str]] = []
        """Id, end and path of each saved checkpoint."""
        for message in ended:
            with suppress(FormatError):
                self._take(kinship(message), message, opened)
        for span in opened.values():
            self.parents[span.span_id] = _enclosing(span) or span.parent_id

    def _take(self, kin: Kinship, message: bytes, opened: Mapping[bytes, Span]) -> None:
        self.parents[kin.span_id] = kin.parent_id
        if kin.parent_id in opened:
            self.last_child[kin.parent_id] = max(self.last_child.get(kin.parent_id, 0), kin.end_ns)
        if _ENCLOSING in message:  # it was moved to another part of its run
            self.parents[kin.span_id] = _enclosing(read_span(message)) or kin.parent_id
        if _CHECKPOINT in message:
            attributes = read_span(message).attributes
            path = text_of(attributes.get(attr.CRUCIBLE_CHECKPOINT_PATH))
            if path and text_of(attributes.get(attr.CRUCIBLE_OPERATION_NAME)) == operations.CHECKPOINT_SAVE:
                self.checkpoints.append((kin.span_id, kin.end_ns, path))

    def lineage(self, span_id: bytes) -> Iterator[bytes]:
        """A span's id and those of the spans around it, innermost first."""
        seen: set[bytes] = set()
        while span_id and span_id not in seen:
            yield span_id
            seen.add(span_id)
            span_id = self.parents.get(span_id, b"")


def _enclosing(span: Span) -> bytes:
    """The id of the operation that encloses a span in an earlier part of a run; empty where there is none."""
    try:
        return bytes.fromhex(text_of(span.attributes.get(attr.CRUCIBLE_RUN_ENCLOSING_SPAN_ID)) or "")
    except ValueError:
        return b""


def windows_of(writer: WriterContent, in_ring: Iterable[StoredSteps] | None = None) -> tuple[StoredSteps, ...]:
    """The windows of steps of a process, each once: those it has stored, and those still open in its ring.

    Args:
        writer: What the process has written.
        in_ring: What is in its ring; read now by default. While the process lives a window may move from the ring to
            the records, so that the ring is to be read before these.
    """
    found = {window.window: window for window in (ring_windows(writer.ring) if in_ring is None else in_ring)}
    found |= {window.window: window for window in writer.content.steps}
    return tuple(found[number] for number in sorted(found))


def ring_windows(ring: Path | None) -> tuple[StoredSteps, ...]:
    """The windows that are open in a ring, as they would be stored; none where it cannot be read. Never raises."""
    if ring is None:
        return ()
    found = []
    for window in open_windows(ring):
        # Of a row that was damaged, numbers of any size may be left.
        with suppress(ValueError, OverflowError, struct.error):
            event = window_event(window)
            if event is not None:
                found.append(StoredSteps(window.number, window.trace_id, window.span_id, event))
    return tuple(found)


def identity_of(event: bytes) -> tuple[object, ...]:
    """What two copies of one window have in common, whoever wrote them down.

    Raises:
        FormatError: It is no event.
    """
    read = read_event(event)
    return (
        read.name,
        read.time_ns,
        *map(read.attributes.get, (attr.CRUCIBLE_WINDOW_FIRST_STEP, attr.CRUCIBLE_WINDOW_SERIES_COLUMNS)),
    )


def progress_of(
    opened: Mapping[bytes, Span],
    family: Family,
    windows: Iterable[StoredSteps],
    held: Mapping[bytes, Iterable[StoredSteps]],
) -> dict[bytes, Progress]:
    """How far each of the spans `opened` has come, by what happened on it and inside it.

    Args:
        opened: By id.
        family: They and what has ended.
        windows: All windows of steps.
        held: Those that are put on an open span, by its id, which need not be the one they were recorded on.
    """
    found = {span_id: Progress() for span_id in opened}
    for span in opened.values():
        _note_epoch(span, found, family)
    placed = [(span_id, event) for span_id, span in opened.items() for event in span.events]
    placed += [(window.span_id, window.event) for window in windows]
    placed += [(holder, window.event) for holder, its in held.items() for window in its]
    for holder, event in _newest(placed).items():
        for span_id in family.lineage(holder):
            if span_id in found and event.time_ns > found[span_id].step_ns:
                progress = found[span_id]
                progress.step_ns, progress.step, progress.loss = event.time_ns, _last_step(event), _last_loss(event)
    for saved, end_ns, path in family.checkpoints:
        for span_id in family.lineage(saved):
            if span_id in found and end_ns > found[span_id].checkpoint_ns:
                found[span_id].checkpoint_ns, found[span_id].checkpoint = end_ns, path
    return found


def _note_epoch(span: Span, found: Mapping[bytes, Progress], family: Family) -> None:
    index = number_of(span.attributes.get(attr.CRUCIBLE_TRAINING_EPOCH_INDEX))
    if isinstance(index, int):
        for span_id in family.lineage(span.span_id):
            if span_id in found:
                found[span_id].epoch = max(found[span_id].epoch or 0, index)


def _newest(placed: Iterable[tuple[bytes, bytes]]) -> dict[bytes, Event]:
    """The last window of steps of each span that holds any."""
    newest: dict[bytes, Event] = {}
    for holder, message in placed:
        if _STEPS not in message:  # a window of gradients
            continue
        with suppress(FormatError):
            event = read_event(message)
            known = newest.get(holder)
            if event.name == events.STEPS_RECORDED and (known is None or event.time_ns >= known.time_ns):
                newest[holder] = event
    return newest


def _last_step(event: Event) -> int | None:
    step = number_of(event.attributes.get(attr.CRUCIBLE_WINDOW_LAST_STEP))
    return step if isinstance(step, int) else None


def _last_loss(event: Event) -> float | None:
    """The last value of `loss`, or else of the first number that is called a loss."""
    named = [key for key in event.attributes if key.startswith(_LAST) and "loss" in key.lower()]
    key = f"{_LAST}loss" if f"{_LAST}loss" in named else next(iter(named), None)
    loss = number_of(event.attributes.get(key)) if key is not None else None
    return None if loss is None else float(loss)
