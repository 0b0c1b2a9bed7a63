"""What a person means by `digits-reader`, `softmax@3`, `be98bd11` or `models/digits.npz`: the recorded operations.

What is found in the first of these is meant: a run id or trace id, a deployment's name or id, a model's name, a path, a
run's name, a pipeline's or experiment's, a digest, the beginning of a trace id. `run:digits` asks for one of them only.

Things of one name that followed each other are one thing, of which the latest is meant: a service that was deployed
again, a model that was saved again, a run that was started again. Things of one name that were there side by side are
several, and have to be told apart: a service in two environments, two runs at a time.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from crucible_trace_otel.errors import CrucibleError, FormatError, NotFoundError
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import spans as operations
from crucible_trace_otel.trace.provenance import LOADS, SAVES, Provenance, made, path_of, text_of, used
from crucible_trace_otel.trace.spans import NAMING, Key, TraceSpan, key_of, local_time

__all__ = ["AmbiguousSubjectError", "Subject", "find_subject"]

_WHICH: Final = (
    attr.DEPLOYMENT_ENVIRONMENT_NAME,
    attr.CRUCIBLE_DEPLOYMENT_TARGET_VERSION,
    attr.CRUCIBLE_MODEL_VERSION,
    attr.DEPLOYMENT_ID,
)
"""What may stand behind the `@` of a deployment."""
_SHORTEST_DIGEST: Final = 8
_SHORTEST_TRACE_ID: Final = 6
_SHA256_DIGITS: Final = 64
_HEX: Final = re.compile(r"[0-9a-fA-F]+")
_LIKE_A_DIGEST: Final = re.compile(r"[0-9a-zA-Z]{64}")
_MOST_LISTED: Final = 5


class AmbiguousSubjectError(CrucibleError, LookupError):
    """Several things answer to what was asked for; the message lists them, and how to tell them apart."""


@dataclass(frozen=True, slots=True)
class Subject:
    """What is asked about."""

    kind: str
    """`deployment`, `model`, `file`, `run`, `digest`, `trace`, or an operation's name."""
    spans: tuple[TraceSpan, ...]
    """The operations that are meant: a deployment, a saving, all attempts at a run."""
    notes: tuple[str, ...] = ()
    """What else the text could have meant."""


def find_subject(known: Provenance, text: str) -> Subject:
    """What is meant by `text`.

    Raises:
        NotFoundError: Nothing answers to it; the message lists up to five names that come near.
        AmbiguousSubjectError: Several things do, and none of them is the latest of one.
        FormatError: It claims to be a digest and is none.
    """
    if not isinstance(text, str) or not text:
        raise NotFoundError(f"Nothing answers to {text!r}: ask for a name, a path, a digest, a run id or a trace id.")
    kind, _, rest = text.partition(":")
    if kind.lower() == "sha256":
        subject = _digest(known, _checked(rest))
    else:
        subject = _KINDS[kind](known, rest) if kind in _KINDS and rest else None
        subject = subject or _by_name(known, text) or _by_beginning(known, text)
    if subject is None:
        raise NotFoundError(f"Nothing that is stored answers to {text!r}.{_hint(known, text)}")
    return subject


def _by_name(known: Provenance, text: str) -> Subject | None:
    """By an id or a name: the first meaning, with a note on those that are about something else."""
    meanings = (meaning(known, text) for meaning in (_id, *_KINDS.values()))
    found = [subject for subject in meanings if subject is not None]
    if not found:
        return None
    others = [one.kind for one in found[1:] if not _keys(one) & _keys(found[0])]
    asked = [f"`{kind}:{text}`" for kind in dict.fromkeys(others) if kind in _KINDS]
    note = f"{text!r} is told as a {found[0].kind}; {', '.join(asked)} asks for the other of that name."
    return Subject(found[0].kind, found[0].spans, (*found[0].notes, *([note] if asked else [])))


