"""``/credits`` over HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.builtin.accounts.models import User
from app.builtin.credits.service import set_plan
from app.core.db import Database, get_db_context
from app.core.policies import CREDIT, CreditLedger, HoldBook, account_key
from app.registry import FEATURES
from app.settings import Settings
from tests.builtin.credits.books import charge, debit_of, entries, give
from tests.gated import Service, bearer, serving

CREDITS = next(feature for feature in FEATURES if feature.name == "credits")
TOMORROW = (datetime.now(UTC) + timedelta(days=1)).isoformat()


@pytest.fixture
async def service(settings: Settings, clean_store: None, clean_database: None) -> AsyncIterator[Service]:
    async with serving(settings, CREDITS) as service:
        yield service
        for close in service.platform.on_stop:
            if (waiting := close()) is not None:
                await waiting


@pytest.fixture
async def user(database: Database, clean_database: None) -> UUID:
    """Somebody who can be given credits."""
    async with get_db_context(database) as session:
        user = User(email=f"{uuid4()}@example.com", password_hash="none")
        session.add(user)
        await session.flush()
        return user.id


def admin(key: str | None = None) -> dict[str, str]:
    header = bearer(UUID(int=1), scopes=["write:credits"], roles=["admin"])
    return {**header, "Idempotency-Key": key or uuid4().hex}


def owner(user: UUID) -> dict[str, str]:
    return bearer(user, scopes=["read:credits"])


async def post(
    service: Service, user: UUID | str, amount: int = 10, *, key: str | None = None, **body: Any
) -> httpx2.Response:
    return await service.client.post(
        "/credits/grants", json={"account": str(user), "amount": amount, **body}, headers=admin(key)
    )


class TestRead:
    async def test_somebody_who_was_never_given_anything_has_nothing(
        self, service: Service, user: UUID
    ) -> None:
        answer = await service.client.get("/credits", headers=owner(user))
        assert answer.json() == {
            "balance": 0,
            "balance_micro": 0,
            "held_micro": 0,
            "plan": "default",
            "time_zone": "UTC",
            "usage": {"today_micro": 0, "month_micro": 0},
        }

    async def test_balance_holds_plan_and_use(self, service: Service, database: Database, user: UUID) -> None:
        ledger = service.platform.require(CreditLedger)  # type: ignore[type-abstract]
        await give(database, str(user), 10)
        await charge(database, ledger, debit_of(str(user), 2.5))  # type: ignore[arg-type]
        async with get_db_context(database) as session:
            await set_plan(session, str(user), plan="pro", time_zone="Pacific/Kiritimati")
        await service.platform.store.execute("HSET", account_key(str(user)), "h", 3 * CREDIT)
        body = (await service.client.get("/credits", headers=owner(user))).json()
        assert (body["balance"], body["balance_micro"], body["held_micro"]) == (7, 7_500_000, 3_000_000)
        assert (body["plan"], body["time_zone"]) == ("pro", "Pacific/Kiritimati")
        assert body["usage"] == {"today_micro": 2_500_000, "month_micro": 2_500_000}

    async def test_without_the_store_it_does_not_say_what_is_held(
        self, make_settings: Any, database: Database, user: UUID
    ) -> None:
        await give(database, str(user), 10)
        async with serving(make_settings(valkey_url="valkey://127.0.0.1:1/0"), CREDITS) as service:
            body = (await service.client.get("/credits", headers=owner(user))).json()
        assert (body["balance"], body["held_micro"]) == (10, None)

    async def test_the_scope_is_asked_for(self, service: Service, user: UUID) -> None:
        for path in ("/credits", "/credits/ledger"):
            assert (await service.client.get(path, headers=bearer(user))).status_code == 403


class TestLedger:
    async def test_pages_cover_the_own_entries_once_newest_first(
        self, service: Service, database: Database, user: UUID
    ) -> None:
        for amount in range(1, 8):
            await give(database, str(user), amount, note=f"number {amount}")
        await give(database, "somebody else", 99)
        seen, cursor, pages = [], None, 0
        while True:
            query = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            page = (await service.client.get("/credits/ledger", params=query, headers=owner(user))).json()
            seen += [(item["kind"], item["amount_micro"], item["note"]) for item in page["items"]]
            pages += 1
            if (cursor := page["next_cursor"]) is None:
                break
        assert seen == [("grant", amount * CREDIT, f"number {amount}") for amount in range(7, 0, -1)]
        assert pages == 3

    async def test_a_debit_says_what_it_was_for_and_what_was_not_covered(
        self, service: Service, database: Database, user: UUID
    ) -> None:
        ledger = service.platform.require(CreditLedger)  # type: ignore[type-abstract]
        await give(database, str(user), 1)
        debit = debit_of(str(user), 3)._replace(policy="records_get", request_id="r-1")
        await charge(database, ledger, debit)  # type: ignore[arg-type]
        (item, _) = (await service.client.get("/credits/ledger", headers=owner(user))).json()["items"]
        assert (item["amount_micro"], item["overage_micro"]) == (-CREDIT, 2 * CREDIT)
        assert (item["policy"], item["request_id"], item["note"]) == ("records_get", "r-1", None)

    @pytest.mark.parametrize(
        "query",
        [
            "limit=0",
            "limit=101",
            "limit=x",
            "cursor=x",
            "cursor=",
            "cursor=%00",
            "cursor=AAAAAAAAAAA%3D%0A",
            "surprise=1",
        ],
    )
    async def test_a_query_that_makes_no_sense_is_422(self, service: Service, user: UUID, query: str) -> None:
        answer = await service.client.get(f"/credits/ledger?{query}", headers=owner(user))
        assert answer.status_code == 422


class TestGrant:
    async def test_is_booked_and_shown(self, service: Service, database: Database, user: UUID) -> None:
        answer = await post(service, user, 10, note="welcome", expires_at=TOMORROW, priority=1, is_paid=True)
        assert answer.status_code == 201, answer.text
        body = answer.json()
        assert (body["account"], body["balance"], body["balance_micro"]) == (str(user), 10, 10 * CREDIT)
        assert await entries(database, str(user)) == [("grant", 10, 0)]

    async def test_is_known_to_the_store_at_once_if_the_account_is_there(
        self, service: Service, database: Database, user: UUID
    ) -> None:
        ledger = service.platform.require(CreditLedger)  # type: ignore[type-abstract]
        await give(database, str(user), 1)
        await HoldBook(service.platform.store).load(str(user), await ledger.balance(str(user)))
        await post(service, user, 10)
        for _ in range(1000):
            if await service.platform.store.execute("HGET", account_key(str(user)), "b") == b"11000000":
                break
            await asyncio.sleep(0.002)
        assert await service.platform.store.execute("HMGET", account_key(str(user)), "b", "v") == [
            b"11000000",
            b"2",
        ]

    async def test_of_one_key_is_given_once(self, service: Service, database: Database, user: UUID) -> None:
        first, again = [await post(service, user, key="k-1") for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 201)
        assert first.json()["id"] == again.json()["id"]
        assert len(await entries(database, str(user))) == 1

    @pytest.mark.parametrize(
        "key",
        ["k" * 255, '"' + "k" * 255 + '"', '"' + '\\"' * 255 + '"', '"' + "\\\\" * 151 + '"'],
        ids=["word", "quoted", "escaped quotes", "escaped backslashes"],
    )
    async def test_every_key_that_is_well_formed_is_taken_however_it_is_written(
        self, service: Service, database: Database, user: UUID, key: str
    ) -> None:
        assert (await post(service, user, key=key)).status_code == 201
        assert len(await entries(database, str(user))) == 1

    @pytest.mark.parametrize("key", ["k" * 256, '"' + "k" * 256 + '"', '"k', '"k"k"', "k k"])
    async def test_a_key_that_is_none_is_400(
        self, service: Service, database: Database, user: UUID, key: str
    ) -> None:
        assert (await post(service, user, key=key)).status_code == 400
        assert await entries(database, str(user)) == []

    async def test_two_keys_that_differ_in_quotes_only_are_two_grants_and_two_forms_of_one_are_one(
        self, service: Service, database: Database, user: UUID
    ) -> None:
        for key in ("k", 'k"', '"k"'):
            assert (await post(service, user, key=key)).status_code == 201
        assert len(await entries(database, str(user))) == 2

    async def test_a_key_of_another_grant_is_refused(
        self, service: Service, database: Database, user: UUID
    ) -> None:
        await post(service, user, 10, key="k-1")
        assert (await post(service, user, 11, key="k-1")).status_code in (409, 422)
        assert len(await entries(database, str(user))) == 1

    async def test_keys_of_two_administrators_do_not_meet(
        self, service: Service, database: Database, user: UUID
    ) -> None:
        await post(service, user, 10, key="k-1")
        other = {**admin("k-1"), **bearer(UUID(int=2), scopes=["write:credits"], roles=["admin"])}
        body = {"account": str(user), "amount": 10}
        assert (await service.client.post("/credits/grants", json=body, headers=other)).status_code == 201
        assert len(await entries(database, str(user))) == 2

    @pytest.mark.parametrize("account", [str(UUID(int=5)), "nobody", "%", "é"])
    async def test_to_nobody_is_404(self, service: Service, account: str) -> None:
        assert (await post(service, account)).status_code == 404

    async def test_to_an_owner_of_another_issuer_who_has_an_account(
        self, service: Service, database: Database
    ) -> None:
        await give(database, "auth0|123", 1)
        assert (await post(service, "auth0|123")).json()["balance"] == 11

    @pytest.mark.parametrize(
        "change",
        [
            {"amount": 0}, {"amount": -1}, {"amount": 1.5}, {"amount": "10"}, {"amount": True}, {"amount": 10**9 + 1}, {"amount": None},
            {"account": ""}, {"account": "x" * 201}, {"account": "a\x00b"}, {"account": 5}, {"priority": 101}, {"priority": -1},
            {"expires_at": "2020-01-01T00:00:00Z"}, {"expires_at": "2999-01-01T00:00:00"}, {"expires_at": "soon"}, {"note": "x" * 201},
            {"note": "a\nb"}, {"is_paid": "yes"}, {"surprise": 1},
        ],
        ids=str,
    )  # fmt: skip
    async def test_nonsense_is_422_and_grants_nothing(
        self, service: Service, database: Database, user: UUID, change: dict[str, Any]
    ) -> None:
        body = {"account": str(user), "amount": 10, **change}
        answer = await service.client.post("/credits/grants", json=body, headers=admin())
        assert answer.status_code == 422
        assert await entries(database, str(user)) == []

    @pytest.mark.parametrize(
        "rights",
        [
            {"scopes": ["write:credits"]},
            {"roles": ["admin"]},
            {"scopes": ["read:credits"], "roles": ["admin"]},
        ],
    )
    async def test_needs_the_role_and_the_scope(
        self, service: Service, user: UUID, rights: dict[str, list[str]]
    ) -> None:
        headers = {**admin(), **bearer(user, **rights)}
        body = {"account": str(user), "amount": 10}
        assert (await service.client.post("/credits/grants", json=body, headers=headers)).status_code == 403

    async def test_more_than_an_account_can_hold_is_422(
        self, service: Service, database: Database, user: UUID
    ) -> None:
        for _ in range(9):
            await give(database, str(user), 1_000_000_000)
        assert (await post(service, user, 1_000_000_000)).status_code == 422


async def test_the_keepers_are_registered(service: Service) -> None:
    assert CREDITS.periodic is not None
    tasks = {task.name: task for task in CREDITS.periodic(service.platform)}
    assert set(tasks) == {"credits.sweep", "credits.reconcile", "credits.expire"}
    assert tasks["credits.sweep"].every_s <= 5
    for task in tasks.values():
        assert task.leader
        await task.work()
