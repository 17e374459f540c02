"""Has anything in the database changed?"""

from typing import Any

_QUESTION = """
SELECT md5(string_agg(c.oid || ' ' || c.relname || ' ' || c.relkind::text || ' ' || c.relfilenode, ',' ORDER BY c.oid))
       || (SELECT ' ' || count(*) FROM plans) || (SELECT ' ' || count(*) FROM places)
       || (SELECT ' ' || count(*) FROM jobs WHERE state = 'running')
       || (SELECT ' ' || sum(xmax::text::bigint) FROM plans)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname NOT LIKE 'pg\\_t%'
"""


async def fingerprint(connection: Any) -> str:
    """Changes when a relation comes, goes or is rewritten, or when one of the statements that write was really run."""
    return str(await connection.fetchval(_QUESTION))
