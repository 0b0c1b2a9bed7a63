"""What a collector answers: only what it took counts as acknowledged."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTracePartialSuccess,
    ExportTraceServiceResponse,
)

import crucible_trace_otel as crucible
from tests.sdk.answering import answering

if TYPE_CHECKING:
    from tests.backends.sink import Sink

PARTIAL = ExportTraceServiceResponse(
    partial_success=ExportTracePartialSuccess(rejected_spans=3, error_message="too old")
).SerializeToString()


def record(number: int) -> None:
    for _ in range(number):
        with crucible.stage("s"):
            pass


@pytest.mark.parametrize(
    ("status", "body", "headers", "acknowledged", "said"),
    [
        (302, b"", {"Location": "/login"}, 0, "it answers 302 and points to /login"),
        (200, b"<html>welcome</html>", {}, 0, "something that is no OTLP"),
        (200, PARTIAL, {}, 7, "3 were rejected: too old"),
    ],
)
def test_what_was_not_taken_is_not_acknowledged(  # noqa: PLR0917
    warned: list[str], status: int, body: bytes, headers: dict[str, str], acknowledged: int, said: str
) -> None:
    with answering(status, body, **headers) as (endpoint, asked):
        handle = crucible.configure(journal=False, endpoint=endpoint)
        record(10)
        report = handle.flush(10)
        assert not report
        assert (report.recorded, report.acknowledged) == (10, acknowledged)
        handle.shutdown()
    assert asked == ["/v1/traces"]
    assert said in warned[0]
    assert warned[1].startswith(f"{10 - acknowledged} of 10 spans were not acknowledged")


def test_what_was_refused_is_not_made_up_for_by_what_came_later(sink: Sink, warned: list[str]) -> None:
    with answering(400, b"") as (endpoint, _):
        handle = crucible.configure(journal=False, endpoint=endpoint)
        record(10)
        assert not handle.flush(10)
        handle._recorder.sender._exporter.acknowledged += 100  # as if later spans had been taken meanwhile
        assert not handle.flush(10)
    assert warned


def test_a_password_in_the_address_is_not_repeated(warned: list[str]) -> None:
    with answering(400, b"") as (endpoint, _):
        handle = crucible.configure(journal=False, endpoint=endpoint.replace("//", "//user:secret@"))
        record(1)
        assert "secret" not in str(handle.flush(10).endpoint)
        handle.shutdown()
    assert warned
    assert not any("secret" in text for text in warned)
