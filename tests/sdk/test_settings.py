"""What `configure()` was told: each argument, each variable, who wins, and what is said where one cannot be used."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from crucible_trace_otel.errors import ConfigurationError
from crucible_trace_otel.journal.sizes import Budget
from crucible_trace_otel.sdk._settings import Settings, read_settings, span_limits

NOBODY: dict[str, Any] = {
    "service_name": None,
    "resource_attributes": None,
    "journal": None,
    "endpoint": None,
    "protocol": None,
    "headers": None,
    "console": None,
}
BASE, TRACES = "OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
PROTOCOL = "OTEL_EXPORTER_OTLP_PROTOCOL"


def settings(**given: Any) -> Settings:
    return read_settings(**{**NOBODY, **given})


def test_what_nobody_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/somewhere/train_digits.py"])
    assert settings() == Settings(
        resource_attributes={"service.name": "train_digits"},
        journal=Path(".crucible"),
        endpoint=None,
        protocol="http/protobuf",
        headers=None,
        timeout_s=10.0,
        compression=None,
        certificates=(None, None, None),
        ship="process",
        linger_s=600.0,
        exit_wait_s=2.0,
        sync=1.0,
        progress_s=600.0,
        limit_bytes=2 << 30,
        trace_budget=Budget(4_000_000, 2_000),
        text_limit=2_048,
        queue_size=16_384,
        batch_size=512,
        schedule_delay_ms=5_000,
        console=False,
        event_signal="spans",
        logs=None,
        metrics=None,
    )


@pytest.mark.parametrize(
    ("given", "variables", "name", "expected"),
    [
        # service name
        ({"service_name": "given"}, {"OTEL_SERVICE_NAME": "said"}, "resource_attributes", {"service.name": "given"}),
        (
            {},
            {"OTEL_SERVICE_NAME": "said", "OTEL_RESOURCE_ATTRIBUTES": "service.name=x"},
            "resource_attributes",
            {"service.name": "said"},
        ),
        (
            {},
            {"OTEL_RESOURCE_ATTRIBUTES": "a=b, service.name = two%20words"},
            "resource_attributes",
            {"service.name": "two words"},
        ),
        (
            {},
            {"OTEL_SERVICE_NAME": " ", "OTEL_RESOURCE_ATTRIBUTES": "nonsense,service.name="},
            "resource_attributes",
            {"service.name": "script"},
        ),
        (
            {"resource_attributes": {"service.name": "here", "team": "a"}},
            {"OTEL_SERVICE_NAME": "said"},
            "resource_attributes",
            {"service.name": "here", "team": "a"},
        ),
        # journal
        ({"journal": "a"}, {"CRUCIBLE_JOURNAL": "b"}, "journal", Path("a")),
        ({"journal": Path("a/b")}, {}, "journal", Path("a/b")),
        ({"journal": False}, {"CRUCIBLE_JOURNAL": "b"}, "journal", None),
        ({"journal": True}, {"CRUCIBLE_JOURNAL": "b"}, "journal", Path("b")),
        ({"journal": True}, {"CRUCIBLE_JOURNAL": "off"}, "journal", Path(".crucible")),
        ({}, {"CRUCIBLE_JOURNAL": "b"}, "journal", Path("b")),
        ({}, {"CRUCIBLE_JOURNAL": "off"}, "journal", None),
        ({}, {"CRUCIBLE_JOURNAL": "False"}, "journal", None),
        ({}, {"CRUCIBLE_JOURNAL": "0"}, "journal", None),
        # endpoint
        ({"endpoint": "http://a:1"}, {BASE: "http://b:2"}, "endpoint", "http://a:1/v1/traces"),
        ({"endpoint": "http://a:1/"}, {}, "endpoint", "http://a:1/v1/traces"),
        ({"endpoint": "http://a:1/otlp/"}, {}, "endpoint", "http://a:1/otlp/v1/traces"),
        ({"endpoint": "http://a:1/v1/traces"}, {}, "endpoint", "http://a:1/v1/traces"),
        ({"endpoint": "http://[::1]:4318"}, {}, "endpoint", "http://[::1]:4318/v1/traces"),
        ({"endpoint": "a:4317"}, {}, "endpoint", "a:4317"),
        ({}, {BASE: "http://b:2"}, "endpoint", "http://b:2/v1/traces"),
        ({}, {BASE: "http://b:2", TRACES: "http://t:3/exactly"}, "endpoint", "http://t:3/exactly"),
        ({}, {BASE: "http://b:2", "OTEL_TRACES_EXPORTER": "none"}, "endpoint", None),
        ({}, {BASE: "  "}, "endpoint", None),
        # protocol
        ({"protocol": "grpc"}, {PROTOCOL: "http/protobuf"}, "protocol", "grpc"),
        ({}, {PROTOCOL: "GRPC"}, "protocol", "grpc"),
        ({}, {PROTOCOL: "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, "protocol", "http/protobuf"),
        ({"endpoint": "http://a:4317"}, {}, "protocol", "grpc"),
        ({"endpoint": "http://a:4317/"}, {PROTOCOL: "http/protobuf"}, "protocol", "http/protobuf"),
        ({}, {BASE: "http://a:4317"}, "protocol", "grpc"),
        ({"endpoint": "http://a:4318"}, {BASE: "http://a:4317"}, "protocol", "http/protobuf"),
        # the rest
        ({"headers": {"a": "b"}}, {"OTEL_EXPORTER_OTLP_HEADERS": "c=d"}, "headers", {"a": "b"}),
        ({}, {"OTEL_EXPORTER_OTLP_HEADERS": "c=d"}, "headers", None),  # the exporter reads the variable itself
        ({}, {"OTEL_EXPORTER_OTLP_TIMEOUT": "2.5"}, "timeout_s", 2.5),
        ({}, {"OTEL_EXPORTER_OTLP_TIMEOUT": "2", "OTEL_EXPORTER_OTLP_TRACES_TIMEOUT": "3"}, "timeout_s", 3.0),
        ({}, {"OTEL_EXPORTER_OTLP_COMPRESSION": "GZIP"}, "compression", "gzip"),
        ({"console": False}, {"CRUCIBLE_CONSOLE": "1"}, "console", False),
        ({"console": True}, {"CRUCIBLE_CONSOLE": "0"}, "console", True),
        ({}, {"CRUCIBLE_CONSOLE": "yes"}, "console", True),
        ({}, {"CRUCIBLE_CONSOLE": "off"}, "console", False),
    ],
)
def test_an_argument_beats_its_variable_and_a_variable_the_default(
    *,
    monkeypatch: pytest.MonkeyPatch,
    warned: list[str],
    given: dict[str, Any],
    variables: dict[str, str],
    name: str,
    expected: object,
) -> None:
    monkeypatch.setattr(sys, "argv", ["script.py"])
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    assert getattr(settings(**given), name) == expected
    assert warned == []


@pytest.mark.parametrize(
    ("variable", "value", "name", "expected"),
    [
        (BASE, "collector", "endpoint", None),
        (BASE, "ftp://collector:4318", "endpoint", None),
        (BASE, "http://collector:port", "endpoint", None),
        (BASE, "http://", "endpoint", None),
        (TRACES, "http://a b:4318", "endpoint", None),
        (PROTOCOL, "http/json", "protocol", "http/protobuf"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon", "timeout_s", 10.0),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "-1", "timeout_s", 10.0),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "nan", "timeout_s", 10.0),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "lzma", "compression", None),
        ("CRUCIBLE_JOURNAL", "in-the-way", "journal", Path(".crucible")),
    ],
)
def test_a_variable_that_cannot_be_used_is_a_warning_and_the_default(
    *, monkeypatch: pytest.MonkeyPatch, warned: list[str], variable: str, value: str, name: str, expected: object
) -> None:
    Path("in-the-way").write_text("a file")
    monkeypatch.setenv(variable, value)
    for _ in range(2):
        assert getattr(settings(), name) == expected
    assert len(warned) == 1
    assert variable in warned[0]
    assert repr(value) in warned[0]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"service_name": ""}, "''"),
        ({"service_name": 3}, "3"),
        ({"resource_attributes": ["team"]}, "['team']"),
        ({"journal": "in-the-way"}, "'in-the-way'"),
        ({"journal": "in-the-way/below"}, "in-the-way/below"),
        ({"journal": 3.5}, "3.5"),
        ({"journal": "nul\0"}, "nul"),
        ({"endpoint": "localhost:4318"}, "'localhost:4318'"),
        ({"endpoint": ""}, "''"),
        ({"endpoint": "http://localhost:99999"}, "99999"),
        ({"endpoint": "http://:4318"}, "http://:4318"),
        ({"endpoint": "http://a b"}, "http://a b"),
        ({"endpoint": "ftp://a:4317", "protocol": "grpc"}, "ftp://a:4317"),
        ({"endpoint": 4318}, "4318"),
        ({"protocol": "http/json"}, "'http/json'"),
        ({"protocol": "udp"}, "'udp'"),
        ({"headers": "a=b"}, "headers=str"),
        ({"headers": {"a": 1}}, "headers=dict"),
    ],
)
def test_an_argument_that_cannot_be_used_is_one_sentence_with_its_value_and_the_way_out(
    given: dict[str, Any], named: str
) -> None:
    Path("in-the-way").write_text("a file")
    with pytest.raises(ConfigurationError) as raised:
        settings(**given)
    sentence = str(raised.value)
    argument = next(iter(given)) if len(given) == 1 else "endpoint"
    assert sentence.startswith(argument)
    assert named in sentence
    assert any(way in sentence for way in ("give ", "Name ", "use ", "such as "))
    assert sentence.endswith(".")
    assert "\n" not in sentence


def test_a_default_that_cannot_be_made_is_an_error_too() -> None:
    Path(".crucible").write_text("a file")
    with pytest.raises(ConfigurationError, match="journal=False"):
        settings()


@pytest.mark.skipif(os.geteuid() != 0, reason="as root, to become somebody who may not write")
def test_a_directory_that_may_not_be_written_is_said(tmp_path: Path) -> None:
    from tests.journal.process import run

    code = """
    import os, encodings.idna, linecache, traceback
    import crucible_trace_otel as crucible
    from crucible_trace_otel.sdk import configure
    os.makedirs("journal")
    os.chmod("journal", 0o500)
    os.setuid(65534)
    try:
        configure(service_name="s", journal="journal")
    except crucible.ConfigurationError as error:
        print(error)
    """
    place = Path("/tmp") / f"crucible-{os.getpid()}"
    place.mkdir(mode=0o755)
    try:
        said, _ = run(code, place)
    finally:
        (place / "journal").rmdir()
        place.rmdir()
    assert said == "journal='journal' is not writable. Name a directory that is, or journal=False for none.\n"


def test_span_limits_follow_the_standard_variables(monkeypatch: pytest.MonkeyPatch, warned: list[str]) -> None:
    assert span_limits().max_events == span_limits().max_span_attributes == span_limits().max_links == 128
    assert span_limits().max_span_attribute_length is None
    monkeypatch.setenv("OTEL_SPAN_EVENT_COUNT_LIMIT", "7")
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", "9")
    monkeypatch.setenv("OTEL_SPAN_LINK_COUNT_LIMIT", "many")
    monkeypatch.setenv("OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT", "-1")
    limits = span_limits()
    assert (limits.max_events, limits.max_span_attribute_length) == (7, 9)
    assert (limits.max_links, limits.max_event_attributes) == (128, 128)
    assert [line.partition("=")[0] for line in warned] == [
        "OTEL_SPAN_LINK_COUNT_LIMIT",
        "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT",
    ]
