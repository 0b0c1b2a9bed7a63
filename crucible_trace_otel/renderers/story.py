"""A lineage as text for people, and as a document for programs."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from crucible_trace_otel.renderers.nested import json_value
from crucible_trace_otel.renderers.words import (
    DECISIONS,
    comparison,
    name_of,
    number,
    plain,
    plural,
    quoted,
    reasoning,
    tell_span,
)
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.trace.lineage import CHANGES, Change, DatasetUse, Feedback, Inferences, Lineage
from crucible_trace_otel.trace.provenance import INSIDE, LOADS, Edge, made, path_of, text_of, used
from crucible_trace_otel.trace.spans import TraceSpan, key_of, local_time

__all__ = ["document", "lines", "story", "title"]

_MOST: Final = 11
_FIRST, _LAST = 5, 5
_MOST_FEEDBACK: Final = 3
_AROUND: Final = (
    operations.EXPERIMENT,
    operations.TUNING_STUDY,
    operations.TRIAL,
    operations.PIPELINE,
    operations.STAGE,
)
_TOLD_WITH_TIME: Final = frozenset({operations.TRAINING_RUN, operations.DEPLOYMENT, operations.MODEL_SAVE})
_TOLD: Final = frozenset(
    {
        *DECISIONS,
        *CHANGES,
        *_AROUND,
        *_TOLD_WITH_TIME,
        operations.REASONING_CHAIN,
        operations.CHECKPOINT_SAVE,
        operations.VALIDATION_RUN,
    }
)


def lines(lineage: Lineage) -> Iterable[str]:
    """The whole story."""
    yield title(lineage)
    yield from lineage.subject.notes
    for heading, told in story(lineage):
        yield ""
        yield heading
        yield from (f"  {line}" for line in told)


def story(lineage: Lineage) -> list[tuple[str, list[str]]]:
    """The sections of `lineage`, each with its title and its lines; those that have something to say.

    What comes from a recording stands there as one harmless line.
    """
    ahead = set(map(key_of, lineage.ahead))
    decisions = lineage.of(*DECISIONS)
    against = [f"rejected {_said(one)}" for one in lineage.rejected]
    others = [
        span for span in lineage.operations if span.operation not in _TOLD and not _is_told_outside(lineage, span)
    ]
    every = [
        ("Data sets", [_dataset(one) for one in lineage.datasets]),
        ("Decisions", [*_items(lineage, [one for one in decisions if key_of(one) not in ahead]), *_cut(against)]),
        ("Runs", _items(lineage, lineage.of(operations.TRAINING_RUN))),
        ("Checkpoints", _items(lineage, lineage.of(operations.CHECKPOINT_SAVE))),
        ("Evaluations", _items(lineage, lineage.of(operations.VALIDATION_RUN))),
        ("Models", _items(lineage, lineage.of(operations.MODEL_SAVE))),
        ("Decisions that rest on it", _items(lineage, [one for one in decisions if key_of(one) in ahead])),
        ("Deployments", _items(lineage, lineage.of(operations.DEPLOYMENT))),
        ("What became of the deployments", _cut([line for one in lineage.changes for line in _change(one)])),
        ("Inferences", _cut([_inferences(one) for one in lineage.inferences])),
        ("Feedback", [line for one in lineage.feedback for line in _feedback(one)]),
        ("Around it", _items(lineage, lineage.of(*_AROUND))),
        ("Further", _items(lineage, others)),
    ]
    return [(title, lines) for title, lines in every if lines]


def _is_told_outside(lineage: Lineage, span: TraceSpan) -> bool:
    """Whether it is a load, which is told as an edge of what it lies in."""
    return span.operation in LOADS and any(edge.type == INSIDE for edge in lineage.edges_of(span))


def title(lineage: Lineage) -> str:
    """What it is about, in a line."""
    spans, kind = lineage.subject.spans, lineage.subject.kind
    last = quoted(spans[-1].operation, spans[-1].about)
    if len(spans) == 1:
        return last
    return f"{last}, {len(spans)} attempts" if kind == "run" else f"{last}, and {len(spans) - 1} more of this {kind}"


def _items(lineage: Lineage, spans: Sequence[TraceSpan]) -> list[str]:
    """A line for each of `spans`, with what it rests on below it; of many those in the middle are counted."""
    told = [[_line(span), *(f"  {line}" for line in _below(lineage, span))] for span in spans]
    if len(told) > _MOST:
        left_out = len(told) - _FIRST - _LAST
        told = [*told[:_FIRST], [f"… {left_out} more {plural(left_out, spans[0].operation)}"], *told[-_LAST:]]
    return [line for lines in told for line in lines]


def _line(span: TraceSpan) -> str:
    told = tell_span(span)
    words = [told.title, told.duration, *told.facts, *_facts(span), told.remark]
    return "  ".join(filter(None, (*words, f"✗ {told.problem}" if told.problem else "")))


def _facts(span: TraceSpan) -> Iterator[str]:
    """Which one it is: digest, run, time."""
    if span.operation == operations.TRAINING_RUN:
        run = [f"{word}{plain(text_of(span, key), 40)}" for key, word in _RUN_FACTS if text_of(span, key)]
        yield ", ".join(run)
    is_stage = span.operation == operations.STAGE
    for way, digests in (("in ", used(span)), ("out ", made(span))):
        yield from (f"{way if is_stage else ''}sha256 {plain(digest)}" for digest in digests)
    if span.operation in _TOLD_WITH_TIME:
        yield local_time(span.start_ns)


_RUN_FACTS: Final = (
    (attr.CRUCIBLE_RUN_ID, "run "),
    (attr.CRUCIBLE_RUN_ATTEMPT, "attempt "),
    (attr.CRUCIBLE_RUN_STATE, ""),
)


def _below(lineage: Lineage, span: TraceSpan) -> Iterator[str]:
    because = reasoning(span)
    if because:
        yield f"because {because}"
    for edge in lineage.edges_of(span):
        yield _edge(edge)


def _edge(edge: Edge) -> str:
    """`↳ serves model_save "digits.npz"  (link, same digest)`."""
    operation, _, about = edge.name.partition(": ")
    name = quoted(operation, about) or "something"
    if edge.cause is not None:
        name = quoted(edge.cause.name, edge.cause.about) if edge.type == INSIDE else name_of(edge.cause)
    known = [edge.known if edge.holder is edge.effect else f"{edge.known} through {plain(edge.holder.operation)}"]
    known += ["same digest"] if edge.is_same and edge.known != "digest" else []
    known += ["not stored"] if edge.cause is None else []
    told = f"↳ {plain(edge.type or 'link')} {name}  ({', '.join(known)})"
    if edge.is_same is False and edge.cause is not None:
        saved, loaded = (", ".join(digest[:8] for digest in digests) for digests in (made(edge.cause), edge.used))
        told += f"  ✗ not the same bytes: sha256 {plain(saved)} was saved, {plain(loaded)} was read"
    return told


def _dataset(one: DatasetUse) -> str:
    facts = [f"version {plain(one.version, 40)}"] if one.version is not None else []
    facts += [f"split {plain(one.split, 40)}"] if one.split is not None else []
    facts += [f"{one.rows:,} rows"] if isinstance(one.rows, int) else []
    facts += [f"sha256 {plain(one.sha256)}"] if one.sha256 is not None else []
    users = dict.fromkeys(quoted(span.operation, span.about) for span in one.users)
    of = next(iter(users)) + (f" and {len(users) - 1} more" if len(users) > 1 else "")
    return "  ".join([plain(one.name if one.name is not None else "(no name)"), *facts, f"of {of}"])


def _change(one: Change) -> Iterator[str]:
    about = plain(one.attributes.get(attr.CRUCIBLE_ABOUT, ""))
    reason = plain(one.attributes.get(attr.CRUCIBLE_DEPLOYMENT_REASON, ""))
    share = one.attributes.get(attr.CRUCIBLE_DEPLOYMENT_TRAFFIC_SHARE)
    words = [quoted(one.name, about), f"of {name_of(one.deployment)}"]
    is_told = "of the traffic" in about
    words += [f"{number(100 * share)} % of the traffic"] if isinstance(share, (int, float)) and not is_told else []
    words += [f"because {reason}"] if reason and reason not in about else []
    words += [*comparison(one.attributes), local_time(one.time_ns)]
    yield "  ".join(words)
    yield from (f"  {_edge(edge)}" for edge in one.edges)


def _inferences(one: Inferences) -> str:
    of = name_of(one.of)
    sampled = "" if one.sampled is None else f" recorded, a share of {number(one.sampled)},"
    time = f"from {local_time(one.start_ns)} to {local_time(one.end_ns)}"
    return f"{one.count:,}{sampled} of {of}, {one.failed:,} failed, {time}"


def _feedback(one: Feedback) -> Iterator[str]:
    mean = "" if one.mean_score is None else f", mean score {number(one.mean_score)} of {one.scores:,}"
    labels = "".join(f", {count:,} {plain(label, 40)}" for label, count in one.labels.items())
    by = f" ({plain(one.by, 40)})" if one.by else ""
    yield f"{one.count:,} on {name_of(one.on)}{by}{mean}{labels}"
    for said, about in one.pairs[-_MOST_FEEDBACK:]:
        score = said.attributes.get(attr.CRUCIBLE_FEEDBACK_SCORE)
        words = [f"score {number(score)}"] if score is not None else []
        words += [plain(said.attributes[key]) for key in _FEEDBACK_WORDS if key in said.attributes]
        on = f"on {name_of(about)} of {local_time(about.start_ns)}"
        yield f"  {', '.join(words) or 'feedback'}  {on}"


_FEEDBACK_WORDS: Final = (attr.CRUCIBLE_FEEDBACK_LABEL, attr.CRUCIBLE_FEEDBACK_COMMENT)


def _said(span: TraceSpan) -> str:
    return ": ".join(filter(None, (f'"{plain(span.about)}"', reasoning(span))))


def _cut(lines: Sequence[str]) -> list[str]:
    return [*lines[:_MOST], *([f"… {len(lines) - _MOST} more"] if len(lines) > _MOST else [])]


def document(lineage: Lineage) -> dict[str, Any]:
    """`lineage` for programs; operations are named by their trace id and span id."""
    places = {
        "subject": lineage.subject.spans,
        "behind": lineage.behind,
        "ahead": lineage.ahead,
        "beside": lineage.beside,
    }
    return {
        "subject": {
            "kind": lineage.subject.kind,
            "operations": [_id(span) for span in lineage.subject.spans],
            "notes": list(lineage.subject.notes),
        },
        "datasets": [
            {
                "name": one.name,
                "version": one.version,
                "sha256": one.sha256,
                "split": one.split,
                "rows": one.rows,
                "users": [_id(span) for span in one.users],
            }
            for one in lineage.datasets
        ],
        "operations": [_operation(span, place) for place, spans in places.items() for span in spans],
        "edges": [_edge_values(edge) for edges in lineage.edges.values() for edge in edges],
        "rejected": [{**_id(one), "name": plain(one.about), "reasoning": reasoning(one)} for one in lineage.rejected],
        "changes": [_change_values(one) for one in lineage.changes],
        "inferences": [_inferences_values(one) for one in lineage.inferences],
        "feedback": [_feedback_values(one) for one in lineage.feedback],
    }


def _id(span: TraceSpan) -> dict[str, str]:
    return {"trace_id": span.trace_id, "span_id": span.span_id}


def _operation(span: TraceSpan, place: str) -> dict[str, Any]:
    return {
        **_id(span),
        "place": place,
        "operation": span.operation,
        "about": span.about,
        "start_ns": span.start_ns,
        "duration_s": span.duration_s,
        "status": span.status,
        "path": path_of(span),
        "sha256": list(dict.fromkeys((*made(span), *used(span)))),
        "run_id": text_of(span, attr.CRUCIBLE_RUN_ID),
        "version": text_of(span, attr.CRUCIBLE_MODEL_VERSION),
        "reasoning": reasoning(span),
    }


def _edge_values(edge: Edge) -> dict[str, Any]:
    return {
        "effect": _id(edge.effect),
        "type": edge.type,
        "cause": None if edge.cause is None else _id(edge.cause),
        "name": edge.name,
        "known": edge.known,
        "through": _id(edge.holder),
        "same_digest": edge.is_same,
    }


def _change_values(one: Change) -> dict[str, Any]:
    return {
        "deployment": _id(one.deployment),
        "name": one.name,
        "time_ns": one.time_ns,
        "attributes": json_value(one.attributes),
        "edges": [_edge_values(edge) for edge in one.edges],
    }


def _inferences_values(one: Inferences) -> dict[str, Any]:
    return {
        "of": _id(one.of),
        "count": one.count,
        "failed": one.failed,
        "start_ns": one.start_ns,
        "end_ns": one.end_ns,
        "sampled": one.sampled,
    }


def _feedback_values(one: Feedback) -> dict[str, Any]:
    return {
        "on": _id(one.on),
        "by": one.by,
        "count": one.count,
        "scores": one.scores,
        "mean_score": json_value(one.mean_score),
        "labels": dict(one.labels),
        "each": [
            {**_id(said), "about": _id(about), "score": json_value(said.attributes.get(attr.CRUCIBLE_FEEDBACK_SCORE))}
            for said, about in one.pairs
        ],
    }
