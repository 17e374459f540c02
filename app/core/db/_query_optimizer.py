"""Reads with everything that the guides promise of them, in one call."""

from typing import Unpack

from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._filters import Filters
from app.core.db._optimized_read import OptimizedRead, ReadOptions
from app.core.db._pages import MAX_LIMIT
from app.core.db._statements import ModelT


class QueryOptimizer:
    """Rows of a model through the query cache, behind the pool's breaker, timed, tried again, with relationships prefetched.

    ``params`` are filters as repositories take them: ``{"id": 7}``, ``{"name__contains": "ann"}``, filter values. Options are those
    of ``ReadOptions``.

    Unless ``ttl=None`` the rows are copies that belong to no session: changing them changes nothing. They are kept for at most
    ``ttl`` seconds (60), and no longer than until a commit of ours writes to a table they were read from; a transaction that has
    written sees its own writes. Not for balances and permissions, nor for tables that other programs write to.

    Raises QueryRefused (422) for fields, operators, values, paths and limits that make no sense; our database errors;
    PoolCircuitOpen (503) while the database is away, unless the result is kept.
    """

    @staticmethod
    async def optimized_query(
        model: type[ModelT],
        params: Filters,
        session: AsyncSession,
        *,
        limit: int = MAX_LIMIT,
        **options: Unpack[ReadOptions],
    ) -> list[ModelT]:
        """The rows that fit, at most ``limit`` (1 to 1000)."""
        read = OptimizedRead(model, params, session, options, operation="optimized_query", limit=limit)
        return await read.run()

    @staticmethod
    async def optimize_single_object_query(
        model: type[ModelT], params: Filters, session: AsyncSession, **options: Unpack[ReadOptions]
    ) -> ModelT | None:
        """The row that fits, or None; of several the first by ``order_by``, or else by primary key."""
        read = OptimizedRead(
            model, params, session, options, operation="optimize_single_object_query", limit=1
        )
        found = await read.run()
        return found[0] if found else None
