"""Stored spans in requests: the stored bytes, in the right size, and what is done when they are not taken."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from crucible_trace_otel.journal.records import AckState
from crucible_trace_otel.ship.answers import Answer, Outcome
from crucible_trace_otel.ship.batches import batches, deliver, request_body
from tests.backends.sink import unpack
from tests.ship.spans import Settled, message, piece, pieces, raw_spans, text_attribute

TAKEN, REFUSED, TOO_LARGE = (
    Answer(Outcome.TAKEN),
    Answer(Outcome.REFUSED, said="500"),
    Answer(Outcome.TOO_LARGE, said="413"),
)
BAD = Answer(Outcome.REFUSED, said="400", may_be_one=True)


class Told:
    """A transport that answers what a function of the decoded request and its size says."""

    def __init__(self, answer: Callable[[list[Span], int], Answer]) -> None:
        self._answer = answer
        self.requests: list[list[Span]] = []

    def send(self, body: bytes) -> Answer:
        spans = [each.span for each in unpack(ExportTraceServiceRequest.FromString(body))]
        self.requests.append(spans)
        return self._answer(spans, len(body))

    def close(self) -> None:
        pass


stored = st.builds(
    lambda name, size, service, scope: piece(
        message(name, attributes=[text_attribute("text", "x" * size)]), service=service, scope=scope
    ),
    st.text(max_size=5),
    st.integers(0, 300),
    st.sampled_from("abc"),
    st.sampled_from("xy"),
)


@given(st.lists(stored, max_size=20))
def test_a_body_is_the_request_that_holds_these_spans(sent):
    body = request_body(sent)
    request = ExportTraceServiceRequest.FromString(body)
    found = [
        (each.resource.SerializeToString(), each.scope.SerializeToString(), each.span.SerializeToString())
        for each in unpack(request)
    ]
    expected = [
        (
            ResourceSpans.FromString(each.resource).resource.SerializeToString(),
            ScopeSpans.FromString(each.scope).scope.SerializeToString(),
            Span.FromString(each.span).SerializeToString(),
        )
        for each in sent
    ]
    assert sorted(found) == sorted(expected)
    assert sorted(raw_spans(body)) == sorted(each.span for each in sent)
    assert len(request.resource_spans) == len({each.resource for each in sent})
    assert sum(len(group.scope_spans) for group in request.resource_spans) == len({(p.resource, p.scope) for p in sent})
    assert {group.schema_url for group in request.resource_spans} <= {"https://example.org/r"}


@given(st.lists(stored, max_size=20), st.integers(1, 1500))
def test_a_batch_is_no_larger_than_it_may_be(sent, limit):
    made = list(batches(sent, limit))
    assert [each for batch in made for each in batch] == sent
    assert all(len(request_body(batch)) <= limit or len(batch) == 1 for batch in made)


def test_what_is_taken_is_settled_once_with_what_was_rejected():
    transport, settled = Told(lambda *_: Answer(Outcome.TAKEN, rejected=2, said="no")), Settled()
    answer = deliver(transport, pieces("a", "b", "c"), settled)
    assert (answer.outcome, answer.rejected, answer.said) == (Outcome.TAKEN, 2, "no")
    assert [(state, refused, said) for state, _, refused, said in settled.calls] == [(AckState.SENT, 2, "no")]
    assert len(transport.requests) == 1


def test_more_rejected_than_sent_is_all_of_them():
    settled = Settled()
    deliver(Told(lambda *_: Answer(Outcome.TAKEN, rejected=99)), pieces("a", "b"), settled)
    assert settled.refused == 2


@pytest.mark.parametrize("outcome", [Outcome.RETRY, Outcome.PAUSED])
def test_what_must_wait_is_not_settled(outcome):
    settled = Settled()
    answer = Answer(outcome, retry_after_s=3, said="later")
    assert deliver(Told(lambda *_: answer), pieces("a", "b"), settled) == answer
    assert settled.calls == []


def test_a_wait_in_the_middle_leaves_the_rest():
    answers = iter([BAD, TAKEN, Answer(Outcome.RETRY)])
    settled = Settled()
    assert deliver(Told(lambda *_: next(answers)), pieces("a", "b", "c", "d"), settled).outcome is Outcome.RETRY
    assert settled.names(AckState.SENT) == ["a", "b"]
    assert settled.spans == 2


def test_a_refusal_that_is_no_single_spans_fault_is_not_taken_apart():
    transport, settled = Told(lambda *_: REFUSED), Settled()
    assert deliver(transport, pieces(*"abcd"), settled).outcome is Outcome.REFUSED
    assert settled.names(AckState.REFUSED) == [*"abcd"]
    assert len(transport.requests) == 1


def test_nothing_is_a_batch_too():
    assert deliver(Told(lambda *_: REFUSED), [], Settled()).outcome is Outcome.TAKEN


@given(st.sets(st.integers(0, 99), max_size=3))
def test_bad_spans_are_found_and_the_others_taken(bad):
    names = [f"bad {n}" if n in bad else f"good {n}" for n in range(100)]
    transport = Told(lambda spans, _: BAD if any(each.name.startswith("bad") for each in spans) else TAKEN)
    settled = Settled()
    answer = deliver(transport, pieces(*names), settled)
    assert settled.names(AckState.SENT) == [name for name in names if name.startswith("good")]
    assert settled.names(AckState.REFUSED) == [name for name in names if name.startswith("bad")]
    assert (answer.outcome, answer.rejected) == (Outcome.TAKEN, len(bad))
    assert len(transport.requests) <= 1 + 2 * 7 * max(1, len(bad))


def test_forty_bad_spans_at_the_head_do_not_hide_the_good_ones():
    names = [f"bad {n}" if n < 40 else f"good {n}" for n in range(1000)]
    settled = Settled()
    deliver(
        Told(lambda spans, _: BAD if any(each.name.startswith("bad") for each in spans) else TAKEN),
        pieces(*names),
        settled,
    )
    assert len(settled.names(AckState.SENT)) == 960


@pytest.mark.parametrize("answer", [BAD, TOO_LARGE])
def test_where_nothing_is_ever_taken_few_requests_are_made(answer):
    transport, settled = Told(lambda *_: answer), Settled()
    assert deliver(transport, pieces(*map(str, range(600))), settled).outcome is Outcome.REFUSED
    assert len(transport.requests) <= 40
    assert len(settled.names(AckState.REFUSED)) == settled.refused == 600


@given(st.integers(200, 5_000), st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_too_large_requests_become_smaller_ones(limit, sizes):
    transport = Told(lambda _, size: TAKEN if size <= max(limit, 700) else TOO_LARGE)
    settled = Settled()
    sent = [
        piece(message(str(n), n, attributes=[text_attribute("text", "x" * size)]), n) for n, size in enumerate(sizes)
    ]
    deliver(transport, sent, settled)
    assert settled.names(AckState.SENT) == [str(n) for n in range(len(sizes))]
    assert len(transport.requests) <= 32 + 4 * len(sizes)


def test_a_span_that_is_too_large_by_itself_goes_out_reduced():
    large = piece(message("large", 1, attributes=[text_attribute("text", "x" * 100_000)]), 1)
    transport = Told(lambda _, size: TAKEN if size < 5_000 else TOO_LARGE)
    settled = Settled()
    answer = deliver(transport, [piece("before"), large, piece("after", 2)], settled)
    assert (answer.outcome, answer.rejected) == (Outcome.TAKEN, 0)
    assert settled.names(AckState.SENT) == ["before", "large", "after"]
    [said] = [said for _, part, _, said in settled.calls if large in part]
    assert said.startswith("sent with ")
    [arrived] = [each for request in transport.requests if request[0].name == "large" for each in request][-1:]
    assert [each.key for each in arrived.attributes] == [
        "text",
        "crucible.truncated.keys",
        "crucible.truncated.lengths",
        "crucible.truncated.sha256s",
    ]


def test_a_span_that_is_too_large_even_reduced_is_refused():
    settled = Settled()
    transport = Told(lambda spans, _: TAKEN if spans[0].name == "small" and len(spans) == 1 else TOO_LARGE)
    deliver(transport, pieces("small", "large"), settled)
    assert settled.names(AckState.SENT) == ["small"]
    assert settled.names(AckState.REFUSED) == ["large"]
    assert sum(request[0].name == "large" for request in transport.requests) == 2
