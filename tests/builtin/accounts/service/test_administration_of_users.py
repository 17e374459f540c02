"""What administrators and operators do with accounts: what it ends, what it records, and what it refuses."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID, uuid4

import pytest

import app.registry  # noqa: F401 - features make their scopes known
from app.builtin.accounts.models import User
from app.builtin.accounts.schemas import UserQuery
from app.builtin.accounts.service import (
    Administration,
    BadEmailToken,
    BadRefreshToken,
    LastAdministrator,
    OwnAccount,
    RightsNotHeld,
)
from app.builtin.accounts.service.epochs import LONGEST_TOKEN_S
from app.core.context import Principal
from app.core.db import AsyncSession, get_db_context
from app.core.errors import EntityNotFoundError, Unprocessable
from app.core.security import PasswordHasher, known_roles, known_scopes, scopes_of
from app.core.valkey import StoreDown, ValkeyClient
from tests.builtin.accounts.desks import SCOPES, Accounts
from tests.builtin.accounts.lives import Lives
from tests.lock_waits import until_a_session_waits

BOSS = Principal(str(UUID(int=1)), scopes=frozenset(known_scopes), roles=frozenset(known_roles))
T = TypeVar("T")
PASSWORD = "correct horse battery staple"


class Office:
    """An administration, each of whose deeds is a transaction."""

    def __init__(self, accounts: Accounts, hasher: PasswordHasher) -> None:
        self.accounts = accounts
        self.desk = Administration(accounts.revocation, hasher, accounts.audit)

    async def do(self, deed: Callable[[Administration, AsyncSession], Awaitable[T]]) -> T:
        async with get_db_context(self.accounts.database) as db:
            return await deed(self.desk, db)

    async def give(
        self,
        user: User | UUID,
        by: Principal | None = BOSS,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
    ) -> User:
        return await self.do(lambda desk, db: desk.give(db, _id(user), roles=roles, scopes=scopes, by=by))

    async def take(
        self,
        user: User | UUID,
        by: Principal | None = BOSS,
        roles: Iterable[str] = (),
        scopes: Iterable[str] = (),
    ) -> User:
        return await self.do(lambda desk, db: desk.take(db, _id(user), roles=roles, scopes=scopes, by=by))

    async def disable(self, user: User | UUID, by: Principal | None = BOSS) -> User:
        return await self.do(lambda desk, db: desk.disable(db, _id(user), by=by))

    async def enable(self, user: User | UUID, by: Principal | None = BOSS) -> User:
        return await self.do(lambda desk, db: desk.enable(db, _id(user), by=by))

    async def delete(self, user: User | UUID, by: Principal | None = BOSS) -> None:
        await self.do(lambda desk, db: desk.delete(db, _id(user), by=by))

    async def sign_out(self, user: User | UUID) -> int:
        return await self.do(lambda desk, db: desk.sign_out(db, _id(user)))

    async def recorded(self) -> list[tuple[Any, ...]]:
        return await self.accounts.rows("SELECT event, subject_id, detail FROM audit_events ORDER BY id")

    @asynccontextmanager
    async def nothing_happens(self) -> AsyncIterator[None]:
        """Whatever is tried in the block: nobody's rights or sessions change, and nothing is recorded."""
        state = "SELECT roles, scopes, is_active, tokens_since FROM users ORDER BY id"
        ended = "SELECT id, ended_at FROM auth_sessions ORDER BY id"
        before = [await self.accounts.rows(state), await self.accounts.rows(ended), await self.recorded()]
        yield
        assert before == [
            await self.accounts.rows(state),
            await self.accounts.rows(ended),
            await self.recorded(),
        ]


def _id(user: User | UUID) -> UUID:
    return user if isinstance(user, UUID) else user.id


@pytest.fixture
def office(accounts: Accounts, hasher: PasswordHasher) -> Office:
    return Office(accounts, hasher)


