"""The life of a model in one value: from the data set and the decision behind it to the feedback on its answers.

    story = lineage(store.traces(), "digits-reader")
    for checkpoint in story.of("checkpoint_save"):
        print(checkpoint.about, checkpoint.attributes["crucible.checkpoint.sha256"])

What a thing rests on is followed back to its beginnings, and what rests on it to the end; what else rests on its
causes, such as another model of the same run, is left out.
"""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Final

from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.semconv.enums import LinkType
from crucible_trace_otel.trace.provenance import INSIDE, Edge, Provenance
from crucible_trace_otel.trace.spans import Key, Trace, TraceSpan, in_order, key_of
from crucible_trace_otel.trace.subjects import Subject, find_subject

__all__ = ["CHANGES", "Change", "DatasetUse", "Feedback", "Inferences", "Lineage", "lineage"]

_COUNTED: Final = frozenset({operations.INFERENCE, operations.FEEDBACK})
CHANGES: Final = frozenset(
    {
        events.SERVING_STARTED,
        operations.CANARY_STARTED,
        events.CANARY_PROMOTED,
        operations.CANARY_REJECTED,
        events.DEPLOYMENT_ROLLBACK,
        events.A_B_TEST_RESULT,
        events.ONLINE_UPDATE_APPLIED,
        operations.A_B_TEST,
    }
)
"""What happens to a deployment, as an event of it or a span in it."""
_DATASET: Final = (
    attr.CRUCIBLE_DATASET_NAME,
    attr.CRUCIBLE_DATASET_VERSION,
    attr.CRUCIBLE_DATASET_SHA256,
    attr.CRUCIBLE_DATASET_SPLIT,
    attr.CRUCIBLE_DATASET_ROWS,
)


