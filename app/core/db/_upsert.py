"""INSERT ... ON CONFLICT DO UPDATE."""

from collections.abc import Iterable, Sequence
from typing import Any

from sqlalchemy import and_
from sqlalchemy.dialects.postgresql import Insert, insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.core.db._errors import ConstraintViolated, DatabaseFault, translate_errors
from app.core.db._fields import Model, field_of, mapper_of, primary_key_of
from app.core.db._loading import LazyLoading, load_options
from app.core.db._query_errors import InvalidFieldValue
from app.core.db._scope import RowScope
from app.core.db._statements import ModelT

_TWICE = "21000"  # ON CONFLICT DO UPDATE command cannot affect row a second time


async def upsert_rows(
    session: AsyncSession,
    model: type[ModelT],
    rows: Sequence[dict[str, Any]],
    *,
    scope: RowScope,
    conflict_on: Iterable[str],
    update: Iterable[str] | None,
    lazy: LazyLoading = "raise",
) -> Sequence[ModelT]:
    """Insert ``rows`` or change those that are there, as ``AsyncBaseRepository.bulk_upsert`` says. All rows have the same fields."""
    names = [field_of(model, name).name for name in conflict_on]
    _check(rows, names)
    if not rows:
        return []
    fixed = {*names, *scope.values, *(field.name for field in primary_key_of(model))}
    changed = [name for name in rows[0] if name not in fixed] if update is None else list(update)
    if strange := [name for name in changed if name not in rows[0]]:
        raise InvalidFieldValue(strange[0], "is to be changed and not given")
    statement = _statement(model, names, changed, scope).returning(model)
    statement = statement.options(*load_options(model, lazy=lazy))
    try:
        with translate_errors():
            found = await session.scalars(
                statement, list(rows), execution_options={"populate_existing": True}
            )
            kept = found.all()
    except DatabaseFault as fault:
        if fault.sqlstate == _TWICE:
            # Values that only the column makes equal, by rounding or without regard to case.
            raise InvalidFieldValue(names[0], "names a row twice") from fault
        raise
    if len(kept) < len(rows):
        raise ConstraintViolated("The request conflicts with stored data")
    return kept


def _statement(model: Model, conflict_on: list[str], changed: list[str], scope: RowScope) -> Insert:
    statement = insert(model)
    columns = mapper_of(model).column_attrs
    # An upsert is an INSERT to SQLAlchemy: what an UPDATE would set by itself must be said.
    values: dict[str, Any] = {
        column.name: column.onupdate.arg(None) if column.onupdate.is_callable else column.onupdate.arg
        for column in mapper_of(model).local_table.columns
        if column.onupdate is not None
    }
    # With nothing to change a row that is there is still returned.
    for name in changed or conflict_on[:1]:
        column = columns[field_of(model, name).name].columns[0]
        values[column.name] = statement.excluded[column.name]
    if (version := mapper_of(model).version_id_col) is not None:
        values[version.name] = version + 1
    return statement.on_conflict_do_update(
        index_elements=[columns[name].columns[0] for name in conflict_on],
        set_=values,
        # A row of somebody else's is not changed: then nothing comes back.
        where=and_(*scope.criteria()) if scope.values else None,
    )


def _check(rows: Sequence[dict[str, Any]], names: list[str]) -> None:
    if not names:
        raise InvalidFieldValue("conflict_on", "names no field")
    seen: set[tuple[Any, ...]] = set()
    for row in rows:
        if row.keys() != rows[0].keys():
            raise InvalidFieldValue("rows", "must all have the same fields")
        if missing := [name for name in names if row.get(name) is None]:
            raise InvalidFieldValue(missing[0], "is missing in a row")
        key = tuple(row[name] for name in names)
        if key in seen:
            raise InvalidFieldValue(names[0], "names a row twice")
        seen.add(key)