class TestCreate:
    async def test_the_user_is_recorded_with_what_he_may_do_and_without_what_he_knows(
        self, office: Office
    ) -> None:
        user = await office.do(
            lambda desk, db: desk.create(
                db, "bob@example.com", PASSWORD, roles=["io_user"], scopes=["read:credits"], by=BOSS
            )
        )
        assert user.all_scopes == {"read:external", "read:credits"}
        detail = {"roles": ["io_user"], "scopes": ["read:credits"]}
        assert await office.recorded() == [("user.created", user.id, detail)]

    async def test_nobody_makes_a_user_who_may_more_than_he_himself(self, office: Office) -> None:
        clerk = Principal("c", scopes=frozenset({"write:users"}), roles=frozenset({"admin"}))
        with pytest.raises(RightsNotHeld) as refused:
            await office.do(
                lambda desk, db: desk.create(db, "bob@example.com", PASSWORD, roles=["db_reader"], by=clerk)
            )
        assert refused.value.status == 403
        assert refused.value.extensions["missing_rights"] == ["db_reader", "read:records"]
        assert await office.accounts.rows("SELECT count(*) FROM users") == [(0,)]


class TestRights:
    async def test_what_is_given_ends_tokens_and_a_refresh_carries_it(self, office: Office) -> None:
        accounts = office.accounts
        user = await accounts.add_user()
        opened = await accounts.begin(user, [*SCOPES, "read:external"])
        given = await office.give(user, roles=["io_user"], scopes=["read:credits"])
        assert (given.roles, given.scopes) == (["db_reader", "io_user"], ["read:credits", *SCOPES])
        assert await accounts.is_revoked(opened.access)

        accounts.clock.advance(0.01)
        fresh = await accounts.refresh(opened.refresh_token)
        assert not await accounts.is_revoked(fresh.access)
        principal = accounts.tokens.verify(fresh.access.token)
        assert principal.roles == {"db_reader", "io_user"}
        # The scope of the role was asked for at the sign-in; the other one was not, and needs a new one.
        assert principal.scopes == {*SCOPES, "read:external"}
        assert await office.recorded() == [
            ("rights.granted", user.id, {"roles": ["io_user"], "scopes": ["read:credits"]})
        ]

    async def test_what_is_taken_ends_tokens_and_goes_with_the_scopes_of_the_role(
        self, office: Office
    ) -> None:
        accounts = office.accounts
        user = await accounts.add_user()
        await accounts.write("UPDATE users SET scopes = '{write:records}'")
        opened = await accounts.begin(user)
        await office.take(user, roles=["db_reader", "admin"], scopes=["read:credits"])
        assert await accounts.is_revoked(opened.access)
        accounts.clock.advance(0.01)
        principal = accounts.tokens.verify((await accounts.refresh(opened.refresh_token)).access.token)
        assert not principal.roles
        assert principal.scopes == {"write:records"}
        assert await office.recorded() == [
            ("rights.revoked", user.id, {"roles": ["db_reader"], "scopes": []})
        ]

    async def test_what_is_so_already_changes_nothing(self, office: Office) -> None:
        user = await office.accounts.add_user()
        async with office.nothing_happens():
            await office.give(user, roles=["db_reader"], scopes=SCOPES)
            await office.take(user, roles=["cpu_user", "gone_long_ago"], scopes=["read:gone"])
            await office.enable(user)

    async def test_a_name_that_nobody_knows_any_more_can_be_taken_and_not_given(self, office: Office) -> None:
        user = await office.accounts.add_user()
        await office.accounts.write("UPDATE users SET roles = '{emperor}', scopes = '{rule:world}'")
        taken = await office.take(user, roles=["emperor"], scopes=["rule:world"])
        assert (taken.roles, taken.scopes) == ([], [])
        for roles, scopes in ((["emperor"], []), ([], ["rule:world"]), ([], ["read:*"])):
            with pytest.raises(Unprocessable, match="has the name"):
                await office.give(user, roles=roles, scopes=scopes)

    async def test_nobody_gives_what_he_does_not_have_and_an_operator_gives_all(self, office: Office) -> None:
        user = await office.accounts.add_user()
        admin_only = Principal(BOSS.id, scopes=scopes_of(["admin"]), roles=frozenset({"admin"}))
        narrowed = Principal(BOSS.id, scopes=frozenset({"write:users"}), roles=BOSS.roles)
        async with office.nothing_happens():
            for by, roles, scopes in (
                (admin_only, ["io_user"], []),
                (admin_only, [], ["write:records"]),
                (narrowed, ["admin"], []),
                (narrowed, [], ["read:users"]),
            ):
                with pytest.raises(RightsNotHeld):
                    await office.give(user, by, roles=roles, scopes=scopes)
        assert (await office.give(user, admin_only, roles=["admin"])).roles == ["admin", "db_reader"]
        given = await office.give(user, None, roles=list(known_roles), scopes=list(known_scopes))
        assert given.all_scopes == set(known_scopes)

    async def test_without_the_store_nothing_changes(self, office: Office, hasher: PasswordHasher) -> None:
        user = await office.accounts.add_user()
        await office.accounts.begin(user)
        away = Office(office.accounts.without_store(), hasher)
        async with office.nothing_happens():
            deeds: tuple[Awaitable[object], ...] = (
                away.give(user, roles=["io_user"]), away.take(user, roles=["db_reader"]), away.disable(user), away.sign_out(user),
                away.delete(user),
            )  # fmt: skip
            for deed in deeds:
                with pytest.raises(StoreDown):
                    await deed
        assert await office.accounts.rows("SELECT count(*) FROM deleted_users") == [(0,)]


