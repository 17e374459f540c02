"""Tables and indexes as statements name them, and the pieces of SQL that questions about them share."""

from typing import Final

USER_SCHEMA: Final = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
"""Of ``pg_namespace n``: nobody else may make a schema that begins with ``pg_``."""

SCHEMAS: Final = (
    "coalesce(nullif(pg_catalog.current_setting('gatehouse.schemas', true), '')::name[],"
    " pg_catalog.current_schemas(false))"
)
"""Where names without a schema are looked for, in order, also in a question that ``MonitorServer.put`` puts."""

LOCKED: Final = """locked AS MATERIALIZED (
    SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
)"""
"""A part of WITH: relations whose size would have to be waited for. Who only queues for the lock is in the way as well."""


def quoted(*names: str) -> str:
    """The name as a statement wants it, with its schema: always quoted, so that no word is a keyword."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)
