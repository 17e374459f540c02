"""The boot audit: one test for each refusal, and what it must let through."""

from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from typing import Any, cast

import fastapi
import httpx2
import pytest
from fastapi import Depends, FastAPI, WebSocket
from fastapi.responses import StreamingResponse
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.staticfiles import StaticFiles

from app.core.db import get_db
from app.core.errors import ConfigurationError
from app.core.http import APIRouter, AuditError, Platform, api_worker, enforce_all_policies
from app.core.policies import JobConfig, RateLimit
from app.main import create_app
from app.registry import Feature
from app.settings import Settings
from tests.apps import client_of, running
from tests.core.http.gated import READER, as_, feature, routed

CONFIG = JobConfig()


async def findings(settings: Settings, router: APIRouter, **options: Any) -> str:
    with pytest.raises(AuditError) as refusal:
        async with routed(settings, router, **options):
            pass
    return str(refusal.value)


def add(
    router: fastapi.APIRouter, path: str = "/things", *, config: JobConfig | None = CONFIG, **options: Any
) -> None:
    async def things() -> dict[str, str]:
        return {"it": "works"}

    handler: Callable[..., Any] = api_worker(config)(things) if config is not None else things
    router.get(path, **options)(handler)


class TestRefusals:
    async def test_a_route_without_a_gate(self, settings: Settings) -> None:
        router = APIRouter()
        add(router)
        found = await findings(settings, router)
        assert "GET /things" in found
        assert "no gate; add dependencies=[enforce_all_policies(name, config)]" in found

    async def test_two_gates_on_one_route(self, settings: Settings) -> None:
        router = APIRouter(dependencies=[enforce_all_policies("outer", CONFIG)])
        add(router, dependencies=[enforce_all_policies("inner", CONFIG)])
        assert "more than one gate (outer and inner)" in await findings(settings, router)

    async def test_a_gated_router_that_is_included_under_another_gate(self, settings: Settings) -> None:
        inner, outer = APIRouter(dependencies=[enforce_all_policies("inner", CONFIG)]), APIRouter()
        add(inner)
        outer.include_router(inner, prefix="/a", dependencies=[enforce_all_policies("outer", CONFIG)])
        assert "GET /a/things" in await findings(settings, outer)

    async def test_a_router_that_is_not_ours(self, settings: Settings) -> None:
        plain, router = fastapi.APIRouter(), APIRouter()
        add(plain, dependencies=[enforce_all_policies("plain", CONFIG)])
        router.include_router(plain)
        assert "is not a GatedRoute; make its router with APIRouter of app.core" in await findings(
            settings, router
        )

    async def test_a_limit_per_api_key_where_there_are_none(self, settings: Settings) -> None:
        router = APIRouter()
        config = JobConfig(rate_limit=RateLimit.fixed_window("key", limit=1, window=60, scope="api_key"))
        add(router, config=config, dependencies=[enforce_all_policies("things", config)])
        found = await findings(settings, router)
        assert "the gate things counts by API key and no feature provides ApiKeys" in found

    async def test_a_handler_without_api_worker(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, config=None, dependencies=[enforce_all_policies("things", CONFIG)])
        assert "lacks @api_worker(config)" in await findings(settings, router)

    async def test_an_api_worker_with_another_config(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, config=JobConfig(timeout=3), dependencies=[enforce_all_policies("things", CONFIG)])
        assert "carries another config than the gate things" in await findings(settings, router)

    async def test_a_websocket_off_the_open_list(self, settings: Settings) -> None:
        router = APIRouter()

        @router.websocket("/ws")
        async def listen(socket: WebSocket) -> None:
            await socket.accept()

        assert "/ws" in await findings(settings, router)

    async def test_a_mount_off_the_open_list(self, settings: Settings, tmp_path: Any) -> None:
        def mount(app: FastAPI) -> None:
            app.mount("/static", StaticFiles(directory=tmp_path))

        assert "a WebSocket or a mount is not gated" in await findings(settings, APIRouter(), change=mount)

    async def test_a_stream_with_a_function_scope_session(self, settings: Settings) -> None:
        router = APIRouter()
        gate = enforce_all_policies("stream", CONFIG)

        @router.get("/annotated", dependencies=[gate])
        @api_worker(CONFIG)
        async def annotated(db: AsyncSession = Depends(get_db, scope="function")) -> StreamingResponse:
            return StreamingResponse(iter(()))

        @router.get("/declared", dependencies=[gate], response_class=StreamingResponse)
        @api_worker(CONFIG)
        async def declared(db: AsyncSession = Depends(get_db, scope="function")) -> Any:
            return iter(())

        @router.get("/generator", dependencies=[gate])
        @api_worker(CONFIG)
        async def generator(db: AsyncSession = Depends(get_db, scope="function")) -> AsyncIterator[int]:
            yield 1

        found = await findings(settings, router)
        for path in ("/annotated", "/declared", "/generator"):
            assert f"GET {path}" in found
        assert "streams with a function-scope get_db" in found

    async def test_a_gate_that_needs_tokens_when_nobody_provides_them(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, dependencies=[enforce_all_policies("things", CONFIG)])
        with pytest.raises(AuditError, match="no feature provides a TokenVerifier"):
            async with running(create_app(settings, registry=[Feature(name="alone", router=router)])):
                pass

    async def test_an_atomic_set_that_cannot_share_a_slot(self, settings: Settings) -> None:
        config = JobConfig(
            atomic=True,
            rate_limit=(
                RateLimit.throttle("user", rate=1),
                RateLimit.throttle("ip", rate=1, scope="ip"),
                RateLimit.throttle("all", rate=9, scope="global"),
            ),
        )
        router = APIRouter()
        add(router, config=config, dependencies=[enforce_all_policies("things", config)])
        assert "its parts ip, all cannot share the caller's Cluster slot" in await findings(settings, router)

    async def test_one_name_for_two_gates(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, "/a", dependencies=[enforce_all_policies("twice", CONFIG)])
        add(router, "/b", dependencies=[enforce_all_policies("twice", CONFIG)])
        assert "the name twice belongs to two gates" in await findings(settings, router)

    async def test_one_router_twice_under_one_path_with_two_gates(self, settings: Settings) -> None:
        inner, outer = APIRouter(), APIRouter()
        add(inner)
        for name in ("first", "second"):
            outer.include_router(inner, prefix="/a", dependencies=[enforce_all_policies(name, CONFIG)])
        assert "is included twice under one path with two gates" in await findings(settings, outer)

    async def test_a_partial_without_api_worker_is_named_and_not_a_traceback(
        self, settings: Settings
    ) -> None:
        router = APIRouter()
        router.get("/partial", dependencies=[enforce_all_policies("things", CONFIG)])(partial(lambda n: n, 1))
        assert "lacks @api_worker(config)" in await findings(settings, router)

    async def test_a_shared_limit_with_two_sets_of_parameters(self, settings: Settings) -> None:
        router = APIRouter()
        for name, limit in (("a", 1), ("b", 2)):
            config = JobConfig(rate_limit=RateLimit.fixed_window(limit=limit, window=60, shared="both"))
            add(router, f"/{name}", config=config, dependencies=[enforce_all_policies(name, config)])
        assert "the gates a and b share the limit both with different parameters" in await findings(
            settings, router
        )

    async def test_a_gated_route_on_the_open_list(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, dependencies=[enforce_all_policies("things", CONFIG)])
        assert "has a gate and stands on the open list" in await findings(
            settings, router, open_routes={"/things": "by mistake"}
        )

    async def test_every_finding_is_told_at_once(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, "/a")
        add(router, "/b")
        with pytest.raises(AuditError) as refusal:
            async with routed(settings, router):
                pass
        assert len(refusal.value.findings) == 2


