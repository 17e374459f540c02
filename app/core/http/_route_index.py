"""The route index: finds the audited route of a request at once, where FastAPI asks one route after the other, twice.

It stands in front of the application's routes and answers only for what it knows for certain: the first route, in FastAPI's order, that
takes this path and this method. For everything else (405, mounts, pages, redirects, nothing found) it says that nothing matches, and
FastAPI looks for itself.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NoReturn

import structlog
from fastapi import FastAPI
from starlette.convertors import (
    FloatConvertor,
    IntegerConvertor,
    PathConvertor,
    StringConvertor,
    UUIDConvertor,
)
from starlette.routing import PARAM_REGEX, BaseRoute, Match, NoMatchFound
from starlette.types import Receive, Scope, Send

from app.core.http._route import GatedRoute, template
from app.core.http._route_tree import Leaf, Names, leaves
from app.core.http._state import SCOPE_KEY, RequestState

_WITHIN_ONE_SEGMENT = (StringConvertor, IntegerConvertor, FloatConvertor, UUIDConvertor)
_PLAIN = (*_WITHIN_ONE_SEGMENT, PathConvertor)
_TELEMETRY = "fastapi.telemetry"
_SHORT, _MOST_SEEN = 120, 1024

_log = structlog.get_logger(__name__)


def indexed(app: FastAPI) -> list[BaseRoute]:
    """The application's routes with an index in front; without one where it could not be faithful.

    Call it when all routes are there: those that come later are found after the ones that the index has.
    """
    routes = unindexed(app.routes)
    if app.router.redirect_slashes:
        # FastAPI asks every route about the path with another slash, and cannot tell whose path the index has found.
        return routes
    try:
        index = RouteIndex(routes, Names.read())
    except AttributeError as error:
        _log.warning("http.route_index_missing", reason=str(error))
        return routes
    return [index, *routes]


def unindexed(routes: Iterable[BaseRoute]) -> list[BaseRoute]:
    """The routes alone."""
    return [route for route in routes if not isinstance(route, RouteIndex)]


class RouteIndex(BaseRoute):
    """Not a route of its own: has no path and no name, and is in no document."""

    def __init__(self, routes: Iterable[BaseRoute], names: Names) -> None:
        self._names = names
        self._seen: dict[tuple[str, str], _Found] = {}
        self._exact: dict[str, Sequence[_Group]] = {}
        self._table: list[_Row] = []
        self._fill(_patterns(routes, names))

    def _fill(self, patterns: Sequence["_Pattern"]) -> None:
        paths = {pattern.path for pattern in patterns if pattern.is_static}
        self._exact = {path: _grouped(p for p in patterns if p.regex.match(path)) for path in paths}
        # What is static is in the other table already, with all that could come before it.
        rest = [pattern for pattern in patterns if not pattern.is_static]
        firsts = {pattern.first for pattern in rest if pattern.first is not None}
        # The last row is for all longer paths too.
        for slashes in range(max((pattern.slashes for pattern in rest), default=0) + 1):
            level = [pattern for pattern in rest if pattern.may_have(slashes)]
            by_first = {
                first: _grouped(p for p in level if p.first is None or p.first == first) for first in firsts
            }
            self._table.append(_Row(by_first, _grouped(p for p in level if p.first is None)))

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """FULL with what FastAPI would put into the scope, or NONE."""
        if scope["type"] != "http":
            return Match.NONE, {}
        state: RequestState | None = scope.get(SCOPE_KEY)
        if state is not None and state.found is not None:
            return Match.FULL, state.found
        path, method = self._names.path_of(scope), scope["method"]
        found = self._seen.get((method, path)) or self._search(method, path)
        if found is None:
            return Match.NONE, {}
        entry, params = found
        return Match.FULL, self._child(scope, entry, {**params})

    def _search(self, method: str, path: str) -> "_Found | None":
        for group in self._candidates(path):
            if (match := group.match(path)) is None:
                continue
            if group.by_method is None:
                return None
            params = match.groupdict()
            try:
                for name, convert in group.converts:
                    params[name] = convert(params[name])
            except ValueError:
                return None  # so it fails where FastAPI converts, in FastAPI's way
            if (entry := group.by_method.get(method)) is not None:
                found = entry, params
                if group.is_plain and len(path) <= _SHORT:
                    self._remember(method, path, found)
                return found
        return None

    def _remember(self, method: str, path: str, found: "_Found") -> None:
        """Callers make up paths as they like: what is remembered is short, and forgotten when it is much."""
        if len(self._seen) >= _MOST_SEEN:
            self._seen.clear()
        self._seen[method, path] = found

    def _candidates(self, path: str) -> Sequence["_Group"]:
        if (groups := self._exact.get(path)) is not None:
            return groups
        # A pattern's end matches before a last line feed too, which no table here knows.
        if path[:1] != "/" or path[-1] == "\n":
            return ()
        end = path.find("/", 1)
        first = path[1:] if end < 0 else path[1:end]
        row = self._table[min(path.count("/"), len(self._table) - 1)]
        return row.by_first.get(first, row.other)

    def _child(self, scope: Scope, entry: Leaf, params: dict[str, Any]) -> Scope:
        outer = scope.get("path_params")
        child: Scope = {
            "endpoint": entry.context.endpoint,
            "path_params": {**outer, **params} if outer else params,
            "route": entry.route,
        }
        if entry.fastapi is not None:
            child[self._names.scope] = (
                entry.fastapi if entry.limits is None else self._limited(scope, entry, entry.limits)
            )
        return child

    def _limited(self, scope: Scope, entry: Leaf, limits: Mapping[str, Any]) -> dict[str, Any]:
        names = self._names
        inherited = scope.get(names.scope, {}).get(names.limits_key, {})
        return {**(entry.fastapi or {}), names.limits_key: {**inherited, **limits}}

    async def ask_gate(self, scope: Scope, receive: Receive, send: Send) -> bool:
        """Let the gate of the request's route answer it, where the index knows the route. True: it has; else FastAPI goes on with it."""
        match, found = self.matches(scope)
        if match is not Match.FULL:
            return False
        scope[SCOPE_KEY].found = found  # it need not be looked for again
        route: GatedRoute = found["route"]
        own = found.get(self._names.scope)
        if own is not None:
            scope.setdefault(self._names.scope, {}).update(own)
        scope["endpoint"], scope["route"], scope["path_params"] = (
            found["endpoint"],
            route,
            found["path_params"],
        )
        scope.setdefault("router", scope["app"].router)
        self._tell(scope, route)
        return await route.ask_gate(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand over to the route that was found."""
        route: GatedRoute = scope["route"]
        self._tell(scope, route)
        await route.handle(scope, receive, send)

    def _tell(self, scope: Scope, route: GatedRoute) -> None:
        if scope.get(_TELEMETRY) is not None:
            self._names.selected(scope=scope, path=template(scope, route))

    def url_path_for(self, name: str, /, **path_params: Any) -> NoReturn:
        """The routes themselves are asked next."""
        raise NoMatchFound(name, path_params)


@dataclass(frozen=True, slots=True)
class _Row:
    """Candidates for paths of one length, by the first segment."""

    by_first: Mapping[str, Sequence["_Group"]]
    other: Sequence["_Group"]


@dataclass(frozen=True, slots=True)
class _Group:
    """Routes with one pattern that stand next to each other. by_method: None where FastAPI must look for itself."""

    match: Callable[[str], re.Match[str] | None]
    converts: Sequence[tuple[str, Callable[[str], Any]]]
    by_method: Mapping[str, Leaf] | None
    is_plain: bool
    """Whether its parameters are values that nobody can change, so that requests may share them."""


_Found = tuple[Leaf, Mapping[str, Any]]


class _Pattern:
    """A route's path template: which paths it can match, for certain."""

    def __init__(self, leaf: Leaf, path: str) -> None:
        self.leaf = leaf
        self.path = path
        self.regex: re.Pattern[str] = leaf.context.path_regex
        self.convertors: Mapping[str, Any] = leaf.context.param_convertors
        self.is_static = not self.convertors
        self.slashes = PARAM_REGEX.sub("", path).count("/")
        first = path.split("/", 2)[1]
        self.first = None if "{" in first else first
        self._has_more = any(type(c) not in _WITHIN_ONE_SEGMENT for c in self.convertors.values())

    def may_have(self, slashes: int) -> bool:
        """Whether a path with so many of them can match."""
        return self.slashes <= slashes if self._has_more else self.slashes == slashes

    @property
    def methods(self) -> Iterable[str]:
        """Those for which the index may choose the route; none: it must leave the path to FastAPI."""
        return (self.leaf.context.methods or ()) if isinstance(self.leaf.route, GatedRoute) else ()

    def group(self) -> _Group:
        """Alone."""
        methods = dict.fromkeys(self.methods, self.leaf)
        converts = [(n, c.convert) for n, c in self.convertors.items() if type(c) is not StringConvertor]
        is_plain = all(type(c) in _PLAIN for c in self.convertors.values())
        return _Group(self.regex.match, converts, methods or None, is_plain)


def _patterns(routes: Iterable[BaseRoute], names: Names) -> list[_Pattern]:
    """In FastAPI's order, up to the first route that cannot be judged by its path."""
    found = []
    for leaf in leaves(routes, names):
        if leaf.is_for_websockets:
            continue
        if (path := leaf.template()) is None:
            break
        found.append(_Pattern(leaf, path))
    return found


def _grouped(patterns: Iterable[_Pattern]) -> tuple[_Group, ...]:
    groups: list[_Group] = []
    last: _Pattern | None = None
    for pattern in patterns:
        group, before = pattern.group(), groups[-1].by_method if groups else None
        is_same = last is not None and (last.regex, last.convertors) == (pattern.regex, pattern.convertors)
        if is_same and before is not None and group.by_method is not None:
            groups[-1] = replace(group, by_method={**group.by_method, **before})
        else:
            groups.append(group)
        last = pattern
    return tuple(groups)
