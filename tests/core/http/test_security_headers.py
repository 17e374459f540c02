"""What browsers are told, on every kind of answer."""

from collections.abc import AsyncIterator, Callable

import httpx2
import pytest
from starlette.responses import Response

from app.core.errors import Conflict, NotAuthenticated
from app.core.http import APIRouter, AuditError, PageRouter, api_worker, enforce_all_policies
from app.core.policies import Idempotency, JobConfig, RateLimit, ResponseCache
from app.settings import Settings
from tests.core.http.gated import READER, as_, routed
from tests.core.http.workshop import LONG

KEPT = JobConfig(cache=ResponseCache(ttl=60), rate_limit=None)
ONCE = JobConfig(idempotency=Idempotency())
FEW = JobConfig.public(rate_limit=RateLimit.fixed_window("ip", limit=1, window=LONG, scope="ip"))
OPEN, HOME = JobConfig.public(), JobConfig()
CSP = "default-src 'none'; style-src 'self'; img-src 'self' data:; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=y>"


def things() -> APIRouter:
    router = APIRouter()

    @router.get("/kept", dependencies=[enforce_all_policies("kept", KEPT)])
    @api_worker(KEPT)
    async def kept() -> dict[str, str]:
        return {"a": "b"}

    @router.post("/once", dependencies=[enforce_all_policies("once", ONCE)])
    @api_worker(ONCE)
    async def once(number: int) -> dict[str, int]:
        return {"number": number}

    @router.get("/few", dependencies=[enforce_all_policies("few", FEW)])
    @api_worker(FEW)
    async def few() -> dict[str, str]:
        return {}

    @router.get("/broken", dependencies=[enforce_all_policies("broken", OPEN)])
    @api_worker(OPEN)
    async def broken() -> None:
        raise RuntimeError("a bug")

    router.include_router(pages())
    return router


def pages() -> PageRouter:
    router = PageRouter(prefix="/ui")

    @router.get("", dependencies=[enforce_all_policies("home", HOME)])
    @api_worker(HOME)
    async def home() -> Response:
        return Response("home")

    @router.get("/{kind}", dependencies=[enforce_all_policies("page", OPEN)])
    @api_worker(OPEN)
    async def page(kind: str, number: int = 0) -> Response:
        if kind == "broken":
            raise RuntimeError("a bug")
        if kind == "careful":
            raise NotAuthenticated(challenge='Bearer error="insufficient_user_authentication", max_age="300"')
        if kind == "conflict":
            raise Conflict(
                HOSTILE, extensions={"errors": [{"loc": ["body", HOSTILE], "msg": HOSTILE}, "x", {"loc": 1}]}
            )
        return Response("<p>page", media_type="text/html", headers={"Referrer-Policy": "no-referrer"})

    return router


@pytest.fixture(scope="module")
async def client(settings: Settings) -> AsyncIterator[httpx2.AsyncClient]:
    async with routed(settings, things()) as client:
        yield client


async def test_every_kind_of_answer_of_the_api_is_marked(
    client: httpx2.AsyncClient, clean_store: None
) -> None:
    reader = as_(READER)
    key = {**reader, "Idempotency-Key": "k"}
    first = await client.get("/kept", headers=reader)
    match = {**reader, "If-None-Match": first.headers["etag"]}
    hit = await client.get("/kept", headers=reader)
    await client.post("/once?number=1", headers=key)
    replay = await client.post("/once?number=1", headers=key)
    assert "hit" in hit.headers["cache-status"]
    assert replay.headers["idempotent-replayed"] == "true"
    await client.get("/few")
    answers = [
        (200, first), (200, hit), (200, replay), (304, await client.get("/kept", headers=match)), (401, await client.get("/kept")),
        (404, await client.get("/nothing")), (404, await client.get("/uix")), (405, await client.head("/kept", headers=reader)),
        (413, await client.post("/once?number=1", headers=key, content=b"x" * 1_100_000)),
        (422, await client.post("/once?number=x", headers=reader)), (429, await client.get("/few")), (500, await client.get("/broken")),
    ]  # fmt: skip
    for status, answer in answers:
        assert answer.status_code == status
        assert answer.headers.get_list("x-content-type-options") == ["nosniff"]
        assert "content-security-policy" not in answer.headers
        assert "strict-transport-security" not in answer.headers


