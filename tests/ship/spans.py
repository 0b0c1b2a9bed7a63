"""Stored spans to send, as the journal keeps them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

from crucible_trace_otel.journal.wire import fields
from crucible_trace_otel.ship.batches import Piece

if TYPE_CHECKING:
    from crucible_trace_otel.journal.records import AckState

SEGMENT = Path("20261124T093015-4711-9f86d081-0000.segment")


def message(name: str, number: int = 0, **more: object) -> Span:
    """A span whose ids follow from its number."""
    ids = {"trace_id": bytes(15) + b"\x01", "span_id": (number + 1).to_bytes(8, "big")}
    return Span(name=name, start_time_unix_nano=1, end_time_unix_nano=2, **ids, **more)


def text_attribute(key: str, text: str) -> dict[str, object]:
    """A KeyValue to make a message from."""
    return {"key": key, "value": {"string_value": text}}


def piece(span: Span | str, number: int = 0, *, service: str = "demo", scope: str = "tests") -> Piece:
    """A stored span; the n-th record of the segment."""
    message_ = message(span, number) if isinstance(span, str) else span
    resource = ResourceSpans(schema_url="https://example.org/r")
    resource.resource.attributes.add(key="service.name").value.string_value = service
    around = ScopeSpans(scope={"name": scope})
    return Piece(
        resource.SerializeToString(),
        around.SerializeToString(),
        message_.SerializeToString(),
        SEGMENT,
        number * 100,
        number * 100 + 100,
    )


def pieces(*names: str, **around: str) -> list[Piece]:
    """A stored span for each name."""
    return [piece(name, number, **around) for number, name in enumerate(names)]


def raw_spans(body: bytes) -> list[bytes]:
    """The bytes of each Span message in an ExportTraceServiceRequest, as they stand there."""
    groups = [group for number, _, group in fields(body) if number == 1]
    scopes = [scope for group in groups for number, _, scope in fields(group) if number == 2]
    return [span for scope in scopes for number, _, span in fields(scope) if number == 2]


class Settled:
    """What became of each piece, by what `deliver()` reports."""

    def __init__(self) -> None:
        self.calls: list[tuple[AckState, list[Piece], int, str]] = []

    def __call__(self, state: AckState, part: list[Piece], refused: int, said: str) -> None:
        self.calls.append((state, list(part), refused, said))

    def names(self, state: AckState) -> list[str]:
        """The names of the spans in `state`, in the order of their records."""
        found = [each for called, part, _, _ in self.calls if called is state for each in part]
        return [Span.FromString(each.span).name for each in sorted(found, key=lambda each: each.offset)]

    @property
    def spans(self) -> int:
        """How many spans are settled."""
        return sum(len(part) for _, part, _, _ in self.calls)

    @property
    def refused(self) -> int:
        """How many of them were refused."""
        return sum(refused for _, _, refused, _ in self.calls)
