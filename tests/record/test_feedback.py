"""Feedback on what was recorded: by a token or the record, at once or from another process, believed or not."""

from __future__ import annotations

import logging
import string
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import INVALID_SPAN_CONTEXT, SpanContext, TraceFlags

import crucible_trace_otel as crucible
from crucible_trace_otel.record import _feedback_token, _links
from crucible_trace_otel.record._feedback_token import decode, encode
from crucible_trace_otel.record._tracer import use_tracer_provider
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.semconv import events
from crucible_trace_otel.semconv.enums import UnlinkedReason
from tests.journal.process import run
from tests.record.reading import Recording, node, said

if TYPE_CHECKING:
    from pathlib import Path

KEY = "CRUCIBLE_FEEDBACK_KEY"
LETTERS = string.ascii_letters + string.digits + "-_"
SAMPLED = TraceFlags(TraceFlags.SAMPLED)


@pytest.fixture(autouse=True)
def _no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY, raising=False)


def contexts() -> st.SearchStrategy[SpanContext]:
    flags = st.sampled_from([TraceFlags(TraceFlags.DEFAULT), SAMPLED])
    ids = st.integers(1, 2**128 - 1), st.integers(1, 2**64 - 1)
    return st.builds(SpanContext, *ids, is_remote=st.booleans(), trace_flags=flags)


def event_ids() -> st.SearchStrategy[str]:
    return st.integers(1, 2**128 - 1).map(lambda number: f"{number:032x}") | st.just("")


def with_key(key: str, context: SpanContext, event_id: str = "") -> str:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, key)
        return encode(context, event_id)


# ---- the token ----


@given(context=contexts(), event_id=event_ids(), key=st.sampled_from(["", "s3cret", "\udcff\xe9"]))
def test_a_token_says_what_it_was_made_of(context: SpanContext, event_id: str, key: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, key)
        token = encode(context, event_id)
        target = decode(token)
    assert len(token) == 80
    assert set(token) <= set(LETTERS)
    assert (target.span_context.trace_id, target.span_context.span_id) == (context.trace_id, context.span_id)
    assert (target.event_id, target.is_recorded) == (event_id, context.trace_flags.sampled)


@given(
    context=contexts(),
    event_id=event_ids(),
    at=st.integers(0, 80),
    letter=st.sampled_from(LETTERS + "=+/ \né"),
    how=st.sampled_from(["replace", "insert", "leave out", "cut", "swap"]),
    key=st.sampled_from(["", "s3cret"]),
)
def test_any_change_of_the_text_is_refused(
    *, context: SpanContext, event_id: str, at: int, letter: str, how: str, key: str
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KEY, key)
        token = encode(context, event_id)
        changed = {
            "replace": token[:at] + letter + token[at + 1 :],
            "insert": token[:at] + letter + token[at:],
            "leave out": token[:at] + token[at + 1 :],
            "cut": token[:at],
            "swap": token[:at] + token[at + 1 : at + 2] + token[at : at + 1] + token[at + 2 :],
        }[how]
        if changed == token:
            return
        with pytest.raises(crucible.FormatError) as refused:
            crucible.read_feedback_token(changed)
    assert str(refused.value).endswith(".")


@given(text=st.text() | st.text(LETTERS, min_size=80, max_size=80) | st.binary() | st.none() | st.integers())
def test_what_is_no_token_is_refused_in_one_sentence(text: Any) -> None:
    with pytest.raises(crucible.FormatError):
        crucible.read_feedback_token(text)


def test_a_key_is_needed_by_both_or_none(monkeypatch: pytest.MonkeyPatch) -> None:
    context = SpanContext(1, 2, is_remote=False, trace_flags=SAMPLED)
    plain, signed, otherwise = encode(context, ""), with_key("one", context), with_key("two", context)
    assert len({plain, signed, otherwise}) == 3

    def reason(token: str) -> str:
        try:
            decode(token)
        except _feedback_token.BadTokenError as error:
            return error.reason
        return ""

    assert [reason(token) for token in (plain, signed, otherwise)] == [
        "",
        UnlinkedReason.KEYLESS,
        UnlinkedReason.KEYLESS,
    ]
    monkeypatch.setenv(KEY, "one")
    assert [reason(token) for token in (plain, signed, otherwise)] == [
        UnlinkedReason.UNSIGNED,
        "",
        UnlinkedReason.CHANGED,
    ]


def test_a_token_of_a_later_version_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_feedback_token, "_VERSION", 2)
    token = encode(SpanContext(1, 2, is_remote=False, trace_flags=SAMPLED), "")
    monkeypatch.undo()
    with pytest.raises(crucible.FormatError, match="version 2; 1 is read here"):
        crucible.read_feedback_token(token)


