"""What each answer means for the spans that were sent."""

import contextlib
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest
from google.protobuf.any_pb2 import Any
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import DebugInfo, RetryInfo
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from crucible_trace_otel.errors import FormatError
from crucible_trace_otel.ship.answers import Answer, Outcome, grpc_answer, http_answer, taken

PROTOBUF = {"content-type": "application/x-protobuf"}


def partial(rejected, said):
    answer = ExportTraceServiceResponse()
    answer.partial_success.rejected_spans = rejected
    answer.partial_success.error_message = said
    return answer.SerializeToString()


def details(*messages):
    status = Status(code=8, message="busy")
    for message in messages:
        packed = Any()
        packed.Pack(message)
        status.details.append(packed)
    return status.SerializeToString()


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        (100, Outcome.REFUSED),
        (200, Outcome.TAKEN),
        (202, Outcome.TAKEN),
        (204, Outcome.TAKEN),
        (301, Outcome.PAUSED),
        (302, Outcome.PAUSED),
        (307, Outcome.PAUSED),
        (400, Outcome.REFUSED),
        (401, Outcome.PAUSED),
        (403, Outcome.PAUSED),
        (404, Outcome.PAUSED),
        (405, Outcome.PAUSED),
        (407, Outcome.PAUSED),
        (408, Outcome.REFUSED),
        (413, Outcome.TOO_LARGE),
        (415, Outcome.REFUSED),
        (422, Outcome.REFUSED),
        (429, Outcome.RETRY),
        (500, Outcome.REFUSED),
        (501, Outcome.REFUSED),
        (502, Outcome.RETRY),
        (503, Outcome.RETRY),
        (504, Outcome.RETRY),
        (599, Outcome.REFUSED),
    ],
)
def test_a_status_means(status, outcome):
    answer = http_answer(status, PROTOBUF, b"")
    assert answer.outcome is outcome
    assert answer.may_be_one is (status == 400)
    assert (str(status) in answer.said) is (outcome is not Outcome.TAKEN)


@pytest.mark.parametrize(
    ("kind", "body", "outcome"),
    [
        ("", b"", Outcome.TAKEN),
        ("text/plain", b"", Outcome.TAKEN),
        ("application/json", b"{}", Outcome.TAKEN),
        ("application/json; charset=utf-8", b'{"partialSuccess": {}}', Outcome.TAKEN),
        ("application/json", b'"', Outcome.RETRY),
        ("application/x-protobuf", b"\xff\xfe no answer", Outcome.RETRY),
        ("application/x-protobuf", partial(3, "no")[:-1], Outcome.RETRY),
        ("text/html", b"", Outcome.PAUSED),
        ("text/html; charset=utf-8", b"<html>log in", Outcome.PAUSED),
        ("text/plain", b"hello", Outcome.PAUSED),
    ],
)
def test_a_success_status_alone_is_no_success(kind, body, outcome):
    assert http_answer(200, {"content-type": kind}, body).outcome is outcome


def test_a_partial_success_is_read():
    assert taken(partial(3, "attribute too\nlong")) == Answer(
        Outcome.TAKEN, rejected=3, said="rejected 3: attribute too long"
    )
    assert taken(partial(0, "a hint")) == Answer(Outcome.TAKEN, said="a hint")
    assert taken(partial(-1, "")).rejected == 0
    in_json = b'{"partialSuccess": {"rejectedSpans": "2", "errorMessage": "no"}}'
    assert http_answer(200, {"content-type": "application/json"}, in_json).rejected == 2


