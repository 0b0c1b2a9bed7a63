"""A real Jaeger, by CRUCIBLE_TEST_JAEGER: a binary (run here with the shipped jaeger.yaml) or a base URL."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
import yaml
from opentelemetry.trace import Link

from tests.backends.collector import SHIPPED
from tests.backends.demo import DEMO, finish, journalled, start
from tests.backends.named_backend import Backend, Ports, named_backend
from tests.backends.query_api import get_json, spans_of_otlp_json
from tests.backends.recording import SERVICE, differences, huge, record

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from opentelemetry.trace import Tracer

    from tests.backends.sink import ReceivedSpan


class Jaeger(Backend):
    def trace(self, trace_id: str) -> list[ReceivedSpan]:
        answer = get_json(f"{self.query}/api/v3/traces/{trace_id}")
        return [] if answer is None else spans_of_otlp_json(answer["result"])

    def search(self, **parameters: str) -> set[str]:
        now = datetime.now(timezone.utc)
        parameters["query.startTimeMin"] = (now - timedelta(hours=1)).isoformat().replace("+00:00", "Z")
        parameters["query.startTimeMax"] = (now + timedelta(minutes=1)).isoformat().replace("+00:00", "Z")
        answer = get_json(f"{self.query}/api/v3/traces", **parameters)
        found = [] if answer is None else spans_of_otlp_json(answer["result"])
        return {each.span.trace_id.hex() for each in found}


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Jaeger]:
    directory = tmp_path_factory.mktemp("jaeger")
    with named_backend("CRUCIBLE_TEST_JAEGER", "Jaeger v2", directory, rewritten_jaeger) as fields:
        yield Jaeger(*fields)


def rewritten_jaeger(directory: Path, ports: Ports) -> tuple[list[str], str]:
    """Write the shipped file with loopback ports and the shipped UI settings, and nothing else changed."""
    config = yaml.safe_load((SHIPPED / "jaeger.yaml").read_text(encoding="utf-8"))
    config["receivers"]["otlp"]["protocols"]["grpc"]["endpoint"] = f"127.0.0.1:{ports.otlp}"
    interface = config["extensions"]["jaeger_query"]
    interface["ui"]["config_file"] = str(SHIPPED / "jaeger-ui.json")
    interface["http"]["endpoint"] = f"127.0.0.1:{ports.query}"
    interface["grpc"]["endpoint"] = f"127.0.0.1:{ports.internal}"
    config["extensions"]["healthcheckv2"]["http"]["endpoint"] = f"127.0.0.1:{ports.other}"
    # Its own metrics would take a fixed port on this machine; in its container they do not matter.
    config["service"]["telemetry"] = {"metrics": {"level": "none"}}
    path = directory / "jaeger.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return [f"--config={path}"], f"http://127.0.0.1:{ports.other}/status"


def test_every_span_is_given_back_as_it_was_recorded(jaeger: Jaeger) -> None:
    expected = record(jaeger.otlp, jaeger.protocol)
    for trace_id in {each.span.trace_id for each in expected}:
        wanted = [each for each in expected if each.span.trace_id == trace_id]
        stored = jaeger.stored(trace_id.hex(), len(wanted))
        assert differences(wanted, stored, exact=False) == []  # Jaeger does not keep schema URLs
    assert SERVICE in get_json(f"{jaeger.query}/api/v3/services")["services"]


def test_a_huge_span_is_kept(jaeger: Jaeger) -> None:
    expected = record(jaeger.otlp, jaeger.protocol, huge(10), batch=1)
    stored = jaeger.stored(expected[0].span.trace_id.hex(), len(expected))
    assert differences(expected, stored, exact=False) == []


def test_spans_are_found_by_operation_and_by_attribute(jaeger: Jaeger) -> None:
    marker = uuid.uuid4().hex

    def marked(tracer: Tracer) -> None:
        with tracer.start_as_current_span("training_run", attributes={"crucible.run.id": marker}) as span:
            span.add_event("steps_recorded", {"crucible.window.reason": f"event {marker}"})

    (expected,) = record(jaeger.otlp, jaeger.protocol, marked)
    trace_id = expected.span.trace_id.hex()
    assert jaeger.stored(trace_id, 1)
    for attributes in ({"crucible.run.id": marker}, {"crucible.window.reason": f"event {marker}"}):
        conditions = {"query.operationName": "training_run", "query.attributes": json.dumps(attributes)}
        assert jaeger.search(**{"query.serviceName": SERVICE, **conditions}) == {trace_id}
    operations = get_json(f"{jaeger.query}/api/v3/operations", service=SERVICE)["operations"]
    assert "training_run" in {operation["name"] for operation in operations}


def test_the_jaeger_page_shows_no_link_attributes_so_the_mirror_must_be_there(jaeger: Jaeger) -> None:
    """The reason for `crucible.dependency.*`: what the UI reads has no place for the attributes of a link."""

    def linked(tracer: Tracer) -> None:
        with tracer.start_as_current_span("stage split") as first:
            pass
        link = Link(first.get_span_context(), {"crucible.link.type": "depends_on"})
        mirror = {"crucible.dependency.names": ["depends_on: stage: split"]}
        tracer.start_span("training_run", links=[link], attributes=mirror).end()

    expected = record(jaeger.otlp, jaeger.protocol, linked)
    trace_id = next(each.span.trace_id.hex() for each in expected if each.span.name == "training_run")
    assert jaeger.stored(trace_id, 1)[0].span.links[0].attributes[0].key == "crucible.link.type"
    page = json.dumps(get_json(f"{jaeger.query}/api/traces/{trace_id}"))
    assert "crucible.link.type" not in page
    assert "depends_on: stage: split" in page


def test_the_demo_is_given_back_and_found_by_what_it_recorded(jaeger: Jaeger, tmp_path: Path) -> None:
    finish(start([str(DEMO)], tmp_path, jaeger.otlp, jaeger.protocol))
    expected = journalled(tmp_path)
    trace_id = expected[0].span.trace_id.hex()
    stored = jaeger.stored(trace_id, len(expected))
    assert differences(expected, stored, exact=False) == []
    for operation, attributes in (
        ("training_run", {"crucible.run.name": "digits"}),
        ("deployment", {"deployment.name": "digits-reader"}),
        ("alternative_rejected", {"crucible.decision.text": "nearest class mean"}),
    ):
        conditions = {"query.operationName": operation, "query.attributes": json.dumps(attributes)}
        assert trace_id in jaeger.search(**{"query.serviceName": "digits-demo", **conditions})
