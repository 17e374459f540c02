"""How much of what is read comes from PostgreSQL's own memory, between two looks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from app.core.monitor._panel import Finding
from app.core.monitor._server import Asked
from app.core.resilience import Clock, SystemClock

_KEPT_TABLES: Final = 500
_LOOK_EVERY_S: Final = 300.0

# Locks nothing: counters of blocks in shared memory. A block that is "read" may still come from the system's cache.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STATIO-ALL-TABLES-VIEW
_TABLES = """
SELECT t.relid::bigint AS id, t.schemaname || '.' || t.relname AS "table",
       coalesce(t.heap_blks_hit, 0)::bigint AS heap_hit, coalesce(t.heap_blks_read, 0)::bigint AS heap_read,
       coalesce(t.idx_blks_hit, 0)::bigint AS index_hit, coalesce(t.idx_blks_read, 0)::bigint AS index_read,
       (coalesce(t.toast_blks_hit, 0) + coalesce(t.tidx_blks_hit, 0))::bigint AS toast_hit,
       (coalesce(t.toast_blks_read, 0) + coalesce(t.tidx_blks_read, 0))::bigint AS toast_read
FROM pg_catalog.pg_statio_user_tables t
"""
# All databases of the server. From 18 on reads are counted in calls and bytes, before in blocks.
# https://www.postgresql.org/docs/current/monitoring-stats.html#MONITORING-PG-STAT-IO-VIEW
_IO = """
SELECT i.context, sum(i.hits)::bigint AS hits,
       sum(coalesce((pg_catalog.to_jsonb(i) ->> 'read_bytes')::numeric / current_setting('block_size')::numeric, i.reads))::bigint AS reads
FROM pg_catalog.pg_stat_io i WHERE i.object = 'relation' GROUP BY i.context ORDER BY i.context
"""
_SINCE = """
SELECT current_setting('server_version_num')::int AS version,
       extract(epoch FROM pg_catalog.clock_timestamp()
         - coalesce(d.stats_reset, pg_catalog.pg_postmaster_start_time()))::float8 AS counted_s
