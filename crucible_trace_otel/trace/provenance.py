"""What each operation rests on, and how that is known: by a link, by equal digests, by what encloses it, by a name.

A link is what the recording program said. A digest joins what was recorded in two processes or two journals, of which
neither knew the other. A name says least, and is asked last.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.causality import causal_links
from crucible_trace_otel.trace.spans import NAMING, Key, Trace, TraceSpan, in_order, key_of

__all__ = ["INSIDE", "LOADS", "SAVES", "Edge", "Known", "Provenance", "made", "path_of", "text_of", "used"]

Known = Literal["link", "digest", "enclosed", "name only"]
"""How it is known that one thing rests on another."""

INSIDE: Final = "in"
"""The type of an edge to what encloses the operation."""
SAVES: Final = frozenset({operations.MODEL_SAVE, operations.CHECKPOINT_SAVE})
LOADS: Final = frozenset({operations.MODEL_LOAD, operations.CHECKPOINT_LOAD})
_HOLDERS: Final = NAMING | {operations.STAGE, operations.TRIAL}
_OF_RUNS: Final = SAVES | {operations.VALIDATION_RUN}
_PARTS: Final = SAVES | _HOLDERS | {operations.INFERENCE, operations.A_B_TEST}
# One of these says that the bytes on both sides are the same.
_SAME: Final = frozenset({LinkType.SERVES, LinkType.PRODUCED_BY})
_USES: Final = _SAME | {LinkType.CONSUMES}
# What these point at is no cause of what holds them.
_ASIDE: Final = frozenset(
    {LinkType.EVALUATED_BY, LinkType.ROLLED_BACK_TO, LinkType.INDEXES, LinkType.CONTINUES, LinkType.RANK_OF}
)
_SHA256: Final = (attr.CRUCIBLE_MODEL_SHA256, attr.CRUCIBLE_CHECKPOINT_SHA256)
_USED: Final = (*_SHA256, attr.CRUCIBLE_DATASET_SHA256, attr.CRUCIBLE_STAGE_INPUT_SHA256)
_OF_EVENTS: Final = (*_SHA256, attr.CRUCIBLE_DATASET_SHA256)


@dataclass(frozen=True, slots=True)
class Edge:
    """That one thing rests on another."""

    effect: TraceSpan
    holder: TraceSpan
    """What says so: the effect itself, or a load in it."""
    type: str
    """The type of the link, or the one that a link would have had; `in` for what encloses the effect."""
    target: Key
    """Where the cause is."""
    cause: TraceSpan | None
    """None where it is not among the traces given."""
    known: Known
    name: str = ""
    """What the cause was called when it was recorded; empty where nobody said."""
    is_same: bool | None = None
    """Whether what was used has the digest of what was made; None where one of them is not known."""
    used: Sequence[str] = ()
    """The digests of what was used, where they are known."""

    @property
    def leads_on(self) -> bool:
        """Whether what the cause rests on is behind the effect too; not where the bytes differ."""
        return self.cause is not None and self.is_same is not False and self.type not in _ASIDE


def text_of(span: TraceSpan, key: str) -> str:
    """An attribute as text; empty where there is none."""
    return str(span.attributes.get(key, ""))


def path_of(span: TraceSpan) -> str:
    """Where the model or checkpoint lies; empty where nobody said."""
    return text_of(span, attr.CRUCIBLE_MODEL_PATH) or text_of(span, attr.CRUCIBLE_CHECKPOINT_PATH)


def made(span: TraceSpan) -> tuple[str, ...]:
    """The SHA-256 of each thing that `span` made, in lower case."""
    found = list(_texts(span.attributes.get(attr.CRUCIBLE_STAGE_OUTPUT_SHA256)))
    if _is_making(span):
        found += [text for key in _USED for text in _texts(span.attributes.get(key))]
    return tuple(map(str.lower, (*found, *_in_events(span, events.ARTIFACT_PRODUCED))))


def used(span: TraceSpan) -> tuple[str, ...]:
    """The SHA-256 of each thing that `span` read or served, in lower case."""
    found = [] if _is_making(span) else [text for key in _USED for text in _texts(span.attributes.get(key))]
    return tuple(map(str.lower, (*found, *_in_events(span, events.ARTIFACT_CONSUMED))))


class Provenance:
    """The spans of many traces, and what each of them rests on. Nothing depends on the order of the traces."""

    def __init__(self, traces: Iterable[Trace]) -> None:
        by_key: dict[Key, TraceSpan] = {}
        for span in (span for trace in traces for span in trace.spans):
            there = by_key.setdefault(key_of(span), span)
            # A store may have it as it ran and another one as it ended.
            if there is not span and _rank(span) > _rank(there):
                by_key[key_of(span)] = span
        self.spans = in_order(by_key.values())
        self._by_key = by_key
        self._by_span_id = {span.span_id: span for span in reversed(self.spans)}
        self._loads: dict[Key, list[TraceSpan]] = {}
        self._makers: dict[str, list[TraceSpan]] = {}
        self._saved_at: dict[str, list[TraceSpan]] = {}
        self._saved_as: dict[str, list[TraceSpan]] = {}
        self._deployed_as: dict[str, list[TraceSpan]] = {}
        self._runs: dict[str, list[TraceSpan]] = {}
        for span in self.spans:
            self._file(span)
        self._edges: dict[Key, tuple[Edge, ...]] = {}

    def _file(self, span: TraceSpan) -> None:
        """Note under what `span` will be looked for."""
        for digest in made(span):
            self._makers.setdefault(digest, []).append(span)
        if span.operation in SAVES:
            self._saved_at.setdefault(path_of(span), []).append(span)
        if span.operation in SAVES or span.operation == operations.TRAINING_RUN:
            for name in _texts(span.attributes.get(attr.CRUCIBLE_MODEL_NAME)):
                self._saved_as.setdefault(name, []).append(span)
        if span.operation == operations.DEPLOYMENT:
            self._deployed_as.setdefault(str(span.attributes.get(attr.DEPLOYMENT_NAME, span.about)), []).append(span)
        if span.operation == operations.TRAINING_RUN and attr.CRUCIBLE_RUN_ID in span.attributes:
            self._runs.setdefault(str(span.attributes[attr.CRUCIBLE_RUN_ID]), []).append(span)
        holder = self.holder_of(span) if span.operation in LOADS else None
        if holder is not None:
            self._loads.setdefault(key_of(holder), []).append(span)

    def attempts_at(self, run: TraceSpan) -> tuple[TraceSpan, ...]:
        """All that was recorded as an attempt at the same run, itself too, in order of their start."""
        return tuple(self._runs.get(str(run.attributes.get(attr.CRUCIBLE_RUN_ID)), (run,)))

    def holder_of(self, span: TraceSpan) -> TraceSpan | None:
        """The innermost run, stage, pipeline, chain, deployment, ... that encloses `span`."""
        return next((one for one in self.around(span) if one.operation in _HOLDERS), None)

    def around(self, span: TraceSpan) -> Iterator[TraceSpan]:
        """What encloses `span`, innermost first."""
        seen = {key_of(span)}
        here = self._parent_of(span)
        while here is not None and key_of(here) not in seen:
            yield here
            seen.add(key_of(here))
            here = self._parent_of(here)

    def _parent_of(self, span: TraceSpan) -> TraceSpan | None:
        parent = self._by_key.get((span.trace_id, span.parent_id or ""))
        if parent is None and span.moved_from is not None:  # it lies in another trace of the same run
            return self._by_span_id.get(span.parent_id or "")
        return parent

    def edges(self, span: TraceSpan) -> tuple[Edge, ...]:
        """What `span` rests on, what is known best first."""
        if key_of(span) not in self._edges:
            self._edges[key_of(span)] = tuple(self._found(span))
        return self._edges[key_of(span)]

    def _found(self, span: TraceSpan) -> Iterator[Edge]:
        holders = (span, *self._loads.get(key_of(span), ()))
        theirs = tuple(digest for holder in holders for digest in used(holder))
        found: list[Edge] = []
        for holder in holders:
            there = {edge.target for edge in found}
            linked = self._linked(span, holder, theirs if holder is span else used(holder))
            found += [edge for edge in linked if holder is span or edge.target not in there]
        for holder in holders:
            found += self._by_digest(span, holder, found)
        if not any(edge.type in _USES and edge.cause is not None for edge in found):
            found += [edge for holder in holders for edge in self._by_name(span, holder)]
        yield from found
        yield from self._by_run_id(span, found)
        holder = self.holder_of(span)
        if holder is not None:
            yield Edge(span, span, INSIDE, key_of(holder), holder, "enclosed")

    def _linked(self, span: TraceSpan, holder: TraceSpan, theirs: Sequence[str]) -> Iterator[Edge]:
        for link in causal_links(holder):
            cause = self._by_key.get((link.trace_id, link.span_id))
            if cause is not None and holder is not span and self._is_within(cause, span):
                continue  # a run that loads its own checkpoint does not rest on it
            is_same = _agree(theirs, cause) if link.type in _SAME else None
            type_ = _standing(span) if holder is not span and link.type == LinkType.PRODUCED_BY else link.type
            target = (link.trace_id, link.span_id)
            yield Edge(span, holder, type_, target, cause, "link", link.name, is_same, theirs)

    def _by_digest(self, span: TraceSpan, holder: TraceSpan, linked: list[Edge]) -> Iterator[Edge]:
        type_ = _standing(span)
        there = {edge.target for edge in linked}
        for digest in used(holder):
            makers = [one for one in self._makers.get(digest, ()) if not self._is_within(one, span)]
            if makers and there.isdisjoint(map(key_of, makers)):
                cause = _last_before(makers, holder) or makers[0]
                there.add(key_of(cause))
                yield Edge(span, holder, type_, key_of(cause), cause, "digest", is_same=True, used=(digest,))

    def _by_name(self, span: TraceSpan, holder: TraceSpan) -> Iterator[Edge]:
        """What is called like what `holder` loads or serves; where it has another digest, the edge says so."""
        type_, makers = self._called(span, holder)
        makers = [one for one in makers if not self._is_within(one, span)]
        cause = _last_before(makers, holder)
        if cause is not None:
            theirs = used(holder)
            is_same = _agree(theirs, cause)
            yield Edge(span, holder, type_, key_of(cause), cause, "name only", is_same=is_same, used=theirs)

    def _called(self, span: TraceSpan, holder: TraceSpan) -> tuple[str, list[TraceSpan]]:
        """What `holder` loads or serves by its name or path, and how `span` stands to that."""
        if holder.operation in LOADS:
            return _standing(span), self._saved_at.get(path_of(holder), []) if path_of(holder) else []
        if holder.operation == operations.INFERENCE and self.holder_of(holder) is None:
            deployments = self._deployed_as.get(str(holder.attributes.get(attr.DEPLOYMENT_NAME)), [])
            return (INSIDE, deployments) if deployments else (LinkType.SERVES, self.models_named(holder))
        return LinkType.SERVES, self.models_named(holder) if holder.operation == operations.DEPLOYMENT else []

    def models_named(self, serving: TraceSpan) -> list[TraceSpan]:
        """What was saved under the model name, and version, that `serving` has; else the runs that trained it."""
        names = _texts(serving.attributes.get(attr.CRUCIBLE_MODEL_NAME))
        version = serving.attributes.get(attr.CRUCIBLE_MODEL_VERSION)
        models = [one for name in names for one in self._saved_as.get(name, ())]
        models = [one for one in models if version in (None, one.attributes.get(attr.CRUCIBLE_MODEL_VERSION))]
        return [one for one in models if one.operation in SAVES] or models

    def _by_run_id(self, span: TraceSpan, found: list[Edge]) -> Iterator[Edge]:
        """The attempt before this one, and the run of what lies in a trace without it, where nothing else says so."""
        run_id = span.attributes.get(attr.CRUCIBLE_RUN_ID)
        runs = self._runs.get(str(run_id), []) if run_id is not None else []
        if span.operation == operations.TRAINING_RUN:
            number = _attempt(span)
            earlier = [one for one in runs if _attempt(one) < number]
            if earlier and all(edge.type != LinkType.RESUMED_FROM for edge in found):
                cause = max(earlier, key=_attempt)
                yield Edge(span, span, LinkType.RESUMED_FROM, key_of(cause), cause, "name only")
        elif runs and span.operation in _OF_RUNS and operations.TRAINING_RUN not in self._operations_around(span):
            run = _last_before(runs, span) or runs[0]
            yield Edge(span, span, INSIDE, key_of(run), run, "name only")

    def _operations_around(self, span: TraceSpan) -> set[str]:
        return {one.operation for one in self.around(span)}

    def _is_within(self, span: TraceSpan, outer: TraceSpan) -> bool:
        if span is outer or span.trace_id != outer.trace_id:
            return span is outer
        return any(one is outer for one in self.around(span))

    def behind(self, spans: Iterable[TraceSpan]) -> tuple[TraceSpan, ...]:
        """What `spans` rest on, and what that rests on, and so on; each once, none of `spans`."""
        return _reached(spans, lambda span: [edge.cause for edge in self.edges(span) if edge.leads_on and edge.cause])

    def ahead(self, spans: Iterable[TraceSpan]) -> tuple[TraceSpan, ...]:
        """What rests on `spans`, and what rests on that, and so on; each once, none of `spans`."""
        effects: dict[Key, list[TraceSpan]] = {}
        for edge in (edge for span in self.spans for edge in self.edges(span)):
            if edge.leads_on and edge.cause is not None and _follows(edge, edge.cause):
                effects.setdefault(key_of(edge.cause), []).append(edge.effect)
        return _reached(spans, lambda span: effects.get(key_of(span), []))


def _reached(starts: Iterable[TraceSpan], following: Callable[[TraceSpan], list[TraceSpan]]) -> tuple[TraceSpan, ...]:
    waiting = list(starts)
    seen = {key_of(span) for span in waiting}
    found = []
    while waiting:
        for span in following(waiting.pop()):
            if key_of(span) not in seen:
                seen.add(key_of(span))
                found.append(span)
                waiting.append(span)
    return in_order(found)


def _standing(user: TraceSpan) -> str:
    """How `user` stands to what made the bytes it used."""
    if user.operation in LOADS:
        return LinkType.PRODUCED_BY
    return LinkType.SERVES if user.operation == operations.DEPLOYMENT else LinkType.CONSUMES


def _texts(value: Any) -> tuple[str, ...]:
    """The texts that an attribute has; none where it has something else."""
    if value is None:  # nearly always
        return ()
    items = value if isinstance(value, tuple) else (value,)
    return tuple(item for item in items if isinstance(item, str) and item)


def _is_making(span: TraceSpan) -> bool:
    return span.operation in SAVES or span.operation == events.ARTIFACT_PRODUCED


def _in_events(span: TraceSpan, name: str) -> Iterator[str]:
    for event in span.events:
        if event.name == name:
            yield from (text for key in _OF_EVENTS for text in _texts(event.attributes.get(key)))


def _agree(theirs: Iterable[str], cause: TraceSpan | None) -> bool | None:
    """Whether one of `theirs`, the digests that were used, is what `cause` made; None where either has none."""
    there, here = set(theirs), set(made(cause)) if cause is not None else set()
    return not here.isdisjoint(there) if here and there else None


def _last_before(makers: Iterable[TraceSpan], user: TraceSpan) -> TraceSpan | None:
    """The last of `makers` that began before `user` did."""
    return max(
        (one for one in makers if one.start_ns <= user.start_ns),
        key=lambda one: (one.start_ns, one.end_ns, one.span_id),
        default=None,
    )


def _follows(edge: Edge, cause: TraceSpan) -> bool:
    """Whether the effect is there because of the cause; epochs and other instrumentations' spans only lie in it."""
    return edge.type != INSIDE or edge.effect.operation in _PARTS or cause.operation == operations.REASONING_CHAIN


def _attempt(run: TraceSpan) -> int:
    number = run.attributes.get(attr.CRUCIBLE_RUN_ATTEMPT)
    return number if type(number) is int else 0


def _rank(span: TraceSpan) -> tuple[bool, bool, int, int, int, str]:
    """How much a stored copy of a span tells."""
    counted = len(span.attributes), len(span.links)
    return (not span.is_running, span.moved_from is not None, span.end_ns, *counted, repr(span))
