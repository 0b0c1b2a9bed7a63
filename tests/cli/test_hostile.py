"""Journals that hold intact records with odd content: every command says something, none ends in a traceback."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from opentelemetry.proto.trace.v1 import trace_pb2 as pb

import crucible_trace_otel as crucible
from crucible_trace_otel.cli import main
from crucible_trace_otel.journal.records import RecordType, frame

if TYPE_CHECKING:
    from pathlib import Path

COMMANDS = [
    ["list"],
    ["list", "--json"],
    ["show"],
    ["show", "--json"],
    ["show", "--follow"],
    ["steps"],
    ["steps", "--gradients"],
    ["steps", "--rewards"],
    ["steps", "--json"],
    ["steps", "--latest"],
    ["render"],
    ["render", "--format", "mermaid"],
    ["render", "--format", "json"],
    ["render", "--format", "otlp-json"],
]


def ours(span: pb.Span) -> None:
    attribute = span.attributes.add()
    attribute.key = "crucible.operation.name"
    attribute.value.string_value = "stage"


def negative_status(span: pb.Span) -> None:
    span.status.code = -5


def negative_kind(span: pb.Span) -> None:
    span.kind = -9


def no_ids(span: pb.Span) -> None:
    span.trace_id = span.span_id = b""


def its_own_parent(span: pb.Span) -> None:
    span.parent_span_id = span.span_id


def ends_before_it_starts(span: pb.Span) -> None:
    span.start_time_unix_nano, span.end_time_unix_nano = 2**64 - 1, 0


def structures_for_texts(span: pb.Span) -> None:
    for key in ("about", "run.id", "run.state", "dependency.names", "training.loss.value", "decision.confidence"):
        attribute = span.attributes.add()
        attribute.key = f"crucible.{key}"
        attribute.value.kvlist_value.values.add().key = "x"


@pytest.mark.parametrize(
    "twist",
    [negative_status, negative_kind, no_ids, its_own_parent, ends_before_it_starts, structures_for_texts],
    ids=lambda twist: twist.__name__,
)
def test_no_command_ends_in_a_traceback(tmp_path: Path, twist) -> None:
    span = pb.Span(trace_id=b"\1" * 16, span_id=b"\2" * 8, name="n", start_time_unix_nano=1, end_time_unix_nano=2)
    ours(span)
    twist(span)
    record = frame(RecordType.RESOURCE, bytes(4)) + frame(RecordType.SPAN, bytes(8) + span.SerializeToString())
    (tmp_path / "a.segment").write_bytes(record)
    for command in COMMANDS:
        result = CliRunner().invoke(main, [*command, "--journal", str(tmp_path)])
        assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)


def test_names_and_numbers_of_any_kind_are_shown(tmp_path: Path) -> None:
    with crucible.configure(journal=tmp_path), crucible.training_run("\x1b[31mred\u202e\u061c") as run:
        run.record_step(loss=10**400)
        run.record_step(loss=0.5)
    for command in COMMANDS:
        result = CliRunner().invoke(main, [*command, "--journal", str(tmp_path)])
        assert result.exception is None or isinstance(result.exception, SystemExit), (command, result.exception)
        if not any("json" in word for word in command):  # JSON is for programs
            assert not {"\x1b", "\u202e", "\u061c"} & set(result.output), command
