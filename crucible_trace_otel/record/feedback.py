"""Feedback: what people and programs say of a result, at once, or days later from another process.

token = inference.feedback_token()  # goes out with the answer
...
crucible.record_feedback(token, score=4, comment="the second digit was misread")
"""

import contextvars
from collections.abc import Mapping
from typing import Any, TypeAlias

from opentelemetry import trace as trace_api
from opentelemetry.context import Context
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext

from crucible_trace_otel._interruption import let_through
from crucible_trace_otel.errors import warn_once
from crucible_trace_otel.record._context import Placed, current_operation
from crucible_trace_otel.record._feedback_token import BadTokenError, FeedbackTarget, decode, encode
from crucible_trace_otel.record._guard import guarded, nothing
from crucible_trace_otel.record._links import Linkable, LinkTarget
from crucible_trace_otel.record._operation import Operation, emit_event
from crucible_trace_otel.record._recorded import Recorded, not_recorded
from crucible_trace_otel.record._unexpected import as_number, member_in
from crucible_trace_otel.record._values import Repairs, marks, one_line, printable
from crucible_trace_otel.record.runs._training import short
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events, spans
from crucible_trace_otel.semconv.enums import FeedbackSource, LinkType, RepairReason, UnlinkedReason

__all__ = ["FeedbackTarget", "feedback_token", "read_feedback_token", "record_evaluation", "record_feedback"]

Judgeable: TypeAlias = str | Linkable | SpanContext
"""What can be judged: a token, a record of this process, the context of a span."""


@guarded(lambda *_, **__: encode(INVALID_SPAN_CONTEXT, ""))
def feedback_token(record: Linkable | SpanContext) -> str:
    """A text by which any process, now or in a year, can record feedback on `record`.

    It has 80 characters, letters, digits, `-` and `_`, and holds ids only. Where `CRUCIBLE_FEEDBACK_KEY` is set it is
    signed with that, and the process that records the feedback needs the same key. What was not recorded, because
    nothing is set up or it was sampled out, has a token too, which says so. Never raises.

    Args:
        record: An operation that has started, a decision, or anything else that was recorded; or the context of a
            span of another instrumentation.
    """
    if isinstance(record, SpanContext):
        return encode(record, "")
    return encode(record.span_context, record.event_id)


def read_feedback_token(token: str) -> FeedbackTarget:
    """What a token is about: `crucible.open_store().get(read_feedback_token(token).trace_id)` has the record.

    Raises:
        FormatError: It was changed or cut, is no token, or is not signed by the key that is set here.
    """
    return decode(token)


@guarded(not_recorded(spans.FEEDBACK))
def record_feedback(
    target: Judgeable,
    *,
    score: float | None = None,
    label: str | None = None,
    comment: str | None = None,
    source: str = FeedbackSource.HUMAN,
) -> Recorded:
    """Record what somebody says of a result, in a trace of its own that is linked to it.

    Never raises: where a token cannot be believed, the feedback is kept and marked as linked to nothing, with one
    warning that says why.

    Args:
        target: The token that came with the result, or the record itself.
        score: A number, on a scale of yours.
        label: One word of a small set, such as `helpful`.
        comment: In the words of who gives it.
        source: `human`, or `automatic` where a program judges.
    """
    number, word, repairs = _score_and_label(score, label)
    source = FeedbackSource.HUMAN if source is None else printable(source)
    attributes = {
        attr.CRUCIBLE_FEEDBACK_SOURCE: member_in(repairs, attr.CRUCIBLE_FEEDBACK_SOURCE, source, FeedbackSource),
        attr.CRUCIBLE_FEEDBACK_SCORE: number,
        attr.CRUCIBLE_FEEDBACK_LABEL: word,
        attr.CRUCIBLE_FEEDBACK_COMMENT: None if comment is None else printable(comment),
    }
    subject = ", ".join(_in_words(number, word)) or (one_line(comment) if comment is not None else "feedback")
    return _Feedback(subject, target, attributes, repairs).keep()


@guarded(nothing)
def record_evaluation(
    target: Judgeable,
    name: str,
    *,
    score: float | None = None,
    label: str | None = None,
    explanation: str | None = None,
    response_id: str | None = None,
) -> None:
    """Record how an automatic evaluation, such as a model that judges, found a result.

    It becomes OpenTelemetry's event `gen_ai.evaluation.result` on the span of `target` while that is open here, else on
    a span of its own that is linked to it, as feedback is. Never raises.

    Args:
        target: The operation or other record that was evaluated, or the token that came with the result.
        name: What was evaluated, such as `relevance`.
        score: As a number.
        label: As one word of a small set, such as `pass`.
        explanation: Why, in words.
        response_id: The id that its provider gave to the answer.
    """
    number, word, repairs = _score_and_label(score, label)
    evaluation = {
        attr.GEN_AI_EVALUATION_NAME: printable(name),
        attr.GEN_AI_EVALUATION_SCORE_VALUE: number,
        attr.GEN_AI_EVALUATION_SCORE_LABEL: word,
        attr.GEN_AI_EVALUATION_EXPLANATION: None if explanation is None else printable(explanation),
        attr.GEN_AI_RESPONSE_ID: None if response_id is None else printable(response_id),
    }
    if isinstance(target, Operation) and not target.ended and target._records() and target._is_here():
        emit_event(target, events.GEN_AI_EVALUATION_RESULT, {**evaluation, **marks(repairs)})
        return
    attributes = {
        attr.CRUCIBLE_FEEDBACK_SOURCE: FeedbackSource.AUTOMATIC,
        attr.CRUCIBLE_FEEDBACK_SCORE: number,
        attr.CRUCIBLE_FEEDBACK_LABEL: word,
    }
    subject = ", ".join([printable(name), *_in_words(number, word)])
    _Feedback(subject, target, attributes, repairs).keep(evaluation)


