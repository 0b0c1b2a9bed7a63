"""A real Grafana Tempo 3, by CRUCIBLE_TEST_TEMPO: a binary (run here with the shipped tempo.yaml) or a base URL."""

from __future__ import annotations

import json
import re
import time
from typing import TYPE_CHECKING

import pytest
import yaml
from opentelemetry.proto.trace.v1.trace_pb2 import TracesData

from tests.backends.collector import REPOSITORY, SHIPPED
from tests.backends.demo import DEMO, finish, journalled, start
from tests.backends.named_backend import Backend, Ports, named_backend
from tests.backends.query_api import get, get_json, until
from tests.backends.recording import differences, huge, many, record
from tests.backends.sink import ReceivedSpan

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PAGE = REPOSITORY / "docs/backends.md"
FOUND = [
    '{ event:name = "steps_recorded" }',
    "{ event.crucible.window.first_step = 200 }",
    '{ link.crucible.link.type = "depends_on" }',
    '{ link:spanID = "STAGE" }',
    '{ span.crucible.operation.result = "success" }',
    '{ span.crucible.dependency.names = "depends_on: stage: split" }',
    "{ span.float = 0.1 }",
    "{ span.ints = 3 }",
    '{ name = "pipeline digits" } >> { status = error }',
    '{ name = "pipeline digits" && span:childCount > 1 }',
    '{ statusMessage =~ "the loss is.*" }',
    '{ instrumentation:name = "tests.backends" && kind = client }',
]
NOT_FOUND = ['{ span.float = 0.1 && event:name = "no such event" }', "{ span.crucible.operation.result = 1.0 }"]


class Tempo(Backend):
    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        body = get(f"{self.query}/api/traces/{trace_id}", accept="application/protobuf")
        return [] if body is None else [
            ReceivedSpan(group.resource, scoped.scope, span, group.schema_url, scoped.schema_url)
            for group in TracesData.FromString(body).resource_spans
            for scoped in group.scope_spans
            for span in scoped.spans
        ]  # fmt: skip

    def search(self, query: str) -> set[str]:
        now = int(time.time())
        answer = get_json(f"{self.query}/api/search", q=query, start=str(now - 3600), end=str(now + 60), limit="500")
        # Tempo leaves out leading zeros of an id.
        return {found["traceID"].zfill(32) for found in answer["traces"]}


@pytest.fixture(scope="module")
def tempo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tempo]:
    directory = tmp_path_factory.mktemp("tempo")
    with named_backend("CRUCIBLE_TEST_TEMPO", "Tempo 3", directory, rewritten_tempo) as fields:
        yield Tempo(*fields)


