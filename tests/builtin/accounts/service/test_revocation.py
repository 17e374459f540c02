"""Ending sessions: what is written where, in which order, and what is left when one of the two fails."""

from uuid import UUID, uuid4

import pytest

from app.builtin.accounts.models import User
from app.builtin.accounts.service import Opened, Revocation
from app.builtin.accounts.service.epochs import LONGEST_TOKEN_S
from app.core.db import Database, DatabaseError, after_commit_idle, get_db_context
from app.core.policies import Epoch, EpochBook
from app.core.resilience import ManualClock
from app.core.security._claims import MAX_LIFETIME_S
from app.core.valkey import StoreDown, ValkeyClient
from tests.builtin.accounts.desks import NO_STORE, START, Accounts


def session_of(accounts: Accounts, opened: Opened) -> UUID:
    return UUID(accounts.tokens.verify(opened.access.token).session_id)


async def end_one(accounts: Accounts, user: User, opened: Opened) -> bool:
    async with get_db_context(accounts.database) as db:
        return await accounts.revocation.end_session(db, user.id, session_of(accounts, opened), "logout")


async def end_all(accounts: Accounts, user: User) -> int:
    async with get_db_context(accounts.database) as db:
        return await accounts.revocation.end_all_sessions(db, user.id, "password_changed")


async def ended_and_rolled_back(accounts: Accounts) -> tuple[User, Opened]:
    """A user and a session of his, whose end the store was told of and the database never had."""
    user = await accounts.add_user()
    opened = await accounts.begin(user)
    async with accounts.unkept() as db:
        await accounts.revocation.end_session(db, user.id, session_of(accounts, opened), "logout")
    return user, opened


