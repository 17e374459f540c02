"""What is in force over the wire: the documents' numbers for one record, and what writes do."""

import asyncio
import time
from collections import Counter
from math import ceil
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.core.db import Database
from app.core.policies import CREDIT
from tests.credited import balance_of, give
from tests.features.records.conftest import BALANCE, READ, ROLE, WRITE
from tests.gated import Service, bearer

PRICE = 2


async def stored(client: httpx2.AsyncClient, name: str = "a") -> str:
    """Where a new record is."""
    answer = await client.post("/records", json={"name": name})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"]


def is_hit(answer: httpx2.Response) -> bool:
    return answer.headers.get("cache-status", "").startswith("gatehouse; hit")


async def spent(database: Database, owner: UUID) -> float:
    """Credits that the ledger has taken from him."""
    return BALANCE - await balance_of(database, str(owner)) / CREDIT


class TestPrice:
    async def test_a_read_costs_two_credits_and_lists_and_writes_cost_none(
        self, client: httpx2.AsyncClient, owner: UUID, database: Database
    ) -> None:
        path = await stored(client)
        assert (await client.get("/records")).status_code == 200
        assert (await client.patch(path, json={"tags": ["t"]})).status_code == 200
        assert await spent(database, owner) == 0
        assert (await client.get(path)).status_code == 200
        assert await spent(database, owner) == PRICE

    @pytest.mark.parametrize("balance", [0, 1])
    async def test_whose_credits_do_not_reach_gets_402_and_keeps_them(
        self, service: Service, database: Database, balance: int
    ) -> None:
        poor = uuid4()
        if balance:
            await give(database, str(poor), balance)
        headers = bearer(poor, scopes=(READ,), roles=(ROLE,))
        answer = await service.client.get(f"/records/{uuid4()}", headers=headers)
        problem = answer.json()
        assert (answer.status_code, problem["policy"]) == (402, "records_get")
        assert (problem["required"], problem["available"]) == (PRICE, balance)
        assert "retry-after" not in answer.headers
        assert (await service.client.get("/records", headers=headers)).status_code == 200
        assert await balance_of(database, str(poor)) == balance * CREDIT

    async def test_a_record_that_is_not_there_costs_nothing_and_is_not_kept(
        self, client: httpx2.AsyncClient, owner: UUID, database: Database
    ) -> None:
        path = f"/records/{uuid4()}"
        answers = [await client.get(path) for _ in range(2)]
        assert [(answer.status_code, is_hit(answer)) for answer in answers] == [(404, False)] * 2
        assert await spent(database, owner) == 0


class TestLimit:
    async def test_five_at_once_and_one_a_second_then_429(self, client: httpx2.AsyncClient) -> None:
        path, started = await stored(client), time.monotonic()
        answers = await asyncio.gather(*(client.get(path) for _ in range(40)))
        refilled = ceil(time.monotonic() - started)
        statuses = Counter(answer.status_code for answer in answers)
        assert 5 <= statuses[200] <= 5 + refilled
        assert statuses[200] + statuses[429] == 40
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert (refused.json()["policy"], refused.json()["violated-policies"]) == ("records_get", ["user"])
        assert int(refused.headers["retry-after"]) >= 1
        assert '"user";q=5;w=5' in refused.headers["ratelimit-policy"]

    async def test_other_endpoints_have_limits_of_their_own(self, client: httpx2.AsyncClient) -> None:
        path = await stored(client)
        await asyncio.gather(*(client.get(path) for _ in range(20)))
        assert (await client.get("/records")).status_code == 200
        assert (await client.patch(path, json={"tags": ["t"]})).status_code == 200


