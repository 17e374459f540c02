"""``app.dependency_overrides[get_db]`` for those, too, who ask for the session that only reads."""

from collections.abc import Callable
from typing import Any

from fastapi import FastAPI

from app.core.db import get_db, get_read_db

Overrides = dict[Callable[..., Any], Callable[..., Any]]


class SessionOverrides:
    """What FastAPI asks for overrides: the application's own, among which that of ``get_db`` serves ``get_read_db`` as well.

    Unless that has one of its own. It looks at the application each time, so a test may replace the whole dictionary.
    """

    __slots__ = ("_app",)

    def __init__(self, app: FastAPI) -> None:
        self._app = app

    @property
    def dependency_overrides(self) -> Overrides:
        """As FastAPI's."""
        overrides: Overrides = self._app.dependency_overrides
        if not overrides or get_db not in overrides or get_read_db in overrides:
            return overrides
        return {**overrides, get_read_db: overrides[get_db]}


def override_reads_too(app: FastAPI) -> None:
    """Call it before any router is included: they remember whom to ask."""
    app.router.dependency_overrides_provider = SessionOverrides(app)
