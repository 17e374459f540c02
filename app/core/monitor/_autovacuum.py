"""Tables that autovacuum leaves too long, by their own thresholds, and the vacuums that run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from app.core.monitor._figures import moment
from app.core.monitor._panel import Finding
from app.core.monitor._relations import USER_SCHEMA, quoted
from app.core.monitor._server import Asked

# Locks nothing: counters are in shared memory, options in pg_class. The thresholds are autovacuum's own arithmetic, with a cap from 18 on.
# https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM
# https://www.postgresql.org/docs/current/sql-createtable.html#RELOPTION-AUTOVACUUM-ENABLED
_TABLES = f"""
WITH own AS MATERIALIZED (
  SELECT c.oid, n.nspname::text AS schema, c.relname::text AS name, c.relkind = 'p' AS is_parent, c.reltuples,
         CASE WHEN c.reloptions IS NOT NULL THEN (SELECT pg_catalog.jsonb_object_agg(p.option_name, p.option_value)
           FROM pg_catalog.pg_options_to_table(c.reloptions) p) END AS options
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  WHERE c.relkind IN ('r', 'm', 'p') AND c.relpersistence <> 't' AND {USER_SCHEMA}
), numbers AS (
  SELECT o.*, greatest(o.reltuples, 0)::float8 AS rows,
    coalesce((o.options ->> 'autovacuum_enabled')::boolean, true) AS is_enabled,
    coalesce((o.options ->> 'autovacuum_vacuum_threshold')::float8, current_setting('autovacuum_vacuum_threshold')::float8) AS v_base,
    coalesce((o.options ->> 'autovacuum_vacuum_scale_factor')::float8,
             current_setting('autovacuum_vacuum_scale_factor')::float8) AS v_scale,
    coalesce((o.options ->> 'autovacuum_vacuum_max_threshold')::float8,
             current_setting('autovacuum_vacuum_max_threshold', true)::float8, -1) AS v_most,
    coalesce((o.options ->> 'autovacuum_analyze_threshold')::float8, current_setting('autovacuum_analyze_threshold')::float8) AS a_base,
    coalesce((o.options ->> 'autovacuum_analyze_scale_factor')::float8,
             current_setting('autovacuum_analyze_scale_factor')::float8) AS a_scale
  FROM own o
), judged AS (
  SELECT n.*, CASE WHEN n.v_most >= 0 THEN least(n.v_base + n.v_scale * n.rows, n.v_most) ELSE n.v_base + n.v_scale * n.rows END AS v_limit,
         n.a_base + n.a_scale * n.rows AS a_limit
  FROM numbers n
)
SELECT j.schema, j.name, j.is_parent, j.is_enabled, coalesce(s.n_live_tup, 0)::bigint AS live_rows,
       coalesce(s.n_dead_tup, 0)::bigint AS dead_rows, j.v_limit::float8 AS vacuum_threshold,
       coalesce(s.n_mod_since_analyze, 0)::bigint AS changed_rows, j.a_limit::float8 AS analyze_threshold,
       greatest(s.last_vacuum, s.last_autovacuum) AS last_vacuum, greatest(s.last_analyze, s.last_autoanalyze) AS last_analyze,
       j.reltuples < 0 AS is_unseen,
       EXISTS (SELECT FROM pg_catalog.pg_inherits i JOIN pg_catalog.pg_class c ON c.oid = i.inhrelid
               WHERE j.is_parent AND i.inhparent = j.oid AND c.reltuples > 0) AS has_rows_below
FROM judged j LEFT JOIN pg_catalog.pg_stat_all_tables s ON s.relid = j.oid
WHERE NOT j.is_enabled OR s.n_dead_tup > j.v_limit OR s.n_mod_since_analyze > j.a_limit
   OR (j.is_parent AND s.last_analyze IS NULL)
   OR (s.n_live_tup > 0 AND s.last_analyze IS NULL AND s.last_autoanalyze IS NULL)
