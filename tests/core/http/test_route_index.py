"""The route index: that it is there and finds, what it leaves to FastAPI, and that nothing else sees it."""

import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import fastapi.routing
import pytest
from fastapi import APIRouter as FastAPIRouter
from fastapi import Depends, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import iter_route_contexts
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.convertors import CONVERTOR_TYPES, Convertor
from starlette.routing import Host, Match, NoMatchFound
from starlette.types import Scope
from structlog.testing import capture_logs

from app.core.errors import ConfigurationError
from app.core.http import APIRouter, GatedRoute, Platform, api_worker, enforce_all_policies
from app.core.http._audit import BootAudit
from app.core.http._route_index import RouteIndex, indexed, unindexed
from app.core.http._route_tree import Names
from app.core.policies import JobConfig
from app.main import audited, create_app
from app.settings import Settings
from tests.apps import client_of, running
from tests.cases import each_case
from tests.core.http.gated import READER, as_, feature
from tests.core.http.routing import (
    Gated,
    add,
    ask,
    finds,
    index_of,
    routed,
    sample,
    tell,
    with_index,
    without_and_with,
)
from tests.gated import Service, serving

CONFIG = JobConfig()


def who_asks() -> str:
    return "the handler's own"


def things(prefix: str = "", **options: Any) -> APIRouter:
    """``GET`` and ``POST /things/{thing_id}``, gated."""
    router, gate = APIRouter(prefix=prefix, **options), enforce_all_policies("things", CONFIG)

    @router.get("/things/{thing_id}", dependencies=[gate])
    @api_worker(CONFIG)
    async def read(thing_id: int, who: Annotated[str, Depends(who_asks)]) -> dict[str, Any]:
        return {"thing": thing_id, "who": who}

    @router.post("/things/{thing_id}", dependencies=[gate])
    @api_worker(CONFIG)
    async def write(thing_id: int, body: dict[str, str]) -> dict[str, Any]:
        return {"thing": thing_id, "body": body}

    return router


@pytest.fixture
async def service(settings: Settings) -> AsyncIterator[Service]:
    async with serving(settings, feature(things("/v1")), tokens=None) as service:
        yield service