@dataclass(frozen=True, slots=True)
class DatasetUse:
    """A data set, and what was trained or judged on it; None is what nobody said."""

    name: str | None
    version: str | None
    sha256: str | None
    split: str | None
    rows: int | None
    users: tuple[TraceSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class Inferences:
    """The recorded answers of one deployment, or of a model outside of any."""

    of: TraceSpan
    count: int
    failed: int
    start_ns: int
    end_ns: int
    sampled: float | None = None
    """The least share of all answers that is recorded, from 0 to 1; None where nobody said that some are left out."""


@dataclass(frozen=True, slots=True)
class Feedback:
    """What was said about the answers of one deployment, or about another operation, on one scale."""

    on: TraceSpan
    by: str
    """`human`, `automatic`, or the name of what was evaluated, such as `relevance`; empty where nobody said."""
    count: int
    mean_score: float | None
    """None where no feedback has a score."""
    scores: int
    """How many have one."""
    labels: Mapping[str, int]
    pairs: tuple[tuple[TraceSpan, TraceSpan], ...] = field(repr=False)
    """Each feedback, and the operation it is about."""


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to a deployment: serving started, a canary was promoted, it was rolled back, versions compared."""

    deployment: TraceSpan
    name: str
    time_ns: int
    attributes: Mapping[str, Any]
    edges: tuple[Edge, ...]
    """What it went back to, and what caused it, where it is a span of its own."""


@dataclass(frozen=True, repr=False)
class Lineage:
    """Where something comes from, and what became of it. Operations stand in order of their start."""

    subject: Subject
    behind: tuple[TraceSpan, ...]
    """What the subject rests on."""
    ahead: tuple[TraceSpan, ...]
    """What rests on the subject, its inferences and their feedback left out."""
    beside: tuple[TraceSpan, ...]
    """What judged any of those, the other attempts at their runs, and the deployments that went back to theirs."""
    edges: Mapping[Key, tuple[Edge, ...]]
    """By the trace id and span id of the effect: what each operation rests on, and how that is known."""
    datasets: tuple[DatasetUse, ...]
    rejected: tuple[TraceSpan, ...]
    """The alternatives that the decisions behind it rejected."""
    changes: tuple[Change, ...]
    inferences: tuple[Inferences, ...]
    feedback: tuple[Feedback, ...]

    def __repr__(self) -> str:
        counted = f"{len(self.behind)} behind, {len(self.ahead)} ahead"
        return f"Lineage({self.subject.kind} {self.subject.spans[-1].about[:60]!r}, {counted})"

    @cached_property
    def operations(self) -> tuple[TraceSpan, ...]:
        """All of them: the subject's, those behind, ahead and beside it."""
        return in_order((*self.subject.spans, *self.behind, *self.ahead, *self.beside))

    def of(self, *names: str) -> tuple[TraceSpan, ...]:
        """Those of the operations called `names`: `training_run`, `checkpoint_save`, `model_save`, `deployment`, ..."""
        return tuple(span for span in self.operations if span.operation in names)

    def edges_of(self, span: TraceSpan) -> tuple[Edge, ...]:
        """What `span` rests on."""
        return self.edges.get(key_of(span), ())


def lineage(traces: Trace | Iterable[Trace], subject: str) -> Lineage:
    """From the data set to the feedback: all that is behind and ahead of a model, file, run or deployment.

    What one process saved and another loaded is joined by a link, or where there is none, by its SHA-256, in whatever
    traces and journals the two were recorded. Each edge says how it is known. Where a link or a path leads to a saving
    of another digest, the edge says so and is not followed.

    Args:
        traces: Those of one store, or of several; their order does not matter.
        subject: The name or id of a deployment; the name of a model, or `name@version`; the path of a model or
            checkpoint; at least 8 digits of a SHA-256; the name or id of a run, or a trace id. `deployment:`, `model:`,
            `file:`, `run:`, `pipeline:` or `sha256:` in front says which of them. Of things of one name that followed
            each other the latest is told, with a note.

    Raises:
        NotFoundError: Nothing answers to `subject`.
        AmbiguousSubjectError: Several things do that were there side by side; a CrucibleError and a LookupError.
        FormatError: `subject` claims to be a digest, and is none.
    """
    known = Provenance((traces,) if isinstance(traces, Trace) else traces)
    meant = find_subject(known, subject)
    behind, reached = known.behind(meant.spans), known.ahead(meant.spans)
    core = {key_of(span): span for span in (*meant.spans, *behind, *reached)}
    back = set(map(key_of, behind))
    ahead = tuple(span for span in reached if span.operation not in _COUNTED and key_of(span) not in back)
    told = [span for span in core.values() if span.operation not in _COUNTED]
    found = (*_other_attempts(known, told), *_judging(known, told), *_gone_back(known, told))
    beside = {key_of(span): span for span in found if key_of(span) not in core}.values()
    every = in_order((*told, *beside))
    inferences = _inferences(known, told, core)
    return Lineage(
        subject=meant,
        behind=tuple(span for span in behind if span.operation != operations.INFERENCE),
        ahead=ahead,
        beside=in_order(beside),
        edges={key_of(span): known.edges(span) for span in every},
        datasets=_datasets(every),
        rejected=_rejected(known, every),
        changes=_changes(known, every),
        inferences=tuple(_counted(of, answers) for of, answers in inferences),
        feedback=_feedback(known, every, inferences),
    )


def _other_attempts(known: Provenance, spans: Iterable[TraceSpan]) -> list[TraceSpan]:
    runs = [span for span in spans if span.operation == operations.TRAINING_RUN]
    return [attempt for run in runs for attempt in known.attempts_at(run)]


def _gone_back(known: Provenance, spans: Iterable[TraceSpan]) -> list[TraceSpan]:
    """The deployments that went back to one of `spans`."""
    there = {key_of(span) for span in spans if span.operation == operations.DEPLOYMENT}
    going = (
        span
        for span in (known.spans if there else ())
        if any(edge.type == LinkType.ROLLED_BACK_TO and edge.target in there for edge in known.edges(span))
    )
    holders = (span if span.operation == operations.DEPLOYMENT else known.holder_of(span) for span in going)
    return [span for span in holders if span is not None and span.operation == operations.DEPLOYMENT]


def _judging(known: Provenance, spans: list[TraceSpan]) -> list[TraceSpan]:
    """The validations of `spans`: linked, in the epoch of a checkpoint, or else the last one of a run."""
    of_run: dict[Key, list[TraceSpan]] = {}
    linked: dict[Key, list[TraceSpan]] = {}
    for span in known.spans:
        if span.operation == operations.VALIDATION_RUN:
            for edge in known.edges(span):
                if edge.cause is not None:
                    (of_run if edge.type == INSIDE else linked).setdefault(key_of(edge.cause), []).append(span)
    found: list[TraceSpan] = []
    judged: set[Key] = set()
    for span in spans:
        pointed = [edge.cause for edge in known.edges(span) if edge.type == LinkType.EVALUATED_BY and edge.cause]
        found += [*pointed, *linked.get(key_of(span), ())]
        run = next((edge.cause for edge in known.edges(span) if edge.type == INSIDE and edge.cause), None)
        if span.operation == operations.CHECKPOINT_SAVE and run is not None:
            same = [one for one in of_run.get(key_of(run), ()) if _epoch(known, one) == _epoch(known, span) is not None]
            found += same[-1:]
            judged |= {key_of(run)} if same else set()
    runs = [span for span in spans if span.operation == operations.TRAINING_RUN and key_of(span) not in judged]
    return found + [one for run in runs for one in of_run.get(key_of(run), ())[-1:]]


def _epoch(known: Provenance, span: TraceSpan) -> Any:
    """The epoch that something lies in, or that a checkpoint says it was taken in."""
    around = (span, *known.around(span))
    keys = (attr.CRUCIBLE_CHECKPOINT_EPOCH, attr.CRUCIBLE_TRAINING_EPOCH_INDEX)
    return next((one.attributes[key] for one in around for key in keys if key in one.attributes), None)


def _datasets(spans: Iterable[TraceSpan]) -> tuple[DatasetUse, ...]:
    """What each data set was used for: those of equal values are one."""
    found: dict[tuple[Any, ...], DatasetUse] = {}
    users: dict[tuple[Any, ...], list[TraceSpan]] = {}
    for span in spans:
        consumed = [event.attributes for event in span.events if event.name == events.ARTIFACT_CONSUMED]
        for attributes in (span.attributes, *consumed):
            name, version, sha256, split, rows = said = tuple(map(attributes.get, _DATASET))
            if name is not None or sha256 is not None:
                key = tuple(map(repr, said))
                found.setdefault(key, DatasetUse(name, version, sha256, split, rows))
                users.setdefault(key, []).append(span)
    return tuple(replace(one, users=tuple(users[key])) for key, one in found.items())


def _rejected(known: Provenance, spans: Iterable[TraceSpan]) -> tuple[TraceSpan, ...]:
    chains = {key_of(span) for span in spans if span.operation == operations.REASONING_CHAIN}
    against = (span for span in known.spans if span.operation == operations.ALTERNATIVE_REJECTED)
    return tuple(span for span in against if (chain := known.holder_of(span)) is not None and key_of(chain) in chains)


def _changes(known: Provenance, spans: Iterable[TraceSpan]) -> tuple[Change, ...]:
    deployments = {key_of(span): span for span in spans if span.operation == operations.DEPLOYMENT}
    found = [
        Change(deployment, event.name, event.time_ns, event.attributes, ())
        for deployment in deployments.values()
        for event in deployment.events
        if event.name in CHANGES
    ]
    for span in known.spans if deployments else ():
        holder = known.holder_of(span) if span.operation in CHANGES else None
        if holder is not None and key_of(holder) in deployments:
            edges = tuple(edge for edge in known.edges(span) if edge.type != INSIDE)
            found.append(Change(holder, span.operation, span.end_ns, span.attributes, edges))
    return tuple(sorted(found, key=lambda change: change.time_ns))


def _inferences(
    known: Provenance, spans: Iterable[TraceSpan], core: Mapping[Key, TraceSpan]
) -> list[tuple[TraceSpan, list[TraceSpan]]]:
    """The answers of each of `spans`: of a deployment those in it, of a model those that no deployment encloses.

    Those that serve a model which the lineage is not about, such as the other arm of a comparison, are left out.
    """
    told = {key_of(span): span for span in spans}
    found: dict[Key, list[TraceSpan]] = {}
    for span in known.spans:
        if span.operation == operations.INFERENCE:
            edges = [edge for edge in known.edges(span) if edge.cause is not None and edge.leads_on]
            served = [key_of(edge.cause) for edge in edges if edge.type == LinkType.SERVES and edge.cause]
            inside = [key_of(edge.cause) for edge in edges if edge.type == INSIDE and edge.cause]
            deployed = [key for key in inside if key in told and told[key].operation == operations.DEPLOYMENT]
            if not served or any(key in core for key in served):
                of = next(iter(deployed or [key for key in served if key in told]), None)
                if of is not None:
                    found.setdefault(of, []).append(span)
    return [(told[key], answers) for key, answers in found.items()]


def _counted(of: TraceSpan, answers: list[TraceSpan]) -> Inferences:
    shares = [one.attributes.get(attr.CRUCIBLE_INFERENCE_SAMPLED_RATIO) for one in answers]
    return Inferences(
        of=of,
        count=len(answers),
        failed=sum(one.status == "error" for one in answers),
        start_ns=min(one.start_ns for one in answers),
        end_ns=max(one.end_ns for one in answers),
        sampled=min((share for share in shares if isinstance(share, float) and 0 <= share < 1), default=None),
    )


def _feedback(
    known: Provenance, spans: Iterable[TraceSpan], inferences: list[tuple[TraceSpan, list[TraceSpan]]]
) -> tuple[Feedback, ...]:
    """What was said about `spans`, and about the answers of each: people and evaluations apart, as scales differ."""
    homes = {key_of(span): span for span in spans} | {key_of(one): of for of, answers in inferences for one in answers}
    targets = {key_of(one): one for _, answers in inferences for one in answers} | {
        key_of(span): span for span in spans
    }
    by_event = {one.attributes.get(attr.CRUCIBLE_EVENT_ID): key for key, one in targets.items()}
    found: dict[tuple[Key, str], list[tuple[TraceSpan, TraceSpan]]] = {}
    for span in known.spans:
        if span.operation == operations.FEEDBACK:
            linked = [
                key_of(edge.cause) for edge in known.edges(span) if edge.type == LinkType.FEEDBACK_ON and edge.cause
            ]
            named = by_event.get(span.attributes.get(attr.CRUCIBLE_FEEDBACK_TARGET_EVENT_ID, ""))
            about = next((key for key in [*linked, *([named] if named else [])] if key in targets), None)
            if about is not None:
                found.setdefault((key_of(homes[about]), _judge(span)), []).append((span, targets[about]))
    at = {key_of(of): of for of in homes.values()}
    return tuple(_summed(at[key], by, pairs) for (key, by), pairs in found.items())


def _judge(feedback: TraceSpan) -> str:
    """What was evaluated, or else who judged."""
    names = (str(event.attributes.get(attr.GEN_AI_EVALUATION_NAME, "")) for event in feedback.events)
    return next(filter(None, names), str(feedback.attributes.get(attr.CRUCIBLE_FEEDBACK_SOURCE, "")))


def _summed(on: TraceSpan, by: str, pairs: list[tuple[TraceSpan, TraceSpan]]) -> Feedback:
    given = [one.attributes.get(attr.CRUCIBLE_FEEDBACK_SCORE) for one, _ in pairs]
    scores = [score for score in given if isinstance(score, (int, float)) and math.isfinite(score)]
    labels = Counter(
        str(one.attributes[attr.CRUCIBLE_FEEDBACK_LABEL])
        for one, _ in pairs
        if attr.CRUCIBLE_FEEDBACK_LABEL in one.attributes
    )
    return Feedback(
        on=on,
        by=by,
        count=len(pairs),
        mean_score=math.fsum(scores) / len(scores) if scores else None,
        scores=len(scores),
        labels=dict(labels.most_common()),
        pairs=tuple(pairs),
    )