def _shown(text: str) -> str:
    """`text` as it can be typed; what is not printable, as Python escapes it."""
    return text if text.isprintable() else repr(text)[1:-1]


def _keys(subject: Subject) -> set[Key]:
    return {key_of(span) for span in subject.spans}


def _id(known: Provenance, text: str) -> Subject | None:
    """By a run id, a deployment id or a whole trace id."""
    runs = [span for span in _of(known, operations.TRAINING_RUN) if span.attributes.get(attr.CRUCIBLE_RUN_ID) == text]
    if runs:
        return Subject("run", tuple(runs))
    deployed = [span for span in _of(known, operations.DEPLOYMENT) if span.attributes.get(attr.DEPLOYMENT_ID) == text]
    if deployed:
        return _latest("deployment", deployed, "deployments have this id")
    return _trace(known, lambda trace_id: trace_id == text.lower())


def _trace(known: Provenance, is_meant: Callable[[str], bool]) -> Subject | None:
    """What makes or serves models in the trace that is meant; all of ours where nothing does."""
    telling = SAVES | {operations.TRAINING_RUN, operations.DEPLOYMENT}
    inside = [span for span in known.spans if span.is_ours and is_meant(span.trace_id)]
    return Subject("trace", tuple([span for span in inside if span.operation in telling] or inside)) if inside else None


def _deployment(known: Provenance, text: str) -> Subject | None:
    for name, which in _readings(text):
        called = [
            span
            for span in _of(known, operations.DEPLOYMENT)
            if name in (text_of(span, attr.DEPLOYMENT_NAME), span.about)
        ]
        found = [span for span in called if not which or which in [text_of(span, key) for key in _WHICH]]
        environments = dict.fromkeys(text_of(span, attr.DEPLOYMENT_ENVIRONMENT_NAME) for span in found)
        if len(environments) > 1:
            last = {text_of(span, attr.DEPLOYMENT_ENVIRONMENT_NAME): span for span in found}
            listed = [
                (f"`{_shown(f'{name}@{place}')}`" if place else f"one in trace {span.trace_id}", span)
                for place, span in last.items()
            ]
            raise AmbiguousSubjectError(_told(f"{text!r} is deployed in {len(environments)} environments", listed))
        if found:
            return _latest("deployment", found, f"deployments are called {name!r}")
    return None


def _model(known: Provenance, text: str) -> Subject | None:
    """What was saved under a name; else the runs, deployments and loads that name the model."""
    naming = (SAVES, {operations.TRAINING_RUN}, {operations.DEPLOYMENT}, LOADS)
    for name, which in _readings(text):
        named = [
            span
            for span in known.spans
            if text_of(span, attr.CRUCIBLE_MODEL_NAME) == name
            and (not which or text_of(span, attr.CRUCIBLE_MODEL_VERSION) == which)
        ]
        for kinds in naming:
            found = [span for span in named if span.operation in kinds]
            if found and kinds == {operations.TRAINING_RUN}:
                return _runs(known, found, f"runs train {name!r}", kind="model")
            if found:
                return _latest("model", found, f"of {name!r} are recorded")
    return None


def _file(known: Provenance, text: str) -> Subject | None:
    """By the path of a model or checkpoint, or by the end of one."""
    tests: tuple[Callable[[str], bool], ...] = (
        lambda path: path == text,
        lambda path: path.endswith(f"/{text}") or text.endswith(f"/{path}"),
    )
    for is_meant in tests:
        for kinds in (SAVES, LOADS):
            there = [span for span in known.spans if span.operation in kinds and path_of(span)]
            found = [span for span in there if is_meant(path_of(span))]
            if found:
                return _latest("file", found, f"lay at {text!r}")
    return None


def _run(known: Provenance, text: str) -> Subject | None:
    named = [
        span
        for span in _of(known, operations.TRAINING_RUN)
        if text in (text_of(span, attr.CRUCIBLE_RUN_ID), text_of(span, attr.CRUCIBLE_RUN_NAME), span.about)
    ]
    return _runs(known, named, f"runs are called {text!r}") if named else None


