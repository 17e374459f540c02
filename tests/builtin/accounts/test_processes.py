"""Sessions over real processes: what one of them ends is over in all, through outages and kills."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from app.builtin.accounts.service import create_user
from app.core.db import Database, get_db_context
from app.core.security import PasswordHasher
from app.core.valkey import ValkeyClient
from tests.processes import PATIENCE_S, Api, api_process, bearer
from tests.servers import PrivateServer, new_valkey

pytestmark = pytest.mark.usefixtures("clean_database", "ann")
Pair = tuple[Api, Api]
PASSWORD = "correct horse battery staple"
EMAIL = "ann@example.com"
ADMIN = bearer(UUID(int=1))
HOLD = 726_101
_HOLDING = f"""
CREATE FUNCTION hold_commit() RETURNS trigger LANGUAGE plpgsql AS
    $$ BEGIN PERFORM pg_advisory_xact_lock({HOLD}); RETURN NULL; END $$;
CREATE CONSTRAINT TRIGGER hold_commit AFTER UPDATE ON auth_sessions DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION hold_commit();
"""
_WAITING = """
SELECT pid FROM pg_locks JOIN pg_database d ON d.oid = database
 WHERE locktype = 'advisory' AND objid = $1 AND NOT granted AND datname = current_database()
"""


@pytest.fixture
async def ann(database: Database, hasher: PasswordHasher) -> None:
    async with get_db_context(database) as db:
        await create_user(db, hasher, EMAIL, PASSWORD, scopes=["read:records"])


@pytest.fixture(scope="module")
def valkey() -> Iterator[PrivateServer]:
    with new_valkey() as server:
        yield server


@pytest.fixture(scope="module")
def environment(postgres_url: str, valkey: PrivateServer) -> dict[str, str]:
    # Generous, so that a busy machine is not taken for an outage, in which tokens count as good.
    return {"DATABASE_URL": postgres_url, "VALKEY_URL": valkey.url, "VALKEY_TIMEOUT_MS": "5000"}


@pytest.fixture(scope="module")
async def processes(environment: dict[str, str]) -> AsyncIterator[Pair]:
    async with api_process(environment) as one, api_process(environment) as two:
        yield one, two


@pytest.fixture
async def pair(processes: Pair, valkey: PrivateServer) -> Pair:
    """Two processes, one more of which takes a second and more to start; their store is empty."""
    await flush(valkey)
    return processes


class Client:
    """Somebody who signed in: asks whichever process he is told to."""

    def __init__(self, body: dict[str, Any]) -> None:
        self.token: str = body["refresh_token"]
        self.header = {"Authorization": f"Bearer {body['access_token']}"}

    @classmethod
    async def signed_in(cls, api: Api) -> "Client":
        answer = await api.client.post("/auth/token", data={"username": EMAIL, "password": PASSWORD})
        assert answer.status_code == 200, answer.text
        return cls(answer.json())

    async def ask(self, api: Api, method: str = "GET", path: str = "/users/me") -> int:
        return (await api.client.request(method, path, headers=self.header)).status_code

    async def refresh(self, api: Api) -> httpx2.Response:
        return await api.client.post("/auth/refresh", data={"refresh_token": self.token})


async def flush(valkey: PrivateServer) -> None:
    client = ValkeyClient(valkey.url, timeout_s=5)
    await client.execute("FLUSHALL")
    await client.close()


async def not_ended(database: Database) -> int:
    rows = await database.fetch("SELECT count(*) FROM auth_sessions WHERE ended_at IS NULL")
    return int(rows[0][0])


async def test_what_one_process_ends_is_over_with_the_next_request_in_another(
    pair: Pair, valkey: PrivateServer
) -> None:
    one, two = pair
    ann, other, third = [await Client.signed_in(one) for _ in range(3)]
    for api in (one, two):
        assert [await client.ask(api) for client in (ann, other, third)] == [200] * 3

    assert await ann.ask(one, "POST", "/auth/logout") == 204
    assert [await client.ask(two) for client in (ann, other, third)] == [401, 200, 200]
    await flush(valkey)
    assert [await client.ask(one) for client in (ann, other, third)] == [401, 200, 200]

    assert await other.ask(two, "POST", "/auth/logout?everywhere=true") == 204
    assert [await client.ask(one) for client in (ann, other, third)] == [401] * 3
    await flush(valkey)
    assert [await client.ask(two) for client in (ann, other, third)] == [401] * 3
    assert [(await client.refresh(two)).status_code for client in (ann, other, third)] == [401] * 3
    assert await (await Client.signed_in(one)).ask(two) == 200

    await rights_change_with_the_next_request_in_the_other(one, two)
    await nothing_is_left_of_a_deleted_user(one, two, valkey)


async def rights_change_with_the_next_request_in_the_other(one: Api, two: Api) -> None:
    """Here and below, and not in tests of their own, because two processes take a second and more to start."""
    ann = await Client.signed_in(one)
    me = await one.client.get("/users/me", headers=ann.header)
    path = f"/users/{me.json()['id']}/roles/db_reader"
    assert (await two.client.get("/records", headers=ann.header)).json()["required_roles"] == ["db_reader"]

    for method, done, roles, status in (("PUT", 200, ["db_reader"], 200), ("DELETE", 204, [], 403)):
        assert (await one.client.request(method, path, headers=ADMIN)).status_code == done
        refused = await two.client.get("/records", headers=ann.header)
        assert (refused.status_code, refused.headers["www-authenticate"]) == (
            401, 'Bearer error="invalid_token"',
        )  # fmt: skip
        ann = Client((await ann.refresh(two)).json())
        shown = await two.client.get("/users/me", headers=ann.header)
        assert (shown.status_code, shown.json()["roles"]) == (200, roles)
        assert (await two.client.get("/records", headers=ann.header)).status_code == status


async def nothing_is_left_of_a_deleted_user(one: Api, two: Api, valkey: PrivateServer) -> None:
    ann = await Client.signed_in(one)
    me = await one.client.get("/users/me", headers=ann.header)
    assert (await one.client.delete(f"/users/{me.json()['id']}", headers=ADMIN)).status_code == 204
    for _ in range(2):
        # Not `/users/me`, which looks for the user in any case: here nobody does but ADMIT.
        answer = await two.client.get("/credits", headers=ann.header)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (
            401, 'Bearer error="invalid_token"',
        )  # fmt: skip
        await flush(valkey)
    assert (await ann.refresh(two)).status_code == 401


async def test_twenty_at_once_in_two_processes_get_one_successor(pair: Pair, database: Database) -> None:
    one, two = pair
    ann = await Client.signed_in(one)
    answers = await asyncio.gather(*(ann.refresh(api) for api in (one, two) * 10))
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["refresh_token"] for answer in answers}) == 1
    assert [Client(answer.json()).token for answer in answers].count(ann.token) == 0
    assert [tuple(row) for row in await database.fetch("SELECT count(*) FROM refresh_tokens")] == [(2,)]


async def test_without_the_store_a_logout_is_503_and_changes_nothing(
    environment: dict[str, str], database: Database, private_valkey: PrivateServer
) -> None:
    async with api_process(environment | {"VALKEY_URL": private_valkey.url}) as api:
        ann = await Client.signed_in(api)
        for query in ("", "?everywhere=true"):
            private_valkey.kill()
            answer = await api.client.post(f"/auth/logout{query}", headers=ann.header)
            assert (answer.status_code, answer.headers["content-type"]) == (503, "application/problem+json")
            assert int(answer.headers["retry-after"]) >= 1
            assert await not_ended(database) == 1
            rows = await database.fetch("SELECT count(*) FROM users WHERE tokens_since IS NOT NULL")
            assert rows[0][0] == 0

            private_valkey.restart()
            async with asyncio.timeout(PATIENCE_S):
                while (refreshed := await ann.refresh(api)).status_code == 503:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.05)
            assert refreshed.status_code == 200
            assert await ann.ask(api) == 200
            ann = Client(refreshed.json())


@asynccontextmanager
async def commits_held(database: Database) -> AsyncIterator[asyncpg.Connection]:
    """Whoever changed a session waits in his commit for as long as the block lasts."""
    connection = await asyncpg.connect(database.url.replace("+asyncpg", ""))
    try:
        await connection.execute(_HOLDING)
        await connection.execute("SELECT pg_advisory_lock($1)", HOLD)
        yield connection
    finally:
        await connection.execute("SELECT pg_advisory_unlock_all()")
        await connection.execute("DROP FUNCTION hold_commit CASCADE")
        await connection.close()


async def test_a_process_that_is_killed_before_its_commit_leaves_a_session_that_can_go_on(
    pair: Pair, environment: dict[str, str], database: Database, valkey: PrivateServer
) -> None:
    other, _ = pair
    async with api_process(environment) as victim:
        ann = await Client.signed_in(victim)
        assert await ann.ask(other) == 200
        async with commits_held(database) as holder:
            logout = asyncio.create_task(ann.ask(victim, "POST", "/auth/logout"))
            async with asyncio.timeout(PATIENCE_S):
                while (waiter := await holder.fetchval(_WAITING, HOLD)) is None:  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.01)
            victim.process.kill()
            await holder.execute("SELECT pg_terminate_backend($1, 5000)", waiter)
            with pytest.raises(httpx2.HTTPError):
                await logout

        # The store was told, the database was not: refused although nothing has ended, until the store forgets it.
        assert await not_ended(database) == 1
        assert await ann.ask(other) == 401
        await flush(valkey)
        assert await ann.ask(other) == 200
        assert (await ann.refresh(other)).status_code == 200


async def test_an_api_key_that_one_process_ends_is_refused_by_the_other_with_the_next_request(
    pair: Pair, valkey: PrivateServer
) -> None:
    async def status(api: Api, key: str) -> int:
        return (await api.client.get("/users/me", headers={"X-API-Key": key})).status_code

    one, two = pair
    ann = await Client.signed_in(one)
    body = {"name": "n", "scopes": ["read:records"]}
    made = [(await one.client.post("/api-keys", json=body, headers=ann.header)).json() for _ in range(3)]
    gone, rotated, stays = (key["key"] for key in made)
    for api in (one, two):
        assert [await status(api, key) for key in (gone, rotated, stays)] == [200] * 3

    path = f"/api-keys/{made[1]['id']}/rotate"
    answer = await one.client.post(path, json={"overlap_s": 0}, headers=ann.header)
    assert await ann.ask(one, "DELETE", f"/api-keys/{made[0]['id']}") == 204
    assert [await status(two, key) for key in (gone, rotated, stays)] == [401, 401, 200]
    assert await status(two, answer.json()["key"]) == 200

    assert await ann.ask(one, "POST", "/auth/logout?everywhere=true") == 204
    await flush(valkey)
    for api in (two, one):
        assert [await status(api, key) for key in (gone, rotated, stays)] == [401, 401, 200]
