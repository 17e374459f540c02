"""Sessions that a cookie holds: who is found, for how long, and what ends them."""

import asyncio
from uuid import UUID

import pytest

from app.builtin.accounts.models import User
from app.builtin.accounts.service import PageSessions
from app.builtin.accounts.service.opaque_tokens import hash_of
from app.builtin.accounts.service.page_sessions import (
    _MOST,
    KEPT_S,
    NoPageSession,
    PageSessionNotRead,
)
from app.core.context import Principal
from app.core.db import DatabaseTimeout, get_db_context
from app.core.policies import Caller, Plan
from app.core.security import scopes_of
from tests.builtin.accounts.desks import LIFETIMES, SCOPES, Accounts

TOKEN = "a" * 43
_PLAN = Plan("tests", [])


@pytest.fixture
def pages(accounts: Accounts) -> PageSessions:
    return PageSessions(
        accounts.database,
        revocation=accounts.revocation,
        lifetimes=LIFETIMES,
        clock=accounts.clock,
        mfa_roles={"cpu_user"},
        wait_s=0.5,
    )


async def begin(accounts: Accounts, pages: PageSessions, user: User, token: str = TOKEN) -> str:
    """The session's id."""
    async with get_db_context(accounts.database) as db:
        opened = await accounts.sessions.begin(db, user, SCOPES, methods=("pwd", "otp"))
        session = str(opened.access.claims["sid"])
        await pages.begin(db, UUID(session), token)
    return session


async def read(pages: PageSessions, token: str = TOKEN) -> None:
    with pytest.raises(PageSessionNotRead) as missing:
        pages.verify(token)
    await missing.value.load()


def count_calls(pages: PageSessions) -> list[bytes]:
    """Grows with every question to the database."""
    asked: list[bytes] = []
    ask = pages._ask

    async def counted(key: bytes) -> Principal:
        asked.append(key)
        return await ask(key)

    pages._ask = counted  # type: ignore[method-assign]
    return asked


def count_at_once(pages: PageSessions) -> list[int]:
    """How many questions were under way with each that began."""
    begun: list[int] = []
    under_way = 0
    ask = pages._ask

    async def counted(key: bytes) -> Principal:
        nonlocal under_way
        under_way += 1
        begun.append(under_way)
        try:
            return await ask(key)
        finally:
            under_way -= 1

    pages._ask = counted  # type: ignore[method-assign]
    return begun


async def is_over(pages: PageSessions, token: str = TOKEN) -> bool:
    """As the database says now."""
    return await pages.find(token) is None