@pytest.mark.parametrize(
    ("asked", "waited"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("86400", 3600.0),
        ("inf", 3600.0),
        ("nan", None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_in_seconds(asked, waited):
    assert http_answer(503, {"retry-after": asked}, b"").retry_after_s == waited


@pytest.mark.parametrize(("ahead", "waited"), [(30, 30), (-30, 0), (100_000, 3600)])
def test_retry_after_as_a_date(ahead, waited):
    date = format_datetime(datetime.now(timezone.utc) + timedelta(seconds=ahead), usegmt=True)
    assert http_answer(429, {"retry-after": date}, b"").retry_after_s == pytest.approx(waited, abs=2)


@pytest.mark.parametrize(
    "code", ["UNAVAILABLE", "CANCELLED", "DEADLINE_EXCEEDED", "ABORTED", "OUT_OF_RANGE", "DATA_LOSS"]
)
def test_grpc_codes_that_mean_later(code):
    delay = RetryInfo(retry_delay=Duration(seconds=2, nanos=500_000_000))
    assert grpc_answer(code, "", None) == Answer(Outcome.RETRY, said=f"gRPC {code}")
    assert grpc_answer(code, "", details(DebugInfo(detail="x"), delay)).retry_after_s == 2.5


@pytest.mark.parametrize("code", ["UNAUTHENTICATED", "PERMISSION_DENIED", "UNIMPLEMENTED", "NOT_FOUND"])
def test_grpc_codes_that_pause(code):
    assert grpc_answer(code, "no", None) == Answer(Outcome.PAUSED, said=f"gRPC {code}: no")


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "INTERNAL", "UNKNOWN", "ALREADY_EXISTS", "FAILED_PRECONDITION"])
def test_grpc_codes_that_refuse(code):
    answer = grpc_answer(code, "no", None)
    assert answer.outcome is Outcome.REFUSED
    assert answer.may_be_one is (code == "INVALID_ARGUMENT")


@pytest.mark.parametrize(
    "said",
    ["grpc: error unmarshalling request: proto: integer overflow", "Exception deserializing request!", "bad protobuf"],
)
def test_an_internal_error_of_reading_may_be_about_one_span(said):
    assert grpc_answer("INTERNAL", said, None).may_be_one
    assert not grpc_answer("UNAVAILABLE", said, None).may_be_one


def test_resource_exhausted_is_a_wait_only_where_it_says_how_long():
    assert grpc_answer("RESOURCE_EXHAUSTED", "", None).outcome is Outcome.TOO_LARGE
    assert grpc_answer("RESOURCE_EXHAUSTED", "", details(DebugInfo())).outcome is Outcome.TOO_LARGE
    answer = grpc_answer("RESOURCE_EXHAUSTED", "", details(RetryInfo(retry_delay=Duration(seconds=9_999))))
    assert (answer.outcome, answer.retry_after_s) == (Outcome.RETRY, 3600)
    assert grpc_answer("UNAVAILABLE", "", details(RetryInfo(retry_delay=Duration(seconds=-5)))).retry_after_s == 0


def test_the_words_of_a_server_are_one_short_printable_line():
    words = "first\r\n\x1b[31msecond\x00 " + "x" * 9_999
    for answer in (
        http_answer(400, {"content-type": "text/plain"}, words.encode()),
        http_answer(400, PROTOBUF, Status(message=words).SerializeToString()),
        grpc_answer("INTERNAL", words, None),
    ):
        assert "first [31msecond x" in answer.said
        assert answer.said.isprintable()
        assert len(answer.said) < 330


def test_a_redirect_is_named_without_its_secrets():
    said = http_answer(302, {"location": "https://me:secret@login.example/a?token=secret"}, b"").said
    assert said == "HTTP 302, a redirect to https://login.example/a"


headers = st.dictionaries(
    st.sampled_from(["content-type", "retry-after", "location"]),
    st.text(max_size=9)
    | st.sampled_from(["application/x-protobuf", "application/json", "Wed, 21 Oct 2015 07:28:00 GMT"]),
)


@given(
    st.integers(100, 999), headers, st.binary(max_size=30) | st.builds(partial, st.integers(0, 99), st.text(max_size=9))
)
def test_no_http_answer_raises(status, answered, body):
    answer = http_answer(status, answered, body)
    assert answer.said.isprintable()
    assert answer.retry_after_s is None or 0 <= answer.retry_after_s <= 3600


@given(st.text(max_size=9), st.text(max_size=9), st.none() | st.binary(max_size=30))
def test_no_grpc_answer_raises(code, said, status):
    assert grpc_answer(code, said, status).outcome is not Outcome.TAKEN


@given(st.binary())
def test_bytes_are_an_answer_or_a_format_error(body):
    with contextlib.suppress(FormatError):
        assert taken(body).rejected >= 0