class TestAnEnd:
    async def test_a_disabled_user_has_no_sessions_and_gets_none_until_he_is_enabled(
        self, office: Office
    ) -> None:
        accounts = office.accounts
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        assert not (await office.disable(user)).is_active
        await office.disable(user)  # again: nothing more
        assert await accounts.is_revoked(opened.access)
        assert (await office.enable(user)).is_active
        with pytest.raises(BadRefreshToken):
            await accounts.refresh(opened.refresh_token)
        events = [event for event, *_ in await office.recorded()]
        assert events == ["user.disabled", "user.enabled"]

    async def test_links_that_he_was_sent_before_are_no_good_when_he_is_enabled(
        self, office: Office, lives: Lives
    ) -> None:
        user = await lives.add()
        reset = await lives.reset()
        await lives.ask_change(user, "new@example.com")
        await office.disable(user)
        await office.enable(user)
        with pytest.raises(BadEmailToken):
            await lives.confirm_reset(reset)
        with pytest.raises(BadEmailToken):
            await lives.confirm_email(lives.outbox.token("new@example.com"))

    async def test_nobody_enables_somebody_who_may_more_than_he_himself(self, office: Office) -> None:
        user = await office.accounts.add_user()
        await office.disable(user)
        clerk = Principal("c", scopes=frozenset({"write:users"}), roles=frozenset({"admin"}))
        async with office.nothing_happens():
            with pytest.raises(RightsNotHeld):
                await office.enable(user, clerk)

    async def test_who_is_signed_out_may_sign_in_again(self, office: Office) -> None:
        accounts = office.accounts
        user = await accounts.add_user()
        some = [await accounts.begin(user) for _ in range(2)]
        assert await office.sign_out(user) == 2
        assert [await accounts.is_revoked(opened.access) for opened in some] == [True, True]
        accounts.clock.advance(0.01)
        assert not await accounts.is_revoked((await accounts.begin(user)).access)
        assert await office.recorded() == [("user.signed_out", user.id, {"sessions": 2})]

    async def test_no_token_of_a_deleted_user_counts_also_when_the_store_has_forgotten_it(
        self, office: Office, store: ValkeyClient
    ) -> None:
        accounts = office.accounts
        user = await accounts.add_user()
        opened, strange = await accounts.begin(user), accounts.tokens.issue(str(user.id))
        await office.delete(user)
        assert await accounts.rows("SELECT count(*) FROM auth_sessions") == [(0,)]
        for _ in range(2):
            assert [await accounts.is_revoked(token) for token in (opened.access, strange)] == [True, True]
            await store.execute("FLUSHDB")
        # Nor does one by a clock that is ahead.
        accounts.clock.advance(3600)
        assert await accounts.is_revoked(accounts.tokens.issue(str(user.id)))
        with pytest.raises(BadRefreshToken):
            await accounts.refresh(opened.refresh_token)
        detail = {"roles": ["db_reader"], "scopes": SCOPES}
        assert await office.recorded() == [("user.deleted", user.id, detail)]

    async def test_a_row_that_was_deleted_by_hand_is_remembered_too_and_forgotten_when_no_token_can_live(
        self, accounts: Accounts
    ) -> None:
        user = await accounts.add_user()
        opened = await accounts.begin(user)
        await accounts.write("DELETE FROM users")
        assert await accounts.is_revoked(opened.access)
        await accounts.write("UPDATE deleted_users SET deleted_at = :now", now=accounts.now())
        accounts.clock.advance(2 * LONGEST_TOKEN_S)
        assert await accounts.upkeep.purge_deleted() == 0
        accounts.clock.advance(1)
        assert [await accounts.upkeep.purge_deleted() for _ in range(2)] == [1, 0]

    async def test_somebody_unknown_is_not_found(self, office: Office) -> None:
        nobody = uuid4()
        deeds: tuple[Awaitable[object], ...] = (
            office.give(nobody, roles=["io_user"]), office.take(nobody, roles=["admin"]), office.take(nobody, scopes=["read:records"]),
            office.disable(nobody), office.enable(nobody), office.sign_out(nobody), office.delete(nobody),
            office.do(lambda desk, db: desk.get(db, nobody)),
        )  # fmt: skip
        for deed in deeds:
            with pytest.raises(EntityNotFoundError):
                await deed
        assert await office.recorded() == []


