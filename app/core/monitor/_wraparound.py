"""How near the server is to the end of its transaction numbers, and who keeps old rows alive."""

from dataclasses import dataclass
from typing import Final

from app.core.monitor._panel import Finding, Severity
from app.core.monitor._relations import quoted
from app.core.monitor._server import Asked

STOP_AGE: Final = 2**31 - 3_000_000
"""The age at which the server takes no more writes."""

# Locks nothing: ages are computed from pg_database and pg_class.
# https://www.postgresql.org/docs/current/routine-vacuuming.html#VACUUM-FOR-WRAPAROUND
_DATABASES = """
SELECT d.datname::text AS database, pg_catalog.age(d.datfrozenxid)::bigint AS transaction_age,
       pg_catalog.mxid_age(d.datminmxid)::bigint AS multixact_age,
       current_setting('autovacuum_freeze_max_age')::bigint AS transaction_limit,
       current_setting('autovacuum_multixact_freeze_max_age')::bigint AS multixact_limit
FROM pg_catalog.pg_database d ORDER BY greatest(pg_catalog.age(d.datfrozenxid), pg_catalog.mxid_age(d.datminmxid)) DESC, 1 LIMIT 50
"""
_TABLES = """
SELECT n.nspname || '.' || c.relname AS "table", c.relpersistence = 't' AS is_temporary, o.relname IS NOT NULL AS is_toast,
       coalesce(pn.nspname, n.nspname)::text AS owner_schema, coalesce(o.relname, c.relname)::text AS owner_name,
       pg_catalog.age(c.relfrozenxid)::bigint AS transaction_age, pg_catalog.mxid_age(c.relminmxid)::bigint AS multixact_age,
       least(current_setting('autovacuum_freeze_max_age')::bigint, x.own) AS transaction_limit,
       least(current_setting('autovacuum_multixact_freeze_max_age')::bigint, x.own_multixact) AS multixact_limit,
       c.relpages::bigint * current_setting('block_size')::bigint AS bytes
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_class o ON c.relkind = 't' AND o.reltoastrelid = c.oid
LEFT JOIN pg_catalog.pg_namespace pn ON pn.oid = o.relnamespace
LEFT JOIN LATERAL (
  SELECT max(p.option_value::bigint) FILTER (WHERE p.option_name = 'autovacuum_freeze_max_age') AS own,
         max(p.option_value::bigint) FILTER (WHERE p.option_name = 'autovacuum_multixact_freeze_max_age') AS own_multixact
  FROM pg_catalog.pg_options_to_table(c.reloptions) p
  WHERE p.option_name IN ('autovacuum_freeze_max_age', 'autovacuum_multixact_freeze_max_age')
) x ON c.reloptions IS NOT NULL
WHERE c.relkind IN ('r', 'm', 't') AND c.relfrozenxid <> '0'
ORDER BY greatest(pg_catalog.age(c.relfrozenxid), pg_catalog.mxid_age(c.relminmxid)) DESC, c.relpages DESC, 1 LIMIT $1
"""
_HOLDERS = """
SELECT * FROM (
  SELECT 'session' AS kind, 'pid ' || a.pid || coalesce(' ' || nullif(a.application_name, ''), '') AS subject,
         greatest(pg_catalog.age(a.backend_xmin), pg_catalog.age(a.backend_xid))::bigint AS age,
         extract(epoch FROM pg_catalog.clock_timestamp() - a.xact_start)::float8 AS since_s
  FROM pg_catalog.pg_stat_activity a
  WHERE (a.backend_xmin IS NOT NULL OR a.backend_xid IS NOT NULL) AND a.pid <> pg_catalog.pg_backend_pid()
    AND a.backend_type <> 'walsender'
  UNION ALL
  SELECT 'prepared transaction', p.gid, pg_catalog.age(p.transaction)::bigint,
         extract(epoch FROM pg_catalog.clock_timestamp() - p.prepared)::float8
  FROM pg_catalog.pg_prepared_xacts p
  UNION ALL
  SELECT 'replication slot', s.slot_name::text, greatest(pg_catalog.age(s.xmin), pg_catalog.age(s.catalog_xmin))::bigint, NULL
  FROM pg_catalog.pg_replication_slots s WHERE s.xmin IS NOT NULL OR s.catalog_xmin IS NOT NULL
  UNION ALL
  SELECT 'standby', r.application_name, pg_catalog.age(r.backend_xmin)::bigint, NULL
  FROM pg_catalog.pg_stat_replication r WHERE r.backend_xmin IS NOT NULL
) h WHERE h.age IS NOT NULL ORDER BY h.age DESC, h.since_s DESC NULLS LAST, h.subject LIMIT $1
"""


