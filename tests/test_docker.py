"""The container files: no engine is needed, because what they say is run here with the same programs."""

import asyncio
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import httpx2
import psutil
import pytest
import yaml
from fastapi import FastAPI
from valkey.asyncio import Valkey
from valkey.exceptions import AuthenticationError
from valkey.exceptions import ConnectionError as NoConnection

from app.dev import server_account
from app.dev._wheels import valkey_server
from app.settings import Settings
from tests.servers import new_folder
from tests.test_env_example import described

ROOT = Path(__file__).parents[1]
OURS = {"POSTGRES_PASSWORD", "VALKEY_PASSWORD", "GRAFANA_PASSWORD", "API_PORT", "GRAFANA_PORT"}
"""Variables of the compose file that are no settings of the service."""
SECRETS = {
    "SECRET_KEY": "s" * 32, "ENCRYPTION_KEYS": "e" * 44, "METRICS__TOKEN": "m" * 32,
    "POSTGRES_PASSWORD": "p", "VALKEY_PASSWORD": "v", "GRAFANA_PASSWORD": "g",
}  # fmt: skip
TIMEOUT_S = 60.0


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


def interpolate(text: str, values: Mapping[str, str]) -> str:
    """What compose makes of ``${NAME:-default}`` and ``${NAME:?message}``."""

    def replace(match: re.Match[str]) -> str:
        name, operator, rest = match.group(1), match.group(2), match.group(3)
        if values.get(name):
            return values[name]
        assert operator == ":-", f"{name} is required"
        return rest

    return re.sub(r"\$\{([A-Z_]+)(?:(:-|:\?)([^}]*))?\}", replace, text).replace("$$", "$")


def instruction(name: str) -> str:
    """The last such instruction of the Dockerfile, its continuation lines joined."""
    text = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
    found: list[str] = re.findall(rf"^{name}\s+(.*)$", text, re.MULTILINE)
    return found[-1].strip()


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

    @pytest.mark.parametrize("name", [".env", ".local", ".git", "tests", "docker-compose.yml"])
    def test_context_leaves_out_what_the_image_does_not_need(self, name: str) -> None:
        assert not is_in_context(name)

    def test_stop_signal_is_the_one_that_drains(self) -> None:
        assert instruction("STOPSIGNAL") == "SIGTERM"


def is_in_context(path: str) -> bool:
    """Whether a path reaches the builder: the last line of .dockerignore that matches decides."""
    taken = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        pattern = line.removeprefix("!").removeprefix("**/")
        if (
            line
            and not line.startswith("#")
            and (
                fnmatch(path, pattern) or path.startswith(pattern + "/") or fnmatch(Path(path).name, pattern)
            )
        ):
            taken = line.startswith("!")
    return taken


class TestCompose:
    def test_services_are_the_whole_system(self) -> None:
        assert set(services()) == {"migrate", "api", "postgres", "valkey", "prometheus", "grafana"}

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

    @pytest.mark.parametrize("name", SECRETS)
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
        for name in ("api", "migrate"):
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

    def test_data_is_on_volumes(self) -> None:
        mounted = {
            volume.partition(":")[0]
            for service in services().values()
            for volume in service.get("volumes", [])
        }
        assert compose()["volumes"].keys() <= mounted
        assert all((ROOT / path).exists() for path in mounted if path.startswith("./"))


def environment_of_the_api() -> dict[str, str]:
    listed: Mapping[str, str] = services()["api"]["environment"]
    return {name: interpolate(str(value), SECRETS) for name, value in listed.items()}


