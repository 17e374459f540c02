"""Where a page's cookie counts: on routes of pages, whatever the path of the request looks like."""

from collections.abc import AsyncIterator

import httpx2
import pytest
from fastapi import FastAPI
from starlette.responses import Response

from app.core.context import Principal
from app.core.http import (
    APIRouter,
    PageCookies,
    PageRouter,
    PageVerifier,
    api_worker,
    enforce_all_policies,
)
from app.core.policies import JobConfig
from app.settings import Settings
from tests.core.http.gated import READER, as_, routed

CALLERS = JobConfig()


class OneSession(PageVerifier):
    """Every cookie that we issued is this reader's: the tests of the gate are not the tests of sessions."""

    def verify(self, token: str) -> Principal:
        return READER


def things() -> APIRouter:
    router, pages = APIRouter(), PageRouter(prefix="/ui")

    @pages.get("/page", dependencies=[enforce_all_policies("page", CALLERS)])
    @api_worker(CALLERS)
    async def page() -> Response:
        return Response("page")

    @router.post("/{section}/thing", dependencies=[enforce_all_policies("thing", CALLERS)])
    @api_worker(CALLERS)
    async def thing(section: str) -> dict[str, str]:
        return {"section": section}

    @router.api_route(
        "/{rest:path}", methods=["GET", "PUT"], dependencies=[enforce_all_policies("rest", CALLERS)]
    )
    @api_worker(CALLERS)
    async def everything(rest: str) -> dict[str, str]:
        return {"rest": rest}

    whole = APIRouter()
    whole.include_router(pages)
    whole.include_router(router)
    return whole


@pytest.fixture(scope="module")
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    """Its cookie is a session's."""
    apps: list[FastAPI] = []
    async with routed(
        settings, things(), services={PageVerifier: OneSession()}, change=apps.append
    ) as client:
        cookies: PageCookies = apps[0].state.gatehouse.page_cookies
        scope = {"scheme": "https", "headers": []}
        line = cookies.issue(scope, "session", cookies.new())
        client.headers["cookie"] = line.partition(";")[0]
        yield client


async def test_a_route_that_is_no_page_takes_no_cookie_where_its_path_looks_like_a_pages(
    client: httpx2.AsyncClient,
) -> None:
    assert (await client.get("/ui/page")).text == "page"
    for method, path in (
        ("POST", "/ui/thing"), ("PUT", "/ui/other"), ("GET", "/ui/other"), ("PUT", "/ui"), ("GET", "/ui/../x"), ("GET", "//ui/page"),
        ("GET", "/UI/page"), ("GET", "/ui%2fother"), ("GET", "/ui%2f..%2fother"), ("GET", "/x/ui/page"), ("GET", "/uix"),
    ):  # fmt: skip
        answer = await client.request(method, path)
        # Under /ui the way to the form, which is how pages say 401.
        assert answer.status_code in (303, 401), (method, path, answer.text)
        assert (await client.request(method, path, headers=as_(READER))).status_code == 200, (method, path)