def _runs(known: Provenance, named: Sequence[TraceSpan], of_what: str, kind: str = "run") -> Subject:
    """The latest of the runs that `named` are attempts at.

    Raises:
        AmbiguousSubjectError: Another one went on when it began.
    """
    runs = {key_of(known.attempts_at(span)[0]): known.attempts_at(span) for span in named}
    by_start = sorted(runs.values(), key=lambda attempts: attempts[-1].start_ns)
    last, earlier = by_start[-1], by_start[:-1]
    if any(span.end_ns > last[0].start_ns for attempts in earlier for span in attempts):
        listed = [(f"`run:{_run_name(attempts[0])}`", attempts[-1]) for attempts in by_start]
        raise AmbiguousSubjectError(_told(f"{len(runs)} {of_what}, at the same time", listed))
    note = f"{len(runs)} {of_what}; this is the latest. Earlier: " + ", ".join(
        f"`run:{_run_name(attempts[0])}` of {local_time(attempts[0].start_ns)}" for attempts in earlier[-_MOST_LISTED:]
    )
    return Subject(kind, last, (f"{note}.",) if earlier else ())


def _run_name(run: TraceSpan) -> str:
    return _shown(text_of(run, attr.CRUCIBLE_RUN_ID) or run.about)


def _pipeline(known: Provenance, text: str) -> Subject | None:
    """By the name of any other operation that a person would call a trace after, or by an experiment's id."""
    others = [
        span for span in known.spans if span.operation in NAMING - {operations.TRAINING_RUN, operations.DEPLOYMENT}
    ]
    found = [span for span in others if text in (span.about, span.name)] or [
        span for span in _of(known, operations.EXPERIMENT) if text_of(span, attr.CRUCIBLE_EXPERIMENT_ID) == text
    ]
    return _latest(found[-1].operation, found, f"operations are called {text!r}") if found else None


def _digest(known: Provenance, text: str) -> Subject | None:
    """What made the bytes whose SHA-256 begins like this; else what used them.

    Raises:
        AmbiguousSubjectError: Several digests begin like this.
    """
    every = ((span, digest) for span in known.spans for digest in (*made(span), *used(span)))
    found = [(span, digest) for span, digest in every if digest.startswith(text.lower())]
    whole = dict.fromkeys(digest for _, digest in found)
    if len(whole) > 1:
        last = {digest: span for span, digest in found}
        listed = [(f"`sha256:{_shown(digest)}`", last[digest]) for digest in whole]
        raise AmbiguousSubjectError(_told(f"{len(whole)} digests begin with {text!r}", listed))
    makers = tuple(span for span, digest in found if digest in made(span))
    return Subject("digest", makers or tuple(span for span, _ in found)) if found else None


_KINDS: Final[dict[str, Callable[[Provenance, str], Subject | None]]] = {
    "deployment": _deployment,
    "model": _model,
    "file": _file,
    "run": _run,
    "pipeline": _pipeline,
}
"""What may stand before a colon, in the order in which a name without one is tried."""


def _by_beginning(known: Provenance, text: str) -> Subject | None:
    """By a digest or the beginning of one, or by the beginning of a trace id.

    Raises:
        FormatError: It is as long as a digest, or longer, and is none.
        AmbiguousSubjectError: Several things begin like this.
    """
    if _LIKE_A_DIGEST.fullmatch(text) or (_HEX.fullmatch(text) and len(text) > _SHA256_DIGITS):
        _checked(text)
    if not _HEX.fullmatch(text):
        return None
    digest = _digest(known, text) if len(text) >= _SHORTEST_DIGEST else None
    beginning = text.lower()
    begun = dict.fromkeys(span.trace_id for span in known.spans if span.is_ours and span.trace_id.startswith(beginning))
    if len(text) < _SHORTEST_TRACE_ID or not begun:
        return digest
    if digest is not None or len(begun) > 1:
        first = {trace_id: next(span for span in known.spans if span.trace_id == trace_id) for trace_id in begun}
        listed = [(f"trace `{trace_id}`", span) for trace_id, span in first.items()]
        listed += [(f"`sha256:{text}`", span) for span in (digest.spans[:1] if digest is not None else ())]
        raise AmbiguousSubjectError(_told(f"{len(listed)} ids begin with {text!r}", listed))
    return _trace(known, lambda trace_id: trace_id in begun)


