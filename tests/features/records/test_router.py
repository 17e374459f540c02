import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import httpx2
import pytest

from app.core.db import Database, QueryWatch
from tests.credited import give
from tests.features.records.conftest import READ, ROLE, WRITE
from tests.gated import Service, bearer


async def create(client: httpx2.AsyncClient, name: str = "a", **values: Any) -> dict[str, Any]:
    answer = await client.post("/records", json={"name": name, **values})
    assert answer.status_code == 201, answer.text
    body: dict[str, Any] = answer.json()
    return body


def assert_problem(answer: httpx2.Response, status: int, detail: str | None = None) -> dict[str, Any]:
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    body: dict[str, Any] = answer.json()
    assert body["status"] == status
    if detail is not None:
        assert body["detail"] == detail
    return body


class TestLife:
    async def test_created_read_changed_listed_and_deleted(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/records", json={"name": "a", "tags": ["t"], "payload": {"k": [1, "ü"]}})
        assert answer.status_code == 201
        made = answer.json()
        assert answer.headers["location"] == f"/records/{made['id']}"
        assert set(made) == {"id", "name", "tags", "payload", "version", "created_at", "updated_at"}
        assert (await client.get(answer.headers["location"])).json() == made

        changed = await client.patch(f"/records/{made['id']}", json={"tags": []})
        assert changed.status_code == 200
        assert (changed.json()["tags"], changed.json()["version"]) == ([], 2)
        listed = (await client.get("/records")).json()
        assert listed == {"items": [changed.json()], "next_cursor": None}

        gone = await client.delete(f"/records/{made['id']}")
        assert (gone.status_code, gone.content) == (204, b"")
        assert_problem(await client.get(f"/records/{made['id']}"), 404, "Record not found")

    async def test_pages_are_followed_by_the_cursor(self, client: httpx2.AsyncClient) -> None:
        for number in range(5):
            await create(client, str(number))
        seen, cursor = [], None
        while True:
            parameters = {"limit": 2} | ({"cursor": cursor} if cursor else {})
            page = (await client.get("/records", params=parameters)).json()
            seen += [item["name"] for item in page["items"]]
            if (cursor := page["next_cursor"]) is None:
                break
        assert seen == ["4", "3", "2", "1", "0"]

    async def test_a_tag_filters(self, client: httpx2.AsyncClient) -> None:
        await create(client, "a", tags=["red"])
        await create(client, "b", tags=["blue"])
        page = (await client.get("/records", params={"tag": "red"})).json()
        assert [item["name"] for item in page["items"]] == ["a"]


class TestRights:
    @pytest.mark.parametrize(
        ("method", "path"),
        [("GET", ""), ("GET", "/{id}"), ("POST", ""), ("PATCH", "/{id}"), ("DELETE", "/{id}")],
    )
    async def test_without_a_token_nothing_is_told(self, service: Service, method: str, path: str) -> None:
        answer = await service.client.request(method, "/records" + path.format(id=uuid4()), json={})
        assert_problem(answer, 401)
        assert answer.headers["www-authenticate"].startswith("Bearer")

    @pytest.mark.parametrize(
        ("method", "scopes", "roles", "missing"),
        [
            ("GET", (), (ROLE,), READ),
            ("GET", (WRITE,), (ROLE,), READ),
            ("GET", (READ,), (), ROLE),
            ("GET", (READ,), ("io_user",), ROLE),
            ("POST", (READ,), (ROLE,), WRITE),
        ],
    )
    async def test_what_is_missing_is_named(
        self, service: Service, method: str, scopes: tuple[str, ...], roles: tuple[str, ...], missing: str
    ) -> None:
        headers = bearer(uuid4(), scopes=scopes, roles=roles)
        answer = await service.client.request(method, "/records", json={"name": "a"}, headers=headers)
        assert missing in (assert_problem(answer, 403)["detail"] or "")

    async def test_writing_needs_no_role_and_reading_no_write_scope(
        self, service: Service, owner: UUID
    ) -> None:
        made = await service.client.post(
            "/records", json={"name": "a"}, headers=bearer(owner, scopes=(WRITE,))
        )
        assert made.status_code == 201
        read = await service.client.get("/records", headers=bearer(owner, scopes=(READ,), roles=(ROLE,)))
        assert [item["id"] for item in read.json()["items"]] == [made.json()["id"]]

    @pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
    async def test_another_users_record_is_as_absent_as_one_that_never_was(
        self, client: httpx2.AsyncClient, database: Database, method: str
    ) -> None:
        made, user = await create(client), uuid4()
        await give(database, str(user), 10)
        stranger = bearer(user, scopes=(READ, WRITE), roles=(ROLE,))
        answers = [
            await client.request(method, f"/records/{identity}", json={"name": "mine"}, headers=stranger)
            for identity in (made["id"], uuid4())
        ]
        bodies = [assert_problem(answer, 404, "Record not found") for answer in answers]
        for body in bodies:
            del body["instance"], body["request_id"]
        assert bodies[0] == bodies[1]
        assert (await client.get(f"/records/{made['id']}")).json() == made

    async def test_a_caller_who_is_no_user_has_no_records(self, service: Service) -> None:
        from tests.gated import TOKENS

        token = TOKENS.issue("somebody", scopes=(READ,), roles=(ROLE,)).token
        answer = await service.client.get("/records", headers={"Authorization": f"Bearer {token}"})
        assert_problem(answer, 403)


class TestBadInput:
    @pytest.mark.parametrize(
        "body",
        [
            {},
            {"name": ""},
            {"name": "x" * 201},
            {"name": "a\0b"},
            {"name": 1},
            {"name": "x", "unknown": 1},
            {"name": "x", "payload": {"a": "\0"}},
            {"name": "x", "payload": {"a": "x" * 16_384}},
            [],
            "x",
            None,
        ],
    )
    async def test_a_record_that_cannot_be_stored_is_422_and_nothing_is_written(
        self, client: httpx2.AsyncClient, body: Any
    ) -> None:
        assert_problem(await client.post("/records", json=body), 422)
        assert (await client.get("/records")).json()["items"] == []

    @pytest.mark.parametrize(
        ("body", "status"),
        [
            (b'{"name": "\\ud800"}', 422),
            (b'{"name": "x", "payload": {"a": "\\udfff"}}', 422),
            (b'{"name": "x", "payload": {"a": NaN}}', 422),
            (b'{"name": "x", "payload": {"a": 1e999}}', 422),
            (b'{"name": "x", "payload": {"a": ' + b"9" * 400 + b"}}", 422),
            (b'{"name": "x", "payload": ' + b'{"a":' * 50 + b"1" + b"}" * 50 + b"}", 422),
            (b'{"name": "x"', 422),
            (b"\xff\xfe", 422),
            (b'{"name": "x", "payload": {"a": ' + b"9" * 5000 + b"}}", 400),
            (b'{"name": "x", "payload": ' + b"[" * 20_000 + b"]" * 20_000 + b"}", 400),
        ],
    )
    async def test_hostile_json_is_the_callers_fault(
        self, client: httpx2.AsyncClient, body: bytes, *, status: int
    ) -> None:
        answer = await client.post("/records", content=body, headers={"content-type": "application/json"})
        assert_problem(answer, status)

    async def test_null_is_refused_in_a_change(self, client: httpx2.AsyncClient) -> None:
        made = await create(client)
        problem = assert_problem(await client.patch(f"/records/{made['id']}", json={"tags": None}), 422)
        assert problem["errors"][0]["loc"] == ["body", "tags"]

    @pytest.mark.parametrize(
        ("parameters", "name"),
        [
            ({"cursor": "x"}, "cursor"),
            ({"cursor": "A" * 31 + "!"}, "cursor"),
            ({"limit": 101}, "limit"),
            ({"limit": 0}, "limit"),
            ({"page": 1}, "page"),
            ({"tag": ""}, "tag"),
        ],
    )
    async def test_a_bad_parameter_is_named(
        self, client: httpx2.AsyncClient, parameters: dict[str, Any], name: str
    ) -> None:
        problem = assert_problem(await client.get("/records", params=parameters), 422)
        assert problem["errors"][0]["loc"] == ["query", name]

    async def test_an_id_that_is_none_is_422(self, client: httpx2.AsyncClient) -> None:
        problem = assert_problem(await client.get("/records/x"), 422)
        assert problem["errors"][0]["loc"] == ["path", "record_id"]

    async def test_a_body_beyond_the_cap_is_413(self, client: httpx2.AsyncClient) -> None:
        body = json.dumps({"name": "x", "payload": {"a": "x" * 70_000}})
        answer = await client.post("/records", content=body, headers={"content-type": "application/json"})
        assert_problem(answer, 413)


class TestConflicts:
    async def test_a_taken_name_is_409_on_create_and_on_change(self, client: httpx2.AsyncClient) -> None:
        await create(client, "a")
        other = await create(client, "b")
        detail = "A record of this name already exists"
        assert_problem(await client.post("/records", json={"name": " a "}), 409, detail)
        assert_problem(await client.patch(f"/records/{other['id']}", json={"name": "a"}), 409, detail)
        assert (await client.get(f"/records/{other['id']}")).json() == other

    async def test_of_many_creators_at_once_one_wins_and_none_sees_an_error_of_ours(
        self, client: httpx2.AsyncClient
    ) -> None:
        answers = await asyncio.gather(*(client.post("/records", json={"name": "a"}) for _ in range(10)))
        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9

    async def test_an_owner_who_was_deleted_must_sign_in_again(self, service: Service) -> None:
        headers = bearer(uuid4(), scopes=(WRITE,))
        answer = await service.client.post("/records", json={"name": "a"}, headers=headers)
        assert_problem(answer, 401)


class TestLimits:
    async def test_the_users_bucket_answers_429_with_retry_after(self, client: httpx2.AsyncClient) -> None:
        answers = await asyncio.gather(*(client.get("/records") for _ in range(120)))
        refused = [answer for answer in answers if answer.status_code != 200]
        assert 0 < len(refused) <= 60
        for answer in refused:
            problem = assert_problem(answer, 429)
            assert problem["policy"] == "records_list"
            assert problem["violated-policies"] == ["user"]
            assert int(answer.headers["retry-after"]) >= 1

    async def test_one_users_limit_is_not_anothers(
        self, client: httpx2.AsyncClient, database: Database
    ) -> None:
        await asyncio.gather(*(client.get("/records") for _ in range(100)))
        other = bearer(uuid4(), scopes=(READ,), roles=(ROLE,))
        assert (await client.get("/records", headers=other)).status_code == 200


async def test_each_endpoint_has_a_gate_of_its_own_name(service: Service) -> None:
    names = {route.gate.name for route in service.platform.routes if route.gate is not None}
    assert names == {"records_create", "records_list", "records_get", "records_update", "records_delete"}


async def test_a_list_is_one_statement_however_many_records(
    client: httpx2.AsyncClient, no_n_plus_one: QueryWatch
) -> None:
    for number in range(4):
        await create(client, str(number))
    no_n_plus_one.clear()
    page = (await client.get("/records")).json()
    assert len(page["items"]) == 4
    assert no_n_plus_one.statements == 1
