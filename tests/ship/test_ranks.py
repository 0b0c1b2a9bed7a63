"""Which ranks' spans are sent."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.resources import Resource

from crucible_trace_otel.journal.encoder import encode_resource
from crucible_trace_otel.journal.wire import bytes_field, varint_field
from crucible_trace_otel.semconv import attributes as attr
from crucible_trace_otel.ship.batches import Piece
from crucible_trace_otel.ship.ranks import CHOICES, RankChoice
from tests.ship_process.recording import SCOPE, span

RANK, LOCAL = attr.CRUCIBLE_DISTRIBUTED_RANK, attr.CRUCIBLE_DISTRIBUTED_LOCAL_RANK
ERROR = bytes_field(15, varint_field(3, 2))


def piece(operation: str = "stage", *, status: bytes = b"", **said: object) -> Piece:
    resource = Resource({"service.name": "trainer", **{key.replace("__", "."): value for key, value in said.items()}})  # type: ignore[dict-item]
    return Piece(encode_resource(resource), SCOPE, span(1, operation=operation) + status, Path("s"), 0, 1)


def of_process(rank: int, local_rank: int | None = None, operation: str = "stage", *, status: bytes = b"") -> Piece:
    said = {RANK: rank} if local_rank is None else {RANK: rank, LOCAL: local_rank}
    return piece(operation, status=status, **said)


@pytest.mark.parametrize(
    ("choice", "sent"),
    [
        ("all", {(0, 0), (1, 1), (2, 0), (3, 1)}),
        ("one", {(0, 0)}),
        ("node", {(0, 0), (2, 0)}),
    ],
)
def test_the_chosen_ranks_are_sent(choice: str, sent: set[tuple[int, int]]) -> None:
    places = [(0, 0), (1, 1), (2, 0), (3, 1)]
    pieces = [of_process(*place) for place in places]
    to_send, withheld = RankChoice(choice).divide(pieces)
    assert {place for place, one in zip(places, pieces, strict=True) if one in to_send} == sent
    assert [*to_send, *withheld] == sorted(pieces, key=lambda one: one in withheld)


@pytest.mark.parametrize("choice", CHOICES)
def test_errors_and_what_shows_that_a_rank_takes_part_are_always_sent(choice: str) -> None:
    pieces = [
        of_process(5, 1, status=ERROR),
        *(of_process(5, 1, f"{name}{end}") for name in ("worker", "training_run") for end in ("", "_started")),
        of_process(5, 1, "worker_interrupted"),
    ]
    assert RankChoice(choice).divide(pieces) == (pieces, [])


def test_what_has_no_rank_is_sent() -> None:
    pieces = [piece(), of_process(3)]
    assert RankChoice("node").divide(pieces) == (pieces, [])  # nobody knows which is the first of its machine
    assert RankChoice("one").divide(pieces) == (pieces[:1], pieces[1:])


@given(st.sampled_from(CHOICES), st.binary(max_size=60), st.binary(max_size=60))
def test_bytes_that_are_no_resource_or_no_span_raise_nothing(choice: str, resource: bytes, span: bytes) -> None:
    damaged = Piece(resource, SCOPE, span, Path("s"), 0, 1)
    to_send, withheld = RankChoice(choice).divide([damaged])
    assert [*to_send, *withheld] == [damaged]
