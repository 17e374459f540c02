"""Errors as problem documents."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel, ConfigDict, Field

from app.core.errors import EntityNotFoundError, GatehouseError, NotAuthenticated, PolicyRejected, Unavailable
from app.core.http._problem import Problem, install_problem_handlers, problem_response


class ForeignError(Exception):
    """An error of a library."""


class ForeignChildError(ForeignError):
    """A kind of it."""


class Login(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=10)
    password: str = Field(min_length=8)
    age: int = 1


def translate(exc: Exception) -> GatehouseError | None:
    return Unavailable("The library is away.", retry_after=7) if isinstance(exc, ForeignChildError) else None


def make_app() -> FastAPI:
    app = FastAPI()
    install_problem_handlers(app, foreign=(ForeignError,), translate=translate)

    @app.get("/raise/{what}")
    async def raise_it(what: str) -> None:
        errors: dict[str, Exception] = {
            "not-found": EntityNotFoundError("No such record."),
            "unauthenticated": NotAuthenticated("Bad token.", challenge='Bearer error="invalid_token"'),
            "limited": PolicyRejected("Slow down.", policy="p", violated=("a", "b"), retry_after=3),
            "http": HTTPException(418, "short and stout", headers={"X-Tea": "yes"}),
            "http-dict": HTTPException(409, {"detail": "taken", "name": "n", "status": 200}),
            "http-list": HTTPException(409, ["a", "b"]),
            "not-modified": HTTPException(304, headers={"ETag": '"1"'}),
            "foreign": ForeignChildError("dsn=secret"),
            "server": GatehouseError(extensions={"surrogate": "\ud800", "big": 2**70}),
        }
        raise errors[what]

    @app.post("/login")
    async def login(body: Login) -> Login:
        return body

    @app.get("/broken", response_model=Login)
    async def broken() -> dict[str, str]:
        return {"name": "n", "password": "hunter2"}

    return app


@pytest.fixture
async def client() -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(make_app()), base_url="http://test"
    ) as client:
        yield client


class TestProblemResponse:
    def test_standard_members_stand_and_extensions_cannot_replace_them(self) -> None:
        body, headers = problem_response(
            429,
            detail="d",
            instance="/x",
            request_id="r",
            headers={"Retry-After": "2"},
            extensions={"status": 200, "policy": "p"},
        )
        assert json.loads(body) == {
            "type": "about:blank", "title": "Too Many Requests", "status": 429, "detail": "d", "instance": "/x",
            "request_id": "r", "policy": "p",
        }  # fmt: skip
        assert dict(headers) == {
            b"content-type": b"application/problem+json", b"content-length": b"%d" % len(body),
            b"cache-control": b"no-store", b"retry-after": b"2",
        }  # fmt: skip

    @pytest.mark.parametrize(
        ("status", "title"), [(413, "Content Too Large"), (422, "Unprocessable Content"), (799, "Error")]
    )
    def test_titles_follow_rfc_9110(self, status: int, title: str) -> None:
        assert json.loads(problem_response(status)[0])["title"] == title

    def test_the_documented_model_takes_every_document(self) -> None:
        problem = Problem.model_validate_json(problem_response(402, extensions={"policy": "p"})[0])
        assert problem.status == 402
        assert problem.model_extra == {"policy": "p"}


class TestHandlers:
    @pytest.mark.parametrize(
        ("what", "status", "members", "headers"),
        [
            ("not-found", 404, {"title": "Not Found", "detail": "No such record."}, {}),
            (
                "unauthenticated",
                401,
                {"title": "Unauthorized"},
                {"www-authenticate": 'Bearer error="invalid_token"'},
            ),
            ("limited", 429, {"policy": "p", "violated-policies": ["a", "b"]}, {"retry-after": "3"}),
            ("http", 418, {"detail": "short and stout"}, {"x-tea": "yes"}),
            ("http-dict", 409, {"detail": "taken", "name": "n", "status": 409}, {}),
            ("http-list", 409, {"errors": ["a", "b"]}, {}),
            ("foreign", 503, {"detail": "The library is away."}, {"retry-after": "7"}),
            ("server", 500, {"title": "Internal Server Error", "big": 2**70}, {}),
        ],
    )
    async def test_each_error_becomes_its_document(
        self,
        client: httpx2.AsyncClient,
        what: str,
        status: int,
        members: dict[str, Any],
        headers: dict[str, str],
    ) -> None:
        answer = await client.get(f"/raise/{what}?token=hidden")
        assert answer.status_code == status
        assert answer.headers["content-type"] == "application/problem+json"
        document = answer.json()
        assert document["instance"] == f"/raise/{what}"
        assert members.items() <= document.items()
        assert headers.items() <= dict(answer.headers).items()
        assert "hidden" not in answer.text
        assert "secret" not in answer.text

    async def test_an_untranslated_foreign_error_stays_unhandled(self) -> None:
        app = make_app()

        @app.get("/foreign")
        async def foreign() -> None:
            raise ForeignError("no translation")

        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app), base_url="http://test") as client:
            with pytest.raises(ForeignError):
                await client.get("/foreign")

    async def test_unknown_path_is_404(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/nowhere%0d%0aX: y")
        assert answer.status_code == 404
        assert answer.json()["title"] == "Not Found"
        assert "detail" not in answer.json()
        assert answer.json()["instance"].startswith("/nowhere%0")

    async def test_wrong_method_is_405_with_allow(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/login")
        assert answer.status_code == 405
        assert answer.headers["allow"] == "POST"
        assert answer.json()["title"] == "Method Not Allowed"

    async def test_304_carries_no_body(self, client: httpx2.AsyncClient) -> None:
        answer = await client.get("/raise/not-modified")
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", '"1"')


class TestInvalidRequests:
    @pytest.mark.parametrize(
        ("content", "kind"),
        [
            ("{", "json_invalid"),
            ('{"name": "n", "password": "hunter2"}', "string_too_short"),
            ('{"name": "n", "password": "hunter2-hunter2", "age": "old"}', "int_parsing"),
            ('{"name": "n", "password": "hunter2-hunter2", "unknown": 1}', "extra_forbidden"),
            ('{"name": "hunter2-hunter2", "password": "hunter2-hunter2"}', "string_too_long"),
        ],
    )
    async def test_is_422_that_names_the_place_and_not_the_value(
        self, client: httpx2.AsyncClient, content: str, kind: str
    ) -> None:
        answer = await client.post("/login", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 422
        assert answer.headers["content-type"] == "application/problem+json"
        (error,) = answer.json()["errors"]
        assert error["type"] == kind
        assert set(error) == {"loc", "msg", "type"}
        assert error["loc"][0] == "body"
        assert "hunter2" not in answer.text

    async def test_a_wrong_content_type_is_422(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post("/login", content=b"<a/>", headers={"content-type": "text/xml"})
        assert answer.status_code == 422

    async def test_a_huge_field_name_and_many_errors_do_not_come_back_whole(
        self, client: httpx2.AsyncClient
    ) -> None:
        body = {"x" * 5000 + str(number): 1 for number in range(100)}
        answer = await client.post("/login", json=body)
        assert answer.status_code == 422
        assert len(answer.json()["errors"]) == 50
        assert len(answer.content) < 20_000

    async def test_a_lone_surrogate_as_field_name_is_422(self, client: httpx2.AsyncClient) -> None:
        answer = await client.post(
            "/login", content=b'{"\\ud800": 1}', headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422


async def test_an_answer_that_breaks_its_own_model_is_500_without_the_value(
    client: httpx2.AsyncClient, capsys: pytest.CaptureFixture[str]
) -> None:
    answer = await client.get("/broken")
    assert answer.status_code == 500
    assert "hunter2" not in answer.text
    printed = capsys.readouterr()
    assert "http.response_invalid" in printed.out
    assert "hunter2" not in printed.out + printed.err
