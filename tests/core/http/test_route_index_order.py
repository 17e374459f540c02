"""Whatever the routes: with the index in front, FastAPI chooses the same route, and leaves the same scope, as without it."""

import asyncio
import re
from collections.abc import Callable
from random import Random
from typing import Any, cast

from fastapi import APIRouter, FastAPI, Response
from fastapi.routing import iter_route_contexts
from hypothesis import event, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from tests.core.http.routing import Gated, Plain, finds, tell, without_and_with

EXAMPLES = 100
REQUESTS = 30
"""Asked of each application."""

bounded = hypothesis_settings(max_examples=EXAMPLES, deadline=None, derandomize=True)

Act = Callable[[APIRouter, int], None]
METHODS = ("GET", "POST", "DELETE")
TEXTS = (
    "a",
    "b",
    "a",
    "b",
    "{}",
    "{}",
    "{}",
    "{:int}",
    "{:path}",
    "{:uuid}",
    "{:float}",
    "{}.json",
    "a{}",
    "a{:path}",
)
UUID = "00000000-0000-7000-8000-00000000000a"
ASKED = ("a", "b", "a", "b", "5", "5.5", UUID, "x.json", "a5", "", "c", "a\n", "\n", "9" * 4400)

# What is drawn again and again is made once: to make and check a strategy takes longer than to draw from it.
PARTS = {longest: st.lists(st.sampled_from(TEXTS), min_size=1, max_size=longest) for longest in (1, 3)}
ENDS = st.sampled_from(("", "", "", "/"))
KINDS = st.sampled_from(["gated"] * 8 + ["plain", "route", "mount", "websocket"])
METHOD_SETS = st.sets(st.sampled_from(METHODS), min_size=1, max_size=2)
OWN_PREFIXES = st.sampled_from(("", "/b"))
LIMITS = st.sampled_from((None, None, {"max_fields": 3}, {"max_files": 2, "max_fields": 9}))


@st.composite
def templates(draw: st.DrawFn, longest: int = 3, *, may_slash: bool = True) -> str:
    """A path template; ``{}`` becomes a parameter with a name that nothing else has."""
    parts = draw(PARTS[longest])
    end = draw(ENDS) if may_slash else ""
    return "/" + "/".join(parts) + end


TEMPLATES = templates()
PREFIXES = st.one_of(st.just(""), templates(1, may_slash=False))


def named(template: str, start: int) -> str:
    """With names for its parameters: p<start> and on."""
    parts = template.split("{")
    return parts[0] + "".join("{p" + str(start + n) + part for n, part in enumerate(parts[1:]))


async def endpoint(*_: Any) -> Response:
    """Of starlette's own routes."""
    return Response()


def an_endpoint(number: int) -> Any:
    async def one() -> None: ...

    one.__name__ = f"endpoint_{number}"
    return one


@st.composite
def routes(draw: st.DrawFn) -> Act:
    kind, path, methods = draw(KINDS), draw(TEMPLATES), draw(METHOD_SETS)

    def add(router: APIRouter, depth: int) -> None:
        place = named(path, depth * 10)
        if kind == "mount":
            router.mount(place.rstrip("/"), tell)
        elif kind == "websocket":
            router.add_websocket_route(place, cast("Any", endpoint))
        elif kind == "route":
            router.add_route(place, endpoint, list(methods))
        else:
            one = {"gated": Gated, "plain": Plain}[kind]
            router.add_api_route(
                place, an_endpoint(len(router.routes)), methods=list(methods), route_class_override=one
            )

    return add


@st.composite
def includes(draw: st.DrawFn, inner: st.SearchStrategy[list[Act]]) -> Act:
    prefix, own_prefix, limits, acts = draw(PREFIXES), draw(OWN_PREFIXES), draw(LIMITS), draw(inner)

    def add(router: APIRouter, depth: int) -> None:
        included = APIRouter(prefix=own_prefix)
        for act in acts:
            act(included, depth + 1)
        router.include_router(included, prefix=named(prefix, depth * 10), form_limits=cast("Any", limits))

    return add


ROUTES = routes()
TREES = st.recursive(
    st.lists(ROUTES, min_size=1, max_size=6),
    lambda inner: st.lists(st.one_of(ROUTES, includes(inner)), min_size=1, max_size=5),
    max_leaves=4,
)


def built(acts: list[Act], **limits: int) -> FastAPI:
    app = FastAPI(redirect_slashes=False, openapi_url=None)
    app.router.form_limits = cast("Any", limits)
    for act in acts:
        act(app.router, 0)
    return app


def asked_of(app: FastAPI, seed: int, prefix: str = "") -> list[tuple[str, str]]:
    """Requests for its routes: most paths fit one of its templates, or nearly."""
    random = Random(seed)
    paths = [context.path or "/" for context in iter_route_contexts(app.routes)]
    fitting = [filled(random.choice(paths), random) for _ in range(REQUESTS)]
    others = ["/".join(["", *random.choices(ASKED, k=random.randrange(6))]) for _ in range(REQUESTS // 5)]
    methods = (*METHODS, "GET", "GET", "HEAD", "PUT")
    asked = [(random.choice(methods), prefix + path) for path in fitting + others]
    return asked + random.choices(asked, k=len(asked) // 3)  # the index may remember what it has found


def filled(template: str, random: Random) -> str:
    path = re.sub(r"\{[^}]*\}", lambda _: random.choice(ASKED), template)
    return path + random.choice(("",) * 8 + ("/", "\n", "/b"))


def compare(app: FastAPI, asked: list[tuple[str, str]], **more: Any) -> None:
    plain, with_index = asyncio.run(without_and_with(app, asked, **more))
    for request, one, other in zip(asked, plain, with_index, strict=True):
        assert other == one, request
    for method, path in asked:
        event("found by the index" if finds(app, method, path) else "left to FastAPI")


@bounded
@given(TREES, st.integers(0, 2**32), st.sampled_from(({}, {"path_params": {"outer": 1}})))
def test_the_same_route_and_the_same_scope(acts: list[Act], seed: int, more: dict[str, Any]) -> None:
    app = built(acts, max_part_size=5)
    compare(app, asked_of(app, seed), **more)


@bounded
@given(TREES, st.integers(0, 2**32), st.sampled_from(("/api", "/a", "/a/b")))
def test_the_same_under_a_root_path(acts: list[Act], seed: int, root: str) -> None:
    app = built(acts)
    compare(app, asked_of(app, seed) + asked_of(app, seed, root), root_path=root)
