"""What the questions about tables and indexes have in common: pieces of SQL, and names as statements want them."""

from typing import Final

USER_SCHEMA: Final = "n.nspname <> 'information_schema' AND n.nspname !~ '^pg_'"
"""Of ``pg_namespace n``: nobody else may make a schema that begins with ``pg_``."""

LOCKED: Final = """locked AS MATERIALIZED (
    SELECT DISTINCT l.relation FROM pg_catalog.pg_locks l
    WHERE l.locktype = 'relation' AND l.mode = 'AccessExclusiveLock'
      AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d WHERE d.datname = current_database())
)"""
"""A part of WITH: relations whose size would have to be waited for. Who only queues for the lock is in the way as well."""

STANDING: Final = """
SELECT current_setting('server_version_num')::int AS version, current_setting('block_size')::int AS block_size,
       pg_catalog.pg_is_in_recovery() AS is_standby, pg_catalog.now() AS at,
       (SELECT s.stats_reset FROM pg_catalog.pg_stat_database s WHERE s.datname = current_database()) AS stats_reset,
       pg_catalog.pg_postmaster_start_time() AS started_at,
       (SELECT count(*)::int FROM pg_catalog.pg_stat_replication r WHERE NOT EXISTS (
            SELECT FROM pg_catalog.pg_replication_slots p WHERE p.active_pid = r.pid AND p.slot_type = 'logical')) AS standbys
"""
"""What one must know to judge statistics: since when they count, and whether others read too."""


def quoted(*names: str) -> str:
    """The name as a statement wants it, with its schema: always quoted, so that no word is a keyword."""
    return ".".join('"' + name.replace('"', '""') + '"' for name in names)


def size(count: float) -> str:
    """Bytes for people: ``12.3 MB``, of 1,048,576 bytes."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if abs(count) < 1024:
            return f"{count:.0f} bytes" if unit == "bytes" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
