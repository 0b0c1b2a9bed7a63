"""The Collector's redaction, through a real Collector: secrets are masked, token counts are not."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry.trace import Link, Status, StatusCode

from tests.backends.collector import SHIPPED_FILES, Collector
from tests.backends.recording import record

if TYPE_CHECKING:
    from pathlib import Path

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue as WireValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span
    from opentelemetry.trace import Tracer
    from opentelemetry.util.types import AnyValue

    from tests.backends.sink import Sink

KEY = "sk-" + "a1B2" * 8
PRIVATE_KEY = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow" + "Ab+/" * 20 + "\n-----END RSA PRIVATE KEY-----"
SECRETS: dict[str, AnyValue] = {
    "db.password": "hunter2-password",
    "http.request.header.authorization": "Basic dXNlcjpodW50ZXIy",
    "openai.api_key": "a-key-of-no-known-form",
    "session.cookie": "id=4711-cookie",
    "oauth.access_token": "opaque-access-token",
    "client_secret": "opaque-client-secret",
    "note": f"called with {KEY} and it worked",
    "header": "Authorization: Bearer abcdefghijklmnop.qrstuv",
    "cloud": "key AKIAIOSFODNN7EXAMPLE is old",
    "git": "ghp_" + "A1b2" * 9,
    "pem": PRIVATE_KEY,
    "pem.cut": PRIVATE_KEY[:60],
    "arguments": ["--key", KEY],
}
INNOCENT: dict[str, AnyValue] = {
    "gen_ai.usage.input_tokens": 1200,
    "gen_ai.usage.output_tokens": 34,
    "gen_ai.usage.cache_read.input_tokens": 7,
    "gen_ai.token.type": "input",
    "gen_ai.request.max_tokens": 4096,
    "crucible.training.tokens": 100_000,
    "crucible.model.sha256": "0f" * 32,
    "crucible.decision.reasoning": "the task-splitting-of-the-pipeline-was-slow; the bearer of bad news",
    "crucible.window.series.columns": ["step", "secret_loss"],
    "tokenizer.name": "bpe",
    "secretary": "Ada",
}
# What each secret must not leave behind, whole or in part.
MARKS = "hunter2 dXNlcjpodW50ZXIy a-key-of-no 4711 opaque a1B2 abcdefghijklmnop AKIA ghp_ MIIE Ab+/"


def plain(value: WireValue) -> object:
    kind = value.WhichOneof("value")
    return [plain(each) for each in value.array_value.values] if kind == "array_value" else getattr(value, str(kind))


def emit(tracer: Tracer) -> None:
    with tracer.start_as_current_span("chat", attributes={**SECRETS, **INNOCENT}) as span:
        span.add_event("called", {**SECRETS, **INNOCENT})


@pytest.mark.parametrize("shipped", SHIPPED_FILES, ids=lambda path: path.stem)
def test_secrets_are_masked_and_token_counts_are_not(
    collector: Path, sink: Sink, tmp_path: Path, shipped: Path
) -> None:
    endpoints = {"otlp_grpc/jaeger": sink.grpc_endpoint}
    if "grafana" in shipped.stem:
        endpoints |= {"otlp_grpc/tempo": sink.grpc_endpoint, "otlp_http/prometheus": sink.http_endpoint}
    with Collector(collector, shipped, tmp_path, endpoints) as running:
        record(running.endpoint("grpc"), "grpc", emit)
        assert sink.wait_for_spans(1), running.log
    for received in sink.received():
        wire = received.span.SerializeToString() + received.resource.SerializeToString()
        assert [mark for mark in MARKS.split() if mark.encode() in wire] == []
        for holder in (received.span, received.span.events[0]):
            values = {attribute.key: plain(attribute.value) for attribute in holder.attributes}
            assert {key: values[key] for key in INNOCENT} == INNOCENT
            assert values["redaction.masked.count"] == len(SECRETS)
            assert values["note"] == "called with **** and it worked"


def test_what_the_collector_does_not_reach_is_what_the_page_says(collector: Path, sink: Sink, tmp_path: Path) -> None:
    """docs/backends.md tells people so; should a later Collector reach further, the page is to be changed."""

    def beyond(tracer: Tracer) -> None:
        with tracer.start_as_current_span("first") as first:
            pass
        link = Link(first.get_span_context(), {"db.password": "hunter2"})
        with tracer.start_as_current_span("second", links=[link]) as second:
            second.add_event(f"event {KEY}")
            second.set_status(Status(StatusCode.ERROR, f"status {KEY}"))

    with Collector(collector, SHIPPED_FILES[0], tmp_path, {"otlp_grpc/jaeger": sink.grpc_endpoint}) as running:
        record(running.endpoint("grpc"), "grpc", beyond)
        assert sink.wait_for_spans(2), running.log
    second: Span = next(span for span in sink.spans() if span.name == "second")
    assert plain(second.links[0].attributes[0].value) == "hunter2"
    assert second.events[0].name == f"event {KEY}"
    assert second.status.message == f"status {KEY}"
