"""A real OpenTelemetry Collector running a shipped file: only addresses and folders are replaced."""

from __future__ import annotations

import copy
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.backends.process import BackendProcess, free_ports

if TYPE_CHECKING:
    from collections.abc import Mapping

    from typing_extensions import Self

REPOSITORY = Path(__file__).resolve().parents[2]
SHIPPED = REPOSITORY / "collector-config"
SHIPPED_FILES = (SHIPPED / "collector.yaml", SHIPPED / "collector-grafana.yaml")
MISSING = (
    "no OpenTelemetry Collector for the tests: install Go 1.25 or later (https://go.dev/dl/), then run `make collector`"
)


def collector_binary() -> Path:
    """Return the Collector to test with; skip where there is none, but fail in CI where Go could have built it."""
    named = os.environ.get("CRUCIBLE_TEST_COLLECTOR")
    if named:
        return Path(named)
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "crucible-trace-otel"
    script = Path(__file__).with_name("build-collector.sh")
    where = subprocess.run([str(script), str(cache), "where"], check=True, capture_output=True, text=True)
    binary = Path(where.stdout.strip())
    if binary.exists():
        return binary
    if os.environ.get("CI") == "true":
        pytest.fail(f"{binary} is missing, and in CI its tests do not skip: install Go and run `make collector`")
    pytest.skip(MISSING)


def rewritten(
    shipped: Mapping[str, Any],
    *,
    ports: Mapping[str, int],
    endpoints: Mapping[str, str],
    storage: Path,
    host: str = "127.0.0.1",
) -> dict[str, Any]:
    """Return the shipped configuration with a queue in `storage` and loopback addresses, `host` for its receivers."""
    config = copy.deepcopy(dict(shipped))
    config["extensions"]["health_check"]["endpoint"] = f"127.0.0.1:{ports['health']}"
    queue = config["extensions"]["file_storage/queue"]
    queue["directory"] = queue["compaction"]["directory"] = str(storage)
    for protocol, settings in config["receivers"]["otlp"]["protocols"].items():
        settings["endpoint"] = f"{host}:{ports[protocol]}"
    reader = config["service"]["telemetry"]["metrics"]["readers"][0]["pull"]["exporter"]["prometheus"]
    reader.update(host="127.0.0.1", port=ports["telemetry"])
    if set(endpoints) != set(config["exporters"]):
        raise ValueError(f"every exporter needs a loopback endpoint: {sorted(config['exporters'])}")
    for name, endpoint in endpoints.items():
        config["exporters"][name]["endpoint"] = endpoint
    return config


class Collector:
    """A running Collector; a context manager. Its ports stay the same over a restart. It receives at `host` only."""

    def __init__(
        self, binary: Path, shipped: Path, directory: Path, endpoints: Mapping[str, str], host: str = "127.0.0.1"
    ) -> None:
        self._host = host
        names = ("grpc", "http", "health", "telemetry")
        self._ports = dict(zip(names, free_ports(len(names)), strict=True))
        config = rewritten(
            yaml.safe_load(shipped.read_text(encoding="utf-8")),
            ports=self._ports,
            endpoints=endpoints,
            storage=directory / "queue",
            host=host,
        )
        path = directory / "collector.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        ready = f"http://127.0.0.1:{self._ports['health']}/"
        self._process = BackendProcess([str(binary), f"--config={path}"], ready_url=ready, directory=directory)
        self.telemetry_url = f"http://127.0.0.1:{self._ports['telemetry']}/metrics"

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._process.stop()

    def endpoint(self, protocol: str) -> str:
        """Return where an OTLP exporter of `protocol` ("http/protobuf" or "grpc") must send to."""
        return (
            f"{self._host}:{self._ports['grpc']}"
            if protocol == "grpc"
            else f"http://{self._host}:{self._ports['http']}"
        )

    def kill(self) -> None:
        """End it by SIGKILL."""
        self._process.kill()

    def start(self) -> None:
        """Start it again, with the queue it left on disk."""
        self._process.start()

    @property
    def log(self) -> str:
        """What it has written so far."""
        return self._process.log.read_text(encoding="utf-8")
