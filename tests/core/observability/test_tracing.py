"""Traces: nothing when off, FastAPI's request spans when on."""

import pytest

from app.core.observability import configure_tracing
from tests.leaks import LeakGuard
from tests.nursery import run, run_program

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


def traced(exporter: str, **environment: str) -> str:
    """What the program with traces on exports, in a process of its own: a process has one tracer provider for ever."""
    done = run("tests.program", environment={"PROGRAM": ON, "OTEL_TRACES_EXPORTER": exporter, **environment})
    assert done.code == 0, done.errors
    return done.output


def test_off_is_no_work_no_thread_and_no_sdk() -> None:
    """In a process that has imported the whole service."""
    done = run_program(OFF)
    assert done.code == 0, done.errors
    assert done.output.split() == ["False", "1", "False"]


@pytest.fixture(scope="module")
def shown() -> str:
    return traced("console", OTEL_RESOURCE_ATTRIBUTES="team=red")


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


def test_the_service_name_of_the_environment_wins() -> None:
    assert '"service.name": "named"' in traced("console", OTEL_SERVICE_NAME="named")


def test_the_sampler_of_the_environment_is_honoured() -> None:
    assert traced("console", OTEL_TRACES_SAMPLER="always_off") == ""


def test_exporter_none_sends_nothing() -> None:
    assert traced("none") == ""


def test_an_unknown_exporter_stops_the_start() -> None:
    program = "from app.core.observability import configure_tracing\nconfigure_tracing(enabled=True)"
    done = run("tests.program", environment={"PROGRAM": program, "OTEL_TRACES_EXPORTER": "smoke"})
    assert done.code == 1
    assert "OTEL_TRACES_EXPORTER is 'smoke'" in done.errors


def test_off_switches_every_signal_off() -> None:
    assert set(configure_tracing(enabled=False).values()) == {False}