class TestAdministrators:
    async def test_nobody_shuts_himself_out(self, office: Office) -> None:
        me, other = await office.accounts.add_user(), await office.accounts.add_user("bob@example.com")
        for user in (me, other):
            await office.give(user, None, roles=["admin"])
        by = Principal(str(me.id), scopes=BOSS.scopes, roles=BOSS.roles)
        async with office.nothing_happens():
            deeds = (office.disable(me, by), office.delete(me, by), office.take(me, by, roles=["admin"]))
            for deed in deeds:
                with pytest.raises(OwnAccount):
                    await deed
        assert (await office.take(me, by, roles=["db_reader"])).roles == ["admin"]

    async def test_the_last_active_one_stays_unless_an_operator_takes_him(self, office: Office) -> None:
        last, idle = await office.accounts.add_user(), await office.accounts.add_user("bob@example.com")
        for user in (last, idle):
            await office.give(user, None, roles=["admin"])
        await office.disable(idle)
        async with office.nothing_happens():
            for deed in (office.disable(last), office.delete(last), office.take(last, roles=["admin"])):
                with pytest.raises(LastAdministrator):
                    await deed
        await office.delete(idle)  # one who cannot sign in is not the last active one
        assert not (await office.disable(last, None)).is_active

    async def test_two_who_take_each_other_out_at_once_leave_one(self, office: Office) -> None:
        ann, bob = await office.accounts.add_user(), await office.accounts.add_user("bob@example.com")
        for user in (ann, bob):
            await office.give(user, None, roles=["admin"])
        async with office.accounts.database.session() as first:
            await office.desk.disable(first, bob.id, by=BOSS)
            second = asyncio.create_task(office.take(ann, roles=["admin"]))
            await until_a_session_waits(office.accounts.database)
            await first.commit()
        with pytest.raises(LastAdministrator):
            await second
        assert await office.accounts.rows("SELECT is_active, roles FROM users ORDER BY id") == [
            (True, ["admin", "db_reader"]),
            (False, ["admin", "db_reader"]),
        ]


class TestPage:
    async def test_users_are_found_by_address_role_and_state_newest_first_page_by_page(
        self, office: Office
    ) -> None:
        ann, bob, cid = [
            await office.accounts.add_user(f"{name}@example.com") for name in ("Ann", "bob", "cid")
        ]
        await office.give(bob, None, roles=["admin"])
        await office.disable(cid, None)

        async def found(**query: Any) -> list[UUID]:
            page = await office.do(lambda desk, db: desk.page(db, UserQuery(**query)))
            return [user.id for user in page.items]

        first = await office.do(lambda desk, db: desk.page(db, UserQuery(limit=2)))
        assert [user.id for user in first.items] == [cid.id, bob.id]
        assert await found(limit=2, cursor=first.next_cursor) == [ann.id]
        assert await found(email="ANN@example.com") == [ann.id]
        assert await found(role="admin") == [bob.id]
        assert await found(is_active=False) == [cid.id]
        assert await found(is_active=True, role="db_reader", email="bob@example.com") == [bob.id]
        assert await found(role="cpu_user") == []