@dataclass(frozen=True, slots=True)
class NumberAge:
    """Ages in transactions and in multixacts; the limits are those at which autovacuum freezes, whatever else is set."""

    transaction_age: int
    multixact_age: int
    transaction_limit: int
    multixact_limit: int

    @property
    def limit_percent(self) -> float:
        """The older of both, of its limit; above 100 autovacuum is late."""
        shares = (self.transaction_age / self.transaction_limit, self.multixact_age / self.multixact_limit)
        return round(100.0 * max(shares), 1)

    @property
    def stop_percent(self) -> float:
        """The older of both, of the age at which the server takes no more writes."""
        return round(100.0 * max(self.transaction_age, self.multixact_age) / STOP_AGE, 1)


@dataclass(frozen=True, slots=True)
class DatabaseAge(NumberAge):
    """Of one database: that of its oldest table."""

    database: str


@dataclass(frozen=True, slots=True)
class TableAge(NumberAge):
    """Of one table of this database, with its own limits. ``belongs_to`` is the table itself, or for TOAST whose it is; bytes of its
    main part as the last vacuum or ANALYZE saw them. Temporary tables are vacuumed by nobody but their own session.
    """

    table: str
    is_temporary: bool
    is_toast: bool
    owner_schema: str
    owner_name: str
    bytes: int

    @property
    def belongs_to(self) -> str:
        """``schema.name`` of the table that VACUUM is given."""
        return f"{self.owner_schema}.{self.owner_name}"


@dataclass(frozen=True, slots=True)
class Holder:
    """Who keeps rows alive that are dead for all others. ``age`` in transactions; ``since_s`` seconds, None where nobody can tell."""

    kind: str
    subject: str
    age: int
    since_s: float | None


@dataclass(frozen=True, slots=True)
class Wraparound:
    """The oldest databases and tables, and the holders with the oldest view, each worst first."""

    databases: tuple[DatabaseAge, ...]
    tables: tuple[TableAge, ...]
    holders: tuple[Holder, ...]
    findings: tuple[Finding, ...]


async def wraparound(
    asked: Asked,
    *,
    warn_percent: float = 40.0,
    critical_percent: float = 70.0,
    late_percent: float = 120.0,
    holder_transactions: int = 1_000_000,
    prepared_s: float = 3600.0,
    limit: int = 20,
) -> Wraparound:
    """Ages of the ``limit`` oldest databases and tables.

    Found are databases that have used ``warn_percent`` (``critical_percent``) of the numbers there are (PgHero warns at 30 %), tables past
    ``late_percent`` of the limit at which autovacuum had to freeze them, holders older than ``holder_transactions``, and prepared
    transactions that nobody ends for ``prepared_s``. On a standby the numbers are its primary's.
    """
    databases = tuple(DatabaseAge(**row) for row in await asked.fetch(_DATABASES))
    tables = tuple(TableAge(**row) for row in await asked.fetch(_TABLES, limit))
    holders = tuple(Holder(**row) for row in await asked.fetch(_HOLDERS, limit))
    findings = (
        *(_database(each, critical_percent) for each in databases if each.stop_percent >= warn_percent),
        *(_table(each) for each in tables if each.limit_percent >= late_percent),
        *(_holder(each) for each in holders if each.age >= holder_transactions
          or (each.kind == "prepared transaction" and (each.since_s or 0.0) >= prepared_s)),
    )  # fmt: skip
    return Wraparound(databases, tables, holders, findings)


def _database(each: DatabaseAge, critical_percent: float) -> Finding:
    severity: Severity = "critical" if each.stop_percent >= critical_percent else "warning"
    return Finding(
        check="wraparound.database",
        severity=severity,
        subject=each.database,
        title=f"{each.database} has used {each.stop_percent} % of its transaction numbers; at 100 % it takes no more writes",
        evidence=f"transactions {each.transaction_age:,}, multixacts {each.multixact_age:,} of {STOP_AGE:,}",
        fix="End what holds old rows back (holders), then VACUUM the oldest tables",
    )


def _table(each: TableAge) -> Finding:
    return Finding(
        check="wraparound.table",
        severity="warning",
        subject=each.belongs_to,
        title=f"Autovacuum is late to freeze {each.table}",
        evidence=f"its oldest row is at {each.limit_percent} % of the age at which autovacuum freezes it",
        fix="It is temporary: end the session that keeps it"
        if each.is_temporary
        else "See whether autovacuum is ended again and again (locks, holders); then VACUUM it by hand in a quiet hour",
        ddl=() if each.is_temporary else (f"VACUUM (FREEZE) {quoted(each.owner_schema, each.owner_name)};",),
    )


def _holder(each: Holder) -> Finding:
    since = "" if each.since_s is None else f", for {each.since_s:.0f} s"
    fixes = {
        "session": "End its transaction",
        "prepared transaction": "COMMIT PREPARED or ROLLBACK PREPARED it",
        "replication slot": "Let its reader catch up, or drop the slot",
        "standby": "End the long query there, or switch hot_standby_feedback off",
    }
    return Finding(
        check="wraparound.holder",
        severity="warning",
        subject=each.subject,
        title=f"A {each.kind} keeps dead rows from being taken away",
        evidence=f"it sees the database as it was {each.age:,} transactions ago{since}",
        fix=fixes[each.kind],
    )
