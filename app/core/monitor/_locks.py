"""Who waits for whom, and which transactions are open for long."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from app.core.monitor._panel import Finding
from app.core.monitor._redaction import redacted
from app.core.monitor._server import APPLICATION_NAME, Asked

# Locks no table. pg_blocking_pids holds up the lock manager for a moment, so it is asked for those alone that wait for a lock.
# A transaction that waits for a row waits for the other one's number; the table is that of the row lock that it holds meanwhile.
# https://www.postgresql.org/docs/current/functions-info.html#FUNCTIONS-INFO-SESSION
# https://www.postgresql.org/docs/current/view-pg-locks.html
_SESSIONS = """
WITH activity AS MATERIALIZED (SELECT * FROM pg_catalog.pg_stat_activity),
locks AS MATERIALIZED (
  SELECT l.pid, l.granted, l.locktype, l.mode, l.waitstart, n.nspname || '.' || c.relname AS relation
  FROM pg_catalog.pg_locks l
  LEFT JOIN pg_catalog.pg_class c ON c.oid = l.relation
    AND l.database IN (0, (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database()))
  LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE NOT l.granted OR l.locktype = 'tuple'
),
waiting AS MATERIALIZED (
  SELECT a.pid, ARRAY(SELECT DISTINCT unnest(pg_catalog.pg_blocking_pids(a.pid)) ORDER BY 1) AS blocked_by
  FROM activity a WHERE a.wait_event_type = 'Lock' ORDER BY a.query_start LIMIT $1
)
SELECT p.pid, coalesce(w.blocked_by, '{}') AS blocked_by, coalesce(a.backend_type, 'prepared transaction') AS kind,
       coalesce(a.application_name, '') AS application, coalesce(a.usename::text, '') AS role,
       coalesce(a.datname::text, '') AS database, coalesce(a.state, 'unknown') AS state,
       o.locktype AS waits_for, o.mode AS lock_mode, coalesce(o.relation, h.relation) AS relation,
       extract(epoch FROM pg_catalog.clock_timestamp() - o.waitstart)::float8 AS waiting_s,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS transaction_s, coalesce(a.query, '') AS statement
FROM (SELECT pid FROM waiting UNION SELECT unnest(blocked_by) FROM waiting) p
LEFT JOIN waiting w USING (pid)
LEFT JOIN activity a USING (pid)
LEFT JOIN LATERAL (SELECT * FROM locks l WHERE l.pid = p.pid AND NOT l.granted LIMIT 1) o ON true
LEFT JOIN LATERAL (SELECT l.relation FROM locks l WHERE l.pid = p.pid AND l.granted LIMIT 1) h ON o.pid IS NOT NULL
ORDER BY p.pid
"""
_OPEN = """
SELECT a.pid, coalesce(a.application_name, '') AS application, coalesce(a.usename::text, '') AS role,
       coalesce(a.datname::text, '') AS database, coalesce(a.state, 'unknown') AS state,
       a.wait_event_type || ':' || a.wait_event AS waits_for,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS transaction_s,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.query_start)::float8 AS statement_s, a.query AS statement
