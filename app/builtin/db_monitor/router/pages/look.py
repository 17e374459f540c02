"""What every page of the monitor stands on: its gate, its templates, its data."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from starlette.responses import Response

from app.builtin.db_monitor.service import Board
from app.core import Bulkhead, JobConfig, Pages, Security, provided
from app.core.context import current_context
from app.core.errors import NotFound
from app.core.http import Script
from app.core.monitor import Panel

_T = TypeVar("_T")

SEE = JobConfig(
    security=Security(scopes=("read:monitor",)),
    bulkhead=Bulkhead(max=8, queue=64),
    timeout=10,
)
"""Of pages that only look. They are not cached, for they hold a session's forms; what they show is (``Board``)."""

Shown = Annotated[Board, Depends(provided(Board))]

HOME = "/ui/db-monitor"
WITH_CHARTS: tuple[Script, ...] = ("live", "copy", "charts")
_TABS: tuple[tuple[str, str, str], ...] = (
    ("", "Overview", "read:monitor"),
    ("/queries", "Queries", "read:monitor"),
    ("/explain", "Explain", "write:monitor"),
    ("/indexes", "Indexes", "read:monitor"),
    ("/tables", "Tables", "read:monitor"),
    ("/connections", "Connections", "read:monitor"),
    ("/cache", "Cache", "read:monitor"),
    ("/n-plus-one", "N+1", "read:monitor"),
    ("/server", "Server", "read:monitor"),
)
_pages = Pages("app.builtin.db_monitor")


def answer(
    request: Request,
    template: str,
    *,
    tab: str | None = None,
    scripts: Sequence[Script] = ("live", "copy"),
    status: int = 200,
    **values: Any,
) -> Response:
    """The page in the monitor's layout. ``tab``: the path below ``/ui/db-monitor`` that is marked, where it is not the page's own."""
    marked = request.url.path if tab is None else HOME + tab
    return _pages.answer(
        request, template, scripts=scripts, status=status, tabs=_tabs(), tab=marked, home=HOME, **values
    )


async def look_for(board: Board, name: Hashable, question: Callable[[], Awaitable[_T]]) -> Panel[_T]:
    """As ``board.look``, for what may not be there. Raises NotFound, so that the page is 404; other errors are the panel's."""

    async def ask() -> _T | NotFound:
        try:
            return await question()
        except NotFound as error:
            return error

    found = await board.look(name, ask)
    if isinstance(found.value, NotFound):
        raise found.value
    return Panel(found.value, found.reason, found.took_ms)


def _tabs() -> list[tuple[str, str]]:
    """Of pages that the reader may open."""
    caller = current_context().principal
    scopes = caller.scopes if caller is not None else frozenset[str]()
    return [(HOME + path, title) for path, title, scope in _TABS if scope in scopes]
