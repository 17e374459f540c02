"""``when_undone``: what is taken back in memory when a session's writes are."""

from sqlalchemy import text

from app.core.db import Database, when_undone


async def test_it_is_called_when_the_savepoint_or_the_transaction_is_rolled_back_and_not_after_a_commit(
    database: Database,
) -> None:
    undone: list[str] = []
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
        when_undone(session, lambda: undone.append("outer"))
        kept = await session.begin_nested()
        when_undone(session, lambda: undone.append("kept savepoint"))
        await kept.commit()
        given_up = await session.begin_nested()
        when_undone(session, lambda: undone.append("savepoint"))
        await given_up.rollback()
        assert undone == ["savepoint"]
        await session.rollback()
        assert undone == ["savepoint", "outer", "kept savepoint"]
        await session.execute(text("SELECT 1"))
        when_undone(session, lambda: undone.append("committed"))
        await session.commit()
        await session.execute(text("SELECT 1"))
        await session.rollback()
    assert undone == ["savepoint", "outer", "kept savepoint"]
