"""Statements about indexes for an operator, and the same as lines of a migration. Nothing here is ever run by the service."""

from collections.abc import Collection, Sequence

from app.core.monitor._relations import quoted

_LONGEST_NAME = 63  # bytes: PostgreSQL cuts what is longer
_MOST_PARTITIONS = 50


def drop_index(schema: str, name: str, *, is_partitioned: bool = False) -> str:
    """Drops it without stopping reads and writes; the index of a partitioned table cannot be dropped so."""
    return f"DROP INDEX {'' if is_partitioned else 'CONCURRENTLY '}{quoted(schema, name)};"


def reindex(schema: str, name: str) -> str:
    """Builds it anew beside the old one."""
    return f"REINDEX INDEX CONCURRENTLY {quoted(schema, name)};"


def create_index(
    schema: str, table: str, name: str, columns: Sequence[str], partitions: Sequence[tuple[str, str]] = ()
) -> tuple[str, ...]:
    """A b-tree on ``columns``. For a table with ``partitions`` one on each, and one that joins them: only so is nobody stopped.

    Of more than 50 partitions none is named: the answer is the plain statement, which locks the table against writes.
    """
    keys = ", ".join(quoted(column) for column in columns)
    if not partitions:
        return (f"CREATE INDEX CONCURRENTLY {quoted(name)} ON {quoted(schema, table)} ({keys});",)
    if len(partitions) > _MOST_PARTITIONS:
        return (f"CREATE INDEX {quoted(name)} ON {quoted(schema, table)} ({keys});",)
    ddl = [f"CREATE INDEX {quoted(name)} ON ONLY {quoted(schema, table)} ({keys});"]
    for own_schema, partition in partitions:
        own = index_name(partition, columns)
        ddl += [
            f"CREATE INDEX CONCURRENTLY {quoted(own)} ON {quoted(own_schema, partition)} ({keys});",
            f"ALTER INDEX {quoted(schema, name)} ATTACH PARTITION {quoted(own_schema, own)};",
        ]
    return tuple(ddl)


def index_name(table: str, columns: Sequence[str], taken: Collection[str] = ()) -> str:
    """``ix_table_columns`` in at most 63 bytes, and none of ``taken``."""
    wanted = f"ix_{table}_{'_'.join(columns)}"
    for ending in ("", *(f"_{number}" for number in range(2, 1000))):
        room = _LONGEST_NAME - len(ending)
        name = wanted.encode()[:room].decode(errors="ignore") + ending
        if name not in taken:
            return name
    raise ValueError(f"a thousand indexes are called {wanted}")


def alembic_drop(schema: str, table: str, name: str, *, is_partitioned: bool = False) -> str:
    """The line of a migration that does what ``drop_index`` says."""
    if is_partitioned:
        return f"op.drop_index({name!r}, table_name={table!r}, schema={schema!r})"
    return _outside(
        f"op.drop_index({name!r}, table_name={table!r}, schema={schema!r}, postgresql_concurrently=True)"
    )


def alembic_create(schema: str, table: str, name: str, columns: Sequence[str]) -> str:
    """The line of a migration that does what ``create_index`` says of a table without partitions."""
    return _outside(
        f"op.create_index({name!r}, {table!r}, {list(columns)!r}, schema={schema!r}, postgresql_concurrently=True)"
    )


def alembic_run(statements: Sequence[str]) -> str:
    """A migration that runs ``statements`` as they stand."""
    return _outside(*(f"op.execute({statement.rstrip(';')!r})" for statement in statements))


def _outside(*lines: str) -> str:
    """CONCURRENTLY is refused inside a transaction."""
    return "\n    ".join(("with op.get_context().autocommit_block():", *lines))
