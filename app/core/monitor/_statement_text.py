"""The text of a statement that pg_stat_statements knows, by its identifier."""

from typing import Final, LiteralString

import asyncpg

from app.core.errors import NotFound
from app.core.monitor._errors import MonitorDenied, NotSupported
from app.core.monitor._server import Asked, ServerFacts

EXTENSION: Final = "pg_stat_statements"
_HIDDEN = "<insufficient privilege>"

# The extension's view stands in whatever schema it was created in. Of one statement run by several roles the texts are the same.
# Who may not see a text does not see its identifier either.
_WHERE: LiteralString = """
SELECT pg_catalog.quote_ident(n.nspname) FROM pg_catalog.pg_extension e
JOIN pg_catalog.pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_stat_statements'
"""
_TEXTS = """
SELECT s.query FROM {schema}.pg_stat_statements s JOIN pg_catalog.pg_database d ON d.oid = s.dbid
WHERE (s.queryid = $1 OR s.queryid IS NULL) AND d.datname = pg_catalog.current_database()
ORDER BY s.queryid IS NULL, s.calls DESC LIMIT 10
"""


async def statement_text(connection: Asked, facts: ServerFacts, queryid: int) -> str:
    """The text of ``queryid`` (a signed number of 64 bits) in this database, with ``$n`` for its values.

    Raises NotSupported without the extension, NotFound for an identifier that it does not know (any more), MonitorDenied where the
    monitor's role may not see the text.
    """
    schema = await connection.fetchval(_WHERE) if facts.has(EXTENSION) else None
    if schema is None:
        raise NotSupported("This database has no pg_stat_statements; CREATE EXTENSION pg_stat_statements")
    texts = await _texts(connection, schema, queryid)
    if not texts:
        raise NotFound("pg_stat_statements does not know this queryid (any more)")
    seen = [text for text in texts if text and text != _HIDDEN]
    if seen:
        return seen[0]
    if _HIDDEN in texts:
        raise MonitorDenied
    raise NotFound("pg_stat_statements has lost the text of this statement")


async def _texts(connection: Asked, schema: str, queryid: int) -> list[str | None]:
    try:
        return [row["query"] for row in await connection.fetch(_TEXTS.format(schema=schema), queryid)]
    except asyncpg.ObjectNotInPrerequisiteStateError as error:
        raise NotSupported("pg_stat_statements is not in shared_preload_libraries") from error
