"""What the network does to one batch on one connection: nothing is lost, nothing repeated, nothing counted twice.

In each test every span is sent, refused with an answer, or still held; the sum is what there was.
"""

import time

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from crucible_trace_otel.journal.records import AckState
from crucible_trace_otel.ship.answers import Outcome
from crucible_trace_otel.ship.batches import batches, deliver
from crucible_trace_otel.ship.destination import Destination, transport
from tests.backends.process import free_ports
from tests.faults.behaviours import REFUSAL
from tests.faults.collector import Misbehaving
from tests.faults.collector_process import CollectorProcess
from tests.ship.spans import Settled, message, piece, pieces, raw_spans, text_attribute

HTTP, GRPC = "http/protobuf", "grpc"
both = pytest.mark.parametrize("protocol", [HTTP, GRPC])


class Delivery:
    """Pieces on their way to a collector, until none is held."""

    def __init__(self, collector, protocol, sent, **settings):
        self.settled = Settled()
        self.answers = []
        self._held = list(sent)
        self._recorded = len(self._held)
        endpoint = collector if isinstance(collector, str) else collector.endpoint(protocol)
        self._transport = transport(Destination(endpoint, protocol, **{"timeout_s": 5, **settings}))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self._transport.close()

    def once(self):
        """Send what is held, a batch after the other, up to the first that must wait; the last answer."""
        for batch in list(batches(self._held)):
            self.answers.append(deliver(self._transport, batch, self._settle))
            if self.answers[-1].outcome in (Outcome.RETRY, Outcome.PAUSED):
                break
        self.check()
        return self.answers[-1]

    def check(self):
        """Recorded = sent + refused + held."""
        sent = self.settled.spans - self.settled.refused
        assert self._recorded == sent + self.settled.refused + len(self._held)

    @property
    def held(self):
        return len(self._held)

    @property
    def sent(self):
        return self.settled.spans - self.settled.refused

    def _settle(self, state, part, refused, said):
        self.settled(state, part, refused, said)
        settled = set(map(id, part))
        self._held = [each for each in self._held if id(each) not in settled]


def many(count, size=0):
    text = [text_attribute("text", "x" * size)] if size else []
    return [piece(message(f"span {number}", number, attributes=text), number) for number in range(count)]


@both
@pytest.mark.parametrize("status", ["429", "503"])
def test_p15_a_wait_that_is_asked_for_is_passed_on_and_nothing_is_lost(protocol, status):
    with (
        Misbehaving(f"{status} retry-after=5", f"{status} retry-after=7200", "ok") as collector,
        Delivery(collector, protocol, many(50)) as delivery,
    ):
        assert [delivery.once().retry_after_s, delivery.once().retry_after_s] == [5, 3600]
        assert delivery.held == 50
        delivery.once()
        assert (delivery.held, delivery.sent, len(collector.spans())) == (0, 50, 50)


def test_p15_a_wait_may_be_a_date():
    with (
        Misbehaving("503 retry-date=30", "ok") as collector,
        Delivery(collector, HTTP, many(5)) as delivery,
    ):
        assert delivery.once().retry_after_s == pytest.approx(30, abs=2)
        delivery.once()
        assert (delivery.held, len(collector.spans())) == (0, 5)


def test_p15_resource_exhausted_with_a_wait_is_a_wait():
    with (
        Misbehaving("RESOURCE_EXHAUSTED retry-info=2.5", "ok") as collector,
        Delivery(collector, GRPC, many(5)) as delivery,
    ):
        answer = delivery.once()
        assert (answer.outcome, answer.retry_after_s) == (Outcome.RETRY, 2.5)
        delivery.once()
        assert (delivery.held, len(collector.requests())) == (0, 2)


@both
@pytest.mark.parametrize("fault", ["502", "503", "504", "reset", "cut", "lost", "garbage"])
def test_p16_what_may_pass_is_sent_again_with_the_same_bytes(protocol, fault):
    sent = many(20)
    with Misbehaving(fault, fault, "ok") as collector, Delivery(collector, protocol, sent) as delivery:
        outcomes = [delivery.once().outcome for _ in range(3)]
        assert outcomes == [Outcome.RETRY, Outcome.RETRY, Outcome.TAKEN]
        assert (delivery.held, delivery.settled.refused) == (0, 0)
        assert len({request.body for request in collector.requests()}) == 1
        assert raw_spans(collector.requests()[-1].body) == [each.span for each in sent]
        assert len(collector.span_ids()) == 20


@both
def test_p16_a_slow_and_a_silent_collector_lose_nothing(protocol):
    with (
        Misbehaving("tarpit", "slow 0.1") as collector,
        Delivery(collector, protocol, many(20), timeout_s=0.5) as delivery,
    ):
        assert delivery.once().outcome is Outcome.RETRY
        assert delivery.once().outcome is Outcome.TAKEN
        assert (delivery.held, len(collector.spans())) == (0, 20)


@both
def test_p16_a_collector_that_comes_back_gets_everything(protocol):
    http_port, grpc_port = free_ports(2)
    port = grpc_port if protocol == "grpc" else http_port
    with Delivery(f"http://127.0.0.1:{port}/v1/traces", protocol, many(200)) as delivery:
        assert delivery.once().outcome is Outcome.RETRY
        assert delivery.held == 200
        with CollectorProcess("ok", http_port=http_port, grpc_port=grpc_port) as collector:
            delivery.once()
            assert (delivery.held, collector.count(), len(collector.spans())) == (0, 200, 200)


