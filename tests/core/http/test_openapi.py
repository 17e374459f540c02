"""The description tells the truth about gates: scopes, limits, and every answer that they can give."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from app.core.http import APIRouter, api_worker, describe_gates, enforce_all_policies
from app.core.policies import (
    CreditLedger,
    Credits,
    Idempotency,
    JobConfig,
    RateLimit,
    ResponseCache,
    Retry,
    Security,
    describe,
)
from app.main import create_app
from app.settings import Settings
from tests.apps import client_of, running
from tests.core.http.gated import feature
from tests.credited import CREDITS

USER = RateLimit.token_bucket("user", max_tokens=5, refill_rate=1, charge="admit")
IP = RateLimit.fixed_window("ip", limit=9, window=60, scope="ip", cost=lambda _: 2, on_store_down="closed")
STRICT = JobConfig(
    security=Security(scopes=("write:records",), roles=("admin",), mfa=True, max_age=300),
    rate_limit=(USER, IP),
    timeout=5,
    max_body=100,
)
PLAIN = JobConfig(rate_limit=None, timeout=None)
PUBLIC = JobConfig.public()
PAID = JobConfig(idempotency=Idempotency(required=True), credits=Credits(cost=lambda _: 2))
KEPT = JobConfig(cache=ResponseCache(ttl=60), timeout=None, retry=Retry(retry_safe=True, attempt_timeout=1))


LEDGER: dict[type[Any], Any] = {CreditLedger: object()}  # described, never asked


class Item(BaseModel):
    name: str


def router() -> APIRouter:
    router = APIRouter()

    @router.post("/strict/{number}", dependencies=[enforce_all_policies("strict", STRICT)])
    @api_worker(STRICT)
    async def strict(number: int, item: Item) -> Item:
        return item

    @router.get(
        "/plain",
        responses={404: {"description": "gone"}},
        dependencies=[enforce_all_policies("plain", PLAIN)],
    )
    @api_worker(PLAIN)
    async def plain() -> Item:
        return Item(name="x")

    @router.get("/public", dependencies=[enforce_all_policies("public", PUBLIC)])
    @api_worker(PUBLIC)
    async def public() -> Item:
        return Item(name="x")

    @router.get(
        "/kept/{name}",
        responses={404: {"description": "gone"}},
        dependencies=[enforce_all_policies("kept", KEPT)],
    )
    @api_worker(KEPT)
    async def kept(name: str) -> Item:
        return Item(name=name)

    @router.post("/paid", dependencies=[enforce_all_policies("paid", PAID)])
    @api_worker(PAID)
    async def paid(item: Item) -> Item:
        return item

    @router.get("/open")
    async def by_hand() -> Item:
        return Item(name="x")

    return router


@asynccontextmanager
async def described(
    settings: Settings, change: Callable[[FastAPI], None] = lambda app: None
) -> AsyncIterator[httpx2.AsyncClient]:
    features = [feature(router(), open_routes={"/open": "guarded by hand"}), CREDITS]
    app = create_app(settings, registry=features)
    change(app)
    async with running(app), client_of(app) as client:
        yield client


@pytest.fixture
async def document(settings: Settings) -> dict[str, Any]:
    async with described(settings) as client:
        answer: dict[str, Any] = (await client.get("/openapi.json")).json()
        assert (await client.get("/openapi.json")).json() == answer
        return answer


def operation(document: dict[str, Any], path: str) -> dict[str, Any]:
    (found,) = document["paths"][path].values()
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/strict/{number}", {"200", "400", "401", "403", "408", "413", "422", "429", "503", "504"}),
        ("/plain", {"200", "400", "401", "404", "429", "503"}),
        ("/public", {"200", "400", "401", "429", "503", "504"}),
        ("/open", {"200", "503"}),
        ("/kept/{name}", {"200", "304", "400", "401", "404", "422", "429", "503", "504"}),
        ("/paid", {"200", "400", "401", "402", "408", "409", "413", "422", "429", "503", "504"}),
    ],
)
async def test_an_operation_lists_the_answers_that_its_policy_can_give(
    document: dict[str, Any], path: str, statuses: set[str]
) -> None:
    responses = operation(document, path)["responses"]
    assert set(responses) == statuses
    for status, answer in responses.items():
        assert "X-Request-ID" in answer["headers"]
        if status != "304":
            kind = "application/json" if status == "200" else "application/problem+json"
            assert list(answer["content"]) == [kind]
    assert "content" not in responses.get("304", {})


async def test_refusals_list_the_fields_that_they_carry(document: dict[str, Any]) -> None:
    responses = operation(document, "/strict/{number}")["responses"]
    headers = {status: set(answer["headers"]) - {"X-Request-ID"} for status, answer in responses.items()}
    limits = {"RateLimit", "RateLimit-Policy"}
    assert headers["200"] == headers["422"] == headers["504"] == limits
    assert headers["401"] == headers["403"] == {"WWW-Authenticate"}
    assert headers["429"] == headers["503"] == {"Retry-After", *limits}


async def test_fields_of_what_is_kept_stand_where_it_may_be_answered(document: dict[str, Any]) -> None:
    read, made = (operation(document, path)["responses"] for path in ("/kept/{name}", "/paid"))
    kept = {"Cache-Status", "Age", "ETag", "Cache-Control", "Vary"}
    for status, answer in read.items():
        assert (kept <= set(answer["headers"])) == (status in {"200", "304", "404"})
        assert "Idempotent-Replayed" not in answer["headers"]
    assert [status for status, answer in made.items() if "Idempotent-Replayed" in answer["headers"]] == [
        "200", "409", "504",
    ]  # fmt: skip
    assert "Retry-After" in made["409"]["headers"]
    assert not any(kept & set(answer["headers"]) for answer in made.values())


async def test_request_fields_that_the_gate_reads_are_parameters(document: dict[str, Any]) -> None:
    def fields(path: str) -> dict[str, Any]:
        parameters = operation(document, path).get("parameters", [])
        return {it["name"]: it["required"] for it in parameters if it["in"] == "header"}

    assert fields("/paid") == {"Idempotency-Key": True}
    assert fields("/kept/{name}") == {"If-None-Match": False}
    assert fields("/plain") == {}


@pytest.mark.parametrize(
    ("path", "security"),
    [
        ("/strict/{number}", [{"token": ["write:records"]}]),
        ("/plain", [{"token": []}]),
        ("/public", [{}, {"token": []}]),
        ("/open", []),
    ],
)
async def test_an_operation_says_what_credentials_it_takes(
    document: dict[str, Any], path: str, security: list[dict[str, list[str]]]
) -> None:
    assert operation(document, path)["security"] == security


async def test_the_scheme_lists_every_scope_that_some_operation_needs(document: dict[str, Any]) -> None:
    (scheme,) = document["components"]["securitySchemes"].values()
    assert scheme["flows"]["password"] == {"tokenUrl": "/auth/token", "scopes": {"write:records": ""}}


async def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references: list[str] = []

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            references.extend(value for name, value in node.items() if name == "$ref")
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(document["paths"])
    assert references
    for reference in set(references):
        _, kind, group, name = reference.split("/")
        assert name in document[kind][group]


async def test_the_policy_is_told_under_its_name(document: dict[str, Any]) -> None:
    policy = operation(document, "/strict/{number}")["x-policy"]
    assert policy == {"name": "strict", **describe(STRICT)}
    assert policy["security"] == {
        "anonymous": False, "scopes": ["write:records"], "roles": ["admin"], "mfa": True, "max_age": 300, "api_keys": True,
    }  # fmt: skip
    assert (policy["timeout"], policy["max_body"], policy["cache"]) == (5, 100, None)
    user, ip = policy["rate_limit"]
    assert (user["algorithm"], user["quota"], user["burst"], user["charge"]) == (
        "token_bucket",
        5,
        5,
        "admit",
    )
    assert (ip["cost"], ip["scope"], ip["on_store_down"]) == ("function <lambda>", ["ip"], "closed")
    assert "x-policy" not in operation(document, "/open")


async def test_without_a_token_endpoint_no_scheme_is_promised(settings: Settings) -> None:
    def change(app: Any) -> None:
        platform = app.state.gatehouse
        app.openapi = type(app).openapi.__get__(app)
        describe_gates(app, lambda: platform.routes, None)

    async with described(settings, change) as client:
        document = (await client.get("/openapi.json")).json()
    assert "securitySchemes" not in document["components"]
    assert operation(document, "/plain")["x-policy"]["name"] == "plain"


async def test_production_describes_nothing(postgres_url: str, valkey_url: str) -> None:
    settings = Settings(
        _env_file=None, app_env="production", database_url=postgres_url, valkey_url=valkey_url,
        secret_key="a-secret-of-these-tests-with-over-32-bytes", encryption_keys="k" * 32,
    )  # fmt: skip
    async with described(settings) as client:
        statuses = [(await client.get(path)).status_code for path in ("/openapi.json", "/docs", "/redoc")]
    assert statuses == [404, 404, 404]
