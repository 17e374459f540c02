"""Families of refresh tokens, on a real database and store."""

import asyncio
from typing import cast
from uuid import UUID

import pytest
from sqlalchemy import Table, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from app.builtin.accounts.models import RefreshToken
from app.builtin.accounts.repository import SessionRepository
from app.builtin.accounts.service import BadRefreshToken, InvalidScope, Opened, RefreshedTooOften, Sessions
from app.core.db import ColumnRotation, ConstraintViolated, get_db_context
from app.core.errors import Unavailable
from app.core.security import configure_encryption
from app.core.valkey import StoreDown
from tests.builtin.accounts.desks import LIFETIMES, SCOPES, START, Accounts


def session_of(accounts: Accounts, opened: Opened) -> str:
    return str(accounts.tokens.verify(opened.access.token).session_id)


async def end_of(accounts: Accounts) -> list[str | None]:
    return [row[0] for row in await accounts.rows("SELECT end_reason FROM auth_sessions ORDER BY id")]


async def assert_dead(accounts: Accounts, *tokens: str) -> None:
    for token in tokens:
        with pytest.raises(BadRefreshToken) as refused:
            await accounts.refresh(token)
        assert (refused.value.status, refused.value.extensions["error"]) == (401, "invalid_grant")


class TestBegin:
    async def test_one_session_and_one_token_are_written_and_the_text_is_nowhere(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        (session,) = await accounts.rows(
            "SELECT CAST(id AS text), user_id, methods, scopes, ended_at,"
            " CAST(extract(epoch FROM expires_at - created_at) AS integer) FROM auth_sessions"
        )
        assert session == (
            session_of(accounts, opened), user.id, ["pwd", "otp"], SCOPES, None, LIFETIMES.life_s,
        )  # fmt: skip
        ((token,),) = await accounts.rows("SELECT CAST(t AS text) FROM refresh_tokens t")
        assert opened.refresh_token not in token
        assert opened.refresh_token.encode().hex() not in token

    async def test_the_access_token_tells_when_and_how(self, accounts: Accounts) -> None:
        principal = accounts.tokens.verify((await accounts.begin(await accounts.add_user())).access.token)
        assert (principal.methods, principal.authenticated_at) == (("pwd", "otp"), START)
        assert (principal.scopes, principal.roles) == (frozenset(SCOPES), frozenset({"db_reader"}))

    async def test_tokens_are_256_random_bits_and_no_repr_shows_one(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        some = [await accounts.begin(user) for _ in range(3)]
        tokens = {opened.refresh_token for opened in some}
        assert len(tokens) == 3
        assert all(token.startswith("rt_") and len(token) == 46 for token in tokens)
        assert not any(opened.refresh_token in repr(opened) or "eyJ" in repr(opened) for opened in some)


class TestOften:
    async def test_a_session_is_refreshed_so_often_in_any_minute_and_its_token_stays_good(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        token, most = (await accounts.begin(user)).refresh_token, LIFETIMES.refreshes_per_minute
        other = (await accounts.begin(user)).refresh_token
        for _ in range(most):
            token = (await accounts.refresh(token)).refresh_token
            accounts.clock.advance(2)
        rows = await accounts.rows("SELECT count(*) FROM refresh_tokens")
        for left in (40, 1):
            accounts.clock.advance(40 - left)
            with pytest.raises(RefreshedTooOften) as refused:
                await accounts.refresh(token)
            assert (refused.value.status, refused.value.retry_after) == (429, left)
        assert await accounts.rows("SELECT count(*) FROM refresh_tokens") == rows
        await accounts.refresh(other)
        accounts.clock.advance(1)
        token = (await accounts.refresh(token)).refresh_token
        with pytest.raises(RefreshedTooOften):
            await accounts.refresh(token)


class TestRotation:
    async def test_each_token_is_exchanged_for_the_next_and_the_session_stays(
        self, accounts: Accounts
    ) -> None:
        opened = await accounts.begin(await accounts.add_user())
        seen = [opened]
        for _ in range(3):
            accounts.clock.advance(100)
            seen.append(await accounts.refresh(seen[-1].refresh_token))
        assert len({one.refresh_token for one in seen}) == len({one.access.token for one in seen}) == 4
        assert {session_of(accounts, one) for one in seen} == {session_of(accounts, opened)}
        principal = accounts.tokens.verify(seen[-1].access.token)
        assert (principal.methods, principal.authenticated_at) == (("pwd", "otp"), START)
        rows = await accounts.rows("SELECT generation, used_at IS NULL FROM refresh_tokens ORDER BY 1")
        assert rows == [(0, False), (1, False), (2, False), (3, True)]
        assert await accounts.rows("SELECT count(*) FROM auth_sessions") == [(1,)]

    async def test_only_the_last_successor_can_still_be_read_and_only_encrypted(
        self, accounts: Accounts
    ) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        for _ in range(3):
            token = (await accounts.refresh(token)).refresh_token
        rows = await accounts.rows("SELECT generation, successor FROM refresh_tokens ORDER BY 1")
        assert [generation for generation, successor in rows if successor] == [2]
        assert token not in rows[2][1]

    async def test_roles_are_those_of_now_and_scopes_those_that_are_left(self, accounts: Accounts) -> None:
        opened = await accounts.begin(await accounts.add_user())
        await accounts.write("UPDATE users SET roles = '{admin}', scopes = '{read:records,run:cpu_job}'")
        principal = accounts.tokens.verify((await accounts.refresh(opened.refresh_token)).access.token)
        assert (principal.roles, principal.scopes) == (frozenset({"admin"}), frozenset({"read:records"}))

    async def test_what_cannot_be_known_is_not_a_token(self, accounts: Accounts) -> None:
        opened = await accounts.begin(await accounts.add_user())
        await assert_dead(
            accounts, "", "x", "\ud800", "a\0b", "rt_" + "A" * 43, opened.access.token, opened.refresh_token + "="
        )  # fmt: skip
        assert await end_of(accounts) == [None]
        assert (await accounts.refresh(opened.refresh_token)).refresh_token != opened.refresh_token

    async def test_an_answer_that_was_never_committed_leaves_the_token_good(self, accounts: Accounts) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        async with accounts.unkept() as db:
            lost = await accounts.sessions.refresh(db, token)
        again = await accounts.refresh(token)
        assert again.refresh_token != lost.refresh_token
        await assert_dead(accounts, lost.refresh_token)


class TestGrace:
    async def test_a_token_tried_again_at_once_gives_the_same_successor_and_another_access_token(
        self, accounts: Accounts
    ) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        first = await accounts.refresh(token)
        accounts.clock.advance(LIFETIMES.grace_s)
        again = await accounts.refresh(token)
        assert again.refresh_token == first.refresh_token
        assert again.access.token != first.access.token
        assert await accounts.rows("SELECT count(*) FROM refresh_tokens") == [(2,)]
        await accounts.refresh(again.refresh_token)

    async def test_twenty_at_once_have_one_successor(self, accounts: Accounts) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        answers = await asyncio.gather(*(accounts.refresh(token) for _ in range(20)))
        assert len({answer.refresh_token for answer in answers}) == 1
        assert await accounts.rows("SELECT count(*) FROM refresh_tokens") == [(2,)]
        await accounts.refresh(answers[0].refresh_token)
        assert await end_of(accounts) == [None]

    async def test_the_database_itself_refuses_a_second_branch(self, accounts: Accounts) -> None:
        opened = await accounts.begin(await accounts.add_user())
        await accounts.refresh(opened.refresh_token)
        session = UUID(session_of(accounts, opened))
        branch = RefreshToken(hash=b"x" * 32, session_id=session, generation=1, created_at=accounts.now())
        async with accounts.unkept() as db:
            with pytest.raises(ConstraintViolated):
                await SessionRepository(db).add(branch)

    async def test_the_rotation_of_keys_keeps_it(self, accounts: Accounts) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        after = await accounts.refresh(token)
        old, new = (
            "a key of the tests, thirty-two bytes or more",
            "a newer key of the tests, of more than 32 bytes",
        )
        configure_encryption([new, old])
        column = cast("Table", RefreshToken.__table__).c["successor"]
        turns = [turn.rotated async for turn in ColumnRotation(accounts.database, column).run()]
        configure_encryption([new])
        assert turns == [1]
        assert (await accounts.refresh(token)).refresh_token == after.refresh_token

    async def test_a_process_without_the_key_says_503_and_ends_nothing(self, accounts: Accounts) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        after = await accounts.refresh(token)
        configure_encryption(["another key of the tests, thirty-two bytes or more"])
        with pytest.raises(Unavailable):
            await accounts.refresh(token)
        configure_encryption(["a key of the tests, thirty-two bytes or more"])
        assert (await accounts.refresh(token)).refresh_token == after.refresh_token
        assert await end_of(accounts) == [None]

    async def test_a_key_that_was_taken_away_does_not_spoil_later_refreshes(self, accounts: Accounts) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        after = await accounts.refresh(token)
        configure_encryption(["another key of the tests, thirty-two bytes or more"])
        accounts.clock.advance(LIFETIMES.grace_s + 1)
        await accounts.refresh(after.refresh_token)
        await assert_dead(accounts, token)
        assert await end_of(accounts) == ["reuse"]


class TestReuse:
    async def test_after_the_grace_time_it_ends_the_session_and_all_its_tokens(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        stolen = await accounts.begin(user)
        other = await accounts.begin(user)
        current = await accounts.refresh(stolen.refresh_token)
        accounts.clock.advance(LIFETIMES.grace_s + 1)
        with capture_logs() as logs:
            await assert_dead(accounts, stolen.refresh_token)
        session = session_of(accounts, stolen)
        assert logs[0] == {
            "event": "session.reuse_detected", "log_level": "warning", "session": session, "user": str(user.id),
        }  # fmt: skip
        assert stolen.refresh_token not in str(logs)
        await assert_dead(accounts, current.refresh_token, stolen.refresh_token)
        assert await end_of(accounts) == ["reuse", None]
        epoch = await accounts.epochs.epoch_of(str(user.id))
        assert epoch.ended == (session_of(accounts, stolen),)
        assert await accounts.is_revoked(current.access)
        assert not await accounts.is_revoked(other.access)
        await accounts.refresh(other.refresh_token)

    async def test_within_the_grace_time_too_once_the_successor_was_used(self, accounts: Accounts) -> None:
        first = await accounts.begin(await accounts.add_user())
        second = await accounts.refresh(first.refresh_token)
        third = await accounts.refresh(second.refresh_token)
        await assert_dead(accounts, first.refresh_token, third.refresh_token)
        assert await end_of(accounts) == ["reuse"]

    async def test_while_the_store_is_away_nothing_is_decided(self, accounts: Accounts) -> None:
        first = await accounts.begin(await accounts.add_user())
        second = await accounts.refresh(first.refresh_token)
        accounts.clock.advance(LIFETIMES.grace_s + 1)
        without = accounts.without_store()
        with pytest.raises(StoreDown):
            await without.refresh(first.refresh_token)
        assert await end_of(accounts) == [None]
        await accounts.refresh(second.refresh_token)


class TestEnd:
    async def test_a_session_that_nobody_uses_is_over(self, accounts: Accounts) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        accounts.clock.advance(LIFETIMES.idle_s - 1)
        after = await accounts.refresh(token)
        assert after.refresh_expires_in == LIFETIMES.idle_s
        accounts.clock.advance(LIFETIMES.idle_s)
        await assert_dead(accounts, after.refresh_token)

    async def test_a_session_is_over_in_the_end_however_much_it_is_used(self, accounts: Accounts) -> None:
        opened = await accounts.begin(await accounts.add_user())
        for _ in range(LIFETIMES.life_s // 900):
            accounts.clock.advance(900)
            opened = await accounts.refresh(opened.refresh_token)
        assert opened.refresh_expires_in == LIFETIMES.life_s % 900
        accounts.clock.advance(LIFETIMES.life_s % 900)
        await assert_dead(accounts, opened.refresh_token)

    async def test_a_disabled_user_s_session_ends_for_good(self, accounts: Accounts) -> None:
        opened = await accounts.begin(await accounts.add_user())
        await accounts.write("UPDATE users SET is_active = false")
        await assert_dead(accounts, opened.refresh_token)
        await accounts.write("UPDATE users SET is_active = true")
        await assert_dead(accounts, opened.refresh_token)
        assert await end_of(accounts) == ["inactive"]
        assert await accounts.is_revoked(opened.access)

    async def test_a_deleted_user_takes_his_sessions_with_him(self, accounts: Accounts) -> None:
        opened = await accounts.begin(await accounts.add_user())
        await accounts.write("DELETE FROM users")
        await assert_dead(accounts, opened.refresh_token)
        assert await accounts.rows("SELECT count(*) FROM refresh_tokens") == [(0,)]


class TestScope:
    async def test_it_may_be_narrowed_for_one_access_token(self, accounts: Accounts) -> None:
        opened = await accounts.begin(await accounts.add_user())
        narrow = await accounts.refresh(opened.refresh_token, "read:records")
        assert narrow.access.claims["scope"] == "read:records"
        wide = await accounts.refresh(narrow.refresh_token)
        assert wide.access.claims["scope"] == " ".join(SCOPES)

    @pytest.mark.parametrize(
        "scope", ["run:cpu_job", "read:records run:cpu_job", "write:records", "NOT A SCOPE", "\ud800"]
    )
    async def test_it_is_never_widened_and_the_token_stays_good(self, accounts: Accounts, scope: str) -> None:
        opened = await accounts.begin(await accounts.add_user(), ["read:records"])
        with pytest.raises(InvalidScope):
            await accounts.refresh(opened.refresh_token, scope)
        assert (await accounts.refresh(opened.refresh_token)).access.claims["scope"] == "read:records"

    async def test_one_of_a_role_that_needs_a_second_factor_is_refused_without_one(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        await accounts.write("UPDATE users SET scopes = '{}'")
        user.scopes = []
        strict = Sessions(
            tokens=accounts.tokens,
            revocation=accounts.revocation,
            lifetimes=LIFETIMES,
            clock=accounts.clock,
            mfa_roles={"db_reader"},
        )
        async with get_db_context(accounts.database) as db:
            opened = await strict.begin(db, user, ["read:records"])
        with pytest.raises(InvalidScope):
            async with get_db_context(accounts.database) as db:
                await strict.refresh(db, opened.refresh_token, "read:records")
        assert (await accounts.refresh(opened.refresh_token)).access.claims["scope"] == "read:records"

    async def test_a_scope_that_the_user_has_lost_is_refused_alone_and_left_out_among_others(
        self, accounts: Accounts
    ) -> None:
        opened = await accounts.begin(await accounts.add_user())
        await accounts.write("UPDATE users SET scopes = '{read:records}'")
        with pytest.raises(InvalidScope):
            await accounts.refresh(opened.refresh_token, "write:records")
        assert (await accounts.refresh(opened.refresh_token)).access.claims["scope"] == "read:records"


class TestRaces:
    async def test_the_user_cannot_be_changed_while_his_rights_are_put_into_a_token(
        self, accounts: Accounts
    ) -> None:
        token = (await accounts.begin(await accounts.add_user())).refresh_token
        async with accounts.unkept() as db:
            await accounts.sessions.refresh(db, token)
            async with accounts.unkept() as other:
                await other.execute(text("SELECT 1 FROM users FOR SHARE NOWAIT"))
            async with accounts.unkept() as other:
                with pytest.raises(DBAPIError, match="could not obtain lock"):
                    await other.execute(text("SELECT 1 FROM users FOR NO KEY UPDATE NOWAIT"))

    async def test_a_refresh_and_a_logout_at_once_leave_nothing_alive(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        for _ in range(10):
            opened = await accounts.begin(user)

            async def log_out() -> None:
                async with get_db_context(accounts.database) as db:
                    await accounts.revocation.end_all_sessions(db, user.id, "logout_everywhere")

            refreshed, _ = await asyncio.gather(
                accounts.refresh(opened.refresh_token), log_out(), return_exceptions=True
            )
            accounts.clock.advance(1)
            await assert_dead(accounts, opened.refresh_token)
            if isinstance(refreshed, Opened):
                assert await accounts.is_revoked(refreshed.access)
                await assert_dead(accounts, refreshed.refresh_token)
            else:
                assert isinstance(refreshed, BadRefreshToken)
