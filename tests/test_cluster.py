"""The whole service on a real Valkey in Cluster mode, where a script that uses keys of two slots fails."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from app.builtin.accounts.service import create_user
from app.builtin.credits.jobs import periodic as credits_periodic
from app.builtin.policies.jobs import periodic as policies_periodic
from app.core import (
    APIRouter,
    Concurrency,
    Credits,
    Idempotency,
    JobConfig,
    Principal,
    Quota,
    RateLimit,
    ResponseCache,
    api_worker,
    enforce_all_policies,
    get_or_set_cache,
    get_or_set_many,
    set_cost,
)
from app.core.db import Database
from app.core.http import AuditError
from app.core.observability import log_sink
from app.core.policies import CREDIT, Balance, HoldBook
from app.core.security import PasswordHasher, known_roles, known_scopes
from app.core.valkey import Cache, ValkeyClient, configure_cache
from app.registry import Feature
from app.settings import Settings
from tests.credited import CREDITS, balance_of, give
from tests.gated import bearer, serving
from tests.servers import PrivateServer
from tests.sites import Site, whole_site
from tests.test_bad_input import GATED, OPEN, SAFEST_FIRST, Endpoint, case, path_of, send

pytestmark = pytest.mark.usefixtures("clean_database")
PASSWORD = "correct horse battery staple"


@pytest.fixture(autouse=True)
def no_slot_is_crossed() -> Iterator[None]:
    """Also not behind the answers: in settlements, periodic work, caches."""
    lines = list[bytes]()
    with log_sink.tapped(lines.append):
        yield
    assert [line for line in lines if b"CROSSSLOT" in line or b"store.refused" in line] == []


@pytest.fixture
async def site(
    make_settings: Callable[..., Settings],
    cluster_node: PrivateServer,
    database: Database,
    cluster: ValkeyClient,
) -> AsyncIterator[Site]:
    """It was not told what its store is."""
    async with whole_site(make_settings(valkey_url=cluster_node.url), database) as site:
        assert site.platform.admitter.is_clustered
        yield site


async def assert_served_and_refused(site: Site, endpoint: Endpoint) -> None:
    key = {"headers": {"Idempotency-Key": "one"}} if endpoint.method == "POST" and not endpoint.public else {}
    if not endpoint.public:
        refused = await site.client.request(endpoint.method, path_of(site, endpoint))
        assert refused.status_code == 401
    if not endpoint.public and endpoint.scope is not None:
        stranger = site.bearer(scopes=(), roles=())
        # First, because a refusal counts too: some endpoints let in only two.
        forbidden = await site.client.request(endpoint.method, path_of(site, endpoint), headers=stranger)
        assert forbidden.status_code == 403
    answers = [await send(site, endpoint, **dict(key)) for _ in range(3)]
    assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
    if not endpoint.public:
        assert answers[0].status_code not in {401, 402, 403, 429}, answers[0].text


async def test_every_endpoint_serves_and_refuses_as_on_one_server(site: Site, cluster: ValkeyClient) -> None:
    for endpoint in sorted([*GATED, *OPEN], key=lambda endpoint: SAFEST_FIRST.index(endpoint.method)):
        await cluster.execute("FLUSHALL")
        with case(endpoint):
            await assert_served_and_refused(site, endpoint)


class Visitor:
    """Somebody who signs in with his password and has credits."""

    def __init__(self, client: httpx2.AsyncClient, token: str) -> None:
        self._client = client
        self._token = token

    async def ask(
        self, method: str, path: str, *, json: Any = None, key: str | None = None
    ) -> httpx2.Response:
        headers = {"Authorization": f"Bearer {self._token}"} | ({"Idempotency-Key": key} if key else {})
        return await self._client.request(method, path, json=json, headers=headers)


@pytest.fixture
async def visitor(site: Site) -> Visitor:
    async with site.platform.database.session() as session:
        user = await create_user(
            session, PasswordHasher(), "ann@example.com", PASSWORD, roles=known_roles, scopes=known_scopes
        )
        account = str(user.id)
        await session.commit()
    signed_in = await site.client.post(
        "/auth/token", data={"username": "ann@example.com", "password": PASSWORD}
    )
    visitor = Visitor(site.client, signed_in.json()["access_token"])
    granted = await visitor.ask(
        "POST", "/credits/grants", json={"account": account, "amount": 100}, key="grant"
    )
    assert granted.status_code == 201, granted.text
    return visitor


async def test_a_visitor_writes_reads_pays_and_is_replayed(visitor: Visitor) -> None:
    made = [await visitor.ask("POST", "/records", json={"name": "a"}, key="k") for _ in range(2)]
    assert [answer.status_code for answer in made] == [201, 201]
    assert made[1].headers["idempotent-replayed"] == "true"
    assert made[0].content == made[1].content
    mismatch = await visitor.ask("POST", "/records", json={"name": "b"}, key="k")
    assert mismatch.status_code == 422
    path = f"/records/{made[0].json()['id']}"

    async def name() -> tuple[str, str]:
        answer = await visitor.ask("GET", path)
        return answer.json()["name"], answer.headers["cache-status"].split(";")[1].strip()

    assert [await name(), await name()] == [("a", "fwd=miss"), ("a", "hit")]
    changed = await visitor.ask("PATCH", path, json={"name": "c"})
    assert changed.status_code == 200, changed.text
    assert [await name(), await name()] == [("c", "fwd=miss"), ("c", "hit")]
    assert (await visitor.ask("GET", "/credits")).json()["balance"] == 96
    found = [await visitor.ask("GET", "/external-data?query=x") for _ in range(2)]
    assert [answer.status_code for answer in found] == [200, 200]


async def test_of_twenty_with_one_key_one_is_done(visitor: Visitor) -> None:
    answers = await asyncio.gather(
        *(visitor.ask("POST", "/records", json={"name": "a"}, key="same") for _ in range(20))
    )
    done = [answer for answer in answers if answer.status_code == 201]
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.content for answer in done}) == 1
    assert sum("idempotent-replayed" not in answer.headers for answer in done) == 1


async def test_used_up_limits_and_credits_refuse(visitor: Visitor) -> None:
    path = f"/records/{uuid4()}"
    answers = [await visitor.ask("GET", path) for _ in range(7)]
    assert answers[0].status_code == 404
    assert answers[-1].status_code == 429
    assert (await visitor.ask("GET", "/credits")).json()["balance"] == 100


async def test_what_is_done_again_and_again(site: Site) -> None:
    tasks = [*credits_periodic(site.platform), *policies_periodic(site.platform)]
    assert {"credits.sweep", "credits.reconcile", "policies.reassert_switches"} <= {it.name for it in tasks}
    await send(site, next(it for it in GATED if it.path == "/records/{record_id}" and it.method == "GET"))
    for task in tasks:
        await task.work()


EVERYTHING = JobConfig(
    rate_limit=(
        RateLimit.token_bucket("user", max_tokens=100, refill_rate=1),
        RateLimit.fixed_window("ip", limit=100, window=60, scope="ip"),
        RateLimit.sliding_window("route", limit=100, window=60, scope="route"),
        RateLimit.fixed_window("all", limit=100, window=60, scope="global", charge="admit"),
    ),
    quota=(Quota(per="day", limit=3), Quota(per="month", limit=50)),
    credits=Credits(cost=2),
    concurrency=(
        Concurrency(name="mine", max=2),
        Concurrency(name="here", max=5, scope="route"),
        Concurrency(name="pool", max=9, scope="global"),
    ),
)
ORDER = replace(EVERYTHING, idempotency=Idempotency(), invalidates=("things",))
LOOK = replace(EVERYTHING, cache=ResponseCache(ttl=60, scope="tenant", tags=("things", "all")))


@pytest.fixture
def things() -> APIRouter:
    router = APIRouter()

    @router.post("/things", dependencies=[enforce_all_policies("things_post", ORDER)])
    @api_worker(ORDER)
    async def order() -> str:
        return uuid4().hex

    @router.get("/things", dependencies=[enforce_all_policies("things_get", LOOK)])
    @api_worker(LOOK)
    async def look() -> str:
        set_cost(1)
        return uuid4().hex

    return router


async def test_every_policy_at_once(
    make_settings: Callable[..., Settings],
    cluster_node: PrivateServer,
    database: Database,
    cluster: ValkeyClient,
    things: APIRouter,
) -> None:
    user, settings = uuid4(), make_settings(valkey_url=cluster_node.url)
    await give(database, str(user), 50)
    async with serving(settings, CREDITS, Feature(name="things", router=things)) as service:

        async def ask(method: str, **headers: str) -> httpx2.Response:
            return await service.client.request(method, "/things", headers=bearer(user) | headers)

        first, again = [await ask("POST", **{"Idempotency-Key": "k"}) for _ in range(2)]
        assert (first.status_code, again.headers["idempotent-replayed"]) == (200, "true")
        miss, hit = await ask("GET"), await ask("GET")
        assert (miss.status_code, hit.content) == (200, miss.content)
        assert (await ask("POST")).status_code == 200
        assert (await ask("GET")).content != miss.content
        assert (await ask("POST")).status_code == 200
        used_up = await ask("POST")
        assert (used_up.status_code, used_up.json()["violated-policies"]) == (429, ["day"])
        await service.platform.admitter.close()
        assert await service.platform.holds.held(str(user)) == 0
        work = replace(EVERYTHING, quota=None)
        principal = Principal(str(user))

        async def done() -> str:
            return "done"

        engine = service.platform.engine
        assert await engine.run("work", work, done, principal=principal, network="192.0.2.1") == "done"
    assert await balance_of(database, str(user)) == (50 - 3 * 2 - 2 * 1 - 2) * CREDIT
    left = [key async for key in cluster_keys(cluster)]
    assert [key for key in left if b":v1:s:" in key] == []


async def cluster_keys(cluster: ValkeyClient) -> AsyncIterator[bytes]:
    cursor = b"0"
    while True:
        cursor, keys = await cluster.execute("SCAN", cursor, "COUNT", 1000)
        for key in keys:
            yield key
        if cursor == b"0":
            return


async def test_a_set_that_cannot_share_a_slot_does_not_start(
    make_settings: Callable[..., Settings], cluster_node: PrivateServer
) -> None:
    config, router = replace(EVERYTHING, atomic=True), APIRouter()

    @router.get("/things", dependencies=[enforce_all_policies("things_get", config)])
    @api_worker(config)
    async def look() -> None: ...

    feature = Feature(name="things", router=router)
    with pytest.raises(AuditError, match=r"things_get is atomic and its parts ip, route, all, here, pool"):
        async with serving(make_settings(valkey_url=cluster_node.url), CREDITS, feature):
            pass


async def test_the_book_of_holds(cluster: ValkeyClient) -> None:
    book = HoldBook(cluster)
    assert await book.load("ann", Balance(5, 1))
    assert await book.load("bob", Balance(7, 1))
    assert await book.sync("ann", Balance(4, 2))
    assert await book.put_back("ann", Balance(6, 1), over=2)
    assert await book.held("ann") == 0
    assert (await book.overdue("ann")).version == 1
    assert await book.expired("ann") == ()
    assert await book.free("ann", "none") is None
    assert sorted([name async for page in book.accounts() for name in page]) == ["ann", "bob"]
    assert await book.forget(["ann", "bob"]) == 0


async def test_the_cache_of_handlers_with_tags(cluster: ValkeyClient) -> None:
    cache = Cache(cluster)
    configure_cache(cache)
    made = list[object]()

    async def one() -> int:
        made.append(1)
        return 1

    async def many(keys: Any) -> dict[Any, str]:
        made.append(tuple(keys))
        return {key: f"value of {key}" for key in keys}

    for _ in range(2):
        assert await get_or_set_cache("one", one, expire=60, scope="public", tags=("a", "b")) == 1
        values = await get_or_set_many(["x", "y"], many, expire=60, scope="public", tags=("b",))
        assert values == ["value of x", "value of y"]
    await cache.invalidate_tags("b", "c")
    assert await get_or_set_cache("one", one, expire=60, scope="public", tags=("a", "b")) == 1
    configure_cache(None)
    await cache.close()
    assert made == [1, ("x", "y"), 1]
