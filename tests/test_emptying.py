"""What tests leave behind in their database goes, and nothing else."""

from datetime import date

from sqlalchemy import text

from app.core.db import Database, EventLog, get_db_context, keep_partitions
from tests.emptying import empty_tables
from tests.servers import PrivateServer

_LONG_AGO = date(2001, 11, 20)
_HISTORY = "INSERT INTO schema_history (revision, direction) VALUES ('x', 'stamp') RETURNING id"


async def test_rows_of_all_partitions_go_and_the_history_of_the_schema_stays(
    private_postgres: PrivateServer,
) -> None:
    database = Database(private_postgres.url)
    async with get_db_context(database) as session:
        await keep_partitions(session, "events_log", ahead=0, today=_LONG_AGO)
        session.add(EventLog(kind="now", subject="x"))
        session.add(EventLog(kind="then", subject="x", created_at=text("'2001-11-21 00:00+00'")))
    ((last,),) = await database.fetch(_HISTORY)
    entries = await database.fetch("SELECT id FROM schema_history")
    await empty_tables(database)
    async with database.session() as session:
        assert await session.scalar(text("SELECT count(*) FROM events_log")) == 0
        assert await session.scalar(text("SELECT count(*) FROM alembic_version")) == 1
    assert await database.fetch("SELECT id FROM schema_history") == entries
    assert [tuple(row) for row in await database.fetch(_HISTORY)] == [(last + 1,)]
    await database.close()


async def test_numbers_begin_anew_and_references_do_not_matter(private_postgres: PrivateServer) -> None:
    database = Database(private_postgres.url)
    async with database.connect() as connection:
        await connection.execute(text("CREATE TABLE aa (id int PRIMARY KEY)"))
        await connection.execute(
            text(
                "CREATE TABLE zz (id bigint GENERATED ALWAYS AS IDENTITY, aa int REFERENCES aa ON DELETE RESTRICT)"
            )
        )
    fill = "WITH a AS (INSERT INTO aa VALUES (1)) INSERT INTO zz (aa) VALUES (1) RETURNING id"
    for _ in range(2):
        assert [tuple(row) for row in await database.fetch(fill)] == [(1,)]
        await empty_tables(database)
    await database.close()
