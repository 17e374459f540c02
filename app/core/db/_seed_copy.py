"""Many rows into a table by COPY, and out again by their keys.

COPY itself knows no ON CONFLICT: it fills a temporary table, from which one statement takes what is missing.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import Column, Table, and_, delete, func, select, table, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.expression import TableClause

Row = dict[str, Any]
_COUNTED = {"preserve_rowcount": True}
_LONGEST_NAME = 63  # PostgreSQL's limit.


async def add_missing(session: AsyncSession, target: Table, rows: Sequence[Row]) -> int:
    """Insert rows whose key, or another unique value, is not there yet; how many that were. All rows have the columns of the first."""
    columns = [target.c[name] for name in rows[0]]
    async with _staged(session, target, columns, rows) as stage:
        source = select(*(stage.c[column.name] for column in columns))
        statement = insert(target).from_select([column.name for column in columns], source)
        result: Any = await session.execute(statement.on_conflict_do_nothing(), execution_options=_COUNTED)
        return int(result.rowcount)


async def count_present(session: AsyncSession, target: Table, keys: Sequence[Row]) -> int:
    """How many of these primary keys there are."""
    columns = [target.c[name] for name in keys[0]]
    async with _staged(session, target, columns, keys) as stage:
        same = and_(*(column == stage.c[column.name] for column in columns))
        return int(await session.scalar(select(func.count()).select_from(target).join(stage, same)) or 0)


async def remove(session: AsyncSession, target: Table, keys: Sequence[Row]) -> int:
    """Delete the rows with these primary keys; how many that were."""
    columns = [target.c[name] for name in keys[0]]
    async with _staged(session, target, columns, keys) as stage:
        same = and_(*(column == stage.c[column.name] for column in columns))
        result: Any = await session.execute(delete(target).where(same), execution_options=_COUNTED)
        return int(result.rowcount)


@asynccontextmanager
async def _staged(
    session: AsyncSession, target: Table, columns: Sequence[Column[Any]], rows: Sequence[Row]
) -> AsyncIterator[TableClause]:
    """The rows in a temporary table of these columns, for as long as the block lasts."""
    connection = await session.connection()
    quoted = connection.dialect.identifier_preparer
    # Named after its table: the driver remembers the types of what it has copied to by name.
    name = f"seed {target.fullname}"[:_LONGEST_NAME]
    staged = quoted.quote(name)
    names = ", ".join(quoted.quote(column.name) for column in columns)
    # WITH NO DATA: the columns' types without their constraints. This statement also opens the transaction that COPY runs in.
    await session.execute(
        text(
            f"CREATE TEMPORARY TABLE {staged} ON COMMIT DROP AS "  # noqa: S608 - names come from our models
            f"SELECT {names} FROM {quoted.format_table(target)} WITH NO DATA"
        )
    )
    driver: Any = (await connection.get_raw_connection()).driver_connection
    await driver.copy_records_to_table(
        name,
        records=_records(columns, rows, connection.dialect),
        columns=[column.name for column in columns],
        schema_name="pg_temp",
    )
    yield table(name, *(Column(column.name, column.type) for column in columns))
    await session.execute(text(f"DROP TABLE pg_temp.{staged}"))


def _records(columns: Sequence[Column[Any]], rows: Sequence[Row], dialect: Dialect) -> list[tuple[Any, ...]]:
    """The rows as the driver takes them: SQLAlchemy, which converts parameters, does not see COPY."""
    processors = [column.type.dialect_impl(dialect).bind_processor(dialect) for column in columns]
    return [
        tuple(
            row[column.name] if process is None else process(row[column.name])
            for column, process in zip(columns, processors, strict=True)
        )
        for row in rows
    ]
