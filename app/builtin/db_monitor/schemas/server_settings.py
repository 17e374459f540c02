"""Settings of the server."""

from typing import Literal

from pydantic import BaseModel, ConfigDict

from app.builtin.db_monitor.schemas.findings import FindingOut


class SettingOut(BaseModel):
    """A setting that was judged; look: it depends on what cannot be seen from here."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    value: str
    source: str
    pending_restart: bool
    verdict: Literal["ok", "look", "change"]
    reason: str


class ServerSettingsOut(BaseModel):
    """``wal_bytes`` on disk (null: not ours to see); checkpoints since their statistics count."""

    model_config = ConfigDict(from_attributes=True)

    version: int
    wal_bytes: int | None
    checkpoints_timed: int
    checkpoints_requested: int
    settings: list[SettingOut]
    findings: list[FindingOut]