class TestOneSession:
    async def test_its_tokens_are_over_and_those_of_others_are_not(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        one, other = await accounts.begin(user), await accounts.begin(user)
        assert not await accounts.is_revoked(one.access)
        assert await end_one(accounts, user, one)
        assert [await accounts.is_revoked(opened.access) for opened in (one, other)] == [True, False]
        rows = await accounts.rows("SELECT end_reason, ended_at IS NULL FROM auth_sessions ORDER BY id")
        assert rows == [("logout", False), (None, True)]

    async def test_it_ends_once_and_only_for_its_owner(self, accounts: Accounts) -> None:
        ann, bob = await accounts.add_user(), await accounts.add_user("bob@example.com")
        opened = await accounts.begin(ann)
        assert not await end_one(accounts, bob, opened)
        assert await end_one(accounts, ann, opened)
        assert not await end_one(accounts, ann, opened)

    async def test_without_the_store_nothing_ends(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        with pytest.raises(StoreDown):
            await end_one(accounts.without_store(), user, opened)
        assert await accounts.rows("SELECT count(*) FROM auth_sessions WHERE ended_at IS NULL") == [(1,)]
        assert not await accounts.is_revoked(opened.access)

    async def test_what_was_never_committed_is_refused_no_longer_than_the_store_remembers(
        self, accounts: Accounts, store: ValkeyClient
    ) -> None:
        _, opened = await ended_and_rolled_back(accounts)
        assert await accounts.is_revoked(opened.access)
        await store.execute("FLUSHDB")
        assert not await accounts.is_revoked(opened.access)

    async def test_what_was_never_committed_is_not_refused_for_longer_because_it_is_read(
        self, accounts: Accounts, store: ValkeyClient
    ) -> None:
        user, opened = await ended_and_rolled_back(accounts)
        key = f"{{u:{user.id}}}:v1:n"
        await store.execute("PEXPIRE", key, 20_000)  # 40 of its 60 seconds are over, and nobody has asked
        assert await accounts.is_revoked(opened.access)
        assert 0 < await store.execute("PTTL", key) <= 20_000

    async def test_a_store_that_forgot_it_before_the_commit_is_told_again(
        self, accounts: Accounts, store: ValkeyClient
    ) -> None:
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        async with get_db_context(accounts.database) as db:
            await accounts.revocation.end_session(db, user.id, session_of(accounts, opened), "logout")
            await store.execute("FLUSHDB")
            assert not await accounts.is_revoked(opened.access)  # read anew from what is committed
        await after_commit_idle()
        assert await accounts.is_revoked(opened.access)


class TestTokens:
    async def test_all_access_tokens_are_over_and_every_session_goes_on(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        opened, strange = await accounts.begin(user), accounts.tokens.issue(str(user.id))
        async with get_db_context(accounts.database) as db:
            assert await accounts.revocation.end_tokens(db, user.id)
        assert [await accounts.is_revoked(token) for token in (opened.access, strange)] == [True, True]
        accounts.clock.advance(0.01)
        assert not await accounts.is_revoked((await accounts.refresh(opened.refresh_token)).access)

    async def test_somebody_unknown_has_none(self, accounts: Accounts) -> None:
        async with get_db_context(accounts.database) as db:
            assert not await accounts.revocation.end_tokens(db, uuid4())

    async def test_a_clock_that_is_far_ahead_locks_nobody_out_for_longer_than_a_minute(
        self, accounts: Accounts, store: ValkeyClient
    ) -> None:
        user = await accounts.add_user()
        [(now_ms,)] = await accounts.rows("SELECT CAST(extract(epoch FROM now()) * 1000 AS bigint)")
        book, year = EpochBook(store, grace_s=60), 31_000_000
        for ahead_s, later_ms in ((-5.0, -5_000), (year, 60_000)):
            clock = ManualClock(start=now_ms / 1000 + ahead_s)
            async with get_db_context(accounts.database) as db:
                await Revocation(book, clock, ahead_s=60.0).end_tokens(db, user.id)
            since_ms = (await accounts.epochs.epoch_of(str(user.id))).since_ms
            # However slow this machine is: at most by what passed since we looked.
            [(passed,)] = await accounts.rows(
                "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000 AS bigint) - :then", then=now_ms
            )
            assert later_ms <= since_ms - now_ms <= later_ms + passed + 1
            told = int(await store.execute("HGET", f"{{u:{user.id}}}:v1:n", "p"))
            assert told == since_ms


class TestAllSessions:
    async def test_all_tokens_are_over_also_those_of_no_session(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        some = [await accounts.begin(user) for _ in range(3)]
        strange = accounts.tokens.issue(str(user.id))
        assert await end_all(accounts, user) == 3
        tokens = [*(opened.access for opened in some), strange]
        assert [await accounts.is_revoked(token) for token in tokens] == [True] * 4

    async def test_a_token_of_the_same_millisecond_is_over_and_one_of_the_next_is_good(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        before = accounts.tokens.issue(str(user.id))
        await end_all(accounts, user)
        accounts.clock.advance(0.001)
        assert await accounts.is_revoked(before)
        assert not await accounts.is_revoked(accounts.tokens.issue(str(user.id)))

    async def test_the_end_never_goes_back(self, accounts: Accounts, store: ValkeyClient) -> None:
        user = await accounts.add_user()
        await end_all(accounts, user)
        late = Accounts(accounts.database, store, ManualClock(start=START - 60))
        await end_all(late, user)
        assert (await accounts.epochs.epoch_of(str(user.id))).since_ms == START * 1000 + 1

    async def test_of_another_user_nothing_ends(self, accounts: Accounts) -> None:
        ann, bob = await accounts.add_user(), await accounts.add_user("bob@example.com")
        opened = await accounts.begin(bob)
        await end_all(accounts, ann)
        assert not await accounts.is_revoked(opened.access)
        await accounts.refresh(opened.refresh_token)

    async def test_without_the_store_nothing_ends(self, accounts: Accounts) -> None:
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        with pytest.raises(StoreDown):
            await end_all(accounts.without_store(), user)
        assert await accounts.rows("SELECT tokens_since FROM users") == [(None,)]
        assert await accounts.rows("SELECT count(*) FROM auth_sessions WHERE ended_at IS NULL") == [(1,)]
        await accounts.refresh(opened.refresh_token)

    async def test_somebody_unknown_has_none(self, accounts: Accounts) -> None:
        async with get_db_context(accounts.database) as db:
            assert await accounts.revocation.end_all_sessions(db, uuid4(), "inactive") == 0


class TestEpochs:
    async def test_the_database_alone_knows_it_too(self, accounts: Accounts, store: ValkeyClient) -> None:
        user = await accounts.add_user()
        one, other = await accounts.begin(user), await accounts.begin(user)
        assert await accounts.epochs.epoch_of(str(user.id)) == Epoch()
        await end_one(accounts, user, one)
        epoch = await accounts.epochs.epoch_of(str(user.id))
        assert epoch == Epoch(0, (str(session_of(accounts, one)),))
        await store.execute("FLUSHDB")
        assert [await accounts.is_revoked(opened.access) for opened in (one, other)] == [True, False]
        accounts.clock.advance(0.25)
        await end_all(accounts, user)
        epoch = await accounts.epochs.epoch_of(str(user.id))
        assert epoch.since_ms == START * 1000 + 251
        assert set(epoch.ended) == {str(session_of(accounts, opened)) for opened in (one, other)}

    async def test_sessions_whose_tokens_are_over_are_not_named(self, accounts: Accounts) -> None:
        assert LONGEST_TOKEN_S == MAX_LIFETIME_S
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        session = str(session_of(accounts, opened))
        await end_one(accounts, user, opened)
        accounts.clock.advance(LONGEST_TOKEN_S)
        assert (await accounts.epochs.epoch_of(str(user.id))).ended == (session,)
        accounts.clock.advance(61)
        assert await accounts.epochs.epoch_of(str(user.id)) == Epoch()

    @pytest.mark.parametrize("account", ["", "x", "auth0|7", "00000000-0000-7000-8000-000000000007", "\0"])
    async def test_somebody_who_is_no_user_has_the_empty_one(self, accounts: Accounts, account: str) -> None:
        assert await accounts.epochs.epoch_of(account) == Epoch()

    async def test_a_database_that_is_away_is_an_outage(self) -> None:
        database = Database("postgresql+asyncpg://app@127.0.0.1:1/app")
        gone = Accounts(database, ValkeyClient(NO_STORE))
        with pytest.raises(DatabaseError) as outage:
            await gone.epochs.epoch_of(str(uuid4()))
        assert outage.value.status == 503
