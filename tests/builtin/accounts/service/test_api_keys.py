"""API keys on a database and a store, with a clock that is turned by hand: what they are worth, and when they end."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from pydantic import ValidationError

from app.builtin.accounts.models import ApiKeySecret, User
from app.builtin.accounts.repository import ApiKeyRepository
from app.builtin.accounts.schemas import (
    ApiKeyCreated,
    ApiKeyOut,
    ApiKeyPage,
    ApiKeyQuery,
    ApiKeyRequest,
    ApiKeyRotation,
)
from app.builtin.accounts.service import AccountApiKeys, ApiKeyDesk, ApiKeyRules, ApiKeyUpkeep, AuditLog
from app.builtin.accounts.service.scopes import InvalidScope
from app.core.context import Principal
from app.core.db import get_db_context
from app.core.errors import BadRequest, Conflict, EntityNotFoundError, PermissionDenied, Unprocessable
from app.core.policies import Admitter, Caller, EpochBook, Epochs, Plan, Verdict
from app.core.security import ApiKeyNotLoaded, ApiKeys, InvalidApiKey, InvalidToken
from app.core.valkey import StoreError, ValkeyClient
from tests.builtin.accounts.desks import NO_STORE, Accounts
from tests.cases import each_case

HERE = "192.0.2.1"
DAY = 86_400.0


class Office:
    """The services of API keys, as one process has them."""

    def __init__(self, accounts: Accounts, store: ValkeyClient) -> None:
        self.accounts = accounts
        self.clock = accounts.clock
        self.uses = AccountApiKeys(accounts.database, self.clock)
        self.keys = ApiKeys(self.uses, self.clock)
        rules = ApiKeyRules(max_days=30, per_user=3)
        book = EpochBook(store, grace_s=60)
        self.desk = ApiKeyDesk(book, AuditLog(self.clock), rules, self.clock)
        self.upkeep = ApiKeyUpkeep(accounts.database, self.clock)
        self.admitter = Admitter(store, clock=self.clock)
        self.admitter.prove_tokens(Epochs(store, accounts.epochs, clock=self.clock, grace_s=60))

    @staticmethod
    def caller(user: User, **rights: Any) -> Principal:
        rights = {"scopes": frozenset(user.scopes), "roles": frozenset(user.roles), **rights}
        return Principal(str(user.id), **rights)

    async def create(self, user: User, caller: Principal | None = None, **options: Any) -> ApiKeyCreated:
        asked = ApiKeyRequest(**{"name": "a program", "scopes": ["read:records"], **options})
        async with get_db_context(self.accounts.database) as db:
            return await self.desk.create(db, caller or self.caller(user), asked)

    async def rotate(
        self, user: User, key_id: UUID, overlap_s: int = 3600, caller: Principal | None = None
    ) -> ApiKeyCreated:
        async with get_db_context(self.accounts.database) as db:
            asked = ApiKeyRotation(overlap_s=overlap_s)
            return await self.desk.rotate(db, caller or self.caller(user), key_id, asked)

    async def revoke(self, user: User, key_id: UUID) -> None:
        async with get_db_context(self.accounts.database) as db:
            await self.desk.revoke(db, self.caller(user), key_id)

    async def get(self, user: User, key_id: UUID) -> ApiKeyOut:
        async with get_db_context(self.accounts.database) as db:
            return await self.desk.get(db, self.caller(user), key_id)

    async def page(self, user: User, **query: Any) -> ApiKeyPage:
        async with get_db_context(self.accounts.database) as db:
            return await self.desk.page(db, self.caller(user), ApiKeyQuery(**query))

    async def verify(self, text: str, address: str = HERE) -> Principal:
        try:
            return self.keys.verify(text, address)
        except ApiKeyNotLoaded as missing:
            await missing.load()
            return self.keys.verify(text, address)

    async def reason(self, text: str) -> str:
        with pytest.raises(InvalidApiKey) as refusal:
            await self.verify(text)
        return refusal.value.reason

    async def is_over(self, principal: Principal) -> bool:
        """Whether ADMIT refuses what this process remembers."""
        admission = await self.admitter.admit(Plan("tests", []), Caller(principal, HERE))
        return admission.verdict is Verdict.REVOKED

    async def audited(self) -> list[tuple[Any, ...]]:
        return await self.accounts.rows("SELECT event, subject_id, detail FROM audit_events ORDER BY id")


@pytest.fixture
def office(accounts: Accounts, store: ValkeyClient) -> Office:
    return Office(accounts, store)


@pytest.fixture
async def ann(accounts: Accounts) -> User:
    return await accounts.add_user()


class TestCreate:
    async def test_the_key_proves_its_owner_with_the_rights_it_was_given(
        self, office: Office, ann: User
    ) -> None:
        created = await office.create(ann)
        principal = await office.verify(created.key)
        assert (principal.id, principal.api_key_id) == (str(ann.id), str(created.id))
        assert (principal.scopes, principal.roles) == (frozenset({"read:records"}), frozenset())
        assert principal.expires_at == office.clock.time() + 30 * DAY
        assert (principal.authenticated_at, principal.methods) == (0.0, ())

    async def test_roles_only_when_they_are_named(self, office: Office, ann: User) -> None:
        created = await office.create(ann, roles=["db_reader"])
        assert (await office.verify(created.key)).roles == {"db_reader"}

    async def test_the_database_has_a_hash_and_no_key(self, office: Office, ann: User) -> None:
        created = await office.create(ann)
        secret = created.key[49:92]
        for table in ("api_keys", "api_key_secrets", "audit_events"):
            [(row,)] = await office.accounts.rows(f"SELECT CAST(t AS text) FROM {table} t")
            assert secret not in row
        [(length,)] = await office.accounts.rows("SELECT octet_length(hash) FROM api_key_secrets")
        assert length == 32

    async def test_it_is_told_in_the_audit_log(self, office: Office, ann: User) -> None:
        created = await office.create(ann, allowed_networks=["10.0.0.0/8", "10.0.0.0/8"])
        [(event, subject, detail)] = await office.audited()
        assert (event, subject) == ("api_key.created", ann.id)
        assert detail["api_key"] == str(created.id)
        assert detail["allowed_networks"] == ["10.0.0.0/8"]

    @pytest.mark.parametrize(
        ("caller", "options", "error"),
        [
            ({}, {"scopes": ["write:credits"]}, InvalidScope),
            ({}, {"scopes": ["no such scope"]}, InvalidScope),
            ({"scopes": frozenset({"read:records"})}, {"scopes": ["write:records"]}, InvalidScope),
            ({"scopes": frozenset({"write:credits"})}, {"scopes": ["write:credits"]}, InvalidScope),
            ({}, {"roles": ["admin"]}, BadRequest),
            ({"roles": frozenset()}, {"roles": ["db_reader"]}, BadRequest),
            ({"roles": frozenset({"admin"})}, {"roles": ["admin"]}, BadRequest),
        ],
    )
    async def test_nothing_that_token_or_user_lacks_is_given(
        self, office: Office, ann: User, caller: dict[str, Any], options: dict[str, Any], error: type
    ) -> None:
        with pytest.raises(error, match="cannot give"):
            await office.create(ann, office.caller(ann, **caller), **options)
        assert await office.audited() == []

    @pytest.mark.parametrize("days", [-1, 0, 30.001, 10_000])
    async def test_an_end_that_is_past_or_too_late_is_refused(
        self, office: Office, ann: User, days: float
    ) -> None:
        with pytest.raises(Unprocessable, match="at most 30 days"):
            await office.create(ann, expires_at=office.accounts.now() + timedelta(days=days))

    async def test_there_are_only_so_many_good_ones(self, office: Office, ann: User) -> None:
        soon = office.accounts.now() + timedelta(seconds=10)
        first, *_ = [await office.create(ann, expires_at=soon) for _ in range(2)]
        await office.create(ann)
        with pytest.raises(Conflict, match="at most 3"):
            await office.create(ann)
        await office.revoke(ann, first.id)
        await office.create(ann)
        office.clock.advance(10)
        await office.create(ann)

    async def test_somebody_inactive_gets_none(self, office: Office, ann: User) -> None:
        await office.accounts.write("UPDATE users SET is_active = false")
        with pytest.raises(InvalidToken):
            await office.create(ann)
        with pytest.raises(InvalidToken):
            await office.create(ann, Principal(str(uuid4())))
        with pytest.raises(InvalidToken):
            await office.create(ann, Principal("nobody of ours"))


@each_case(
    "wrong",
    [
        {"name": ""}, {"name": "a\nb"}, {"name": "x" * 101}, {"name": "\ud800"}, {"scopes": "read:records"}, {"scopes": [""]},
        {"allowed_networks": ["10.0.0.1/8"]}, {"allowed_networks": ["everywhere"]}, {"allowed_networks": ["10.0.0.0/8"] * 33},
        {"allowed_networks": ["10.0.0.0/33"]}, {"expires_at": "2999-01-01T00:00:00"}, {"expires_at": "tomorrow"}, {"more": 1},
    ],
)  # fmt: skip
def test_a_request_that_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ApiKeyRequest(**{"name": "n", "scopes": [], **wrong})


@each_case("overlap_s", [-1, 1, 29, 604_801, True, "60"])
def test_an_overlap_that_processes_could_not_keep_is_refused(overlap_s: Any) -> None:
    with pytest.raises(ValidationError):
        ApiKeyRotation(overlap_s=overlap_s)


class TestSeeing:
    async def test_a_page_shows_how_keys_begin_and_end_and_when_they_were_used(
        self, office: Office, ann: User
    ) -> None:
        created = [await office.create(ann, name=str(i)) for i in range(3)]
        first = await office.page(ann, limit=2)
        rest = await office.page(ann, limit=2, cursor=first.next_cursor)
        shown = [*first.items, *rest.items]
        assert [item.name for item in shown] == ["2", "1", "0"]
        assert rest.next_cursor is None
        for item, key in zip(shown, reversed(created), strict=True):
            assert key.key.startswith(f"{item.prefix}_")
            assert key.key.endswith(item.last_four)
            assert item == await office.get(ann, item.id)
            assert key.key[49:92] not in repr(item)

    async def test_a_key_that_ends_while_it_is_read_is_one_that_is_not_there(
        self, office: Office, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ends, stays = [await office.create(ann, name=name) for name in ("ends", "stays")]
        secrets = ApiKeyRepository.secrets

        async def late(self: ApiKeyRepository, *given: Any) -> Sequence[ApiKeySecret]:
            monkeypatch.undo()
            await office.revoke(ann, ends.id)
            return await secrets(self, *given)

        monkeypatch.setattr(ApiKeyRepository, "secrets", late)
        assert [item.name for item in (await office.page(ann)).items] == ["stays"]
        ends = stays
        monkeypatch.setattr(ApiKeyRepository, "secrets", late)
        with pytest.raises(EntityNotFoundError):
            await office.get(ann, ends.id)

    async def test_another_user_sees_and_changes_none_of_it(
        self, office: Office, ann: User, accounts: Accounts
    ) -> None:
        created = await office.create(ann)
        bob = await accounts.add_user("bob@example.com")
        assert (await office.page(bob)).items == []
        for act in (office.get, office.revoke, office.rotate):
            with pytest.raises(EntityNotFoundError):
                await act(bob, created.id)
        await office.verify(created.key)

    async def test_a_key_that_ends_while_it_is_looked_at_is_none(
        self, office: Office, ann: User, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        created, kept = await office.create(ann), await office.create(ann)
        look = ApiKeyRepository.secrets

        async def end_first(rows: ApiKeyRepository, ids: Sequence[UUID], now: datetime) -> Any:
            monkeypatch.setattr(ApiKeyRepository, "secrets", look)
            await office.revoke(ann, created.id)
            return await look(rows, ids, now)

        monkeypatch.setattr(ApiKeyRepository, "secrets", end_first)
        assert [key.id for key in (await office.page(ann)).items] == [kept.id]
        created = kept
        monkeypatch.setattr(ApiKeyRepository, "secrets", end_first)
        with pytest.raises(EntityNotFoundError):
            await office.get(ann, kept.id)


class TestRevoke:
    async def test_what_another_process_remembers_is_refused_at_once_and_stays_so(
        self, office: Office, ann: User, accounts: Accounts, store: ValkeyClient
    ) -> None:
        other = Office(accounts, store)
        created, kept = await office.create(ann), await office.create(ann)
        known = [await other.verify(key.key) for key in (created, kept)]
        assert [await other.is_over(one) for one in known] == [False, False]
        await office.revoke(ann, created.id)
        assert [await other.is_over(one) for one in known] == [True, False]
        await store.execute("FLUSHDB")
        assert [await other.is_over(one) for one in known] == [True, False]
        other.keys.forget(known[0])
        assert await other.reason(created.key) == "key_unknown"
        with pytest.raises(EntityNotFoundError):
            await office.get(ann, created.id)
        with pytest.raises(EntityNotFoundError):
            await office.revoke(ann, created.id)
        assert [event for event, *_ in await office.audited()] == ["api_key.created"] * 2 + [
            "api_key.revoked"
        ]

    async def test_without_the_store_nothing_has_ended(
        self, office: Office, ann: User, accounts: Accounts
    ) -> None:
        created = await office.create(ann)
        lonely = Office(accounts, ValkeyClient(NO_STORE))
        for act in (lonely.revoke(ann, created.id), lonely.rotate(ann, created.id, 0)):
            with pytest.raises(StoreError):
                await act
        assert (await office.get(ann, created.id)).prefix == created.prefix
        await office.verify(created.key)
        assert [event for event, *_ in await office.audited()] == ["api_key.created"]

    async def test_what_ended_minutes_ago_is_named_no_more(
        self, office: Office, ann: User, accounts: Accounts
    ) -> None:
        created = await office.create(ann)
        await office.revoke(ann, created.id)
        office.clock.advance(300)
        assert len((await accounts.epochs.epoch_of(str(ann.id))).ended) == 1
        office.clock.advance(60)
        assert (await accounts.epochs.epoch_of(str(ann.id))).ended == ()


class TestRotate:
    async def test_both_secrets_are_good_until_the_overlap_is_over(self, office: Office, ann: User) -> None:
        first = await office.create(ann)
        old = await office.verify(first.key)
        second = await office.rotate(ann, first.id, 60)
        assert (second.id, second.name) == (first.id, first.name)
        assert second.old_secret_until == office.accounts.now() + timedelta(seconds=60)
        assert (await office.verify(second.key)).api_key_id == old.api_key_id
        office.clock.advance(59)
        principals = [await office.verify(key.key) for key in (first, second)]
        assert [await office.is_over(one) for one in principals] == [False, False]
        office.clock.advance(1)
        assert await office.reason(first.key) == "key_expired"
        await office.verify(second.key)
        assert (await office.get(ann, first.id)).old_secret_until is None

    async def test_without_an_overlap_the_old_one_is_refused_at_once_where_it_is_remembered(
        self, office: Office, ann: User, accounts: Accounts, store: ValkeyClient
    ) -> None:
        other = Office(accounts, store)
        first = await office.create(ann)
        old = await other.verify(first.key)
        second = await office.rotate(ann, first.id, 0)
        assert await other.is_over(old)
        assert not await other.is_over(await other.verify(second.key))
        await store.execute("FLUSHDB")
        assert await other.is_over(old)
        assert second.old_secret_until is None

    async def test_a_second_rotation_ends_what_was_before_the_first(self, office: Office, ann: User) -> None:
        first = await office.create(ann)
        oldest = await office.verify(first.key)
        second = await office.rotate(ann, first.id)
        third = await office.rotate(ann, first.id)
        assert await office.is_over(oldest)
        principals = [await office.verify(key.key) for key in (second, third)]
        assert [await office.is_over(one) for one in principals] == [False, False]

    async def test_a_deleted_key_takes_both_secrets_with_it(self, office: Office, ann: User) -> None:
        first = await office.create(ann)
        second = await office.rotate(ann, first.id)
        principals = [await office.verify(key.key) for key in (first, second)]
        await office.revoke(ann, first.id)
        assert [await office.is_over(one) for one in principals] == [True, True]

    async def test_a_token_of_fewer_rights_gets_no_secret(self, office: Office, ann: User) -> None:
        created = await office.create(ann, roles=["db_reader"])
        for narrow in ({"scopes": frozenset({"write:records"})}, {"roles": frozenset({"admin"})}):
            with pytest.raises(PermissionDenied, match="more than the presented token"):
                await office.rotate(ann, created.id, caller=office.caller(ann, **narrow))

    async def test_an_expired_key_gets_none_either(self, office: Office, ann: User) -> None:
        created = await office.create(ann, expires_at=office.accounts.now() + timedelta(seconds=5))
        office.clock.advance(5)
        assert await office.reason(created.key) == "key_expired"
        with pytest.raises(Conflict, match="expired"):
            await office.rotate(ann, created.id)


class TestOwner:
    @pytest.mark.parametrize(
        ("change", "reason"),
        [("UPDATE users SET is_active = false", "inactive"), ("DELETE FROM users", "inactive")],
    )
    async def test_a_key_of_somebody_inactive_or_gone_is_none(
        self, office: Office, ann: User, change: str, reason: Any
    ) -> None:
        created = await office.create(ann)
        known = await office.verify(created.key)
        async with get_db_context(office.accounts.database) as db:
            await office.accounts.revocation.end_all_sessions(db, ann.id, reason)
        await office.accounts.write(change)
        assert await office.is_over(known)
        office.keys.forget(known)
        assert await office.reason(created.key) == "key_unknown"

    async def test_signing_out_everywhere_makes_processes_look_again_and_the_key_goes_on(
        self, office: Office, ann: User
    ) -> None:
        created = await office.create(ann)
        known = await office.verify(created.key)
        for _ in range(2):
            async with get_db_context(office.accounts.database) as db:
                await office.accounts.revocation.end_all_sessions(db, ann.id, "logout_everywhere")
            assert await office.is_over(known)
            office.keys.forget(known)
            known = await office.verify(created.key)
            assert not await office.is_over(known)
            office.clock.advance(1)

    async def test_a_process_whose_clock_is_wrong_judges_keys_no_differently(
        self, office: Office, ann: User
    ) -> None:
        created = await office.create(ann)
        async with get_db_context(office.accounts.database) as db:
            await office.accounts.revocation.end_all_sessions(db, ann.id, "password_changed")
        slow = ApiKeys(office.uses, type(office.clock)(start=office.clock.time() - 500))
        with pytest.raises(ApiKeyNotLoaded) as missing:
            slow.verify(created.key, HERE)
        await missing.value.load()
        assert not await office.is_over(slow.verify(created.key, HERE))

    async def test_it_loses_what_its_owner_loses_and_gains_nothing_with_him(
        self, office: Office, ann: User
    ) -> None:
        created = await office.create(ann, scopes=["read:records", "write:records"], roles=["db_reader"])
        await office.accounts.write(
            "UPDATE users SET scopes = '{write:records,write:credits}', roles = '{admin}'"
        )
        principal = await office.verify(created.key)
        assert (principal.scopes, principal.roles) == (frozenset({"write:records"}), frozenset())


class TestUse:
    async def last_used(self, office: Office) -> Any:
        [(at,)] = await office.accounts.rows("SELECT last_used_at FROM api_keys")
        return at

    async def test_it_is_written_later_and_once_a_minute(self, office: Office, ann: User) -> None:
        created = await office.create(ann)
        await office.verify(created.key)
        assert await self.last_used(office) is None
        first = office.accounts.now()
        await office.uses.flush()
        assert await self.last_used(office) == first
        office.clock.advance(30)
        office.uses.used(await office.verify(created.key))
        await office.uses.flush()
        assert await self.last_used(office) == first
        office.clock.advance(30)
        await office.verify(created.key)
        await office.uses.aclose()
        assert await self.last_used(office) == office.accounts.now()
        assert (await office.get(ann, created.id)).last_used_at == office.accounts.now()


async def test_what_is_long_over_is_deleted(office: Office, ann: User) -> None:
    revoked, rotated = await office.create(ann), await office.create(ann)
    await office.revoke(ann, revoked.id)
    await office.rotate(ann, rotated.id, 0)
    office.clock.advance(3 * DAY + 1)
    assert await office.upkeep.purge() == 0
    assert await office.accounts.rows("SELECT count(*) FROM api_key_secrets") == [(1,)]
    office.clock.advance(27 * DAY)
    assert await office.upkeep.purge() == 1
    assert await office.accounts.rows("SELECT id FROM api_keys") == [(rotated.id,)]
    office.clock.advance(30 * DAY)
    assert await office.upkeep.purge() == 1
    assert await office.accounts.rows("SELECT id FROM api_key_secrets") == []
