"""Standbys and how far they are behind, slots and what they keep, and the archive."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from app.core.monitor._figures import size
from app.core.monitor._panel import Finding
from app.core.monitor._server import Asked

# Locks nothing. Columns that came with 16 and 17 are read through to_jsonb, which gives NULL where they are not.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-REPLICATION-VIEW
# https://www.postgresql.org/docs/current/view-pg-replication-slots.html
_SERVER = """
SELECT pg_catalog.pg_is_in_recovery() AS is_standby, current_setting('wal_level') AS wal_level,
       current_setting('synchronous_standby_names') <> ''
         AND current_setting('synchronous_commit') NOT IN ('off', 'local') AS waits_for_standby,
       current_setting('max_slot_wal_keep_size') = '-1' AS keeps_without_limit,
       a.failed_count > 0 AND coalesce(a.last_failed_time > a.last_archived_time, true) AS archive_fails,
       a.failed_count AS archive_failures, extract(epoch FROM pg_catalog.clock_timestamp() - a.last_archived_time)::float8 AS archived_s
FROM pg_catalog.pg_stat_archiver a
"""
_HERE = "CASE WHEN pg_catalog.pg_is_in_recovery() THEN pg_catalog.pg_last_wal_receive_lsn() ELSE pg_catalog.pg_current_wal_lsn() END"
_STANDBYS = f"""
SELECT coalesce(r.application_name, '') AS application, host(r.client_addr) AS address, coalesce(r.state, 'unknown') AS state,
       coalesce(r.sync_state, 'unknown') AS sync_state, pg_catalog.pg_wal_lsn_diff({_HERE}, r.sent_lsn)::bigint AS unsent_bytes,
       pg_catalog.pg_wal_lsn_diff({_HERE}, r.replay_lsn)::bigint AS lag_bytes, extract(epoch FROM r.replay_lag)::float8 AS lag_s,
       extract(epoch FROM pg_catalog.clock_timestamp() - r.reply_time)::float8 AS heard_s
FROM pg_catalog.pg_stat_replication r ORDER BY 6 DESC NULLS FIRST, 1 LIMIT 100
"""  # noqa: S608 - both parts are constants
_SLOTS = f"""
SELECT s.slot_name::text AS name, s.slot_type AS type, s.database::text AS database, s.plugin::text AS plugin, s.active AS is_active,
       s.temporary AS is_temporary, coalesce((pg_catalog.to_jsonb(s) ->> 'synced')::boolean, false) AS is_synced,
       pg_catalog.pg_wal_lsn_diff({_HERE}, s.restart_lsn)::bigint AS retained_bytes, s.wal_status, s.safe_wal_size AS safe_bytes,
       extract(epoch FROM pg_catalog.clock_timestamp() - (pg_catalog.to_jsonb(s) ->> 'inactive_since')::timestamptz)::float8 AS inactive_s,
       pg_catalog.to_jsonb(s) ->> 'invalidation_reason' AS invalidated_by,
       greatest(pg_catalog.age(s.xmin), pg_catalog.age(s.catalog_xmin))::bigint AS row_age
FROM pg_catalog.pg_replication_slots s ORDER BY 8 DESC NULLS LAST, 1 LIMIT 100
"""  # noqa: S608 - both parts are constants
_OWN = """
SELECT (SELECT w.status FROM pg_catalog.pg_stat_wal_receiver w) AS receiver, pg_catalog.pg_is_wal_replay_paused() AS is_paused,
       pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_last_wal_receive_lsn(), pg_catalog.pg_last_wal_replay_lsn())::bigint AS lag_bytes,
       CASE WHEN pg_catalog.pg_last_wal_receive_lsn() = pg_catalog.pg_last_wal_replay_lsn()
              AND EXISTS (SELECT FROM pg_catalog.pg_stat_wal_receiver) THEN 0.0
            ELSE extract(epoch FROM pg_catalog.clock_timestamp() - pg_catalog.pg_last_xact_replay_timestamp()) END::float8 AS lag_s
"""


@dataclass(frozen=True, slots=True)
class Standby:
    """A server that streams from this one. ``unsent_bytes`` are still here, ``lag_bytes`` not yet shown there; ``lag_s`` as it told last,
    None when it is idle and has everything. ``heard_s``: seconds since its last word.
    """

    application: str
    address: str | None
    state: str
    sync_state: str
    unsent_bytes: int | None
    lag_bytes: int | None
    lag_s: float | None
    heard_s: float | None


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot. ``retained_bytes`` of WAL are kept for it; after ``safe_bytes`` more it is lost (None: no limit). ``inactive_s``
    and ``invalidated_by`` from version 17 on. ``row_age``: for so many transactions it keeps dead rows.
    """

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


@dataclass(frozen=True, slots=True)
class OwnLag:
    """Of a server that is a standby itself. ``receiver`` None: it receives nothing. ``lag_s``: since the last commit that it shows, 0.0
    when it shows all it got; an idle primary makes it look larger than it is, unless the receiver runs.
    """

    receiver: str | None
    is_paused: bool
    lag_bytes: int | None
    lag_s: float | None


@dataclass(frozen=True, slots=True)
class Replication:
    """``own`` is None on a primary. ``archive_failures`` since the statistics count; ``archived_s`` seconds since the last success."""

    is_standby: bool
    wal_level: str
    waits_for_standby: bool
    archive_failures: int
    archived_s: float | None
    standbys: tuple[Standby, ...]
    slots: tuple[Slot, ...]
    own: OwnLag | None
    findings: tuple[Finding, ...]


