"""What ``pg_stat_statements`` counts: every statement of this database since its entry was made.

Nothing here resets anything: other tools read the same counters.
https://www.postgresql.org/docs/current/pgstatstatements.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, LiteralString, NamedTuple

import asyncpg

from app.core.errors import NotFound
from app.core.monitor._breathing import breathing
from app.core.monitor._errors import MonitorDenied, NotSupported
from app.core.monitor._server import Asked
from app.core.monitor._statement_use import StatementUse

STATEMENTS_EXTENSION: Final = "pg_stat_statements"
QUERYIDS: Final = range(-(2**63), 2**63)
"""What a ``queryid`` can be: a signed number of 64 bits."""
_OLDEST = (1, 9)
_MAY_NOT_SEE = "<insufficient privilege>"
_NOT_LOADED = "55000"
_NOT_FOUND = ("42P01", "42883")  # The extension is there, so its schema is closed to us.
_LONGEST_TEXT = 20_000

# The extension may live in any schema, and its columns go by its own version, not the server's: a server that was upgraded keeps the old
# ones until ALTER EXTENSION ... UPDATE.
_FIND: LiteralString = """
SELECT e.extversion AS version, pg_catalog.set_config('search_path', pg_catalog.quote_ident(n.nspname), true)
FROM pg_catalog.pg_extension e JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""
_ABOUT: LiteralString = """
SELECT pg_catalog.clock_timestamp() AS at, i.dealloc, i.stats_reset,
       (SELECT d.oid::bigint FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database()) AS dbid
FROM pg_stat_statements_info i
"""
# Without texts, which the server would have to read from a file. A mean and a deviation are told; their sum of squares can be added.
_COUNTERS: LiteralString = """
SELECT s.userid::bigint AS userid, s.queryid, s.toplevel, s.calls, s.plans, s.rows,
       pg_catalog.round(s.total_exec_time::numeric * 1000)::bigint AS exec_us,
       pg_catalog.round(s.total_plan_time::numeric * 1000)::bigint AS plan_us,
       pg_catalog.round(s.max_exec_time::numeric * 1000)::bigint AS max_us,
       s.calls * (s.stddev_exec_time ^ 2 + s.mean_exec_time ^ 2) AS squares_ms2,
       s.shared_blks_hit + s.local_blks_hit AS hit_blocks, s.shared_blks_read + s.local_blks_read AS read_blocks,
       s.shared_blks_dirtied AS dirtied_blocks, s.temp_blks_read + s.temp_blks_written AS temp_blocks,
       s.wal_bytes::bigint AS wal_bytes,
"""
_UNTIL_16: LiteralString = (
    "pg_catalog.round((s.blk_read_time + s.blk_write_time)::numeric * 1000)::bigint AS io_us,"
    " NULL::timestamptz AS since"
)
_FROM_17: LiteralString = (
    "pg_catalog.round((s.shared_blk_read_time + s.shared_blk_write_time + s.local_blk_read_time"
    " + s.local_blk_write_time)::numeric * 1000)::bigint AS io_us, s.stats_since AS since"
)
_SOURCE: LiteralString = " FROM pg_stat_statements(false) s WHERE s.dbid = $1::bigint::oid"
_HIDDEN: LiteralString = """
SELECT pg_catalog.count(*)::int FROM pg_stat_statements(false) s
JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database() WHERE s.queryid IS NULL
"""
# A comment with tags stands at the end, so that the end of a long text is wanted too. A statement may have an entry for each role.
_TEXTS: LiteralString = """
SELECT s.queryid, pg_catalog.min(pg_catalog."left"(s.query, $2)) AS query, pg_catalog.min(pg_catalog."right"(s.query, 2000)) AS ending
FROM pg_stat_statements(true) s JOIN pg_catalog.pg_database d ON d.oid = s.dbid AND d.datname = pg_catalog.current_database()
WHERE s.queryid = ANY($1::bigint[]) GROUP BY 1
"""
# Of one statement run by several roles the texts are the same. Who may not see a text does not see its identifier either.
_WHOLE_TEXT: LiteralString = """
SELECT s.query FROM pg_stat_statements s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE (s.queryid = $1 OR s.queryid IS NULL) AND d.datname = pg_catalog.current_database()
ORDER BY s.queryid IS NULL, s.calls DESC LIMIT 10
"""


