"""Document 000: what it promises in prose about handling sessions and replayed tokens."""

import httpx2
import pytest

from app.builtin.accounts.service import create_user
from app.core.db import Database, get_db_context
from app.core.security import PasswordHasher

pytestmark = pytest.mark.usefixtures("clean_database", "clean_store")
FORM = {"username": "ann@example.com", "password": "correct horse battery staple"}


@pytest.fixture
async def signed_in(client: httpx2.AsyncClient, database: Database) -> dict[str, str]:
    """What a sign-in answers."""
    hasher = PasswordHasher(memory_kib=64, time_cost=1, parallelism=1)
    async with get_db_context(database) as session:
        await create_user(session, hasher, FORM["username"], FORM["password"])
    hasher.close()
    tokens: dict[str, str] = (await client.post("/auth/token", data=FORM)).json()
    return tokens


async def me(client: httpx2.AsyncClient, tokens: dict[str, str]) -> int:
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    return (await client.get("/users/me", headers=headers)).status_code


async def refresh(client: httpx2.AsyncClient, tokens: dict[str, str]) -> httpx2.Response:
    return await client.post("/auth/refresh", data={"refresh_token": tokens["refresh_token"]})


async def test_000_line_54_a_replayed_refresh_token_ends_its_session(
    client: httpx2.AsyncClient, signed_in: dict[str, str]
) -> None:
    second = (await refresh(client, signed_in)).json()
    third = (await refresh(client, second)).json()
    assert [await me(client, tokens) for tokens in (signed_in, second, third)] == [200] * 3
    assert (await refresh(client, signed_in)).status_code == 401
    assert [await me(client, tokens) for tokens in (signed_in, second, third)] == [401] * 3
    assert (await refresh(client, third)).status_code == 401


async def test_000_line_54_a_session_that_was_left_is_over_at_once(
    client: httpx2.AsyncClient, signed_in: dict[str, str]
) -> None:
    headers = {"Authorization": f"Bearer {signed_in['access_token']}"}
    assert (await client.post("/auth/logout", headers=headers)).status_code == 204
    assert await me(client, signed_in) == 401
    assert (await refresh(client, signed_in)).status_code == 401