class TestVerify:
    async def test_it_is_looked_up_once_and_then_known_for_a_while(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        user = await accounts.add_user()
        session = await begin(accounts, pages, user)
        await read(pages)
        found = pages.verify(TOKEN)
        assert (found.id, found.session_id, found.methods) == (str(user.id), session, ("pwd", "otp"))
        assert (found.scopes, found.roles) == (frozenset(SCOPES), frozenset({"db_reader"}))
        accounts.clock.advance(KEPT_S - 1)
        assert pages.verify(TOKEN) is found
        accounts.clock.advance(1)
        await read(pages)
        assert pages.verify(TOKEN).issued_at == found.issued_at + KEPT_S

    async def test_a_role_that_needs_a_second_factor_is_in_sessions_with_one_only(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        user = await accounts.add_user()
        await accounts.write("UPDATE users SET roles = '{cpu_user,db_reader}'")
        await accounts.write("UPDATE users SET scopes = '{read:records}'")
        carried = scopes_of(["cpu_user"])
        await begin(accounts, pages, user)
        await accounts.write("UPDATE auth_sessions SET scopes = :all", all=["read:records", *carried])
        without = await pages.find(TOKEN)
        await accounts.write("UPDATE auth_sessions SET methods = '{pwd,otp,mfa}'")
        having = await pages.find(TOKEN)
        assert without is not None
        assert having is not None
        assert having.roles - without.roles == {"cpu_user"}
        assert "read:records" in without.scopes
        assert having.scopes - without.scopes == carried != frozenset()

    async def test_a_token_that_nobody_has_is_refused_and_not_asked_about_again(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        await read(pages)
        for _ in range(2):
            with pytest.raises(NoPageSession):
                pages.verify(TOKEN)
        assert len(pages._kept) == 1

    async def test_a_stalled_table_holds_two_connections_and_nobody_for_long(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        await begin(accounts, pages, await accounts.add_user())
        at_once = count_at_once(pages)
        async with accounts.database.engine.connect() as connection:
            await connection.exec_driver_sql("LOCK TABLE page_sessions IN ACCESS EXCLUSIVE MODE")
            answers = await asyncio.gather(*(read(pages) for _ in range(6)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [DatabaseTimeout] * 6
        # Who waits for a place may get one in the moment in which his own time is over too.
        assert max(at_once) == 2
        asked = count_calls(pages)
        await asyncio.gather(*(read(pages) for _ in range(6)))
        assert pages.verify(TOKEN).id
        assert len(asked) == 2

    async def test_what_is_kept_is_bounded(self, accounts: Accounts, pages: PageSessions) -> None:
        await begin(accounts, pages, await accounts.add_user())
        for number in range(_MOST):
            pages._kept[str(number).encode()] = Principal("", expires_at=2e9)
        await read(pages)
        assert len(pages._kept) == _MOST // 2 + 1
        assert pages.verify(TOKEN).id

    async def test_the_token_itself_is_nowhere(self, accounts: Accounts, pages: PageSessions) -> None:
        await begin(accounts, pages, await accounts.add_user())
        ((stored,),) = await accounts.rows("SELECT hash FROM page_sessions")
        assert stored == hash_of(TOKEN)
        assert TOKEN not in repr(vars(pages))


class TestTheEnd:
    async def test_it_ends_when_nobody_used_it_for_the_idle_time(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        await begin(accounts, pages, await accounts.add_user())
        for _ in range(3):
            accounts.clock.advance(LIFETIMES.idle_s - 1)
            assert not await is_over(pages)
        accounts.clock.advance(LIFETIMES.idle_s)
        assert await is_over(pages)

    async def test_it_ends_when_its_life_is_over_however_often_it_was_used(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        await begin(accounts, pages, await accounts.add_user())
        for _ in range(LIFETIMES.life_s // 900):
            accounts.clock.advance(900)
            assert not await is_over(pages)
        accounts.clock.advance(LIFETIMES.life_s % 900)
        assert await is_over(pages)

    async def test_a_disabled_user_has_none_and_a_changed_one_has_the_rights_of_now(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        await begin(accounts, pages, await accounts.add_user())
        await accounts.write("UPDATE users SET roles = '{admin}', scopes = '{read:records,read:credits}'")
        found = await pages.find(TOKEN)
        assert found is not None
        assert (found.roles, found.scopes) == (frozenset({"admin"}), frozenset({"read:records"}))
        await accounts.write("UPDATE users SET is_active = false")
        assert await is_over(pages)

    async def test_what_was_kept_is_refused_by_admit_as_soon_as_it_ends(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        user = await accounts.add_user()
        await begin(accounts, pages, user)
        await begin(accounts, pages, user, "b" * 43)
        await read(pages)
        await read(pages, "b" * 43)
        one, other = pages.verify(TOKEN), pages.verify("b" * 43)
        async with get_db_context(accounts.database) as db:
            await pages.end(db, TOKEN)
        admitted = [
            (await accounts._admitter.admit(_PLAN, Caller(who, "192.0.2.1"))).allowed for who in (one, other)
        ]
        assert admitted == [False, True]
        assert [await is_over(pages), await is_over(pages, "b" * 43)] == [True, False]

    async def test_ending_a_session_that_is_none_changes_nothing(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        async with get_db_context(accounts.database) as db:
            await pages.end(db, TOKEN)
        assert await accounts.rows("SELECT * FROM auth_sessions") == []

    async def test_a_deleted_session_takes_its_cookie_along(
        self, accounts: Accounts, pages: PageSessions
    ) -> None:
        await begin(accounts, pages, await accounts.add_user())
        await accounts.write("DELETE FROM users")
        assert await accounts.rows("SELECT * FROM page_sessions") == []
        assert await is_over(pages)