ORDER BY coalesce(s.n_dead_tup, 0) / greatest(j.v_limit, 1) DESC, coalesce(s.n_mod_since_analyze, 0) DESC, 1, 2 LIMIT $1
"""  # noqa: S608 - constants only
_RUNNING = """
SELECT p.pid, p.datname::text AS database, n.nspname || '.' || c.relname AS "table", p.phase,
       a.backend_type = 'autovacuum worker' AS is_automatic, coalesce(a.query LIKE '%to prevent wraparound%', false) AS is_forced,
       p.heap_blks_total AS blocks, p.heap_blks_scanned AS blocks_scanned, p.index_vacuum_count AS index_rounds,
       extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS running_s
FROM pg_catalog.pg_stat_progress_vacuum p
LEFT JOIN pg_catalog.pg_stat_activity a USING (pid)
LEFT JOIN pg_catalog.pg_class c ON c.oid = p.relid AND p.datname = current_database()
LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY a.xact_start, p.pid
"""
_SERVER = """
SELECT current_setting('autovacuum')::boolean AND current_setting('track_counts')::boolean AS is_on,
       current_setting('autovacuum_max_workers')::int AS workers,
       (SELECT count(*)::int FROM pg_catalog.pg_stat_activity WHERE backend_type = 'autovacuum worker') AS busy,
       (SELECT d.stats_reset FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()) AS stats_reset
