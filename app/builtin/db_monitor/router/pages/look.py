"""What every page of the monitor stands on: its gate, its templates, its data."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import Depends, Request
from starlette.responses import Response

from app.builtin.db_monitor.service import Board
from app.core import Bulkhead, JobConfig, Pages, Security, provided
from app.core.http import Script

SEE = JobConfig(
    security=Security(scopes=("read:monitor",)),
    bulkhead=Bulkhead(max=8, queue=64),
    timeout=10,
)
"""Of pages that only look. They are not cached, for they hold a session's forms; what they show is (``Board``)."""

Shown = Annotated[Board, Depends(provided(Board))]

TABS: tuple[tuple[str, str], ...] = (
    ("/ui/db-monitor/connections", "Connections"),
    ("/ui/db-monitor/server", "Server"),
)
_pages = Pages("app.builtin.db_monitor")


def answer(
    request: Request,
    template: str,
    *,
    scripts: Sequence[Script] = ("live", "copy"),
    status: int = 200,
    **values: Any,
) -> Response:
    """The page in the monitor's layout; ``tab`` is the path under which the tabs show it, if it is none of them itself."""
    values.setdefault("tab", request.url.path)
    return _pages.answer(request, template, scripts=scripts, status=status, tabs=TABS, **values)