FROM pg_catalog.pg_stat_activity a
WHERE a.backend_type = 'client backend' AND a.application_name <> $1 AND a.xact_start IS NOT NULL
ORDER BY a.xact_start LIMIT $2
"""
_DEADLOCKS = "SELECT d.deadlocks, d.stats_reset FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()"


@dataclass(frozen=True, slots=True)
class LockSession:
    """One session of a queue for locks: it waits, or others wait for it.

    ``depth`` 0 waits for nobody here; ``holds_up`` others wait for it, also behind one another. ``blocked_by`` are pids, 0 a prepared
    transaction. ``lock_mode`` and ``relation`` are of the lock it waits for. Seconds; None where there is nothing to measure. ``statement``
    is redacted; of a session that idles in its transaction it is the last one.
    """

    pid: int
    blocked_by: tuple[int, ...]
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
    depth: int = 0
    holds_up: int = 0


@dataclass(frozen=True, slots=True)
class OpenTransaction:
    """A transaction that is open, and its statement (redacted), seconds since each began. ``waits_for`` as ``Lock:relation``."""

    pid: int
    application: str
    role: str
    database: str
    state: str
    waits_for: str | None
    transaction_s: float | None
    statement_s: float | None
    statement: str


@dataclass(frozen=True, slots=True)
class Locks:
    """``sessions``: queues one after the other, the longest first, each session below one that it waits for. ``transactions``: the
    oldest of all databases, but the monitor's own. ``deadlocks`` of this database since ``stats_reset`` (None: since it was made).
    """

    sessions: tuple[LockSession, ...]
    transactions: tuple[OpenTransaction, ...]
    deadlocks: int
    stats_reset: datetime | None
    findings: tuple[Finding, ...]


async def locks(
    asked: Asked,
    *,
    waiting_s: float = 5.0,
    critical_s: float = 60.0,
    statement_s: float = 60.0,
    transaction_s: float = 300.0,
    limit: int = 100,
) -> Locks:
    """Who blocks whom at this moment, and the oldest open transactions; at most ``limit`` that wait and 20 that are open.

    Found are who holds up others for ``waiting_s`` (critical from ``critical_s``), statements that run for ``statement_s`` (60 s is
    PgHero's limit too), and transactions open for ``transaction_s``. Texts of other roles need ``pg_monitor``. A moment's picture: what
    it shows may be over before it is read.
    """
    sessions = _queues([_session(row) for row in await asked.fetch(_SESSIONS, limit)])
    opened = tuple(_opened(row) for row in await asked.fetch(_OPEN, APPLICATION_NAME, 20))
    deadlocks = await asked.fetchrow(_DEADLOCKS)
    findings = (*_blockers(sessions, waiting_s, critical_s), *_long(opened, statement_s, transaction_s))
    return Locks(sessions, opened, deadlocks["deadlocks"], deadlocks["stats_reset"], findings)


def _session(row: Mapping[str, Any]) -> LockSession:
    values = {**row, "blocked_by": tuple(row["blocked_by"]), "statement": redacted(row["statement"])}
    return LockSession(**values)


def _opened(row: Mapping[str, Any]) -> OpenTransaction:
    return OpenTransaction(**{**row, "statement": redacted(row["statement"])})


def _queues(found: list[LockSession]) -> tuple[LockSession, ...]:
    """Each queue from its head down. Sessions that wait in a circle have no head: the server ends one of them within a second."""
    behind: dict[int, list[LockSession]] = {}
    for session in found:
        for blocker in session.blocked_by:
            behind.setdefault(blocker, []).append(session)
    told = [replace(session, holds_up=len(_following(session.pid, behind))) for session in found]
    known = {session.pid: session for session in told}
    ordered: dict[int, LockSession] = {}
    heads = sorted(told, key=lambda it: (bool(it.blocked_by), -it.holds_up, it.pid))
    stack = [(head.pid, 0) for head in reversed(heads)]
    while stack:
        pid, depth = stack.pop()
        if pid not in ordered:
            ordered[pid] = replace(known[pid], depth=depth)
            stack.extend((each.pid, depth + 1) for each in reversed(behind.get(pid, ())))
    return tuple(ordered.values())


def _following(pid: int, behind: Mapping[int, list[LockSession]]) -> set[int]:
    seen: set[int] = set()
    waiting = [pid]
    while waiting:
        for session in behind.get(waiting.pop(), ()):
            if session.pid not in seen:
                seen.add(session.pid)
                waiting.append(session.pid)
    return seen - {pid}


def _blockers(sessions: tuple[LockSession, ...], waiting_s: float, critical_s: float) -> list[Finding]:
    findings = []
    for head in (session for session in sessions if session.holds_up and not session.blocked_by):
        direct = [session for session in sessions if head.pid in session.blocked_by]
        longest = max(session.waiting_s or 0.0 for session in direct)
        if longest < waiting_s:
            continue
        what = sorted({session.relation for session in direct if session.relation}) or [
            "no table of this database"
        ]
        age = "unknown" if head.transaction_s is None else f"{head.transaction_s:.0f} s"
        findings.append(
            Finding(
                check="locks.blocked",
                severity="critical" if longest >= critical_s else "warning",
                subject=f"pid {head.pid}",
                title=f"{head.application or head.role or head.kind} holds up {head.holds_up} other sessions",
                evidence=f"the longest waits for {longest:.0f} s ({', '.join(what)}); state {head.state}, transaction open for {age}",
                fix="Let it end its transaction, or end it (pg_terminate_backend); give migrations a lock_timeout",
            )
        )
    return findings


def _long(opened: tuple[OpenTransaction, ...], statement_s: float, transaction_s: float) -> list[Finding]:
    findings = []
    for each in opened:
        runs = (each.statement_s or 0.0) if each.state == "active" else 0.0
        if runs >= statement_s:
            check, title, since = "activity.long_statement", "A statement runs for long", runs
        elif (each.transaction_s or 0.0) >= transaction_s:
            check, title, since = (
                "activity.long_transaction",
                "A transaction stays open for long",
                each.transaction_s or 0.0,
            )
        else:
            continue
        findings.append(
            Finding(
                check=check,
                severity="warning",
                subject=f"pid {each.pid}",
                title=f"{title} ({each.application or each.role})",
                evidence=f"for {since:.0f} s, state {each.state}: {each.statement[:200]}",
                fix="See whether somebody still needs it; while it is open, no vacuum takes away rows that died after it began",
            )
        )
    return findings