def assert_page(answer: httpx2.Response, status: int) -> None:
    assert answer.status_code == status
    once = {
        "content-security-policy": CSP, "x-content-type-options": "nosniff", "x-frame-options": "DENY", "cache-control": "no-store",
        "cross-origin-opener-policy": "same-origin", "cross-origin-resource-policy": "same-origin",
    }  # fmt: skip
    for name, value in once.items():
        assert answer.headers.get_list(name) == [value]
    assert len(answer.headers.get_list("referrer-policy")) == 1
    assert answer.headers["x-request-id"]
    assert "Traceback" not in answer.text


async def test_every_answer_under_ui_is_a_page_with_all_of_them(
    client: httpx2.AsyncClient, clean_store: None
) -> None:
    page = await client.get("/ui/page")
    assert_page(page, 200)
    assert page.headers["referrer-policy"] == "no-referrer"  # what the handler said itself
    answers = [
        (404, await client.get("/ui/a/b")), (405, await client.put("/ui/page")), (422, await client.get("/ui/page?number=x")),
        (500, await client.get("/ui/broken")), (413, await client.post("/ui/page", content=b"x" * 1_100_000)),
        (409, await client.get("/ui/conflict")),
    ]  # fmt: skip
    for status, answer in answers:
        assert_page(answer, status)
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-length"] == str(len(answer.content))
        assert answer.headers["x-request-id"] in answer.text
    assert "<script" not in answers[-1][1].text
    assert answers[-1][1].text.count("&lt;script&gt;") == 3
    way_in = await client.get("/ui")
    assert_page(way_in, 303)
    assert way_in.headers["location"] == "/ui/login?next=/ui"
    assert "www-authenticate" not in way_in.headers
    again = await client.get("/ui/careful?number=1")
    assert_page(again, 303)
    assert again.headers["location"] == "/ui/login?next=/ui/careful%3Fnumber%3D1&again=true"
    assert (await client.get("/ui//evil.example")).status_code == 404


async def test_a_program_gets_the_documents(client: httpx2.AsyncClient) -> None:
    answer = await client.get("/ui/conflict", headers=as_(READER))
    assert_page(answer, 409)
    assert (answer.headers["content-type"], answer.json()["detail"]) == ("application/problem+json", HOSTILE)
    assert (await client.get("/ui", headers={"Authorization": "Bearer x"})).status_code == 401


async def test_production_asks_for_tls_everywhere_and_the_documentation_can_run_its_script(
    client: httpx2.AsyncClient, make_settings: Callable[..., Settings]
) -> None:
    docs = await client.get("/docs")
    assert "script-src 'unsafe-inline' https://cdn.jsdelivr.net" in docs.headers["content-security-policy"]
    assert docs.headers["x-frame-options"] == "DENY"
    strict = make_settings().model_copy(update={"app_env": "production"})
    async with routed(strict, things()) as production:
        for path in ("/few", "/nothing", "/ui", "/ui/page"):
            answer = await production.get(path)
            assert answer.headers["strict-transport-security"] == "max-age=63072000; includeSubDomains"


@pytest.mark.parametrize(
    ("kind", "prefix"), [(APIRouter, "/ui"), (PageRouter, "/users"), (PageRouter, "/uix")]
)
async def test_pages_stand_under_ui_and_nothing_else_does(
    settings: Settings, kind: type[APIRouter], prefix: str
) -> None:
    router = kind(prefix=prefix)

    @router.get("/thing", dependencies=[enforce_all_policies("thing", OPEN)])
    @api_worker(OPEN)
    async def thing() -> Response:
        return Response()

    with pytest.raises(AuditError, match="pages stand under /ui and nothing else does"):
        async with routed(settings, router):
            pass


async def test_a_page_is_not_kept_because_its_forms_are_one_sessions(settings: Settings) -> None:
    router = PageRouter(prefix="/ui")

    @router.get("/kept", dependencies=[enforce_all_policies("kept", KEPT)])
    @api_worker(KEPT)
    async def kept() -> Response:
        return Response()

    with pytest.raises(AuditError, match="is a page, and its gate kept has cache"):
        async with routed(settings, router):
            pass