FROM pg_catalog.pg_stat_database d WHERE d.datname = current_database()
"""


class Blocks(NamedTuple):
    """Blocks that were found in shared memory, and that were asked of the system."""

    hits: int
    reads: int

    @property
    def hit_percent(self) -> float | None:
        """None: nothing was read."""
        return round(100.0 * self.hits / (self.hits + self.reads), 2) if self.hits + self.reads else None

    def since(self, before: "Blocks") -> "Blocks":
        """What came after ``before``."""
        return Blocks(self.hits - before.hits, self.reads - before.reads)


_NONE = Blocks(0, 0)


class _Sample(NamedTuple):
    at: float
    parts: dict[str, Blocks]
    contexts: dict[str, Blocks]
    tables: dict[int, Blocks]


@dataclass(frozen=True, slots=True)
class CachedTable:
    """One table with its indexes and TOAST."""

    table: str
    hits: int
    reads: int
    hit_percent: float | None


@dataclass(frozen=True, slots=True)
class BufferCache:
    """Blocks in a window of ``seconds``; ``is_window`` is false while there was one look only: since the counters began then.

    ``heap``, ``index`` and ``toast`` are of this database's tables. ``contexts`` (from version 16 on) are of the whole server: normal,
    bulkread and bulkwrite (large scans and loads, which use a small ring on purpose), vacuum. ``tables`` read most from outside.
    """

    seconds: float
    is_window: bool
    heap: Blocks
    index: Blocks
    toast: Blocks
    contexts: dict[str, Blocks]
    tables: tuple[CachedTable, ...]
    findings: tuple[Finding, ...]

    @property
    def hit_percent(self) -> float | None:
        """Of all parts together."""
        return Blocks(*map(sum, zip(self.heap, self.index, self.toast, strict=True))).hit_percent


class BufferCacheWatch:
    """Remembers what it saw five to ten minutes ago, so that a look shows what goes on now and not the average of months.

    One for each process and server: two samples of 500 tables at most. Every process has a window of its own.
    """

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._base: _Sample | None = None
        self._next: _Sample | None = None

    async def look(
        self,
        asked: Asked,
        *,
        warn_percent: float = 99.0,
        reads_a_minute: float = 1_000.0,
        limit: int = 20,
    ) -> BufferCache:
        """The blocks since the earlier look, and the ``limit`` tables that read most.

        Found is a rate under ``warn_percent`` while more than ``reads_a_minute`` blocks are read, in a window alone: nobody can act on
        an average since last spring. If most reads are bulk reads, which are to pass the cache by, it is only told (info).
        """
        since = await asked.fetchrow(_SINCE)
        rows = await asked.fetch(_TABLES)
        contexts = await asked.fetch(_IO) if since["version"] >= 160_000 else []
        now = _sample(self._clock.monotonic(), rows, contexts)
        base = self._remember(now)
        is_window = base is not None
        begun = base or _Sample(now.at - since["counted_s"], {}, {}, {})
        names = {row["id"]: row["table"] for row in rows}
        parts = {name: now.parts[name].since(begun.parts.get(name, _NONE)) for name in now.parts}
        seconds = round(now.at - begun.at, 1)
        kinds = {name: blocks.since(begun.contexts.get(name, _NONE)) for name, blocks in now.contexts.items()}
        found = BufferCache(
            seconds, is_window, parts["heap"], parts["index"], parts["toast"], kinds, _tables(now, begun, names, limit), ()
        )  # fmt: skip
        if not is_window:
            return found
        findings = _findings(found, warn_percent, reads_a_minute)
        return BufferCache(seconds, True, found.heap, found.index, found.toast, kinds, found.tables, findings)

    def _remember(self, now: _Sample) -> _Sample | None:
        """What to compare with, None if there is nothing: no look before, or counters that were reset since."""
        if self._base is None or _is_reset(self._base, now):
            self._base, self._next = now, None
            return None
        base = self._base
        if self._next is not None and now.at - self._next.at >= _LOOK_EVERY_S:
            self._base, self._next = self._next, now
        elif self._next is None and now.at - base.at >= _LOOK_EVERY_S:
            self._next = now
        return base


def _sample(at: float, rows: list[Any], contexts: list[Any]) -> _Sample:
    parts = {
        part: Blocks(sum(row[f"{part}_hit"] for row in rows), sum(row[f"{part}_read"] for row in rows))
        for part in ("heap", "index", "toast")
    }
    busiest = sorted(rows, key=_reads, reverse=True)[:_KEPT_TABLES]
    kinds = {row["context"]: Blocks(row["hits"] or 0, row["reads"] or 0) for row in contexts}
    return _Sample(at, parts, kinds, {row["id"]: Blocks(_hits(row), _reads(row)) for row in busiest})


def _hits(row: Mapping[str, int]) -> int:
    return row["heap_hit"] + row["index_hit"] + row["toast_hit"]


def _reads(row: Mapping[str, int]) -> int:
    return row["heap_read"] + row["index_read"] + row["toast_read"]


def _is_reset(before: _Sample, now: _Sample) -> bool:
    """Counters that fell; a dropped table's are gone too, and then the window begins anew for once."""
    pairs = [(before.parts[name], now.parts[name]) for name in now.parts]
    pairs += [(before.contexts[name], now.contexts.get(name, _NONE)) for name in before.contexts]
    return any(new.hits < old.hits or new.reads < old.reads for old, new in pairs)


def _tables(now: _Sample, base: _Sample, names: Mapping[int, str], limit: int) -> tuple[CachedTable, ...]:
    """Tables that were not among the kept ones before are left out of a window: what they read in it is not known."""
    is_first = not base.parts
    changes = [
        (names[each], blocks.since(base.tables.get(each, _NONE)))
        for each, blocks in now.tables.items()
        if is_first or each in base.tables
    ]
    ordered = sorted(changes, key=lambda it: (-it[1].reads, -it[1].hits, it[0]))
    return tuple(
        CachedTable(name, *blocks, blocks.hit_percent) for name, blocks in ordered if blocks.hits >= 0 and sum(blocks) > 0
    )[:limit]  # fmt: skip


def _findings(found: BufferCache, warn_percent: float, reads_a_minute: float) -> tuple[Finding, ...]:
    percent, reads = found.hit_percent, found.heap.reads + found.index.reads + found.toast.reads
    rate = 60.0 * reads / max(found.seconds, 1.0)
    if percent is None or percent >= warn_percent or rate <= reads_a_minute:
        return ()
    bulk = sum(blocks.reads for name, blocks in found.contexts.items() if name != "normal")
    is_bulk = bulk > sum(blocks.reads for blocks in found.contexts.values()) / 2
    worst = ", ".join(table.table for table in found.tables[:3])
    return (
        Finding(
            check="cache.buffers",
            severity="info" if is_bulk else "warning",
            subject="shared_buffers",
            title=f"{percent} % of the blocks were found in memory",
            evidence=f"{rate:,.0f} blocks a minute were read in the last {found.seconds:.0f} s, most of them of {worst}"
            + ("; most reads of the server are bulk reads, which pass the cache by" if is_bulk else ""),
            fix="See which statements read these tables and whether an index serves them, before shared_buffers is raised",
        ),
    )
