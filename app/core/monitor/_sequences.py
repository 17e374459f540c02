"""Sequences that come to their end, or to that of the column they fill."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from app.core.monitor._panel import Finding, Severity
from app.core.monitor._relations import quoted
from app.core.monitor._server import Asked

# To read a sequence takes its RowExclusiveLock, so those that somebody holds in a way that conflicts are left out and counted.
# A column is filled by the sequence that it owns (serial, identity) or that its default names; the columns of foreign keys that point to
# it must hold the numbers too.
# https://www.postgresql.org/docs/current/functions-sequence.html
_SEQUENCES = """
WITH held AS MATERIALIZED (
  SELECT l.relation FROM pg_catalog.pg_locks l
  WHERE l.locktype = 'relation' AND l.pid <> pg_catalog.pg_backend_pid()
    AND l.mode IN ('ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock', 'AccessExclusiveLock')
), filled AS MATERIALIZED (
  SELECT d.objid AS sequence, d.refobjid AS relation, d.refobjsubid AS number
  FROM pg_catalog.pg_depend d
  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refclassid = d.classid
    AND d.refobjsubid > 0 AND d.deptype IN ('a', 'i')
  UNION
  SELECT d.refobjid, v.adrelid, v.adnum
  FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_attrdef v ON v.oid = d.objid
  WHERE d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
), reached AS (
  SELECT f.sequence, f.relation, f.number, 0 AS step FROM filled f JOIN pg_catalog.pg_sequence s ON s.seqrelid = f.sequence
  UNION
  SELECT f.sequence, k.conrelid, k.conkey[p.place], 1
  FROM filled f JOIN pg_catalog.pg_sequence s ON s.seqrelid = f.sequence
  JOIN pg_catalog.pg_constraint k ON k.contype = 'f' AND k.confrelid = f.relation
  CROSS JOIN LATERAL (SELECT pg_catalog.array_position(k.confkey, f.number::smallint) AS place) p
  WHERE p.place IS NOT NULL
), columns AS (
  SELECT DISTINCT ON (r.sequence) r.sequence, n.nspname || '.' || c.relname || '.' || a.attname AS "column",
         pg_catalog.format_type(a.atttypid, NULL) AS column_type, m.most AS column_most
  FROM reached r
  JOIN pg_catalog.pg_class c ON c.oid = r.relation
  JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_catalog.pg_attribute a ON a.attrelid = r.relation AND a.attnum = r.number
  JOIN pg_catalog.pg_type t ON t.oid = a.atttypid
  CROSS JOIN LATERAL (SELECT CASE CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
    WHEN 21 THEN 32767 WHEN 23 THEN 2147483647 ELSE 9223372036854775807 END AS most) m
  ORDER BY r.sequence, m.most, r.step, 2
)
SELECT n.nspname::text AS schema, c.relname::text AS sequence,
       pg_catalog.format_type(s.seqtypid, NULL) AS type, k."column", k.column_type, s.seqcycle AS cycles, s.seqincrement > 0 AS ascends,
       s.seqstart AS start, s.seqmin AS least, s.seqmax AS sequence_most, coalesce(k.column_most, 9223372036854775807) AS column_most,
       h.is_held, pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') AS may_read,
       CASE WHEN NOT h.is_held AND pg_catalog.has_sequence_privilege(c.oid, 'SELECT,USAGE') AND NOT
                 (c.relpersistence = 'u' AND pg_catalog.pg_is_in_recovery())
            THEN pg_catalog.pg_sequence_last_value(c.oid) END AS last_value