def rewritten_tempo(directory: Path, ports: Ports) -> tuple[list[str], str]:
    """Write the shipped file with loopback ports, a folder of the test's, and no waiting before a search finds."""
    config = yaml.safe_load((SHIPPED / "tempo.yaml").read_text(encoding="utf-8").replace("/var/tempo", str(directory)))
    config["server"].update(
        http_listen_address="127.0.0.1", http_listen_port=ports.query, grpc_listen_port=ports.internal
    )
    config["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] = f"127.0.0.1:{ports.otlp}"
    config["memberlist"]["bind_port"] = ports.other
    config["querier"]["frontend_worker"]["frontend_address"] = f"127.0.0.1:{ports.internal}"
    config["query_frontend"] = {"query_end_cutoff": "0s"}
    config["live_store"] = {
        "max_trace_idle": "1s",
        "max_trace_live": "5s",
        "max_block_duration": "5s",
        "wal": {"path": str(directory / "live")},
        "shutdown_marker_dir": str(directory / "marker"),
    }
    config["backend_scheduler"] = {"local_work_path": str(directory)}
    path = directory / "tempo.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return ["-target=all", f"-config.file={path}"], f"http://127.0.0.1:{ports.query}/ready"


@pytest.fixture(scope="module")
def recorded(tempo: Tempo) -> list[ReceivedSpan]:
    return record(tempo.otlp, tempo.protocol)


def pipeline_trace(recorded: list[ReceivedSpan]) -> list[ReceivedSpan]:
    trace_id = next(each.span.trace_id for each in recorded if each.span.name == "pipeline digits")
    return [each for each in recorded if each.span.trace_id == trace_id]


def test_every_span_is_given_back_as_it_was_recorded(tempo: Tempo, recorded: list[ReceivedSpan]) -> None:
    wanted = pipeline_trace(recorded)
    stored = tempo.stored(wanted[0].span.trace_id.hex(), len(wanted))
    assert differences(wanted, stored, exact=False) == []  # Tempo does not keep schema URLs


@pytest.mark.parametrize("query", FOUND)
def test_traceql_finds(tempo: Tempo, recorded: list[ReceivedSpan], query: str) -> None:
    wanted = pipeline_trace(recorded)
    stage = next(each.span.span_id.hex() for each in wanted if each.span.name == "stage train")
    trace_id = wanted[0].span.trace_id.hex()
    ask = query.replace("STAGE", stage)
    assert trace_id in until(lambda: tempo.search(ask), lambda found: trace_id in found, seconds=90)


@pytest.mark.parametrize("query", NOT_FOUND)
def test_traceql_does_not_find(tempo: Tempo, recorded: list[ReceivedSpan], query: str) -> None:
    trace_id = pipeline_trace(recorded)[0].span.trace_id.hex()
    known = '{ name = "pipeline digits" }'
    assert trace_id in until(lambda: tempo.search(known), lambda found: trace_id in found, seconds=90)
    assert trace_id not in tempo.search(query)


def test_a_trace_over_five_megabytes_is_kept_whole(tempo: Tempo) -> None:
    expected = record(tempo.otlp, tempo.protocol, many(1000, "x" * 8000))
    assert sum(each.span.ByteSize() for each in expected) > 5_000_000
    stored = tempo.stored(expected[0].span.trace_id.hex(), len(expected))
    assert len(stored) == len(expected)


def test_a_huge_span_is_kept(tempo: Tempo) -> None:
    expected = record(tempo.otlp, tempo.protocol, huge(10), batch=1)
    stored = tempo.stored(expected[0].span.trace_id.hex(), len(expected))
    assert differences(expected, stored, exact=False) == []


def test_every_query_of_the_page_is_traceql(tempo: Tempo) -> None:
    blocks = re.findall(r"```traceql\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    queries = [line for block in blocks for line in block.splitlines()]
    assert queries
    now = int(time.time())
    for query in filter(None, queries):
        path = "/api/metrics/query_range" if "_over_time(" in query else "/api/search"
        body = get(f"{tempo.query}{path}", q=query, start=str(now - 600), end=str(now))
        assert body is not None, query
        assert isinstance(json.loads(body), dict)


def test_the_demo_is_given_back_and_found_by_what_it_recorded(tempo: Tempo, tmp_path: Path) -> None:
    finish(start([str(DEMO)], tmp_path, tempo.otlp, tempo.protocol))
    expected = journalled(tmp_path)
    trace_id = expected[0].span.trace_id.hex()
    stored = tempo.stored(trace_id, len(expected))
    assert differences(expected, stored, exact=False) == []
    for query in (
        '{ event:name = "steps_recorded" && resource.service.name = "digits-demo" }',
        '{ event.crucible.window.last.loss < 1.0 && event:name = "steps_recorded" }',
        '{ name = "deployment" && link.crucible.link.type = "serves" }',
        '{ name = "training_run" && link.crucible.link.type = "depends_on" }',
        '{ name = "epoch" && span.crucible.training.loss.value < 0.5 }',
        '{ name = "hypothesis_formed" && span.crucible.decision.confidence = 0.5 }',
        '{ name = "stage train" } >> { name = "checkpoint_save" && span.crucible.checkpoint.best = true }',
    ):
        found = until(lambda ask=query: tempo.search(ask), lambda ids: trace_id in ids, seconds=90)
        assert trace_id in found, query
