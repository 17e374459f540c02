"""The container files: what they say, and that it agrees with the settings and the metrics."""

import json
import re
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest
import yaml
from fastapi import FastAPI

from app.settings import Settings
from app.settings._groups import JobsSettings
from tests.cases import each_case
from tests.containers import (
    ROOT,
    SECRETS,
    compose,
    environment_of_the_api,
    instruction,
    is_in_context,
    services,
)
from tests.test_env_example import described

OURS = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "GRAFANA_PASSWORD", "API_PORT", "GRAFANA_PORT"}
"""Variables of the compose file that are no settings of the service."""


class TestDockerfile:
    def test_hadolint_finds_nothing(self) -> None:
        program = Path(sys.executable).parent / "hadolint"
        result = subprocess.run([program, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
        assert (result.returncode, result.stdout) == (0, "")

    def test_final_stage_has_no_privileges_and_installs_nothing(self) -> None:
        final = (ROOT / "Dockerfile").read_text().rpartition("\nFROM ")[2]
        assert instruction("USER") == "10001:10001"
        assert "pip install" not in final
        assert "apt-get" not in final

    def test_only_locked_wheels_are_installed(self) -> None:
        (line,) = re.findall(r"^RUN pip .*$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)[:1]
        assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(line.split())

    @each_case("name", [".env", ".local", ".git", "tests", "docker-compose.yml"])
    def test_context_leaves_out_what_the_image_does_not_need(self, name: str) -> None:
        assert not is_in_context(name)

    def test_stop_signal_is_the_one_that_drains(self) -> None:
        assert instruction("STOPSIGNAL") == "SIGTERM"


class TestCompose:
    def test_services_are_the_whole_system(self) -> None:
        assert set(services()) == {"migrate", "api", "worker", "postgres", "valkey", "prometheus", "grafana"}

    def test_images_name_at_least_a_minor_version(self) -> None:
        images = [service["image"] for service in services().values()]
        images += re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
        assert [image for image in images if not re.search(r":v?\d+\.\d+", image)] == []

    def test_variables_of_the_service_are_settings(self) -> None:
        names = {name for name, _, _ in described()}
        assert services()["api"]["environment"].keys() <= names
        asked = set(re.findall(r"(?<!\$)\$\{([A-Z_]+)", (ROOT / "docker-compose.yml").read_text()))
        assert asked <= names | OURS
        assert OURS - {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "GRAFANA_PASSWORD"} <= asked

    @each_case("name", SECRETS)
    def test_every_secret_is_required_by_name(self, name: str) -> None:
        text = (ROOT / "docker-compose.yml").read_text()
        assert f"${{{name}:?" in text
        assert f"${{{name}}}" not in text
        assert f"${{{name}:-" not in text

    def test_settings_are_accepted_in_production(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in environment_of_the_api().items():
            monkeypatch.setenv(name, value)
        settings = Settings(_env_file=None)
        assert settings.is_production
        assert settings.metrics.token is not None

    def test_our_containers_are_locked_down(self) -> None:
        for name in ("api", "worker", "migrate"):
            service = services()[name]
            assert service["read_only"] is True
            assert service["tmpfs"] == ["/tmp"]
        for service in services().values():
            assert service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]

    def test_only_api_and_grafana_are_reachable_and_only_from_this_machine(self) -> None:
        ports = {name: service["ports"] for name, service in services().items() if "ports" in service}
        assert set(ports) == {"api", "grafana"}
        assert all(port.startswith("127.0.0.1:") for listed in ports.values() for port in listed)

    def test_api_starts_after_the_migration_is_complete(self) -> None:
        assert services()["api"]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
        assert services()["migrate"]["depends_on"]["postgres"] == {"condition": "service_healthy"}
        assert services()["migrate"]["restart"] == "no"

    def test_api_gets_more_time_to_stop_than_requests_in_flight_get(self) -> None:
        grace = int(services()["api"]["stop_grace_period"].removesuffix("s"))
        assert grace > Settings.model_fields["shutdown_grace_s"].default

    def test_worker_gets_more_time_to_stop_than_jobs_in_work_get_and_says_how_it_is(self) -> None:
        worker = services()["worker"]
        grace = int(worker["stop_grace_period"].removesuffix("s"))
        assert grace > JobsSettings.model_fields["grace_s"].default
        assert worker["command"][-2:] == ["app", "worker"]
        assert (
            f"127.0.0.1:{worker['environment']['JOBS__HEALTH_PORT']}/live"
            in worker["healthcheck"]["test"][-1]
        )
        assert worker["environment"].items() >= services()["api"]["environment"].items()
        assert worker["environment"].keys() <= {name for name, _, _ in described()}

    def test_data_is_on_volumes(self) -> None:
        mounted = {
            volume.partition(":")[0]
            for service in services().values()
            for volume in service.get("volumes", [])
        }
        assert compose()["volumes"].keys() <= mounted
        assert all((ROOT / path).exists() for path in mounted if path.startswith("./"))


class TestMonitoring:
    def test_prometheus_scrapes_the_api_with_the_token_that_compose_hands_it(self) -> None:
        (job,) = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
        prometheus = services()["prometheus"]
        assert job["authorization"]["credentials_file"] == "/tmp/metrics_token"
        assert '"$$METRICS__TOKEN" > /tmp/metrics_token' in prometheus["entrypoint"][2]
        assert "METRICS__TOKEN" in prometheus["environment"]
        assert "/tmp" in prometheus["tmpfs"]
        assert job["static_configs"] == [{"targets": ["api:8000", "worker:8001"]}]

    async def test_dashboard_asks_only_for_metrics_that_the_service_has(
        self, app: FastAPI, client: httpx2.AsyncClient
    ) -> None:
        dashboard = json.loads((ROOT / "deploy/grafana/dashboards/gatehouse.json").read_text())
        expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
        asked = {name for text in expressions for name in re.findall(r"\b([a-z_]+_[a-z_]+)(?=[\[{)])", text)}
        asked = {name.removesuffix("_bucket") for name in asked}
        exposed = set(re.findall(r"^# TYPE (\S+)", (await client.get("/metrics")).text, re.MULTILINE))
        assert len(asked) >= 9
        assert asked <= exposed

    def test_grafana_finds_its_data_source_and_its_dashboard(self) -> None:
        provisioning = ROOT / "deploy/grafana/provisioning"
        (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())["datasources"]
        (provider,) = yaml.safe_load((provisioning / "dashboards/gatehouse.yml").read_text())["providers"]
        dashboard = json.loads((ROOT / "deploy/grafana/dashboards/gatehouse.json").read_text())
        assert source["url"] == "http://prometheus:9090"
        assert {panel["datasource"]["uid"] for panel in dashboard["panels"]} == {source["uid"]}
        assert (
            f"./deploy/grafana/dashboards:{provider['options']['path']}:ro"
            in services()["grafana"]["volumes"]
        )
