"""What was done to this database's schema, and when: one row a migration, written in the migration's own transaction."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import ProgrammingError

from app.core.db._database import Database
from app.core.db._errors import UNDEFINED_TABLE, sqlstate_of, translate_errors

HISTORY_TABLE = "schema_history"
# No migration makes it: it is there before the first one and outlives the last one's downgrade.
_CREATE = text(
    f"""CREATE TABLE {HISTORY_TABLE} (
        id bigint GENERATED ALWAYS AS IDENTITY CONSTRAINT pk_schema_history PRIMARY KEY,
        revision text NOT NULL,
        direction text NOT NULL CONSTRAINT ck_schema_history_direction CHECK (direction IN ('up', 'down', 'stamp')),
        at timestamptz NOT NULL DEFAULT now(),
        by text NOT NULL DEFAULT current_user
    )"""
)
_INSERT = text(f"INSERT INTO {HISTORY_TABLE} (revision, direction) VALUES (:revision, :direction)")  # noqa: S608 - our constant


class HistoryEntry(NamedTuple):
    """One migration: its ``direction`` is up, down or stamp (only noted as done), ``at`` when its transaction began, ``by`` which role."""

    revision: str
    direction: str
    at: datetime
    by: str


def record_step(ctx: Any, step: Any, heads: Collection[Any], run_args: Mapping[str, Any]) -> None:  # noqa: ARG001 - alembic's names
    """Note a migration; alembic's ``on_version_apply`` calls it."""
    if ctx.connection.scalar(text("SELECT to_regclass(:name)"), {"name": HISTORY_TABLE}) is None:
        ctx.connection.execute(_CREATE)
    direction = "stamp" if step.is_stamp else "up" if step.is_upgrade else "down"
    revision = ", ".join(step.up_revision_ids)
    ctx.connection.execute(_INSERT, {"revision": revision, "direction": direction})


async def read_history(database: Database) -> list[HistoryEntry]:
    """All entries, oldest first; none in a database that was never migrated. Raises a DatabaseError."""
    query = text(f"SELECT revision, direction, at, by FROM {HISTORY_TABLE} ORDER BY id")  # noqa: S608 - our constant
    with translate_errors():
        try:
            async with database.session() as session:
                return [HistoryEntry(*row) for row in await session.execute(query)]
        except ProgrammingError as error:
            if sqlstate_of(error) == UNDEFINED_TABLE:
                return []
            raise
