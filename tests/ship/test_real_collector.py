"""A real OpenTelemetry Collector takes what is sent, and what it cannot read keeps nothing else from it."""

import pytest

from crucible_trace_otel.journal.records import AckState
from crucible_trace_otel.ship.answers import Outcome
from crucible_trace_otel.ship.batches import deliver
from crucible_trace_otel.ship.destination import Destination, transport
from tests.backends.collector import SHIPPED, Collector, collector_binary
from tests.backends.sink import Sink
from tests.ship.spans import Settled, message, piece


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """A Collector with the shipped file, and the sink behind it."""
    directory = tmp_path_factory.mktemp("collector")
    with Sink() as sink:
        behind = {"otlp_grpc/jaeger": sink.grpc_endpoint}
        with Collector(collector_binary(), SHIPPED / "collector.yaml", directory, behind) as collector:
            yield collector, sink


@pytest.mark.parametrize("compression", ["none", "gzip"])
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_p20_it_takes_all_but_the_span_it_cannot_read(running, protocol, compression):
    collector, sink = running
    endpoint = collector.endpoint(protocol)
    endpoint = f"http://{endpoint}" if protocol == "grpc" else f"{endpoint}/v1/traces"
    first = 1 + 1000 * len({each.span_id for each in sink.spans()})
    name = f"{protocol} {compression}"
    sent = [piece(message(name, first + number), number) for number in range(51)]
    sent[7] = sent[7]._replace(span=b"\xff" * 40)
    settled = Settled()
    way = transport(Destination(endpoint, protocol, compression=compression))
    answer = deliver(way, sent, settled)
    way.close()
    assert (answer.outcome, answer.rejected, settled.spans) == (Outcome.TAKEN, 1, 51)
    assert [part for state, part, *_ in settled.calls if state is AckState.REFUSED] == [[sent[7]]]
    assert sink.wait(lambda all_: sum(each.name == name for each in all_.spans()) == 50, seconds=20)


def test_p17_a_wrong_path_pauses(running):
    collector, _ = running
    way = transport(Destination(f"{collector.endpoint('http/protobuf')}/wrong"))
    answer = way.send(b"")
    way.close()
    assert (answer.outcome, answer.said) == (Outcome.PAUSED, "HTTP 404: 404 page not found")