"""


@dataclass(frozen=True, slots=True)
class TableCare:
    """What vacuum and ANALYZE owe a table. Thresholds are the table's own, in rows; times are None when it never happened, or not since
    the counters were lost (a crash, a reset, a standby's promotion). ``is_parent`` of partitions: those autovacuum never analyses.
    """

    schema: str
    name: str
    is_parent: bool
    is_enabled: bool
    live_rows: int
    dead_rows: int
    vacuum_threshold: float
    changed_rows: int
    analyze_threshold: float
    last_vacuum: datetime | None
    last_analyze: datetime | None
    is_unseen: bool
    has_rows_below: bool

    @property
    def table(self) -> str:
        """``schema.name``, for people."""
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True, slots=True)
class RunningVacuum:
    """A vacuum under way. ``is_forced``: against wraparound, so it does not give way to others. ``table`` None: of another database."""

    pid: int
    database: str
    table: str | None
    phase: str
    is_automatic: bool
    is_forced: bool
    blocks: int
    blocks_scanned: int
    index_rounds: int
    running_s: float | None

    @property
    def scanned_percent(self) -> float:
        """Of the table's blocks in its first phase; its indexes come after them."""
        return round(100.0 * self.blocks_scanned / max(1, self.blocks), 1)


@dataclass(frozen=True, slots=True)
class Autovacuum:
    """``is_on``, how many ``workers`` there may be and are ``busy``; tables past a threshold, without statistics or switched off, the
    most overdue first; vacuums that run on the whole server.
    """

    is_on: bool
    workers: int
    busy: int
    stats_reset: datetime | None
    tables: tuple[TableCare, ...]
    running: tuple[RunningVacuum, ...]
    findings: tuple[Finding, ...]


async def autovacuum(
    asked: Asked, *, times: float = 2.0, least_rows: int = 1_000, limit: int = 50
) -> Autovacuum:
    """What autovacuum leaves undone, at most ``limit`` tables.

    Found are tables with ``times`` as many dead (changed) rows as the threshold at which autovacuum comes, which it does within minutes
    when it can, from ``least_rows`` on; those never analysed, whose plans are guesses; those for which it is switched off. Counters are
    the server's estimates, and none are kept on a standby: nothing is found there.
    """
    server = await asked.fetchrow(_SERVER)
    tables = tuple(TableCare(**row) for row in await asked.fetch(_TABLES, limit))
    running = tuple(RunningVacuum(**row) for row in await asked.fetch(_RUNNING))
    findings = tuple(
        finding for table in tables for finding in _of_table(table, times, least_rows, server["stats_reset"])
    )
    if any(it.check == "autovacuum.late" for it in findings) and server["busy"] >= server["workers"]:
        findings = (*findings, _all_busy(server["workers"]))
    return Autovacuum(
        server["is_on"], server["workers"], server["busy"], server["stats_reset"], tables, running, findings
    )


def _of_table(each: TableCare, times: float, least_rows: int, since: datetime | None) -> Iterator[Finding]:
    counted = "since the statistics were made" if since is None else f"since {moment(since)}"
    is_large = max(each.live_rows, each.changed_rows) >= least_rows
    late = each.dead_rows >= max(least_rows, times * each.vacuum_threshold)
    if late:
        yield Finding(
            check="autovacuum.late" if each.is_enabled else "autovacuum.table_off",
            severity="warning",
            subject=each.table,
            title=f"{each.table} has many dead rows"
            + ("" if each.is_enabled else ", and autovacuum is off for it"),
            evidence=f"{each.dead_rows:,} dead, {each.live_rows:,} live; its threshold is {each.vacuum_threshold:,.0f};"
            f" last vacuum {moment(each.last_vacuum)}, counted {counted}",
            fix="VACUUM it; then see what keeps autovacuum from it: switched off, too few workers, locks, old transactions",
            ddl=_vacuum(each),
        )
    elif not each.is_enabled and is_large:
        yield Finding(
            check="autovacuum.table_off",
            severity="info",
            subject=each.table,
            title=f"Autovacuum is off for {each.table}",
            evidence=f"{each.live_rows:,} rows; last vacuum {moment(each.last_vacuum)}",
            fix="Switch it on, unless somebody vacuums and analyses it after each load",
            ddl=(f"ALTER TABLE {quoted(each.schema, each.name)} RESET (autovacuum_enabled);",),
        )
    yield from _statistics(each, times, is_large=is_large, counted=counted)


def _statistics(each: TableCare, times: float, *, is_large: bool, counted: str) -> Iterator[Finding]:
    is_never = each.last_analyze is None
    if each.is_parent:
        if is_never and each.is_unseen and each.has_rows_below:
            yield Finding(
                check="autovacuum.parent_statistics",
                severity="info",
                subject=each.table,
                title=f"{each.table} is partitioned and was never analysed",
                evidence="autovacuum analyses partitions, never their parent; joins over all of them are planned by guesses",
                fix="ANALYZE it now, and after large changes",
                ddl=(f"ANALYZE {quoted(each.schema, each.name)};",),
            )
        return
    is_stale = each.changed_rows >= times * each.analyze_threshold
    if is_large and ((is_never and each.is_unseen) or is_stale):
        yield Finding(
            check="autovacuum.statistics",
            severity="warning",
            subject=each.table,
            title=f"{each.table} was never analysed"
            if is_never
            else f"The statistics of {each.table} are stale",
            evidence=f"{each.changed_rows:,} rows changed, its threshold is {each.analyze_threshold:,.0f};"
            f" last ANALYZE {moment(each.last_analyze)}, counted {counted}",
            fix="ANALYZE it before any other advice on its statements is believed",
            ddl=(f"ANALYZE {quoted(each.schema, each.name)};",),
        )


def _vacuum(each: TableCare) -> tuple[str, ...]:
    again = (
        ()
        if each.is_enabled
        else (f"ALTER TABLE {quoted(each.schema, each.name)} RESET (autovacuum_enabled);",)
    )
    return (f"VACUUM (ANALYZE) {quoted(each.schema, each.name)};", *again)


def _all_busy(workers: int) -> Finding:
    return Finding(
        check="autovacuum.workers",
        severity="info",
        subject="autovacuum_max_workers",
        title="All autovacuum workers are busy while tables wait",
        evidence=f"{workers} of {workers} at this moment",
        fix="Let each do more (autovacuum_vacuum_cost_limit) before there are more of them",
    )
