"""What is remembered between applications changes none of them."""

from typing import Any

import fastapi.routing
import pytest
from fastapi import APIRouter, Depends, FastAPI
from fastapi.routing import iter_route_contexts

from app.features.records.router import router
from app.main import create_app
from app.settings import Settings
from tests.built_once import building_once


def the_dependency() -> None: ...


def contexts(app: FastAPI) -> list[Any]:
    return [context for context in iter_route_contexts(app.routes) if context.methods]


def including(*dependencies: Any) -> FastAPI:
    app = FastAPI(openapi_url=None)
    app.include_router(router, dependencies=dependencies)
    return app


def test_the_service_is_described_as_without_it(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, built_once: dict[tuple[Any, str], Any]
) -> None:
    with_it = [create_app(settings).openapi() for _ in range(2)]
    for (module, name), plain in built_once.items():
        monkeypatch.setattr(module, name, plain)
    assert with_it == [create_app(settings).openapi()] * 2


def test_what_one_application_takes_from_its_routes_the_next_one_has() -> None:
    first, second = contexts(including()), contexts(including())
    assert any(one.dependant.dependencies for one in first)
    for one, other in zip(first, second, strict=True):
        assert one.dependant == other.dependant
        kept = len(other.dependant.dependencies)
        one.dependant.dependencies.clear()
        assert len(other.dependant.dependencies) == kept
    assert [len(one.dependant.dependencies) for one in contexts(including())] == [
        len(one.dependant.dependencies) for one in second
    ]


def test_routes_are_remembered_and_other_dependencies_are_other_routes() -> None:
    plain, again = contexts(including()), contexts(including())
    assert plain[0].response_field is again[0].response_field
    more = contexts(including(Depends(the_dependency)))
    for one, other in zip(plain, more, strict=True):
        assert len(other.dependant.dependencies) == len(one.dependant.dependencies) + 1
        assert other.dependant.dependencies[0].call is the_dependency


def test_what_a_test_makes_is_not_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    reads = list[Any]()
    plain = fastapi.routing._build_dependant_with_parameterless_dependencies

    def counted(**more: Any) -> Any:
        reads.append(more["call"])
        return plain(**more)

    monkeypatch.setattr(fastapi.routing, "_build_dependant_with_parameterless_dependencies", counted)
    with building_once():
        own = APIRouter()
        own.add_api_route("/own", the_dependency)
        for _ in range(2):
            app = FastAPI(openapi_url=None)
            app.include_router(own)
            contexts(app)
    assert reads.count(the_dependency) == 3
