"""docker-compose.yml as Docker Compose itself reads it, profile by profile, and the rules it must keep."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import compose
import pytest
import yaml

from tests.backends.collector import REPOSITORY, SHIPPED

# The wheel's console script swallows the exit code; the binary beside it does not.
PARSER = Path(compose.__file__).with_name("docker-compose")
PROFILES = {
    "jaeger": {"init", "collector", "jaeger"},
    "grafana": {"init", "collector-grafana", "jaeger", "tempo", "prometheus", "grafana"},
}
PUBLISHED = {"collector": {"4317", "4318"}, "jaeger": {"16686"}, "grafana": {"3000"}}
LONG_RUNNING = ["collector", "collector-grafana", "jaeger", "tempo", "prometheus", "grafana"]


def compose_config(*arguments: str, **variables: str) -> dict[str, Any]:
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    result = subprocess.run(
        [PARSER, *arguments, "config", "--format=yaml"],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # an unset variable is only a warning
    return dict(yaml.safe_load(result.stdout))


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    return dict(compose_config("--profile", "*")["services"])


def test_without_a_profile_the_collector_and_jaeger_start() -> None:
    assert set(compose_config()["services"]) == PROFILES["jaeger"]


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_read_with_nothing_set(profile: str) -> None:
    assert set(compose_config("--profile", profile)["services"]) == PROFILES[profile]


def test_no_profile_starts_two_collectors_on_one_port() -> None:
    for profile in PROFILES:
        published = [
            port["published"]
            for service in compose_config("--profile", profile)["services"].values()
            for port in service.get("ports", [])
        ]
        assert len(published) == len(set(published))


def test_ports_are_published_on_loopback_only(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        ports = service.get("ports", [])
        assert {port["published"] for port in ports} == PUBLISHED.get(name.removesuffix("-grafana"), set())
        assert {port["host_ip"] for port in ports} <= {"127.0.0.1"}
        assert service.get("network_mode", "none") == "none"


def test_images_are_pinned_to_a_full_version(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert re.fullmatch(r"docker\.io/[a-z-]+/[a-z-]+:v?\d+\.\d+\.\d+", service["image"])


def test_services_have_no_more_rights_than_they_need(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service.get("cap_add", []) == (["CHOWN"] if name == "init" else [])
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert "privileged" not in service


def test_services_are_bounded(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        assert int(service["mem_limit"]) > 0
        assert service["pids_limit"] > 0
        assert service["logging"]["options"]["max-size"] == "5m"


@pytest.mark.parametrize("name", LONG_RUNNING)
def test_services_start_again_after_a_crash(services: dict[str, dict[str, Any]], name: str) -> None:
    assert services[name]["restart"] == "unless-stopped"


@pytest.mark.parametrize("name", sorted(set(LONG_RUNNING) - {"collector", "collector-grafana"}))
def test_services_with_a_shell_or_a_probe_say_how_they_are(services: dict[str, dict[str, Any]], name: str) -> None:
    assert services[name]["healthcheck"]["test"][0] == "CMD"


def test_mounted_files_are_shipped_and_read_only(services: dict[str, dict[str, Any]]) -> None:
    mounts = [mount for service in services.values() for mount in service["volumes"] if mount["type"] == "bind"]
    assert mounts
    for mount in mounts:
        assert Path(mount["source"]).exists()
        assert mount["read_only"] is True
    mounted = {Path(mount["source"]) for mount in mounts}
    shipped = {path for path in SHIPPED.rglob("*") if path.is_file()}
    assert {path for path in shipped if not mounted & {path, *path.parents}} == set()


def test_the_queue_is_a_named_volume_where_the_collector_keeps_it(services: dict[str, dict[str, Any]]) -> None:
    for name in ("collector", "collector-grafana"):
        (mount,) = (mount for mount in services[name]["volumes"] if mount["type"] == "volume")
        (config,) = (mount["source"] for mount in services[name]["volumes"] if mount["type"] == "bind")
        queue = yaml.safe_load(Path(config).read_text(encoding="utf-8"))["extensions"]["file_storage/queue"]
        assert queue["directory"] == mount["target"]
        assert mount["target"] in services["init"]["entrypoint"]
        assert services[name]["depends_on"]["init"]["condition"] == "service_completed_successfully"


def test_grafana_has_no_password_until_one_is_given(services: dict[str, dict[str, Any]]) -> None:
    environment = services["grafana"]["environment"]
    assert environment["GF_SECURITY_ADMIN_PASSWORD__FILE"] == "/run/secrets/grafana_password"
    assert not {"GF_SECURITY_ADMIN_PASSWORD", "GF_AUTH_ANONYMOUS_ENABLED"} & set(environment)
    unset = compose_config("--profile", "grafana")["secrets"]["grafana_password"]["file"]
    assert not Path(unset).exists()
    assert "CRUCIBLE_GRAFANA_PASSWORD_FILE" in unset
    given = compose_config("--profile", "grafana", CRUCIBLE_GRAFANA_PASSWORD_FILE="/a/file")
    assert given["secrets"]["grafana_password"]["file"] == "/a/file"


@pytest.mark.parametrize(("content", "starts"), [("a password\n", True), ("", False), (None, False)])
def test_grafana_starts_only_with_a_password(
    services: dict[str, dict[str, Any]], tmp_path: Path, content: str | None, starts: bool
) -> None:
    """An empty file would leave Grafana with its own default; its start command is run here by a real shell."""
    secret, started = tmp_path / "secret", tmp_path / "run.sh"
    started.write_text("#!/bin/sh\necho started\n", encoding="utf-8")
    started.chmod(0o755)
    if content is not None:
        secret.write_text(content, encoding="utf-8")
    shell, flag, script = services["grafana"]["entrypoint"]
    script = script.replace("$$", "$").replace("/run/secrets/grafana_password", str(secret))
    result = subprocess.run(
        [shell, flag, script.replace("/run.sh", str(started))], capture_output=True, text=True, check=False
    )
    assert (result.returncode == 0, result.stdout) == (starts, "started\n" if starts else "")
    assert starts or "CRUCIBLE_GRAFANA_PASSWORD_FILE" in result.stderr


def test_nothing_calls_home(services: dict[str, dict[str, Any]]) -> None:
    environment = services["grafana"]["environment"]
    for name in ("REPORTING_ENABLED", "CHECK_FOR_UPDATES", "CHECK_FOR_PLUGIN_UPDATES"):
        assert environment[f"GF_ANALYTICS_{name}"] == "false"
    assert environment["GF_PLUGINS_PREINSTALL_DISABLED"] == "true"
    assert (
        yaml.safe_load((SHIPPED / "tempo.yaml").read_text(encoding="utf-8"))["usage_report"]["reporting_enabled"]
        is False
    )