async def replication(
    asked: Asked,
    *,
    lag_s: float = 30.0,
    lag_bytes: int = 256 * 1024**2,
    retained_bytes: int = 64 * 1024**2,
    critical_bytes: int = 10 * 1024**3,
) -> Replication:
    """How standbys, slots and the archive stand.

    Found are standbys behind by ``lag_s`` or ``lag_bytes``, commits that wait for a synchronous standby that is not there, slots without a
    reader that keep ``retained_bytes`` (critical from ``critical_bytes`` on, where nothing limits them: they fill the disk) and slots
    that are lost, and an archive that refuses. Needs ``pg_monitor``; without it, standbys have no lag. Logical subscribers show as
    standbys.
    """
    server = await asked.fetchrow(_SERVER)
    standbys = tuple(Standby(**row) for row in await asked.fetch(_STANDBYS))
    slots = tuple(Slot(**row) for row in await asked.fetch(_SLOTS))
    own = OwnLag(**await asked.fetchrow(_OWN)) if server["is_standby"] else None
    findings = (
        *_server(server, standbys),
        *(finding for each in standbys for finding in _standby(each, lag_s, lag_bytes)),
        *(finding for each in slots for finding in _slot(
            each, retained_bytes, critical_bytes, is_unlimited=server["keeps_without_limit"])),
        *(_own(own, lag_s) if own is not None else ()),
    )  # fmt: skip
    return Replication(
        server["is_standby"], server["wal_level"], server["waits_for_standby"], server["archive_failures"], server["archived_s"],
        standbys, slots, own, findings,
    )  # fmt: skip


def _found(
    check: str, subject: str, title: str, evidence: str, fix: str, *ddl: str, critical: bool = False
) -> Finding:
    return Finding(
        check=f"replication.{check}", severity="critical" if critical else "warning", subject=subject, title=title,
        evidence=evidence, fix=fix, ddl=ddl,
    )  # fmt: skip


def _server(server: Mapping[str, Any], standbys: tuple[Standby, ...]) -> Iterator[Finding]:
    is_there = any(each.sync_state in {"sync", "quorum"} for each in standbys)
    if server["waits_for_standby"] and not is_there and not server["is_standby"]:
        yield _found(
            "no_synchronous_standby", "synchronous_standby_names", "Every commit waits for a standby that is not there",
            f"{len(standbys)} standbys are connected, none of them is synchronous",
            "Bring the standby back, or take it out of synchronous_standby_names and reload", critical=True,
        )  # fmt: skip
    if server["archive_fails"]:
        yield _found(
            "archive", "archive_command", "WAL cannot be archived, so it is kept and fills the disk",
            f"{server['archive_failures']} failures, the last one after the last success",
            "See the server's log for what archive_command says", critical=True,
        )  # fmt: skip


def _standby(each: Standby, lag_s: float, lag_bytes: int) -> Iterator[Finding]:
    if (each.lag_s or 0.0) < lag_s and (each.lag_bytes or 0) < lag_bytes:
        return
    seconds = "unknown" if each.lag_s is None else f"{each.lag_s:.1f} s"
    yield _found(
        "lag", each.application, f"The standby {each.application} is behind",
        f"{size(each.lag_bytes or 0)} ({size(each.unsent_bytes or 0)} of it not sent), {seconds}; state {each.state}",
        "Unsent: the network or its disk. Sent: replay waits for a query there, or its disk is slow",
    )  # fmt: skip


def _slot(each: Slot, retained_bytes: int, critical_bytes: int, *, is_unlimited: bool) -> Iterator[Finding]:
    drop = f"SELECT pg_drop_replication_slot('{each.name}');"
    kept = each.retained_bytes or 0
    if each.wal_status == "lost" or each.invalidated_by is not None:
        yield _found(
            "slot_lost", each.name, f"The slot {each.name} is lost; its reader must begin anew",
            f"reason {each.invalidated_by or 'max_slot_wal_keep_size'}", "Make its reader anew, then drop the slot", drop,
            critical=True,
        )  # fmt: skip
    elif each.wal_status == "unreserved":
        yield _found(
            "slot_at_limit", each.name, f"The slot {each.name} is lost at the next checkpoint", f"it needs {size(kept)} of WAL",
            "Let its reader catch up now, or raise max_slot_wal_keep_size", critical=True,
        )  # fmt: skip
    elif not each.is_active and not each.is_synced and kept >= retained_bytes:
        since = "" if each.inactive_s is None else f" for {each.inactive_s:.0f} s"
        yield _found(
            "slot_inactive", each.name, f"Nobody reads the slot {each.name}, and it keeps WAL",
            f"{size(kept)}; no reader{since}", "Bring its reader back, or drop the slot", drop,
            critical=is_unlimited and kept >= critical_bytes,
        )  # fmt: skip


def _own(own: OwnLag, lag_s: float) -> Iterator[Finding]:
    if own.receiver is None:
        yield _found(
            "no_receiver", "this server", "This standby receives nothing from its primary",
            f"it shows what it had {_seconds(own.lag_s)} ago",
            "See its log; it may follow an archive instead, then this is as it should be",
        )  # fmt: skip
    if own.is_paused:
        yield _found(
            "paused", "this server", "Replay is paused on this standby", f"{size(own.lag_bytes or 0)} wait",
            "Let it go on: somebody has called pg_wal_replay_pause, or a parameter is smaller than the primary's",
            "SELECT pg_wal_replay_resume();",
        )  # fmt: skip
    elif (own.lag_s or 0.0) >= lag_s:
        yield _found(
            "own_lag", "this server", "This standby is behind its primary",
            f"{_seconds(own.lag_s)}, {size(own.lag_bytes or 0)} received and not shown",
            "See whether queries here hold replay up (pg_stat_database_conflicts)",
        )  # fmt: skip


def _seconds(value: float | None) -> str:
    return "an unknown time" if value is None else f"{value:.1f} s"