def test_a_token_that_names_no_span_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key anybody can compute the check."""
    nowhere = SpanContext(0, 0, is_remote=False, trace_flags=SAMPLED)
    monkeypatch.setattr(type(nowhere), "is_valid", property(lambda _: True))
    token = encode(nowhere, "")
    monkeypatch.undo()
    with pytest.raises(crucible.FormatError, match="names no span"):
        crucible.read_feedback_token(token)


# ---- feedback ----


def test_feedback_is_a_trace_of_its_own_linked_to_what_it_is_about(recorded: Recording) -> None:
    with crucible.reasoning_chain("why") as chain:
        decision = chain.form_hypothesis("it is a three")
    with crucible.inference("digit") as inference:
        pass
    tokens = [inference.feedback_token(), decision.feedback_token(), crucible.feedback_token(chain)]
    _links._known.clear()  # as in another process
    for token in tokens:
        crucible.record_feedback(token, score=4, label="helpful", comment="it was a three")
    given = recorded.named("feedback")
    assert [len(recorded.trees()), len({span.context.trace_id for span in recorded.spans})] == [5, 5]
    about = [recorded.one("inference"), recorded.one("hypothesis_formed"), recorded.one("reasoning_chain")]
    for span, target in zip(given, about, strict=True):
        (link,) = span.links
        event_id = said(target)[attr.CRUCIBLE_EVENT_ID]
        assert (link.context.trace_id, link.context.span_id) == (target.context.trace_id, target.context.span_id)
        assert dict(link.attributes) == {attr.CRUCIBLE_LINK_TYPE: "feedback_on", attr.CRUCIBLE_LINK_EVENT_ID: event_id}
        assert said(span)[attr.CRUCIBLE_FEEDBACK_TARGET_EVENT_ID] == event_id
        assert said(span)[attr.CRUCIBLE_DEPENDENCY_NAMES] == (f"feedback_on: span: {event_id}",)
    assert recorded.trees(attr.CRUCIBLE_FEEDBACK_SCORE, attr.CRUCIBLE_FEEDBACK_LABEL, attr.CRUCIBLE_FEEDBACK_COMMENT)[
        -1
    ] == node(
        "feedback",
        "helpful, score 4",
        attributes={
            attr.CRUCIBLE_FEEDBACK_SCORE: 4.0,
            attr.CRUCIBLE_FEEDBACK_LABEL: "helpful",
            attr.CRUCIBLE_FEEDBACK_COMMENT: "it was a three",
        },
        links=["feedback_on: elsewhere"],
    )


def test_feedback_inside_a_request_is_no_part_of_it_but_says_what_brought_it(
    recorded: Recording, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRACEPARENT", f"00-{1:032x}-{1:016x}-01")
    with crucible.inference("digit") as inference:
        crucible.record_feedback(inference, score=1)
    with recorded.foreign.start_as_current_span("POST /feedback"), crucible.stage("take it"):
        crucible.record_feedback(inference.feedback_token(), comment="wrong")
    first, second = recorded.named("feedback")
    assert (first.parent, second.parent) == (None, None)
    assert [link.attributes[attr.CRUCIBLE_LINK_TYPE] for link in first.links] == ["feedback_on"]
    assert said(second)[attr.CRUCIBLE_DEPENDENCY_NAMES] == (
        "feedback_on: inference: digit",
        "caused_by: stage: take it",
    )
    assert attr.CRUCIBLE_STAGE_ID not in said(second)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (lambda token: token[:-1], UnlinkedReason.FORM),
        (lambda token: token[:20] + ("A" if token[20] != "A" else "B") + token[21:], UnlinkedReason.CHANGED),
        (lambda token: "B" + token[1:], UnlinkedReason.VERSION),
        (lambda _: with_key("k", SpanContext(1, 2, is_remote=False, trace_flags=SAMPLED)), UnlinkedReason.KEYLESS),
        (lambda _: None, UnlinkedReason.FORM),
        (lambda _: object(), UnlinkedReason.FORM),
        (lambda _: encode(INVALID_SPAN_CONTEXT, ""), UnlinkedReason.NOT_RECORDED),
    ],
)
def test_a_token_that_is_not_believed_keeps_the_feedback(recorded, warned, spoilt, reason) -> None:
    with crucible.inference() as inference:
        pass
    for _ in range(2):
        assert crucible.record_feedback(spoilt(inference.feedback_token()), score=2, comment="hm").event_id
    first, _ = recorded.named("feedback")
    assert said(first)[attr.CRUCIBLE_FEEDBACK_UNLINKED] == reason
    assert (said(first)[attr.CRUCIBLE_FEEDBACK_SCORE], said(first)[attr.CRUCIBLE_FEEDBACK_COMMENT]) == (2.0, "hm")
    assert first.links == ()
    assert len(warned) == 1
    assert warned[0].endswith("The feedback is kept, and linked to nothing.")


def test_what_was_not_recorded_has_a_token_that_says_so(recorded: Recording, warned: list[str]) -> None:
    use_tracer_provider(None)
    with crucible.inference() as nowhere:
        pass
    use_tracer_provider(TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False))
    with crucible.inference() as sampled_out:
        pass
    unstarted = crucible.inference()
    tokens = [one.feedback_token() for one in (nowhere, sampled_out, unstarted)]
    assert [crucible.read_feedback_token(token).is_recorded for token in tokens] == [False] * 3
    use_tracer_provider(recorded.provider)
    for given_ in (*tokens, nowhere, sampled_out):
        crucible.record_feedback(given_, score=1)
    unlinked = [said(span)[attr.CRUCIBLE_FEEDBACK_UNLINKED] for span in recorded.named("feedback")]
    assert unlinked == [UnlinkedReason.NOT_RECORDED] * 5
    assert len(warned) == 1
    assert said(recorded.named("feedback")[1])[attr.CRUCIBLE_FEEDBACK_TARGET_EVENT_ID] == sampled_out.event_id


@pytest.mark.parametrize(
    ("score", "label", "kept"),
    [
        (True, None, (1.0, None)),
        ("0.5", None, (0.5, None)),
        ("good", None, (None, "good")),
        (object, "bad", (None, "bad")),
        (None, 3, (None, "3")),
    ],
)
def test_scores_of_any_kind(recorded: Recording, score: Any, label: Any, kept: Any) -> None:
    crucible.record_feedback(SpanContext(1, 2, is_remote=True, trace_flags=SAMPLED), score=score, label=label)
    found = said(recorded.one("feedback"))
    assert (found.get(attr.CRUCIBLE_FEEDBACK_SCORE), found.get(attr.CRUCIBLE_FEEDBACK_LABEL)) == kept
    assert found[attr.CRUCIBLE_FEEDBACK_SOURCE] == "human"
    assert (attr.CRUCIBLE_REPAIRED_KEYS in found) == (score in ("good", object))


def test_a_token_and_a_comment_are_in_no_warning(recorded: Recording, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    crucible.record_feedback("some text of a stranger", comment="private")
    assert "stranger" not in caplog.text
    assert "private" not in caplog.text
    assert not any("stranger" in str(value) for value in said(recorded.one("feedback")).values())


# ---- evaluations ----


def evaluation(span: Any) -> dict[str, Any]:
    (event,) = [event for event in span.events if event.name == events.GEN_AI_EVALUATION_RESULT]
    return dict(event.attributes)


def test_an_evaluation_lies_on_what_is_open_else_on_feedback(recorded: Recording) -> None:
    with crucible.inference("answer") as inference:
        crucible.record_evaluation(
            inference, "relevance", score=1, label="pass", explanation="it answers", response_id="completion-1"
        )
    crucible.record_evaluation(inference, "tone", label="polite")
    crucible.record_evaluation(inference.feedback_token(), "tone", score=0.25)
    assert evaluation(recorded.one("inference")) == {
        "gen_ai.evaluation.name": "relevance",
        "gen_ai.evaluation.score.value": 1.0,
        "gen_ai.evaluation.score.label": "pass",
        "gen_ai.evaluation.explanation": "it answers",
        "gen_ai.response.id": "completion-1",
    }
    late, by_token = recorded.named("feedback")
    assert evaluation(late) == {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.label": "polite"}
    assert evaluation(by_token) == {"gen_ai.evaluation.name": "tone", "gen_ai.evaluation.score.value": 0.25}
    assert said(by_token)[attr.CRUCIBLE_FEEDBACK_SOURCE] == "automatic"
    assert recorded.trees()[-1] == node(
        "feedback",
        "tone, score 0.25",
        events=[events.GEN_AI_EVALUATION_RESULT],
        links=["feedback_on: inference: answer"],
    )


def test_misuse_raises_nothing(recorded: Recording, warned: list[str]) -> None:
    crucible.record_evaluation(None, None)  # type: ignore[arg-type]
    crucible.record_feedback(3, scoer=1)  # type: ignore[arg-type, call-arg]
    assert crucible.feedback_token(None) == encode(INVALID_SPAN_CONTEXT, "")  # type: ignore[arg-type]
    assert len(warned) == 3


def test_feedback_from_another_process_with_its_key(tmp_path: Path) -> None:
    served = """
        import crucible_trace_otel as crucible
        with crucible.configure(journal="j", ship="off"), crucible.inference("digit") as inference:
            print(inference.feedback_token(), end="")
    """
    judged = """
        import sys, crucible_trace_otel as crucible
        with crucible.configure(journal="j", ship="off"):
            crucible.record_feedback(sys.argv[1], score=2)
    """
    token, _ = run(served, tmp_path, **{KEY: "one key"})
    run(judged, tmp_path, token, **{KEY: "one key"})
    _, complaint = run(judged, tmp_path, token, **{KEY: "another key"})
    assert "The feedback token was changed, or signed with another key." in complaint
    traces = {trace.name: [*trace.spans] for trace in crucible.open_store(tmp_path / "j").traces()}
    assert len(traces) == 2
    spans = [span for trace in crucible.open_store(tmp_path / "j").traces() for span in trace.spans]
    (inference,) = [span for span in spans if span.operation == "inference"]
    linked = [[(link.trace_id, link.span_id) for link in span.links] for span in spans if span.operation == "feedback"]
    assert sorted(linked) == [[], [(inference.trace_id, inference.span_id)]]
