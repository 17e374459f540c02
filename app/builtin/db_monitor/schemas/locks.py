"""Who waits for whom."""

from datetime import datetime

from app.builtin.db_monitor.schemas.findings import FindingOut
from app.builtin.db_monitor.schemas.out import Out


class LockSessionOut(Out):
    """A session that waits for a lock or holds others up. ``depth`` 0 is the head of a queue; ``blocked_by`` are pids, 0 a prepared
    transaction; ``holds_up`` others wait behind it. Seconds; the statement is redacted.
    """

    pid: int
    blocked_by: list[int]
    depth: int
    holds_up: int
    kind: str
    application: str
    role: str
    database: str
    state: str
    waits_for: str | None
    lock_mode: str | None
    relation: str | None
    waiting_s: float | None
    transaction_s: float | None
    statement: str


class OpenTransactionOut(Out):
    """An open transaction, seconds since it and its statement began; the statement is redacted."""

    pid: int
    application: str
    role: str
    database: str
    state: str
    waits_for: str | None
    transaction_s: float | None
    statement_s: float | None
    statement: str


class LocksOut(Out):
    """Queues from their heads down, and the oldest open transactions. ``deadlocks`` since ``stats_reset`` (null: always)."""

    sessions: list[LockSessionOut]
    transactions: list[OpenTransactionOut]
    deadlocks: int
    stats_reset: datetime | None
    findings: list[FindingOut]
