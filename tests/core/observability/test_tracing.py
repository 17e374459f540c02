"""Traces: nothing when off, FastAPI's request spans when on."""

import subprocess
import sys
from collections.abc import Iterator

import pytest

from app.core.observability import configure_tracing
from tests.leaks import LeakGuard

PASSWORD = "correct-horse-battery"
TOKEN = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c2VyIn0.c2lnbmF0dXJlLTEyMw"
OFF = """
import sys, threading
from fastapi import FastAPI
from app.core.observability import configure_tracing, shutdown_tracing
app = FastAPI(telemetry=configure_tracing(enabled=False))
shutdown_tracing()
print(app._native_telemetry.enabled(), threading.active_count(), "opentelemetry.sdk.trace" in sys.modules)
"""

ON = """
import asyncio
import httpx2
from fastapi import FastAPI
from app.core.observability import configure_tracing, get_tracer, shutdown_tracing
telemetry = configure_tracing(enabled=True, service="svc")
app = FastAPI(telemetry=telemetry)
again = configure_tracing(enabled=True)
assert again["tracer_provider"] is telemetry["tracer_provider"]

@app.get("/things/{thing}")
async def thing(thing: str) -> str:
    with get_tracer("feature").start_as_current_span("db_query"):
        return thing

@app.get("/fail/{code}")
async def fail(code: str, password: str) -> None:
    with get_tracer("feature").start_as_current_span("sign in with " + code, attributes={"api_key": code, "n": 7, "b": [code]}):
        raise RuntimeError(f"cannot log in to postgresql://app:{password}@db/app with token={code}")

@app.get("/live")
async def live() -> str:
    return "ok"

async def main() -> None:
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
        parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        await client.get("/things/1", headers={"traceparent": parent})
        await client.get("/live")
        await client.get("/fail/TOKEN?password=PASSWORD&email=ann@example.com", headers={"Cookie": "a=TOKEN"})

asyncio.run(main())
shutdown_tracing()
""".replace("PASSWORD", PASSWORD).replace("TOKEN", TOKEN)


def run(code: str, monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    """In a process of its own, because a process has one tracer provider for ever."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_off_is_no_work_no_thread_and_no_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(OFF, monkeypatch).split() == ["False", "1", "False"]


@pytest.fixture(scope="module")
def shown() -> Iterator[str]:
    """What the program with traces on exports."""
    with pytest.MonkeyPatch.context() as patch:
        yield run(ON, patch, OTEL_TRACES_EXPORTER="console", OTEL_RESOURCE_ATTRIBUTES="team=red")


def test_no_exported_span_holds_a_secret(shown: str) -> None:
    guard = LeakGuard()
    guard.watch(PASSWORD, "the password")
    guard.look(shown.encode())
    guard.check()
    assert "ann@example.com" not in shown
    assert '"name": "sign in with [redacted]"' in shown
    assert '"url.path": "/fail/[redacted]"' in shown
    assert '"url.query": "[redacted]"' in shown
    assert (
        '"exception.message": "cannot log in to postgresql://app:[redacted]@db/app with token=[redacted]'
        in shown
    )
    assert '"n": 7' in shown


def test_on_gives_one_request_span_with_ours_inside_and_no_probe(shown: str) -> None:
    assert shown.count('"trace_id": "0x0af7651916cd43dd8448eb211c80319c"') == 2
    assert '"name": "GET /things/{thing}"' in shown
    assert '"name": "db_query"' in shown
    assert '"service.name": "svc"' in shown
    assert '"team": "red"' in shown
    assert "/live" not in shown


def test_the_service_name_of_the_environment_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(ON, monkeypatch, OTEL_TRACES_EXPORTER="console", OTEL_SERVICE_NAME="named")
    assert '"service.name": "named"' in shown


def test_the_sampler_of_the_environment_is_honoured(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = run(ON, monkeypatch, OTEL_TRACES_EXPORTER="console", OTEL_TRACES_SAMPLER="always_off")
    assert shown == ""


def test_exporter_none_sends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(ON, monkeypatch, OTEL_TRACES_EXPORTER="none") == ""


def test_an_unknown_exporter_stops_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    code = "from app.core.observability import configure_tracing\nconfigure_tracing(enabled=True)"
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "smoke")
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 1
    assert "OTEL_TRACES_EXPORTER is 'smoke'" in done.stderr


def test_off_switches_every_signal_off() -> None:
    assert set(configure_tracing(enabled=False).values()) == {False}
