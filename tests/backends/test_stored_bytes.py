"""What the disk has is what goes over the wire: no span is decoded and encoded again on its way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from crucible_trace_otel.journal.reader import read_directory
from crucible_trace_otel.journal.wire import bytes_field
from tests.backends.demo import DEMO, JOURNAL, finish, nobody_sends, start
from tests.backends.recording import PROTOCOLS
from tests.faults.collector import Misbehaving

if TYPE_CHECKING:
    from pathlib import Path

SPANS = 2
"""The number of the field `spans` in OTLP's ScopeSpans."""


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_each_stored_span_is_in_a_request_byte_for_byte(tmp_path: Path, protocol: str) -> None:
    with Misbehaving() as receiver:
        endpoint = receiver.grpc_endpoint if protocol == "grpc" else receiver.http_endpoint
        finish(start([str(DEMO)], tmp_path, endpoint, protocol))
        assert nobody_sends(tmp_path)
        bodies = [request.body for request in receiver.requests()]
    spans = read_directory(tmp_path / JOURNAL).spans
    assert len(spans) > 100
    fields = [bytes_field(SPANS, stored.span) for stored in spans]  # with its length: nothing is added to it either
    assert sum(not any(field in body for body in bodies) for field in fields) == 0
    assert len(receiver.spans()) == len(spans)