FROM pg_catalog.pg_sequence s
JOIN pg_catalog.pg_class c ON c.oid = s.seqrelid AND c.relpersistence <> 't'
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN columns k ON k.sequence = s.seqrelid
CROSS JOIN LATERAL (SELECT s.seqrelid IN (SELECT relation FROM held WHERE relation IS NOT NULL) AS is_held) h
"""


@dataclass(frozen=True, slots=True)
class Sequence:
    """``limit`` is the smallest of the sequence's own end and of those of the column it fills and the foreign keys that point to it;
    ``column`` is the narrowest of them. ``last_value`` None: never used, locked, or not ours to read.
    """

    schema: str
    sequence: str
    type: str
    column: str | None
    column_type: str | None
    cycles: bool
    last_value: int | None
    limit: int
    used_percent: float
    is_narrowed: bool

    @property
    def name(self) -> str:
        """``schema.sequence``, for people."""
        return f"{self.schema}.{self.sequence}"


@dataclass(frozen=True, slots=True)
class Sequences:
    """The fullest ones. Of ``total``, ``locked`` could not be read at this moment, and ``denied`` are not for the monitor's role."""

    total: int
    locked: int
    denied: int
    sequences: tuple[Sequence, ...]
    findings: tuple[Finding, ...]


async def sequences(
    asked: Asked, *, warn_percent: float = 80.0, critical_percent: float = 95.0, limit: int = 50
) -> Sequences:
    """The ``limit`` fullest sequences of this database.

    Found are those at ``warn_percent`` of what they or their column can hold (PgHero: 90 %), unless they cycle and the column holds all of
    it. The usual trap is an int4 column under a bigint sequence: inserts fail at 2,147,483,647, long before the sequence ends.
    """
    rows = await asked.fetch(_SEQUENCES)
    found = sorted((_sequence(row) for row in rows), key=lambda it: (-it.used_percent, it.name))[:limit]
    findings = tuple(
        _finding(each, critical_percent)
        for each in found
        if each.used_percent >= warn_percent and (not each.cycles or each.is_narrowed)
    )
    denied = sum(not row["may_read"] for row in rows)
    if denied:
        findings = (*findings, _denied(denied, len(rows)))
    return Sequences(len(rows), sum(row["is_held"] for row in rows), denied, tuple(found), findings)


def _sequence(row: Mapping[str, Any]) -> Sequence:
    last, is_narrowed = row["last_value"], row["column_most"] < row["sequence_most"]
    limit = min(row["sequence_most"], row["column_most"])
    first = min(row["least"], row["start"])
    used, whole = ((last or first) - first, limit - first)
    if not row["ascends"]:
        is_narrowed = -row["column_most"] - 1 > row["least"]
        limit, first = max(row["least"], -row["column_most"] - 1), max(row["sequence_most"], row["start"])
        used, whole = first - (first if last is None else last), first - limit
    percent = 0.0 if last is None else round(100.0 * used / max(1, whole), 2)
    return Sequence(
        row["schema"], row["sequence"], row["type"], row["column"], row["column_type"], row["cycles"], last, limit, percent, is_narrowed
    )  # fmt: skip


def _finding(each: Sequence, critical_percent: float) -> Finding:
    severity: Severity = "critical" if each.used_percent >= critical_percent else "warning"
    where = f" of {each.column} ({each.column_type})" if each.is_narrowed else ""
    can_widen = not each.is_narrowed and each.type != "bigint" and each.column_type == "bigint"
    return Finding(
        check="sequences.end",
        severity=severity,
        subject=each.name,
        title=f"{each.name} has used {each.used_percent} % of the numbers{where}",
        evidence=f"at {each.last_value:,}, the last one is {each.limit:,}; no date can be told from one look",
        fix="Make the sequence bigint" if can_widen else
        "Make the column, and those that refer to it, bigint before inserts fail; ALTER TYPE rewrites the table under a lock: for a large"
        " one add a bigint column, fill it in batches, and swap",
        ddl=(f"ALTER SEQUENCE {quoted(each.schema, each.sequence)} AS bigint;",) if can_widen else (),
    )  # fmt: skip


def _denied(denied: int, total: int) -> Finding:
    return Finding(
        check="sequences.denied",
        severity="info",
        subject="the monitor's role",
        title="Nobody watches sequences that the monitor's role may not read",
        evidence=f"{denied} of {total}",
        fix="Grant it pg_read_all_data, or SELECT on the sequences",
    )