class TestFound:
    async def test_every_gated_route_of_the_service(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        app = create_app(settings)
        platform: Platform = app.state.gatehouse
        async with running(app):
            pass
        monkeypatch.setattr(GatedRoute, "handle", Gated.handle)
        contexts = [c for c in iter_route_contexts(app.routes) if isinstance(c.original_route, GatedRoute)]
        asked = [(method, sample(c.path or "")) for c in contexts for method in c.methods or ()]
        assert (
            {c.path_format for c in contexts}
            >= {route.path for route in platform.routes if route.gate}
            != set()
        )
        assert [(method, path) for method, path in asked if finds(app, method, path) is None] == []
        plain, found = await without_and_with(app, asked)
        assert found == plain

    async def test_fastapi_is_not_asked(self, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
        def matches(*_: Any) -> Any:
            raise AssertionError("asked")

        monkeypatch.setattr(Names.read().included, "matches", matches)
        answer = await service.client.get("/v1/things/7", headers=as_(READER))
        assert answer.json() == {"thing": 7, "who": "the handler's own"}

    @each_case(
        ("path", "endpoint"),
        [
            ("/a", "/a"),
            ("/b", "/{x}"),
            ("/a/b", "/a/b"),
            ("/a/7", "/a/{x:int}"),
            ("/a/c", "/{x}/{y}"),
            ("/z/c", "/{x}/{y}"),
            ("/files/1/2/3/4/5", "/files/{x:path}"),
            ("/files/", "/files/{x:path}"),
            ("/z/1/2/3", None),
            ("/", None),
            ("", None),
            ("*", None),
            ("/a\n", None),
        ],
    )
    def test_by_path(self, path: str, endpoint: str | None) -> None:
        app = with_index(routed("/a", "/{x}", "/a/b", "/a/{x:int}", "/{x}/{y}", "/files/{x:path}"))
        assert finds(app, "GET", path) == endpoint

    def test_the_first_of_two_that_fit(self) -> None:
        assert finds(with_index(routed("/{x}", "/a")), "GET", "/a") == "/{x}"
        assert finds(with_index(routed("/a/{x:path}", "/a/{x}")), "GET", "/a/b") == "/a/{x:path}"


class TestMemory:
    def path_params(self, app: FastAPI, path: str, method: str = "GET") -> Any:
        _, child = index_of(app).matches({"type": "http", "method": method, "path": path, "app": app})
        return child.get("path_params")

    def test_a_path_that_is_asked_for_again_is_not_searched(self, monkeypatch: pytest.MonkeyPatch) -> None:
        app = with_index(routed("/a/{x:int}"))
        first = self.path_params(app, "/a/7")
        monkeypatch.setattr(RouteIndex, "_search", lambda *_: None)
        assert self.path_params(app, "/a/7") == first == {"x": 7}
        assert self.path_params(app, "/a/8") is None
        assert self.path_params(app, "/a/7", "DELETE") is None

    def test_what_a_request_does_to_its_parameters_is_not_another_ones(self) -> None:
        app = with_index(routed("/a/{x}"))
        for _ in range(2):
            params = self.path_params(app, "/a/b")
            assert params == {"x": "b"}
            params["x"] = "spoilt"

    def test_however_many_paths_are_made_up_few_are_kept(self) -> None:
        app = with_index(routed("/a/{x}"))
        for number in range(3000):
            assert self.path_params(app, f"/a/{number}") == {"x": str(number)}
            assert self.path_params(app, "/a/" + "b" * (200 + number)) is not None
        seen = index_of(app)._seen
        assert 0 < len(seen) <= 1024
        assert max(len(path) for _, path in seen) <= 120

    def test_values_of_a_converter_of_ones_own_are_made_for_each_request(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        class Listed(Convertor[list[str]]):
            regex = "[^/]+"

            def convert(self, value: str) -> list[str]:
                return value.split(",")

            def to_string(self, value: list[str]) -> str:
                return ",".join(value)

        monkeypatch.setitem(CONVERTOR_TYPES, "listed", Listed())
        app = with_index(routed("/a/{x:listed}"))
        self.path_params(app, "/a/1,2")["x"].append("3")
        assert self.path_params(app, "/a/1,2") == {"x": ["1", "2"]}


class TestLeft:
    def test_a_method_that_no_route_takes(self) -> None:
        assert finds(with_index(routed("/a")), "DELETE", "/a") is None

    def test_a_websocket(self) -> None:
        app = FastAPI(redirect_slashes=False, openapi_url=None)
        app.websocket("/a")(tell)
        add(app.router, "/a")
        assert finds(with_index(app), "GET", "/a") == "/a"
        assert index_of(app).matches({"type": "websocket", "path": "/a"}) == (Match.NONE, {})

    async def test_a_route_behind_a_mount_that_takes_its_path(self) -> None:
        app = FastAPI(redirect_slashes=False, openapi_url=None)
        app.mount("/a", tell)
        add(app.router, "/a/b", "/b")
        with_index(app)
        assert (finds(app, "GET", "/a/b"), finds(app, "GET", "/b")) == (None, "/b")
        assert (await ask(app, "GET", "/a/b")).scope["endpoint"] == id(tell)

    def test_what_stands_behind_a_route_that_matches_in_its_own_way(self) -> None:
        class Own(Gated):
            def matches(self, scope: Scope) -> tuple[Match, Scope]:
                return (Match.FULL, {}) if scope["path"] != "/first" else (Match.NONE, {})

        app = routed("/first")
        add(app.router, "/own", route_class=Own)
        add(app.router, "/last")
        with_index(app)
        assert [finds(app, "GET", path) for path in ("/first", "/own", "/last")] == ["/first", None, None]

    def test_what_stands_behind_a_pattern_of_its_own(self) -> None:
        app = routed("/first", "/any", "/last")
        route: Any = app.routes[1]
        route.path_regex = re.compile(route.path_regex.pattern, re.IGNORECASE)
        with_index(app)
        assert [finds(app, "GET", path) for path in ("/first", "/any", "/last")] == ["/first", None, None]

    def test_what_stands_behind_a_host(self) -> None:
        app = routed("/first")
        app.router.routes.append(Host("api.example.com", tell))
        add(app.router, "/last")
        with_index(app)
        assert [finds(app, "GET", path) for path in ("/first", "/last")] == ["/first", None]

    @each_case("method", ["matches", "handle"])
    def test_a_router_that_does_it_in_its_own_way(self, method: str) -> None:
        own = type("Own", (FastAPIRouter,), {method: lambda self, *arguments: None})
        app = routed("/inside", router=own())
        assert finds(with_index(app), "GET", "/inside") is None
        assert finds(with_index(routed("/inside", router=FastAPIRouter())), "GET", "/inside") == "/inside"

    async def test_a_parameter_that_its_converter_refuses(self) -> None:
        app = with_index(routed("/{x:int}", "/{x}"))
        assert finds(app, "GET", "/" + "9" * 5000) is None
        assert "ValueError" in (await ask(app, "GET", "/" + "9" * 5000)).raised

    async def test_a_route_added_to_an_included_router_after_the_start(self, settings: Settings) -> None:
        router = things()
        app = create_app(settings, registry=[feature(router)])
        async with running(app), client_of(app) as client:
            router.get("/late")(who_asks)
            assert (await client.get("/late")).status_code == 503
            assert (await client.get("/things/7", headers=as_(READER))).status_code == 200


class TestNotUsed:
    def test_with_redirects_to_the_other_slash(self) -> None:
        app = routed("/a")
        app.router.redirect_slashes = True
        assert indexed(app) == app.routes

    @pytest.mark.parametrize(
        "name",
        [
            "_IncludedRouter",
            "get_route_path",
            "_route_selected",
            "_FASTAPI_SCOPE_KEY",
            "_FASTAPI_EFFECTIVE_ROUTE_CONTEXT_KEY",
            "_FASTAPI_INCLUDED_ROUTER_KEY",
            "_FASTAPI_FORM_LIMITS_KEY",
        ],
    )
    def test_with_a_fastapi_that_lacks_a_name(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        app = routed("/a")
        with monkeypatch.context() as patch, capture_logs() as lines:
            patch.delattr(fastapi.routing, name)
            assert indexed(app) == app.routes
        assert [line["event"] for line in lines] == ["http.route_index_missing"]
        assert name in lines[0]["reason"]
        assert isinstance(indexed(app)[0], RouteIndex)


class TestUnseen:
    async def test_openapi_has_the_routes_alone(self, service: Service) -> None:
        described = get_openapi(title="", version="", routes=service.app.routes)
        assert described == get_openapi(title="", version="", routes=unindexed(service.app.routes))
        assert list(service.app.openapi()["paths"]) == ["/v1/things/{thing_id}"]

    async def test_a_route_is_still_found_by_its_name(self, service: Service) -> None:
        index_of(service.app)
        assert service.app.url_path_for("read", thing_id=7) == "/v1/things/7"
        with pytest.raises(NoMatchFound):
            service.app.url_path_for("nothing")

    async def test_the_audit_lists_no_index_and_a_second_one_makes_one_anew(
        self, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        audits: list[BootAudit] = []
        run = BootAudit.run

        def kept(audit: BootAudit) -> Any:
            audits.append(audit)
            return run(audit)

        monkeypatch.setattr(BootAudit, "run", kept)
        first = audited(settings, registry=[feature(things())]).routes
        again = run(audits[0])
        assert [route.path for route in again] == [route.path for route in first]
        assert "/things/{thing_id}" in {route.path for route in first}
        found = audits[0].app.routes
        assert [type(route) for route in found].count(RouteIndex) == 1
        assert isinstance(found[0], RouteIndex)

    async def test_dependency_overrides_that_come_after_the_start(self, service: Service) -> None:
        service.app.dependency_overrides[who_asks] = lambda: "the test's"
        answer = await service.client.get("/v1/things/7", headers=as_(READER))
        assert answer.json()["who"] == "the test's"

    async def test_the_limit_of_an_include_holds(self, settings: Settings) -> None:
        def small(app: FastAPI) -> None:
            app.include_router(things("/small"), max_body_size=5)

        async with serving(settings, feature(APIRouter()), tokens=None, change=small) as service:
            assert finds(service.app, "POST", "/small/things/7") is not None
            bodies: tuple[dict[str, str], ...] = ({}, {"name": "tea"})
            answers = [
                await service.client.post("/small/things/7", headers=as_(READER), json=body)
                for body in bodies
            ]
        assert [answer.status_code for answer in answers] == [200, 413]

    @each_case("is_included", [True, False])
    async def test_telemetry_has_the_whole_template(self, is_included: bool) -> None:
        exporter, provider = InMemorySpanExporter(), TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        app = FastAPI(redirect_slashes=False, telemetry={"tracer_provider": provider})
        if is_included:
            router = FastAPIRouter()
            add(router, "/{x}")
            app.include_router(router, prefix="/a")
        else:
            add(app.router, "/a/{x}")
        for routes in (unindexed(app.routes), indexed(app)):
            app.router.routes = routes
            async with client_of(app) as client:
                assert (await client.get("/a/b")).status_code == 200
        spans = [
            (span.name, dict(span.attributes or {})["http.route"]) for span in exporter.get_finished_spans()
        ]
        assert spans == [("GET /a/{x}", "/a/{x}")] * 2

    async def test_no_route_can_be_taken_away_from_it(self, service: Service) -> None:
        routes = service.app.router.routes
        assert isinstance(routes, list)
        with pytest.raises(ConfigurationError, match="has started"):
            routes.remove(routes[-1])
        with pytest.raises(ConfigurationError, match="has started"):
            del routes[-1]
        for act in (routes.pop, routes.clear, routes.reverse):
            with pytest.raises(ConfigurationError, match="has started"):
                act()
        with pytest.raises(ConfigurationError, match="has started"):
            routes.sort(key=str)
        with pytest.raises(ConfigurationError, match="has started"):
            routes *= 0
