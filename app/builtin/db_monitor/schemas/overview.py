"""The overview."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class ServerOut(Out):
    """The watched server. ``stats_reset``: since when its statistics count; None: since they were first kept."""

    version_name: str
    database: str
    is_standby: bool
    started_at: datetime
    stats_reset: datetime | None


class CheckOut(BaseModel):
    """One check: its worst finding as ``state`` and in ``words``; ``unknown`` has no answer, and ``words`` say why. ``page`` is the
    page for people that says more, ``took_ms`` what asking cost.
    """

    title: str
    page: str
    state: Literal["ok", "info", "warning", "critical", "unknown"]
    words: str
    took_ms: float


class CostlyOut(BaseModel):
    """A statement and what it takes of a day, in milliseconds, if the day is as the window was. ``queryid`` is for ``analyze-query``;
    ``statement`` is without values.
    """

    queryid: str
    statement: str
    ms_per_day: float


class PerformanceOut(BaseModel):
    """Every check, the statements that take most of a day, and all findings, the worst first."""

    server: ServerOut
    checks: list[CheckOut]
    costly: list[CostlyOut]
    findings: list[FindingOut]