class TestImage:
    """The files that the image holds, the environment that compose sets, and the commands of the Dockerfile."""

    async def test_serves_is_healthy_and_lets_prometheus_in_without_writing_a_file(
        self, postgres_url: str, valkey_url: str, tmp_path: Path
    ) -> None:
        root = image_files(tmp_path / "srv")
        before = sorted(root.rglob("*"))
        port = free_port()
        environment = environment_of_the_api() | {
            "DATABASE_URL": postgres_url, "VALKEY_URL": valkey_url, "PYTHONDONTWRITEBYTECODE": "1",
            "HOST": "127.0.0.1", "PORT": str(port), "METRICS__NETWORKS": '["192.0.2.0/24"]',
        }  # fmt: skip
        with running(json.loads(instruction("CMD")), root, environment) as process:
            await become_healthy(root, environment, process)
            async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
                ready = await client.get("/ready")
                scraped = await client.get(
                    "/metrics", headers={"Authorization": f"Bearer {SECRETS['METRICS__TOKEN']}"}
                )
                stranger = await client.get("/metrics")
                docs = await client.get("/docs")
            assert ready.json()["checks"] == {"database": "ok", "schema": "ok", "valkey": "ok"}
            assert (ready.status_code, scraped.status_code, docs.status_code) == (200, 200, 404)
            assert stranger.status_code == 401
        assert sorted(root.rglob("*")) == before

    def test_healthcheck_fails_when_nothing_answers(self) -> None:
        command = healthcheck()
        environment = {"PATH": os.defpath, "PORT": str(free_port())}
        assert subprocess.run(command, env=environment, capture_output=True, check=False).returncode != 0


def image_files(root: Path) -> Path:
    """What the Dockerfile copies, less what .dockerignore leaves out."""
    root.mkdir()
    for path in sorted(ROOT.glob("app/**/*")) + sorted(ROOT.glob("alembic/**/*")) + [ROOT / "alembic.ini"]:
        relative = path.relative_to(ROOT)
        if path.is_file() and "__pycache__" not in relative.parts and is_in_context(str(relative)):
            (root / relative).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, root / relative)
    assert not (root / "app/dev").exists()
    return root


def healthcheck() -> list[str]:
    command: list[str] = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    return [sys.executable, *command[1:]]


async def become_healthy(root: Path, environment: Mapping[str, str], process: subprocess.Popen[str]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            check = await asyncio.create_subprocess_exec(
                *healthcheck(), cwd=root, env=environment, stderr=asyncio.subprocess.DEVNULL
            )
            if await check.wait() == 0:
                return
            assert process.poll() is None, "the server has ended"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def running(
    command: list[str], folder: Path, environment: Mapping[str, str]
) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, *command[1:]] if command[0] == "python" else command,
        cwd=folder, env={"PATH": os.defpath, **environment}, stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.terminate()
        process.wait(TIMEOUT_S)


class TestValkey:
    async def test_its_command_starts_a_server_that_keeps_limits_and_asks_for_the_password(self) -> None:
        folder, port = new_folder(), free_port()
        command = [interpolate(part, SECRETS) for part in services()["valkey"]["command"]]
        program = str(valkey_server(server_account()).parent / command[0])
        with running([program, *command[1:], "--port", str(port)], folder, {}) as process:
            client = Valkey(port=port, password=SECRETS["VALKEY_PASSWORD"])
            await answering(client, process)
            options: Mapping[str, str] = await client.config_get("*")
            await client.aclose()
            stranger = Valkey(port=port)
            with pytest.raises(AuthenticationError):
                await stranger.ping()
            await stranger.aclose()
        shutil.rmtree(folder)
        assert (options["maxmemory-policy"], options["appendonly"]) == ("noeviction", "yes")
        assert options["maxmemory"] == str(512 * 1024 * 1024)


async def answering(client: Valkey, process: subprocess.Popen[str]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while True:
            try:
                await client.ping()
            except NoConnection:
                assert psutil.pid_exists(process.pid)
                await asyncio.sleep(0.02)
            else:
                return


class TestMonitoring:
    def test_prometheus_scrapes_the_api_with_the_token_that_compose_hands_it(self) -> None:
        (job,) = yaml.safe_load((ROOT / "deploy/prometheus.yml").read_text())["scrape_configs"]
        (secret,) = services()["prometheus"]["secrets"]
        assert job["authorization"]["credentials_file"] == f"/run/secrets/{secret}"
        assert compose()["secrets"][secret] == {"environment": "METRICS__TOKEN"}
        assert job["static_configs"] == [{"targets": ["api:8000"]}]

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
