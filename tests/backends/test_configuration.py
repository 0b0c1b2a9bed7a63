"""The rules the files of collector-config/ keep, read from the YAML itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from crucible_trace_otel.semconv.catalogue import ATTRIBUTES, find_attribute
from tests.backends.collector import REPOSITORY, SHIPPED, SHIPPED_FILES

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def loaded(path: Path) -> dict[str, Any]:
    return dict(yaml.safe_load(path.read_text(encoding="utf-8")))


@pytest.fixture(params=SHIPPED_FILES, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> dict[str, Any]:
    return loaded(request.param)


def span_exporters(config: dict[str, Any]) -> list[dict[str, Any]]:
    return [settings for name, settings in config["exporters"].items() if name.startswith("otlp_grpc/")]


def test_there_is_no_batch_processor_and_memory_is_limited_first(config: dict[str, Any]) -> None:
    assert not [name for name in config["processors"] if name.split("/")[0] == "batch"]
    for pipeline in config["service"]["pipelines"].values():
        assert pipeline["processors"] == ["memory_limiter", "redaction"]


def test_spans_wait_on_disk_and_are_never_given_up(config: dict[str, Any]) -> None:
    exporters = span_exporters(config)
    assert exporters
    for exporter in exporters:
        assert exporter["retry_on_failure"]["max_elapsed_time"] == 0
        assert exporter["sending_queue"]["storage"] == "file_storage/queue"
        assert exporter["sending_queue"].get("block_on_overflow", False) is False
    assert config["extensions"]["file_storage/queue"]["fsync"] is True
    assert set(config["service"]["extensions"]) == set(config["extensions"])


def test_every_component_is_used(config: dict[str, Any]) -> None:
    pipelines = config["service"]["pipelines"].values()
    used = {name for pipeline in pipelines for part in pipeline.values() for name in part}
    for kind in ("receivers", "processors", "exporters", "connectors"):
        assert set(config.get(kind, {})) <= used


def test_both_files_handle_spans_alike() -> None:
    jaeger, grafana = (loaded(path) for path in SHIPPED_FILES)
    for part in ("extensions", "receivers", "processors"):
        assert jaeger[part] == grafana[part]
    assert jaeger["exporters"]["otlp_grpc/jaeger"] == grafana["exporters"]["otlp_grpc/jaeger"]
    assert grafana["exporters"]["otlp_grpc/tempo"] == {
        **grafana["exporters"]["otlp_grpc/jaeger"],
        "endpoint": "tempo:4317",
    }


def test_spans_become_metrics_by_what_they_are_and_how_they_ended() -> None:
    span_metrics = loaded(SHIPPED / "collector-grafana.yaml")["connectors"]["span_metrics"]
    names = [dimension["name"] for dimension in span_metrics["dimensions"]]
    assert names == ["crucible.operation.name", "crucible.operation.result", "gen_ai.request.model"]


def test_each_receiver_takes_more_than_the_one_before_it_may_send(config: dict[str, Any]) -> None:
    """A span over the queue's `max_size` takes its whole batch with it; a message over a receiver's limit is lost."""
    protocols = config["receivers"]["otlp"]["protocols"]
    jaeger = loaded(SHIPPED / "jaeger.yaml")["receivers"]["otlp"]["protocols"]["grpc"]
    tempo = loaded(SHIPPED / "tempo.yaml")["distributor"]["receivers"]["otlp"]["protocols"]["grpc"]
    taken = max(protocols["grpc"]["max_recv_msg_size_mib"] * 1024 * 1024, protocols["http"]["max_request_body_size"])
    for exporter in span_exporters(config):
        batch = exporter["sending_queue"]["batch"]
        assert batch["sizer"] == "bytes"
        assert taken < batch["max_size"]
        assert batch["max_size"] < min(each["max_recv_msg_size_mib"] * 1024 * 1024 for each in (jaeger, tempo))


def test_the_builder_list_holds_every_component_the_files_name(config: dict[str, Any]) -> None:
    builder = loaded(REPOSITORY / "tests/backends/collector-builder.yaml")
    modules = " ".join(each["gomod"] for kind, part in builder.items() if kind != "dist" for each in part)
    modules_of = {"otlp_grpc": "otlpexporter", "otlp_http": "otlphttpexporter", "otlp": "otlpreceiver"}
    for kind in ("extensions", "receivers", "processors", "exporters", "connectors"):
        for name in config.get(kind, {}):
            component = name.split("/")[0]
            assert modules_of.get(component, component.replace("_", "")) in modules
    assert {version.rsplit(".", 2)[0] for version in re.findall(r" (v[\d.]+)", modules)} <= {"v0", "v1"}


def test_tempo_keeps_what_its_defaults_would_cut() -> None:
    tempo = loaded(SHIPPED / "tempo.yaml")
    assert tempo["distributor"]["max_attribute_bytes"] == 65536
    assert tempo["overrides"]["defaults"]["global"]["max_bytes_per_trace"] == 50_000_000
    assert tempo["storage"]["trace"]["block"]["version"] == "vParquet5"


def test_backends_are_addressed_by_the_names_of_their_services() -> None:
    services = loaded(REPOSITORY / "docker-compose.yml")["services"]
    addresses = list(_addresses())
    assert addresses
    for host, _port in addresses:
        assert host in services


def _addresses() -> Iterator[tuple[str, str]]:
    for path in SHIPPED.rglob("*.yaml"):
        for value in _strings(loaded(path)):
            found = re.fullmatch(r"(?:http://)?([a-z-]+):(\d+)(?:/.*)?", value)
            if found:
                yield found[1], found[2]


def _strings(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for each in value.values():
            yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)
    elif isinstance(value, str):
        yield value


def test_grafana_data_sources_point_at_each_other_and_at_metrics_that_exist() -> None:
    sources = {each["uid"]: each for each in loaded(SHIPPED / "grafana/datasources/crucible.yaml")["datasources"]}
    text = json.dumps(sources)
    assert set(re.findall(r'"datasourceUid": "([^"]+)"', text)) <= set(sources)
    assert [each["name"] for each in sources.values() if each.get("isDefault")] == ["Tempo"]
    # test_collector sees these two leave the Collector; Prometheus writes `.` as `_` and adds unit and kind.
    metrics = set(re.findall(r"traces_\w+", text))
    assert metrics == {"traces_span_metrics_calls_total", "traces_span_metrics_duration_milliseconds_bucket"}


def test_the_jaeger_ui_puts_the_summary_first() -> None:
    interface = json.loads((SHIPPED / "jaeger-ui.json").read_text(encoding="utf-8"))
    assert interface["topTagPrefixes"][0] == "crucible.about"


def test_redaction_masks_no_attribute_of_the_convention(config: dict[str, Any]) -> None:
    patterns = config["processors"]["redaction"]["blocked_key_patterns"]
    assert [key for key in ATTRIBUTES if any(re.search(pattern, key) for pattern in patterns)] == []


def test_dimensions_and_queries_name_what_the_convention_has() -> None:
    dimensions = loaded(SHIPPED / "collector-grafana.yaml")["connectors"]["span_metrics"]["dimensions"]
    page = (REPOSITORY / "docs/backends.md").read_text(encoding="utf-8")
    queries = "".join(re.findall(r"```traceql\n(.*?)```", page, re.DOTALL))
    asked = re.findall(r"(?:span|event|link)\.((?:crucible|gen_ai)\.[a-z0-9_.]+)", queries)
    assert asked
    assert all(find_attribute(key) for key in [*(dimension["name"] for dimension in dimensions), *asked])


def test_the_page_names_the_pinned_images() -> None:
    page = (REPOSITORY / "docs/backends.md").read_text(encoding="utf-8")
    pins = re.findall(r"_IMAGE=docker\.io/(\S+):(\S+)", (REPOSITORY / ".env").read_text(encoding="utf-8"))
    assert len(pins) == 5
    for image, version in pins:
        assert f"| `{image}` | {version} |" in page
