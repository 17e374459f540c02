"""When autovacuum comes to a table, by the table's own thresholds, and what waits for it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from app.core.monitor._server import Asked

_SETTINGS = """
SELECT s.name, s.setting FROM pg_catalog.pg_settings s WHERE s.name LIKE 'autovacuum%'
UNION ALL SELECT 'own:' || o.option_name, o.option_value
FROM pg_catalog.pg_class c, pg_catalog.pg_options_to_table(c.reloptions) o WHERE c.oid = $1
"""
# https://www.postgresql.org/docs/current/routine-vacuuming.html#AUTOVACUUM
_STATE = """
SELECT greatest(c.reltuples, 0)::float8 AS rows, s.n_dead_tup AS dead_rows, s.n_ins_since_vacuum AS inserted_since_vacuum,
       s.n_mod_since_analyze AS changed_since_analyze, s.last_vacuum, s.last_autovacuum, s.last_analyze, s.last_autoanalyze,
       s.vacuum_count, s.autovacuum_count, pg_catalog.age(c.relfrozenxid) AS transaction_age,
       EXISTS (SELECT FROM pg_catalog.pg_stat_progress_vacuum p WHERE p.relid = c.oid) AS is_running
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_stat_all_tables s ON s.relid = c.oid WHERE c.oid = $1
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class VacuumState:
    """What waits for VACUUM and ANALYZE, and from how many rows on autovacuum comes (None: never for that reason).

    ``is_enabled``: by the server's and the table's own settings. Ages are in transactions; at ``freeze_max_age`` autovacuum comes in any
    case. PostgreSQL 18 counts inserted rows against the part of the table that is not frozen, so it may come sooner than said here.
    """

    is_enabled: bool
    is_running: bool
    dead_rows: int
    dead_threshold: int
    inserted_since_vacuum: int
    insert_threshold: int | None
    changed_since_analyze: int
    analyze_threshold: int
    transaction_age: int
    freeze_max_age: int
    last_vacuum: datetime | None
    last_autovacuum: datetime | None
    last_analyze: datetime | None
    last_autoanalyze: datetime | None
    vacuum_count: int
    autovacuum_count: int

    @property
    def is_vacuum_due(self) -> bool:
        """Whether a threshold is passed."""
        inserted = self.insert_threshold is not None and self.inserted_since_vacuum > self.insert_threshold
        return self.dead_rows > self.dead_threshold or inserted or self.transaction_age > self.freeze_max_age

    @property
    def is_analyze_due(self) -> bool:
        """Whether the threshold is passed."""
        return self.changed_since_analyze > self.analyze_threshold


async def vacuum_state(asked: Asked, oid: int) -> VacuumState | None:
    """Of one table; None when it is gone. Not for a partitioned one: autovacuum comes to its partitions."""
    row = await asked.fetchrow(_STATE, oid)
    if row is None:
        return None
    settings = {row["name"]: row["setting"] for row in await asked.fetch(_SETTINGS, oid)}
    state = dict(row)
    rows = state.pop("rows")
    inserts = _setting(settings, "autovacuum_vacuum_insert_threshold")
    most = _setting(settings, "autovacuum_vacuum_max_threshold", -1)  # PostgreSQL 18
    dead = _threshold(settings, "vacuum", rows)
    return VacuumState(
        is_enabled=settings["autovacuum"] == "on"
        and settings.get("own:autovacuum_enabled", "true").lower() in ("true", "on", "1", "yes"),
        dead_threshold=int(min(dead, most)) if most >= 0 else int(dead),
        insert_threshold=int(_threshold(settings, "vacuum_insert", rows)) if inserts >= 0 else None,
        analyze_threshold=int(_threshold(settings, "analyze", rows)),
        freeze_max_age=int(
            min(_setting(settings, "autovacuum_freeze_max_age"), float(settings["autovacuum_freeze_max_age"]))
        ),
        **state,
    )


def _threshold(settings: Mapping[str, str], what: str, rows: float) -> float:
    base, share = (_setting(settings, f"autovacuum_{what}_{part}") for part in ("threshold", "scale_factor"))
    return base + share * rows


def _setting(settings: Mapping[str, str], name: str, otherwise: float | None = None) -> float:
    """The table's own value, or the server's."""
    value = settings.get(f"own:{name}", settings.get(name))
    if value is None and otherwise is not None:
        return otherwise
    return float(value or 0)
