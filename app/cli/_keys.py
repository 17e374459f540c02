"""Commands about encryption keys: what they do, without how they are asked."""

from collections.abc import Callable
from typing import Any

from app.cli._sessions import database_url
from app.core.db import Base, ColumnRotation, Database, encrypted_columns
from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor, configure_encryption
from app.registry import FEATURES
from app.settings import Settings

Report = Callable[[str, int, int], None]
"""Told after each batch: the column, rows that are done, and rows in all."""


async def rotate(
    settings: Settings, report: Report, *, batch: int = 500, dry_run: bool = False
) -> dict[str, Any]:
    """Re-encrypt every encrypted column with the newest key, or only count what is left. Stopped at any moment, it goes on when it is run
    again. Raises ConfigurationError without keys, ValueError for a batch that is not 1 to 5,000, and a DatabaseError.
    """
    if not settings.sealing_keys:
        raise ConfigurationError("ENCRYPTION_KEYS is not set")
    configure_encryption(settings.sealing_keys)
    # Without a limit: to find what is left in a large table takes as long as it takes.
    database = Database(
        database_url(settings),
        pool_size=1,
        max_overflow=0,
        statement_timeout_s=0,
        application_name=f"{settings.app_name}-keys",
    )
    metadata = dict.fromkeys([Base.metadata, *(model.metadata for each in FEATURES for model in each.models)])
    try:
        rotations = [ColumnRotation(database, column, batch=batch) for column in encrypted_columns(metadata)]
        columns = [await _rotate(each, report, dry_run=dry_run) for each in rotations]
    finally:
        await database.close()
    return {"key": DataEncryptor().key_id, "columns": columns}


async def _rotate(rotation: ColumnRotation, report: Report, *, dry_run: bool) -> dict[str, Any]:
    total = await rotation.left()
    done = {"column": rotation.name, "rotated": 0, "unreadable": 0, "left": total, "reason": None}
    report(rotation.name, 0, total)
    if dry_run:
        return done
    rotated = unreadable = 0
    async for turn in rotation.run():
        rotated, unreadable = rotated + turn.rotated, unreadable + turn.unreadable
        done["reason"] = turn.reason or done["reason"]
        report(rotation.name, rotated + unreadable, total)
    return {**done, "rotated": rotated, "unreadable": unreadable, "left": await rotation.left()}