@pytest.mark.parametrize(
    ("protocol", "fault"),
    [(HTTP, fault) for fault in ("401", "403", "404", "405", "302", "307", "html")]
    + [(GRPC, fault) for fault in ("401", "403", "404", "NOT_FOUND")],
)
def test_p17_the_wrong_place_pauses_and_keeps_everything(protocol, fault):
    with Misbehaving(fault) as collector, Delivery(collector, protocol, many(20)) as delivery:
        answer = delivery.once()
        assert answer.outcome is Outcome.PAUSED
        assert answer.said
        assert (delivery.held, len(collector.requests())) == (20, 1)
        collector.behave("ok")
        delivery.once()
        assert (delivery.held, delivery.sent) == (0, 20)


@both
@pytest.mark.parametrize("fault", ["500", "501", "422"])
def test_p17_a_refusal_is_kept_with_its_answer_and_not_repeated(protocol, fault):
    with Misbehaving(fault) as collector, Delivery(collector, protocol, many(20)) as delivery:
        assert delivery.once().outcome is Outcome.REFUSED
        [(state, _, refused, said)] = delivery.settled.calls
        assert (state, refused) == (AckState.REFUSED, 20)
        assert REFUSAL in said
        assert len(collector.requests()) == 1


@both
@pytest.mark.parametrize("fault", ["400", "413"])
def test_p17_p18_refused_always_ends_after_few_requests(protocol, fault):
    with Misbehaving(fault) as collector, Delivery(collector, protocol, many(600)) as delivery:
        assert delivery.once().outcome is Outcome.REFUSED
        assert (delivery.held, delivery.settled.refused, delivery.sent) == (0, 600, 0)
        assert len(collector.requests()) <= 40
        assert {said for *_, said in delivery.settled.calls} != {""}


@both
def test_p18_no_request_is_larger_than_a_mebibyte(protocol):
    with Misbehaving() as collector, Delivery(collector, protocol, many(600, size=10_000)) as delivery:
        delivery.once()
        assert (delivery.held, len(collector.spans())) == (0, 600)
        assert max(len(request.body) for request in collector.requests()) <= 1 << 20
        assert len(collector.requests()) <= 8


@both
def test_p18_a_smaller_limit_is_found_by_halving(protocol):
    with Misbehaving("limit 50000") as collector, Delivery(collector, protocol, many(90, size=10_000)) as delivery:
        assert delivery.once().outcome is Outcome.TAKEN
        assert (delivery.held, delivery.settled.refused, len(collector.span_ids())) == (0, 0, 90)
        assert len(collector.requests()) <= 40


@both
def test_p18_one_span_over_the_limit_goes_out_reduced(protocol):
    large = many(1, size=5_000_000)[0]
    sent = [*many(3)[1:], large]
    with Misbehaving("limit 1000000") as collector, Delivery(collector, protocol, sent) as delivery:
        delivery.once()
        assert (delivery.held, delivery.settled.refused, len(collector.spans())) == (0, 0, 3)
        [arrived] = [span for span in collector.spans() if span.name == "span 0"]
        assert len(arrived.attributes[0].value.string_value) == 1024
        whole = Span.FromString(large.span)
        assert (arrived.span_id, arrived.end_time_unix_nano) == (whole.span_id, whole.end_time_unix_nano)


@both
def test_p19_what_a_partial_success_rejects_is_counted_and_not_repeated(protocol):
    with Misbehaving("partial 3", "ok") as collector, Delivery(collector, protocol, many(20)) as delivery:
        answer = delivery.once()
        assert (answer.outcome, answer.rejected) == (Outcome.TAKEN, 3)
        [(state, part, refused, said)] = delivery.settled.calls
        assert (state, len(part), refused) == (AckState.SENT, 20, 3)
        assert said == f"rejected 3: {REFUSAL}"
        assert (delivery.held, delivery.sent, len(collector.spans()), len(collector.requests())) == (0, 17, 17, 1)


@both
@pytest.mark.parametrize("at", [0, 500, 999])
def test_p20_one_poisoned_span_keeps_no_other_from_going(protocol, at):
    sent = pieces(*("poison" if number == at else f"span {number}" for number in range(1000)))
    with Misbehaving("poison poison") as collector, Delivery(collector, protocol, sent) as delivery:
        before = time.monotonic()
        delivery.once()
        assert time.monotonic() - before < 5  # a second is promised, the rest is for a busy machine
        assert delivery.settled.names(AckState.REFUSED) == ["poison"]
        assert (delivery.held, len(collector.spans()), len(collector.span_ids())) == (0, 999, 999)


@both
def test_p20_a_span_with_unreadable_bytes_keeps_no_other_from_going(protocol):
    sent = many(100)
    sent[0] = sent[0]._replace(span=b"\xff" * 40)
    with Misbehaving() as collector, Delivery(collector, protocol, sent) as delivery:
        delivery.once()
        assert (delivery.held, delivery.settled.refused, len(collector.spans())) == (0, 1, 99)