class TestCache:
    async def test_the_second_read_is_a_hit_with_the_same_bytes_and_free(
        self, client: httpx2.AsyncClient, owner: UUID, database: Database
    ) -> None:
        path = await stored(client)
        first, second = await client.get(path), await client.get(path)
        assert (first.status_code, is_hit(first)) == (200, False)
        assert (second.status_code, is_hit(second)) == (200, True)
        assert second.content == first.content
        assert second.headers["etag"] == first.headers["etag"]
        kind, age = second.headers["cache-control"].split(", max-age=")
        assert kind == "private"
        assert 265 <= int(age) <= 330  # 300 seconds, spread by a tenth, less what this test took
        assert await spent(database, owner) == PRICE

    async def test_a_parameter_that_nobody_knows_makes_no_other_answer(
        self, client: httpx2.AsyncClient
    ) -> None:
        path = await stored(client)
        assert [is_hit(await client.get(path + query)) for query in ("", "?x=1")] == [False, True]

    async def test_who_has_it_already_gets_304_and_pays_nothing(
        self, client: httpx2.AsyncClient, owner: UUID, database: Database
    ) -> None:
        path = await stored(client)
        etag = (await client.get(path)).headers["etag"]
        answer = await client.get(path, headers={"If-None-Match": etag})
        assert (answer.status_code, answer.content) == (304, b"")
        assert await spent(database, owner) == PRICE

    async def test_a_change_is_seen_by_the_next_read(
        self, client: httpx2.AsyncClient, owner: UUID, database: Database
    ) -> None:
        path = await stored(client)
        before = await client.get(path)
        changed = await client.patch(path, json={"tags": ["new"]})
        after = await client.get(path, headers={"If-None-Match": before.headers["etag"]})
        assert (after.status_code, is_hit(after)) == (200, False)
        assert after.json() == changed.json()
        assert after.json()["tags"] == ["new"]
        assert await spent(database, owner) == 2 * PRICE

    async def test_what_was_deleted_is_gone_at_once(self, client: httpx2.AsyncClient) -> None:
        path = await stored(client)
        assert (await client.get(path)).status_code == 200
        assert (await client.delete(path)).status_code == 204
        assert (await client.get(path)).status_code == 404

    async def test_a_new_record_ends_what_was_kept(self, client: httpx2.AsyncClient) -> None:
        path = await stored(client, "a")
        await client.get(path)
        await stored(client, "b")
        assert [is_hit(await client.get(path)) for _ in range(2)] == [False, True]

    @pytest.mark.parametrize(
        ("method", "path", "body", "status"),
        [
            ("POST", "/records", {"name": "a"}, 409),
            ("PATCH", "{path}", {"name": ""}, 422),
            ("PATCH", "/records/{other}", {"name": "b"}, 404),
            ("DELETE", "/records/{other}", None, 404),
        ],
    )
    async def test_a_write_that_was_refused_ends_nothing(
        self, client: httpx2.AsyncClient, method: str, path: str, body: Any, status: int
    ) -> None:
        kept = await stored(client, "a")
        await client.get(kept)
        answer = await client.request(method, path.format(path=kept, other=uuid4()), json=body)
        assert answer.status_code == status
        assert is_hit(await client.get(kept))

    async def test_another_user_never_sees_it_and_ends_nothing_of_its_owner(
        self, client: httpx2.AsyncClient, database: Database
    ) -> None:
        path, other = await stored(client), uuid4()
        kept = await client.get(path)
        await give(database, str(other), 10)
        stranger = bearer(other, scopes=(READ, WRITE), roles=(ROLE,))
        for headers in (stranger, {**stranger, "If-None-Match": kept.headers["etag"]}):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, is_hit(answer)) == (404, False)
        assert (await client.patch(path, json={"name": "mine"}, headers=stranger)).status_code == 404
        assert await balance_of(database, str(other)) == 10 * CREDIT
        assert is_hit(await client.get(path))

    async def test_who_lost_the_role_gets_403_and_not_what_was_kept(
        self, client: httpx2.AsyncClient, owner: UUID
    ) -> None:
        path = await stored(client)
        assert (await client.get(path)).status_code == 200
        refused = await client.get(path, headers=bearer(owner, scopes=(READ,)))
        assert (refused.status_code, refused.json()["required_roles"]) == (403, [ROLE])


class TestIdempotency:
    KEY = {"Idempotency-Key": "order-7"}  # noqa: RUF012 - never changed

    async def names(self, client: httpx2.AsyncClient) -> list[str]:
        return [item["name"] for item in (await client.get("/records")).json()["items"]]

    async def test_the_same_request_is_done_once_and_answered_twice(self, client: httpx2.AsyncClient) -> None:
        first, again = [await client.post("/records", json={"name": "a"}, headers=self.KEY) for _ in range(2)]
        assert (first.status_code, again.status_code) == (201, 201)
        assert again.content == first.content
        assert again.headers["location"] == first.headers["location"]
        assert "idempotent-replayed" not in first.headers
        assert again.headers["idempotent-replayed"] == "true"
        assert await self.names(client) == ["a"]

    async def test_of_many_at_once_one_makes_the_record(self, client: httpx2.AsyncClient) -> None:
        answers = await asyncio.gather(
            *(client.post("/records", json={"name": "a"}, headers=self.KEY) for _ in range(20))
        )
        made = [answer for answer in answers if answer.status_code == 201]
        others = [answer for answer in answers if answer.status_code != 201]
        assert len({answer.content for answer in made}) == 1
        assert sum("idempotent-replayed" not in answer.headers for answer in made) == 1
        assert {(answer.status_code, answer.json()["reason"]) for answer in others} <= {(409, "in_flight")}
        assert await self.names(client) == ["a"]

    async def test_the_key_of_another_body_is_422(self, client: httpx2.AsyncClient) -> None:
        await client.post("/records", json={"name": "a"}, headers=self.KEY)
        answer = await client.post("/records", json={"name": "b"}, headers=self.KEY)
        assert (answer.status_code, answer.json()["policy"]) == (422, "records_create")
        assert await self.names(client) == ["a"]

    async def test_another_users_key_is_another_key(self, client: httpx2.AsyncClient) -> None:
        await client.post("/records", json={"name": "a"}, headers=self.KEY)
        deleted = bearer(uuid4(), scopes=(WRITE,))
        answer = await client.post("/records", json={"name": "a"}, headers={**deleted, **self.KEY})
        assert answer.status_code == 401  # its own answer: this user has no account to own a record

    async def test_without_a_key_a_second_one_is_a_request_of_its_own(
        self, client: httpx2.AsyncClient
    ) -> None:
        answers = [await client.post("/records", json={"name": "a"}) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [201, 409]

    async def test_a_refused_record_leaves_its_key_free(self, client: httpx2.AsyncClient) -> None:
        taken = await stored(client, "a")
        assert (await client.post("/records", json={"name": "a"}, headers=self.KEY)).status_code == 409
        assert (await client.delete(taken)).status_code == 204
        again = await client.post("/records", json={"name": "a"}, headers=self.KEY)
        assert (again.status_code, "idempotent-replayed" in again.headers) == (201, False)
