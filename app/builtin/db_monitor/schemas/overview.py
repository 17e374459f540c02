"""The overview."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.builtin.db_monitor.schemas.findings import FindingOut

State = Literal["ok", "info", "warning", "critical", "unknown"]


class ServerOut(BaseModel):
    """The watched server. ``stats_reset``: since when its statistics count; None: since they were first kept."""

    model_config = ConfigDict(from_attributes=True)

    version_name: str
    database: str
    is_standby: bool
    started_at: datetime
    stats_reset: datetime | None


class CheckOut(BaseModel):
    """One check: its worst finding as ``state``; ``unknown`` has a ``reason``. ``took_ms`` is what asking cost."""

    name: str
    title: str
    state: State
    reason: str | None
    findings: int
    took_ms: float


class PerformanceOut(BaseModel):
    """Every check, the three things to do first, and all findings, the worst first."""

    server: ServerOut
    checks: list[CheckOut]
    actions: list[FindingOut]
    findings: list[FindingOut]
