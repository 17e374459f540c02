"""Settings of the server."""

from typing import Literal

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class SettingOut(Out):
    """A setting that was judged; look: it depends on what cannot be seen from here."""

    name: str
    value: str
    source: str
    pending_restart: bool
    verdict: Literal["ok", "look", "change"]
    reason: str


class ServerSettingsOut(Out):
    """``wal_bytes`` on disk (null: not ours to see); checkpoints since their statistics count."""

    version: int
    wal_bytes: int | None
    checkpoints_timed: int
    checkpoints_requested: int
    settings: list[SettingOut]
    findings: list[FindingOut]
