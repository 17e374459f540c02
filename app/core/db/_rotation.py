"""Re-encrypting columns with the newest key: in small transactions, beside the running service, to be stopped and gone on with at any time.

Nothing has to be remembered for that: a value begins with the id of its key, so what is left to do is what begins otherwise.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Column, Row, Select, Text, Update, func, select, tuple_, type_coerce, values
from sqlalchemy import column as named

from app.core.db._bulk import MAX_PARAMETERS
from app.core.db._database import Database
from app.core.db._encrypted import EncryptedText
from app.core.db._errors import translate_errors
from app.core.db._stored_text import StoredText
from app.core.errors import ConfigurationError
from app.core.security import DataEncryptor, DecryptionFailed


class Turn(NamedTuple):
    """One batch: rows that were rotated, and that are unreadable and stay as they are (``reason`` tells about the last of them)."""

    rotated: int
    unreadable: int = 0
    reason: str = ""


class ColumnRotation:
    """Rotates one encrypted column of a table with a primary key. ``batch``: rows in a transaction, 1 to 5,000.

    A batch locks its rows for some milliseconds, in the order of the primary key, and waits for whoever changes one of them. Other
    columns stay as they are, ``updated_at`` among them. Raises ConfigurationError for a table without a primary key.
    """

    def __init__(self, database: Database, column: Column[Any], *, batch: int = 500) -> None:
        if not 1 <= batch <= 5_000:
            raise ValueError(f"batch must be 1 to 5,000 rows, not {batch}")
        if not isinstance(column.type, EncryptedText) or not list(column.table.primary_key):
            raise ConfigurationError(f"{column} is no encrypted column of a table with a primary key")
        self.name = str(column)
        self._database = database
        self._column = column
        self._keys: list[Column[Any]] = list(column.table.primary_key)
        self._encryptor: DataEncryptor = column.type.cipher()
        # A statement that writes them has the key and the new value of each.
        self._batch = min(batch, MAX_PARAMETERS // (len(self._keys) + 1))
        self._stored = type_coerce(column, Text)

    async def left(self) -> int:
        """Rows that are not encrypted with the newest key. Reads the whole table."""
        query = self._outdated(select(func.count()).select_from(self._column.table))
        with translate_errors():
            async with self._database.session() as session:
                return int(await session.scalar(query) or 0)

    async def run(self) -> AsyncIterator[Turn]:
        """Rotate everything, a batch a turn; each turn is committed when it is handed out. Raises a DatabaseError."""
        after: Sequence[Any] | None = None
        while True:
            turn, after = await self._turn(after)
            if after is not None:
                yield turn
            if turn.rotated + turn.unreadable < self._batch:
                return

    def _outdated(self, query: Select[Any]) -> Select[Any]:
        # NULL is not LIKE anything and not unlike it either: empty columns are left out.
        return query.where(~self._stored.startswith(f"{self._encryptor.key_id}."))

    async def _turn(self, after: Sequence[Any] | None) -> tuple[Turn, Sequence[Any] | None]:
        query = self._outdated(select(*self._keys, self._stored)).order_by(*self._keys)
        if after is not None:
            query = query.where(tuple_(*self._keys) > tuple_(*after))
        with translate_errors():
            async with self._database.session() as session:
                # FOR NO KEY UPDATE: rows that refer to these may be written meanwhile.
                locked = query.limit(self._batch).with_for_update(key_share=True)
                rows = (await session.execute(locked)).all()
                changes, reason = self._changes(rows)
                if changes:
                    await session.execute(self._write(changes))
                await session.commit()
        turn = Turn(len(changes), len(rows) - len(changes), reason)
        return turn, tuple(rows[-1][:-1]) if rows else None

    def _changes(self, rows: Sequence[Row[Any]]) -> tuple[list[tuple[Any, ...]], str]:
        """Primary key and new value of every row that can be read, and why the last of the others cannot."""
        changes, reason = [], ""
        for row in rows:
            try:
                new = StoredText.parse(row[-1], self._encryptor.purpose).rotated(self._encryptor)
            except DecryptionFailed as failure:
                reason = str(failure)
                continue
            changes.append((*row[:-1], str(new)))
        return changes, reason

    def _write(self, changes: list[tuple[Any, ...]]) -> Update:
        table, keys = self._column.table, self._keys
        fields = [named(f"key_{at}", key.type) for at, key in enumerate(keys)]
        changed = values(*fields, named("stored", Text()), name="changed").data(changes)
        # Named, so that a default of theirs for updates does not change them.
        kept = {column.name: column for column in table.columns if column.onupdate is not None}
        statement = table.update().values({**kept, self._column.name: changed.c.stored})
        return statement.where(*[key == changed.c[f"key_{at}"] for at, key in enumerate(keys)])
