"""The repository's parts under the documents' names, for statements that are written by hand.

They are the same code: ``FilterHelper`` builds the filters of ``_filters``, ``BulkOperations`` calls ``_bulk``.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._bulk import delete_rows, insert_rows, update_rows
from app.core.db._errors import translate_errors
from app.core.db._fields import Model
from app.core.db._filters import Between, Filters, Search, to_filter
from app.core.db._pages import Page, PaginationParams
from app.core.db._scope import RowScope
from app.core.db._sorting import OrderBy, parse_sort
from app.core.db._values import Data, rows_of
from app.core.errors import ConfigurationError

SelectT = TypeVar("SelectT", bound=Select[*tuple[Any, ...]])


class FilterHelper:
    """WHERE clauses. All raise QueryRefused (422) by the name of what is wrong."""

    @staticmethod
    def apply_filters(query: SelectT, filters: Filters, model: Model | None = None) -> SelectT:
        """Rows that fit all ``filters``: ``{"role": "RESIDENT", "age__gte": 18}`` or filter values.

        model: whose fields they are; by default the first that ``query`` selects.
        """
        model = model or _model_of(query)
        return query.where(*(each.criterion(model) for each in to_filter(model, filters).filters))

    @staticmethod
    def apply_range_filter(
        query: SelectT, field: str, model: Model, min_val: Any = None, max_val: Any = None
    ) -> SelectT:
        """From ``min_val`` to ``max_val``, both included; None leaves a side open."""
        return query.where(Between(field, min_val, max_val).criterion(model))

    @staticmethod
    def apply_search(query: SelectT, model: Model, text: str, fields: Iterable[str]) -> SelectT:
        """Rows in which one of the text ``fields`` contains ``text``, whatever its case."""
        return query.where(Search(text, tuple(fields)).criterion(model))


class SortHelper:
    """ORDER BY."""

    @staticmethod
    def apply_sort(query: SelectT, model: Model, order_by: OrderBy) -> SelectT:
        """``"name"``, ``"-created_at"`` (descending) or several of them. Raises UnknownField."""
        return query.order_by(*(key.clause() for key in parse_sort(model, order_by)))


class PaginationHelper:
    """Pages by number."""

    @staticmethod
    async def paginate(
        query: SelectT, skip: int = 0, limit: int = 20, *, session: AsyncSession
    ) -> tuple[SelectT, int]:
        """The query for one page, and the total, which is counted in ``session``. Raises InvalidLimit."""
        asked = PaginationParams(skip, limit)
        with translate_errors():
            total = await session.scalar(select(func.count()).select_from(query.order_by(None).subquery()))
        return query.offset(asked.skip).limit(asked.limit), total or 0

    @staticmethod
    def get_pagination_info(total: int, skip: int = 0, limit: int = 20) -> dict[str, Any]:
        """``total skip limit pages current_page has_next has_previous``. Raises InvalidLimit."""
        asked = PaginationParams(skip, limit)
        page: Page[Any] = Page((), total, asked.skip, asked.limit)
        return {
            "total": total,
            "skip": skip,
            "limit": limit,
            "pages": page.pages,
            "current_page": page.current_page,
            "has_next": page.has_next,
            "has_previous": page.has_previous,
        }


class BulkOperations:
    """Many rows in few statements; each answers how many. Nothing is committed. Raise UnknownField, InvalidFieldValue and our errors."""

    @staticmethod
    async def bulk_insert(session: AsyncSession, model: Model, data: Iterable[Data]) -> int:
        """Insert rows without making objects of them: the quickest way but COPY."""
        return await insert_rows(session, model, rows_of(model, data))

    @staticmethod
    async def bulk_update(session: AsyncSession, model: Model, data: Iterable[Data]) -> int:
        """Change rows, each given with its primary key; how many were there."""
        rows = rows_of(model, data, is_change=True)
        return await update_rows(session, model, rows, RowScope(model, None))

    @staticmethod
    async def bulk_delete(session: AsyncSession, model: Model, identities: Iterable[Any]) -> int:
        """Remove rows by primary key; how many were there."""
        return await delete_rows(session, model, identities, RowScope(model, None))


def _model_of(query: Select[*tuple[Any, ...]]) -> Model:
    described: Mapping[str, Any] = query.column_descriptions[0]
    model: Model | None = described.get("entity")
    if model is None:
        raise ConfigurationError("The query selects no model: say which one's fields the filters name")
    return model