def _checked(digest: str) -> str:
    """`digest`, where it can be one or the beginning of one.

    Raises:
        FormatError: It cannot.
    """
    if not _HEX.fullmatch(digest):
        raise FormatError(f"{digest!r} is no SHA-256: it has characters that are no hexadecimal digits.")
    if len(digest) > _SHA256_DIGITS:
        raise FormatError(f"{digest!r} is no SHA-256: it has {len(digest)} digits instead of {_SHA256_DIGITS}.")
    if len(digest) < _SHORTEST_DIGEST:
        raise FormatError(
            f"{digest!r} is too short: of a SHA-256 at least the first {_SHORTEST_DIGEST} digits are needed."
        )
    return digest


def _latest(kind: str, found: Sequence[TraceSpan], of_what: str) -> Subject:
    """The last of `found`, with a note on those before it."""
    last, earlier = found[-1], found[:-1]
    if not earlier:
        return Subject(kind, (last,))
    listed = ", ".join(f"{_which(span)} of {local_time(span.start_ns)}" for span in earlier[-_MOST_LISTED:])
    note = f"{len(found)} {of_what}; this is the latest, of {local_time(last.start_ns)}. Earlier: {listed}."
    return Subject(kind, (last,), (note,))


def _which(span: TraceSpan) -> str:
    """By what a person can ask for it alone."""
    digest = next(iter((*made(span), *used(span))), "")
    if digest:
        return f"`sha256:{_shown(digest[:16])}`"
    named = _shown(text_of(span, attr.DEPLOYMENT_ID))
    return f"`{named}`" if named else f"trace `{span.trace_id}`"


def _told(what: str, listed: Iterable[tuple[str, TraceSpan]]) -> str:
    every = list(listed)
    said = ", ".join(f"{name} (of {local_time(span.start_ns)})" for name, span in every[-_MOST_LISTED:])
    return f"{what}; ask for one of them: {said}{'' if len(every) <= _MOST_LISTED else ', …'}."


def _readings(text: str) -> tuple[tuple[str, str], ...]:
    """`text` as a name, and as a name with the version or environment behind an `@`."""
    name, at, which = text.rpartition("@")
    return ((text, ""), (name, which)) if at and name and which else ((text, ""),)


def _of(known: Provenance, operation: str) -> list[TraceSpan]:
    return [span for span in known.spans if span.operation == operation]


def _hint(known: Provenance, text: str) -> str:
    """A sentence with names that come near, or with the newest ones."""
    if _HEX.fullmatch(text) and len(text) < _SHORTEST_DIGEST:
        return f" Of a digest at least the first {_SHORTEST_DIGEST} digits are needed."
    keys = (attr.DEPLOYMENT_NAME, attr.CRUCIBLE_MODEL_NAME, attr.CRUCIBLE_RUN_NAME)
    named = [[*(text_of(span, key) for key in keys), path_of(span)] for span in reversed(known.spans)]
    others = NAMING - {operations.REASONING_CHAIN}
    named.append([span.about for span in reversed(known.spans) if span.operation in others])
    names = list(dict.fromkeys(name for names in named for name in names if name))
    like = [name for name in names if text.casefold() in name.casefold()]
    like += difflib.get_close_matches(text, names, n=_MOST_LISTED, cutoff=0.5)
    listed = ", ".join(map(repr, list(dict.fromkeys(like))[:_MOST_LISTED] or names[:_MOST_LISTED]))
    return f" {'Near' if like else 'There is'}: {listed}." if listed else " Nothing that has a name is stored."
