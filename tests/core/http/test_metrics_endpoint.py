"""Who may read /metrics."""

from collections.abc import Mapping
from ipaddress import ip_network

import httpx2
import pytest
from fastapi import FastAPI

from app.core.http._client_address import AddressResolver
from app.core.http._edge import EdgeMiddleware
from app.core.http._metrics_endpoint import metrics_router
from app.core.http._problem import install_problem_handlers
from app.core.http._traffic import TrafficControl
from app.core.observability import Metrics

INSIDE = ("127.0.0.1", 1)
OUTSIDE = ("203.0.113.9", 1)
TOKEN = "metrics-token-0123456789"
LOOPBACK = [ip_network("127.0.0.0/8"), ip_network("::1/128")]


async def get(
    client: tuple[str, int],
    headers: Mapping[str, str] | None = None,
    *,
    token: str | None = None,
    proxies: tuple[str, ...] = (),
) -> httpx2.Response:
    app = FastAPI()
    install_problem_handlers(app)
    app.include_router(metrics_router(Metrics().exposition, networks=LOOPBACK, token=token))
    addresses = AddressResolver([ip_network(proxy) for proxy in proxies])
    app.add_middleware(EdgeMiddleware, traffic=TrafficControl(audited=True), addresses=addresses)
    transport = httpx2.ASGITransport(app, client=client)
    async with httpx2.AsyncClient(transport=transport, base_url="http://test") as http:
        sent = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        return await http.get("/metrics", headers=sent)


async def test_a_caller_from_the_network_reads_the_text_format() -> None:
    answer = await get(INSIDE)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert "# TYPE http_requests_total counter" in answer.text


async def test_a_caller_from_elsewhere_is_403() -> None:
    answer = await get(OUTSIDE)
    assert answer.status_code == 403
    assert answer.headers["content-type"] == "application/problem+json"


async def test_the_token_opens_from_anywhere() -> None:
    assert (await get(OUTSIDE, {"authorization": f"Bearer {TOKEN}"}, token=TOKEN)).status_code == 200


@pytest.mark.parametrize(
    "given", ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00fc"]
)
async def test_a_wrong_token_is_401_with_a_challenge(given: str) -> None:
    answer = await get(OUTSIDE, {"authorization": given}, token=TOKEN)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


async def test_without_a_configured_token_no_token_opens() -> None:
    assert (await get(OUTSIDE, {"authorization": "Bearer "})).status_code == 403


async def test_a_forwarded_for_cannot_claim_the_network() -> None:
    assert (await get(OUTSIDE, {"x-forwarded-for": "127.0.0.1"})).status_code == 403


async def test_the_client_behind_a_trusted_proxy_counts_and_not_the_proxy() -> None:
    assert (
        await get(INSIDE, {"x-forwarded-for": "203.0.113.9"}, proxies=("127.0.0.1/32",))
    ).status_code == 403


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded"])
async def test_a_proxy_that_nobody_configured_does_not_open_the_metrics(header: str) -> None:
    assert (await get(INSIDE, {header: "203.0.113.9"})).status_code == 403
