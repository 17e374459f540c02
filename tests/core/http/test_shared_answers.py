"""Which requests share a kept answer and which must not, although they look alike."""

from typing import Annotated

import pytest
from fastapi import Header, HTTPException, Query, Response

from app.core.context import Principal
from app.core.http import Platform, TokenVerifier
from app.core.policies import Idempotency, JobConfig, ResponseCache
from app.settings import Settings
from tests.core.http.workshop import Workshop

pytestmark = pytest.mark.usefixtures("clean_store")

CACHED = JobConfig(cache=ResponseCache(ttl=60), rate_limit=None)


class TokensByTenant:
    """One person, whose token names the tenant that he acts for."""

    def verify(self, token: str) -> Principal:
        return Principal("reader", tenant_id=token)


def _by_tenant(platform: Platform) -> None:
    platform.services[TokenVerifier] = TokensByTenant()


async def test_one_person_in_two_tenants_is_shown_what_is_of_the_tenant_he_acts_for(
    settings: Settings,
) -> None:
    shop = Workshop(CACHED)
    async with shop.open(settings, _by_tenant):
        runs = []
        for tenant in ("a", "b", "a"):
            runs.append((await shop.get(who=Principal(tenant))).json()["run"])
            await shop.settled()
        assert runs == [1, 2, 1]


async def test_a_key_of_one_person_is_another_key_in_another_tenant(settings: Settings) -> None:
    shop = Workshop(JobConfig(idempotency=Idempotency(), rate_limit=None))
    async with shop.open(settings, _by_tenant):
        runs = [
            (await shop.post(who=Principal(tenant), Idempotency_Key="k")).json()["run"]
            for tenant in ("a", "b", "a")
        ]
        assert runs == [1, 2, 1]


async def test_parameters_of_one_name_keep_their_order(settings: Settings) -> None:
    shop = Workshop(JobConfig(rate_limit=None))

    async def echo(word: Annotated[list[str], Query()]) -> list[str]:
        return word

    shop.added("/echo", "echo", CACHED, echo)
    async with shop.open(settings):
        for first, second in (("a", "b"), ("b", "a")):
            response = await shop.get(f"/echo?word={first}&word={second}")
            await shop.settled()
            assert response.json() == [first, second]
        again = await shop.get("/echo?x=1&word=a&word=b")
        await shop.settled()
        other = await shop.get("/echo?word=a&x=1&word=b")
        assert "fwd=miss" in again.headers["cache-status"]
        assert "hit" in other.headers["cache-status"]


async def test_a_key_with_parameters_in_another_order_is_another_request(settings: Settings) -> None:
    shop = Workshop(JobConfig(idempotency=Idempotency(), rate_limit=None))
    async with shop.open(settings):
        assert (await shop.post("/work?n=1&n=2&m=3", Idempotency_Key="k")).status_code == 200
        assert (await shop.post("/work?m=3&n=1&n=2", Idempotency_Key="k")).headers[
            "idempotent-replayed"
        ] == "true"
        assert (await shop.post("/work?n=2&n=1&m=3", Idempotency_Key="k")).status_code == 422


@pytest.mark.parametrize("said", ["Accept-Language", "*", "authorization, X-Other"])
async def test_an_answer_that_varies_by_what_the_key_does_not_hold_is_not_kept(
    settings: Settings, said: str
) -> None:
    shop = Workshop(JobConfig(rate_limit=None))

    async def greet(response: Response, accept_language: Annotated[str, Header()]) -> str:
        response.headers["Vary"] = said
        return accept_language

    shop.added("/greet", "greet", CACHED, greet)
    async with shop.open(settings):
        for language in ("de", "en"):
            assert (await shop.get("/greet", accept_language=language)).json() == language
            await shop.settled()


@pytest.mark.parametrize(("said", "scope", "is_kept"), [
    ("Accept-Language, authorization", "user", True),
    ("Accept-Language", "public", True),
    ("Authorization", "public", False),
    ("Authorization", "tenant", False),
])  # fmt: skip
async def test_an_answer_that_varies_by_what_the_key_holds_is_kept(
    settings: Settings, said: str, scope: str, *, is_kept: bool
) -> None:
    shop = Workshop(JobConfig(rate_limit=None))
    cache = ResponseCache(ttl=60, scope=scope, shared_with_all=True, vary=("accept-language",))  # type: ignore[arg-type]

    async def greet(response: Response) -> str:
        response.headers["Vary"] = said
        return "good day"

    shop.added("/greet", "greet", JobConfig(cache=cache, rate_limit=None), greet)
    async with shop.open(settings):
        await shop.get("/greet", accept_language="de")
        await shop.settled()
        again = await shop.get("/greet", accept_language="de")
        assert ("hit" in again.headers.get("cache-status", "")) is is_kept
        other = await shop.get("/greet", accept_language="en")
        assert "hit" not in other.headers.get("cache-status", "")


@pytest.mark.parametrize("status", [403, 404, 410, 429])
async def test_what_the_handler_refuses_now_is_not_hidden_behind_what_it_said_before(
    settings: Settings, status: int
) -> None:
    shop = Workshop(JobConfig(cache=ResponseCache(ttl=0.1, stale=600), rate_limit=None))
    async with shop.open(settings):
        await shop.get()
        (key,) = await shop.keys("*:v1:e:*")
        created, _, rest = (await shop.stored("GET", key)).decode().split(" ", 2)
        await shop.stored("SET", key, f"{created} {created} {rest}", "PX", "60000")
        shop.outcome = HTTPException(status)
        for _ in range(3):
            assert (await shop.get()).status_code == status
            await shop.settled()
        shop.outcome = HTTPException(502)
        assert [(await shop.get()).json() for _ in range(2)] == [{"run": 1}] * 2


@pytest.mark.parametrize("header", ["authorization", "x-api-key", "cookie"])
async def test_anonymous_callers_of_one_network_whom_the_handler_knows_apart_share_nothing(
    settings: Settings, header: str
) -> None:
    shop = Workshop(JobConfig.public(cache=ResponseCache(ttl=60)))
    async with shop.open(settings):
        runs = []
        for said in ("Basic YTph", "Basic YjpiCg==", "Basic YTph", None):
            runs.append(
                (await shop.client.get("/work", headers={header: said} if said else {})).json()["run"]
            )
            await shop.settled()
        assert runs == [1, 2, 1, 3]


@pytest.mark.parametrize("header", ["authorization", "x-api-key"])
async def test_a_key_is_of_one_client_also_where_several_are_on_one_network(
    settings: Settings, header: str
) -> None:
    shop = Workshop(JobConfig.public(idempotency=Idempotency()))
    async with shop.open(settings):
        runs = []
        for said in ("Basic YTph", "Basic YjpiCg==", "Basic YTph"):
            headers = {header: said, "idempotency-key": "k"}
            runs.append(
                (await shop.client.post("/work", headers=headers, json={"name": "tea"})).json()["run"]
            )
        assert runs == [1, 2, 1]