class StatementKey(NamedTuple):
    """What ``pg_stat_statements`` keeps one entry for. ``toplevel``: not called by a function."""

    userid: int
    dbid: int
    queryid: int
    toplevel: bool


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One entry: what it has cost ``since`` (None before PostgreSQL 17: not told)."""

    use: StatementUse
    since: datetime | None


@dataclass(frozen=True, slots=True)
class StatementSnapshot:
    """All entries of this database at one time of the server.

    stats_reset: since when the oldest may count. dealloc: how often, since then, entries that were used least were thrown away because
    there were more than ``pg_stat_statements.max``. hidden: entries of roles whose statements ours may
    not see (it needs pg_read_all_stats).
    """

    at: datetime
    stats_reset: datetime | None
    dealloc: int
    hidden: int
    rows: Mapping[StatementKey, StatementRow]


class StatementText(NamedTuple):
    """A statement as the server keeps it, values of utility statements included: redact before showing. ``ending``: its last part."""

    text: str
    ending: str


async def statement_snapshot(asked: Asked) -> StatementSnapshot:
    """Every entry of this database, without texts; some ten milliseconds for five thousand.

    Raises NotSupported where the extension is absent, older than 1.9, or not loaded by the server, MonitorDenied
    where its schema is closed.
    """
    version = await _found(asked)
    counters = _COUNTERS + (_FROM_17 if version >= (1, 11) else _UNTIL_16) + _SOURCE
    about = await _read(asked.fetchrow(_ABOUT))
    found = await _read(asked.fetch(counters, about["dbid"]))
    rows = {
        StatementKey(row["userid"], about["dbid"], row["queryid"], row["toplevel"]): _row(row)
        async for row in breathing(found)
        if row["queryid"] is not None
    }
    return StatementSnapshot(
        about["at"], about["stats_reset"], about["dealloc"], len(found) - len(rows), rows
    )


async def hidden_statements(asked: Asked) -> int:
    """How many entries of this database the monitor's role may not see. Raises as ``statement_snapshot``."""
    await _found(asked)
    return int(await _read(asked.fetchval(_HIDDEN)))


async def statement_texts(asked: Asked, queryids: Iterable[int]) -> dict[int, StatementText]:
    """The texts of these statements, as they first came; what is gone, or may not be seen, is absent. At most 20,000 characters each.

    The server reads the texts of all statements for it. Raises as ``statement_snapshot``.
    """
    await _found(asked)
    rows = await _read(asked.fetch(_TEXTS, list(queryids), _LONGEST_TEXT))
    return {row["queryid"]: StatementText(row["query"], row["ending"]) for row in rows}


async def statement_text(asked: Asked, queryid: int) -> str:
    """The whole text of ``queryid``, with ``$n`` for its values; utility statements hold theirs.

    Raises NotFound for an identifier that the extension does not know (any more), MonitorDenied where the monitor's role may not see the
    text, and as ``statement_snapshot``.
    """
    await _found(asked)
    texts = (
        [row["query"] for row in await _read(asked.fetch(_WHOLE_TEXT, queryid))]
        if queryid in QUERYIDS
        else []
    )
    if not texts:
        raise NotFound("pg_stat_statements does not know this queryid (any more)")
    seen = [text for text in texts if text and text != _MAY_NOT_SEE]
    if seen:
        return str(seen[0])
    if _MAY_NOT_SEE in texts:
        raise MonitorDenied
    raise NotFound("pg_stat_statements has lost the text of this statement")


async def _found(asked: Asked) -> tuple[int, ...]:
    """The version of the extension, which unqualified names then mean until the end of the transaction."""
    row = await asked.fetchrow(_FIND)
    if row is None:
        raise NotSupported("pg_stat_statements is not installed in this database")
    version = tuple(int(part) for part in row["version"].split("."))
    if version < _OLDEST:
        raise NotSupported("pg_stat_statements is too old: ALTER EXTENSION pg_stat_statements UPDATE")
    return version


async def _read(answer: Any) -> Any:
    try:
        return await answer
    except asyncpg.PostgresError as error:
        if error.sqlstate in _NOT_FOUND:
            raise MonitorDenied from error
        if error.sqlstate == _NOT_LOADED:
            raise NotSupported(
                "pg_stat_statements is installed, but the server does not load it (shared_preload_libraries)"
            ) from error
        raise


def _row(row: Any) -> StatementRow:
    named = {name: row[name] for name in StatementUse.__dataclass_fields__}
    return StatementRow(StatementUse(**named), row["since"])
