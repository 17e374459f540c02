"""A model's repository: where its rows are asked for and changed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import delete, inspect
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._bulk import create_rows, delete_rows, update_rows
from app.core.db._cursor import CursorSigner
from app.core.db._errors import translate_errors
from app.core.db._fields import primary_key_of
from app.core.db._reads import Reads
from app.core.db._scope import RowScope
from app.core.db._statements import ModelT, Statements, identity_of
from app.core.db._upsert import upsert_rows
from app.core.db._values import Data, rows_of, values_of
from app.core.errors import EntityNotFoundError


class AsyncBaseRepository(Reads[ModelT]):
    """Rows of ``model`` in ``session``: ``AsyncBaseRepository(Person, session)``, or a subclass with queries of its own.

    scope: column values that bind every statement, such as ``{"owner_id": caller}``: other rows are not seen, not changed and not made.
    cursors: signs cursors, if not the process's own signer.

    Nothing here commits except ``commit()``; in a request the gated route does. Every write is sent at once, so that a refusal shows where
    it was caused: ConstraintViolated (409), InvalidValue (422), SerializationFailure (409) when somebody else was quicker; after one, roll
    back. Relationships that were not asked for raise when read (``lazy_loading``). As cheap to make as an object; one for each session.
    """

    def __init__(
        self,
        model: type[ModelT],
        session: AsyncSession,
        *,
        scope: Mapping[str, Any] | None = None,
        cursors: CursorSigner | None = None,
    ) -> None:
        self._model = model
        self._session = session
        self._scope = RowScope(model, scope)
        self._statements = Statements(model, self._scope, self.lazy_loading)
        self._cursors = cursors

    @property
    def model(self) -> type[ModelT]:
        """Whose rows these are."""
        return self._model

    @property
    def session(self) -> AsyncSession:
        """The session that all statements go through."""
        return self._session

    async def create(self, data: Data) -> ModelT:
        """Insert a row from a mapping or a Pydantic model, and return it with what the database filled in.

        Raises UnknownField for anything that is not a column.
        """
        entity = self._model(**self._scope.bind(values_of(self._model, data)))
        self._session.add(entity)
        await self._flush(entity)
        return entity

    async def update(self, target: ModelT | Any, data: Data) -> ModelT:
        """Change a row, given as object or primary key. Of a Pydantic model only the fields that were set.

        Raises EntityNotFoundError when there is no such row (in the scope), UnknownField for anything that is not a column.
        """
        values = values_of(self._model, data, is_change=True)
        self._scope.check(values)
        entity = await self._entity(target)
        for name, value in values.items():
            setattr(entity, name, value)
        await self._flush(entity)
        return entity

    async def delete(self, target: ModelT | Any) -> bool:
        """Remove a row, given as object or primary key; whether it was there.

        By key it is one statement; an object's cascades and version are minded, and it raises EntityNotFoundError outside the scope.
        """
        if isinstance(target, self._model):
            with translate_errors():
                await self._session.delete(await self._entity(target))
                await self._session.flush()
            return True
        key = primary_key_of(self._model)
        values = identity_of(self._model, target).values()
        same = (field.attribute == value for field, value in zip(key, values, strict=True))
        statement = delete(self._model).where(*same, *self._scope.criteria()).returning(key[0].attribute)
        with translate_errors():
            return (await self._session.execute(statement)).first() is not None

    async def upsert(
        self, data: Data, *, conflict_on: Iterable[str], update: Iterable[str] | None = None
    ) -> ModelT:
        """``bulk_upsert`` of one row."""
        return (await self.bulk_upsert([data], conflict_on=conflict_on, update=update))[0]

    async def bulk_upsert(
        self, data: Iterable[Data], *, conflict_on: Iterable[str], update: Iterable[str] | None = None
    ) -> Sequence[ModelT]:
        """Insert rows, or change those that are there, told by the unique ``conflict_on`` fields; in no particular order.

        update: the fields to change, by default all that are given; ``()`` changes none. A row that is there but outside the scope raises
        ConstraintViolated. All rows have the same fields, none is named twice: else InvalidFieldValue.
        """
        rows = [self._scope.bind(row) for row in rows_of(self._model, data)]
        return await upsert_rows(
            self._session,
            self._model,
            rows,
            scope=self._scope,
            conflict_on=conflict_on,
            update=update,
            lazy=self.lazy_loading,
        )

    async def bulk_create(self, data: Iterable[Data]) -> list[ModelT]:
        """Insert many rows in statements of up to 1000; the objects in the same order."""
        rows = [self._scope.bind(row) for row in rows_of(self._model, data)]
        return await create_rows(self._session, self._model, rows, self.lazy_loading)

    async def bulk_update(self, data: Iterable[Data]) -> int:
        """Change many rows, each given with its primary key and what changes; how many were there.

        Keys that do not exist are not an error. Raises InvalidFieldValue for a row without key, without change, or named twice.
        """
        rows = rows_of(self._model, data, is_change=True)
        for row in rows:
            self._scope.check(row)
        return await update_rows(self._session, self._model, rows, self._scope, self.lazy_loading)

    async def bulk_delete(self, identities: Iterable[Any]) -> int:
        """Remove many rows by primary key; how many were there. Cascades are those of the database."""
        return await delete_rows(self._session, self._model, identities, self._scope)

    async def commit(self) -> None:
        """End the session's transaction and keep it: for scripts; a request's is kept by its route. Raises our database errors."""
        with translate_errors():
            await self._session.commit()

    async def rollback(self) -> None:
        """Undo the session's transaction."""
        with translate_errors():
            await self._session.rollback()

    async def _entity(self, target: ModelT | Any) -> ModelT:
        if not isinstance(target, self._model):
            return await self.get_one(target)
        if not self._scope.has(target):
            raise EntityNotFoundError(f"{self._model.__name__} not found")
        return target

    async def _flush(self, entity: ModelT) -> None:
        # Now, not at the commit, so that whoever asked learns here which constraint refused.
        with translate_errors():
            await self._session.flush()
            # What the server computes in an UPDATE (updated_at) would be loaded when read, which an async session cannot do.
            if expired := inspect(entity).expired_attributes & self._columns():
                await self._session.refresh(entity, expired)

    def _columns(self) -> set[str]:
        return set(inspect(self._model).column_attrs.keys())
