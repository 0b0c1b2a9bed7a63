"""Open spans as if they had ended: what is known of an operation that was interrupted, or that still runs."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timezone
from hashlib import sha256
from typing import Any, Final

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.journal import messages
from crucible_trace_otel.journal.messages import Span, text_of
from crucible_trace_otel.journal.progress import Family, Progress, identity_of, progress_of, windows_of
from crucible_trace_otel.journal.reader import StoredSpan, StoredSteps, WriterContent
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import RunState

__all__ = ["closings", "restored"]

_MARKERS: Final = {
    name.removesuffix("_interrupted"): name
    for name in vars(operations).values()
    if isinstance(name, str) and name.endswith("_interrupted")
}
_HOLD_STEPS: Final = frozenset(
    {operations.TRAINING_RUN, operations.WORKER, operations.EPOCH, operations.EPISODE, operations.STEP_SEGMENT},
)
_CARRIED: Final = (
    *(attr.CRUCIBLE_RUN_ID, attr.CRUCIBLE_RUN_ATTEMPT, attr.CRUCIBLE_EXPERIMENT_ID, attr.CRUCIBLE_STAGE_ID),
    attr.CRUCIBLE_DISTRIBUTED_RANK,
)
_LONGEST_SUMMARY = 120

Spans = tuple[StoredSpan, ...]


@dataclass(frozen=True, slots=True)
class _Open:
    """An open span, and what is known beyond its record."""

    record: StoredSpan
    span: Span
    end_ns: int
    windows: Sequence[StoredSteps]
    progress: Progress

    @property
    def operation(self) -> str:
        return _operation(self.span)


def restored(
    writer: WriterContent,
    *,
    state: str,
    last_seen_ns: int,
    cause: str,
    windows: Sequence[StoredSteps] | None = None,
) -> Spans:
    """The spans that `writer` has left open, as if they had ended when it was last seen.

    What was stored stays as it is, with fields added: the end, what is known, and the windows of steps that were not
    yet in it. Each long operation of an interrupted process gets a child `<operation>_interrupted` without length.
    Equal arguments give equal spans, ids too. A record that is no span is left out. Never raises.

    Args:
        writer: What the process has written.
        state: `RunState.INTERRUPTED` for a dead process. `RunState.RUNNING` for one that lives, to show what it does:
            then nothing is marked, and no status is set.
        last_seen_ns: When the process last gave a sign of life, nanoseconds since 1970.
        cause: What ended it: a clause with `its process` or the like as its subject.
        windows: Its windows of steps; by default those in its records and in its ring.
    """
    closed, markers = closings(writer, state=state, last_seen_ns=last_seen_ns, cause=cause, windows=windows)
    return closed + markers


def closings(
    writer: WriterContent,
    *,
    state: str,
    last_seen_ns: int,
    cause: str,
    windows: Sequence[StoredSteps] | None = None,
) -> tuple[Spans, Spans]:
    """As `restored()`: the spans that were open, and apart from them the markers."""
    windows = windows_of(writer) if windows is None else windows
    interruption = _interruption(last_seen_ns, cause) if state == RunState.INTERRUPTED else None
    every = _known(writer, windows, last_seen_ns)
    closed = tuple(_ended(one, interruption) for one in every)
    if interruption is None:
        return closed, ()
    return closed, tuple(_marker(one, interruption) for one in every if one.operation in _MARKERS)


def _known(writer: WriterContent, windows: Sequence[StoredSteps], last_seen_ns: int) -> list[_Open]:
    """What is open, with the windows that belong there, and how far it has come."""
    stored = dict(_readable(writer.content.open))
    opened = {span_id: span for span_id, (_, span) in stored.items()}
    family = Family([one.span for one in writer.content.spans], opened)
    held = _held(writer, windows, opened, family)
    for span_id in held.keys() - opened.keys():
        stored[span_id] = home = _home(writer, span_id, held[span_id])
        opened[span_id] = home[1]
        family.parents[span_id] = home[1].parent_id
    ends = _ends(opened, family, last_seen_ns)
    progress = progress_of(opened, family, windows, held)
    return [
        _Open(record, span, ends[span_id], held.get(span_id, ()), progress[span_id])
        for span_id, (record, span) in stored.items()
    ]


def _readable(opened: Iterable[StoredSpan]) -> Iterator[tuple[bytes, tuple[StoredSpan, Span]]]:
    for stored in opened:
        with suppress(FormatError):
            span = messages.read_span(stored.span)
            yield span.span_id, (stored, span)


def _held(
    writer: WriterContent, windows: Iterable[StoredSteps], opened: Mapping[bytes, Span], family: Family
) -> dict[bytes, list[StoredSteps]]:
    """The windows that no stored span has, by the id of the span they belong on."""
    there = {span_id: _identities(span.events) for span_id, span in opened.items()}
    found: dict[bytes, list[StoredSteps]] = {}
    homeless: list[StoredSteps] = []
    for window in windows:
        if window.span_id not in opened:
            if window.span_id not in family.parents:  # what has ended has its windows
                homeless.append(window)
        elif _identities([window.event]) - there[window.span_id]:
            found.setdefault(window.span_id, []).append(window)
    if homeless:
        housed = set[tuple[object, ...]]().union(*there.values(), *map(_identities, _events_of_ended(writer)))
        for window in homeless:
            if _identities([window.event]) - housed:
                found.setdefault(_place_of(window, opened), []).append(window)
    return found


def _identities(events: Iterable[bytes]) -> set[tuple[object, ...]]:
    found = set()
    for event in events:
        with suppress(FormatError):
            found.add(identity_of(event))
    return found


def _events_of_ended(writer: WriterContent) -> Iterator[tuple[bytes, ...]]:
    for stored in writer.content.spans:
        with suppress(FormatError):
            yield messages.read_span(stored.span).events


def _place_of(window: StoredSteps, opened: Mapping[bytes, Span]) -> bytes:
    """Where a window goes whose own span is not stored: the innermost open one around it, or a new one."""
    around = [span for span in opened.values() if span.trace_id == window.trace_id and _operation(span) in _HOLD_STEPS]
    if around:
        return max(around, key=lambda span: span.start_ns).span_id
    return sha256(window.span_id + operations.STEP_SEGMENT.encode()).digest()[:8]


def _home(writer: WriterContent, span_id: bytes, windows: Sequence[StoredSteps]) -> tuple[StoredSpan, Span]:
    """An open span for windows whose own is not stored here: a child of that one.

    Its record is damaged, or it is another process's, of which this one was forked.
    """
    first_ns = messages.time_of(windows[0].event)
    first = messages.read_event(windows[0].event).attributes.get(attr.CRUCIBLE_WINDOW_FIRST_STEP)
    last = messages.read_event(windows[-1].event).attributes.get(attr.CRUCIBLE_WINDOW_LAST_STEP)
    lost = Span(windows[0].trace_id, windows[0].span_id, b"", b"", first_ns, {}, (), has_failed=False)
    attributes = {
        attr.CRUCIBLE_OPERATION_NAME: operations.STEP_SEGMENT,
        attr.CRUCIBLE_ABOUT: f"steps {messages.number_of(first)} to {messages.number_of(last)}",
        attr.CRUCIBLE_EVENT_ID: sha256(span_id).digest()[:16].hex(),
    }
    message = messages.child(_origin(lost), span_id, operations.STEP_SEGMENT, first_ns, attributes)
    model = next(iter((*writer.content.open, *writer.content.spans)), StoredSpan(b"", b"", b""))
    return StoredSpan(model.resource, model.scope, message), messages.read_span(message)


def _ends(opened: Mapping[bytes, Span], family: Family, last_seen_ns: int) -> dict[bytes, int]:
    """When each open span is taken to have ended: not before what it encloses."""
    ends = dict.fromkeys(opened, last_seen_ns)
    for span_id, span in opened.items():
        at_least = max(span.start_ns, family.last_child.get(span_id, 0))
        for around in family.lineage(span_id):
            if around in ends:
                ends[around] = max(ends[around], at_least)
    return ends


def _interruption(last_seen_ns: int, cause: str) -> dict[str, str]:
    instant = _instant(last_seen_ns)
    return {**({attr.CRUCIBLE_RUN_LAST_SEEN: instant} if instant else {}), attr.CRUCIBLE_RUN_CAUSE: cause}


def _ended(one: _Open, interruption: Mapping[str, str] | None) -> StoredSpan:
    """An open span with an end. One of another instrumentation gets no more of ours than what ended it."""
    said: dict[str, Any] = dict(interruption or {})
    if one.operation:
        said[attr.CRUCIBLE_RUN_STATE] = RunState.RUNNING if interruption is None else RunState.INTERRUPTED
    if one.operation in _HOLD_STEPS:
        step = {
            attr.CRUCIBLE_TRAINING_STEP_INDEX: one.progress.step,
            attr.CRUCIBLE_TRAINING_LOSS_VALUE: one.progress.loss,
        }
        said |= _given(step)
    error = None
    if interruption is not None and not one.span.has_failed:  # what it said itself stays
        error = f"{RunState.INTERRUPTED}: {interruption[attr.CRUCIBLE_RUN_CAUSE]}"
    message = b"".join(
        (
            messages.without(one.record.span, said.keys(), status=error is not None),
            *(messages.attribute(key, value) for key, value in said.items()),
            *(messages.event_field(window.event) for window in one.windows),
            messages.ended(one.end_ns, error),
        )
    )
    return StoredSpan(one.record.resource, one.record.scope, message)


def _marker(one: _Open, interruption: Mapping[str, str]) -> StoredSpan:
    """The sign of an interruption, for views that show the names of spans only."""
    name = _MARKERS[one.operation]
    digest = sha256(one.span.span_id + name.encode()).digest()
    progress = one.progress
    steps = [] if progress.step is None else [f"at step {progress.step}"]
    steps += [] if progress.loss is None else [f"loss {progress.loss:.4g}"]
    told = " ".join(filter(None, (RunState.INTERRUPTED, ", ".join(steps))))
    about = text_of(one.span.attributes.get(attr.CRUCIBLE_ABOUT)) or one.operation
    attributes: dict[str, Any] = {
        attr.CRUCIBLE_OPERATION_NAME: name,
        attr.CRUCIBLE_ABOUT: f"{about[: _LONGEST_SUMMARY - len(told) - 2]}: {told}",
        attr.CRUCIBLE_EVENT_ID: digest[8:24].hex(),
        attr.CRUCIBLE_RUN_STATE: RunState.INTERRUPTED,
        **{key: one.span.attributes[key] for key in _CARRIED if key in one.span.attributes},
        **interruption,
        **_given(
            {
                attr.CRUCIBLE_TRAINING_EPOCH_INDEX: progress.epoch,
                attr.CRUCIBLE_TRAINING_STEP_INDEX: progress.step,
                attr.CRUCIBLE_TRAINING_LOSS_VALUE: progress.loss,
                attr.CRUCIBLE_CHECKPOINT_PATH: progress.checkpoint,
            }
        ),
    }
    message = messages.child(_origin(one.span), digest[:8], name, one.end_ns, attributes)
    return StoredSpan(one.record.resource, one.record.scope, message)


def _origin(span: Span) -> messages.Origin:
    return messages.Origin(span.trace_id, span.span_id, span.trace_state)


def _operation(span: Span) -> str:
    return text_of(span.attributes.get(attr.CRUCIBLE_OPERATION_NAME))


def _given(attributes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in attributes.items() if value is not None}


def _instant(time_ns: int) -> str:
    """The time as ISO 8601 in UTC, to the millisecond; empty for a year that Python does not know."""
    try:
        moment = datetime.fromtimestamp(time_ns // 1_000_000 / 1000, timezone.utc)
    except (OverflowError, ValueError, OSError):
        return ""
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
