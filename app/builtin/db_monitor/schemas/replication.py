"""Standbys, slots and the archive."""

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class StandbyOut(Out):
    """A server that streams from this one. ``lag_s`` is null when it is idle and has everything."""

    application: str
    address: str | None
    state: str
    sync_state: str
    unsent_bytes: int | None
    lag_bytes: int | None
    lag_s: float | None
    heard_s: float | None


class SlotOut(Out):
    """A replication slot; ``retained_bytes`` of WAL are kept for it, ``safe_bytes`` more until it is lost (null: no limit)."""

    name: str
    type: str
    database: str | None
    plugin: str | None
    is_active: bool
    is_temporary: bool
    is_synced: bool
    retained_bytes: int | None
    wal_status: str | None
    safe_bytes: int | None
    inactive_s: float | None
    invalidated_by: str | None
    row_age: int | None


class OwnLagOut(Out):
    """Of a server that is a standby itself; ``receiver`` null: it receives nothing."""

    receiver: str | None
    is_paused: bool
    lag_bytes: int | None
    lag_s: float | None


class ReplicationOut(Out):
    """``own`` is null on a primary; ``archived_s``: seconds since the last WAL file was archived."""

    is_standby: bool
    wal_level: str
    waits_for_standby: bool
    archive_failures: int
    archived_s: float | None
    standbys: list[StandbyOut]
    slots: list[SlotOut]
    own: OwnLagOut | None
    findings: list[FindingOut]