class _Feedback(Operation):
    """A judgement, in a trace of its own: what it is about may lie days back."""

    operation_name = spans.FEEDBACK

    def __init__(self, subject: str, target: Judgeable, attributes: Mapping[str, Any], repairs: Repairs) -> None:
        found, event_id, unlinked = _looked_up(target)
        about = {
            attr.CRUCIBLE_FEEDBACK_TARGET_EVENT_ID: event_id or None,
            attr.CRUCIBLE_FEEDBACK_UNLINKED: unlinked,
        }
        links: dict[str, LinkTarget] = {} if found is None else {LinkType.FEEDBACK_ON: found}
        super().__init__(subject, attributes={**attributes, **about}, repairs=repairs, links=links | _brought_by(found))

    def keep(self, evaluation: Mapping[str, Any] | None = None) -> Recorded:
        """Record it, with the event of an evaluation where it is one."""
        contextvars.Context().run(self._keep, evaluation)  # nothing is around it
        return Recorded(self.event_id, self.span_context, self.operation_name, self.about)

    def _keep(self, evaluation: Mapping[str, Any] | None) -> None:
        with self:
            if evaluation is not None:
                emit_event(self, events.GEN_AI_EVALUATION_RESULT, evaluation)

    def _place(self, base: Context) -> Placed:
        """A root, also where another process handed a span down."""
        return Placed(base)


def _looked_up(target: Judgeable) -> tuple[Linkable | SpanContext | None, str, str | None]:
    """What to link to, the event id of what is judged, and why there is nothing to link to, where that is so."""
    given: Any = target
    try:
        if not _is_record(target):
            given = decode(target)
    except BadTokenError as error:
        warn_once(f"feedback {error.reason}", f"{error} The feedback is kept, and linked to nothing.")
        return None, "", error.reason
    context = given if isinstance(given, SpanContext) else given.span_context
    event_id = "" if isinstance(given, SpanContext) else printable(given.event_id)
    if not (context.is_valid and context.trace_flags.sampled):
        said = "What the feedback is about was not recorded: nothing was set up, or it was sampled out."
        warn_once(f"feedback {UnlinkedReason.NOT_RECORDED}", f"{said} The feedback is kept, and linked to nothing.")
        return None, event_id, UnlinkedReason.NOT_RECORDED
    if isinstance(given, FeedbackTarget):
        return Recorded(event_id, context, "span", event_id or given.span_id), event_id, None
    return given, event_id, None


def _is_record(given: Any) -> bool:
    """Whether it is a span's context, or has one."""
    if isinstance(given, (str, SpanContext)):
        return isinstance(given, SpanContext)
    try:
        return isinstance(given.span_context, SpanContext) and isinstance(given.event_id, str)
    except Exception as error:  # noqa: BLE001 - any object may be given, and its attributes may do anything
        let_through(error)
        return False


def _brought_by(judged: Linkable | SpanContext | None) -> dict[str, LinkTarget]:
    """A link to what is going on here, such as the request that brought the feedback, where that is another trace."""
    around: Operation | SpanContext = current_operation() or trace_api.get_current_span().get_span_context()
    here = around if isinstance(around, SpanContext) else around.span_context
    there = judged.span_context if judged is not None and not isinstance(judged, SpanContext) else judged
    is_elsewhere = here.is_valid and (there is None or here.trace_id != there.trace_id)
    return {LinkType.CAUSED_BY: around} if is_elsewhere else {}


def _in_words(score: float | None, label: str | None) -> list[str]:
    return [*([] if label is None else [label]), *([] if score is None else [f"score {short(score)}"])]


def _score_and_label(score: Any, label: Any) -> tuple[float | None, str | None, Repairs]:
    """Both as they are recorded: a score that is no number becomes the label where there is none."""
    word = None if label is None else printable(label)
    number = as_number(score)
    if number is not None or score is None:
        return number, word, {}
    said = one_line(score)
    kept = "is kept as the label" if word is None else "was left out"
    warn_once(f"score {said}", f"A score is a number: {said!r} {kept}.")
    return None, said if word is None else word, {attr.CRUCIBLE_FEEDBACK_SCORE: RepairReason.TYPE}
