"""What a repository reads."""

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic

from sqlalchemy import Select
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._cursor import CursorSigner, decode_cursor, default_signer, encode_cursor
from app.core.db._errors import DRIVER_ERRORS, translate_errors
from app.core.db._filters import Filters
from app.core.db._keyset import Position, after, is_plain, position_of
from app.core.db._loading import LazyLoading, load_options
from app.core.db._pages import CursorPage, Page, PaginationParams, check_limit
from app.core.db._scope import RowScope
from app.core.db._sorting import OrderBy, SortKey
from app.core.db._statements import ModelT, RowLock, Statements, locked
from app.core.errors import EntityNotFoundError


class Reads(Generic[ModelT]):
    """The reading half of ``AsyncBaseRepository``."""

    lazy_loading: LazyLoading = "raise"
    """What reading a relationship does that was not asked for; a subclass may set ``raise_on_sql`` or ``off``."""

    _model: type[ModelT]
    _session: AsyncSession
    _scope: RowScope
    _statements: Statements[ModelT]
    _cursors: CursorSigner | None

    async def get_by_id(
        self, identity: Any, *, load: Iterable[str] = (), lock: RowLock | None = None
    ) -> ModelT | None:
        """The row of this primary key, or None. A key of several columns is a tuple. ``load``: paths of relationships.

        Raises InvalidFieldValue when it cannot be a key, UnknownField for a path, and our database errors.
        """
        statement, values = self._statements.one(identity)
        if load:
            statement = statement.options(*load_options(self._model, load, lazy="off"))
        if lock is not None:
            statement = locked(statement, self._model, lock)
        with translate_errors():
            return (await self._session.execute(statement, values)).scalar_one_or_none()

    async def get_one(
        self, identity: Any, *, load: Iterable[str] = (), lock: RowLock | None = None
    ) -> ModelT:
        """As ``get_by_id``, but raises EntityNotFoundError instead of returning None."""
        found = await self.get_by_id(identity, load=load, lock=lock)
        if found is None:
            raise EntityNotFoundError(f"{self._model.__name__} not found")
        return found

    async def get_by_id_with_relations(self, identity: Any, relations: Iterable[str]) -> ModelT | None:
        """The row with the relationships at these paths (``"assignments.template"``) loaded, or None."""
        return await self.get_by_id(identity, load=relations)

    async def get_all(
        self, pagination: PaginationParams | None = None, *, order_by: OrderBy = None
    ) -> Sequence[ModelT]:
        """Every row, all at once: only for tables that stay small. By primary key unless ``order_by`` says otherwise."""
        return await self.get_all_with_relations((), pagination, order_by=order_by)

    async def get_all_with_relations(
        self,
        relations: Iterable[str],
        pagination: PaginationParams | None = None,
        *,
        order_by: OrderBy = None,
    ) -> Sequence[ModelT]:
        """Every row, or those of a page, with the relationships at these paths loaded."""
        statement = self._statements.rows(order=self._statements.order(order_by), load=relations)
        if pagination is not None:
            statement = statement.offset(pagination.skip).limit(pagination.limit)
        return await self._all(statement)

    async def get_by_filters(
        self,
        filters: Filters,
        *,
        order_by: OrderBy = None,
        limit: int | None = None,
        load: Iterable[str] = (),
        only: Iterable[str] | None = None,
        lock: RowLock | None = None,
    ) -> Sequence[ModelT]:
        """Rows that fit all ``filters``: ``{"role": "RESIDENT", "age__gte": 18}`` or filter values. None finds all.

        only: the columns to read besides the primary key. Raises QueryRefused for fields, operators and values that make no sense.
        """
        order = self._statements.order(order_by)
        statement = self._statements.rows(filters, order=order, load=load, only=only, lock=lock)
        return await self._all(statement if limit is None else statement.limit(check_limit(limit)))

    async def get_first_by_filters(
        self,
        filters: Filters,
        *,
        order_by: OrderBy = None,
        load: Iterable[str] = (),
        lock: RowLock | None = None,
    ) -> ModelT | None:
        """The first row that fits, or None."""
        found = await self.get_by_filters(filters, order_by=order_by, limit=1, load=load, lock=lock)
        return found[0] if found else None

    async def for_update(
        self,
        filters: Filters = None,
        *,
        limit: int = 1,
        order_by: OrderBy = None,
        skip_locked: bool = False,
        nowait: bool = False,
    ) -> Sequence[ModelT]:
        """Up to ``limit`` rows, locked until the transaction ends and read as they are now.

        ``skip_locked`` leaves out rows that others hold, as a queue wants it; ``nowait`` raises DatabaseTimeout instead of waiting.
        """
        lock = RowLock(skip_locked=skip_locked, nowait=nowait)
        return await self.get_by_filters(filters, order_by=order_by, limit=limit, lock=lock)

    async def exists(self, filters: Filters = None) -> bool:
        """Whether any row fits."""
        with translate_errors():
            return bool(await self._session.scalar(self._statements.exists(filters)))

    async def count(self, filters: Filters = None) -> int:
        """How many rows fit. PostgreSQL counts them one by one."""
        with translate_errors():
            return await self._session.scalar(self._statements.count(filters)) or 0

    async def get_paginated(
        self,
        pagination: PaginationParams | None = None,
        order_by: OrderBy = None,
        filters: Filters = None,
        load: Iterable[str] = (),
    ) -> Page[ModelT]:
        """A page by number with the total. Equal rows stand in the order of their key, so that pages never overlap.

        Counts only when the page does not show the total by itself. Deep pages are slow; use ``get_cursor_page``.
        """
        asked = pagination or PaginationParams()
        order = self._statements.order(order_by)
        if filters is None and not load:
            data = await self._all(*self._statements.page(order, asked.skip, asked.limit))
        else:
            statement = self._statements.rows(filters, order=order, load=load)
            data = await self._all(statement.offset(asked.skip).limit(asked.limit))
        is_last = len(data) < asked.limit and (bool(data) or asked.skip == 0)
        total = asked.skip + len(data) if is_last else await self.count(filters)
        return Page(data, total, asked.skip, asked.limit)

    async def get_cursor_page(
        self,
        cursor: str | None = None,
        *,
        limit: int = 20,
        order_by: OrderBy = None,
        filters: Filters = None,
        load: Iterable[str] = (),
        context: str = "",
    ) -> CursorPage[ModelT]:
        """The page after ``cursor``; page 10,000 costs what page 1 costs, and rows that come or go meanwhile shift nothing.

        A cursor serves the order and ``context`` that it was made for (the owner, say), and any filters. It is signed, not secret. Raises
        InvalidCursor, InvalidLimit, UnknownField; ConfigurationError when no signer is configured.
        """
        check_limit(limit)
        signer, order = self._cursors or default_signer(), self._statements.order(order_by)
        position = None
        if cursor is not None:
            position = decode_cursor(signer, self._model, order, cursor, context)
        found = await self._after(position, order, limit + 1, filters, load)
        if len(found) <= limit:
            return CursorPage(found, None)
        last = position_of(found[limit - 1], order)
        return CursorPage(found[:limit], encode_cursor(signer, self._model, order, last, context))

    async def get_after(
        self,
        position: Position | None,
        *,
        limit: int,
        order_by: OrderBy = None,
        filters: Filters = None,
        load: Iterable[str] = (),
    ) -> Sequence[ModelT]:
        """Up to ``limit`` rows after a position: the sort columns' values, and those of the primary key if the order lacks them.

        For cursors of one's own; ``get_cursor_page`` makes signed ones.
        """
        return await self._after(
            position, self._statements.order(order_by), check_limit(limit), filters, load
        )

    async def batches(
        self,
        filters: Filters = None,
        *,
        size: int = 1000,
        order_by: OrderBy = None,
        load: Iterable[str] = (),
    ) -> AsyncIterator[Sequence[ModelT]]:
        """All rows that fit in lists of ``size``, each a statement of its own that goes on after the last row.

        The caller may commit in between. Rows that are moved behind the last one seen come again: do not change sort columns.
        """
        order, position = self._statements.order(order_by), None
        while True:
            batch = await self._after(position, order, check_limit(size), filters, load)
            if batch:
                position = position_of(batch[-1], order)
                yield batch
            if len(batch) < size:
                return

    @asynccontextmanager
    async def stream(
        self,
        filters: Filters = None,
        *,
        order_by: OrderBy = None,
        load: Iterable[str] = (),
        size: int = 500,
    ) -> AsyncIterator[AsyncIterator[ModelT]]:
        """All rows that fit through one server-side cursor, ``size`` at a time, without having them all in memory.

        ``async with repo.stream() as rows: async for row in rows: ...``. Everything is seen as it was at the start. The cursor is closed
        after the block; the transaction stays open for its whole length, so do not wait for others inside.
        """
        statement = self._statements.rows(filters, order=self._statements.order(order_by), load=load)
        statement = statement.execution_options(yield_per=check_limit(size))
        with translate_errors():
            result = await self._session.stream_scalars(statement)
        try:
            yield _translated(result)
        except BaseException:
            # A connection that broke cannot close the cursor either; what broke it is the news.
            with suppress(SQLAlchemyError, OSError, *DRIVER_ERRORS):
                await result.close()
            raise
        with translate_errors():
            await result.close()

    async def _after(
        self,
        position: Position | None,
        order: tuple[SortKey, ...],
        limit: int,
        filters: Filters,
        load: Iterable[str],
    ) -> Sequence[ModelT]:
        if filters is None and not load and is_plain(order):
            return await self._all(*self._statements.following(order, position, limit))
        further = () if position is None else (after(order, position),)
        return await self._all(self._statements.rows(filters, *further, order=order, load=load).limit(limit))

    async def _all(
        self, statement: Select[ModelT], values: Mapping[str, Any] | None = None
    ) -> Sequence[ModelT]:
        with translate_errors():
            return (await self._session.scalars(statement, values)).all()


async def _translated(rows: AsyncIterator[ModelT]) -> AsyncIterator[ModelT]:
    iterator = aiter(rows)
    while True:
        with translate_errors():
            row = await anext(iterator, None)
        if row is None:
            return
        yield row