class TestWhatIsLetThrough:
    async def test_a_route_on_the_open_list_is_served_without_a_gate(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, config=None)
        async with routed(settings, router, open_routes={"/things": "a test"}) as client:
            assert (await client.get("/things")).status_code == 200

    async def test_a_mount_below_an_open_prefix(self, settings: Settings, tmp_path: Any) -> None:
        (tmp_path / "page.txt").write_text("hello")

        def mount(app: FastAPI) -> None:
            app.mount("/static", StaticFiles(directory=tmp_path))

        async with routed(
            settings, APIRouter(), change=mount, open_routes={"/static/*": "files for everybody"}
        ) as client:
            assert (await client.get("/static/page.txt")).text == "hello"

    async def test_a_stream_with_a_request_scope_session(self, settings: Settings) -> None:
        router = APIRouter()

        @router.get("/numbers", dependencies=[enforce_all_policies("numbers", CONFIG)])
        @api_worker(CONFIG)
        def numbers(db: AsyncSession = Depends(get_db)) -> Iterator[int]:
            yield from (1, 2)

        async with routed(settings, router) as client:
            assert (await client.get("/numbers", headers=as_(READER))).text == "1\n2\n"

    async def test_one_config_object_under_many_names(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, "/a", dependencies=[enforce_all_policies("a", CONFIG)])
        add(router, "/b", dependencies=[enforce_all_policies("b", CONFIG)])
        async with routed(settings, router) as client:
            assert [(await client.get(path, headers=as_(READER))).status_code for path in ("/a", "/b")] == [
                200,
                200,
            ]


class TestTime:
    async def test_a_route_added_after_create_app_is_audited(self, settings: Settings) -> None:
        def add_late(app: FastAPI) -> None:
            app.get("/late")(lambda: None)

        assert "GET /late" in await findings(settings, APIRouter(), change=add_late)

    async def test_a_route_added_after_the_start_is_refused(self, settings: Settings) -> None:
        app = create_app(settings, registry=[feature(APIRouter())])
        late = fastapi.APIRouter()
        add(late, config=None)
        async with running(app):
            for act in (
                lambda: app.get("/late")(print),
                lambda: app.add_route("/late", cast("Any", print)),
                lambda: app.include_router(late),
                lambda: app.mount("/late", FastAPI()),
            ):
                with pytest.raises(ConfigurationError, match="has started; add routes before"):
                    act()

    async def test_a_route_added_to_an_included_router_after_the_start_answers_503(
        self, settings: Settings
    ) -> None:
        router = APIRouter()
        app = create_app(settings, registry=[feature(router)])
        async with running(app), client_of(app) as client:
            add(router, "/late", config=None)
            answer = await client.get("/late")
        assert answer.status_code == 503
        assert "has not been audited" in answer.json()["detail"]

    async def test_nothing_is_served_before_the_audit_has_passed(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, config=None)
        app = create_app(settings, registry=[feature(router, open_routes={"/things": "a test"})])
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.get("/things")).status_code == 503

    async def test_the_audits_result_lists_gates_and_reasons(self, settings: Settings) -> None:
        router = APIRouter()
        add(router, dependencies=[enforce_all_policies("things", CONFIG)])
        app = create_app(settings, registry=[feature(router)])
        async with running(app):
            platform: Platform = app.state.gatehouse
            listed = {
                route.path: route.gate.name if route.gate else route.reason for route in platform.routes
            }
        assert listed["/things"] == "things"
        assert listed["/docs"] == "documentation"
