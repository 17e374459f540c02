"""What libraries build anew for every application and every command line, although it is the same each time: built once here.

FastAPI reads every signature of a route again for each application that includes its router: half of what starting one costs. Typer
builds every command for each call, of which a process has one and these tests hundreds. A real process does either once.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from typing import Any

import fastapi._compat.v2
import fastapi.routing
import pytest
import typer.main
from fastapi.dependencies.models import Dependant

Built = tuple[Dependant, list[Any], bool]


def _copied(node: Dependant) -> Dependant:
    """An application changes the tree of its own routes; what stands in it is not changed."""
    return replace(
        node,
        path_params=[*node.path_params],
        query_params=[*node.query_params],
        header_params=[*node.header_params],
        cookie_params=[*node.cookie_params],
        body_params=[*node.body_params],
        dependencies=[_copied(child) for child in node.dependencies],
    )


def _is_of_the_service(call: Callable[..., Any]) -> bool:
    """Such functions stay as long as the process; others may be made for one test, and are not kept."""
    return call.__module__.startswith("app.") and "<locals>" not in call.__qualname__


def _once_per_route(build: Callable[..., Built]) -> Callable[..., Built]:
    built: dict[Any, tuple[Any, Built]] = {}

    def remembered(*, path: str, call: Callable[..., Any], dependencies: Any) -> Built:
        if not _is_of_the_service(call):
            return build(path=path, call=call, dependencies=dependencies)
        key = (path, id(call), *((id(it.dependency), repr(it)) for it in dependencies))
        if key not in built:
            kept = [it.dependency for it in dependencies]  # so that no other object gets its id
            built[key] = kept, build(path=path, call=call, dependencies=dependencies)
        tree, body, embedded = built[key][1]
        return _copied(tree), [*body], embedded

    return remembered


def _once_per_model(create: Callable[..., Any]) -> Callable[..., Any]:
    created: dict[Any, Any] = {}

    def remembered(name: str, type_: Any, **more: Any) -> Any:
        if more != {"mode": "serialization"} or not getattr(type_, "__module__", "").startswith("app."):
            return create(name=name, type_=type_, **more)
        key = name, type_
        if key not in created:
            created[key] = create(name=name, type_=type_, **more)
        return created[key]

    return remembered


def _once_described(fields_of: Callable[[type], list[Any]]) -> Callable[[type], list[Any]]:
    """The fields of a model, which a description asks for wherever the model stands."""
    described: dict[type, list[Any]] = {}

    def remembered(model: type) -> list[Any]:
        if not model.__module__.startswith("app."):
            return fields_of(model)
        if model not in described:
            described[model] = fields_of(model)
        return [*described[model]]

    return remembered


@contextmanager
def building_once() -> Iterator[dict[tuple[Any, str], Any]]:
    """Until the block ends; applications that were built meanwhile work on. Gives what was there before, by its place in FastAPI."""
    wrappers: dict[tuple[Any, str], Callable[[Any], Any]] = {
        (fastapi.routing, "_build_dependant_with_parameterless_dependencies"): _once_per_route,
        (fastapi.routing, "create_model_field"): _once_per_model,
        (fastapi._compat.v2, "get_model_fields"): _once_described,
    }
    plain = {(module, name): getattr(module, name) for module, name in wrappers}
    with pytest.MonkeyPatch.context() as patch:
        for (module, name), wrap in wrappers.items():
            patch.setattr(module, name, wrap(plain[module, name]))
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield plain
