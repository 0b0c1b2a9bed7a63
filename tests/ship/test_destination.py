"""Where to send: through a pipe and back, taken apart, and never shown with its secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.ship.destination import Destination, transport

texts = st.text(st.characters(codec="utf-8"))


@given(
    st.builds(
        Destination,
        endpoint=texts,
        headers=st.dictionaries(texts, texts),
        timeout_s=st.floats(0, 100),
        certificate=st.none() | texts,
        paths=st.lists(texts).map(tuple),
    )
)
def test_it_goes_through_a_pipe_as_text(destination):
    assert Destination.from_json(destination.to_json()) == destination


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "null",
        '{"endpoint": 1}',
        '{"endpoint": "x", "more": "y"}',
        '{"endpoint": "x", "headers": {"a": 1}}',
        '{"endpoint": "x", "paths": [1]}',
        "[" * 100000,
    ],
)
def test_other_text_is_a_format_error_that_does_not_repeat_it(text):
    with pytest.raises(FormatError, match=r"^These are no settings of a destination\.$"):
        Destination.from_json(text)


@pytest.mark.parametrize(
    ("endpoint", "secure", "host", "port", "target"),
    [
        ("http://localhost:4318/v1/traces", False, "localhost", 4318, "/v1/traces"),
        ("https://[::1]/a?b=c", True, "::1", None, "/a?b=c"),
        ("localhost:4317", False, "localhost", 4317, "/"),
        ("https://collector.example", True, "collector.example", None, "/"),
    ],
)
def test_an_endpoint_is_taken_apart(endpoint, secure, host, port, target):
    address = Destination(endpoint).address()
    assert (address.secure, address.host, address.port, address.target) == (secure, host, port, target)
    assert address.authorization is None


@pytest.mark.parametrize(
    "endpoint", ["", "http://", "http://host:port/", "ftp://host/", "http://[::1", "http://h:99999"]
)
@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_an_endpoint_that_is_none_pauses(endpoint, protocol):
    answer = transport(Destination(endpoint, protocol)).send(b"")
    assert answer.outcome.name == "PAUSED"
    assert "address" in answer.said


def test_nothing_printed_shows_a_secret():
    destination = Destination(
        "https://me:pass%20word@host:1/v1/traces?key=hidden", headers={"authorization": "Bearer token-1"}
    )
    assert repr(destination) == "Destination('https://host:1/v1/traces', 'http/protobuf')"
    assert "pass" not in repr(destination.address())
    assert destination.address().authorization == "Basic bWU6cGFzcyB3b3Jk"
    quoted = "you sent Basic bWU6cGFzcyB3b3Jk, Bearer token-1, token-1 and pass word"
    assert destination.without_secrets(quoted) == "you sent ***, ***, *** and ***"
    assert destination.without_secrets("an answer that was cut: Bearer tok") == "an answer that was cut: ***"
